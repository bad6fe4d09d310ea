"""The simulated process: what `engine.host.runtime` does with a machine, and how it dies.

Every input, every effect and every write is a step, and a crash may come before any of them.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    BrokerChanged,
    CancelOrder,
    ClockTick,
    CommandRefused,
    CommitIntent,
    Effect,
    EngineStarted,
    Event,
    FintracFlagged,
    Input,
    KillSwitchRearmed,
    KillSwitchTriggered,
    LawBroken,
    LimitBreached,
    LimitChanged,
    LiveConfirmed,
    OrderCanceled,
    OrderPendingCancel,
    OrderSized,
    OrderSubmitted,
    PositionChanged,
    PositionNotFlat,
    QueryOrder,
    RatePublished,
    Record,
    ReplaceOrder,
    ReplaceRejected,
    RequestStatement,
    SettlementViolated,
    SignalBlocked,
    SubmitFailed,
    SubmitOrder,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.machine import Machine
from engine.core.model import Bar, Order, OrderState, OrderTerms
from engine.simulation.database import Database
from engine.simulation.deadlines import Deadlines
from engine.simulation.laws import Laws, Violation, law
from engine.simulation.options import Net, Options
from engine.simulation.signalers import KINDS
from engine.simulation.wire import Wire
from engine.simulation.writer import Writer

TRAIL = 40


class Crash(Exception):
    """The process is gone, here and now."""


class Host:
    """One life of the process, from its start to its crash.

    `before_step` is called before each step, and may raise Crash.
    """

    def __init__(
        self,
        options: Options,
        database: Database,
        wire: Wire,
        make_writer: Callable[[Callable[[Event], None]], Writer],
        before_step: Callable[[], None],
    ) -> None:
        self._options = options
        self._database = database
        self._wire = wire
        self._writer = make_writer(self.publish)
        self._before_step = before_step
        self._inbox: deque[Event] = deque()
        self._handling = False
        self._born = wire.now
        self.alive = True
        self.machine = Machine(options.config, KINDS)
        self.laws = Laws(options.config)
        self.deadlines = Deadlines(options.config, options.tick)
        self.seen: Counter[str] = Counter()
        self.journal: list[bytes] = []
        self.trail: deque[Event | Effect] = deque(maxlen=TRAIL)

    # --- life -----------------------------------------------------------------------------------

    def start(self, history: Sequence[Bar], rates: Iterable[RatePublished]) -> None:
        """As the runtime starts: brokers, the durable state, the rates, the latch, warm-up,
        strategies."""
        restored = self._database.restore()
        kept = restored.kill.action if restored.kill.tripped else None
        law(kept is self._database.kill, "I5 over restarts", restored.kill)
        tripped = kept is not None or self._database.latched
        self.publish(restored)
        for rate in rates:
            self.publish(replace(rate))
        for name, venue in self._wire.venues.items():
            self.publish(
                BrokerChanged(
                    name, venue.up, live=venue.options.live, capabilities=venue.capabilities
                )
            )
        if self._database.latched and not restored.kill.tripped:
            self.publish(TripKillSwitch(source="file"))
        known = {state.strategy for state in restored.strategies}
        for setup in self._options.config.strategies:
            if setup.name not in known:
                self.publish(ToggleStrategy(strategy=setup.name, enabled=True, author="settings"))
        for bar in history:
            self.publish(BarClosed(bar, live=False, ts=bar.ts))
        self.publish(EngineStarted())
        law(self.killed or not tripped, "I5 over restarts", "it was tripped, and is not any more")

    def die(self) -> None:
        self.alive = False
        self._writer.end()

    @property
    def killed(self) -> bool:
        return self.machine.safety.kill.tripped

    @property
    def open_orders(self) -> list[Order]:
        return list(self.machine.orders.open.values())

    def tick(self) -> None:
        self.publish(ClockTick(uptime=self._wire.now - self._born))

    def save(self) -> None:
        """What the runtime saves every few seconds."""
        marks = {symbol: m.mark for symbol, m in self.machine.market.symbols.items()}
        self._database.save(marks, self.machine.risk.peak_equity)

    # --- inbox ----------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Handle an input now, or after the one that is being handled. To a dead process nobody
        speaks."""
        if not self.alive:
            return
        self._inbox.append(event if event.ts else replace(event, ts=self._wire.now))
        if self._handling:
            return
        self._handling = True
        while self._inbox:
            self._handle(self._inbox.popleft())
        self._handling = False

    def _handle(self, event: Event) -> None:
        self._before_step()
        self.journal.append(msgspec.msgpack.encode(event))
        self.trail.append(event)
        effects = self.machine.process(event)
        self.trail.extend(effects)
        if self.machine.error is not None:
            raise Violation("no error of our own", repr(self.machine.error))
        self.laws.follow(event, effects, self.machine.state())
        self.deadlines.follow(event, effects)
        facts: list[Event] = []
        for effect in effects:
            self._before_step()
            if isinstance(effect, Record):
                facts.append(effect.fact)
                self._note(effect.fact)
            else:
                self._carry_out(effect)
        if facts:
            self._writer.record(facts)
        if not effects:
            self.trail.pop()  # nothing came of it: not worth the room

    def _note(self, fact: Event) -> None:
        if isinstance(fact, LawBroken):
            raise Violation(fact.law, fact.reason)
        if isinstance(fact, SignalBlocked):
            self.seen[f"blocked by {fact.check}"] += 1
        elif isinstance(fact, OrderSubmitted):
            self.seen[f"submit {fact.order.purpose}"] += 1
            self.seen[f"submit in {self._options.config.mode} mode"] += 1
            if self._wire.venue(fact.order).options.name in self.machine.accounts.foreign:
                self.seen["submit in another currency"] += 1
        elif isinstance(fact, LimitBreached):
            first = self.machine.bus.why(fact.seq)[0]
            self.seen["limit breached by a rate"] += isinstance(first, RatePublished)
        elif isinstance(fact, LimitChanged):
            self.seen[f"limit {'loosened' if fact.loosened else 'tightened'}"] += 1
        elif isinstance(fact, SettlementViolated):
            self.seen["settlement violated"] += 1
        elif isinstance(fact, PositionNotFlat) and "closed" in fact.reason:
            self.seen["not flat, as the market is closed"] += 1
        elif isinstance(fact, LiveConfirmed):
            self.seen["live confirmed"] += 1
        elif isinstance(fact, CommandRefused):
            self.seen[f"{fact.command} refused"] += 1
        elif isinstance(fact, OrderSized):
            self.seen[f"sized by {fact.method}"] += 1
        elif isinstance(fact, PositionChanged):
            self._note_position(fact)
        elif isinstance(fact, FintracFlagged):
            self.seen["flagged for FINTRAC"] += 1
        elif isinstance(fact, OrderPendingCancel) and fact.order.reason.startswith("turned up"):
            self.seen["turned up after it was given up"] += 1
        elif isinstance(fact, OrderCanceled) and self._options.config.safety.dry_run:
            self.seen["not sent in a dry run"] += 1
        if Net.LATCH in self._options.nets_off:
            return
        if isinstance(fact, KillSwitchTriggered):
            self.seen[f"killed by {fact.source}"] += 1
            self._writer.latch(True)
        elif isinstance(fact, KillSwitchRearmed):
            self._writer.latch(False)

    def _note_position(self, fact: PositionChanged) -> None:
        if fact.fill.commission_quantity:
            self.seen["commission taken of what was bought"] += 1
        if fact.position.quantity and not fact.position.opened_ts:
            self.seen["less than a lot left"] += 1

    # --- outbox ---------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case CommitIntent(order=order):
                self._writer.commit(order)
            case SubmitOrder(order=order):
                self._soon(lambda: self._submit(order))
            case CancelOrder(order=order):
                self._soon(lambda: self._wire.venue(order).cancel(order, self.publish))
            case ReplaceOrder(order=order, terms=terms):
                self._soon(lambda: self._replace(order, terms))
            case RequestStatement(broker=broker):
                venue = self._wire.venues[broker]
                self._soon(lambda: venue.statement(effect, self.publish))
            case QueryOrder() if Net.QUERIES in self._options.nets_off:
                pass
            case QueryOrder(order=order):
                self._soon(lambda: self._wire.venue(order).query(order, self.publish))
            case _:
                raise TypeError(f"no way to carry out {type(effect).__name__}")

    def _soon(self, request: Callable[[], None]) -> None:
        """A request leaves from a task of its own: the process may die before."""

        def leave() -> None:
            if self.alive:
                self._before_step()
                request()

        self._wire.soon(leave)

    def _submit(self, order: Order) -> None:
        key = order.client_order_id
        if not self.machine.orders.is_wanted(key):
            self.publish(SubmitFailed(key, False, "cancelled before it left"))
            return
        if key not in self._database.intents:
            raise Violation("I1 on the disk", order)
        self._wire.venue(order).submit(order, self.publish)

    def _replace(self, order: Order, terms: OrderTerms) -> None:
        key = order.client_order_id
        if self.machine.orders.is_wanted(key, OrderState.PENDING_REPLACE):
            self._wire.venue(order).replace(order, terms, self.publish)
        else:
            self.publish(ReplaceRejected(key, "cancelled before it left"))

    # --- the journal ----------------------------------------------------------------------------

    def digest(self) -> str:
        """SHA-256 of the journal's bytes and of the state that they lead to."""
        whole = sha256(b"".join(self.journal))
        whole.update(self.machine.state_hash().encode())
        return whole.hexdigest()

    def check_replay(self) -> None:
        """I9: the journal leads another machine to the same state."""
        again = Machine(self._options.config, KINDS)
        for line in self.journal:
            again.process(_DECODER.decode(line))
        if again.state_hash() != self.machine.state_hash():
            raise Violation("I9", "the journal leads to another state")


_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Input)
