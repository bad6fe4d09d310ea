"""The log: the newest lines that the engine says, and its log file as far back as it is kept."""

from typing import TYPE_CHECKING, ClassVar, cast

from tui.frame import Frame
from tui.screens.panels import PanelScreen
from tui.widgets.log import Log
from tui.widgets.log_file import LogFilePanel

if TYPE_CHECKING:
    from tui.app import Console


class Logs(PanelScreen):
    CSS_PATH = "logs.tcss"
    PANELS: ClassVar = {"log": Log, "file": LogFilePanel}
    IN_TURN = ("log", "file")

    def show(self, frame: Frame) -> None:
        path = cast("Console", self.app).log_file
        cast("LogFilePanel", self._panels["file"]).path = path
        super().show(frame)
