"""The equity panel: the curve that the engine saved, as a chart."""

from textual.strip import Strip

from engine.view.questions import Equity, EquityCurve, EquityPoint
from tui import format
from tui.asking import Asking
from tui.frame import Frame
from tui.widgets.curve import curve
from tui.widgets.lines import Cell, Line, draw, spread
from tui.widgets.panel import Panel

POINTS = 1_000
ASK_EVERY = 15.0
"""Seconds between two questions; a point is saved every minute of market time."""


class EquityChart(Panel):
    """The highest and the lowest equity at the left edge, the times of the first and the last point
    below. Asked for while the panel is in sight."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._curve = Asking[EquityCurve](self.ask, ASK_EVERY)
        self._drawn: object = None
        self._lines: list[Line] = []

    def show(self, frame: Frame) -> None:
        self._curve.look(Equity(POINTS), frame.now, frame.moment)
        wanted = self._curve.answer, self._curve.failure, self.size, frame.lost
        if wanted != self._drawn:
            self._drawn = wanted
            self._lines = self._chart(frame.lost)
            self.refresh()
        self.entitle(self.id or "", self._note())

    def forget(self) -> None:
        self._curve = Asking[EquityCurve](self.ask, ASK_EVERY)

    def render_line(self, y: int) -> Strip:
        cells = self._lines[y] if y < len(self._lines) else ()
        return draw(cells, self.size.width, self.app.theme)

    def _chart(self, lost: bool) -> list[Line]:
        answer, failure = self._curve.answer, self._curve.failure
        if answer is None and failure:
            return [((f"no equity curve: {failure}", "warn"),)]
        if answer is None:
            return [(("asking for the equity curve …", "dim"),)]
        if not answer.points:
            return [(("no point saved yet: one is saved every minute", "dim"),)]
        return chart(answer, *self.size, "stale" if lost else "info")

    def _note(self) -> str:
        answer, failure = self._curve.answer, self._curve.failure
        if answer is None or not answer.points:
            return ""
        last = answer.points[-1]
        old = f" (OLD: {failure})" if failure else ""
        when = format.clock(last.ts)
        return f"last {format.money(last.equity)} {answer.currency} at {when}{old}"


def chart(answer: EquityCurve, width: int, height: int, style: str) -> list[Line]:
    """The lines of the chart of some points, in a panel of that size."""
    points = answer.points
    values = [point.equity for point in points]
    labels = [format.money(max(values)), format.money(min(values))]
    margin = max(map(len, labels)) + 1
    across, down = width - margin, height - 1
    if across < 2 or down < 1:
        return []
    drawn = curve([(float(p.ts), float(p.equity)) for p in points], across, down)
    lines: list[Line] = []
    for number, text in enumerate(drawn):
        label = labels[0] if number == 0 else labels[1] if number == down - 1 else ""
        lines.append(((f"{label:>{margin - 1}} ", "dim"), (text, style)))
    first, last = _times(points)
    return [*lines, ((" " * margin, "text"), *spread((first,), (last,), across))]


def _times(points: tuple[EquityPoint, ...]) -> tuple[Cell, Cell]:
    """When the first and the last of them was, with the day where they are of two."""
    times = [format.date_and_clock(points[end].ts).removesuffix(" UTC") for end in (0, -1)]
    same_day = times[0][:10] == times[1][:10]
    first, last = (time[11:] if same_day else time[5:16] for time in times)
    return (first, "dim"), (last, "dim")
