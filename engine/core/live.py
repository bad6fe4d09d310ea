"""The live gate: no order reaches a real account unless a person confirmed it in this session."""

from collections.abc import Mapping

from msgspec import Struct

from engine.core.alerts import Alerts
from engine.core.bus import Bus
from engine.core.events import (
    BrokerStatusChanged,
    CommandRefused,
    ConfirmLive,
    LiveConfirmed,
    RequestMode,
)
from engine.core.model import Mode
from engine.core.text import clean

LIVE_WORD = "LIVE"


class LiveCondition(Struct, frozen=True):
    """One condition of going live: what it is, whether it is met, what to do."""

    condition: str
    met: bool
    remedy: str


class LiveGate:
    """Open where MODE=live and ALLOW_LIVE_TRADING=true were set at the start, and a person typed
    the word since, having seen the account and acknowledged the alerts. It opens for the brokers
    that were connected then: one that comes later is confirmed anew.

    The confirmation is of this session: nothing restores it.
    """

    def __init__(
        self,
        bus: Bus,
        mode: Mode,
        allowed: bool,
        brokers: Mapping[str, BrokerStatusChanged],
        alerts: Alerts,
    ) -> None:
        self._bus = bus
        self._allowed = allowed
        self._brokers = brokers
        self._alerts = alerts
        self.mode = mode
        self.confirmed: tuple[str, ...] = ()

    def objection(self, venue: str) -> str:
        """Why no order may leave for `venue` (or for any, where it is empty)."""
        broker = self._brokers.get(venue)
        live = broker is not None and broker.live
        if self.mode is not Mode.LIVE:
            return f"{venue} is a real account, and the mode is {self.mode}" if live else ""
        if missing := self._missing_at_start():
            return f"live trading needs {missing[0].condition}"
        if venue and not live:
            return f"{venue} is no real account, and the mode is live"
        if not self.confirmed or (venue and venue not in self.confirmed):
            return "live trading is not confirmed in this session"
        return ""

    def conditions(self) -> tuple[LiveCondition, ...]:
        live = self._live_brokers()
        confirmed = bool(live) and all(name in self.confirmed for name in live)
        return (
            LiveCondition("MODE=live", self.mode is Mode.LIVE, "set MODE=live and start again"),
            LiveCondition(
                "ALLOW_LIVE_TRADING=true",
                self._allowed,
                "set ALLOW_LIVE_TRADING=true and start again",
            ),
            LiveCondition(
                "a live broker",
                bool(live),
                "set a real account's keys and its symbols",
            ),
            LiveCondition(
                "no alert that holds live back",
                not self._alerts.waiting,
                f"read and acknowledge {', '.join(self._alerts.waiting)}",
            ),
            LiveCondition(
                "a confirmation in this session",
                confirmed,
                f"look at account, limits, orders; type {LIVE_WORD}",
            ),
        )

    def on_confirm(self, event: ConfirmLive) -> None:
        if reason := self._confirm_objection(event):
            self._bus.publish(CommandRefused.of(event, reason))
            return
        self.confirmed = self._live_brokers()
        self._bus.publish(LiveConfirmed(clean(event.author), self.confirmed))

    def on_mode(self, event: RequestMode) -> None:
        """The mode is chosen at start; a running engine is never carried over to live."""
        if event.mode is self.mode:
            reason = f"the mode is {self.mode} already"
        elif event.mode is Mode.LIVE:
            reason = "live trading needs: " + "; ".join(
                condition.remedy for condition in self.conditions() if not condition.met
            )
        else:
            reason = "restart with MODE=paper"
        self._bus.publish(CommandRefused.of(event, reason))

    def _confirm_objection(self, event: ConfirmLive) -> str:
        if missing := [c for c in self.conditions()[:-1] if not c.met]:
            return f"live trading needs {missing[0].condition}"
        if self.conditions()[-1].met:
            return "live trading is confirmed already"
        if event.word != LIVE_WORD:
            return f"type {LIVE_WORD} to confirm"
        return ""

    def _missing_at_start(self) -> list[LiveCondition]:
        """What no person can make up for by a word."""
        return [condition for condition in self.conditions()[:-2] if not condition.met]

    def _live_brokers(self) -> tuple[str, ...]:
        """Those that are connected now, in the order in which they came."""
        return tuple(b.broker for b in self._brokers.values() if b.live and b.connected)
