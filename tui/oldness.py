"""What is shown that rests on something old: prices that are late, a feed or a broker that is down,
an engine that is lost. Such a number is faded and has a sign; how old it is is said beside it.

All ages are nanoseconds of market time, 0 where how long is not known, None where nothing is old.
"""

from engine.core.model import NANOS, Instrument, Order, Scope
from tui import format
from tui.frame import Frame
from tui.widgets.lines import Cell

SIGN = "~"
"""What stands before a number that rests on something old."""


def old_symbols(frame: Frame) -> dict[str, int]:
    """The symbols whose prices are not of now, with the age of each."""
    snapshot = frame.snapshot
    if snapshot is None:
        return {}
    is_down = frame.lost or snapshot.feed.status == "disconnected"
    rows = [row for row in snapshot.quotes if is_down or row.stale]
    return {row.symbol: _since(row.ts, snapshot.ts) for row in rows}


def old_prices(frame: Frame, strategy: str = "") -> int | None:
    """The age of the oldest price at which something is held: of `strategy`, or at all."""
    old = old_symbols(frame)
    held = [row.position for row in frame.snapshot.positions] if frame.snapshot else []
    ages = [old[p.symbol] for p in held if p.symbol in old and strategy in ("", p.strategy)]
    return max(ages, default=None)


def old_cash(frame: Frame) -> int | None:
    """How long ago the brokers that are down said what cash there is."""
    snapshot = frame.snapshot
    if snapshot is None:
        return None
    ages = [_since(b.since_ts, snapshot.ts) for b in snapshot.brokers if not b.connected]
    if frame.lost:
        ages.append(int(frame.silence * NANOS))
    return max(ages, default=None)


def old_equity(frame: Frame) -> int | None:
    """The age of what equity, the day's P&L and the use of limits rest on: prices and cash."""
    ages = [age for age in (old_prices(frame), old_cash(frame)) if age is not None]
    return max(ages, default=None)


def number(text: str, style: str, age: int | None) -> Cell:
    """A number as it is shown: faded and with a sign where it rests on something old."""
    if age is None or text.startswith(format.DASH):
        return text, style
    return f"{SIGN}{text}", "stale"


def words(age: int | None) -> str:
    """How old it is; empty where it is of now."""
    if age is None:
        return ""
    return f"STALE {format.age(age)}" if age else "STALE"


def noted(note: str, what: str) -> str:
    """The `note` of a panel with `what` is old, if anything is."""
    return f"{note} · {what}" if what else note


def no_data(frame: Frame) -> str:
    """That the feed is down, and for how long; empty where it is not."""
    snapshot = frame.snapshot
    if snapshot is None or snapshot.feed.status != "disconnected":
        return ""
    return f"FEED DOWN {format.since(snapshot.feed.since_ts, snapshot.ts)}"


def out_of_reach(frame: Frame) -> dict[str, str]:
    """The brokers to which nothing leaves now, with why: what is open there cannot be cancelled,
    or is of a broker that was killed."""
    snapshot = frame.snapshot
    if snapshot is None:
        return {}
    health = snapshot.health.brokers if snapshot.health else ()
    killed = [row.killed.part for row in snapshot.killed_parts]
    return {
        **{part.name: "killed" for part in killed if part.scope is Scope.BROKER},
        **{h.name: f"shut {format.seconds(h.shut_s)}" for h in health if h.shut_s},
        **{
            b.name: f"down {format.since(b.since_ts, snapshot.ts)}"
            for b in snapshot.brokers
            if not b.connected
        },
    }


def unreached(order: Order, instrument: Instrument | None, reach: dict[str, str]) -> str:
    """Why an open order is out of reach; empty where it is not, or ended."""
    if not order.is_open or instrument is None or instrument.venue not in reach:
        return ""
    return f"{instrument.venue} {reach[instrument.venue]}"


def _since(ts: int, now: int) -> int:
    return max(0, now - ts) if ts else 0
