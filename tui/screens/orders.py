"""The orders and their fills, each with all columns and the whole history."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.blotter import Blotter
from tui.widgets.fills import Fills


class OrdersScreen(PanelScreen):
    CSS_PATH = "orders.tcss"
    PANELS: ClassVar = {"orders": Blotter, "fills": Fills}
    IN_TURN = ("orders", "fills")
