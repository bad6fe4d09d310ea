"""The quotes of an engine alone on the screen: in the console's table, in Textual's DataTable, and
not at all.

The first is what the console's panels are made of; the second, its peer, is written as the manual
of Textual has it: the cells of each row that changed are updated. Both show the same texts.
"""

import gc
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.widgets import DataTable

from engine.host.thread import EngineHost
from engine.ops.settings import load_settings
from tui import themes
from tui.driver import ConsoleDriver
from tui.frame import Frame
from tui.main import prepare_environment
from tui.widgets.quotes import Quotes

STOP_S = 10.0


class LineTableApp(App[None]):
    CSS = "Quotes { height: 1fr; }"

    DRIVER: type[Driver] | None = ConsoleDriver
    """What writes: the console's own. The peer has Textual's."""

    def __init__(self, host: EngineHost, fps: int) -> None:
        super().__init__(driver_class=self.DRIVER)
        self._host = host
        self._fps = fps
        self._quotes = Quotes(id="quotes")
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.DARK

    def compose(self) -> ComposeResult:
        yield self._quotes

    def on_mount(self) -> None:
        self.set_interval(1 / self._fps, self.tick)

    def tick(self) -> None:
        with self.batch_update():
            self.draw(Frame(self._host.latest(), monotonic()))

    def draw(self, frame: Frame) -> None:
        self._quotes.show(frame)


class DataTableApp(LineTableApp):
    DRIVER = None

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        self._table: DataTable[str] = self.query_one(DataTable)
        titles = [column.title or "state" for column in Quotes.columns]
        self._columns = self._table.add_columns(*titles)
        self._shown: dict[str, Any] = {}
        super().on_mount()

    def draw(self, frame: Frame) -> None:
        for row in self._quotes.rows(frame):
            symbol = row.symbol
            if self._shown.get(symbol) is row:
                continue
            cells = [text for text, _ in self._quotes.cells(row)]
            if symbol not in self._shown:
                self._table.add_row(*cells, key=symbol)
            else:
                for column, cell in zip(self._columns, cells, strict=True):
                    self._table.update_cell(symbol, column, cell)
            self._shown[symbol] = row


def line_table() -> None:
    with_engine(lambda host, fps: LineTableApp(host, fps).run())


def data_table() -> None:
    with_engine(lambda host, fps: DataTableApp(host, fps).run())


def nothing() -> None:
    with_engine(lambda host, fps: threading.Event().wait())


def with_engine(show: Callable[[EngineHost, int], object]) -> None:
    prepare_environment()
    settings = load_settings()
    host = EngineHost(settings)
    host.start()
    gc.freeze()  # as the console does
    show(host, settings.fps)
    host.stop(STOP_S)
