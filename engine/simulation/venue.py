"""A venue behind a bad line: the simulated exchange, and everything that goes wrong on the way.

The exchange is the truth: `executions` and `open_orders` are the venue's own books, against which
the engine's are held when the faults have ended.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from engine.core.events import (
    CancelRejected,
    Event,
    ExecutionReport,
    OrderNotFound,
    ReplaceRejected,
    SubmitFailed,
)
from engine.core.matching import ExchangeRules, SimulatedExchange
from engine.core.model import (
    NANOS,
    ZERO,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
)
from engine.simulation.options import Fault, Uniqueness, VenueOptions
from engine.simulation.schedule import Schedule

S = OrderState
MILLI = 1_000_000
LINE_TIMEOUT = 5 * NANOS
LATEST = 20 * NANOS

Chance = Callable[[Fault], bool]


class Venue:
    """`stream` takes what the venue says by itself; False where nobody listens, then it is said
    again when somebody does."""

    def __init__(
        self,
        options: VenueOptions,
        instruments: Iterable[Instrument],
        schedule: Schedule,
        random: Random,
        chance: Chance,
        note: Callable[[Fault], None],
        stream: Callable[[Event], bool],
    ) -> None:
        self.options = options
        self.instruments = {i.symbol: i for i in instruments}
        rules = ExchangeRules(Decimal("0.1"), Decimal(1), Decimal(50))
        self.exchange = SimulatedExchange(self.instruments.values(), rules)
        self.up = True
        self.submits: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.executions: dict[str, Fill] = {}
        self.orders: dict[str, Order] = {}
        self.quotes: dict[str, Quote] = {}
        self._schedule = schedule
        self._random = random
        self._chance = chance
        self._note = note
        self._stream = stream
        self._visible: dict[str, int] = {}
        self._ended: dict[str, ExecutionReport] = {}
        self._unsaid: list[Event] = []
        self._hand_made = 0

    # --- the line: requests of the engine -------------------------------------------------------

    def submit(self, order: Order, answer: Callable[[Event], None]) -> None:
        key = order.client_order_id
        self.submits[key] += 1
        not_sent = SubmitFailed(key, False, "429" if self.up else "connection refused")
        in_doubt = SubmitFailed(key, True, "no answer in time")
        self._request(lambda: [self._take(order)], not_sent, in_doubt, answer)

    def cancel(self, order: Order, answer: Callable[[Event], None]) -> None:
        key = order.client_order_id
        failed = CancelRejected(key, "no answer in time")
        self._request(lambda: [self._cancel(key)], failed, failed, answer)

    def replace(self, order: Order, terms: OrderTerms, answer: Callable[[Event], None]) -> None:
        key = order.client_order_id
        self._request(
            lambda: [self.exchange.replace(key, terms, self._schedule.now)],
            ReplaceRejected(key, "not sent"),
            ReplaceRejected(key, "no answer in time", in_doubt=True),
            answer,
        )

    def query(self, order: Order, answer: Callable[[Event], None]) -> None:
        self._request(lambda: self._find(order.client_order_id), None, None, answer)

    def _request(
        self,
        carry_out: Callable[[], list[Event]],
        not_sent: Event | None,
        no_answer: Event | None,
        answer: Callable[[Event], None],
    ) -> None:
        """A request and its answer, each of which may be late or lost."""

        def say(event: Event | None) -> None:
            if event is not None:
                answer(replace(event))

        def arrive() -> None:
            answers = carry_out()
            if self._chance(Fault.ANSWER_LOST) or not self.up:
                self._schedule.after(LINE_TIMEOUT, lambda: say(no_answer))
                return
            back = self._latency()
            for event in answers:
                self._schedule.after(back, lambda event=event: say(event))

        if not self.up or self._chance(Fault.THROTTLED):
            self._schedule.after(MILLI, lambda: say(not_sent))
        elif self._chance(Fault.REQUEST_LOST):
            self._schedule.after(LINE_TIMEOUT, lambda: say(no_answer))
        else:
            self._schedule.after(self._latency(), arrive)

    def _latency(self) -> int:
        slow = self._chance(Fault.SLOW)
        return self._random.randint(MILLI, 4 * NANOS if slow else 50 * MILLI)

    # --- the venue ------------------------------------------------------------------------------

    def _take(self, order: Order) -> Event:
        key = order.client_order_id
        known = key in self.orders
        is_open = known and key in self.open_orders()
        uniqueness = self.options.uniqueness
        if known and (uniqueness is Uniqueness.FOREVER or is_open):
            return ExecutionReport(key, S.REJECTED, "", None, "client order id must be unique")
        self._visible[key] = self._schedule.now + self._random.randint(0, self.options.lag)
        self.orders[key] = order
        if self._chance(Fault.REJECTED):
            return self._end(key, S.REJECTED, "margin")
        report = self.exchange.submit(order, self._schedule.now)
        if report.state in (S.ACCEPTED, S.PARTIALLY_FILLED):
            self.accepted[key] += 1
            self._doom(key)
        return report

    def _doom(self, key: str) -> None:
        """Some orders are thrown out later by the venue itself."""
        if self._chance(Fault.REJECTED_LATER):
            self._throw_out_later(key, S.REJECTED)
        elif self._chance(Fault.CANCELED_BY_VENUE):
            self._throw_out_later(key, self._random.choice((S.CANCELED, S.EXPIRED)))

    def _throw_out_later(self, key: str, state: OrderState) -> None:
        delay = self._random.randint(0, 10 * NANOS)
        self._schedule.after(delay, lambda: self._throw_out(key, state))

    def _throw_out(self, key: str, state: OrderState) -> None:
        if isinstance(self.exchange.cancel(key, self._schedule.now), ExecutionReport):
            self._note(Fault.REJECTED_LATER if state is S.REJECTED else Fault.CANCELED_BY_VENUE)
            self._say(self._end(key, state, "by the venue"))

    def _cancel(self, key: str) -> Event:
        if self._chance(Fault.FILLED_BEFORE_CANCEL) and key in self.open_orders():
            return self._fill_and_cancel(key)
        return self.exchange.cancel(key, self._schedule.now)

    def _fill_and_cancel(self, key: str) -> Event:
        """The cancel comes a moment after an execution, which is told later."""
        order = self.orders[key]
        found = self.exchange.find(key)
        quantity = found.terms.quantity if found and found.terms else order.quantity
        leaves = quantity - self._filled(key)
        quantity = self.instruments[order.symbol].quantity(leaves * self._random.choice((1, 3)) / 3)
        self.exchange.cancel(key, self._schedule.now)
        if not quantity or order.symbol not in self.quotes:
            return self._end(key, S.CANCELED, "")
        state = S.FILLED if quantity == leaves else S.CANCELED
        price = self.instruments[order.symbol].price(self.quotes[order.symbol].mid)
        fill = Fill(
            f"{key}-last", key, order.symbol, order.side, quantity, price, ZERO, self._schedule.now
        )
        self.executions[fill.execution_id] = fill
        self._say(ExecutionReport(key, S.PARTIALLY_FILLED, f"v-{key}", fill))
        self._end(key, state, "")
        return CancelRejected(key, "too late") if state is S.FILLED else self._ended[key]

    def _filled(self, key: str) -> Decimal:
        own = (f.quantity for f in self.executions.values() if f.client_order_id == key)
        return sum(own, ZERO)

    def _end(self, key: str, state: OrderState, reason: str) -> ExecutionReport:
        report = ExecutionReport(key, state, f"v-{key}", None, reason)
        self._ended[key] = report
        return report

    def _find(self, key: str) -> list[Event]:
        """Where an order is, with all its executions; nothing while it is not visible yet."""
        report = self._ended.get(key) or self.exchange.find(key)
        if report is None or self._visible.get(key, 0) > self._schedule.now:
            return [OrderNotFound(key)]
        fills = [f for f in self.executions.values() if f.client_order_id == key]
        told = [
            ExecutionReport(key, S.PARTIALLY_FILLED, report.venue_order_id, fill) for fill in fills
        ]
        return [*told, replace(report, fill=None)]

    def open_orders(self) -> list[str]:
        """Client order ids of what is open here, hand-made orders left out."""
        live = (S.ACCEPTED, S.PARTIALLY_FILLED)
        return [
            key
            for key in self.orders
            if key not in self._ended
            and (report := self.exchange.find(key)) is not None
            and report.state in live
        ]

    # --- the market -----------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> None:
        self.quotes[quote.symbol] = quote
        for report in self.exchange.on_quote(quote):
            if report.fill is not None and report.client_order_id in self.orders:
                self.executions[report.fill.execution_id] = report.fill
            self._say(report)

    def make_by_hand(self) -> None:
        """Somebody sends an order from the venue's own pages."""
        symbol = self._random.choice(list(self.instruments))
        self._hand_made += 1
        lot = self.instruments[symbol].lot
        order = Order(
            f"hand-{self.options.name}-{self._hand_made}", "", symbol,
            self._random.choice(list(Side)), OrderType.MARKET, lot * 10, OrderPurpose.EXTERNAL,
            self._schedule.now, self._schedule.now, ZERO,
        )  # fmt: skip
        self._say(self.exchange.submit(order, self._schedule.now))

    # --- the stream -----------------------------------------------------------------------------

    def _say(self, event: Event) -> None:
        late = self._chance(Fault.LATE)
        times = 1 + (self._random.randint(1, 4) if self._chance(Fault.REPEATED) else 0)
        for _ in range(times):
            delay = self._random.randint(MILLI, LATEST if late else 50 * MILLI)
            self._schedule.after(delay, lambda: self._tell(event))

    def _tell(self, event: Event) -> None:
        if not (self.up and self._stream(replace(event))):
            self._unsaid.append(event)

    def resume(self) -> None:
        """Somebody listens again: say what went unheard."""
        for _ in range(len(self._unsaid)):
            self._tell(self._unsaid.pop(0))
