"""The desk: all panels at once, as many as the terminal has room for."""

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.screen import Screen

from engine.snapshot import LogLine
from tui import commands
from tui.frame import Frame
from tui.widgets.footer import Footer
from tui.widgets.line_table import LineTable
from tui.widgets.log import LEVELS, Log
from tui.widgets.orders import Orders
from tui.widgets.positions import Positions
from tui.widgets.quotes import Quotes
from tui.widgets.risk import Risk
from tui.widgets.signals import Signals
from tui.widgets.status_strip import StatusStrip
from tui.widgets.strategies import Strategies
from tui.widgets.too_small import LEAST_HEIGHT, LEAST_WIDTH, TooSmall

_IN_TURN = ("orders", "signals", "strategies", "log")
"""Panels that share one place where there is no room for all; the style sheet says when."""

# From the top left to the bottom right.
_PANELS: dict[str, type[LineTable[Any]]] = {
    "quotes": Quotes,
    "risk": Risk,
    "positions": Positions,
    "strategies": Strategies,
    "orders": Orders,
    "signals": Signals,
    "log": Log,
}

WIDE, TALL = 120, 36
"""The columns from which all panels are there at once, and the lines from which more rows are."""


def _layout(size: Size) -> dict[str, bool]:
    """The classes that choose the layout for a terminal of `size`."""
    small = size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT
    wide, tall = size.width >= WIDE, size.height >= TALL
    return {"-small": small, "-wide": wide, "-narrow": not wide, "-tall": tall, "-short": not tall}


class Desk(Screen[None]):
    AUTO_FOCUS = "#quotes"
    BINDINGS: ClassVar = commands.bindings("desk")

    def __init__(self, take: Callable[[], Frame], size: Size) -> None:
        layout = _layout(size)
        super().__init__(classes=" ".join(["front-orders", *filter(layout.get, layout)]))
        self._take = take
        self._last_line: LogLine | None = None
        self._strip = StatusStrip()
        self._panels = {
            name: panel(f"{commands.PANELS.index(name) + 1} {name}", id=name)
            for name, panel in _PANELS.items()
        }
        self._too_small = TooSmall()
        self._footer = Footer()

    def compose(self) -> ComposeResult:
        yield self._strip
        with Container(id="panels"):
            yield from self._panels.values()
        yield self._too_small
        yield self._footer

    def on_mount(self) -> None:
        self.show(self._take())

    def show(self, frame: Frame) -> None:
        """Hand the one frame to every panel, so that all agree."""
        self.update_classes(
            {"-live": frame.live, "-lost": frame.lost, **_layout(self.app.size)}, animate=False
        )
        self._strip.show(frame)
        for panel in self._panels.values():
            panel.show(frame)
        self._too_small.show(frame)
        self._say_new_trouble(frame)
        self._footer.show(frame, self.panel)

    def say(self, text: str, style: str = "info") -> None:
        self._footer.say(text, style)

    def on_resize(self) -> None:
        """At once, not at the next frame; Textual's breakpoints do not see one under a dialog."""
        self.update_classes(_layout(self.app.size), animate=False)

    @property
    def panel(self) -> str:
        """The panel in focus, empty if none is."""
        return self.focused.id or "" if self.focused is not None else ""

    def go_to(self, name: str) -> None:
        """Bring the panel `name` to the front and into focus."""
        if name in _IN_TURN:
            for other in _IN_TURN:
                self.set_class(other == name, f"front-{other}")
        self.call_after_refresh(self._panels[name].focus)

    def action_step(self, step: int) -> None:
        here = commands.PANELS.index(self.panel) if self.panel else -step
        self.go_to(commands.PANELS[(here + step) % len(commands.PANELS)])

    def _say_new_trouble(self, frame: Frame) -> None:
        """A new warning or error of the log is shown at the bottom, wherever the log panel is."""
        log = frame.snapshot.log if frame.snapshot else ()
        known, self._last_line = self._last_line, log[-1] if log else None
        if known is None:
            return
        for line in reversed(log):
            if line is known:
                return
            if line.level != "info":
                _, _, style = LEVELS.get(line.level, ("", "", "warn"))
                self.say(line.text, style)
                return
