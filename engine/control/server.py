"""The engine's side of the socket: consoles attach, see what it does, and one of them commands.

It runs on a loop of its own, apart from the engine's: nothing that a console does, or leaves
undone, makes the engine wait. A console that does not read gets no more until it has read what it
was sent, then the newest picture; one that reads nothing for long is let go.
"""

import asyncio
import logging
import os
import socket
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from msgspec import structs

from engine.control import address
from engine.control.changes import changes
from engine.control.protocol import (
    LONGEST_TO_ENGINE,
    Answered,
    Ask,
    AskForCommand,
    Changed,
    Do,
    Ended,
    Frames,
    Hello,
    KeepCommand,
    Picture,
    Refused,
    Said,
    StopEngine,
    ToConsole,
    ToEngine,
    Welcome,
    WireError,
    any_command,
    decode,
    frame,
    is_stopping,
    prepare_to_hear,
    version,
)
from engine.control.seat import Seat
from engine.control.standing import Standing
from engine.core import events
from engine.core.events import Command, SignOfLife
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.view.questions import A, AnyAnswer, Question
from engine.view.snapshot import Snapshot

log = logging.getLogger(__name__)

MOST_CONSOLES = 16
HELLO_S = 5.0
"""Seconds that a new console has for saying who it is."""
BETWEEN_PICTURES_S = 0.1
LOOK_S = 1.0
"""Seconds after which the server looks up, where there is no new snapshot."""
PATIENCE_S = 10.0
"""Seconds without reading after which a console is let go."""
GOODBYE_S = 1.0
NAME_LENGTH = 80


class Engine(Protocol):
    """What is served: an `engine.host.thread.EngineHost`."""

    def latest(self) -> Snapshot | None: ...

    def send(self, command: Command) -> None: ...

    def ask(self, question: Question[A]) -> Future[A]: ...

    def ask_to_stop(self) -> None: ...


class ControlServer:
    """Serves `engine` on the socket at `path`, from `start` to `close`; both, and `show`, are
    called on the loop that it runs on."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.engine = engine
        self.seat: Seat[Console] = Seat()
        self.consoles: list[Console] = []
        self._path = path
        self._news = asyncio.Event()
        self._in_command: Console | None = None
        self._all_left = asyncio.Event()
        self._all_left.set()

    async def start(self) -> None:
        """Listen. Raises UserError where there can be no socket at the path."""
        prepare_to_hear()
        listening = address.listen(self._path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Console(self), sock=listening)
        self._showing = asyncio.create_task(self._show())

    async def close(self, failure: str = "") -> None:
        """Tell every console that the engine has ended, and of its `failure` if it failed."""
        self._server.close()
        self._showing.cancel()
        await asyncio.gather(self._showing, return_exceptions=True)
        self._show_to_all()
        for console in [*self.consoles]:
            console.say(Ended(failure))
            console.let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._all_left.wait()

    def show(self) -> None:
        """There is a new snapshot."""
        self._news.set()

    def enter(self, console: "Console") -> None:
        self.consoles.append(console)
        self._all_left.clear()

    def leave(self, console: "Console") -> None:
        self.consoles.remove(console)
        if not self.consoles:
            self._all_left.set()
        self.seat.leave(console)
        self.tell_standing()

    async def _show(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            self._show_to_all()
            asked = self.seat.asks
            self.seat.pass_on(monotonic())
            if asked is not self.seat.asks:
                self.tell_standing()
            await asyncio.sleep(BETWEEN_PICTURES_S)

    def _show_to_all(self) -> None:
        """Send the newest snapshot, encoded once for all that have the same one before it."""
        snapshot = self.engine.latest()
        if snapshot is None:
            return
        encoded: dict[int, bytes] = {}
        for console in [*self.consoles]:
            before = console.shown
            if not console.is_welcome or before is snapshot or console.is_behind:
                continue
            if id(before) not in encoded:
                encoded[id(before)] = _encoded(before, snapshot)
            console.show(snapshot, encoded[id(before)])

    def tell_standing(self) -> None:
        """Tell each console who is in command, and the engine where that is another one."""
        holder, asks = self.seat.holder, self.seat.asks
        if holder is not None and holder is not self._in_command:
            self.engine.send(events.ChangeCommander(author=holder.name))
        self._in_command = holder
        standing = Standing(
            holder=holder.name if holder else "",
            asks=asks.name if asks else "",
            passes_in=max(0.0, self.seat.passes_at - monotonic()) if asks else 0.0,
            consoles=len(self.consoles),
        )
        for console in self.consoles:
            own = structs.replace(standing, mine=console is holder, may_ask=console.commands)
            console.say(own)


def _encoded(before: Snapshot | None, snapshot: Snapshot) -> bytes:
    return frame(Picture(snapshot) if before is None else Changed(changes(before, snapshot)))


class Console(asyncio.Protocol):
    """One connection: a console, or a command."""

    def __init__(self, server: ControlServer) -> None:
        self.name = "a console"
        self.is_welcome = False
        self.shown: Snapshot | None = None
        self.commands = False
        self._server = server
        self._frames = Frames(LONGEST_TO_ENGINE)
        self._behind_since: float | None = None

    # --- what asyncio calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        # Paused from the first byte that the system did not take on: it has fallen behind.
        transport.set_write_buffer_limits(high=0)
        connection: socket.socket = transport.get_extra_info("socket")
        self._pid, allowed = address.peer(connection)
        if not allowed:
            log.error("a process of another user (pid %d) was refused", self._pid)
            self.refuse(
                "this engine is another user's", "run it as the user who started the engine"
            )
        elif len(self._server.consoles) >= MOST_CONSOLES:
            self.refuse(f"{MOST_CONSOLES} consoles are attached already", "close one of them")
        else:
            self._server.enter(self)
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(HELLO_S, self._without_a_word)

    def data_received(self, data: bytes) -> None:
        try:
            for content in self._frames.feed(data):
                if self._transport.is_closing():
                    return
                self._hear(content)
        except WireError as error:
            log.warning("%s (pid %d) sent %s", self.name, self._pid, clean(str(error)))
            self.refuse(clean(str(error)), "attach with the program that the engine is of")

    def connection_lost(self, exc: Exception | None) -> None:
        server = self._server
        if self not in server.consoles:
            return
        self._deadline.cancel()
        if self.is_welcome:
            log.info("%s has left", self.name)
        server.leave(self)

    def pause_writing(self) -> None:
        self._behind_since = monotonic()

    def resume_writing(self) -> None:
        self._behind_since = None

    # --- what the server says --------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether it has not read what it was sent; where that lasts it is let go."""
        if self._behind_since is None:
            return False
        if monotonic() - self._behind_since > PATIENCE_S:
            log.warning("%s reads nothing, and is let go", self.name)
            self._transport.abort()
        return True

    def show(self, snapshot: Snapshot, encoded: bytes) -> None:
        self.shown = snapshot
        self._transport.write(encoded)

    def say(self, message: ToConsole) -> None:
        """Say it, unless the console reads nothing: what it misses is of no use later."""
        if self.is_welcome and not self.is_behind:
            self._transport.write(frame(message))

    def refuse(self, reason: str, remedy: str) -> None:
        self._transport.write(frame(Refused(reason, remedy)))
        self.let_go()

    def let_go(self) -> None:
        """Close once it has read what it was sent, or is out of time."""
        self._transport.close()
        asyncio.get_running_loop().call_later(HELLO_S, self._transport.abort)

    def _without_a_word(self) -> None:
        if not self.is_welcome:
            self.refuse("it did not say who it is", "attach with tradebot-tui")

    # --- what the console says -------------------------------------------------------------------

    def _hear(self, content: bytes) -> None:
        if not self.is_welcome:
            self._greet(decode(content, Hello))
            return
        seat = self._server.seat
        message: ToEngine = decode(content, ToEngine)
        match message:
            case Do(command=command):
                self._do(decode(command, any_command()))
            case Ask(number=number, question=question):
                self._ask(number, question)
            case AskForCommand() if not self.commands:
                self.say(Said("this console is read-only"))
            case AskForCommand():
                seat.ask(self, monotonic())
                self._server.tell_standing()
            case KeepCommand():
                if asked := seat.refuse(self):
                    asked.say(Said(f"{self.name} keeps the command"))
                    self._server.tell_standing()
            case StopEngine() if seat.holder is not self:
                self.say(Said(f"the engine was not stopped: {self._not_in_command()}"))
            case StopEngine():
                log.info("%s stops the engine", self.name)
                self._server.engine.ask_to_stop()
            case Hello():
                raise WireError("a second Hello")

    def _greet(self, hello: Hello) -> None:
        if hello.version != version():
            self.refuse(
                f"the engine is of tradebot {version()}, and this is {clean(hello.version)}",
                f"stop the engine (kill {os.getpid()} stops it in order) and start it with this "
                "program, or attach with the engine's",
            )
            return
        self._deadline.cancel()
        self.name = f"{clean(hello.name, NAME_LENGTH)} (pid {self._pid})"
        self.commands = hello.commands
        self.is_welcome = True
        log.info("%s is attached", self.name)
        self.say(Welcome())
        server = self._server
        if server.seat.holder is None and hello.commands:
            server.seat.ask(self, monotonic())
        server.tell_standing()
        server.show()

    def _do(self, command: Command) -> None:
        if self._server.seat.holder is self or is_stopping(command):
            self._server.engine.send(structs.replace(command, author=self.name))
        elif not isinstance(command, SignOfLife):  # that of one who cannot command is no sign
            self.say(Said(f"not done: {self._not_in_command()}"))

    def _ask(self, number: int, question: Question[Any]) -> None:
        loop = asyncio.get_running_loop()

        def answered(answer: Future[AnyAnswer]) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(self._answer, number, answer)

        self._server.engine.ask(question).add_done_callback(answered)

    def _answer(self, number: int, answer: Future[AnyAnswer]) -> None:
        error = answer.exception()
        if isinstance(error, UserError):
            self.say(Answered(number, None, error.message, error.remedy))
        elif error is not None:
            log.error("a question has no answer", exc_info=error)
            self.say(Answered(number, None, f"no answer: {type(error).__name__}", "see the log"))
        else:
            self.say(Answered(number, answer.result()))

    def _not_in_command(self) -> str:
        holder = self._server.seat.holder
        return f"{holder.name} is in command" if holder else "no console is in command"
