"""A machine and a simulated exchange driven by hand: one input at a time, without a loop.

Every event is audited: a law that breaks in any test fails that test.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    BrokerChanged,
    CancelOrder,
    CashAdjusted,
    ChangedLimit,
    ClockTick,
    CommitIntent,
    Effect,
    EngineStarted,
    Event,
    ExecutionReport,
    IntentCommitted,
    LimitChanged,
    OrderNotFound,
    PositionChanged,
    QueryOrder,
    QuoteUpdate,
    RearmKillSwitch,
    Record,
    ReplaceOrder,
    RequestCancel,
    Restored,
    StrategyState,
    SubmitOrder,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.execution.rules import ExecutionRules, StopRefused
from engine.core.machine import Machine, MachineConfig, StrategySetup
from engine.core.matching import CAPABILITIES, ExchangeRules, SimulatedExchange
from engine.core.model import (
    FINAL_STATES,
    MINUTE,
    NANOS,
    AssetClass,
    Bar,
    Fill,
    FintracReport,
    Instrument,
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Position,
    Quote,
    Side,
    Signal,
    nanos,
)
from engine.core.strategy import Strategy
from engine.simulation.laws import Laws
from engine.store.durable import limits_after, reports_after

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Effect)

START = nanos(datetime(2024, 3, 4, 14, 30, tzinfo=UTC))
"""A Monday, 09:30 in New York."""

ACME = Instrument("ACME", AssetClass.STOCK, Decimal("0.01"), Decimal(1))
COIN = Instrument(
    "COIN", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.00000001"), min_notional=Decimal(10)
)

FREE = ExchangeRules(Decimal(0), Decimal(0), Decimal(100))
"""No commission, no slippage, and a bar's whole volume may fill."""

AT_MARKET = ExecutionRules(entry_order_type=OrderType.MARKET, on_stop_refused=StopRefused.ALERT)
"""Entries at the market, and a refused stop asked for again: what most tests are not about."""

PLENTY = 1e6

BOUNDED = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Puppet(Strategy):
    """Answers at the next quote of its symbol, or tick, what the test wished for."""

    wishes: ClassVar[dict[tuple[str, str], Any]]

    def on_quote(self, quote: Quote) -> Signal | None:
        return self.wishes.pop((self.name, self.symbol), None)

    def on_clock(self, now: int) -> Signal | None:
        return self.wishes.pop((self.name, self.symbol), None)


class Rig:
    """`hold` names kinds of effects that are not carried out until `release`; `lost` those that are
    carried out and whose answer gets lost; `void` those that never reach anybody."""

    def __init__(
        self,
        *strategies: str,
        instruments: Iterable[Instrument] = (ACME,),
        kinds: Mapping[str, type[Strategy]] | None = None,
        rules: ExchangeRules = FREE,
        restored: Restored | None = None,
        started: bool = True,
        audited: bool = True,
        void: Iterable[type[Effect]] = (),
        exchange: SimulatedExchange | None = None,
        now: int = START,
        **config: Any,
    ) -> None:
        instruments = tuple(instruments)
        symbols = tuple(i.symbol for i in instruments)
        self.wishes: dict[tuple[str, str], Any] = {}
        puppet: type[Strategy] = type("BoundPuppet", (Puppet,), {"wishes": self.wishes})
        self.kinds = dict(kinds or {}) | dict.fromkeys(strategies, puppet)
        if not self.kinds:
            self.kinds = {"puppet": puppet}
        setups = tuple(StrategySetup(name, symbols) for name in self.kinds)
        config.setdefault("execution", AT_MARKET)
        self.config = MachineConfig(instruments, setups, **config)
        self.machine = Machine(self.config, self.kinds)
        self.exchange = exchange or SimulatedExchange(instruments, rules, self.machine.calendars)
        self.audit = Laws(self.config) if audited else None
        self.now = now
        self.inputs: list[Event] = []
        self.effects: list[Effect] = []
        self.hold: set[type[Effect]] = set()
        self.lost: set[type[Effect]] = set()
        self.void: set[type[Effect]] = set(void)
        self.held: list[Effect] = []
        self._waiting: deque[Effect] = deque()
        self._executions: tuple[str, ...] = ()
        self._fills: tuple[Fill, ...] = ()
        self._fintrac: tuple[FintracReport, ...] = ()
        self._restore(restored or Restored({}), exchange is None)
        if started:
            self.start()

    def _restore(self, restored: Restored, venue_too: bool) -> None:
        """As the runtime does: the durable state first, then what no one ever switched."""
        if venue_too:
            gone = (OrderState.INTENDED, *FINAL_STATES)
            self.exchange.restore([o for o in restored.orders if o.state not in gone], self.now)
        self._executions = restored.execution_ids
        self._limits = restored.limits
        for venue in dict.fromkeys(i.venue for i in self.config.instruments):
            self.send(BrokerChanged(venue, True, capabilities=CAPABILITIES))
        self._fills = restored.fills
        self._fintrac = restored.fintrac
        self.send(restored)
        known = {state.strategy for state in restored.strategies}
        for name in self.kinds:
            if name not in known:
                self.toggle(name)

    def start(self) -> None:
        self.send(EngineStarted())

    def deliver(self, report: ExecutionReport) -> None:
        """What the exchange says by itself."""
        self.send(report)

    # --- inputs ---------------------------------------------------------------------------------

    def send(self, event: Event) -> list[Effect]:
        """Handle an input at `now`, and all that follows; answers the effects of the input."""
        effects = self._process(event if event.ts else replace(event, ts=self.now))
        self._settle()
        return effects

    def quote(
        self,
        price: float,
        symbol: str = "ACME",
        *,
        spread: float = 0.0,
        size: float = PLENTY,
    ) -> list[Effect]:
        """A quote around `price`, a second later; the exchange sees it first."""
        self.now += NANOS
        half = spread / 2
        quote = Quote(symbol, self.now, price - half, price + half, size, size)
        for report in self.exchange.on_quote(quote):
            self.deliver(report)
        return self.send(QuoteUpdate(quote))

    def bar(
        self,
        *prices: float,
        symbol: str = "ACME",
        volume: float = PLENTY,
        live: bool = True,
        interval: int = MINUTE,
    ) -> list[Effect]:
        """A bar with `prices` as open, high, low and close (or one for all), an interval after the
        last event."""
        self.now += interval
        ohlc = prices if len(prices) == 4 else prices * 4
        bar = Bar(symbol, self.now, *ohlc, volume=volume, interval=interval)
        if live:
            for report in self.exchange.on_bar(bar):
                self.deliver(report)
        return self.send(BarClosed(bar, live=live))

    def tick(self, seconds: float = 1.0) -> list[Effect]:
        self.now += int(seconds * NANOS)
        return self.send(ClockTick())

    def wish(self, side: Side, strategy: str = "puppet", symbol: str = "ACME", **how: Any) -> None:
        """Have `strategy` signal `side` at the next quote of `symbol`, or the next tick."""
        given: dict[str, Any] = {"ts": self.now, "price": 100.0} | how
        self.wishes[strategy, symbol] = Signal(strategy, symbol, side, **given)

    def signal(
        self, side: Side, price: float = 100.0, strategy: str = "puppet", symbol: str = "ACME",
        **how: Any,
    ) -> list[Effect]:  # fmt: skip
        """Quote `price`, and have `strategy` signal at it."""
        self.wish(side, strategy, symbol, price=price, ts=self.now + NANOS, **how)
        return self.quote(price, symbol)

    def buy(self, price: float = 100.0, **how: Any) -> Order:
        """A buy signal; answers the entry that came of it."""
        self.signal(Side.BUY, price, **how)
        return self.last(OrderPurpose.ENTRY)

    def hold_position(self, price: float = 100.0, **how: Any) -> Position:
        """Buy, and be filled at the same price."""
        order = self.buy(price, **how)
        self.quote(price, order.symbol)
        return self.position(order.strategy, order.symbol)

    def report(
        self, order: Order | str, state: OrderState, venue: str = "", **what: Any
    ) -> list[Effect]:
        """What a venue says, whatever the exchange of the rig has; `venue` is its id."""
        key = order if isinstance(order, str) else order.client_order_id
        return self.send(ExecutionReport(key, state, venue or f"venue-{key}", **what))

    def fill(
        self,
        order: Order,
        quantity: object,
        price: object = 100,
        execution_id: str = "",
        state: OrderState = OrderState.PARTIALLY_FILLED,
        venue: str = "",
        **what: Any,
    ) -> list[Effect]:
        """An execution of `order`, as a venue reports it."""
        fill = Fill(
            execution_id or f"x{len(self.inputs)}",
            order.client_order_id,
            order.symbol,
            order.side,
            Decimal(str(quantity)),
            Decimal(str(price)),
            Decimal(0),
            self.now,
        )
        return self.report(order, state, venue, fill=replace(fill, **what))

    def toggle(self, strategy: str = "puppet", enabled: bool = True) -> list[Effect]:
        return self.send(ToggleStrategy(strategy=strategy, enabled=enabled, author="test"))

    def request_cancel(self, order: Order) -> list[Effect]:
        return self.send(RequestCancel(client_order_id=order.client_order_id, author="me"))

    def kill(self, action: KillAction | None = None) -> list[Effect]:
        trip = TripKillSwitch(source="key", reason="test", author="test", action=action)
        return self.send(trip)

    def rearm(self, word: str = "REARM") -> list[Effect]:
        return self.send(RearmKillSwitch(word=word, author="test"))

    def release(self, *kinds: type[Effect]) -> None:
        """Carry out what was held, in order, and hold these kinds no longer; all by default."""
        released = set(kinds) or set(self.hold)
        self.hold -= released
        self._waiting.extend(e for e in self.held if type(e) in released)
        self.held = [e for e in self.held if type(e) not in released]
        self._settle()

    def step(self, number: int = 0) -> None:
        """Carry out one of the effects that are held, and nothing else."""
        self._carry_out(self.held.pop(number))
        self._settle()

    # --- what came of it ------------------------------------------------------------------------

    @property
    def orders(self) -> dict[str, Order]:
        """Every order, as the machine's state has it."""
        return {order.client_order_id: order for order in self.machine.state()["orders"]}

    @property
    def open(self) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open]

    @property
    def cash(self) -> Decimal:
        return self.machine.state()["cash"]

    @property
    def killed(self) -> bool:
        return self.machine.state()["kill"].tripped

    def of(self, purpose: OrderPurpose) -> list[Order]:
        return [order for order in self.orders.values() if order.purpose is purpose]

    def last(self, purpose: OrderPurpose) -> Order:
        return self.of(purpose)[-1]

    def now_of(self, order: Order) -> Order:
        return self.orders[order.client_order_id]

    def state_of(self, order: Order) -> OrderState:
        return self.now_of(order).state

    def position(self, strategy: str = "puppet", symbol: str = "ACME") -> Position:
        held: Sequence[Position] = self.machine.state()["positions"]
        found = [p for p in held if (p.strategy, p.symbol) == (strategy, symbol)]
        return found[0] if found else Position(strategy, symbol)

    def facts(self, kind: type[E]) -> list[E]:
        """All facts of a kind so far."""
        records = (e.fact for e in self.effects if isinstance(e, Record))
        return [fact for fact in records if isinstance(fact, kind)]

    def count(self, kind: type[Effect]) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)

    def submits(self, purpose: OrderPurpose | None = None) -> list[Order]:
        """Orders that left."""
        sent = [e.order for e in self.effects if isinstance(e, SubmitOrder)]
        return [order for order in sent if purpose is None or order.purpose is purpose]

    def durable(self) -> Restored:
        """What a database would give the next session."""
        state = self.machine.state()
        return Restored(
            cash=dict(self.machine.portfolio.cash),
            orders=tuple(state["orders"]),
            positions=tuple(state["positions"]),
            marks=state["marks"],
            execution_ids=self.execution_ids(),
            strategies=tuple(
                StrategyState(name, enabled, "", state["losses"].get(name, 0))
                for name, enabled, *_ in state["strategies"]
            ),
            kill=state["kill"],
            breaker=state["breaker"],
            limits=self._changed_limits(),
            pauses=tuple(state["pauses"]),
            brackets=tuple(state["desk"]["brackets"]),
            killed_parts=tuple(state["killed_parts"]),
            day=state["day"][0],
            day_equity=state["day"][1],
            peak_equity=state["day"][2],
            fills=(*self._fills, *(fact.fill for fact in self.facts(PositionChanged))),
            violations=tuple(state["compliance"]["violations"]),
            fintrac=self._reports(),
            records=tuple(state["records"]),
            strategy_files=dict(state["strategy_files"]),
            adjustments=tuple(fact.adjustment for fact in self.facts(CashAdjusted)),
        )

    def _reports(self) -> tuple[FintracReport, ...]:
        """Every report as its last fact leaves it."""
        reports = {report.report_id: report for report in self._fintrac}
        reports |= reports_after(reports, self.facts(Event))
        return tuple(reports.values())

    def _changed_limits(self) -> tuple[ChangedLimit, ...]:
        return reduce(limits_after, self.facts(LimitChanged), self._limits)

    def execution_ids(self) -> tuple[str, ...]:
        """All executions that were ever applied."""
        applied = (fact.fill.execution_id for fact in self.facts(PositionChanged))
        return (*self._executions, *applied)

    # --- the loop -------------------------------------------------------------------------------

    def _process(self, event: Event) -> list[Effect]:
        self.inputs.append(replace(event))
        effects = list(self.machine.process(event))
        self.effects += effects
        if self.audit is not None:
            self.audit.follow(event, effects, self.machine.state())
            assert self.machine.error is None
        self._waiting += effects
        return effects

    def _settle(self) -> None:
        while self._waiting:
            effect = self._waiting.popleft()
            if type(effect) in self.hold:
                self.held.append(effect)
            elif type(effect) not in self.void:
                self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case CommitIntent(order=order):
                answer = IntentCommitted(order.client_order_id, ts=self.now)
            case SubmitOrder(order=order):
                answer = self.exchange.submit(order, self.now)
            case CancelOrder(order=order):
                answer = self.exchange.cancel(order.client_order_id, self.now)
            case ReplaceOrder(order=order, terms=terms):
                answer = self.exchange.replace(order.client_order_id, terms, self.now)
            case QueryOrder(order=order):
                key = order.client_order_id
                answer = self.exchange.find(key) or OrderNotFound(key, ts=self.now)
            case _:
                return
        if type(effect) not in self.lost:
            self._process(answer)


def effects_of(effects: Iterable[Effect], kind: type[F]) -> list[F]:
    return [effect for effect in effects if isinstance(effect, kind)]


def facts_of(effects: Iterable[Effect], kind: type[E]) -> list[E]:
    """The facts of a kind among the effects of one input."""
    facts = (effect.fact for effect in effects if isinstance(effect, Record))
    return [fact for fact in facts if isinstance(fact, kind)]
