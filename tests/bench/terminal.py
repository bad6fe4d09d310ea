"""A pty around a program, with the time at which each piece of its output came.

Nothing is interpreted while it is read: the screen is made afterwards, piece by piece, so that
looking does not delay what is measured. Queries are answered as xterm does.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyte
from pyte import Screen

from engine.ops.settings import env_text
from tests.terminal import Terminal

ROOT = Path(__file__).parents[2]

# What the script `tradebot-tui` of an installation does.
CONSOLE = (sys.executable, "-c", "import sys; from tui.__main__ import main; sys.exit(main())")

WHERE_IS_THE_CURSOR = b"\x1b[6n"
THERE = "\x1b[1;1R"
IS_SYNCHRONISED = b"\x1b[?2026$p"
SYNCHRONISED = "\x1b[?2026;2$y"


def environment(folder: Path, settings: Mapping[str, object]) -> dict[str, str]:
    """That of a program which has its data in `folder`, under `settings` (by field name)."""
    given = {name.upper(): env_text(value) for name, value in settings.items()}
    return (
        os.environ
        | given
        | {
            "DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
    )


class TimedTerminal(Terminal):
    """Runs `argv` in `folder`, which gets its data, with `settings` (by field name) in force.

    `pieces` are the times (perf_counter seconds) and bytes of all output, `started` is when the
    program was started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        size: tuple[int, int],
        **settings: object,
    ) -> None:
        self.size = size
        self.pieces: list[tuple[float, bytes]] = []
        self.started = time.perf_counter()
        variables = environment(folder, settings)
        super().__init__(argv, variables, columns=size[0], rows=size[1], folder=folder)

    def take(self, data: bytes) -> None:
        self.pieces.append((time.perf_counter(), data))
        if IS_SYNCHRONISED in data:
            self.press(SYNCHRONISED)
        if WHERE_IS_THE_CURSOR in data:
            self.press(THERE)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the program so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read_for(self, seconds: float) -> None:
        """Read all that comes within `seconds`."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(left)

    def screens(self) -> Iterator[tuple[float, Screen]]:
        """The screen after each piece, with the piece's time."""
        screen = Screen(*self.size)
        stream = pyte.ByteStream(screen)
        for came, data in self.pieces:
            stream.feed(data)
            yield came, screen

    def first(self, seen: Callable[[Screen], bool]) -> float | None:
        """When the screen first fulfilled `seen`; None where it never did."""
        return next((came for came, screen in self.screens() if seen(screen)), None)

    def bytes_between(self, start: float, end: float) -> int:
        return sum(len(data) for came, data in self.pieces if start <= came < end)


def is_painted(screen: Screen) -> bool:
    """Whether every row of the screen has been drawn."""
    return all(
        any(cell.data != " " or cell.bg != "default" for cell in screen.buffer[row].values())
        for row in range(screen.lines)
    )
