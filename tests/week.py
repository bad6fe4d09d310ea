"""Market time that passes fast: a machine that trades for days, with all that is odd now and then.

Nothing of it waits: what the machine asks for is answered at once by a simulated exchange.
"""

from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sized
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from msgspec import Struct

from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules, machine_config, plugins
from engine.calendars import session_tables
from engine.core.events import (
    AccountStatement,
    BarClosed,
    BrokerChanged,
    CancelOrder,
    ClockTick,
    CommitIntent,
    Effect,
    EngineStarted,
    Event,
    ExecutionReport,
    IntentCommitted,
    QueryOrder,
    QuoteUpdate,
    RearmKillSwitch,
    Record,
    ReplaceOrder,
    RequestCancel,
    RequestStatement,
    Restored,
    SubmitOrder,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.machine import Machine
from engine.core.model import DAY, MINUTE, NANOS, Bar, Fill, OrderState, Quote, Side
from engine.core.newest import Newest
from engine.feeds.recordings import Recordings
from engine.ops.settings import Settings
from engine.simulation.process_account import STRATEGIES
from engine.view.causes import Causes
from engine.view.view import View
from tests.bench.engine import UNLIMITED

T = TypeVar("T")

STEP = NANOS // 16
"""Between two quotes; ten million of them are a week."""
LONGEST = 60 * DAY
"""For so long the sessions of the exchanges are known."""
ODD = 0.002


class Week:
    """All sample symbols, all strategies that ship and one that never rests."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        settings = Settings(
            data_dir=Path("var"),
            strategies_dir=STRATEGIES,
            **UNLIMITED,
        )
        recordings = Recordings(None)
        instruments = [recordings.instrument(symbol) for symbol in recordings.symbols]
        self.start = self.now = 1_709_562_600 * NANOS  # a Monday, 09:30 in New York
        tables = session_tables(instruments, self.start, self.start + LONGEST)
        kinds = plugins(settings).kinds
        config = machine_config(settings, instruments, tuple(kinds), tables)
        self.machine = Machine(config, kinds)
        self.view = View(self.machine)
        self.causes = Causes(self.machine.bus)
        self.broker = PaperBroker(
            instruments, exchange_rules(settings), self.machine.calendars, lambda: self.now
        )
        self.prices = {instrument.symbol: 100.0 for instrument in instruments}
        self.events = self.sent = self.odd = 0
        restored = Restored({"paper": config.starting_cash}, ts=self.now)
        self.broker.restore(restored)
        self.send(restored)
        for venue in {instrument.venue for instrument in instruments}:
            self.send(BrokerChanged(venue, True, capabilities=self.broker.capabilities))
        for name in kinds:
            self.send(ToggleStrategy(strategy=name, enabled=True, author="week"))
        self.send(EngineStarted(ts=self.now))

    def run(self, quotes: int, step: int = STEP) -> None:
        """Let so many quotes come, one every `step` ns, with their bars and ticks."""
        symbols = list(self.prices)
        random, second, minute = self.random, self.now // NANOS, self.now // MINUTE
        for number in range(quotes):
            self.now += step
            symbol = symbols[number % len(symbols)]
            self.prices[symbol] *= 1 + random.uniform(-0.0005, 0.0005)
            self.quote(symbol, round(self.prices[symbol], 2))
            if self.now // NANOS != second:
                second = self.now // NANOS
                self.send(ClockTick(ts=self.now))
            if self.now // MINUTE != minute:
                minute = self.now // MINUTE
                for name in symbols:
                    self.bar(name)
            if random.random() < ODD:
                self.something_odd()

    def quote(self, symbol: str, price: float) -> None:
        quote = Quote(symbol, self.now, price, price + 0.01, 1e6, 1e6)
        self.market(QuoteUpdate(quote, ts=self.now))

    def bar(self, symbol: str) -> None:
        price = round(self.prices[symbol], 2)
        bar = Bar(symbol, self.now // MINUTE * MINUTE, price, price, price, price, 1e6, MINUTE)
        self.market(BarClosed(bar, ts=self.now))

    def market(self, event: QuoteUpdate | BarClosed) -> None:
        for said in self.broker.on_market(event):
            self.send(said)
        self.send(event)

    def something_odd(self) -> None:
        """What nobody expects, under a name that was never there before."""
        self.odd += 1
        name = f"ODD{self.odd}"
        price = self.random.choice((100.0, float("nan"), -1.0))
        match self.odd % 6:
            case 0:
                self.send(QuoteUpdate(Quote(name, self.now, price, price, 1, 1), ts=self.now))
            case 1:
                one = Decimal(1)
                fill = Fill(name, name, name, Side.BUY, one, one, one, self.now, "")
                report = ExecutionReport(name, OrderState.FILLED, fill=fill, ts=self.now)
                self.send(report)
            case 2:
                self.send(RequestCancel(client_order_id=name, author=name, ts=self.now))
            case 3:
                self.send(ToggleStrategy(strategy=name, enabled=True, author=name, ts=self.now))
            case 4:
                self.send(TripKillSwitch(source="week", author=name, ts=self.now))
            case _:
                self.send(RearmKillSwitch(word="REARM", author=name, ts=self.now))

    def send(self, event: Event) -> None:
        effects: deque[Effect] = deque(self._process(event))
        while effects:
            for answer in self._answers(effects.popleft()):
                effects.extend(self._process(answer))

    def _process(self, event: Event) -> Iterable[Effect]:
        self.events += 1
        return self.machine.process(event)

    def _answers(self, effect: Effect) -> Iterator[Event]:
        broker = self.broker
        match effect:
            case Record(fact=fact):
                self.view.follow(fact)
                self.causes.follow(fact)
            case CommitIntent(order=order):
                yield IntentCommitted(order.client_order_id, ts=self.now)
            case SubmitOrder(order=order):
                self.sent += 1
                yield at_once(broker.submit_order(order))
            case CancelOrder(order=order):
                yield at_once(broker.cancel_order(order))
            case ReplaceOrder(order=order, terms=terms):
                yield at_once(broker.replace_order(order, terms))
            case QueryOrder(order=order):
                if report := at_once(broker.get_order(order)):
                    yield report
            case RequestStatement():
                yield self._statement(effect)
            case _:
                pass

    def _statement(self, asked: RequestStatement) -> AccountStatement:
        broker = self.broker
        return AccountStatement(
            asked.broker,
            asked.asked_ts,
            tuple(at_once(broker.get_open_orders())),
            tuple(at_once(broker.get_fills(asked.since))),
            dict(at_once(broker.get_positions())),
            at_once(broker.get_account_balance()).cash,
            ts=self.now,
        )


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")


def sizes(root: object, name: str = "") -> dict[str, int]:
    """How much is in each container that can be reached from `root`, by the way to it; the sizes of
    containers that are values of the same one are added up. Values such as orders are not looked
    into: they do not change."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [(name, root)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen or isinstance(value, str | bytes | int | float | Struct):
            continue
        seen.add(id(value))
        is_plain = type(value).__module__ in ("builtins", "collections") or type(value) is Newest
        if isinstance(value, Sized) and is_plain:
            found[path] = found.get(path, 0) + len(value)
            inner = value.values() if isinstance(value, Mapping) else value
            stack += [(f"{path}[]", item) for item in list(inner)]  # type: ignore[call-overload]
        elif type(value).__module__.startswith(("engine.", "tests.", "strategies")):
            stack += [(f"{path}.{key}", item) for key, item in _attributes(value)]
    return found


def _attributes(value: object) -> list[tuple[str, Any]]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        names += getattr(kind, "__slots__", ()) or ()
    return [(key, getattr(value, key)) for key in dict.fromkeys(names) if hasattr(value, key)]
