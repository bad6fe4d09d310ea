"""The account behind every loopback server: one simulated exchange, whatever protocol is spoken."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.core.events import CancelRejected, ExecutionReport, ReplaceRejected
from engine.core.matching import ExchangeRules, SimulatedExchange
from engine.core.model import (
    FINAL_STATES,
    ZERO,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderState,
    OrderTerms,
    Quote,
    Side,
)

FREE = ExchangeRules(Decimal(0), Decimal(0), Decimal(100))
"""No commission, no slippage: what a server shows of money is easy to tell."""


class Refused(Exception):
    """The venue takes no such order."""


class InsufficientFunds(Refused):
    """The account cannot pay for it."""


class DuplicateId(Refused):
    """Its client order id is known."""


@dataclass
class Placed:
    """An order that the venue took. `number` is its own name for it, which each protocol writes in
    its way; `order` is as it is now, under the client order id that it came with ("" for none)."""

    number: int
    order: Order
    fills: list[Fill] = field(default_factory=list[Fill])

    @property
    def is_open(self) -> bool:
        return self.order.state not in FINAL_STATES

    @property
    def key(self) -> str:
        """Its id in the exchange, where each has another one."""
        return f"vn-{self.number}"


@dataclass
class Change:
    """What became of an order: accepted, filled, partially_filled, canceled, expired, rejected,
    replaced or busted. `fill` is the execution of the third of these and the last."""

    what: str
    placed: Placed
    fill: Fill | None = None


class Venue:
    """One account's orders, executions, positions and cash.

    `uniqueness` says for how long a client order id is refused again, `rules` what trading costs;
    with `posts_later` what that is in money is taken at the end of a day that no test sees.
    An order that costs more than the cash is refused, and one that sells more than is held of what
    pays commissions in itself: nothing of that kind is lent. `listeners` are told of every change,
    when it is made. `refusals` are raised at the next orders and cancels; DuplicateId once the
    order is taken, as where it came twice. Times are the computer's: the clients at the other end
    have no other clock.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        uniqueness: Idempotency = Idempotency.FOREVER,
        cash: Decimal = Decimal(1_000_000),
        now: Callable[[], int] = time.time_ns,
        rules: ExchangeRules = FREE,
        posts_later: bool = False,
    ) -> None:
        self.instruments = {i.symbol: i for i in instruments}
        self.cash = cash
        self.positions: dict[str, Decimal] = {}
        self.orders: dict[int, Placed] = {}
        self.fills: list[Fill] = []
        self.quotes: dict[str, Quote] = {}
        self.listeners: list[Callable[[Change], None]] = []
        self.refusals: list[Refused] = []
        self.now = now
        self._uniqueness = uniqueness
        self._posts_later = posts_later
        self._exchange = SimulatedExchange(self.instruments.values(), rules)

    # --- orders ---------------------------------------------------------------------------------

    def submit(self, order: Order) -> Placed:
        """Take `order`. Raises Refused, with the reason; then there is none."""
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None and not isinstance(refusal, DuplicateId):
            raise refusal
        known = self.find(order.client_order_id)
        forever = self._uniqueness is Idempotency.FOREVER
        if known and self._uniqueness is not Idempotency.NONE and (forever or known.is_open):
            raise DuplicateId("client_order_id must be unique")
        quote = self.quotes.get(order.symbol)
        ask = Decimal(repr(quote.ask)) if quote else ZERO
        if order.side is Side.BUY and order.quantity * (order.limit_price or ask) > self.cash:
            raise InsufficientFunds("insufficient buying power")
        held = self.positions.get(order.symbol, ZERO)
        instrument = self.instruments.get(order.symbol)
        is_spot = instrument is not None and instrument.commission_in_base
        if is_spot and order.side is Side.SELL and order.quantity > held:
            raise InsufficientFunds(f"insufficient balance ({order.quantity} of {held})")
        now = self.now()
        placed = Placed(len(self.orders) + 1, replace(order, created_ts=now, updated_ts=now))
        report = self._exchange.submit(replace(order, client_order_id=placed.key), now)
        if report.state is OrderState.REJECTED:
            raise Refused(report.reason)
        self.orders[placed.number] = placed
        self._follow(placed, OrderState.ACCEPTED, "accepted")
        if refusal is not None:
            raise refusal
        return placed

    def cancel(self, number: int) -> None:
        """Raises Refused where there is nothing to cancel."""
        placed = self._known(number)
        if self.refusals:
            raise self.refusals.pop(0)
        answer = self._exchange.cancel(placed.key, self.now())
        if isinstance(answer, CancelRejected):
            raise Refused(f"order is already {placed.order.state}")
        self._follow(placed, OrderState.CANCELED, "canceled")

    def replace(self, number: int, terms: OrderTerms) -> Placed:
        """Raises Refused where the order is not open, or cannot have the terms."""
        placed = self._known(number)
        answer = self._exchange.replace(placed.key, terms, self.now())
        if isinstance(answer, ReplaceRejected):
            raise Refused(answer.reason)
        placed.order = replace(
            placed.order,
            quantity=terms.quantity,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
        )
        self._follow(placed, answer.state, "replaced")
        return placed

    def reject(self, number: int, reason: str) -> None:
        """The venue changes its mind about an order that it had accepted."""
        placed = self._known(number)
        self._exchange.cancel(placed.key, self.now())
        placed.order = replace(placed.order, reason=reason)
        self._follow(placed, OrderState.REJECTED, "rejected")

    def bust(self, fill: Fill) -> None:
        """The venue takes an execution back."""
        placed = next(p for p in self.orders.values() if fill in p.fills)
        placed.fills.remove(fill)
        self.fills.remove(fill)
        self._count(fill, -1)
        self._tell(Change("busted", placed, fill))

    def spoil(self, fill: Fill, **numbers: Any) -> None:
        """The venue tells an execution otherwise than it was: its books are right."""
        told = replace(fill, **numbers)
        for fills in (self.fills, *(placed.fills for placed in self.orders.values())):
            fills[:] = [told if one is fill else one for one in fills]

    def find(self, client_order_id: str) -> Placed | None:
        """The newest order with that client order id."""
        for placed in reversed(self.orders.values()):
            if client_order_id and placed.order.client_order_id == client_order_id:
                return placed
        return None

    @property
    def open(self) -> list[Placed]:
        return [placed for placed in self.orders.values() if placed.is_open]

    def _known(self, number: int) -> Placed:
        if number not in self.orders:
            raise Refused("order not found")
        return self.orders[number]

    # --- the market -----------------------------------------------------------------------------

    def quote(self, symbol: str, bid: float, ask: float, size: float) -> None:
        """A new quote of `size` on both sides, which fills what it fills."""
        quote = Quote(symbol, self.now(), bid, ask, size, size)
        self.quotes[symbol] = quote
        for report in self._exchange.on_quote(quote):
            self._take_in(report)

    def _take_in(self, report: ExecutionReport) -> None:
        placed = self.orders[int(report.client_order_id.removeprefix("vn-"))]
        if report.fill is None:
            self._follow(placed, report.state, str(report.state))
            return
        fill = replace(
            report.fill,
            execution_id=f"{len(self.fills) + 1:06}",
            client_order_id=placed.order.client_order_id,
            venue_order_id=str(placed.number),
        )
        if self._posts_later:
            fill = replace(fill, commission=ZERO)
        placed.fills.append(fill)
        self.fills.append(fill)
        self._count(fill, 1)
        filled = sum((f.quantity for f in placed.fills), ZERO)
        paid = sum((f.quantity * f.price for f in placed.fills), ZERO)
        placed.order = replace(placed.order, filled=filled, avg_price=paid / filled)
        self._follow(placed, report.state, str(report.state), fill)

    def _count(self, fill: Fill, times: int) -> None:
        self.cash += times * fill.cash_change
        held = self.positions.get(fill.symbol, ZERO) + times * fill.position_change
        self.positions[fill.symbol] = held

    def _follow(
        self, placed: Placed, state: OrderState, what: str, fill: Fill | None = None
    ) -> None:
        placed.order = replace(placed.order, state=state, updated_ts=self.now())
        self._tell(Change(what, placed, fill))

    def _tell(self, change: Change) -> None:
        for listener in self.listeners:
            listener(change)
