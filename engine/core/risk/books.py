"""What the account has at stake, measured once for all limits of a check."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from engine.core.model import ZERO, Order, OrderPurpose
from engine.core.portfolio import Portfolio

RISK_TAKING = (OrderPurpose.ENTRY, OrderPurpose.EXTERNAL)
"""Orders that may make a position larger: of those that are not ours nobody knows."""


class Books(Struct, frozen=True):
    """Equity, the unsigned notional of each symbol that is held, and that of each symbol's open
    orders at their worst, all in the base currency. None is unknown: a held symbol has no price, or
    its currency no rate. Of the symbols in `dust` nothing is held but dust. `venues` is the account
    of each of the symbols, `funds` the equity of each account, where there are several."""

    equity: Decimal | None
    held: dict[str, Decimal | None]
    entries: dict[str, Decimal]
    dust: frozenset[str] = frozenset()
    venues: dict[str, str] = {}
    funds: dict[str, Decimal | None] = {}

    def notional(self, symbol: str) -> Decimal | None:
        """What `symbol` comes to once every open entry has filled."""
        held = self.held.get(symbol, ZERO)
        return None if held is None else held + self.entries.get(symbol, ZERO)

    def exposure(self, symbols: Iterable[str]) -> Decimal | None:
        """`notional` of all `symbols` together."""
        total = ZERO
        for symbol in symbols:
            notional = self.notional(symbol)
            if notional is None:
                return None
            total += notional
        return total

    def symbols(self) -> list[str]:
        """Every symbol that is held or has an open entry."""
        return list(self.held | self.entries)

    def open_positions(self) -> int:
        """How many symbols have an open position, or may get one."""
        return sum(symbol not in self.dust or symbol in self.entries for symbol in self.symbols())

    def of_account(self, venue: str) -> list[str]:
        """Those of one account."""
        return [symbol for symbol in self.symbols() if self.venues.get(symbol) == venue]

    def share(self, notional: Decimal | None) -> Decimal | None:
        """`notional` in percent of equity; None without equity."""
        if notional is None or self.equity is None or self.equity <= 0:
            return None
        return notional / self.equity * 100


def measure(portfolio: Portfolio, open_orders: Iterable[Order], more: Order | None = None) -> Books:
    """The books as they are; with `more`, an order that is not among the open ones yet."""
    equity = portfolio.in_base(portfolio.cash)
    held: dict[str, Decimal | None] = {}
    opened: set[str] = set()
    for position in portfolio.positions.values():
        if not position.quantity:
            continue
        symbol = position.symbol
        if portfolio.is_open(position):
            opened.add(symbol)
        mark, worth = portfolio.mark_price(symbol), portfolio.worth(symbol)
        if mark is None or worth is None:
            equity = held[symbol] = None
            continue
        value = position.quantity * mark * worth
        held[symbol] = (held.get(symbol) or ZERO) + abs(value)
        if equity is not None:
            equity += value
    entries: dict[str, Decimal] = {}
    for order in (*open_orders, more) if more is not None else open_orders:
        if order.purpose in RISK_TAKING or order is more:
            value = _worst(order, portfolio)
            if value is None:
                equity = held[order.symbol] = None
                continue
            entries[order.symbol] = entries.get(order.symbol, ZERO) + value
    dust = frozenset(held.keys() - opened)
    if len(portfolio.cash) == 1:
        return Books(equity, held, entries, dust)
    venues = {symbol: portfolio.venue(symbol) for symbol in held | entries}
    return Books(equity, held, entries, dust, venues, _funds(portfolio))


def _worst(order: Order, portfolio: Portfolio) -> Decimal | None:
    """The most that an open order may come to, in the base currency. Somebody else's that names no
    price counts at the last one."""
    worth, symbol = portfolio.worth(order.symbol), order.symbol
    price = None if order.reference_price else portfolio.mark_price(symbol)
    if worth is None or not (order.reference_price or price):
        return None
    return worth * (order.worst_notional if price is None else order.worst_leaves * price)


def _funds(portfolio: Portfolio) -> dict[str, Decimal | None]:
    """The equity of each account, in the base currency."""
    funds: dict[str, Decimal | None] = {}
    for venue in portfolio.cash:
        equity, worth = portfolio.account_equity(venue), portfolio.accounts.worth[venue]
        funds[venue] = None if equity is None or worth is None else equity * worth
    return funds
