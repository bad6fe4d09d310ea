"""Settlement in a cash account, worked out anew from all executions each time.

When the money of a sale is there is a table, not a calendar: the sessions of the simulator begin on
the days that it names.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from engine.core.machine import MachineConfig
from engine.core.model import (
    DAY,
    AccountType,
    AssetClass,
    CashAdjustment,
    Fill,
    Order,
    OrderPurpose,
    Side,
    nanos,
)

NEVER = 2**63

SETTLES = (
    (datetime(2024, 3, 4, 5, tzinfo=UTC), datetime(2024, 3, 6, 5, tzinfo=UTC)),
    (datetime(2024, 3, 5, 5, tzinfo=UTC), datetime(2024, 3, 7, 5, tzinfo=UTC)),
    (datetime(2024, 6, 3, 4, tzinfo=UTC), datetime(2024, 6, 4, 4, tzinfo=UTC)),
    (datetime(2024, 6, 4, 4, tzinfo=UTC), datetime(2024, 6, 5, 4, tzinfo=UTC)),
    (datetime(2024, 6, 5, 4, tzinfo=UTC), datetime(2024, 6, 6, 4, tzinfo=UTC)),
)
"""What is sold in the day (24 hours) from the first time on is paid at the second: two days later
in March 2024, one day later from 28 May on; each at midnight in New York. Of other days nothing is
known, and nothing is said."""

DUE = [(nanos(day), nanos(due)) for day, due in SETTLES]


class CashLaws:
    """`violated` are the client order ids of the sales that broke the rules, by any state that the
    books were in on the way; `is_known` says that the table has the days of all executions;
    `adjustments` are those of cash."""

    def __init__(self, config: MachineConfig) -> None:
        self._rules = config.compliance
        self._stocks = {
            i.symbol for i in config.instruments if i.asset_class is not AssetClass.CRYPTO
        }
        self._cash = config.starting_cash  # of each account
        self._venues = {i.symbol: i.venue for i in config.instruments}
        self._fills: list[Fill] = []
        self.adjustments: list[CashAdjustment] = []
        self.is_on = self._rules.account_type is AccountType.CASH
        self.is_known = True
        self.now_violated: set[str] = set()
        self.violated: set[str] = set()

    def follow(self, fills: Iterable[Fill]) -> None:
        """All executions that stand."""
        if self.is_on:
            self._fills = sorted(fills, key=lambda fill: fill.ts)
            self.is_known = all(map(_is_known, self._fills))
        if self.is_on and self.is_known:
            self.now_violated = self._violations()
            self.violated |= self.now_violated

    def settled(self, venue: str, ts: int) -> Fraction:
        """Cash of an account without what sales of stocks will bring after `ts`."""
        return sum(
            (Fraction(f.cash_change) for f in self._of(venue) if not self._due(f) > ts),
            Fraction(self._cash + self._adjusted(venue)),
        )

    def _adjusted(self, venue: str, ts: int = NEVER) -> Decimal:
        """What came to an account, or went, without a trade, up to `ts`."""
        own = (a.amount for a in self.adjustments if a.venue == venue and a.ts <= ts)
        return sum(own, Decimal(0))

    def _of(self, venue: str) -> list[Fill]:
        return [fill for fill in self._fills if self._venues[fill.symbol] == venue]

    def broken(self, order: Order, open_orders: Iterable[Order], ts: int) -> str:
        """The rule that an entry which leaves at `ts` does not keep; empty text where it keeps all.
        `open_orders` are all that may still fill, `order` among them."""
        if not (self.is_on and self.is_known):
            return ""
        venue = self._venues[order.symbol]
        cost = sum(
            (
                Fraction(o.quantity - o.filled) * Fraction(o.reference_price)
                for o in open_orders
                if o.purpose is OrderPurpose.ENTRY
                and o.side is Side.BUY
                and self._venues[o.symbol] == venue
            ),
            Fraction(0),
        )
        cost *= 1 + Fraction(self._rules.commission_pct) / 100
        begun = Fraction(self._cash + self._adjusted(venue))
        cash = sum((Fraction(f.cash_change) for f in self._of(venue)), begun)
        if order.side is Side.SELL:
            return "short in a cash account"
        if cost > cash:
            return f"free riding: {cost} of {cash}"
        settled = self.settled(venue, ts)
        if cost > settled and len(self.violated) >= self._rules.max_violations:
            return f"settled cash: {cost} of {settled}, {len(self.violated)} violations"
        return ""

    def _due(self, fill: Fill) -> int:
        """When the money of a sale is there; 0 for all else."""
        if fill.side is Side.BUY or fill.symbol not in self._stocks:
            return 0
        return next(due for day, due in DUE if day <= fill.ts < day + DAY)

    def _violations(self) -> set[str]:
        """First in, first out; each purchase takes what is settled first, then what settles
        first."""
        violated: set[str] = set()
        bought: dict[str, list[tuple[Decimal, int]]] = {}
        for number, fill in enumerate(self._fills):
            if fill.symbol not in self._stocks:
                continue
            shares = bought.setdefault(fill.symbol, [])
            paid = self._paid(number) if fill.side is Side.BUY else NEVER
            left = fill.quantity
            while left and shares and (shares[0][0] > 0) != (fill.side is Side.BUY):
                quantity, when = shares.pop(0)
                taken = min(left, abs(quantity))
                left -= taken
                if fill.side is Side.SELL and when > fill.ts:
                    violated.add(fill.client_order_id)
                if rest := abs(quantity) - taken:
                    shares.insert(0, (rest if quantity > 0 else -rest, when))
            if left:
                shares.append((fill.side.sign * left, paid))
        return violated

    def _paid(self, number: int) -> int:
        """When the last of the money is there that a purchase takes."""
        fill = self._fills[number]
        venue = self._venues[fill.symbol]
        before = [f for f in self._fills[:number] if self._venues[f.symbol] == venue]
        missing = -fill.cash_change - self._cash - self._adjusted(venue, fill.ts)
        missing -= sum((f.cash_change for f in before if self._due(f) <= fill.ts), Decimal(0))
        for due, amount in sorted((self._due(f), f.cash_change) for f in before):
            if missing <= 0:
                break
            if due > fill.ts:
                missing -= amount
                if missing <= 0:
                    return due
        return 0 if missing <= 0 else NEVER


def _is_known(fill: Fill) -> bool:
    return any(day <= fill.ts < day + DAY for day, _ in DUE)
