"""The simulated exchange: paper broker, backtest and simulation share it.

It fills from market data that came after the order did:

* market: at the next quote's touch, or at the open of the next bar, plus slippage;
* limit: at the touch where it crosses, or where a bar trades through the price (at the open if
  that is better); never with slippage;
* stop: where it is touched, at the stop price (at the open if it gaps), plus slippage;
* stop-limit: a limit once it is touched;
* trailing stop: a stop that follows the best price at its trail. Within a bar the worst price that
  the trail can give, as nobody knows whether the best price came first.

No more than a set share of a bar's volume, or the size of the quote, fills at once; the rest waits.
With ioc the rest is cancelled at the first quote, or the open of the first bar; with fok all fills
there or nothing does. A day order expires at the close of its session.

Of the orders of an `oco_group` a fill of one takes its quantity from the others, and cancels those
of which nothing is left. Where a bar would fill several, those that fill at its open come first,
then stops: the worse of the possible orders.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from msgspec import Struct, structs

from engine.core.events import CancelRejected, ExecutionReport, ReplaceRejected, VenueOrder
from engine.core.model import (
    BASIS_POINT,
    FINAL_STATES,
    ORDER_TYPES,
    TIMES_IN_FORCE,
    ZERO,
    Bar,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderState,
    OrderTerms,
    Quote,
    Side,
    TimeInForce,
)
from engine.core.order_rules import order_fault, terms_fault
from engine.core.resting import Resting
from engine.core.sessions import Calendars

CENT_FRACTION = Decimal("0.00000001")
ANSWERS_KEPT = 10_000
"""Last answers to orders that rest no more; those to orders that rest are all kept."""
NEVER = 2**63


class ExchangeRules(Struct, frozen=True):
    """What trading costs. Commission is in percent of notional, slippage in basis points of the
    price, `max_volume_share_pct` the part of a bar's volume that one bar may fill."""

    commission_pct: Decimal = Decimal("0.1")
    slippage_bps: Decimal = Decimal(1)
    max_volume_share_pct: Decimal = Decimal(10)


CAPABILITIES = Capabilities(
    order_types=ORDER_TYPES,
    times_in_force=TIMES_IN_FORCE,
    replace=True,
    oco=True,
    extended_hours=True,
    fractional=True,
    short=True,
    client_order_ids=True,
    idempotency=Idempotency.FOREVER,
)
"""What the simulated exchange can do."""


class SimulatedExchange:
    """An exchange for one account, without latency. Every answer is an input for the machine."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        rules: ExchangeRules,
        calendars: Calendars | None = None,
    ) -> None:
        self._instruments = {i.symbol: i for i in instruments}
        self._rules = rules
        self._calendars = calendars or Calendars()
        self._slip = rules.slippage_bps * BASIS_POINT
        self._share = float(rules.max_volume_share_pct) / 100
        self._resting: dict[str, dict[str, Resting]] = {}
        self._groups: dict[str, dict[str, Resting]] = {}
        self._next_expiry = NEVER
        self._answers: OrderedDict[str, ExecutionReport] = OrderedDict()
        self._seen: dict[str, Quote | Bar] = {}
        self.slippage_paid = ZERO

    # --- orders ---------------------------------------------------------------------------------

    def restore(
        self, orders: Iterable[Order], now: int, trailed: Mapping[str, Decimal] | None = None
    ) -> None:
        """Take back the open orders of a former session. `trailed` is how far the stops of trailing
        stops had followed the price, by client order id."""
        for order in orders:
            self._rest(order, now, order.created_ts)
            if trailed and order.client_order_id in trailed:
                resting = self._resting[order.symbol][order.client_order_id]
                resting.go_on_from(float(trailed[order.client_order_id]))

    def submit(self, order: Order, now: int) -> ExecutionReport:
        """Accept or reject. A client order id that is known gets its former answer again."""
        key = order.client_order_id
        if key in self._answers:
            return self._answers[key]
        if reason := self._objection(order):
            return self._answer(key, OrderState.REJECTED, now, reason=reason)
        report = self._rest(order, now, now)
        self._resting[order.symbol][key].rests_at(self._seen.get(order.symbol))
        return report

    def cancel(self, client_order_id: str, now: int) -> ExecutionReport | CancelRejected:
        resting = self._find_resting(client_order_id)
        if resting is None:
            return CancelRejected(client_order_id, self._why_not(client_order_id), ts=now)
        return self._end(resting, OrderState.CANCELED, now)

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
        shrinks = structs.replace(terms, quantity=order.quantity) == order.terms
        quantity = max(terms.quantity, resting.filled)
        resting.change(structs.replace(terms, quantity=quantity))
        if resting.filled == quantity:
            return self._end(resting, OrderState.FILLED, now)
        book = self._resting[order.symbol]
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

    def _rest(self, order: Order, now: int, since: int) -> ExecutionReport:
        """The order works, as it has `since` that time."""
        expires = 0
        if order.time_in_force is TimeInForce.DAY:
            calendar = self._instruments[order.symbol].calendar
            expires = self._calendars.session_end(calendar, since)
            self._next_expiry = min(self._next_expiry, expires or NEVER)
        resting = Resting(order, since, expires)
        self._resting.setdefault(order.symbol, {})[order.client_order_id] = resting
        if order.oco_group:
            self._groups.setdefault(order.oco_group, {})[order.client_order_id] = resting
        return self._answer(order.client_order_id, resting.state, now, order)

    def _end(
        self,
        resting: Resting,
        state: OrderState,
        now: int,
        reason: str = "",
        fill: Fill | None = None,
    ) -> ExecutionReport:
        """The order works no more."""
        order = resting.order
        del self._resting[order.symbol][order.client_order_id]
        if order.oco_group:
            group = self._groups[order.oco_group]
            del group[order.client_order_id]
            if not group:
                del self._groups[order.oco_group]
        return self._answer(order.client_order_id, state, now, order, fill, reason)

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
            oldest, answer = self._answers.popitem(last=False)
            if answer.state not in FINAL_STATES:
                self._answers[oldest] = answer
        return report

    # --- market data ----------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> list[ExecutionReport]:
        """Fill what this quote fills."""
        self._seen[quote.symbol] = quote
        reports = self.expire(quote.ts) if quote.ts >= self._next_expiry else []
        book = self._resting.get(quote.symbol)
        if not book or not quote.is_sound or quote.is_stub:
            return reports
        sizes = {Side.BUY: quote.ask_size, Side.SELL: quote.bid_size}
        for resting in list(book.values()):
            if resting.active > quote.ts or resting.order.client_order_id not in book:
                continue
            side = resting.order.side
            price = resting.at_quote(quote.ask if resting.buys else quote.bid)
            if price is not None:
                sizes[side] -= self._fill(resting, price, sizes[side], quote.ts, reports)
            if resting.at_once:
                self._cancel_rest(resting, quote.ts, reports)
        return reports

    def on_past_quote(self, quote: Quote) -> None:
        """The last quote of a former session: what rested then has had its chance at it."""
        self._seen[quote.symbol] = quote
        for resting in self._resting.get(quote.symbol, {}).values():
            resting.quoted |= resting.active <= quote.ts
            resting.has_rested |= resting.quoted and resting.triggered

    def on_bar(self, bar: Bar) -> list[ExecutionReport]:
        """Fill what this bar fills, of the orders that were there before it began."""
        self._seen[bar.symbol] = bar
        start = bar.ts - bar.interval
        reports = self.expire(start) if start >= self._next_expiry else []
        book = self._resting.get(bar.symbol)
        if not book or not bar.is_sound:
            return reports
        available = bar.volume * self._share
        waiting = list(book.values())
        if self._groups:
            waiting.sort(key=lambda r: (not r.fills_at(bar.open), r.limit is not None))
        for resting in waiting:
            if resting.active > start or resting.order.client_order_id not in book:
                continue
            price = resting.in_bar(bar)
            if price is not None:
                available -= self._fill(resting, price, available, bar.ts, reports)
            if resting.at_once:
                self._cancel_rest(resting, bar.ts, reports)
        if bar.ts >= self._next_expiry:
            reports += self.expire(bar.ts, bar.symbol)
        return reports

    def expire(self, now: int, symbol: str = "") -> list[ExecutionReport]:
        """End the day orders (of `symbol`, by default of all) whose session is over at `now`."""
        due: list[Resting] = []
        later = NEVER
        for book in self._resting.values():
            for resting in book.values():
                if resting.expires and resting.expires <= now:
                    due.append(resting)
                elif resting.expires:
                    later = min(later, resting.expires)
        ended = [r for r in due if not symbol or r.order.symbol == symbol]
        self._next_expiry = later if len(ended) == len(due) else now
        return [self._end(r, OrderState.EXPIRED, now, "the session is over") for r in ended]

    def _cancel_rest(self, resting: Resting, ts: int, reports: list[ExecutionReport]) -> None:
        """An order that was to fill at once, and did not, or not whole."""
        if resting.leaves and resting.order.client_order_id in self._resting[resting.order.symbol]:
            reason = f"{resting.order.time_in_force}: {resting.leaves} did not fill at once"
            reports.append(self._end(resting, OrderState.CANCELED, ts, reason))

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
        leaves = resting.leaves
        if leaves > available and order.time_in_force is TimeInForce.FOK:
            return 0.0
        quantity = leaves if leaves <= available else instrument.quantity(available)
        if not quantity:
            return 0.0
        exact = instrument.price(price)
        paid = exact if resting.limit is not None else self._slipped(order.side, exact, instrument)
        self.slippage_paid += abs(paid - exact) * quantity
        resting.filled += quantity
        in_base = order.side is Side.BUY and instrument.commission_in_base
        share = self._rules.commission_pct / 100
        fill = Fill(
            f"{order.client_order_id}-{resting.filled.normalize():f}",
            order.client_order_id,
            order.symbol,
            order.side,
            quantity,
            paid,
            ZERO if in_base else (paid * quantity * share).quantize(CENT_FRACTION),
            ts,
            commission_quantity=(
                (quantity * share).quantize(CENT_FRACTION, ROUND_DOWN) if in_base else ZERO
            ),
            liquidity=resting.liquidity,
        )
        resting.has_rested = True
        if resting.leaves:
            state = OrderState.PARTIALLY_FILLED
            reports.append(self._answer(order.client_order_id, state, ts, order, fill))
        else:
            reports.append(self._end(resting, OrderState.FILLED, ts, fill=fill))
        if order.oco_group in self._groups:
            self._take_from_others(order, quantity, ts, reports)
        return float(quantity)

    def _take_from_others(
        self, order: Order, quantity: Decimal, ts: int, reports: list[ExecutionReport]
    ) -> None:
        """What one order of a group filled, the others ask for no more."""
        for other in list(self._groups[order.oco_group].values()):
            if other.order.client_order_id == order.client_order_id:
                continue
            if other.leaves <= quantity:
                reason = f"one cancels other: {order.client_order_id} filled"
                reports.append(self._end(other, OrderState.CANCELED, ts, reason))
            else:
                less = structs.replace(other.order.terms, quantity=other.order.quantity - quantity)
                other.change(less)
                key = other.order.client_order_id
                reports.append(self._answer(key, other.state, ts, other.order))

    def _slipped(self, side: Side, price: Decimal, instrument: Instrument) -> Decimal:
        """`price` made worse by the slippage, onto the next worse tick."""
        worse = price * (1 + side.sign * self._slip)
        rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
        steps = (worse / instrument.tick).quantize(Decimal(1), rounding)
        return max(steps, Decimal(1)) * instrument.tick
