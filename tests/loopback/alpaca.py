"""Alpaca's Trading API, that of brokers, and market data, as far as the adapter speaks them.

The shapes are those of recorded answers; numbers of orders and positions come as text, as there.
`trade_updates` is JSON in binary frames. A replace cancels the order and makes another one with the
whole quantity, whatever was filled of the first (https://github.com/alpacahq/Alpaca-API/issues/165).
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from aiohttp import BasicAuth, web

from engine.core.model import (
    ZERO,
    AssetClass,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    nanos,
    utc,
)
from tests.loopback.faults import Faults, Streams, cut_frame, middleware, part_of
from tests.loopback.serving import Server
from tests.loopback.venue import Change, DuplicateId, InsufficientFunds, Placed, Refused, Venue

ACCOUNT_ID = "0f0e0d0c-customer"
BROKER = f"/v1/trading/accounts/{ACCOUNT_ID}"
"""Where the Broker API has what the Trading API has for its one account."""
KEY, SECRET = "PKTESTKEY", "canary-secret"
EVENTS = {
    "accepted": "new",
    "filled": "fill",
    "partially_filled": "partial_fill",
    "busted": "trade_bust",
}
STATUS = {OrderState.ACCEPTED: "new"}
OTHERS = {OrderType.UNKNOWN: "pegged", TimeInForce.UNKNOWN: "opg"}
"""What those that we have no name for are called there."""
MOST_ORDERS = 500
"""In one answer, the newest first."""
COUNTS_ANEW_S = 20
"""After "too many requests"."""
MESSAGES = {
    401: (40110000, "request is not authorized"),
    403: (40300000, "forbidden."),
    429: (42910000, "rate limit exceeded"),
}


def uuid(number: int) -> str:
    return str(UUID(int=number))


def text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"


def when(ts: int) -> str:
    return utc(ts).isoformat().replace("+00:00", "Z")


def refusal(status: int, code: int = 0, message: str = "") -> web.Response:
    known_code, known = MESSAGES.get(status, (0, ""))
    body = {"code": code or known_code, "message": message or known}
    counts_anew = {"X-RateLimit-Reset": str(int(time.time()) + COUNTS_ANEW_S)}
    return web.json_response(body, status=status, headers=counts_anew if status == 429 else {})


def kind_of(request: web.Request) -> str:
    """What a request is, for the faults."""
    path, method = request.path.replace(BROKER, "/v2"), request.method
    if path == "/v2/orders":
        return {"POST": "submit", "DELETE": "cancel all"}.get(method, "orders")
    if path.startswith("/v2/orders"):
        return {"DELETE": "cancel", "PATCH": "replace"}.get(method, "order")
    known = {
        "/v2/positions": "positions",
        "/v2/account": "balance",
        "/v2/account/activities/FILL": "fills",
        "/v1/accounts/activities/FILL": "fills",
        "/stream": "stream",
        "/v2/events/trades": "stream",
        "/v2/clock": "time",
        "/v1/clock": "time",
    }
    return known.get(path, "quote")


class AlpacaServer:
    """`account` is what the account's answer has besides money; `bodies` is every order as it came
    over the wire; `uncancelable` are the orders that are left where all are cancelled;
    `before_replace` is called between a replace's arrival and its being made. With
    `gross` its updates tell positions without the fees that were taken of them."""

    def __init__(self, venue: Venue, key: str = KEY) -> None:
        self.venue = venue
        self.key = key
        self.faults = Faults()
        self.streams = Streams()
        self.account: dict[str, Any] = {
            "account_number": "PA3TEST",
            "status": "ACTIVE",
            "account_blocked": False,
            "trading_blocked": False,
            "trade_suspended_by_user": False,
            "currency": "USD",
        }
        self.bodies: list[dict[str, Any]] = []
        self.replaces: dict[int, int] = {}
        self.told: list[bytes] = []
        self.before_replace: Callable[[Placed], None] = lambda former: None
        self.gross = False
        self.uncancelable: set[int] = set()
        self._replacing = False
        self._server = Server(self._app, self.faults)
        venue.listeners.append(self._tell)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def stream_url(self) -> str:
        return f"{self._server.stream_url}/stream"

    async def start(self) -> None:
        """Listen, on the same port as before where it was stopped."""
        await self._server.start()

    async def stop(self) -> None:
        """The port is closed, and every connection with it."""
        await self.streams.close()
        await self._server.stop()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[middleware(self.faults, kind_of, refusal)])
        for root in ("/v2", BROKER):
            app.add_routes(
                [
                    web.get(f"{root}/account", self._account),
                    web.get(f"{root}/positions", self._positions),
                    web.get(f"{root}/orders", self._orders),
                    web.post(f"{root}/orders", self._submit),
                    web.delete(f"{root}/orders", self._cancel_all),
                    web.get(f"{root}/orders:by_client_order_id", self._by_client_id),
                    web.get(f"{root}/orders/{{id}}", self._order),
                    web.patch(f"{root}/orders/{{id}}", self._replace),
                    web.delete(f"{root}/orders/{{id}}", self._cancel),
                ]
            )
        app.add_routes(
            [
                web.get("/stream", self._stream),
                web.get("/v2/events/trades", self._events),
                web.get("/v2/account/activities/FILL", self._activities),
                web.get("/v1/accounts/activities/FILL", self._activities),
                web.get("/v2/clock", self._clock),
                web.get("/v1/clock", self._clock),
                web.get("/v2/assets/{symbol:.+}", self._asset),
                web.get("/v1/assets/{symbol:.+}", self._asset),
                web.get("/v2/stocks/quotes/latest", self._quotes),
                web.get("/v1beta3/crypto/us/latest/quotes", self._quotes),
            ]
        )
        return app

    # --- orders ---------------------------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        body = await request.json()
        self.bodies.append(body)
        if said := self._not_of_crypto(body):
            return refusal(422, 42210000, said)
        try:
            return web.json_response(self._row(self.venue.submit(order_of(body))))
        except DuplicateId as error:
            return refusal(422, 40010001, str(error))
        except InsufficientFunds as error:
            return refusal(403, 40310000, str(error))
        except Refused as error:
            return refusal(422, 42210000, str(error))

    def _not_of_crypto(self, body: dict[str, Any]) -> str:
        """What of an order there is not for crypto
        (https://docs.alpaca.markets/docs/crypto-orders); empty where nothing is."""
        instrument = self.venue.instruments.get(body["symbol"])
        if instrument is None or instrument.asset_class is not AssetClass.CRYPTO:
            return ""
        if body["type"] not in ("market", "limit", "stop_limit"):
            return "invalid order type for crypto order"
        return "" if body["time_in_force"] in ("gtc", "ioc") else "invalid crypto time_in_force"

    async def _replace(self, request: web.Request) -> web.Response:
        """The new order has what the old one had, and what is asked for."""
        if denied := self._denied(request):
            return denied
        former = self.venue.orders.get(UUID(request.match_info["id"]).int)
        if former is None:
            return refusal(404, 40410000, "order not found")
        if not former.is_open:
            return refusal(422, 42210000, f"order is {former.order.state}")
        changes = await request.json()
        self.bodies.append(changes)
        self.before_replace(former)
        return web.json_response(self._row(self.replace(former, changes)))

    def replace(self, former: Placed, changes: dict[str, Any]) -> Placed:
        """As somebody does it by hand, where no client order id is among the changes."""
        same = {k: v for k, v in self._row(former).items() if v is not None}
        body = same | {"client_order_id": ""} | changes
        self._replacing = True
        self.venue.cancel(former.number)
        new = self.venue.submit(order_of(body))
        self._replacing = False
        self.replaces[new.number] = former.number
        self._say("replaced", former)
        self._say("new", new)
        return new

    async def _cancel(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        number = UUID(request.match_info["id"]).int
        if number not in self.venue.orders:
            return refusal(404, 40410000, "order not found")
        try:
            self.venue.cancel(number)
        except Refused as error:
            return refusal(422, 42210000, str(error))
        return web.Response(status=204)

    async def _cancel_all(self, request: web.Request) -> web.Response:
        """Each order has a status of its own."""
        if denied := self._denied(request):
            return denied
        rows: list[dict[str, Any]] = []
        for placed in self.venue.open:
            refused = placed.number in self.uncancelable
            if not refused:
                self.venue.cancel(placed.number)
            rows.append({"id": uuid(placed.number), "status": 500 if refused else 200})
        return web.json_response(rows, status=207)

    async def _order(self, request: web.Request) -> web.Response:
        return self._told(request, self.venue.orders.get(UUID(request.match_info["id"]).int))

    async def _by_client_id(self, request: web.Request) -> web.Response:
        wanted = request.query["client_order_id"]
        named = [p for p in self.venue.orders.values() if client_id(p) == wanted]
        return self._told(request, named[-1] if named else None)

    def _told(self, request: web.Request, placed: Placed | None) -> web.Response:
        if denied := self._denied(request):
            return denied
        if placed is None:
            return refusal(404, 40410000, "order not found")
        return web.json_response(self._row(placed))

    async def _orders(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        is_all = request.query.get("status") == "all"
        placed = [p for p in self.venue.orders.values() if p.is_open or is_all]
        if until := request.query.get("until"):
            before = nanos(datetime.fromisoformat(until))
            placed = [p for p in placed if p.order.created_ts < before]
        limit = min(int(request.query.get("limit", 50)), MOST_ORDERS)
        return web.json_response([self._row(p) for p in reversed(placed)][:limit])

    # --- the account ----------------------------------------------------------------------------

    async def _clock(self, request: web.Request) -> web.Response:
        """In the time of New York, with nanoseconds, as Alpaca writes it."""
        if denied := self._denied(request):
            return denied
        now = utc(self.venue.now()).astimezone(ZoneInfo("America/New_York"))
        timestamp = f"{now:%Y-%m-%dT%H:%M:%S.%f}123{now.isoformat()[-6:]}"
        return web.json_response({"timestamp": timestamp, "is_open": True})

    async def _asset(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        symbol = request.match_info["symbol"]
        instrument = self.venue.instruments.get(symbol)
        if instrument is None:
            return refusal(404, 40410000, f"asset not found for {symbol}")
        is_crypto = instrument.asset_class is AssetClass.CRYPTO
        asset: dict[str, Any] = {
            "class": "crypto" if is_crypto else "us_equity",
            "symbol": symbol,
            "status": "active",
            "tradable": True,
            "fractionable": True,
        }
        if is_crypto:
            asset["price_increment"] = text(instrument.tick)
            asset["min_trade_increment"] = text(instrument.lot)
            asset["min_order_size"] = text(instrument.min_quantity)
        return web.json_response(asset)

    async def _account(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        cash = text(self.venue.cash)
        return web.json_response(self.account | {"cash": cash, "buying_power": cash})

    async def _positions(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        rows = [
            {
                "symbol": symbol.replace("/", ""),
                "qty": text(quantity),
                "side": "long" if quantity > 0 else "short",
            }
            for symbol, quantity in self.venue.positions.items()
            if quantity
        ]
        return web.json_response(rows)

    async def _activities(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        after = nanos(datetime.fromisoformat(request.query["after"]))
        rows = [self._activity(fill) for fill in self.venue.fills if fill.ts > after]
        first = 0
        if token := request.query.get("page_token"):
            first = [row["id"] for row in rows].index(token) + 1
        return web.json_response(rows[first : first + int(request.query["page_size"])])

    async def _quotes(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        symbol = request.query["symbols"]
        quote = self.venue.quotes.get(symbol)
        return web.json_response({"quotes": {symbol: raw_quote(quote)} if quote else {}})

    def _denied(self, request: web.Request) -> web.Response | None:
        keys = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        basic = BasicAuth(self.key, SECRET).encode()
        is_ours = keys == (self.key, SECRET) or request.headers.get("Authorization") == basic
        return None if is_ours else refusal(401)

    # --- what is said without being asked -------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.streams.refuses:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked = json.loads((await socket.receive()).data)["data"]
        is_ours = asked == {"key_id": self.key, "secret_key": SECRET}
        data = {"action": "authenticate", "status": "authorized" if is_ours else "unauthorized"}
        await socket.send_bytes(json.dumps({"stream": "authorization", "data": data}).encode())
        listening = json.loads((await socket.receive()).data)["data"]
        await socket.send_bytes(json.dumps({"stream": "listening", "data": listening}).encode())
        speaking = asyncio.create_task(
            self.streams.serve(
                socket.send_bytes, socket.close, partial(cut_frame, request.transport)
            )
        )
        async for _ in socket:
            pass
        speaking.cancel()
        return socket

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events of the Broker API, from the one after `since_id` on."""
        if denied := self._denied(request):
            return denied
        if self.streams.refuses:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        ended = asyncio.Event()

        async def send(message: bytes) -> None:
            if not message.startswith(b'{"stream"'):
                await response.write(b"data: " + message + b"\n\n")  # as a test made it up
                return
            data = json.loads(message)["data"]
            row = json.dumps(data | {"account_id": ACCOUNT_ID})
            await response.write(f"id: {data['event_id']}\ndata: {row}\n\n".encode())

        async def close() -> None:
            ended.set()

        since = request.query.get("since_id", f"{len(self.told):026}")
        for message in self.told[int(since) :]:
            await send(message)

        def cut(message: bytes, kept: int | None) -> None:
            assert request.transport is not None
            request.transport.write(part_of(b"data: " + message, kept))
            ended.set()

        speaking = asyncio.create_task(self.streams.serve(send, close, cut))
        await ended.wait()
        speaking.cancel()
        return response

    def _tell(self, change: Change) -> None:
        if not self._replacing:
            event = EVENTS.get(change.what, change.what)
            self._say(event, change.placed, change.fill)

    def _say(self, event: str, placed: Placed, fill: Fill | None = None) -> None:
        data: dict[str, Any] = {
            "event_id": f"{len(self.told) + 1:026}",
            "event": event,
            "timestamp": when(fill.ts if fill is not None else self.venue.now()),
            "order": self._row(placed),
        }
        if fill is not None:
            data |= {
                "execution_id": uuid(int(fill.execution_id)),
                "price": text(fill.price),
                "qty": text(fill.quantity),
                "position_qty": text(self._held_after(fill)),
            }
        message = json.dumps({"stream": "trade_updates", "data": data}).encode()
        self.told.append(message)
        self.streams.say(message)

    def _held_after(self, fill: Fill) -> Decimal:
        held = self.venue.positions[fill.symbol]
        return held + fill.commission_quantity if self.gross else held

    # --- shapes ---------------------------------------------------------------------------------

    def _row(self, placed: Placed) -> dict[str, Any]:
        order, number = placed.order, placed.number
        successor = next((n for n, old in self.replaces.items() if old == number), None)
        quote = self.venue.quotes.get(order.symbol)
        stop_price = order.stop_price
        if quote is not None and order.trail is not None:
            stop_price = Decimal(repr(quote.bid)) - order.trail
        is_stock = self.venue.instruments[order.symbol].asset_class is AssetClass.STOCK
        return {
            "id": uuid(number),
            "client_order_id": client_id(placed),
            "created_at": when(order.created_ts),
            "updated_at": when(order.updated_ts),
            "submitted_at": when(order.created_ts),
            "filled_at": None,
            "replaced_by": None if successor is None else uuid(successor),
            "replaces": uuid(self.replaces[number]) if number in self.replaces else None,
            "asset_id": uuid(0),
            "symbol": order.symbol,
            "asset_class": "us_equity" if is_stock else "crypto",
            "notional": None,
            "qty": text(order.quantity),
            "filled_qty": text(order.filled),
            "filled_avg_price": text(order.avg_price),
            "order_class": "simple",
            "order_type": OTHERS.get(order.type, str(order.type)),
            "type": OTHERS.get(order.type, str(order.type)),
            "side": str(order.side),
            "time_in_force": OTHERS.get(order.time_in_force, str(order.time_in_force)),
            "limit_price": text(order.limit_price),
            "stop_price": text(stop_price),
            "status": "replaced" if successor else STATUS.get(order.state, str(order.state)),
            "extended_hours": False,
            "legs": None,
            "trail_percent": None,
            "trail_price": text(order.trail),
            "hwm": None,
        }

    def _activity(self, fill: Fill) -> dict[str, Any]:
        placed = self.venue.orders[int(fill.venue_order_id)]
        before = placed.fills[: placed.fills.index(fill) + 1]
        filled = sum((f.quantity for f in before), ZERO)
        at = utc(fill.ts)
        return {
            "id": f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03}::{uuid(int(fill.execution_id))}",
            "activity_type": "FILL",
            "transaction_time": when(fill.ts),
            "type": "fill" if filled == placed.order.quantity else "partial_fill",
            "price": text(fill.price),
            "qty": text(fill.quantity),
            "side": str(fill.side),
            "symbol": fill.symbol,
            "leaves_qty": text(placed.order.quantity - filled),
            "order_id": uuid(placed.number),
            "cum_qty": text(filled),
        }


def client_id(placed: Placed) -> str:
    """Alpaca gives an order one that comes without."""
    return placed.order.client_order_id or uuid(placed.number + 10**9)


def order_of(body: dict[str, Any]) -> Order:
    """An order as it came over the wire."""
    numbers = {
        name: Decimal(str(body[name])) if body.get(name) is not None else None
        for name in ("qty", "limit_price", "stop_price", "trail_price")
    }
    now = nanos(datetime.now(UTC))
    return Order(
        body["client_order_id"],
        "",
        body["symbol"],
        Side(body["side"]),
        OrderType(body["type"]),
        numbers["qty"] or ZERO,
        OrderPurpose.EXTERNAL,
        now,
        now,
        ZERO,
        limit_price=numbers["limit_price"],
        stop_price=numbers["stop_price"],
        time_in_force=TimeInForce(body["time_in_force"]),
        trail=numbers["trail_price"],
    )


def raw_quote(quote: Quote) -> dict[str, Any]:
    return {
        "t": when(quote.ts),
        "ax": "P",
        "ap": quote.ask,
        "as": quote.ask_size,
        "bx": "K",
        "bp": quote.bid,
        "bs": quote.bid_size,
        "c": ["R"],
        "z": "C",
    }
