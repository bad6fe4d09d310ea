"""One symbol, large: its bars with what was done in them, its quote, what is held and open."""

from typing import ClassVar, cast

from tui.frame import Frame
from tui.screens.panels import PanelScreen
from tui.widgets.chart import ChartPanel
from tui.widgets.quotes import Quotes, with_data_first
from tui.widgets.symbol import Symbol


class Symbols(Quotes):
    """The list of symbols: the selected one is that of the whole screen."""

    keeps_cursor = True


class Market(PanelScreen):
    CSS_PATH = "market.tcss"
    PANELS: ClassVar = {"market": ChartPanel, "quotes": Symbols, "symbol": Symbol}

    _symbol = ""

    @property
    def _quotes(self) -> Symbols:
        return cast("Symbols", self._panels["quotes"])

    def show(self, frame: Frame) -> None:
        table = self._quotes
        table.leave_empty(frame)
        rows = with_data_first(frame.snapshot.quotes) if frame.snapshot else ()
        symbols = [row.symbol for row in rows]
        # A filter may leave it out of the list; it stays the symbol of the screen
        chosen = str(table.selected or self._symbol)
        if chosen not in symbols:
            chosen = symbols[0] if symbols else ""
        table.selected = chosen or None
        self._symbol = chosen
        chart, facts = cast("ChartPanel", self._panels["market"]), self._panels["symbol"]
        chart.symbol = cast("Symbol", facts).symbol = chosen
        super().show(frame)

    def look_at(self, symbol: str) -> None:
        if symbol:
            self._quotes.selected = symbol
        self.call_after_refresh(self._quotes.select_id, symbol)

    def on_line_table_selected(self) -> None:
        self.show(self._take())

    def on_chart_panel_other(self, message: ChartPanel.Other) -> None:
        self._quotes.action_cursor(message.step)
