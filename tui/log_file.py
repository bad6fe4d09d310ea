"""The log file of the engine, read from its end towards its begin, the rotated files too."""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from engine.core.text import clean
from engine.ops.logging import LINE_LIMIT, OLD_FILES

BLOCK = 128 * 1024
"""Bytes that are read at a time: longer than any line."""

PAGE = 200
"""Lines that are looked for at a time."""

_MOST_NEW = 8 * BLOCK
"""New bytes that are read at a time; what is more comes the next time."""

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class FileLine(Struct, frozen=True, gc=False):
    """A line as it was written; `file` and `at` are where it stands. One that nobody knows the form
    of is all `text`."""

    file: int
    at: int
    time: str
    level: str
    source: str
    text: str


class LogFile:
    """Gives the lines for which `wanted` is true, newest first. For one thread at a time. What it
    raises is an OSError."""

    def __init__(self, path: Path, wanted: Callable[[FileLine], bool]) -> None:
        self._path = path
        self._wanted = wanted
        self._oldest = self._newest = (0, 0)
        self._began = False
        self.is_whole = False
        """Whether the oldest line there is was given."""

    def older(self) -> list[FileLine]:
        """About a page of lines older than those that were given; fewer at the begin."""
        if not self._began:
            self._began = True
            self._oldest = self._newest = self._end()
        found: list[FileLine] = []
        while len(found) < PAGE and not self.is_whole:
            found += self._block()
        return found

    def newer(self) -> list[FileLine]:
        """The lines that were written since the last time. `older` comes first."""
        file, at = self._newest
        now, size = self._end()
        found: list[FileLine] = []
        if file != now:  # it was rotated meanwhile
            _, rest = self._read(file, at, at + _MOST_NEW)
            found, file, at = rest[::-1], now, 0
        at = min(at, size)
        end, lines = self._read(file, at, min(size, at + _MOST_NEW))
        self._newest = file, end
        return [line for line in [*lines[::-1], *found] if self._wanted(line)]

    def _block(self) -> Iterator[FileLine]:
        file, at = self._oldest
        if at == 0:
            before = self._before(file)
            if before is None:
                self.is_whole = True
                return iter(())
            file, at = before
        start = max(0, at - BLOCK)
        _, lines = self._read(file, start, at, whole=start == 0)
        self._oldest = file, lines[0].at if lines and start else 0
        return filter(self._wanted, reversed(lines))

    def _read(
        self, file: int, start: int, end: int, *, whole: bool = True
    ) -> tuple[int, list[FileLine]]:
        """The lines between two places, oldest first, and where the last of them ends. What comes
        before the first line break is left out where that is not `whole`."""
        path = next((p for p in self._paths() if p.stat().st_ino == file), None)
        if path is None:
            return end, []
        with path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(end - start)
        lines: list[FileLine] = []
        at = start
        for number, raw in enumerate(data.splitlines(keepends=True)):
            if raw.endswith(b"\n"):
                if number or whole:
                    lines.append(_line(file, at, raw))
                at += len(raw)
        return at, lines

    def _paths(self) -> list[Path]:
        """The files that are there, the newest first."""
        old = (self._path.with_name(f"{self._path.name}.{n}") for n in range(1, OLD_FILES + 1))
        return [path for path in (self._path, *old) if path.exists()]

    def _end(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_ino, status.st_size

    def _before(self, file: int) -> tuple[int, int] | None:
        """The end of the file that was written before."""
        stats = [path.stat() for path in self._paths()]
        inodes = [status.st_ino for status in stats]
        following = inodes.index(file) + 1 if file in inodes else len(inodes)
        if following >= len(stats):
            return None
        return stats[following].st_ino, stats[following].st_size


def _line(file: int, at: int, raw: bytes) -> FileLine:
    text = clean(raw.decode(errors="replace").rstrip("\n"), LINE_LIMIT)
    match text.split(" ", 3):
        case [time, level, source, said] if level in _LEVELS:
            return FileLine(file, at, time, level, source, said)
        case _:
            return FileLine(file, at, "", "", "", text)
