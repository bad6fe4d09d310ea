"""Laws about time and cause: nothing is left lying, and nothing is said that no venue said.

Laws on ledgers and on where a session ends miss a bug that something else heals later; these do
not wait. As in `laws`, the books are kept from what went into the machine and what came out.
"""

from collections.abc import Iterable

from engine.core.events import (
    BrokerChanged,
    CancelOrder,
    ClockTick,
    Command,
    Effect,
    Event,
    ExecutionReport,
    IntentFailed,
    KillSwitchRearmed,
    KillSwitchTriggered,
    MarkOrder,
    OrderEvent,
    OrderNotFound,
    QueryOrder,
    Record,
    ReplaceOrder,
    Restored,
    StrategyFailed,
    StrategyToggled,
    SubmitFailed,
    SubmitOrder,
    TripKillSwitch,
)
from engine.core.execution.rules import StrategyOff
from engine.core.machine import MachineConfig
from engine.core.model import (
    FINAL_STATES,
    NANOS,
    Capabilities,
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
)
from engine.simulation.laws import is_cancelled_by, law

S = OrderState

ASKED_WITHIN = 5 * NANOS
CANCELLED_WITHIN = NANOS
UNSETTLED = frozenset({S.IN_DOUBT, S.PENDING_CANCEL, S.PENDING_REPLACE})
AT_VENUE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED})
SAID_BY_VENUE = frozenset({S.REJECTED, S.EXPIRED, S.CANCELED})


class Deadlines:
    """Of one life of the process. `tick` is how often time is told (ns): what is judged at a tick
    may be that much later."""

    def __init__(self, config: MachineConfig, tick: int) -> None:
        self._config = config
        self._tick = tick
        self._open: dict[str, Order] = {}
        self._asked: dict[str, int] = {}
        self._unwanted_since: dict[str, int] = {}
        self._given_up: set[str] = set()
        self._venues = {i.symbol: i.venue for i in config.instruments}
        self._lags: dict[str, int] = {}
        self._uptime = self._sign_of_life = 0
        self._kill: KillAction | None = None
        self._on: dict[str, bool] = {}

    def follow(self, event: Event, effects: Iterable[Effect]) -> None:
        """Raises Violation where something is overdue, or was concluded from nothing."""
        match event:
            case Restored():
                self._restore(event)
            case BrokerChanged(capabilities=Capabilities() as able):
                self._lags[event.broker] = able.visibility_lag
            case _:
                pass
        for effect in effects:
            match effect:
                case Record(fact=OrderEvent() as fact):
                    self._moved(fact.order, event)
                case Record(fact=fact):
                    self._note(fact)
                case SubmitOrder() | QueryOrder() | ReplaceOrder():
                    self._asked[effect.order.client_order_id] = event.ts
                case CancelOrder(order=order):
                    self._asked[order.client_order_id] = event.ts
                    self._unwanted_since[order.client_order_id] = -1
                case _:
                    pass
        for order in self._open.values():
            self._judge(order, event.ts)
        self._look_for_life(event)

    def _restore(self, event: Restored) -> None:
        self._open = {order.client_order_id: order for order in event.orders if order.is_open}
        self._asked = dict.fromkeys(self._open, event.ts)
        self._given_up = {o.client_order_id for o in event.orders if o.state is S.ABANDONED}
        self._kill = event.kill.action if event.kill.tripped else None
        self._on = {state.strategy: state.enabled for state in event.strategies}

    def _note(self, fact: Event) -> None:
        match fact:
            case KillSwitchTriggered():
                self._kill = fact.action
            case KillSwitchRearmed():
                self._kill = None
            case StrategyToggled():
                self._on[fact.strategy] = fact.enabled
            case StrategyFailed():
                self._on[fact.strategy] = False
            case _:
                pass

    # --- conclusions ----------------------------------------------------------------------------

    def _moved(self, order: Order, event: Event) -> None:
        key = order.client_order_id
        before = self._open.get(key)
        if before is not None and before.state is not order.state:
            if order.state is S.ABANDONED or isinstance(event, MarkOrder):
                self._give_up(before, event)
            elif order.state in SAID_BY_VENUE and before.state is not S.INTENDED:
                law(_says(event, order), "the venue's word", (order, event))
        if order.state in FINAL_STATES:
            self._open.pop(key, None)
            self._unwanted_since.pop(key, None)
            return
        self._open[key] = order
        if before is None or before.state is not order.state:
            self._asked.setdefault(key, event.ts)
            if order.state in UNSETTLED:
                self._asked[key] = event.ts
        if order.state in AT_VENUE and (before is None or before.state is not order.state):
            self._unwanted_since.pop(key, None)  # known anew: a cancel must go out from here on

    def _give_up(self, order: Order, event: Event) -> None:
        self._given_up.add(order.client_order_id)
        if isinstance(event, MarkOrder):
            return
        lag = max(self._config.visibility_lag, self._lags.get(self._venues[order.symbol], 0))
        patient = event.ts - order.created_ts >= lag
        law(isinstance(event, OrderNotFound) and patient, "given up too early", (order, event))

    # --- deadlines ------------------------------------------------------------------------------

    def _judge(self, order: Order, now: int) -> None:
        key = order.client_order_id
        if order.state in UNSETTLED:
            late = now - self._asked.get(key, now)
            law(late <= ASKED_WITHIN + self._tick, "I17 asked", (order, late))
        elif order.state is S.SUBMITTED:
            late = now - order.updated_ts
            law(late <= self._config.submit_timeout + 2 * self._tick, "I17 in doubt", (order, late))
        elif order.state in AT_VENUE and self._is_unwanted(order):
            since = self._unwanted_since.setdefault(key, now)
            overdue = since >= 0 and now - since > CANCELLED_WITHIN
            law(not overdue, "I5 cancelled within a second", (order, now - since))

    def _look_for_life(self, event: Event) -> None:
        """The dead-man's switch: nobody there for its time is a kill."""
        limit = self._config.safety.dead_man
        if isinstance(event, ClockTick):
            self._uptime = event.uptime
            dead = limit and self._uptime - self._sign_of_life >= limit
            law(self._kill is not None or not dead, "dead-man's switch", event)
        elif isinstance(event, Command) and not isinstance(event, TripKillSwitch):
            self._sign_of_life = self._uptime

    def _is_unwanted(self, order: Order) -> bool:
        """Whether an order at a venue is to be cancelled: by the kill switch, because it turned up
        after it was given up, or because it is an entry of a strategy that is off."""
        if is_cancelled_by(self._kill, order) or order.client_order_id in self._given_up:
            return True
        if self._config.execution.on_strategy_off is StrategyOff.KEEP:
            return False
        return order.purpose is OrderPurpose.ENTRY and not self._on.get(order.strategy, False)


def _says(event: Event, order: Order) -> bool:
    """Whether an input is a reason for the end of an order that had left."""
    match event:
        case ExecutionReport():
            return event.state is order.state
        case SubmitFailed():
            return not event.in_doubt
        case IntentFailed() | MarkOrder():
            return True
        case _:
            return False
