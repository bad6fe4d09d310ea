"""A line through points, drawn in braille: two dots across a cell and four down. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

_BLANK = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot of a cell, by column and row."""

Point = tuple[float, float]


def curve(points: Sequence[Point], width: int, height: int) -> list[str]:
    """`height` lines of `width` cells with a line through `points` (x ascending, y), which fills
    them: the least y is at the bottom, the greatest at the top; a flat one is in the middle."""
    cells = [[_BLANK] * width for _ in range(height)]
    for x, y in _dots(points, 2 * width, 4 * height):
        cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    return ["".join(map(chr, row)) for row in cells]


def _dots(points: Sequence[Point], across: int, down: int) -> Iterator[tuple[int, int]]:
    """The dots of the line, from the top left."""
    if not points or across < 1 or down < 1:
        return
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, bottom = xs[0], min(ys)
    wide, high = (xs[-1] - left) or 1.0, max(ys) - bottom
    placed = [
        (
            round((x - left) / wide * (across - 1)),
            round((1 - (y - bottom) / high) * (down - 1)) if high else down // 2,
        )
        for x, y in points
    ]
    yield placed[0]
    for (x0, y0), (x1, y1) in pairwise(placed):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)
