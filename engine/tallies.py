"""What the view counts of the facts: signals that were blocked, connections that were lost."""

from typing import NamedTuple

from engine.core.events import (
    BrokerStatusChanged,
    ConfigUsed,
    Event,
    FeedStatusChanged,
    SignalBlocked,
    TradingDayStarted,
)
from engine.snapshot import BlockedRow


class Blocked:
    """How many signals each check blocked today, in this session: the later of the two began at
    `since_ts` (market time, ns UTC), 0 before it did."""

    def __init__(self) -> None:
        self.since_ts = 0
        self._rows: dict[str, BlockedRow] = {}

    def follow(self, fact: Event) -> None:
        match fact:
            case ConfigUsed() | TradingDayStarted():
                self.since_ts = fact.ts
                self._rows.clear()
            case SignalBlocked(signal=signal, check=check, reason=reason):
                known = self._rows.pop(check, None)
                count = 1 if known is None else known.count + 1
                self._rows[check] = BlockedRow(check, count, fact.seq, signal, reason)
            case _:
                pass

    @property
    def rows(self) -> tuple[BlockedRow, ...]:
        """The latest first."""
        return tuple(reversed(self._rows.values()))


class Standing(NamedTuple):
    """What a connection is, since when (market time, ns UTC), and how often it was lost."""

    status: str = ""
    since_ts: int = 0
    losses: int = 0


class Connections:
    """How long each broker, by its name, and the feed are what they are."""

    def __init__(self) -> None:
        self.brokers: dict[str, Standing] = {}
        self.feed = Standing()

    def follow(self, fact: Event) -> None:
        match fact:
            case BrokerStatusChanged(broker=name, connected=connected):
                before = self.brokers.get(name, Standing())
                status = "connected" if connected else "disconnected"
                self.brokers[name] = _after(before, status, fact.ts)
            case FeedStatusChanged(status=status):
                self.feed = _after(self.feed, status, fact.ts)
            case _:
                pass


def _after(before: Standing, status: str, ts: int) -> Standing:
    """What never was there is not lost."""
    if status == before.status:
        return before
    lost = bool(before.status) and status == "disconnected"
    return Standing(status, ts, before.losses + lost)
