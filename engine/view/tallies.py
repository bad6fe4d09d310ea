"""What the view counts of the facts: signals that were blocked, connections that were lost, and
what the session did."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from engine.core.events import (
    BrokerStatusChanged,
    ConfigUsed,
    Event,
    FeedStatusChanged,
    OrderIntended,
    OrderRejected,
    PositionChanged,
    PositionClosed,
    SignalBlocked,
    StoreStatusChanged,
    TradeReversed,
    TradingDayStarted,
)
from engine.core.model import Fill, Instrument
from engine.view.snapshot import BlockedRow, SessionTotals


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
    """How long each broker, by its name, the feed and the database are what they are."""

    def __init__(self) -> None:
        self.brokers: dict[str, Standing] = {}
        self.feed = self.store = Standing()

    def follow(self, fact: Event) -> None:
        match fact:
            case BrokerStatusChanged(broker=name, connected=connected):
                before = self.brokers.get(name, Standing())
                status = "connected" if connected else "disconnected"
                self.brokers[name] = _after(before, status, fact.ts)
            case FeedStatusChanged(status=status):
                self.feed = _after(self.feed, status, fact.ts)
            case StoreStatusChanged(available=available):
                status = "connected" if available else "disconnected"
                self.store = _after(self.store, status, fact.ts)
            case _:
                pass


def _after(before: Standing, status: str, ts: int) -> Standing:
    """What never was there is not lost."""
    if status == before.status:
        return before
    lost = bool(before.status) and status == "disconnected"
    return Standing(status, ts, before.losses + lost)


class Session:
    """What the session did so far, in the currencies of the `instruments`."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._currencies = {each.symbol: each.currency for each in instruments}
        self._orders = self._executions = self._rejected = 0
        self._closed: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._fees: defaultdict[str, Decimal] = defaultdict(Decimal)

    def follow(self, fact: Event) -> None:
        match fact:
            case OrderIntended():
                self._orders += 1
            case OrderRejected():
                self._rejected += 1
            case PositionChanged(fill=fill) if not fill.is_opening:
                self._count(fill, 1)
            case TradeReversed(fill=fill, correction=correction):
                self._count(fill, -1)
                if correction is not None:
                    self._count(correction, 1)
            case PositionClosed(round_trip=trip):
                self._closed[self._currency(trip.symbol)] += trip.pnl
            case _:
                pass

    @property
    def totals(self) -> SessionTotals:
        return SessionTotals(
            self._orders,
            self._executions,
            self._rejected,
            tuple(self._closed.items()),
            tuple(self._fees.items()),
        )

    def _count(self, fill: Fill, sign: int) -> None:
        self._executions += sign
        self._fees[self._currency(fill.symbol)] += sign * fill.total_commission

    def _currency(self, symbol: str) -> str:
        return self._currencies.get(symbol, symbol)
