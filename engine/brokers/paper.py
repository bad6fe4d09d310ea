"""The paper broker: the simulated exchange behind the broker interface."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from decimal import Decimal

from engine.brokers.base import Balance, BaseBroker
from engine.core.events import (
    BarClosed,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    ReplaceRejected,
    Restored,
    VenueOrder,
)
from engine.core.matching import CAPABILITIES, ExchangeRules, SimulatedExchange
from engine.core.model import (
    ZERO,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderTerms,
    OrderType,
    Quote,
)
from engine.core.sessions import Calendars

FILLS_KEPT = 10_000


class PaperBroker(BaseBroker):
    """Fills orders from the market data that the engine sees, at once and without a network: what
    it says is said in `on_market`, and its stream has nothing to add. It trades `instruments`
    alone, and has the account of the venue `name`.

    It keeps nothing of its own on disk: `restore` gives it back orders, positions and cash of a
    former session, as the database has them. What was on its way to it when the engine died has
    got there: an order whose intent is durable, and the terms of a replace. From there it keeps
    books of its own, by its fills alone: its statement does not look at the engine's.
    """

    capabilities = CAPABILITIES
    tells_all = True

    def __init__(
        self,
        instruments: Collection[Instrument],
        rules: ExchangeRules,
        calendars: Calendars,
        now: Callable[[], int],
        name: str = "paper",
    ) -> None:
        self.name = name
        self._symbols = frozenset(instrument.symbol for instrument in instruments)
        self._exchange = SimulatedExchange(instruments, rules, calendars)
        self._now = now
        self._quotes: dict[str, Quote] = {}
        self._unsaid: list[ExecutionReport] = []
        self._fills: deque[Fill] = deque(maxlen=FILLS_KEPT)
        self._positions: dict[str, Decimal] = {}
        self._cash = ZERO

    @property
    def account_name(self) -> str:
        return "simulated"

    def restore(self, restored: Restored) -> None:
        """Go on with the orders that are open, what is held, and the cash."""
        orders = [o for o in restored.orders if o.is_open and o.symbol in self._symbols]
        self._exchange.restore(orders, self._now(), _trailed(restored))
        for order in orders:
            if order.pending_terms is not None:
                self._exchange.replace(order.client_order_id, order.pending_terms, self._now())
        self._cash = restored.cash.get(self.name, ZERO)
        for position in restored.positions:
            if position.symbol in self._symbols:
                self._hold(position.symbol, position.quantity)

    async def connect(self) -> None:
        """It is always there."""

    async def disconnect(self) -> None:
        """Nothing is open."""

    async def stream_fills(self) -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield  # pyright: ignore[reportReturnType] - not reached; it makes this an iterator

    async def get_quote(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    async def submit_order(self, order: Order) -> ExecutionReport:
        return self._exchange.submit(order, self._now())

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        return self._exchange.cancel(order.client_order_id, self._now())

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        return self._exchange.replace(order.client_order_id, terms, self._now())

    async def get_order(self, order: Order) -> ExecutionReport | None:
        self._unsaid += self._exchange.expire(self._now())
        return self._exchange.find(order.client_order_id)

    def on_market(self, event: QuoteUpdate | BarClosed) -> Sequence[Event]:
        reports, self._unsaid = self._unsaid, []
        if isinstance(event, QuoteUpdate):
            reports += self._on_quote(event)
        elif event.live:
            reports += self._exchange.on_bar(event.bar)
        for fill in [report.fill for report in reports if report.fill is not None]:
            self._fills.append(fill)
            self._cash += fill.cash_change
            self._hold(fill.symbol, fill.position_change)
        return reports

    def _on_quote(self, event: QuoteUpdate) -> list[ExecutionReport]:
        if event.quote.is_sound:
            self._quotes[event.quote.symbol] = event.quote
        if event.live:
            return self._exchange.on_quote(event.quote)
        self._exchange.on_past_quote(event.quote)
        return []

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        return self._exchange.open_orders()

    async def get_fills(self, since: int) -> Sequence[Fill]:
        """Those of this session: former ones are in the database."""
        return [fill for fill in self._fills if fill.ts >= since]

    async def get_positions(self) -> Mapping[str, Decimal]:
        return self._positions.copy()

    async def get_account_balance(self) -> Balance:
        return Balance(self._cash)

    def _hold(self, symbol: str, quantity: Decimal) -> None:
        self._positions[symbol] = self._positions.get(symbol, ZERO) + quantity


def _trailed(restored: Restored) -> dict[str, Decimal]:
    """Where the trailing stops had got to: the desk follows the price with the same trail, and its
    brackets are durable (to a step, which is a twentieth of the trail)."""
    stops = {(b.strategy, b.symbol): b.stop_price for b in restored.brackets}
    return {
        order.client_order_id: stop
        for order in restored.orders
        if order.type is OrderType.TRAILING_STOP
        and order.purpose is OrderPurpose.PROTECTIVE_STOP
        and (stop := stops.get((order.strategy, order.symbol))) is not None
    }
