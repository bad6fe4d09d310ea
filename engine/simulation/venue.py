"""A venue behind a bad line: the simulated exchange, and everything that goes wrong on the way.

The exchange is the truth: `executions` and `open_orders` are the venue's own books, against which
the engine's are held when the faults have ended.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random
from typing import Protocol

from msgspec.structs import replace

from engine.core.events import (
    AccountStatement,
    CancelRejected,
    Event,
    ExecutionReport,
    OrderNotFound,
    ReplaceRejected,
    RequestStatement,
    StatementFailed,
    SubmitFailed,
    TradeBusted,
    VenueOrder,
)
from engine.core.matching import CAPABILITIES, ExchangeRules, SimulatedExchange
from engine.core.model import (
    NANOS,
    ZERO,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
)
from engine.core.sessions import Calendars
from engine.simulation.laws import law
from engine.simulation.options import Fault, VenueOptions
from engine.simulation.schedule import Schedule

S = OrderState
MILLI = 1_000_000
LINE_TIMEOUT = 5 * NANOS
STUCK_FOR = (LINE_TIMEOUT, 45 * NANOS)
LATEST = 20 * NANOS
SLOWEST_REPLACE = 2 * NANOS
"""A replace takes its time, so that much happens meanwhile."""


class Surroundings(Protocol):
    """What a venue lives in. `hear` takes what it says by itself; False where nobody listens."""

    schedule: Schedule
    random: Random
    calm: bool

    def chance(self, fault: Fault) -> bool: ...
    def note(self, fault: Fault) -> None: ...
    def hear(self, event: Event) -> bool: ...


class Venue:
    """`cash` is what the account began with; `move_cash` adds to it, or takes of it.

    `executions` are those that stand, `reported` all that there were, and `busts` what was taken
    back of them, or corrected: with every answer it is told again. `submits` counts the requests
    for each client order id, `accepted` the orders made of them.
    """

    def __init__(
        self,
        options: VenueOptions,
        instruments: Iterable[Instrument],
        cash: Decimal,
        calendars: Calendars,
        around: Surroundings,
    ) -> None:
        self.options = options
        self.instruments = {i.symbol: i for i in instruments}
        rules = ExchangeRules(Decimal("0.1"), Decimal(1), Decimal(50))
        self.exchange = SimulatedExchange(self.instruments.values(), rules, calendars)
        self.up = True
        self.submits: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.executions: dict[str, Fill] = {}
        self.reported: dict[str, Fill] = {}
        self.busts: list[TradeBusted] = []
        self.orders: dict[str, Order] = {}
        self.quotes: dict[str, Quote] = {}
        self._cash = cash
        self._around = around
        self._schedule = around.schedule
        self._random = around.random
        self._chance = around.chance
        self._visible: dict[str, int] = {}
        self._ended: dict[str, ExecutionReport] = {}
        self._unsaid: list[Event] = []
        self._hand_made = 0

    @property
    def cash(self) -> Decimal:
        """What the account has now."""
        return self._cash + sum((fill.cash_change for fill in self.executions.values()), ZERO)

    def move_cash(self, amount: Decimal) -> None:
        """A deposit, a withdrawal, a fee that is posted late."""
        self._cash += amount

    @property
    def capabilities(self) -> Capabilities:
        """What the venue says that it can do."""
        return replace(
            CAPABILITIES,
            order_types=self.options.order_types,
            times_in_force=self.options.times_in_force,
            oco=self.options.oco,
            replace=self.options.can_replace,
            idempotency=self.options.idempotency,
            visibility_lag=self.options.lag,
        )

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
        not_sent = ReplaceRejected(key, "429" if self.up else "connection refused")
        in_doubt = ReplaceRejected(key, "no answer in time", in_doubt=True)

        def leave() -> None:
            self._request(lambda: [self._replace(key, terms)], not_sent, in_doubt, answer)

        self._schedule.after(self._random.randint(0, SLOWEST_REPLACE), leave)

    def query(self, order: Order, answer: Callable[[Event], None]) -> None:
        self._request(lambda: self._find(order.client_order_id), None, None, answer)

    def statement(self, effect: RequestStatement, answer: Callable[[Event], None]) -> None:
        """Two requests: first what is open, then the rest, while both sides move on."""
        failed = StatementFailed(effect.broker, effect.asked_ts, "no answer")

        def go_on(draft: Event) -> None:
            if isinstance(draft, AccountStatement):
                self._request(lambda: self._complete(draft, effect), failed, failed, answer)
            else:
                answer(draft)

        self._request(lambda: [self._draft(effect)], failed, failed, go_on)

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

        def arrive_late() -> None:
            if not self._around.calm:
                for event in carry_out():
                    if isinstance(event, ExecutionReport):
                        self._say(event)  # nobody waits for an answer any more

        if not self.up or self._chance(Fault.THROTTLED):
            self._schedule.after(MILLI, lambda: say(not_sent))
        elif self._chance(Fault.STUCK):
            self._schedule.after(LINE_TIMEOUT, lambda: say(no_answer))
            self._schedule.after(self._random.randint(*STUCK_FOR), arrive_late)
        elif self._chance(Fault.REQUEST_LOST):
            self._schedule.after(LINE_TIMEOUT, lambda: say(no_answer))
        else:
            self._schedule.after(self._latency(), arrive)

    def _latency(self) -> int:
        slow = self._chance(Fault.SLOW)
        return self._random.randint(MILLI, 4 * NANOS if slow else 50 * MILLI)

    # --- the venue ------------------------------------------------------------------------------

    def _take(self, order: Order) -> Event:
        self._must_take(order)
        key = order.client_order_id
        known = key in self.orders
        is_open = known and key in self.open_orders()
        is_unique = self.options.idempotency
        if known and (
            is_unique is Idempotency.FOREVER or (is_open and is_unique is Idempotency.OPEN_ONLY)
        ):
            return ExecutionReport(key, S.REJECTED, "", None, "client order id must be unique")
        self._visible[key] = self._schedule.now + self._random.randint(0, self.options.lag)
        self.orders[key] = order
        if self._chance(Fault.REJECTED):
            return self._end(ExecutionReport(key, S.REJECTED, f"v-{key}", None, "margin"))
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
        report = self.exchange.cancel(key, self._schedule.now)
        if isinstance(report, ExecutionReport):
            self._around.note(
                Fault.REJECTED_LATER if state is S.REJECTED else Fault.CANCELED_BY_VENUE
            )
            self._say(self._end(replace(report, state=state, reason="by the venue")))

    def _must_take(self, order: Order) -> None:
        """Nothing is asked of a venue that it said it cannot do."""
        able = self.options
        law(order.type in able.order_types, "capabilities", order)
        law(order.time_in_force in able.times_in_force, "capabilities", order)
        law(able.oco or not order.oco_group, "capabilities", order)

    def _replace(self, key: str, terms: OrderTerms) -> Event:
        law(self.options.can_replace, "capabilities", key)
        if self._chance(Fault.REJECTED):
            return ReplaceRejected(key, "margin")
        return self.exchange.replace(key, terms, self._schedule.now)

    def _cancel(self, key: str) -> Event:
        if self._chance(Fault.FILLED_BEFORE_CANCEL) and key in self.open_orders():
            return self._fill_and_cancel(key)
        return self.exchange.cancel(key, self._schedule.now)

    def _fill_and_cancel(self, key: str) -> Event:
        """The cancel comes a moment after an execution, which is told later."""
        now = self._schedule.now
        order = self.orders[key]
        report = self.exchange.cancel(key, now)
        if not isinstance(report, ExecutionReport) or order.symbol not in self.quotes:
            return report
        asked = report.terms.quantity if report.terms is not None else order.quantity
        leaves = asked - self._filled(key)
        instrument = self.instruments[order.symbol]
        quantity = instrument.quantity(leaves * self._random.choice((1, 3)) / 3)
        if not quantity:
            return report
        price = instrument.price(self.quotes[order.symbol].mid)
        fill = Fill(f"{key}-last", key, order.symbol, order.side, quantity, price, ZERO, now)
        if instrument.commission_in_base and order.side is Side.BUY:
            fill = replace(fill, commission_quantity=quantity / 1024)
        self._execute(fill)
        self._say(replace(report, state=S.PARTIALLY_FILLED, fill=fill))
        if quantity < leaves:
            return self._end(report)
        self._end(replace(report, state=S.FILLED))
        return CancelRejected(key, "too late")

    def _filled(self, key: str) -> Decimal:
        own = (f.quantity for f in self.reported.values() if f.client_order_id == key)
        return sum(own, ZERO)

    def _end(self, report: ExecutionReport) -> ExecutionReport:
        self._ended[report.client_order_id] = report
        return report

    def _find(self, key: str) -> list[Event]:
        """Where an order is, with all its executions; nothing while it is not visible yet."""
        report = self._ended.get(key) or self.exchange.find(key)
        if report is None or self._visible.get(key, 0) > self._schedule.now:
            return [OrderNotFound(key)]
        fills = [f for f in self.reported.values() if f.client_order_id == key]
        ids = {fill.execution_id for fill in fills}
        busts = [bust for bust in self.busts if bust.execution_id in ids]
        told = [
            ExecutionReport(key, S.PARTIALLY_FILLED, report.venue_order_id, fill) for fill in fills
        ]
        return [*told, *busts, replace(report, fill=None)]

    def _draft(self, effect: RequestStatement) -> AccountStatement:
        """The open orders that are visible by now."""
        listed = tuple(
            VenueOrder(
                replace(
                    venue_order.order,
                    purpose=OrderPurpose.EXTERNAL,
                    venue_order_id=self._venue_order_id(venue_order.order.client_order_id),
                ),
                venue_order.state,
            )
            for venue_order in self.exchange.open_orders()
            if self._visible.get(venue_order.order.client_order_id, 0) <= self._schedule.now
        )
        return AccountStatement(effect.broker, effect.asked_ts, listed, (), {})

    def _complete(self, draft: AccountStatement, effect: RequestStatement) -> list[Event]:
        fills = self.executions.values()
        positions = {
            symbol: sum((held_of(fill) for fill in fills if fill.symbol == symbol), ZERO)
            for symbol in self.instruments
        }
        cash = self.cash
        known = tuple(fill for fill in self.reported.values() if fill.ts >= effect.since)
        if self._chance(Fault.REPEATED):
            known *= 2
        power = max(cash, ZERO) if self.options.tells_power else None
        complete = replace(draft, fills=known, positions=positions, cash=cash, buying_power=power)
        return [complete, *self.busts]

    def _venue_order_id(self, key: str) -> str:
        report = self.exchange.find(key)
        return report.venue_order_id if report is not None else ""

    def open_orders(self) -> list[str]:
        """Client order ids of what is open here, whoever made it."""
        return [listed.order.client_order_id for listed in self.exchange.open_orders()]

    # --- the market -----------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> None:
        self.quotes[quote.symbol] = quote
        for report in self.exchange.on_quote(quote):
            if report.fill is not None:
                self._execute(report.fill)
            self._say(report)

    def _execute(self, fill: Fill) -> None:
        self.executions[fill.execution_id] = self.reported[fill.execution_id] = fill
        if self._chance(Fault.BUSTED):
            delay = self._random.randint(MILLI, LATEST)
            self._schedule.after(delay, lambda: self._bust(fill))

    def _bust(self, fill: Fill) -> None:
        """Take an execution back, or correct it; under an id of its own a correction may be taken
        back too."""
        del self.executions[fill.execution_id]
        correction = self._correction(fill) if self._random.random() < 0.5 else None
        if correction is not None:
            self.executions[correction.execution_id] = correction
            if correction.execution_id != fill.execution_id and self._random.random() < 0.3:
                self._schedule.after(NANOS, lambda: self._bust(correction))
        bust = TradeBusted(fill.execution_id, fill.symbol, correction, "erroneous")
        self.busts.append(bust)
        self._around.note(Fault.BUSTED)
        self._say(bust)

    def _correction(self, fill: Fill) -> Fill:
        """At another price, or of a smaller quantity."""
        instrument = self.instruments[fill.symbol]
        price = instrument.price(fill.price * self._random.choice((Decimal("0.9"), Decimal("1.1"))))
        quantity = instrument.quantity(fill.quantity / self._random.choice((1, 2)))
        key = fill.execution_id + self._random.choice(("", "-c"))
        return replace(fill, execution_id=key, price=price, quantity=quantity or fill.quantity)

    def make_by_hand(self) -> None:
        """Somebody sends an order from the venue's own pages: one that fills, or one that rests."""
        symbol = self._random.choice(list(self.instruments))
        instrument = self.instruments[symbol]
        self._hand_made += 1
        limit = instrument.price(1) if self._random.random() < 0.5 else None
        order = Order(
            f"hand-{self.options.name}-{self._hand_made}", "", symbol,
            Side.BUY if limit else self._random.choice(list(Side)),
            OrderType.LIMIT if limit else OrderType.MARKET, instrument.lot * 10,
            OrderPurpose.EXTERNAL, self._schedule.now, self._schedule.now,
            limit or Decimal(100), limit_price=limit,
        )  # fmt: skip
        self.orders[order.client_order_id] = order
        self._say(self.exchange.submit(order, self._schedule.now))

    # --- the stream -----------------------------------------------------------------------------

    def _say(self, event: Event) -> None:
        if self._chance(Fault.UNHEARD):
            return
        late = self._chance(Fault.LATE)
        times = 1 + (self._random.randint(1, 4) if self._chance(Fault.REPEATED) else 0)
        for _ in range(times):
            delay = self._random.randint(MILLI, LATEST if late else 50 * MILLI)
            self._schedule.after(delay, lambda: self._tell(event))

    def _tell(self, event: Event) -> None:
        if not (self.up and self._around.hear(replace(event))):
            self._unsaid.append(event)  # told to nobody

    def resume(self) -> None:
        """Somebody listens again: say what went unheard, where the venue does that."""
        if not self.options.repeats:
            self._unsaid.clear()
        for _ in range(len(self._unsaid)):
            self._tell(self._unsaid.pop(0))


def held_of(fill: Fill) -> Decimal:
    """What an execution adds to what the account holds."""
    return fill.side.sign * fill.quantity - fill.commission_quantity
