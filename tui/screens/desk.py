"""The desk: all panels at once, as many as the terminal has room for."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.log import Log
from tui.widgets.orders import Orders
from tui.widgets.positions import Positions
from tui.widgets.quotes import Quotes
from tui.widgets.risk import Risk
from tui.widgets.signals import Signals
from tui.widgets.strategies import Strategies


class Desk(PanelScreen):
    PANELS: ClassVar = {
        "quotes": Quotes,
        "risk": Risk,
        "positions": Positions,
        "strategies": Strategies,
        "orders": Orders,
        "signals": Signals,
        "log": Log,
    }
    IN_TURN = ("orders", "signals", "strategies", "log")
