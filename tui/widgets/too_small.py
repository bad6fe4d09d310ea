"""What is left of the console where the terminal is too small for it."""

import textwrap

from tui.frame import Frame, alerts, kill_words
from tui.widgets.lines import Line, Lines
from tui.widgets.status_strip import (
    NOT_LIVE,
    day_pnl,
    engine_light,
    equity,
    mode_badge,
    place,
)

LEAST_WIDTH, LEAST_HEIGHT = 80, 24


class TooSmall(Lines):
    """Mode, kill switch, day P&L and equity in the order of their weight, of now, whatever else was
    shown; the kill key works."""

    def show(self, frame: Frame) -> None:
        width, height = self.app.size
        past: list[Line] = []
        if frame.past is not None:
            leave = f" {frame.keys['past-leave']}: back to live"
            past = [(*NOT_LIVE, (leave, "text")), place(frame.past)]
        frame = frame.engine
        quits = frame.keys["quit"], "key"
        trouble, style = next(iter(alerts(frame)), ("", ""))
        lines = [
            *past,
            (*mode_badge(frame), (" ", "text"), kill_words(frame)),
            day_pnl(frame),
            equity(frame),
            engine_light(frame),
            *(((line, style),) for line in textwrap.wrap(trouble, max(width, 10))),
            (("ctrl+k", "key"), (" kills, ", "text"), quits, (" quits", "text")),
            ((f"needs {LEAST_WIDTH}x{LEAST_HEIGHT}, has {width}x{height}", "warn"),),
        ]
        self.update(lines)
