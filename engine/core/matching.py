"""The simulated exchange: paper broker, backtest and simulation share it.

It fills from market data that came after the order did:

* market: at the next quote's touch, or at the open of the next bar, plus slippage;
* limit: at the touch where it crosses, or where a bar trades through the price (at the open if
  that is better); never with slippage;
* stop: where it is touched, at the stop price (at the open if it gaps), plus slippage;
* stop-limit: a limit once it is touched.

No more than a set share of a bar's volume, or the size of the quote, fills at once; the rest waits.
"""

from collections import OrderedDict
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct, structs

from engine.core.events import CancelRejected, ExecutionReport, ReplaceRejected, VenueOrder
from engine.core.model import (
    ZERO,
    Bar,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
)
from engine.core.order_rules import order_fault, terms_fault

CENT_FRACTION = Decimal("0.00000001")
BASIS_POINT = Decimal("0.0001")
ANSWERS_KEPT = 10_000


class ExchangeRules(Struct, frozen=True):
    """What trading costs. Commission is in percent of notional, slippage in basis points of the
    price, `max_volume_share_pct` the part of a bar's volume that one bar may fill."""

    commission_pct: Decimal = Decimal("0.1")
    slippage_bps: Decimal = Decimal(1)
    max_volume_share_pct: Decimal = Decimal(10)


CAPABILITIES = Capabilities(
    order_types=(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
    replace=True,
    fractional=True,
    client_order_ids=True,
    idempotency=Idempotency.FOREVER,
)
"""What the simulated exchange can do."""


class Resting:
    """An order at the exchange. `active` is since when it may fill; `limit` and `stop` repeat its
    prices as floats, to be compared with market data."""

    __slots__ = ("active", "filled", "limit", "order", "quoted", "stop", "triggered")

    def __init__(self, order: Order, active: int) -> None:
        self.order = order
        self.active = active
        self.filled = order.filled
        self.limit = float(order.limit_price) if order.limit_price is not None else None
        self.stop = float(order.stop_price) if order.stop_price is not None else None
        self.triggered = order.type in (OrderType.MARKET, OrderType.LIMIT)
        self.quoted = False

    @property
    def state(self) -> OrderState:
        return OrderState.PARTIALLY_FILLED if self.filled else OrderState.ACCEPTED

    def change(self, terms: OrderTerms) -> None:
        self.order = structs.replace(
            self.order,
            quantity=terms.quantity,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
        )
        self.limit = float(terms.limit_price) if terms.limit_price is not None else None
        self.stop = float(terms.stop_price) if terms.stop_price is not None else None


class SimulatedExchange:
    """An exchange for one account, without latency. Every answer is an input for the machine."""

    def __init__(self, instruments: Iterable[Instrument], rules: ExchangeRules) -> None:
        self._instruments = {i.symbol: i for i in instruments}
        self._rules = rules
        self._slip = rules.slippage_bps * BASIS_POINT
        self._share = float(rules.max_volume_share_pct) / 100
        self._resting: dict[str, dict[str, Resting]] = {}
        self._answers: OrderedDict[str, ExecutionReport] = OrderedDict()
        self.slippage_paid = ZERO

    # --- orders ---------------------------------------------------------------------------------

    def restore(self, orders: Iterable[Order], now: int) -> None:
        """Take back the open orders of a former session."""
        for order in orders:
            self._rest(order, now)

    def submit(self, order: Order, now: int) -> ExecutionReport:
        """Accept or reject. A client order id that is known gets its former answer again."""
        key = order.client_order_id
        if key in self._answers:
            return self._answers[key]
        if reason := self._objection(order):
            return self._answer(key, OrderState.REJECTED, now, reason=reason)
        return self._rest(order, now)

    def cancel(self, client_order_id: str, now: int) -> ExecutionReport | CancelRejected:
        resting = self._find_resting(client_order_id)
        if resting is None:
            return CancelRejected(client_order_id, self._why_not(client_order_id), ts=now)
        del self._resting[resting.order.symbol][client_order_id]
        return self._answer(client_order_id, OrderState.CANCELED, now, resting.order)

    def replace(
        self, client_order_id: str, terms: OrderTerms, now: int
    ) -> ExecutionReport | ReplaceRejected:
        """Change what an order asks for. A smaller quantity alone keeps its place in the queue; one
        that is filled already ends the order (as FIX has it, with that quantity)."""
        resting = self._find_resting(client_order_id)
        if resting is None:
            return ReplaceRejected(client_order_id, self._why_not(client_order_id), ts=now)
        order = resting.order
        if reason := terms_fault(order, terms, self._instruments[order.symbol]):
            return ReplaceRejected(client_order_id, reason, ts=now)
        book = self._resting[order.symbol]
        shrinks = structs.replace(terms, quantity=order.quantity) == order.terms
        quantity = max(terms.quantity, resting.filled)
        resting.change(structs.replace(terms, quantity=quantity))
        if resting.filled == quantity:
            del book[client_order_id]
            return self._answer(client_order_id, OrderState.FILLED, now, resting.order)
        if not shrinks or quantity > order.quantity:
            resting.active = now
            book[client_order_id] = book.pop(client_order_id)
        return self._answer(client_order_id, resting.state, now, resting.order)

    def _find_resting(self, client_order_id: str) -> Resting | None:
        for book in self._resting.values():
            if client_order_id in book:
                return book[client_order_id]
        return None

    def _why_not(self, client_order_id: str) -> str:
        return "too late" if client_order_id in self._answers else "unknown order"

    def find(self, client_order_id: str) -> ExecutionReport | None:
        """The last answer to an order, None where the exchange never had it."""
        return self._answers.get(client_order_id)

    def open_orders(self) -> list[VenueOrder]:
        """The orders that rest, with what was filled of them."""
        return [
            VenueOrder(structs.replace(resting.order, filled=resting.filled), resting.state)
            for book in self._resting.values()
            for resting in book.values()
        ]

    def _objection(self, order: Order) -> str:
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            return f"unknown symbol {order.symbol}"
        return order_fault(order, instrument, CAPABILITIES)

    def _rest(self, order: Order, now: int) -> ExecutionReport:
        book = self._resting.setdefault(order.symbol, {})
        book[order.client_order_id] = resting = Resting(order, now)
        return self._answer(order.client_order_id, resting.state, now, order)

    def _answer(
        self,
        client_order_id: str,
        state: OrderState,
        now: int,
        order: Order | None = None,
        fill: Fill | None = None,
        reason: str = "",
    ) -> ExecutionReport:
        """What the exchange says of an order; the times of one order's answers rise."""
        before = self._answers.get(client_order_id)
        report = ExecutionReport(
            client_order_id,
            state,
            f"paper-{client_order_id[3:]}",
            fill,
            reason,
            order.terms if order is not None else None,
            max(now, before.transact_ts + 1) if before is not None else now,
            ts=now,
        )
        self._answers[client_order_id] = report
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        return report

    # --- market data ----------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> list[ExecutionReport]:
        """Fill what this quote fills."""
        book = self._resting.get(quote.symbol)
        if not book or not quote.is_sound or quote.is_stub:
            return []
        reports: list[ExecutionReport] = []
        sizes = {Side.BUY: quote.ask_size, Side.SELL: quote.bid_size}
        for resting in list(book.values()):
            if resting.active > quote.ts:
                continue
            side = resting.order.side
            buys = side is Side.BUY
            touch = quote.ask if buys else quote.bid
            resting.quoted = True
            if not resting.triggered and resting.stop is not None:
                resting.triggered = touch >= resting.stop if buys else touch <= resting.stop
            if not resting.triggered:
                continue
            if resting.limit is not None and (
                touch > resting.limit if buys else touch < resting.limit
            ):
                continue
            sizes[side] -= self._fill(resting, touch, sizes[side], quote.ts, reports)
        return reports

    def on_bar(self, bar: Bar) -> list[ExecutionReport]:
        """Fill what this bar fills, of the orders that were there before it began."""
        book = self._resting.get(bar.symbol)
        if not book or not bar.is_sound:
            return []
        reports: list[ExecutionReport] = []
        available = bar.volume * self._share
        for resting in list(book.values()):
            if resting.active > bar.start:
                continue
            price = _bar_price(resting, bar)
            if price is not None:
                available -= self._fill(resting, price, available, bar.ts, reports)
        return reports

    def _fill(
        self,
        resting: Resting,
        price: float,
        available: float,
        ts: int,
        reports: list[ExecutionReport],
    ) -> float:
        """Fill up to `available` at `price`, and say how much was filled."""
        order = resting.order
        instrument = self._instruments[order.symbol]
        if not available > 0:  # NaN is no size either
            return 0.0
        remaining = order.quantity - resting.filled
        quantity = remaining if remaining <= available else instrument.quantity(available)
        if not quantity:
            return 0.0
        exact = instrument.price(price)
        paid = exact if resting.limit is not None else self._slipped(order.side, exact, instrument)
        self.slippage_paid += abs(paid - exact) * quantity
        resting.filled += quantity
        commission = paid * quantity * self._rules.commission_pct / 100
        fill = Fill(
            f"{order.client_order_id}-{resting.filled.normalize():f}",
            order.client_order_id,
            order.symbol,
            order.side,
            quantity,
            paid,
            commission.quantize(CENT_FRACTION),
            ts,
        )
        done = resting.filled == order.quantity
        state = OrderState.FILLED if done else OrderState.PARTIALLY_FILLED
        if done:
            del self._resting[order.symbol][order.client_order_id]
        reports.append(self._answer(order.client_order_id, state, ts, order, fill))
        return float(quantity)

    def _slipped(self, side: Side, price: Decimal, instrument: Instrument) -> Decimal:
        """`price` made worse by the slippage, onto the next worse tick."""
        worse = price * (1 + side.sign * self._slip)
        rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
        steps = (worse / instrument.tick).quantize(Decimal(1), rounding)
        return max(steps, Decimal(1)) * instrument.tick


def _bar_price(resting: Resting, bar: Bar) -> float | None:
    """The price at which `bar` fills the order, None where it does not."""
    buys = resting.order.side is Side.BUY
    price = bar.open
    if not resting.triggered and resting.stop is not None:
        stop = resting.stop
        if not (bar.high >= stop if buys else bar.low <= stop):
            return None
        resting.triggered = True
        price = max(bar.open, stop) if buys else min(bar.open, stop)
        if resting.limit is not None:  # what the bar did before the touch does not count
            within = price <= resting.limit if buys else price >= resting.limit
            return price if within else None
    elif resting.limit is None and resting.quoted:
        return None  # a market order that waits for size fills at quotes, not at a past open
    if resting.limit is None:
        return price
    if buys:
        return min(price, resting.limit) if min(price, bar.low) < resting.limit else None
    return max(price, resting.limit) if max(price, bar.high) > resting.limit else None
