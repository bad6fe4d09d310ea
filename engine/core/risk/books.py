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
    orders at their worst. None is unknown: a held symbol has no price."""

    equity: Decimal | None
    held: dict[str, Decimal | None]
    entries: dict[str, Decimal]

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

    def share(self, notional: Decimal | None) -> Decimal | None:
        """`notional` in percent of equity; None without equity."""
        if notional is None or self.equity is None or self.equity <= 0:
            return None
        return notional / self.equity * 100


def measure(portfolio: Portfolio, open_orders: Iterable[Order], more: Order | None = None) -> Books:
    """The books as they are; with `more`, an order that is not among the open ones yet."""
    equity: Decimal | None = portfolio.cash
    held: dict[str, Decimal | None] = {}
    for position in portfolio.positions.values():
        if not position.quantity:
            continue
        symbol = position.symbol
        mark = portfolio.mark_price(symbol)
        if mark is None:
            equity = held[symbol] = None
            continue
        value = position.quantity * mark
        held[symbol] = (held.get(symbol) or ZERO) + abs(value)
        if equity is not None:
            equity += value
    entries: dict[str, Decimal] = {}
    for order in open_orders:
        if order.purpose in RISK_TAKING:
            entries[order.symbol] = entries.get(order.symbol, ZERO) + order.worst_notional
    if more is not None:
        entries[more.symbol] = entries.get(more.symbol, ZERO) + more.worst_notional
    return Books(equity, held, entries)
