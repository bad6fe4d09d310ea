"""What the console remembers from one session to the next: how it was left. Nothing secret."""

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.ops.errors import UserError
from engine.ops.files import write_private

NAME = "console.json"
"""The file, in DATA_DIR."""

LONGEST = 1_000_000
"""Bytes of a file that is read at all."""


class Arrangement(Struct, frozen=True, omit_defaults=True):
    """How a table was left: the `words` of its filter, the title of the `column` that it is sorted
    by, empty for its own order, the part of its rows that is shown `alone`, empty for all, and the
    titles of its `hidden` columns."""

    words: str = ""
    column: str = ""
    falling: bool = False
    alone: str = ""
    hidden: tuple[str, ...] = ()


class Choices(Struct, frozen=True, omit_defaults=True):
    """What was chosen; `theme` and `screen` are empty before any was, `guided` says that the first
    steps were shown. `panels` names the panel in focus and `zoomed` the one that is the whole of a
    screen, by the screen's name; `tables` are by the names of screen and panel with a point between
    them."""

    theme: str = ""
    guided: bool = False
    screen: str = ""
    panels: dict[str, str] = {}
    zoomed: dict[str, str] = {}
    tables: dict[str, Arrangement] = {}


class Preferences:
    """The file at `path` and what is in it. It may be read and written on a slow disk, so neither
    is done on the console's loop.

    `problem` is why it could not be read, and what became of it; empty where it could.
    """

    def __init__(self, path: Path, chosen: Choices, problem: str = "") -> None:
        self.chosen = chosen
        self.problem = problem
        self._path = path
        self._writing = threading.Lock()

    @classmethod
    def load(cls, path: Path) -> "Preferences":
        """What `path` says. One that makes no sense is set aside, and all is as at first."""
        try:
            return cls(path, _read(path))
        except FileNotFoundError:
            return cls(path, Choices())
        except OSError as error:
            return cls(path, Choices(), f"{path} cannot be read ({error.strerror})")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return cls(path, Choices(), _set_aside(path))

    def choose(self, failed: Callable[[str], object], **changes: object) -> None:
        """Remember `changes`, by the names of `Choices`, without waiting for the disk. `failed` is
        called, on another thread, with why they are forgotten at the end."""
        before, self.chosen = self.chosen, replace(self.chosen, **changes)
        if self.chosen == before:
            return
        threading.Thread(
            target=self._write, args=(failed,), name="preferences", daemon=True
        ).start()

    def _write(self, failed: Callable[[str], object]) -> None:
        try:
            with self._writing:  # whoever comes last writes what was chosen last
                content = msgspec.json.format(msgspec.json.encode(self.chosen))
                write_private(self._path, content + b"\n")
        except OSError as error:
            failed(f"{self._path} cannot be written ({error.strerror}): nothing is remembered")
        except UserError as error:
            failed(str(error))


def _read(path: Path) -> Choices:
    with path.open("rb") as file:
        return msgspec.json.decode(file.read(LONGEST), type=Choices)


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.broken")
    try:
        path.replace(aside)
    except OSError as error:
        return f"{path} makes no sense, and cannot be set aside ({error.strerror})"
    return f"{path} made no sense and is now {aside.name}: all is as at the first start"
