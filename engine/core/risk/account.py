"""The third tier: what holds for the whole account."""

from collections import deque
from decimal import Decimal

from engine.core.events import (
    AccountStatement,
    OrderPendingCancel,
    OrderPendingReplace,
    OrderSubmitted,
)
from engine.core.market import Market
from engine.core.model import HUNDRED, NANOS, ZERO, AssetClass, Order, OrderType, Side
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.risk.books import RISK_TAKING, Books
from engine.core.risk.limits import RiskLimits
from engine.core.risk.usage import Usage

MESSAGES_KEPT = 10_000
UNKNOWN = Decimal("NaN")
_CLASS_CHECKS = {c: (f"{c}_exposure", f"{c}_max_exposure_pct") for c in AssetClass}


class AccountTier:
    """Exposure, leverage, buying power and messages of all accounts together, and of each."""

    def __init__(self, market: Market, portfolio: Portfolio, orders: OrderBook) -> None:
        self._market = market
        self._accounts = portfolio.accounts
        self._orders = orders
        self.statements: dict[str, tuple[int, Decimal]] = {}
        self.messages: dict[str, deque[int]] = {}

    def standing(self, books: Books, limits: RiskLimits) -> list[Usage]:
        """Exposure, whole and of each asset class, open positions, leverage and buying power."""
        symbols = books.symbols()
        total, equity = books.exposure(symbols), books.equity
        known = equity if equity is not None and equity > 0 else None
        leverage = None if total is None or known is None else total / known
        share = None if leverage is None else leverage * HUNDRED
        power = ZERO if known is None else known * limits.max_leverage
        spent = None if known is None else total
        count, most = Decimal(books.open_positions()), Decimal(limits.max_open_positions)
        usages = [
            _usage("exposure", share, limits.max_exposure_pct, "%", "max_exposure_pct"),
            _usage("open_positions", count, most, "", "max_open_positions"),
            _usage("leverage", leverage, limits.max_leverage, "×", "max_leverage"),
            _usage("buying_power", spent, power, self._accounts.money, "max_leverage"),
        ]
        for asset_class in AssetClass:
            own = [s for s in symbols if self._class(s) is asset_class]
            part = share if len(own) == len(symbols) else books.share(books.exposure(own))
            check, name = _CLASS_CHECKS[asset_class]
            usages.append(_usage(check, part, limits.value(name), "%", name))
        return usages

    def funds(self, books: Books, limits: RiskLimits) -> list[Usage]:
        """What each account has to pay for what it holds and has on order, in its own currency: one
        account's money buys nothing in another. Without leverage open entries get its cash. Nothing
        where there is one account: that is its buying power."""
        return [self.funds_of(venue, books, limits) for venue in books.funds]

    def funds_of(self, venue: str, books: Books, limits: RiskLimits) -> Usage:
        """As `funds`, of one of several accounts."""
        equity, worth = books.funds[venue], self._accounts.worth[venue]
        spent, power = books.exposure(books.of_account(venue)), ZERO
        if equity is None or worth is None or spent is None:
            spent = None
        else:
            spent, power = spent / worth, max(equity, ZERO) / worth * limits.max_leverage
        unit, name = self._accounts.unit(venue), "max_leverage"
        return Usage("account", "funds", venue, spent, power, unit, setting=name)

    def venue(self, order: Order, limits: RiskLimits, now: int) -> list[Usage]:
        """What the order's venue lets be bought, where it says so; how many messages it got in the
        last second, this one included; and how much of the account's own it would trade with."""
        venue = self._venue(order.symbol)
        usages = [self._messages(venue, self._rate(venue, now) + 1, limits)]
        if venue in self.statements:
            asked, power = self.statements[venue]
            spent = sum(map(_spent, self._since(venue, asked, order)), ZERO)
            usages.append(self._power(venue, spent, power))
        if met := sum((o.leaves for o in self._met(order)), ZERO):
            note = f"it would meet an order of this account, {met} {order.symbol} on the other side"
            usages.append(Usage("account", "self_trade", venue, met, ZERO, "", note=note))
        return usages

    def rates(self, limits: RiskLimits, now: int) -> list[Usage]:
        """The messages of the last second to each venue."""
        return [self._messages(v, self._rate(v, now), limits) for v in self._market.venues]

    def powers(self) -> list[Usage]:
        """What each venue lets be bought, and what of it was taken since it said so; unknown where
        it does not say."""
        usages: list[Usage] = []
        for venue in self._market.venues:
            spent, power = None, UNKNOWN
            if venue in self.statements:
                asked, power = self.statements[venue]
                spent = sum(map(_spent, self._since(venue, asked)), ZERO)
            usages.append(self._power(venue, spent, power))
        return usages

    # --- facts ----------------------------------------------------------------------------------

    def on_message(self, event: OrderSubmitted | OrderPendingCancel | OrderPendingReplace) -> None:
        venue = self._venue(event.order.symbol)
        sent = self.messages.get(venue)
        if sent is None:
            sent = self.messages[venue] = deque(maxlen=MESSAGES_KEPT)
        while sent and sent[0] <= event.ts - NANOS:
            sent.popleft()
        sent.append(event.ts)

    def on_statement(self, event: AccountStatement) -> None:
        if event.buying_power is None or not event.buying_power.is_finite():
            self.statements.pop(event.broker, None)
        else:
            self.statements[event.broker] = (event.asked_ts, event.buying_power)

    # --- reading --------------------------------------------------------------------------------

    def _power(self, venue: str, spent: Decimal | None, power: Decimal) -> Usage:
        unit = self._accounts.unit(venue)
        return Usage("account", "venue_buying_power", venue, spent, power, unit)

    def _messages(self, venue: str, sent: Decimal, limits: RiskLimits) -> Usage:
        most, name = Decimal(limits.max_messages_per_second), "max_messages_per_second"
        return Usage("account", "message_rate", venue, sent, most, "/s", setting=name)

    def _rate(self, venue: str, now: int) -> Decimal:
        return Decimal(sum(ts > now - NANOS for ts in self.messages.get(venue, ())))

    def _met(self, order: Order) -> list[Order]:
        """The account's limit orders, whoever's, that `order` would fill: a trade with oneself."""
        if order.side is not Side.BUY:  # nothing is sold short, and exits are never held back
            return []
        pays = max(_limits(order), default=Decimal(repr(self._market.ask(order.symbol))))
        return [
            o
            for o in self._orders.open.values()
            if (o.symbol, o.side, o.type) == (order.symbol, Side.SELL, OrderType.LIMIT)
            and min(_limits(o), default=ZERO) <= pays
        ]

    def _since(self, venue: str, asked: int, *more: Order) -> list[Order]:
        """Orders that the statement cannot have counted: the ones made since, and `more`."""
        made = {
            order.client_order_id: order
            for order in self._orders.orders.values()
            if order.created_ts >= asked
            and order.purpose in RISK_TAKING
            and self._venue(order.symbol) == venue
        }
        return list((made | {order.client_order_id: order for order in more}).values())

    def _class(self, symbol: str) -> AssetClass | None:
        market = self._market.symbols.get(symbol)
        return None if market is None else market.instrument.asset_class

    def _venue(self, symbol: str) -> str:
        market = self._market.symbols.get(symbol)
        return "" if market is None else market.instrument.venue


def _limits(order: Order) -> list[Decimal]:
    """Its limit price, and that of a replace under way."""
    return [p for p in (order.limit_price, order.pending_limit_price) if p is not None]


def _spent(order: Order) -> Decimal:
    """What an order has taken of buying power, and still may."""
    waiting = order.worst_notional if order.is_open else ZERO
    return order.filled * (order.avg_price or ZERO) + waiting


def _usage(check: str, used: Decimal | None, limit: Decimal, unit: str, setting: str) -> Usage:
    return Usage("account", check, "", used, limit, unit, False, False, setting)
