"""The paper broker: the simulated exchange behind the broker interface."""

from collections.abc import Callable, Iterable

from engine.brokers.base import BaseBroker, Publish
from engine.core.events import (
    BarClosed,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    ReplaceRejected,
)
from engine.core.matching import CAPABILITIES, ExchangeRules, SimulatedExchange
from engine.core.model import Instrument, Order, OrderState, OrderTerms


class PaperBroker(BaseBroker):
    """Fills orders from the market data that the engine sees, at once and without a network.

    It keeps nothing of its own on disk: `restore` gives it back the open orders of a former
    session, as the database has them. An order whose submit was not recorded before a crash is then
    unknown to it, and was never filled.
    """

    name = "paper"
    capabilities = CAPABILITIES

    def __init__(
        self, instruments: Iterable[Instrument], rules: ExchangeRules, now: Callable[[], int]
    ) -> None:
        self._exchange = SimulatedExchange(instruments, rules)
        self._now = now
        self._publish: Publish = _nowhere

    def restore(self, orders: Iterable[Order]) -> None:
        sent = (order for order in orders if order.state is not OrderState.INTENDED)
        self._exchange.restore(sent, self._now())

    async def connect(self, publish: Publish) -> None:
        self._publish = publish

    async def disconnect(self) -> None:
        self._publish = _nowhere

    async def submit_order(self, order: Order) -> ExecutionReport:
        return self._exchange.submit(order, self._now())

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        return self._exchange.cancel(order.client_order_id, self._now())

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        return self._exchange.replace(order.client_order_id, terms, self._now())

    async def get_order(self, order: Order) -> ExecutionReport | None:
        return self._exchange.find(order.client_order_id)

    def on_market(self, event: QuoteUpdate | BarClosed) -> None:
        if isinstance(event, BarClosed):
            reports = self._exchange.on_bar(event.bar) if event.live else []
        else:
            reports = self._exchange.on_quote(event.quote)
        for report in reports:
            self._publish(report)


def _nowhere(event: Event) -> None:
    """Not connected: nobody listens."""
