"""The strategies: each with its parameters, its state, its P&L and its last signals."""

from typing import ClassVar, cast

from tui.frame import Frame
from tui.screens.panels import PanelScreen
from tui.widgets.line_table import LineTable
from tui.widgets.signals import Signals
from tui.widgets.strategies import Strategies


class StrategiesScreen(PanelScreen):
    """The signals are those of the selected strategy."""

    PANELS: ClassVar = {"strategies": Strategies, "signals": Signals}

    def show(self, frame: Frame) -> None:
        self._follow_selection()
        super().show(frame)

    def on_line_table_selected(self, message: LineTable.Selected) -> None:
        if message.table is self._panels["strategies"]:
            self._follow_selection()
            self.query_one(Signals).redraw()

    def _follow_selection(self) -> None:
        strategies = self.query_one(Strategies)
        self.query_one(Signals).strategy = cast("str | None", strategies.selected) or ""
