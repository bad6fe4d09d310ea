"""Settlement: when the money of a trade is there, and what a cash account may do before.

Stocks settle a number of business days after the trade date: one since 28 May 2024 in the United
States (SEC Rule 15c6-1, release 34-96930) and since 27 May 2024 in Canada (NI 24-101), two before
that and since 5 September 2017, three before. Crypto settles at once. A day on which US banks are
closed and the exchanges open (Columbus Day, Veterans Day) is no day of settlement there (FINRA,
trade date and settlement date schedules). This is no legal advice.
"""

from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.core.model import ZERO, AssetClass, Fill, Instrument, Side, Violation, nanos, utc
from engine.core.sessions import ALWAYS_OPEN, Calendars

EASTERN = ZoneInfo("America/New_York")  # the day of both markets; Toronto's clocks are the same
CANADIAN = frozenset({"XTSE", "TSX"})
T_PLUS_TWO = date(2017, 9, 5)
T_PLUS_ONE_US = date(2024, 5, 28)
T_PLUS_ONE_CANADA = date(2024, 5, 27)
NEVER = 2**63 - 1
GOOD_FAITH, FREE_RIDING = "good_faith", "free_riding"


def trade_date(calendars: Calendars, calendar: str, ts: int) -> date:
    """The session of the market in which `ts` is; without a calendar the day in New York."""
    if calendar == ALWAYS_OPEN:
        return utc(ts).astimezone(EASTERN).date()
    return date.fromisoformat(calendars.session_date(calendar, ts))


def business_day(calendars: Calendars, calendar: str, day: date, n: int) -> date:
    """The `n`-th session after `day`; a stock without a calendar trades Monday to Friday."""
    return calendars.business_day("" if calendar == ALWAYS_OPEN else calendar, day, n)


def settlement_date(calendars: Calendars, calendar: str, traded: date) -> date:
    """The day on which a stock that was traded on `traded` is paid."""
    canadian = calendar in CANADIAN
    left = 3
    if traded >= T_PLUS_TWO:
        left = 1 if traded >= (T_PLUS_ONE_CANADA if canadian else T_PLUS_ONE_US) else 2
    day = business_day(calendars, calendar, traded, 0)
    while left:
        day = business_day(calendars, calendar, day, 1)
        if canadian or not _is_bank_holiday(day):
            left -= 1
    return day


def _is_bank_holiday(day: date) -> bool:
    """Columbus Day (second Monday of October) and Veterans Day (11 November, of a Sunday the day
    after): US banks are closed, and the exchanges open."""
    monday = day.weekday() == 0
    if day.month == 10:
        return monday and 8 <= day.day <= 14
    return day.month == 11 and (day.day == 11 or (monday and day.day == 12))


def midnight(day: date) -> int:
    """The start of `day` in New York, ns UTC."""
    return nanos(datetime.combine(day, time(), EASTERN))


class Lot(Struct):
    """Shares that were bought together; the last of the money for them settles at `paid_ts`."""

    quantity: Decimal
    paid_ts: int


class Settlement:
    """The money of sales that has not settled, and what was bought with it.

    What is bought takes its money at once. It takes settled money first, then that which settles
    first. Shares are sold in the order in which they were bought. Lots are kept of stocks in a cash
    account alone: nobody else can violate settlement.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], calendars: Calendars, has_lots: bool
    ) -> None:
        self._instruments = instruments
        self._calendars = calendars
        self._has_lots = has_lots
        self.proceeds: dict[int, Decimal] = {}
        self.lots: dict[str, deque[Lot]] = {}
        self.shorts: dict[str, Decimal] = {}

    def unsettled(self, ts: int) -> Decimal:
        """What sales brought that has not settled at `ts`."""
        return sum((amount for due, amount in self.proceeds.items() if due > ts), ZERO)

    def state(self, ts: int) -> dict[str, Any]:
        """What decides at `ts` and later."""
        return {
            "proceeds": sorted([due, amount] for due, amount in self.proceeds.items() if due > ts),
            "unpaid": {
                symbol: [[lot.quantity, lot.paid_ts] for lot in _merged(lots, ts)]
                for symbol, lots in self.lots.items()
                if any(lot.paid_ts > ts for lot in lots)
            },
            "shorts": self.shorts,
        }

    def open(self, quantities: Mapping[str, Decimal]) -> None:
        """Begin with what was held before the first execution that is known, all of it paid."""
        self.proceeds.clear()
        self.lots = {s: deque([Lot(q, 0)]) for s, q in quantities.items() if q > 0}
        self.shorts = {s: -q for s, q in quantities.items() if q < 0} if self._has_lots else {}

    def apply(self, fill: Fill, cash_before: Decimal) -> Violation | None:
        """Take on an execution; the violation that it is, if it is one."""
        instrument = self._instruments.get(fill.symbol)
        if instrument is None or instrument.asset_class is AssetClass.CRYPTO:
            return None
        change = fill.cash_change
        if fill.side is Side.BUY:
            if self._has_lots:
                self._buy(fill, self._paid_ts(-change, cash_before, fill.ts))
            return None
        unpaid = self._sell(fill) if self._has_lots else 0
        due = self._due(instrument.calendar, fill.ts)
        self.proceeds = {d: amount for d, amount in self.proceeds.items() if d > fill.ts}
        self.proceeds[due] = self.proceeds.get(due, ZERO) + change
        if not unpaid:
            return None
        kind = FREE_RIDING if unpaid == NEVER else GOOD_FAITH
        return Violation(kind, fill.client_order_id, fill.symbol, fill.ts)

    def unpaid(self, symbol: str, quantity: Decimal, ts: int) -> int:
        """When the money settles that paid for the next `quantity` of `symbol` to be sold; 0 where
        it has at `ts`."""
        latest = 0
        for lot in self.lots.get(symbol, ()):
            if quantity <= 0:
                break
            quantity -= lot.quantity
            latest = max(latest, lot.paid_ts)
        return latest if latest > ts else 0

    def symbols_unpaid(self, ts: int) -> list[str]:
        """What is held that was bought with money that has not settled at `ts`."""
        return [s for s, lots in self.lots.items() if any(lot.paid_ts > ts for lot in lots)]

    def _paid_ts(self, cost: Decimal, cash: Decimal, ts: int) -> int:
        """When the last of `cost` settles: 0 where it has, NEVER where there is not so much."""
        missing = cost - (cash - self.unsettled(ts))
        if missing <= 0:
            return 0
        for due in sorted(self.proceeds):
            if due > ts:
                missing -= self.proceeds[due]
                if missing <= 0:
                    return due
        return NEVER

    def _buy(self, fill: Fill, paid_ts: int) -> None:
        covers = min(fill.quantity, self.shorts.get(fill.symbol, ZERO))
        if covers:
            self._go_short(fill.symbol, -covers)
        if fill.quantity > covers:
            lots = self.lots.get(fill.symbol, deque[Lot]())
            lots.append(Lot(fill.quantity - covers, paid_ts))
            self.lots[fill.symbol] = deque(_merged(lots, fill.ts))

    def _sell(self, fill: Fill) -> int:
        unpaid = self.unpaid(fill.symbol, fill.quantity, fill.ts)
        lots, left = self.lots.get(fill.symbol, deque[Lot]()), fill.quantity
        while left and lots:
            sold = min(left, lots[0].quantity)
            left -= sold
            lots[0].quantity -= sold
            if not lots[0].quantity:
                lots.popleft()
        if not lots:
            self.lots.pop(fill.symbol, None)
        if left:
            self._go_short(fill.symbol, left)
        return unpaid

    def _go_short(self, symbol: str, quantity: Decimal) -> None:
        short = self.shorts.pop(symbol, ZERO) + quantity
        if short:
            self.shorts[symbol] = short

    def _due(self, calendar: str, ts: int) -> int:
        traded = trade_date(self._calendars, calendar, ts)
        return midnight(settlement_date(self._calendars, calendar, traded))


def _merged(lots: deque[Lot], ts: int) -> list[Lot]:
    """Neighbours of which it does not matter any more which is which, as one."""
    merged: list[Lot] = []
    for lot in lots:
        paid = lot.paid_ts if lot.paid_ts > ts else 0
        if merged and merged[-1].paid_ts == paid:
            merged[-1].quantity += lot.quantity
        else:
            merged.append(Lot(lot.quantity, paid))
    return merged
