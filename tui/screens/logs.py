"""The log: all lines that the engine keeps."""

from typing import ClassVar

from tui.screens.panels import PanelScreen
from tui.widgets.log import Log


class Logs(PanelScreen):
    PANELS: ClassVar = {"log": Log}
