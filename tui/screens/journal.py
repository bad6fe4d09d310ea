"""The journal: the recorded sessions, to be gone through."""

from typing import ClassVar, cast

from tui.screens.panels import PanelScreen
from tui.widgets.sessions import Sessions


class Journal(PanelScreen):
    PANELS: ClassVar = {"journal": Sessions}

    def on_screen_resume(self) -> None:
        """Read the list anew each time one comes here."""
        self.post_message(Sessions.Wanted(cast("Sessions", self._panels["journal"])))
