"""What rules from outside ask of the account: settlement, day trades, FINTRAC.

None of it is legal advice. The account sees every execution once, in the order of their times; one
that comes late, or is taken back, has what follows from it worked out anew.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine.core.bus import Bus
from engine.core.daytrades import MOST_DAY_TRADES, DayTrades, possible
from engine.core.events import (
    AccountStatement,
    DataRefused,
    OrderIntended,
    PositionChanged,
    RatePublished,
    Restored,
    SettlementViolated,
    SettlementWarned,
    TradeReversed,
)
from engine.core.fintrac import MIDNIGHT, Fintrac
from engine.core.market import Market
from engine.core.model import (
    DAY,
    HUNDRED,
    ZERO,
    AccountType,
    DayTradeRule,
    Fill,
    Order,
    OrderPurpose,
    Side,
    Violation,
    utc,
)
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.risk import Usage
from engine.core.sessions import Calendars
from engine.core.settlement import NEVER, Settlement
from engine.core.text import clean

FILLS_KEPT = 14 * DAY
"""What is older than the newest execution by this much has settled, is out of the five business
days in which day trades count, and does not change."""
YEAR = 366 * DAY


class ComplianceRules(Struct, frozen=True):
    """`max_violations` is how many violations of settlement in 12 months a cash account may have,
    those counted that may still come of what it holds: while there is one left, money of sales that
    has not settled may be used. `commission_pct` is in percent of notional. Without a `conductor`
    nothing is flagged for FINTRAC; `window_start` (ns after midnight UTC) begins its windows.
    """

    account_type: AccountType = AccountType.MARGIN
    max_violations: int = 0
    pattern_day_trader: DayTradeRule = DayTradeRule.AUTO
    commission_pct: Decimal = ZERO
    conductor: str = ""
    window_start: int = MIDNIGHT


class Compliance:
    """Measures what an order would use of the rules, and follows the executions.

    `usages` answers the checks of an order that opens a position. One that closes is never held
    back: where it would violate settlement, it is warned of.
    """

    def __init__(
        self,
        bus: Bus,
        rules: ComplianceRules,
        market: Market,
        portfolio: Portfolio,
        orders: OrderBook,
        calendars: Calendars,
    ) -> None:
        self._bus = bus
        self.rules = rules
        self._portfolio = portfolio
        self._orders = orders
        instruments = {symbol: m.instrument for symbol, m in market.symbols.items()}
        self.settlement = Settlement(instruments, calendars, self.is_cash_account)
        self.day_trades = DayTrades(instruments, calendars)
        self.fintrac = Fintrac(bus.publish, instruments, rules.conductor, rules.window_start)
        self.violations: list[Violation] = []
        self._fills: list[Fill] = []
        self._cash = portfolio.cash  # before the first of these
        self._held: dict[str, Decimal] = {}  # likewise

    @property
    def is_cash_account(self) -> bool:
        return self.rules.account_type is AccountType.CASH

    def settled_cash(self) -> Decimal:
        """Cash less the money of sales that has not settled. What is bought is paid at once: so
        below zero is what was bought with money that is not there yet."""
        return self._portfolio.cash - self.settlement.unsettled(self._bus.now)

    def recent_violations(self) -> int:
        """How many there were in the last 12 months."""
        return sum(v.ts > self._bus.now - YEAR for v in self.violations)

    def state(self) -> dict[str, Any]:
        """What decides, as plain values."""
        return {
            "settlement": self.settlement.state(self._bus.now),
            "violations": self.violations,
            "day_trades": self.day_trades.state(),
            "fintrac": self.fintrac.state(),
        }

    # --- checking -------------------------------------------------------------------------------

    def usages(self, order: Order) -> list[Usage]:
        """What `order`, and all open ones like it, use of the rules; nothing where none holds."""
        if order.purpose is not OrderPurpose.ENTRY:
            return []
        usages = self._cash_usages(order) if self.is_cash_account else []
        return usages + ([] if self.is_cash_account else self._day_trade_usages(order))

    def _cash_usages(self, order: Order) -> list[Usage]:
        """Whole payment: never more than there is, and settled money alone, but for what
        `max_violations` leaves."""
        entries = self._entries(order)
        cost = sum((o.worst_notional for o in entries if o.side is Side.BUY), ZERO)
        cost += cost * self.rules.commission_pct / HUNDRED
        settled = self.settled_cash()
        usages = [_money("free_riding", cost, self._portfolio.cash)]
        short = sum((o.worst_leaves for o in entries if o.side is Side.SELL), ZERO)
        if short:
            usages.append(Usage("account", "short_in_cash_account", "", short, ZERO, ""))
        risks = cost > settled and self.rules.max_violations > 0
        return [*usages, self._risked(entries) if risks else _money("settled_cash", cost, settled)]

    def _risked(self, entries: Iterable[Order]) -> Usage:
        """Violations of the last 12 months, and those that may come of what is bought unsettled."""
        unpaid = self.settlement.symbols_unpaid(self._bus.now)
        worst = self.recent_violations() + len({*unpaid, *(o.symbol for o in entries)})
        limit = Decimal(self.rules.max_violations)
        return Usage("account", "good_faith_violations", "", Decimal(worst), limit, "")

    def _day_trade_usages(self, order: Order) -> list[Usage]:
        now, rule = self._bus.now, self.rules.pattern_day_trader
        trades = self.day_trades
        if not trades.applies(rule, order.symbol, now, self._portfolio.equity()):
            return []
        wanted = {o.symbol for o in self._entries(order) if trades.is_subject(o.symbol)}
        used = possible(trades.used(order.symbol, now), trades.opened_today(now), wanted)
        return [Usage("account", "day_trades", "", used, Decimal(MOST_DAY_TRADES), "")]

    def _entries(self, order: Order) -> list[Order]:
        """All open entries, `order` once among them."""
        entries = [o for o in self._orders.open.values() if o.purpose is OrderPurpose.ENTRY]
        others = [o for o in entries if o.client_order_id != order.client_order_id]
        return [*others, order]

    # --- what happens ---------------------------------------------------------------------------

    def on_intended(self, event: OrderIntended) -> None:
        """Warn of an order that closes what is not paid with settled money."""
        order = event.order
        if not self.is_cash_account or order.side is Side.BUY:
            return
        due = self.settlement.unpaid(order.symbol, order.quantity, self._bus.now)
        if due:
            when = "was not there" if due == NEVER else f"settles on {utc(due):%Y-%m-%d}"
            reason = f"the money that bought it {when}"
            self._bus.publish(SettlementWarned(order.client_order_id, order.symbol, reason))

    def on_position(self, event: PositionChanged) -> None:
        fill = event.fill
        late = bool(self._fills) and fill.ts < self._fills[-1].ts
        self._fills.append(fill)
        if late:
            self._work_out()
        else:
            self._apply(fill, event.cash - fill.cash_change)
        self.fintrac.on_fill(fill, self._bus.now)
        if fill.ts - self._fills[0].ts > FILLS_KEPT + DAY:
            self._forget(fill.ts - FILLS_KEPT)

    def on_reversed(self, event: TradeReversed) -> None:
        key = event.fill.execution_id
        self._fills = [fill for fill in self._fills if fill.execution_id != key]
        if event.correction is not None:
            self._fills.append(event.correction)
        self._work_out()
        self.fintrac.on_reversed(event.fill, event.correction, self._bus.now)

    def on_rate(self, event: RatePublished) -> None:
        if not (event.rate.is_finite() and event.rate > 0):
            self._bus.publish(DataRefused(clean(event.currency), "its rate is no positive number"))
            return
        self.fintrac.on_rate(event, self._bus.now)

    def on_statement(self, event: AccountStatement) -> None:
        self.day_trades.broker_rule = event.day_trade_rule
        self.day_trades.broker_count = event.day_trades

    def on_restored(self, event: Restored) -> None:
        self.violations = list(event.violations)
        self._fills = list(event.fills)
        self._held = {}
        for position in event.positions:
            held = self._held.get(position.symbol, ZERO)
            self._held[position.symbol] = held + position.quantity
        self._cash = event.cash
        for fill in event.fills:
            self._cash -= fill.cash_change
            self._held[fill.symbol] = self._held.get(fill.symbol, ZERO) - _signed(fill)
        self._work_out()
        self.fintrac.open(event.fills, event.fintrac)

    # --- following ------------------------------------------------------------------------------

    def _apply(self, fill: Fill, cash_before: Decimal) -> None:
        violation = self.settlement.apply(fill, cash_before)
        self.day_trades.apply(fill)
        known = {v.client_order_id for v in self.violations} if violation else ()
        if violation and violation.client_order_id not in known:
            self.violations = [v for v in self.violations if v.ts > fill.ts - YEAR]
            self.violations.append(violation)
            count = self.recent_violations()
            self._bus.publish(SettlementViolated(violation, count))

    def _work_out(self) -> None:
        """Settlement and day trades from the executions, in the order of their times."""
        self._fills.sort(key=lambda fill: fill.ts)
        self.settlement.open(self._held)
        self.day_trades.open(self._held)
        cash = self._cash
        for fill in self._fills:
            self._apply(fill, cash)
            cash += fill.cash_change

    def _forget(self, before: int) -> None:
        """Let go of executions that do not matter any more: they become the beginning."""
        for number, fill in enumerate(self._fills):
            if fill.ts >= before:
                del self._fills[:number]
                break
            self._cash += fill.cash_change
            self._held[fill.symbol] = self._held.get(fill.symbol, ZERO) + _signed(fill)
        self.fintrac.forget(before)


def _money(check: str, used: Decimal, limit: Decimal) -> Usage:
    return Usage("account", check, "", used, limit, "$")


def _signed(fill: Fill) -> Decimal:
    return fill.side.sign * fill.quantity
