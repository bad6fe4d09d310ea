"""The pattern-day-trader rule: how many day trades, and from when to when it held.

FINRA Rule 4210(f)(8)(B) let a margin account with less than US$25,000 make three day trades in
five business days. The SEC approved its end on 14 April 2026 (release 34-105226,
SR-FINRA-2025-017), effective on 4 June 2026; a broker may hold on to it until 20 October 2027. This
is no legal advice.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from engine.core.model import ZERO, AssetClass, DayTradeRule, Fill, Instrument
from engine.core.sessions import Calendars
from engine.core.settlement import business_day, trade_date

RULE_ENDED = date(2026, 6, 4)
LEAST_EQUITY = Decimal(25_000)
MOST_DAY_TRADES = 3
BUSINESS_DAYS = 5


class _Today:
    """What was opened in a symbol on its last day, and whether the last execution closed some."""

    __slots__ = ("closing", "day", "opened")

    def __init__(self, day: date) -> None:
        self.day = day
        self.opened = ZERO
        self.closing = False


class DayTrades:
    """Counts the purchases (or short sales) that were closed on the same day of the market.

    Executions that close one after the other, with none between that opens, are one day trade;
    what was opened on the day is closed first. Only stocks that are traded in US dollars count.
    """

    def __init__(self, instruments: Mapping[str, Instrument], calendars: Calendars) -> None:
        self._instruments = instruments
        self._calendars = calendars
        self._quantities: dict[str, Decimal] = {}
        self._today: dict[str, _Today] = {}
        self._counts: dict[str, dict[date, int]] = {}
        self.broker_rule: bool | None = None
        self.broker_count: int | None = None

    def is_subject(self, symbol: str) -> bool:
        instrument = self._instruments.get(symbol)
        if instrument is None or instrument.asset_class is not AssetClass.STOCK:
            return False
        return instrument.currency == "USD"

    def subject(self, venue: str) -> str:
        """One of the venue's symbols that the rule is of; empty where it has none."""
        own = (s for s, i in self._instruments.items() if i.venue == venue)
        return next(filter(self.is_subject, own), "")

    def applies(self, rule: DayTradeRule, symbol: str, ts: int, equity: Decimal | None) -> bool:
        """Whether the rule limits trades in `symbol` now; unknown equity is too little."""
        if rule is DayTradeRule.OFF or not self.is_subject(symbol):
            return False
        if equity is not None and equity >= LEAST_EQUITY:
            return False
        if rule is DayTradeRule.ON or self.broker_rule is not None:
            return rule is DayTradeRule.ON or bool(self.broker_rule)
        return self._day(symbol, ts) < RULE_ENDED

    def used(self, symbol: str, ts: int) -> int:
        """Day trades in the five business days of the market of `symbol` that end today; the
        broker's count where it is higher."""
        today = self._day(symbol, ts)
        counted = sum(
            count
            for calendar, days in self._counts.items()
            for day, count in days.items()
            if business_day(self._calendars, calendar, day, BUSINESS_DAYS - 1) >= today
        )
        return max(counted, self.broker_count or 0)

    def opened_today(self, ts: int) -> set[str]:
        """Symbols of which some was opened today and is still held: each may become a day trade."""
        return {
            symbol
            for symbol, today in self._today.items()
            if today.opened and today.day == self._day(symbol, ts)
        }

    def state(self) -> dict[str, Any]:
        return {
            "counts": [
                [calendar, day.isoformat(), count]
                for calendar, days in sorted(self._counts.items())
                for day, count in sorted(days.items())
            ],
            "today": [
                [symbol, today.day.isoformat(), today.opened, today.closing]
                for symbol, today in sorted(self._today.items())
            ],
            "broker": [self.broker_rule, self.broker_count],
        }

    def open(self, quantities: Mapping[str, Decimal]) -> None:
        """Begin with what was held before the first execution that is known."""
        self._quantities = {s: q for s, q in quantities.items() if q}
        self._today.clear()
        self._counts.clear()

    def apply(self, fill: Fill) -> None:
        if not self.is_subject(fill.symbol):
            return
        day = self._day(fill.symbol, fill.ts)
        today = self._today.get(fill.symbol)
        if today is None or today.day != day:
            today = self._today[fill.symbol] = _Today(day)
        before = self._quantities.get(fill.symbol, ZERO)
        signed = fill.side.sign * fill.quantity
        closed = min(abs(before), fill.quantity) if before * signed < 0 else ZERO
        if closed and today.opened:
            today.opened = max(ZERO, today.opened - closed)
            self._count(fill.symbol, day, 0 if today.closing else 1)
            today.closing = True
        if closed < fill.quantity:
            today.opened += fill.quantity - closed
            today.closing = False
        self._quantities[fill.symbol] = before + signed

    def _count(self, symbol: str, day: date, more: int) -> None:
        """Add to the day, and forget those that cannot count any more."""
        calendar = self._instruments[symbol].calendar
        days = self._counts.get(calendar, {})
        self._counts[calendar] = kept = {
            d: count
            for d, count in days.items()
            if business_day(self._calendars, calendar, d, BUSINESS_DAYS - 1) >= day
        }
        kept[day] = kept.get(day, 0) + more

    def _day(self, symbol: str, ts: int) -> date:
        return trade_date(self._calendars, self._instruments[symbol].calendar, ts)


def possible(used: int, opened: Iterable[str], wanted: Iterable[str]) -> Decimal:
    """Day trades at their worst: what was or will be opened today is closed today."""
    return Decimal(used + len({*opened, *wanted}))
