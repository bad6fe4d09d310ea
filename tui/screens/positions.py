"""Positions: all that is held, the equity curve, and what each strategy made."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.equity import EquityChart
from tui.widgets.holdings import Holdings
from tui.widgets.pnl import Pnl


class PositionsScreen(PanelScreen):
    CSS_PATH = "positions.tcss"
    PANELS: ClassVar = {"positions": Holdings, "equity": EquityChart, "pnl": Pnl}
