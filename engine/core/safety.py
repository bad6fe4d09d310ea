"""The kill switch, and what else stands against an order."""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from engine.core.alerts import Alerts
from engine.core.breaker import CircuitBreaker
from engine.core.bus import Bus
from engine.core.clock_offset import ClockOffset
from engine.core.deadman import DeadMansSwitch
from engine.core.events import (
    BrokerChanged,
    BrokerStatusChanged,
    ChangeCommander,
    CircuitBreakerTripped,
    CommanderChanged,
    CommandRefused,
    KillFileChanged,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    LawBroken,
    LimitBreached,
    OrderAdopted,
    RearmKillSwitch,
    Restored,
    StoreChanged,
    StoreStatusChanged,
    TripKillSwitch,
)
from engine.core.live import LiveGate
from engine.core.model import KillAction, Mode, Order, OrderState, is_cancelled_by
from engine.core.orders import OrderBook
from engine.core.text import clean

REARM_WORD = "REARM"

STRENGTH = (KillAction.STOP, KillAction.KEEP_STOPS, KillAction.CANCEL, KillAction.FLATTEN)
"""From the weakest to the strongest: each does what the one before does, and more."""


class SafetyRules(Struct, frozen=True):
    """`kill_action` is what the kill switch does where its trip does not say; `breaker_failures` in
    a row trip the circuit breaker, and with `breaker_kills` it trips the kill switch; `allow_live`
    is one condition of live trading; `dead_man` is for how long (ns) nobody need be there, 0 for
    ever; with `dry_run` no order is sent; the alerts named in `acknowledged` a person read before
    the start."""

    kill_action: KillAction = KillAction.CANCEL
    breaker_failures: int = 5
    breaker_kills: bool = False
    allow_live: bool = False
    dead_man: int = 0
    dry_run: bool = False
    acknowledged: tuple[str, ...] = ()


class Safety:
    """Stops at once, from every source; starts again only when asked by hand.

    Stopping closes the gate in the same event and asks for the cancel of every open order that its
    action names. A second trip is recorded; it may do more than the first, never less.
    """

    def __init__(
        self,
        bus: Bus,
        orders: OrderBook,
        rules: SafetyRules,
        mode: Mode,
    ) -> None:
        self._bus = bus
        self._orders = orders
        self._rules = rules
        self.kill = KillSwitchState()
        self.kill_file = ""
        self.breaker = CircuitBreaker(bus, orders, rules.breaker_failures)
        self.store_available = True
        self.store_reason = ""
        self.brokers: dict[str, BrokerStatusChanged] = {}
        self.alerts = Alerts(bus, mode, rules.acknowledged)
        self.live = LiveGate(bus, mode, rules.allow_live, self.brokers, self.alerts)
        self.clock_offset = ClockOffset(bus)
        self.dead_man = DeadMansSwitch(bus, rules.dead_man, self._trip)
        self.venue_objection: Callable[[str], str] = lambda venue: ""

    # --- what stands against an order -----------------------------------------------------------

    def objection(self, venue: str = "") -> str:
        """Why no order may leave now, to `venue` where one is named; empty text where nothing
        stands against it."""
        return self.killed or self.dry_run or self._closed(venue)

    def entry_objection(self, venue: str) -> str:
        """Why no new risk may be taken; orders that reduce a position may still leave.

        A dry run lets entries be made: they end where they would be sent.
        """
        closed = self.killed or self._closed(venue)
        return (
            closed or self.breaker.objection or self.alerts.objection or self.clock_offset.objection
        )

    def exit_objection(self, venue: str) -> str:
        """Why an order that closes a position may not leave; a kill that flattens lets it."""
        killed = "" if self.is_flattening else self.killed
        return killed or self.dry_run or self._closed(venue)

    @property
    def dry_run(self) -> str:
        """The last word on every order: why it is not sent, empty text where it is."""
        return "dry run" if self._rules.dry_run else ""

    @property
    def kill_action(self) -> KillAction:
        """What the kill switch does, or would do by default."""
        return self.kill.action if self.kill.tripped else self._rules.kill_action

    @property
    def is_flattening(self) -> bool:
        """Whether the kill switch wants every position closed."""
        return self.kill.tripped and self.kill.action is KillAction.FLATTEN

    @property
    def killed(self) -> str:
        """Why the kill switch lets no order leave; empty text where it is not tripped."""
        return f"kill switch ({self.kill.source})" if self.kill.tripped else ""

    def _closed(self, venue: str) -> str:
        """Why nothing can or may get to `venue`."""
        if not self.store_available:
            return "the database is out of reach"
        if reason := self.live.objection(venue):
            return reason
        broker = self.brokers.get(venue)
        if venue and (broker is None or not broker.connected):
            return f"{venue} is not connected"
        return self.venue_objection(venue)

    # --- circuit breaker ------------------------------------------------------------------------

    def trip_breaker(self, reason: str) -> None:
        """Let no entry leave until a person resets the circuit breaker."""
        self.breaker.trip(reason)

    def on_commander(self, event: ChangeCommander) -> None:
        """Another console is in command: for the record."""
        self._bus.publish(CommanderChanged(clean(event.author)))

    # --- kill switch ----------------------------------------------------------------------------

    def on_trip(self, event: TripKillSwitch) -> None:
        self._trip(clean(event.source), clean(event.reason), clean(event.author), event.action)

    def on_breach(self, event: LimitBreached) -> None:
        self._trip("risk limit", event.reason)

    def on_broken_law(self, event: LawBroken) -> None:
        self._trip("broken law", f"{event.law}: {event.reason}")

    def on_breaker(self, event: CircuitBreakerTripped) -> None:
        if self._rules.breaker_kills:
            self._trip("circuit breaker", event.reason)

    def on_kill_file(self, event: KillFileChanged) -> None:
        """The file keeps the kill switch from being re-armed for as long as it is there."""
        self.kill_file = clean(event.path) if event.there else ""
        if event.there:
            self._trip("file", f"{self.kill_file} is there")

    def on_rearm(self, event: RearmKillSwitch) -> None:
        if reason := self._rearm_objection(event):
            self._bus.publish(CommandRefused.of(event, reason))
            return
        self.kill = KillSwitchState()
        self._bus.publish(KillSwitchRearmed(clean(event.author)))

    def on_restored(self, event: Restored) -> None:
        """A kill switch stays tripped over restarts; what is still open is cancelled first."""
        self.kill = event.kill
        if self.kill.tripped:
            self._cancel_all()

    def on_adopted(self, event: OrderAdopted) -> None:
        """What turns up at a venue while the kill switch is tripped is cancelled too."""
        if self.kill.tripped and is_cancelled_by(self.kill.action, event.order):
            self._orders.cancel(event.order.client_order_id, "kill switch")

    def _trip(
        self, source: str, reason: str, author: str = "", action: KillAction | None = None
    ) -> None:
        action = action or self._rules.kill_action
        if not self.kill.tripped:
            self.kill = KillSwitchState(True, source, reason, self._bus.now, action)
            self._cancel_all()
        elif STRENGTH.index(action) > STRENGTH.index(self.kill.action):
            self.kill = replace(self.kill, action=action)
            self._cancel_all()
        if self.is_flattening:
            self.kill = replace(self.kill, flatten_ts=self._bus.now)
        self._bus.publish(KillSwitchTriggered(source, reason, author, self.kill.action))

    def _cancel_all(self) -> None:
        for order in largest_first(self._orders.open.values()):
            if is_cancelled_by(self.kill.action, order):
                self._orders.cancel(order.client_order_id, "kill switch")

    def _rearm_objection(self, event: RearmKillSwitch) -> str:
        if not self.kill.tripped:
            return "the kill switch is not tripped"
        if event.word != REARM_WORD:
            return f"type {REARM_WORD} to re-arm"
        if self.kill_file:
            return f"remove {self.kill_file} first"
        in_doubt = [
            o.client_order_id for o in self._orders.open.values() if o.state is OrderState.IN_DOUBT
        ]
        if in_doubt:
            return f"orders are in doubt: {', '.join(in_doubt)}"
        return ""

    # --- store and brokers -----------------------------------------------------------------------

    def on_store(self, event: StoreChanged) -> None:
        if event.available == self.store_available:
            return
        self.store_available = event.available
        self.store_reason = clean(event.reason)
        self._bus.publish(StoreStatusChanged(event.available, self.store_reason))

    def on_broker(self, event: BrokerChanged) -> None:
        name, reason, account = clean(event.broker), clean(event.reason), clean(event.account)
        status = BrokerStatusChanged(name, event.connected, reason, event.live, account)
        self.brokers[name] = status
        self._bus.publish(status)


def largest_first(orders: Iterable[Order]) -> list[Order]:
    """In the order in which they are cancelled: rate limits may make the last ones wait."""
    return sorted(orders, key=lambda order: order.worst_notional, reverse=True)
