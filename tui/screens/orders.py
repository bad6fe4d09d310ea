"""The orders: the blotter with all columns and the whole history."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.blotter import Blotter


class OrdersScreen(PanelScreen):
    PANELS: ClassVar = {"orders": Blotter}
