"""What a stranger needs to know first: shown once, at a start where nothing is configured."""

from typing import ClassVar

from textual import events

from tui.dialogs.dialog import BLANK, Dialog, paragraph
from tui.frame import Frame
from tui.widgets.lines import Line

_KEYS = (
    ("kill", "stops trading and cancels every order, at once, unasked."),
    ("strategies", "goes to the strategies; {toggle} there switches one on or off."),
    ("next-panel", "goes to the next panel; the arrows move in it."),
    ("palette", "has every command, by name."),
    ("help", "says which keys work where you are, and what the signs mean."),
)
_KEY_WIDTH = 8

_SCROLLS = frozenset({"up", "down", "pageup", "pagedown", "home", "end"})
_CLOSES = frozenset({"enter", "space"})
"""Keys that everyone presses to go on: they do nothing else."""


class GuideDialog(Dialog):
    """It stands in nobody's way: any key closes it, and does what it does on the desk."""

    TITLE = "First steps"
    expires: ClassVar = False

    def lines(self, frame: Frame) -> list[Line]:
        return [
            *paragraph("The engine trades by strategies; here you watch and steer it."),
            BLANK,
            *_now(frame),
            BLANK,
            *(
                ((frame.keys[id].ljust(_KEY_WIDTH), "key"), (does.format_map(frame.keys), "text"))
                for id, does in _KEYS
            ),
            BLANK,
            *paragraph(
                "To trade a real market, on paper: copy .env.example to .env, and name symbols "
                "with their venue there, such as SYMBOLS=alpaca:AAPL, and the venue's keys. "
                "`tradebot verify-broker` tries them."
            ),
            BLANK,
            (
                *(("Any key goes on. ", "text"), (frame.keys["help"], "key")),
                *((" and then ", "text"), ("g", "key"), (" shows this again.", "text")),
            ),
        ]

    def on_key(self, event: events.Key) -> None:
        if event.key in _SCROLLS:
            return
        event.stop()
        self.dismiss()
        if event.key not in _CLOSES:
            self.app.call_later(self.app.simulate_key, event.key)


def _now(frame: Frame) -> list[Line]:
    """What is going on, as far as it is known."""
    snapshot = frame.snapshot
    if snapshot is None:
        return paragraph("The engine is starting.")
    if frame.live:
        return paragraph(
            f"It is LIVE: orders use real money, of account {snapshot.account}.", "warn"
        )
    if snapshot.feed.recorded:
        return paragraph(
            "Now it is PAPER, on recorded market data: the prices were traded once, and orders go "
            "to a simulated exchange. No money is at risk."
        )
    return paragraph("Now it is PAPER: no money is at risk.")
