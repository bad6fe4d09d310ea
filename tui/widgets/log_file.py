"""The panel of the log file: what the engine wrote, as far back as it is kept."""

from asyncio import to_thread
from collections.abc import Hashable, Sequence
from pathlib import Path

from tui import format
from tui.frame import Frame
from tui.log_file import FileLine, LogFile
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

MOST_KEPT = 5_000
LOOK_EVERY_S = 1.0

_STYLES = {"WARNING": "warn", "ERROR": "down", "CRITICAL": "down", "DEBUG": "dim"}


class LogFilePanel(LineTable[FileLine]):
    """Newest first. Older lines are read where one comes to the end; where one looks for words the
    files are searched, and only lines that have them are kept. It is read in a thread."""

    of_now = True
    columns = (
        Column("time, UTC", 19),
        Column("level", 5, most=8, stays=True),
        Column("what", 20, grows=True, stays=True),
        Column("source", 10, rank=2, most=24),
    )
    empty = "no line of the log file"
    path: Path | None = None

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._file: LogFile | None = None
        self._lines: Sequence[FileLine] = ()
        self._reading = False
        self._looked = 0.0
        self._problem = ""

    # --- the file --------------------------------------------------------------------------------

    def show(self, frame: Frame) -> None:
        super().show(frame)
        if self._file is None:
            self.searched()
        elif frame.now - self._looked >= LOOK_EVERY_S:
            self._looked = frame.now
            self._read(newer=True)

    def searched(self) -> None:
        """Begin at the end of the file, with the words that are looked for."""
        if self.path is None:
            return
        words = self._choice.words.casefold().split()

        def wanted(line: FileLine) -> bool:
            text = f"{line.time} {line.level} {line.source} {line.text}".casefold()
            return all(word in text for word in words)

        self._file = LogFile(self.path, wanted)
        self._lines, self._reading = (), False
        self._read(newer=False)

    def more(self) -> None:
        """Read older lines, if there are any and they have room."""
        if len(self._lines) < MOST_KEPT and self._file is not None and not self._file.is_whole:
            self._read(newer=False)

    def _read(self, *, newer: bool) -> None:
        if self._file is not None and not self._reading:
            self._reading = True
            self.run_worker(self._bring(self._file, newer), group="file")

    async def _bring(self, log: LogFile, newer: bool) -> None:
        problem, found = "", list[FileLine]()
        try:
            found = await to_thread(log.newer if newer else log.older)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if log is not self._file:  # something else is looked for by now
            return
        self._reading, self._problem = False, problem
        if found:
            lines = [*found, *self._lines] if newer else [*self._lines, *found]
            self._lines = lines[:MOST_KEPT]
        self.redraw()

    # --- rows ------------------------------------------------------------------------------------

    def rows(self, frame: Frame) -> Sequence[FileLine]:
        return self._lines

    def row_id(self, row: FileLine) -> Hashable:
        return row.file, row.at

    def cells(self, row: FileLine) -> Line:
        style = _STYLES.get(row.level, "text")
        return (
            (row.time[:19].replace("T", " "), "dim"),
            (row.level, style),
            (row.text, style),
            (row.source, "dim"),
        )

    def note(self, frame: Frame) -> str:
        if self._problem:
            return self._problem
        if len(self._lines) >= MOST_KEPT:
            rest = f"more are not kept: {frame.keys['filter']} looks for words in all"
        elif self._file is not None and self._file.is_whole:
            rest = "whole"
        else:
            rest = "older ones at the end"
        return f"{format.plural(len(self._lines), 'line')}, newest first · {rest}"
