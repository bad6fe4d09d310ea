"""The circuit breaker: after too many failures in a row no new risk is taken."""

from engine.core.bus import Bus
from engine.core.events import (
    CircuitBreakerCounted,
    CircuitBreakerReset,
    CircuitBreakerState,
    CircuitBreakerTripped,
    CommandRefused,
    EngineStarted,
    OrderAccepted,
    OrderFilled,
    OrderInDoubt,
    OrderPartiallyFilled,
    OrderRejected,
    ResetCircuitBreaker,
    Restored,
    SubmitFailed,
)
from engine.core.model import OrderState
from engine.core.orders import OrderBook
from engine.core.text import clean

RESET_WORD = "RESET"


class CircuitBreaker:
    """Counts failures: orders that a venue rejected, that could not be sent or got no answer.

    `failures` in a row trip it; an order that a venue takes or fills starts the count anew. It
    stays tripped, over restarts too, until it is reset by hand.
    """

    def __init__(self, bus: Bus, orders: OrderBook, failures: int) -> None:
        self._bus = bus
        self._orders = orders
        self.limit = failures
        self._started = False
        self.state = CircuitBreakerState()

    @property
    def objection(self) -> str:
        """Why no new risk may be taken; empty text where nothing stands against it."""
        return f"circuit breaker ({self.state.reason})" if self.state.tripped else ""

    def fail(self, reason: str) -> None:
        """Count a failure; the last of too many trips."""
        if self.state.tripped:
            return
        failures = self.state.failures + 1
        self._count(failures, reason)
        if failures >= self.limit:
            self.trip(f"{failures} failures in a row, the last: {reason}")

    def succeed(self) -> None:
        if self.state.failures and not self.state.tripped:
            self._count(0, "")

    def trip(self, reason: str) -> None:
        if not self.state.tripped:
            self.state = CircuitBreakerState(self.state.failures, True, reason, self._bus.now)
            self._bus.publish(CircuitBreakerTripped(reason))

    def _count(self, failures: int, reason: str) -> None:
        self.state = CircuitBreakerState(failures)
        self._bus.publish(CircuitBreakerCounted(failures, self.limit, reason))

    # --- what is a failure ----------------------------------------------------------------------

    def on_submit_failed(self, event: SubmitFailed) -> None:
        """Asked before the order book is. One in doubt is counted by the doubt that follows; one
        that was cancelled before it left did not fail."""
        order = self._orders.open.get(event.client_order_id)
        if order is not None and order.state is OrderState.SUBMITTED and not event.in_doubt:
            self.fail(f"not sent: {clean(event.reason)}")

    def on_doubt(self, event: OrderInDoubt) -> None:
        """A doubt that the end of the last session left is no failure of a venue."""
        if self._started:
            self.fail(event.order.reason)

    def on_rejected(self, event: OrderRejected) -> None:
        self.fail(event.order.reason or "rejected")

    def on_success(self, _: OrderAccepted | OrderPartiallyFilled | OrderFilled) -> None:
        self.succeed()

    # --- life cycle -----------------------------------------------------------------------------

    def on_restored(self, event: Restored) -> None:
        self.state = event.breaker

    def on_started(self, _: EngineStarted) -> None:
        self._started = True

    def on_reset(self, event: ResetCircuitBreaker) -> None:
        if not self.state.tripped:
            self._refuse(event, "the circuit breaker is not tripped")
        elif event.word != RESET_WORD:
            self._refuse(event, f"type {RESET_WORD} to reset")
        else:
            self.state = CircuitBreakerState()
            self._bus.publish(CircuitBreakerReset(clean(event.author)))

    def _refuse(self, event: ResetCircuitBreaker, reason: str) -> None:
        self._bus.publish(CommandRefused.of(event, reason))
