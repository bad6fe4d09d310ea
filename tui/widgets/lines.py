"""Lines of styled cells, drawn with Textual's line API: only what changed is painted again.

Texts are drawn as they are, never as markup.
"""

from collections.abc import Iterable, Sequence

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from engine.core.text import clean
from tui import format, themes

Cell = tuple[str, str]
"""A text and the name of its style in `tui.themes`."""

Line = tuple[Cell, ...]


def length(cells: Iterable[Cell]) -> int:
    """The width of `cells` on the screen."""
    return sum(format.width(text) for text, _ in cells)


def draw(cells: Iterable[Cell], width: int, theme: str, selected: bool = False) -> Strip:
    """`cells` as a strip of exactly `width`; neighbours of one style share a segment, because every
    segment costs the terminal an escape sequence that is longer than most cells."""
    merged: list[Cell] = []
    room = width
    for text, style in cells:
        # Clean already at the engine's edge; what moves the cursor or forges a line stops here too.
        text, taken = format.measured_cut(text if text.isprintable() else clean(text), room)
        room -= taken
        _append(merged, text, style)
    _append(merged, " " * room, "text")
    segments = [Segment(text, themes.style(theme, style, selected)) for text, style in merged]
    return Strip(segments, width)


def _append(merged: list[Cell], text: str, style: str) -> None:
    if not text:
        return
    if merged:
        before, style_before = merged[-1]
        # A space shows no foreground, so it may take any style without a background
        blank = text.isspace() and style not in themes.BADGES and style_before not in themes.BADGES
        if blank or style == style_before:
            merged[-1] = (before + text, style_before)
            return
    merged.append((text, style))


def changed_width(before: Strip, after: Strip) -> int:
    """How many cells of two strips differ, counted up to the last one that does: Textual paints a
    line from its left edge in any case."""
    if before is after:
        return 0
    if before.cell_length != after.cell_length:
        return after.cell_length
    old, new, width = list(before), list(after), after.cell_length
    while new and old[-1] == new[-1]:
        width -= format.width(old.pop().text)
        new.pop()
    if new and old[-1].style == new[-1].style and f"{old[-1].text}{new[-1].text}".isascii():
        width -= _common_end(old[-1].text, new[-1].text)
    return width


def _common_end(first: str, second: str) -> int:
    """How many characters two texts have in common at their ends, found by halves."""
    least, most = 0, min(len(first), len(second))
    while least < most:
        middle = (least + most + 1) // 2
        if first[-middle:] == second[-middle:]:
            least = middle
        else:
            most = middle - 1
    return least


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line."""
    return (*left, (" " * max(1, width - length(left) - length(right)), "text"), *right)


def banner(text: str, style: str, width: int) -> Line:
    """`text` across the whole width."""
    text, taken = format.measured_cut(f" {text} ", width)
    return ((text + " " * (width - taken), style),)


def fit(parts: Sequence[tuple[int, Line]], width: int, gap: int = 2) -> Line:
    """As many of `parts` as `width` holds; those with the highest rank are left out first."""
    kept = [(rank, index, cells) for index, (rank, cells) in enumerate(parts) if cells]
    while len(kept) > 1 and sum(length(c) for _, _, c in kept) + gap * (len(kept) - 1) > width:
        kept.remove(max(kept))
    cells: list[Cell] = []
    for _, _, part in kept:
        if cells:
            cells.append((" " * gap, "text"))
        cells.extend(part)
    return tuple(cells)


class Lines(Widget):
    """A fixed text of styled lines."""

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def update(self, lines: Iterable[Line]) -> None:
        """Show `lines`; those that are as before are not painted."""
        old, self._lines = self._lines, tuple(lines)
        if len(old) != len(self._lines):
            self.refresh(layout=True)
            return
        for y, (before, after) in enumerate(zip(old, self._lines, strict=True)):
            if before != after:
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        cells = self._lines[y] if y < len(self._lines) else ()
        return draw(cells, self.size.width, self.app.theme)
