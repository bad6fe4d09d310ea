"""What engine and console say to each other: bytes in, messages out, no I/O.

A frame is its length (4 bytes, big-endian) and so many bytes of MessagePack. The console says Hello
and hears Welcome or Refused; then it gets the whole picture, and from then on what changed of it.
"""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union

import msgspec
from msgspec import Raw, Struct

import engine.core.events
import engine.core.model
import engine.view.questions
import engine.view.snapshot
from engine import __version__
from engine.control.standing import Standing
from engine.core.events import (
    ChangeCommander,
    ChangeLimit,
    Command,
    KillPart,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.view.questions import AnyAnswer, AnyQuestion
from engine.view.snapshot import Snapshot

T = TypeVar("T")

LONGEST_TO_ENGINE = 64 * 1024
LONGEST_TO_CONSOLE = 64 * 1024 * 1024
"""Bytes of a frame. What is longer is garbage, and ends the connection before it takes memory."""

_LENGTH = struct.Struct("!I")
_WIRE = (engine.core.events, engine.core.model, engine.view.questions, engine.view.snapshot)


class WireError(Exception):
    """What arrived is none of what may be said; the connection is of no use any more."""


# --- from a console ------------------------------------------------------------------------------


class Message(Struct, frozen=True, tag=True):
    pass


class Hello(Message, frozen=True):
    """`name` says who it is. One that `commands` is in command at once where nobody is; one that
    does not never gets there, and is read-only."""

    version: str
    name: str
    commands: bool = False


class Do(Message, frozen=True):
    """Carry out a command; `command` is one of AnyCommand."""

    command: Raw


class Ask(Message, frozen=True):
    """`number` is said again with the answer."""

    number: int
    question: AnyQuestion


class AskForCommand(Message, frozen=True):
    """Ask for the command: it passes unless who has it keeps it."""


class KeepCommand(Message, frozen=True):
    """Refuse to give the command away."""


class StopEngine(Message, frozen=True):
    """Have the engine stop in order, and end."""


# --- from the engine -----------------------------------------------------------------------------


class Welcome(Message, frozen=True):
    pass


class Refused(Message, frozen=True):
    """The engine does not talk with this console; the connection ends."""

    reason: str
    remedy: str


class Picture(Message, frozen=True):
    """The whole snapshot."""

    snapshot: Snapshot


class Changed(Message, frozen=True):
    """What changed since the last snapshot that was sent (`engine.control.changes`)."""

    fields: dict[str, Raw]


class Said(Message, frozen=True):
    """A line for the person at this console: what was not done, and why."""

    text: str


class Answered(Message, frozen=True):
    """The answer to the question of that number; None where there is none: then `problem` says why,
    and `remedy` what to do."""

    number: int
    answer: AnyAnswer | None
    problem: str = ""
    remedy: str = ""


class Ended(Message, frozen=True):
    """The engine has ended, in order where `reason` is empty."""

    reason: str


ToEngine = Hello | Do | Ask | AskForCommand | KeepCommand | StopEngine
ToConsole = Welcome | Refused | Picture | Changed | Standing | Said | Answered | Ended


# --- frames --------------------------------------------------------------------------------------

_encoder = msgspec.msgpack.Encoder()


def frame(message: ToEngine | ToConsole) -> bytes:
    """The bytes of a message."""
    content = _encoder.encode(message)
    return _LENGTH.pack(len(content)) + content


def do(command: Command) -> Do:
    return Do(Raw(_encoder.encode(command)))


class Frames:
    """Cuts what arrives, in pieces of any size, into frames of `longest` bytes at the most."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now. Raises WireError where one is too long."""
        self._received += data
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            if length > self._longest:
                raise WireError(f"a message of {length} bytes; {self._longest} are the most")
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            yield bytes(self._received[_LENGTH.size : end])
            del self._received[:end]


def decode(content: bytes | Raw, kind: Any) -> Any:
    """A message, or another value, of the type `kind`. Raises WireError where it is none."""
    try:
        return _decoder(kind).decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"a message that cannot be read ({error})") from error


def prepare_to_hear() -> None:
    """Make what decodes a console's messages, before there are threads: where two decode a type for
    the first time, one of them sees it half made, and the process crashes (msgspec 0.22)."""
    for kind in (Hello, ToEngine, any_command()):
        _decoder(kind)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


@cache
def any_command() -> Any:
    """The union of what a console may command: of all that the engine hears, nothing else."""
    kinds = [kind for kind in Command.__subclasses__() if kind is not ChangeCommander]
    return Union[tuple(kinds)]  # noqa: UP007 - made at run time


@cache
def version() -> str:
    """The program's version, with a digest of the files that define what is sent: two programs that
    differ in those do not understand each other."""
    import hashlib  # not on the way to the first frame

    digest = hashlib.sha256()
    for module in (*(each.__file__ for each in _WIRE), __file__):
        digest.update(Path(str(module)).read_bytes())
    return f"{__version__} ({digest.hexdigest()[:8]})"


def is_stopping(command: Command) -> bool:
    """Whether it can only lessen risk: anyone who may attach may send it, in command or not.

    A limit is loosened with a word alone; without one it is tightened, or refused.
    """
    match command:
        case TripKillSwitch() | KillPart() | ToggleStrategy(enabled=False) | ChangeLimit(word=""):
            return True
        case _:
            return False
