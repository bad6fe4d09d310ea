"""Risk: every limit with what is left of it, what blocked signals, and what stops orders."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.blocked import Blocked
from tui.widgets.limits import Limits
from tui.widgets.switches import Switches


class RiskScreen(PanelScreen):
    CSS_PATH = "risk.tcss"
    PANELS: ClassVar = {"risk": Limits, "switches": Switches, "blocked": Blocked}
