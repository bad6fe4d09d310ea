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

_WIDTHS = [(0, "-small"), (LEAST_WIDTH, "-narrow"), (120, "-wide")]
_HEIGHTS = [(0, "-small"), (LEAST_HEIGHT, "-short"), (36, "-tall")]


def _reached(breakpoints: list[tuple[int, str]], extent: int) -> str:
    """The class that Textual gives at `extent`; without it the first frame is laid out twice."""
    return max(point for point in breakpoints if point[0] <= extent)[1]


class Desk(Screen[None]):
    AUTO_FOCUS = "#quotes"
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar = commands.bindings("desk")

    def __init__(self, take: Callable[[], Frame], size: Size) -> None:
        layout = f"{_reached(_WIDTHS, size.width)} {_reached(_HEIGHTS, size.height)}"
        super().__init__(classes=f"front-orders {layout}")
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
        self.set_class(frame.live, "-live")
        self.set_class(frame.lost, "-lost")
        self._strip.show(frame)
        for panel in self._panels.values():
            panel.show(frame)
        self._too_small.show(frame)
        self._say_new_trouble(frame)
        self._footer.show(frame, self.panel)

    def say(self, text: str, style: str = "info") -> None:
        self._footer.say(text, style)

    @property
    def panel(self) -> str:
        """The panel in focus, empty if none is."""
        return self.focused.id or "" if self.focused is not None else ""

    @property
    def too_small(self) -> bool:
        """Is there no room for any panel?"""
        return self.has_class("-small")

    def go_to(self, name: str) -> None:
        """Bring the panel `name` to the front and into focus."""
        if self.too_small:
            return
        if name in _IN_TURN:
            front = {f"front-{other}": other == name for other in _IN_TURN}
            self.update_classes(front, animate=False)
        self.set_focus(self._panels[name])

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
