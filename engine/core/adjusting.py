"""Cash that came or went without a trade: the operator has the books take it over."""

from engine.core.bus import Bus
from engine.core.events import AdjustCash, CashAdjusted, CommandRefused
from engine.core.model import ZERO, CashAdjustment
from engine.core.portfolio import Portfolio
from engine.core.reconcile import Reconciler
from engine.core.risk.watch import LossWatch
from engine.core.text import clean

ADJUST_WORD = "ADJUST"


class Adjusting:
    """Makes the cash of the books a broker's, by a difference that was believed and that the
    operator saw: never by another amount, and never twice."""

    def __init__(
        self, bus: Bus, portfolio: Portfolio, watch: LossWatch, reconciler: Reconciler
    ) -> None:
        self._bus = bus
        self._portfolio = portfolio
        self._watch = watch
        self._reconciler = reconciler

    def on_adjust(self, event: AdjustCash) -> None:
        venue, amount = clean(event.broker), event.amount
        if reason := self._objection(event, venue):
            self._bus.publish(CommandRefused.of(event, reason))
            return
        worth = amount * (self._portfolio.accounts.worth[venue] or ZERO)
        self._bus.publish(
            CashAdjusted(
                CashAdjustment(venue, amount, self._bus.now),
                self._portfolio.cash[venue] + amount,
                worth,
                self._watch.peak_equity + float(worth),
                clean(event.author),
            )
        )
        self._reconciler.forget_cash(venue)

    def _objection(self, event: AdjustCash, venue: str) -> str:
        if event.word != ADJUST_WORD:
            return f"type {ADJUST_WORD} to adjust cash"
        if reason := self._reconciler.objection(venue):
            return reason
        difference = self._reconciler.cash_difference(venue)
        if difference is None:
            return f"no difference in cash at {venue} is known"
        if difference != event.amount:
            return f"the difference in cash at {venue} is {difference:f} now"
        if self._portfolio.accounts.worth[venue] is None:
            return f"what the currency of {venue} is worth is not known"
        return ""
