"""What is left of the console where the terminal is too small for it."""

import textwrap

from tui.frame import Frame, alerts, kill_words
from tui.widgets.lines import Lines
from tui.widgets.status_strip import day_pnl, engine_light, equity, mode_badge

LEAST_WIDTH, LEAST_HEIGHT = 80, 24


class TooSmall(Lines):
    """Mode, kill switch, day P&L and equity in the order of their weight; the kill key works."""

    def show(self, frame: Frame) -> None:
        width, height = self.app.size
        trouble, style = next(iter(alerts(frame)), ("", ""))
        lines = [
            (*mode_badge(frame), (" ", "text"), kill_words(frame)),
            day_pnl(frame),
            equity(frame),
            engine_light(frame),
            *(((line, style),) for line in textwrap.wrap(trouble, max(width, 10))),
            (("ctrl+k", "key"), (" kills, ", "text"), ("q", "key"), (" quits", "text")),
            ((f"needs {LEAST_WIDTH}x{LEAST_HEIGHT}, has {width}x{height}", "warn"),),
        ]
        self.update(lines)
