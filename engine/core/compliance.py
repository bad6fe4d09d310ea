"""What rules from outside ask of the account: settlement, day trades, FINTRAC.

None of it is legal advice. The account sees every execution once, in the order of their times; one
that comes late, or is taken back, has what follows from it worked out anew.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine.core.accounts import Rates, of_accounts
from engine.core.bus import Bus
from engine.core.daytrades import MOST_DAY_TRADES, DayTrades, possible
from engine.core.events import (
    AccountStatement,
    CashAdjusted,
    Event,
    OrderIntended,
    PositionChanged,
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
    CashAdjustment,
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


class AccountRules:
    """What the rules follow of one account: `cash` is what it had before the first execution and
    adjustment that is known."""

    __slots__ = ("cash", "day_trades", "settlement")

    def __init__(self, settlement: Settlement, day_trades: DayTrades, cash: Decimal) -> None:
        self.settlement = settlement
        self.day_trades = day_trades
        self.cash = cash


class Compliance:
    """Measures what an order would use of the rules, and follows the executions: each account by
    itself.

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
        rates: Rates,
    ) -> None:
        self._bus = bus
        self.rules = rules
        self._portfolio = portfolio
        self._orders = orders
        instruments = {symbol: m.instrument for symbol, m in market.symbols.items()}
        self.accounts = {
            venue: AccountRules(
                Settlement(instruments, calendars, self.is_cash_account),
                DayTrades(instruments, calendars),
                cash,
            )
            for venue, cash in portfolio.cash.items()
        }
        self.fintrac = Fintrac(bus.publish, instruments, rates, rules.conductor, rules.window_start)
        self.violations: list[Violation] = []
        self._fills: list[Fill] = []
        self._adjustments: list[CashAdjustment] = []
        self._held: dict[str, Decimal] = {}  # before the first of these

    @property
    def is_cash_account(self) -> bool:
        return self.rules.account_type is AccountType.CASH

    def settled_cash(self) -> dict[str, Decimal]:
        """Cash of each account less the money of sales that has not settled. What is bought is paid
        at once: so below zero is what was bought with money that is not there yet."""
        now, cash = self._bus.now, self._portfolio.cash
        return {v: cash[v] - a.settlement.unsettled(now) for v, a in self.accounts.items()}

    def recent_violations(self) -> int:
        """How many there were in the last 12 months."""
        return sum(v.ts > self._bus.now - YEAR for v in self.violations)

    def state(self) -> dict[str, Any]:
        """What decides, as plain values."""
        now, accounts = self._bus.now, self.accounts.items()
        return {
            "settlement": of_accounts({v: a.settlement.state(now) for v, a in accounts}),
            "violations": self.violations,
            "day_trades": of_accounts({v: a.day_trades.state() for v, a in accounts}),
            "fintrac": self.fintrac.state(),
        }

    # --- checking -------------------------------------------------------------------------------

    def usages(self, order: Order) -> list[Usage]:
        """What `order`, and all open ones like it, use of the rules; nothing where none holds."""
        if order.purpose is not OrderPurpose.ENTRY:
            return []
        venue, entries = self._portfolio.venue(order.symbol), self._entries(order)
        if self.is_cash_account:
            return self._cash_usages(venue, entries)
        return self._day_trade_usages(venue, order.symbol, entries)

    def standing(self) -> list[Usage]:
        """What the open entries of each account use of the rules that hold for it."""
        entries, usages = self._entries(), list[Usage]()
        for venue, account in self.accounts.items():
            symbol = account.day_trades.subject(venue)
            if self.is_cash_account:
                usages += self._cash_usages(venue, entries)
            elif symbol:
                usages += self._day_trade_usages(venue, symbol, entries)
        return list({(usage.check, usage.scope): usage for usage in usages}.values())

    def _cash_usages(self, venue: str, all_entries: Iterable[Order]) -> list[Usage]:
        """Whole payment: never more than there is in the account, and settled money alone, but for
        what `max_violations` leaves."""
        entries = [o for o in all_entries if self._portfolio.venue(o.symbol) == venue]
        cost = sum((o.worst_notional for o in entries if o.side is Side.BUY), ZERO)
        cost += cost * self.rules.commission_pct / HUNDRED
        settled = self.settled_cash()[venue]
        usages = [self._money("free_riding", venue, cost, self._portfolio.cash[venue])]
        short = sum((o.worst_leaves for o in entries if o.side is Side.SELL), ZERO)
        if short:
            usages.append(Usage("account", "short_in_cash_account", "", short, ZERO, ""))
        risks = cost > settled and self.rules.max_violations > 0
        settled_cash = self._money("settled_cash", venue, cost, settled)
        return [*usages, self._risked(entries) if risks else settled_cash]

    def _risked(self, entries: Iterable[Order]) -> Usage:
        """Violations of the last 12 months, and those that may come of what is bought unsettled."""
        now, accounts = self._bus.now, self.accounts.values()
        unpaid = [symbol for a in accounts for symbol in a.settlement.symbols_unpaid(now)]
        worst = self.recent_violations() + len({*unpaid, *(o.symbol for o in entries)})
        limit = Decimal(self.rules.max_violations)
        return Usage("account", "good_faith_violations", "", Decimal(worst), limit, "")

    def _day_trade_usages(self, venue: str, symbol: str, entries: Iterable[Order]) -> list[Usage]:
        now, rule = self._bus.now, self.rules.pattern_day_trader
        trades = self.accounts[venue].day_trades
        if not trades.applies(rule, symbol, now, self._portfolio.account_equity(venue)):
            return []
        wanted = {
            o.symbol
            for o in entries
            if trades.is_subject(o.symbol) and self._portfolio.venue(o.symbol) == venue
        }
        used = possible(trades.used(symbol, now), trades.opened_today(now), wanted)
        scope, most = self._scope(venue), Decimal(MOST_DAY_TRADES)
        return [Usage("account", "day_trades", scope, used, most, "")]

    def _entries(self, order: Order | None = None) -> list[Order]:
        """All open entries, `order` once among them."""
        entries = [o for o in self._orders.open.values() if o.purpose is OrderPurpose.ENTRY]
        if order is None:
            return entries
        others = [o for o in entries if o.client_order_id != order.client_order_id]
        return [*others, order]

    def _money(self, check: str, venue: str, used: Decimal, limit: Decimal) -> Usage:
        unit = self._portfolio.accounts.unit(venue)
        return Usage("account", check, self._scope(venue), used, limit, unit)

    def _scope(self, venue: str) -> str:
        """The account's name, where there are several."""
        return venue if len(self.accounts) > 1 else ""

    # --- what happens ---------------------------------------------------------------------------

    def on_intended(self, event: OrderIntended) -> None:
        """Warn of an order that closes what is not paid with settled money."""
        order = event.order
        if not self.is_cash_account or order.side is Side.BUY:
            return
        account = self.accounts.get(self._portfolio.venue(order.symbol))
        if account is None:
            return
        due = account.settlement.unpaid(order.symbol, order.quantity, self._bus.now)
        if due:
            when = "was not there" if due == NEVER else f"settles on {utc(due):%Y-%m-%d}"
            reason = f"the money that bought it {when}"
            self._bus.publish(SettlementWarned(order.client_order_id, order.symbol, reason))

    def on_position(self, event: PositionChanged) -> None:
        fill = event.fill
        if fill.is_opening:
            self._begin_with(fill)
            return
        late = any(known and fill.ts < known[-1].ts for known in (self._fills, self._adjustments))
        self._fills.append(fill)
        if late:
            self._work_out()
        else:
            self._apply(fill, event.cash - fill.cash_change)
        self.fintrac.on_fill(fill, self._bus.now)
        if fill.ts - self._fills[0].ts > FILLS_KEPT + DAY:
            self._forget(fill.ts - FILLS_KEPT)

    def on_adjusted(self, event: CashAdjusted) -> None:
        """What came is settled cash from then on."""
        self._adjustments.append(event.adjustment)
        self._work_out()

    def on_reversed(self, event: TradeReversed) -> None:
        key = event.fill.execution_id
        self._fills = [fill for fill in self._fills if fill.execution_id != key]
        if event.correction is not None:
            self._fills.append(event.correction)
        self._work_out()
        self.fintrac.on_reversed(event.fill, event.correction, self._bus.now)

    def on_rate(self, _: Event) -> None:
        self.fintrac.on_rate(self._bus.now)

    def on_statement(self, event: AccountStatement) -> None:
        account = self.accounts.get(event.broker)
        if account is not None:
            account.day_trades.broker_rule = event.day_trade_rule
            account.day_trades.broker_count = event.day_trades

    def on_restored(self, event: Restored) -> None:
        self.violations = list(event.violations)
        fills = [fill for fill in event.fills if fill.venue in self.accounts]
        self._fills = [fill for fill in fills if not fill.is_opening]
        self._held = {}
        for position in event.positions:
            held = self._held.get(position.symbol, ZERO)
            self._held[position.symbol] = held + position.quantity
        for venue, account in self.accounts.items():
            account.cash = self._portfolio.cash[venue]
        self._adjustments = [a for a in event.adjustments if a.venue in self.accounts]
        for adjustment in self._adjustments:
            self.accounts[adjustment.venue].cash -= adjustment.amount
        for fill in self._fills:
            self.accounts[fill.venue].cash -= fill.cash_change
            self._held[fill.symbol] = self._held.get(fill.symbol, ZERO) - fill.position_change
        self._work_out()
        self.fintrac.open(self._fills, event.fintrac)

    # --- following ------------------------------------------------------------------------------

    def _begin_with(self, fill: Fill) -> None:
        """What was held when the account was opened was traded, and paid, before."""
        self._held[fill.symbol] = self._held.get(fill.symbol, ZERO) + fill.position_change
        self.accounts[fill.venue].cash += fill.cash_change
        self._work_out()

    def _apply(self, fill: Fill, cash_before: Decimal) -> None:
        account = self.accounts[fill.venue]
        violation = account.settlement.apply(fill, cash_before)
        account.day_trades.apply(fill)
        known = {v.client_order_id for v in self.violations} if violation else ()
        if violation and violation.client_order_id not in known:
            self.violations = [v for v in self.violations if v.ts > fill.ts - YEAR]
            self.violations.append(violation)
            count = self.recent_violations()
            self._bus.publish(SettlementViolated(violation, count))

    def _work_out(self) -> None:
        """Settlement and day trades from the executions, in the order of their times."""
        self._fills.sort(key=lambda fill: fill.ts)
        for venue, account in self.accounts.items():
            held = {s: q for s, q in self._held.items() if self._portfolio.venue(s) == venue}
            account.settlement.open(held)
            account.day_trades.open(held)
        cash = {venue: account.cash for venue, account in self.accounts.items()}
        for entry in sorted((*self._adjustments, *self._fills), key=lambda entry: entry.ts):
            if isinstance(entry, Fill):
                self._apply(entry, cash[entry.venue])
                cash[entry.venue] += entry.cash_change
            else:
                cash[entry.venue] += entry.amount

    def _forget(self, before: int) -> None:
        """Let go of executions that do not matter any more: they become the beginning."""
        for number, fill in enumerate(self._fills):
            if fill.ts >= before:
                del self._fills[:number]
                break
            self.accounts[fill.venue].cash += fill.cash_change
            self._held[fill.symbol] = self._held.get(fill.symbol, ZERO) + fill.position_change
        for adjustment in self._adjustments:
            if adjustment.ts < before:
                self.accounts[adjustment.venue].cash += adjustment.amount
        self._adjustments = [a for a in self._adjustments if a.ts >= before]
        self.fintrac.forget(before)
