"""What is worth a word wherever one looks: fills, rejects, and new trouble.

A notice is made at most once a second, whatever happens; what came meanwhile is in the next one.
"""

import re
from typing import NamedTuple

from engine.core.model import Order, OrderState
from engine.core.text import clean
from engine.view.snapshot import Snapshot
from tui import format
from tui.frame import Frame, alerts

PAUSE_S = 1.0
"""Seconds between two notices at the least."""

LINES = 3
"""So many are told one by one; of the rest, how many they are."""

_KIND = re.compile("[A-Z' -]+")
"""How an alert begins, which stays while its numbers change."""


class Notice(NamedTuple):
    """`told` are the lines, `alarms` what is wrong since the last one, which the screen shows for
    as long as it lasts."""

    told: tuple[str, ...]
    alarms: tuple[str, ...]
    is_bad: bool

    @property
    def text(self) -> str:
        """In one line."""
        return "; ".join((*self.alarms, *self.told))


class Notices:
    """Compares each frame with the one before."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] | None = None
        self._kinds: frozenset[str] = frozenset()
        self._last = float("-inf")
        self._told: list[str] = []
        self._alarms: list[str] = []
        self._is_bad = False

    def see(self, frame: Frame) -> Notice | None:
        """What there is to say now; None where nothing is, or it waits."""
        if frame.snapshot is not None:
            self._compare(frame.snapshot)
        self._look_for_trouble(frame)
        if not (self._told or self._alarms) or frame.now - self._last < PAUSE_S:
            return None
        more = len(self._told) - LINES
        told = (*self._told[:LINES], *([f"and {more} more"] if more > 0 else ()))
        notice = Notice(told, tuple(self._alarms), self._is_bad)
        self._told, self._alarms, self._is_bad, self._last = [], [], False, frame.now
        return notice

    def _compare(self, snapshot: Snapshot) -> None:
        before = self._orders
        self._orders = {order.client_order_id: order for order in snapshot.orders}
        if before is None:
            return  # what was there before the console is no news
        for key, order in self._orders.items():
            known = before.get(key)
            if known is order:
                continue
            if order.filled > (known.filled if known is not None else 0):
                self._told.append(_fill(order))
            if order.state is OrderState.REJECTED and (known is None or known.state != order.state):
                self._told.append(_reject(order))
                self._is_bad = True

    def _look_for_trouble(self, frame: Frame) -> None:
        kinds: set[str] = set()
        for text, style in alerts(frame):
            found = _KIND.match(text)
            kind = found.group().strip() if found else text
            kinds.add(kind)
            if style == "alarm" and kind not in self._kinds:
                self._alarms.append(clean(text))
                self._is_bad = True
        self._kinds = frozenset(kinds)


def _fill(order: Order) -> str:
    """How much of the order is filled by now, and at what average price."""
    whole = order.filled >= order.quantity
    done = format.quantity(order.filled)
    of = "" if whole else f" of {format.quantity(order.quantity)}"
    price = format.price(order.avg_price, None)
    word = "FILLED" if whole else "PART FILLED"
    return clean(f"{word} {order.side.upper()} {done}{of} {order.symbol} avg {price}")


def _reject(order: Order) -> str:
    quantity = format.quantity(order.quantity)
    because = f": {order.reason}" if order.reason else ""
    return clean(f"REJECTED {order.side.upper()} {quantity} {order.symbol}{because}")


def desktop_sequence(kind: str, text: str) -> str:
    """The escape sequence that has the terminal show `text` as a desktop notification: OSC 9 or
    OSC 777, as `kind` says. Nothing in `text` can end it early or begin another."""
    body = re.sub(r"[^\w .,:+%$()@#/<>=~-]", " ", clean(text, 200))
    head = "9;tradebot: " if kind == "osc9" else "777;notify;tradebot;"
    return f"\x1b]{head}{body}\a"


def through_tmux(sequence: str) -> str:
    """`sequence` as tmux hands it on to its own terminal, where its allow-passthrough is on. It
    keeps to itself what it does not know."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
