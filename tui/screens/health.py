"""Health: brokers and feed, the engine, its database, and this console."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.connections import Connections
from tui.widgets.vitals import Vitals


class HealthScreen(PanelScreen):
    CSS_PATH = "health.tcss"
    PANELS: ClassVar = {"connections": Connections, "engine": Vitals}
