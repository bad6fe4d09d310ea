"""Alerts: what a person has to have read before live trading goes on."""

from collections.abc import Iterable, Sequence

from engine.core.bus import Bus
from engine.core.events import (
    AcknowledgeAlerts,
    AlertRaised,
    AlertsAcknowledged,
    RaiseAlert,
    Restored,
)
from engine.core.model import Mode, OrderState
from engine.core.text import clean

TOLD = 3
"""So many of a list are told, and how many more there are."""


class Alerts:
    """What the last session left wrong, and what this start found. In live mode no entry leaves
    while one waits for a person; on paper they are shown, and stand in nobody's way.

    Those named in `acknowledged` a person read before the start.
    """

    def __init__(self, bus: Bus, mode: Mode, acknowledged: Iterable[str]) -> None:
        self._bus = bus
        self._mode = mode
        self._acknowledged = frozenset(acknowledged)
        self.waiting: dict[str, str] = {}

    @property
    def objection(self) -> str:
        """Why no entry may be made; empty text where nothing stands against it."""
        if self._mode is not Mode.LIVE or not self.waiting:
            return ""
        return f"alerts wait to be acknowledged: {', '.join(self.waiting)}"

    def alert(self, name: str, texts: Sequence[str]) -> None:
        """Raise the alert `name`, about `texts`."""
        more = f"; and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
        text = "; ".join(texts[:TOLD]) + more
        if self.waiting.get(name) == text:
            return
        self._bus.publish(AlertRaised(name, text))
        if name in self._acknowledged:
            self._bus.publish(AlertsAcknowledged("ACKNOWLEDGE_ALERTS", (name,)))
        else:
            self.waiting[name] = text

    def on_restored(self, event: Restored) -> None:
        if event.kill.tripped:
            self.alert("kill-switch", [f"it was tripped ({event.kill.source})"])
        if event.breaker.tripped:
            self.alert("circuit-breaker", [f"it was tripped: {event.breaker.reason}"])
        states = (OrderState.SUBMITTED, OrderState.IN_DOUBT)
        if doubts := [o.client_order_id for o in event.orders if o.state in states]:
            self.alert("orders-in-doubt", [f"{key} had no answer" for key in doubts])
        if paused := [p for p in event.pauses if not p.until and not p.halted]:
            self.alert("paused-symbols", [f"{p.symbol}: {p.reason}" for p in paused])

    def on_raise(self, event: RaiseAlert) -> None:
        self.alert(clean(event.name), [clean(event.text)])

    def on_acknowledge(self, event: AcknowledgeAlerts) -> None:
        """Those that do not wait here only tell (`engine.view.alerting`)."""
        for name in event.names:
            self.waiting.pop(name, None)
        self._bus.publish(AlertsAcknowledged(clean(event.author), tuple(map(clean, event.names))))
