"""An account at a crypto exchange, through ccxt: requests over REST, its own words by WebSocket."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.brokers.base import (
    AccountStatus,
    Balance,
    BaseBroker,
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    Room,
)
from engine.brokers.ccxt.cancels import Cancels
from engine.brokers.ccxt.client import Nonces, exchange, load_markets
from engine.brokers.ccxt.errors import Refused, answered, asked, told, understood
from engine.brokers.ccxt.reading import (
    MS,
    Told,
    client_order_id_of,
    fill_of,
    number,
    quote_of,
    report_of,
    state_after,
    terms_of,
    venue_order_of,
)
from engine.brokers.ccxt.venues import VENUES, Access, Said
from engine.brokers.stops import limit_beyond
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import for_a_cancel, is_for_a_cancel, wait_for_turn
from engine.core.events import (
    BrokerChanged,
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    VenueOrder,
)
from engine.core.model import (
    MINUTE,
    NANOS,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    TimeInForce,
)
from engine.core.newest import Newest
from engine.core.order_moves import is_made_here
from engine.core.text import clean
from engine.ops.backoff import Backoff
from engine.ops.errors import UserError

S = OrderState
KEPT = 10_000
"""How many of the orders' two names are kept, and of the executions that were asked for; the engine
knows those of older ones itself."""
AT_ONCE = 1000
CLOSE_S = 1.0
EARLIER = 10 * MINUTE
"""How long before its creation here an order is looked for there: the clocks differ."""
ALL_PAGES = {"paginate": True, "paginationCalls": 100, "maxRetries": 0}

log = logging.getLogger(__name__)


class CcxtBroker(BaseBroker):
    """Spot trading at one of `VENUES`.

    What the account holds of a coin is the position of the first of the `instruments` that trade
    it; of other coins nothing is told. Cash is that of the one currency in which all are quoted.
    """

    def __init__(
        self, name: str, instruments: Iterable[Instrument], access: Access, now: Callable[[], int]
    ) -> None:
        self.name = name
        self._venue = VENUES[name]
        self.capabilities = self._venue.capabilities
        self.live = not access.paper
        self._access = access
        self._now = now
        self._instruments = {i.symbol: i for i in instruments}
        self._symbols = {symbol: symbol.removeprefix(f"{name}:") for symbol in self._instruments}
        self._ours = {theirs: symbol for symbol, theirs in self._symbols.items()}
        venue = self._venue
        self._bucket = TokenBucket(
            venue.rate, venue.burst, venue.reserved, time.monotonic, venue.window_s
        )
        together = venue.batch_cancel
        self._cancels = together and Cancels(together, self._bucket, lambda: self._open)
        self._nonces = Nonces()
        self._exchange: Any = None
        self._keys: Newest[str, str] = Newest(KEPT)
        self._said: asyncio.Queue[Event] = asyncio.Queue()
        self._moved: asyncio.Queue[Told] = asyncio.Queue()
        self._asked_for: deque[str] = deque(maxlen=KEPT)
        self._is_up = False

    # --- the connection -------------------------------------------------------------------------

    async def connect(self) -> None:
        await self.disconnect()
        name, access, bucket = self.name, self._access, self._bucket
        self._exchange = exchange(name, access, bucket, self._on_up, self._nonces)
        try:
            markets: Mapping[str, Any] = await asked(load_markets, self._exchange, self._ours)
            held: Mapping[str, Any] = await asked(self._exchange.fetch_balance)
        except (NotAuthenticated, NotPermitted) as error:
            raise UserError(
                f"{self.name} does not let the account in: {error}",
                "Check the API key, what it permits, and from which addresses.",
            ) from None
        if missing := [symbol for symbol in self._ours if symbol not in markets]:
            raise UserError(
                f"{self.name} does not trade {', '.join(missing)}",
                "Write symbols as the exchange does in ccxt, such as BTC/USDT.",
            )
        said = await self._of_account(held)
        self.account_number = clean(said.number)
        if not said.number:
            log.warning("%s does not say which account it is; the books may be another's", name)

    async def disconnect(self) -> None:
        if self._cancels is not None:
            self._cancels.close()
        if self._exchange is not None:
            closing, self._exchange = self._exchange, None
            await closing.close()

    # --- orders ---------------------------------------------------------------------------------

    async def submit_order(self, order: Order) -> ExecutionReport:
        """A market order that fills at once is told of as accepted: its executions come by the
        stream."""
        key = order.client_order_id
        symbol = self._symbol(order.symbol)
        is_known = key in self._keys.values()  # where it is, the answer may be of the former order
        limit_price = self._limit_of(order)
        try:
            answer = await asked(
                self._open.create_order,
                symbol,
                "limit" if limit_price is not None else "market",
                str(order.side),
                self._exact("amount", symbol, order.quantity),
                self._exact("price", symbol, limit_price),
                self._params(order, symbol),
            )
        except Refused as refused:
            return ExecutionReport(key, S.REJECTED, reason=str(refused), ts=self._now())
        if is_known:
            raise InDoubt("accepted earlier: its client order id is known")
        report = self._report(answer, key)
        if report.state is not S.FILLED:
            return report
        return ExecutionReport(key, S.ACCEPTED, report.venue_order_id, ts=self._now())

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        """Where the exchange says only that it was told, the stream says when it is so."""
        with for_a_cancel():
            return await self._cancel(order)

    async def _cancel(self, order: Order) -> ExecutionReport | CancelRejected:
        key = order.client_order_id
        if not self._venue.named and not order.venue_order_id:
            found = await self._find(order)
            if found is None:
                return CancelRejected(key, "unknown order", ts=self._now())
            order = replace(order, venue_order_id=found.venue_order_id)
        try:
            if self._cancels is not None and order.venue_order_id:
                if reason := await self._cancels.ask(order.venue_order_id):
                    return CancelRejected(key, reason, ts=self._now())
                return ExecutionReport(key, S.PENDING_CANCEL, order.venue_order_id, ts=self._now())
            answer = await asked(self._open.cancel_order, *self._named(order), self._names(order))
        except Refused as refused:
            return CancelRejected(key, str(refused), ts=self._now())
        if answer["status"] is None:
            return ExecutionReport(key, S.PENDING_CANCEL, order.venue_order_id, ts=self._now())
        return self._report(answer, key)

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        """The order stays the same one there, with the former terms or with these."""
        key, symbol = order.client_order_id, self._symbol(order.symbol)
        params = self._names(order)
        if (stop := self._exact("price", symbol, terms.stop_price)) is not None:
            params["stopLossPrice"] = stop
        changes = (
            "limit" if terms.limit_price is not None else "market",
            str(order.side),
            self._exact("amount", symbol, terms.quantity),
            self._exact("price", symbol, terms.limit_price),
        )
        try:
            await asked(self._open.edit_order, *self._named(order), *changes, params)
        except Refused as refused:
            return ReplaceRejected(key, str(refused), ts=self._now())
        try:
            found = await self.get_order(order)
        except NotSent as error:
            raise InDoubt(f"{self.name} took the replace; {error}") from None
        if found is None:
            raise InDoubt(f"{self.name} took the replace, and does not know the order")
        return found

    async def get_order(self, order: Order) -> ExecutionReport | None:
        looked_for = bool(self._venue.looked_for_in)
        if looked_for and not order.venue_order_id:
            return await self._find(order)
        names = {} if looked_for else self._names(order)
        try:
            answer = await asked(self._open.fetch_order, *self._named(order), names)
        except Refused as refused:
            if refused.unknown:
                return None
            raise InDoubt(str(refused)) from None
        return self._report_with_terms(answer, order.client_order_id)

    async def _find(self, order: Order) -> ExecutionReport | None:
        """Look among the open orders, and only then among the others: one that fills meanwhile is
        in the second.

        Nothing is asked before there is room for both, but for a cancel: the first alone, asked
        again and again, would use up what the exchange takes, and the second never be asked."""
        if not is_for_a_cancel():
            await wait_for_turn(self._bucket, self._venue.look_cost)
            self._bucket.check(self._venue.look_cost)
        key, symbol = order.client_order_id, self._symbol(order.symbol)
        for name in self._venue.looked_for_in:
            ask = getattr(self._open, name)
            orders = await self._orders(ask, symbol, order.created_ts - EARLIER, self._names(order))
            with understood():
                found = next((one for one in orders if client_order_id_of(one) == key), None)
            if found is not None:
                return self._report_with_terms(found, key)
        return None

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        orders = await self._orders(self._open.fetch_open_orders, None, None, {})
        with understood():
            meant = map(self._as_meant, orders)
            return [venue_order_of(o, self._symbol_of(o)) for o in meant]

    # --- the account ----------------------------------------------------------------------------

    async def get_fills(self, since: int) -> Sequence[Fill]:
        """Where the exchange wants a symbol, of the instruments alone."""
        since_ms = since // NANOS * 1000  # Kraken counts whole seconds
        asked = list(self._ours) if self._venue.by_symbol else [None]
        trades = [trade for symbol in asked for trade in await self._trades(symbol, since_ms)]
        with understood():
            fills = [self._fill(trade) for trade in trades if trade["symbol"] in self._ours]
        return [fill for fill in fills if fill.ts >= since]

    async def get_positions(self) -> Mapping[str, Decimal]:
        held: Mapping[str, Any] = await answered(self._open.fetch_balance)
        positions: dict[str, Decimal] = {}
        coins: set[str] = set()
        for symbol, theirs in self._symbols.items():
            coin = self._market(theirs)["base"]
            if coin not in coins:
                coins.add(coin)
                with understood():
                    positions[symbol] = Decimal(held["total"].get(coin) or 0)
        return positions

    async def get_account_balance(self) -> Balance:
        held: Mapping[str, Any] = await answered(self._open.fetch_balance)
        currencies = {self._market(symbol)["quote"] for symbol in self._ours}
        if len(currencies) != 1:
            return Balance()
        (currency,) = currencies
        with understood():
            cash, free = held["total"].get(currency) or 0, held["free"].get(currency) or 0
            return Balance(Decimal(cash), Decimal(free))

    async def get_quote(self, symbol: str) -> Quote | None:
        if symbol not in self._symbols:
            return None
        book = await answered(self._open.fetch_order_book, self._symbols[symbol], 5)
        with understood():
            ts = (book["timestamp"] or 0) * MS or self._now()
            return quote_of(book, symbol, ts)

    async def get_account_status(self) -> AccountStatus | None:
        said = await self._of_account(await answered(self._open.fetch_balance))
        if said.may_trade is None:
            return None
        objection = f"{self.name} lets the API key make no orders"
        return AccountStatus("" if said.may_trade else objection)

    async def _of_account(self, held: Mapping[str, Any]) -> Said:
        """What the exchange says of the account: with what it holds, or when it is asked about the
        API key."""
        info = held["info"]
        if self._venue.key_call:
            try:
                info = await asked(getattr(self._open, self._venue.key_call))
            except Refused as refused:
                log.warning("%s does not tell of the API key: %s", self.name, refused)
                return Said()
        with understood():
            return self._venue.said(info)

    async def get_time(self) -> int:
        """Where whole seconds are told, the middle of one is as near as can be."""
        ms = await answered(self._open.fetch_time)
        with understood():
            return int(ms) * MS + (NANOS // 2 if self._venue.counts_seconds else 0)

    def room(self) -> Room:
        return self._bucket.room()

    # --- the stream -----------------------------------------------------------------------------

    async def stream_fills(self) -> AsyncIterator[Event]:
        self._said, self._moved = asyncio.Queue(), asyncio.Queue()
        self._is_up = True  # so says whoever connected; the first loss is told
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                yield await self._said.get()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        """Listen for ever; a stream that is lost is made again, ever more slowly."""
        backoff, loop = Backoff(), asyncio.get_running_loop()
        while True:
            began = loop.time()
            error = await _first_error(
                self._watch_orders(),
                self._follow_orders(),
                *([self._watch_fills()] if self._venue.streams_fills else []),
            )
            reason = told(error)
            log.warning("the stream of %s is lost: %s", self.name, reason)
            self._is_up = False
            self._say_connected(f"its stream is lost: {reason}")
            await self._hang_up()
            await asyncio.sleep(backoff.after(loop.time() - began))

    async def _hang_up(self) -> None:
        """Where a message was not understood the connection is still there, and ccxt would not ask
        for it anew."""
        exchange = self._open
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await exchange.close_ws_clients()
        exchange.clients = {}

    async def _watch_fills(self) -> None:
        while True:
            for trade in await self._open.watch_my_trades():
                if trade["symbol"] in self._ours:  # of others the markets are not known
                    self._say_fill(trade)

    async def _watch_orders(self) -> None:
        """Nothing is waited for in between: ccxt does not tell what comes while nobody listens."""
        while True:
            for order in await self._open.watch_orders():
                self._moved.put_nowait(order)

    async def _follow_orders(self) -> None:
        """Tell where orders are, after their executions."""
        while True:
            order = await self._moved.get()
            if not self._venue.streams_fills and number(order["filled"]):
                order = await self._ask_for_fills(order)
            key = client_order_id_of(order) or self._keys.get(order["id"], "")
            self._said.put_nowait(self._report(order, key))

    async def _ask_for_fills(self, order: Told) -> Told:
        """Tell the executions of an order that are new; answers where it is now: of two messages
        ccxt keeps the one that came last, be it the older one."""
        order = await answered(self._open.fetch_order, order["id"], order["symbol"])
        self._remember(order["id"], client_order_id_of(order))
        params = {"order_ids": [order["id"]]}
        for trade in await answered(self._open.fetch_my_trades, None, None, None, params):
            if trade["id"] not in self._asked_for:
                self._asked_for.append(trade["id"])
                self._say_fill(trade)
        return order

    def _say_fill(self, trade: Told) -> None:
        fill = self._fill(trade)
        key, order_id, now = fill.client_order_id, fill.venue_order_id, self._now()
        self._said.put_nowait(ExecutionReport(key, state_after(trade), order_id, fill, ts=now))

    def _on_up(self) -> None:
        if not self._is_up:
            self._is_up = True
            self._say_connected()

    def _say_connected(self, reason: str = "") -> None:
        self._said.put_nowait(BrokerChanged(self.name, self._is_up, reason, ts=self._now()))

    # --- asking ---------------------------------------------------------------------------------

    @property
    def _open(self) -> Any:
        if self._exchange is None:
            raise NotConnected(f"not connected to {self.name}")
        return self._exchange

    async def _orders(
        self,
        ask: Callable[..., Awaitable[Any]],
        symbol: str | None,
        since: int | None,
        params: Mapping[str, Any],
    ) -> list[Told]:
        """All that are meant. Where an exchange tells them page by page, all that were made since
        then (ns UTC), or as many as a page can have."""
        by_page = self._venue.pages == "cursor"
        if by_page and since is not None:
            return await answered(ask, symbol, since // MS, None, {**params, **ALL_PAGES})
        return await answered(ask, symbol, None, AT_ONCE if by_page else None, params)

    async def _trades(self, symbol: str | None, since_ms: int) -> list[Told]:
        """All since then, page by page, until one brings nothing new."""
        ask, pages = self._open.fetch_my_trades, self._venue.pages
        if pages == "cursor":
            return await answered(ask, symbol, since_ms, None, ALL_PAGES)
        found: dict[tuple[str, str], Told] = {}
        while True:
            params = {"ofs": len(found)} if pages == "offset" else {}
            page: list[Told] = await answered(ask, symbol, since_ms, AT_ONCE, params)
            with understood():
                new = {(trade["order"], trade["id"]): trade for trade in page}
                if new.keys() <= found.keys():
                    return list(found.values())
                found |= new
                if pages == "time":
                    since_ms = max(trade["timestamp"] for trade in page)

    # --- words ----------------------------------------------------------------------------------

    def _symbol(self, symbol: str) -> str:
        if symbol not in self._symbols:
            raise NotSent(f"{symbol} is not traded at {self.name} here")
        return self._symbols[symbol]

    def _market(self, symbol: str) -> Mapping[str, Any]:
        return self._open.market(symbol)

    def _exact(self, what: str, symbol: str, meant: Decimal | None) -> str | None:
        """`meant` as it is written on the wire. Raises NotSent where that is another number."""
        if meant is None:
            return None
        try:
            written = getattr(self._open, f"{what}_to_precision")(symbol, f"{meant:f}")
        except Exception as error:
            raise NotSent(str(told(error))) from None
        if Decimal(written) != meant:
            raise NotSent(f"{what} {meant:f} would go to {self.name} as {written}")
        return f"{meant:f}"

    def _params(self, order: Order, symbol: str) -> dict[str, Any]:
        """What an order has beyond side, amount and price."""
        params: dict[str, Any] = {self._venue.key: order.client_order_id}
        if order.stop_price is not None:
            params["stopLossPrice"] = self._exact("price", symbol, order.stop_price)
        if order.type is OrderType.LIMIT and order.time_in_force is not TimeInForce.GTC:
            params["timeInForce"] = order.time_in_force.upper()
        if order.type is OrderType.MARKET:
            params |= self._venue.market_params(f"{order.quantity:f}")
        return params

    def _limit_of(self, order: Order) -> Decimal | None:
        """With which limit it goes there."""
        has_limit = order.type is OrderType.STOP and self._venue.stops_have_limits
        if not has_limit or order.stop_price is None:
            return order.limit_price
        return limit_beyond(self._instruments[order.symbol], order.side, order.stop_price)

    def _as_meant(self, order: Told) -> Told:
        """A stop of ours that had to have a limit is none here."""
        is_ours = is_made_here(client_order_id_of(order) or self._keys.get(order["id"], ""))
        is_stop = order["triggerPrice"] or order["stopLossPrice"]
        if self._venue.stops_have_limits and is_ours and is_stop:
            return {**order, "type": "market", "price": None}
        return order

    def _named(self, order: Order) -> tuple[str, str]:
        """The exchange's own names for an order and its symbol."""
        return order.venue_order_id, self._symbol(order.symbol)

    def _names(self, order: Order) -> dict[str, str]:
        """Ours are asked for by the name that they have had from the beginning."""
        if order.purpose is OrderPurpose.EXTERNAL or not self._venue.named:
            return {}
        return {"clientOrderId": order.client_order_id}

    def _report(self, order: Told, client_order_id: str) -> ExecutionReport:
        """Raises InDoubt where the answer is none."""
        with understood():
            report = report_of(order, client_order_id, self._now())
        if not report.venue_order_id:
            raise InDoubt("the answer names no order")
        self._remember(report.venue_order_id, client_order_id)
        return report

    def _remember(self, venue_order_id: str, client_order_id: str) -> None:
        """What executions do not tell: our name for an order of the exchange's."""
        if client_order_id:
            self._keys[venue_order_id] = client_order_id

    def _report_with_terms(self, order: Told, client_order_id: str) -> ExecutionReport:
        """Where they can be changed."""
        report = self._report(order, client_order_id)
        if not self.capabilities.replace:
            return report
        with understood():
            return replace(report, terms=terms_of(self._as_meant(order)))

    def _fill(self, trade: Told) -> Fill:
        """Of an order that is not known here, the exchange may still tell our name for it."""
        known = self._keys.get(trade["order"], "")
        key = known or client_order_id_of(trade)
        market = self._market(trade["symbol"])
        return fill_of(trade, self._symbol_of(trade), key, market["base"], market["quote"])

    def _symbol_of(self, told: Told) -> str:
        """Ours, or what ccxt calls it."""
        return self._ours.get(told["symbol"], clean(told["symbol"]))


async def _first_error(*watching: Awaitable[None]) -> Exception:
    """What the first of them raises; the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in watching]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        errors = [task.exception() for task in done if not task.cancelled()]
        return next((e for e in errors if isinstance(e, Exception)), InDoubt("given up"))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
