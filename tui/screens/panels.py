"""What every screen has in common: status on top, panels, and the keys at the bottom."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen

from engine.view.questions import Chain, Question
from tui import commands
from tui.frame import Frame, Past
from tui.preferences import Arrangement, Choices
from tui.widgets.footer import Footer
from tui.widgets.line_table import LineTable
from tui.widgets.panel import Panel
from tui.widgets.status_strip import StatusStrip
from tui.widgets.table_keys import TableKeys
from tui.widgets.too_small import LEAST_HEIGHT, LEAST_WIDTH, TooSmall

_WIDTHS = [(0, "-small"), (LEAST_WIDTH, "-narrow"), (120, "-wide")]
_HEIGHTS = [(0, "-small"), (LEAST_HEIGHT, "-short"), (36, "-tall")]
_BROAD = 180
"""Columns from which on a wide screen is `-broad` as well."""


def _layout(size: Size) -> str:
    """The classes that Textual gives at `size`; without them the first frame is laid out twice."""
    pairs = ((_WIDTHS, size.width), (_HEIGHTS, size.height))
    names = [max(p for p in points if p[0] <= extent)[1] for points, extent in pairs]
    return " ".join([*names, *["-broad"] * (size.width >= _BROAD)])


def _is_elsewhere(past: Past | None, before: Past | None) -> bool:
    """Whether what was shown before does not hold: of now, of another session, or of later."""
    if past is None or before is None:
        return past is not before
    return not past.follows(before)


class PanelScreen(Screen[None]):
    """A screen of panels. A subclass names them in `PANELS`, from the top left to the bottom right,
    each with what makes it; the style sheet lays them out. Without more they stand one above the
    other. `name` is that of the table of screens.

    A screen that is not in sight gets no frames; it is brought up to date when it comes back.
    """

    PANELS: ClassVar[Mapping[str, type[Panel]]] = {}
    IN_TURN: ClassVar[tuple[str, ...]] = ()
    """Panels that share one place where there is no room for all; the style sheet says when."""

    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar = commands.bindings("screen")

    def __init__(self, name: str, take: Callable[[], Frame], size: Size) -> None:
        front = f"front-{self.IN_TURN[0]}" if self.IN_TURN else ""
        super().__init__(name=name, classes=f"{front} {_layout(size)}")
        self._take = take
        self._frame = take()
        self._strip = StatusStrip(name)
        self._panels = {id: panel(id=id) for id, panel in self.PANELS.items()}
        self._too_small = TooSmall()
        self.footer = Footer()
        self._zoomed = False
        self._first = next(iter(self._panels))

    def compose(self) -> ComposeResult:
        yield self._strip
        with Container(id="panels"):
            yield from self._panels.values()
        yield self._too_small
        yield self.footer

    def on_mount(self) -> None:
        self.show(self._frame)
        self.go_to(self._first)

    def on_screen_resume(self) -> None:
        layout = _layout(self.app.size).split()
        names = {"-broad", *(name for _, name in (*_WIDTHS, *_HEIGHTS))}
        self.update_classes({name: name in layout for name in names}, animate=False)
        self.show(self._take())

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width >= _BROAD, "-broad")

    def show(self, frame: Frame) -> None:
        """Hand the one frame to every panel, so that all agree."""
        if _is_elsewhere(frame.past, self._frame.past):
            for panel in self._panels.values():
                panel.forget()
        self._frame = frame
        self.set_class(frame.live, "-live")
        self.set_class(frame.lost, "-lost")
        self.set_class(frame.past is not None, "-past")
        self._strip.show(frame)
        if frame.frozen is None:
            for panel in self._panels.values():
                panel.show(frame)
        self._too_small.show(frame)
        self.footer.show(frame, self.panel, typing=self.is_typing)

    def on_descendant_focus(self) -> None:
        """The keys of the new panel are shown at once, not with the next frame."""
        self.footer.show(self._frame, self.panel, typing=self.is_typing)
        self.post_message(Panel.Arranged())

    def say(self, text: str, style: str = "info") -> None:
        self.footer.say(text, style)

    def on_panel_said(self, message: Panel.Said) -> None:
        self.say(message.text, message.style)

    # --- how it is left --------------------------------------------------------------------------

    @property
    def zoomed(self) -> str:
        """The panel that is the whole screen, empty where none is."""
        return self.panel if self._zoomed else ""

    @property
    def arrangements(self) -> dict[str, Arrangement]:
        """How the tables are left, by the names of screen and panel."""
        tables = {f"{self.name}.{id}": panel for id, panel in self._panels.items()}
        return {name: p.arrangement for name, p in tables.items() if isinstance(p, TableKeys)}

    def put_back(self, left: Choices) -> None:
        """Be as it was left."""
        for id, panel in self._panels.items():
            if isinstance(panel, TableKeys) and (found := left.tables.get(f"{self.name}.{id}")):
                panel.put_back(found)
                if panel.is_mounted:
                    panel.searched()
        zoomed = left.zoomed.get(self.name or "", "")
        panel = zoomed or left.panels.get(self.name or "", "")
        if panel in self._panels:
            self._zoomed = bool(zoomed)
            self.go_to(panel)
        if self.is_mounted:
            self.show(self._frame)

    # --- where one is ----------------------------------------------------------------------------

    @property
    def panel(self) -> str:
        """The panel in focus, empty if none is."""
        return self.focused.id or "" if self.focused is not None else ""

    @property
    def why(self) -> Question[Chain] | None:
        """What asks why there is the selected row of the panel in focus."""
        panel = self._panels.get(self.panel)
        return panel.why if isinstance(panel, LineTable) else None

    @property
    def is_typing(self) -> bool:
        """Whether keys are letters of a filter now."""
        return isinstance(self.focused, Panel) and self.focused.is_typing

    @property
    def too_small(self) -> bool:
        """Is there no room for any panel?"""
        return self.has_class("-small")

    @property
    def is_roomy(self) -> bool:
        """Whether what lies over a corner for some seconds hides nothing that matters."""
        return self.has_class("-wide") and self.has_class("-tall")

    def about(self) -> str:
        """The symbol that is selected in the panel in focus, empty where there is none."""
        return self._panels[self.panel].about() if self.panel in self._panels else ""

    def look_at(self, symbol: str) -> None:
        """Show `symbol`, on a screen that is about one."""

    def has_panel(self, name: str) -> bool:
        return name in self._panels

    def go_to(self, name: str) -> None:
        """Bring the panel `name` to the front and into focus."""
        self._first = name
        if self.too_small or not self.is_running:
            return
        if name in self.IN_TURN:
            front = {f"front-{other}": other == name for other in self.IN_TURN}
            self.update_classes(front, animate=False)
        self._place(name)
        self.set_focus(self._panels[name])

    def action_step(self, step: int) -> None:
        names = list(self._panels)
        here = names.index(self.panel) if self.panel in names else -step
        self.go_to(names[(here + step) % len(names)])

    def action_zoom(self) -> None:
        """Make the panel in focus the whole screen, or all as it was."""
        if self.panel and not self.too_small:
            self._zoomed = not self._zoomed
            self._place(self.panel)
            self.post_message(Panel.Arranged())

    async def action_back(self) -> None:
        """From a panel that is the whole screen to all, and from there to the first screen."""
        if self._zoomed:
            self.action_zoom()
        else:
            await self.run_action(f"app.screen('{commands.FIRST_SCREEN}')")

    def _place(self, name: str) -> None:
        """Lay the panels out where `name` is, or will be, in focus."""
        self.set_class(self._zoomed, "-zoomed")
        for other, panel in self._panels.items():
            if self._zoomed:
                panel.display = other == name
            else:
                panel.styles.clear_rule("display")
