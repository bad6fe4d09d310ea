"""Questrade: its login server, its API and its ports of notifications and of quotes, as far as the
adapter speaks them.

The shapes are those of recorded and documented answers. An order that is replaced gets another id
in the same chain, and the former one the state Replaced.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web
from msgspec import json

from engine.brokers.questrade.wire import OUR_TIMES, OUR_TYPES, TIMES, TYPES
from engine.core.model import (
    ZERO,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    Side,
    nanos,
    utc,
)
from tests.loopback.faults import Faults, Streams, middleware
from tests.loopback.serving import Server, speaking, web_socket
from tests.loopback.venue import Change, Placed, Refused, Venue

ACCOUNT = "26598145"
FIRST_TOKEN = "made-by-hand-canary"
CANDLES_MOST = 2_000
CHAIN = 177_106_000
IDS_A_CHAIN = 10
STATES = {
    OrderState.ACCEPTED: "Accepted",
    OrderState.PARTIALLY_FILLED: "Partial",
    OrderState.FILLED: "Executed",
    OrderState.CANCELED: "Canceled",
    OrderState.REJECTED: "Rejected",
    OrderState.EXPIRED: "Expired",
}
MESSAGES = {
    401: (1014, "Access token not provided"),
    403: (1016, "Request is out of allowed OAuth scopes"),
    429: (1011, "Too many requests"),
}
INVALID_TOKEN = {"code": 1017, "message": "Access token is invalid"}

_encode = json.Encoder(decimal_format="number").encode


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(body), status=status, content_type="application/json")


def refusal(status: int) -> web.Response:
    code, message = MESSAGES[status]
    return answer({"code": code, "message": message}, status)


def kind_of(request: web.Request) -> str:
    """What a request is, for the faults."""
    parts = request.path.strip("/").split("/")
    if parts[0] == "oauth2":
        return "login"
    if parts[1] == "markets":
        return "bars" if parts[2] == "candles" else "quote"
    if parts[1] == "symbols":
        return "symbol"
    if parts[1] != "accounts" or len(parts) < 4:
        return "other"
    if parts[3] != "orders":
        return {"executions": "fills", "balances": "balance"}.get(parts[3], parts[3])
    if len(parts) == 4:
        return "submit" if request.method == "POST" else "orders"
    return {"POST": "replace", "DELETE": "cancel"}.get(request.method, "order")


def when(ts: int) -> str:
    return utc(ts).isoformat()


class QuestradeServer:
    """`refresh_token` is the one that works now, `access_tokens` are those that do; while `expired`
    is set none does. While `scoped` is set, orders are out of the scopes of the token; `objection`
    is said of an order that is made and rejected at once. `bodies` is every order as it came,
    `logins` every refresh token; `asked` is called before each signed request is looked at.
    `quotes` and `details` are what is said otherwise of all quotes, and of symbols by name; symbols
    that are `late` have no candles yet. `quoted` are those that the last stream of quotes is of.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.quote_streams = Streams()
        self.refresh_token = FIRST_TOKEN
        self.access_tokens: list[str] = []
        self.expires_in = 1800
        self.api_server = ""
        self.expired = False
        self.scoped = False
        self.redirects = False
        self.objection = ""
        self.asked: Callable[[], None] = lambda: None
        self.accounts = [ACCOUNT]
        self.quotes: dict[str, Any] = {}
        self.candles: list[dict[str, Any]] = []
        self.late: set[str] = set()
        self.details: dict[str, dict[str, Any]] = {}
        self.quoted: set[str] = set()
        self.headers: dict[str, str] = {}
        self.bodies: list[str] = []
        self.logins: list[str] = []
        self._versions: dict[int, int] = {}
        self._symbols = {s: 8049 + n for n, s in enumerate(venue.instruments)}
        apps = {
            "login": self._login_app,
            "api": self._api_app,
            "stream": lambda: self._stream_app(self.streams),
            "quotes": lambda: self._stream_app(self.quote_streams),
        }
        self._servers = {name: Server(app, self.faults) for name, app in apps.items()}
        self._sockets: dict[Streams, web.WebSocketResponse] = {}
        venue.listeners.append(self._tell)

    @property
    def login_url(self) -> str:
        return self._servers["login"].url

    async def start(self) -> None:
        """Listen, on the same ports as before where it was stopped."""
        for server in self._servers.values():
            await server.start()

    async def stop(self) -> None:
        """The ports are closed, and every connection with them."""
        await self.streams.close()
        await self.quote_streams.close()
        for server in self._servers.values():
            await server.stop()

    def _login_app(self) -> web.Application:
        return self._app([web.post("/oauth2/token", self._log_in)])

    def _api_app(self) -> web.Application:
        account = f"/v1/accounts/{ACCOUNT}"
        orders = f"{account}/orders"
        return self._app(
            [
                web.get("/v1/time", self._signed(self._time)),
                web.get("/v1/accounts", self._signed(self._accounts)),
                web.get(f"{account}/positions", self._signed(self._positions)),
                web.get(f"{account}/balances", self._signed(self._balances)),
                web.get(f"{account}/executions", self._signed(self._executions)),
                web.get(orders, self._signed(self._orders)),
                web.get(f"{orders}/{{id}}", self._signed(self._order)),
                web.post(orders, self._signed(self._submit)),
                web.post(f"{orders}/{{id}}", self._signed(self._replace)),
                web.delete(f"{orders}/{{id}}", self._signed(self._cancel)),
                web.get("/v1/symbols/search", self._signed(self._search)),
                web.get("/v1/symbols", self._signed(self._details)),
                web.get("/v1/markets/quotes", self._signed(self._quotes)),
                web.get("/v1/markets/candles/{id}", self._signed(self._candles)),
                web.get("/v1/notifications", self._signed(self._notifications)),
            ]
        )

    def _app(self, routes: list[web.RouteDef]) -> web.Application:
        app = web.Application(middlewares=[middleware(self.faults, kind_of, refusal)])
        app.add_routes(routes)
        return app

    def _stream_app(self, streams: Streams) -> web.Application:
        async def talk(socket: web.WebSocketResponse) -> None:
            await self._speak(socket, streams)

        app = web.Application()
        app.add_routes([web.get("/", web_socket(streams, talk))])
        return app

    # --- tokens ---------------------------------------------------------------------------------

    async def _log_in(self, request: web.Request) -> web.Response:
        """A refresh token works once."""
        form = await request.post()
        assert form["grant_type"] == "refresh_token"
        self.logins.append(str(form["refresh_token"]))
        if form["refresh_token"] != self.refresh_token:
            return web.Response(status=400, text="Bad Request")
        number = len(self.logins)
        self.refresh_token = f"refresh-canary-{number}"
        self.access_tokens = [f"access-canary-{number}"]
        return answer(
            {
                "access_token": self.access_tokens[-1],
                "token_type": "Bearer",
                "expires_in": self.expires_in,
                "refresh_token": self.refresh_token,
                "api_server": self.api_server or f"{self._servers['api'].url}/",
            }
        )

    def _signed(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def check(request: web.Request) -> web.Response:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            self.asked()
            if self.expired or token not in self.access_tokens:
                return answer(INVALID_TOKEN, 401)
            if self.redirects:
                return web.Response(status=307, headers={"Location": self.login_url})
            if self.scoped and request.method != "GET":
                return refusal(403)
            response = await handler(request)
            response.headers.update(self.headers)
            return response

        return check

    # --- orders ---------------------------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        body = await self._body_of(request)
        now = self.venue.now()
        order = Order(
            "",
            "",
            self._symbol_of(body["symbolId"]),
            Side(body["action"].lower()),
            OUR_TYPES[body["orderType"]],
            body["quantity"],
            OrderPurpose.EXTERNAL,
            now,
            now,
            ZERO,
            limit_price=body.get("limitPrice"),
            stop_price=body.get("stopPrice"),
            time_in_force=OUR_TIMES[body["timeInForce"]],
        )
        try:
            placed = self.venue.submit(order)
        except Refused as error:
            return answer({"code": 3054, "message": str(error)}, 400)
        if self.objection:
            self.venue.reject(placed.number, self.objection)
        return self._told(placed)

    async def _replace(self, request: web.Request) -> web.Response:
        placed, version = self._named(request)
        body = await self._body_of(request)
        terms = OrderTerms(body["quantity"], body.get("limitPrice"), body.get("stopPrice"))
        if placed is None or version != self._versions.get(placed.number, 0):
            return answer({"code": 3019, "message": "Order not found"}, 404)
        if not placed.is_open:
            return answer({"code": 3020, "message": f"order is {placed.order.state}"}, 400)
        self._versions[placed.number] = version + 1
        self.venue.replace(placed.number, terms)
        return self._told(placed)

    async def _cancel(self, request: web.Request) -> web.Response:
        placed, version = self._named(request)
        if placed is None:
            return answer({"code": 3019, "message": "Order not found"}, 404)
        if version != self._versions.get(placed.number, 0):
            return answer({"code": 3021, "message": "order is replaced"}, 400)
        try:
            self.venue.cancel(placed.number)
        except Refused as error:
            return answer({"code": 3022, "message": str(error)}, 400)
        return answer({"orderId": self._id_of(placed)})

    async def _order(self, request: web.Request) -> web.Response:
        placed, version = self._named(request)
        if placed is None:
            return answer({"code": 3019, "message": "Order not found"}, 404)
        return answer({"orders": [self._row(placed, version)]})

    async def _orders(self, request: web.Request) -> web.Response:
        """Every version of an order is one here, as of all but the last it says Replaced."""
        start, end = (
            nanos(datetime.fromisoformat(request.query[name])) for name in ("startTime", "endTime")
        )
        is_all = request.query["stateFilter"] == "All"
        rows = [
            self._row(placed, version)
            for placed in self.venue.orders.values()
            if start <= placed.order.created_ts <= end and (is_all or placed.is_open)
            for version in range(self._versions.get(placed.number, 0) + 1)
            if is_all or version == self._versions.get(placed.number, 0)
        ]
        return answer({"orders": rows})

    def _told(self, placed: Placed) -> web.Response:
        """An order that was made, and did not stay, comes with a reason beside it."""
        row = self._row(placed)
        reason = {"code": 3054, "message": self.objection} if self.objection else {}
        return answer({"orderId": row["id"], "orders": [row]} | reason)

    async def _body_of(self, request: web.Request) -> dict[str, Any]:
        content = await request.read()
        self.bodies.append(content.decode())
        numbers = ("quantity", "limitPrice", "stopPrice")
        body = json.decode(content)
        return body | {n: Decimal(str(body[n])) for n in numbers if body.get(n) is not None}

    def _symbol_of(self, symbol_id: int) -> str:
        return next(s for s, number in self._symbols.items() if number == symbol_id)

    def _id_of(self, placed: Placed, version: int | None = None) -> int:
        if version is None:
            version = self._versions.get(placed.number, 0)
        return CHAIN + IDS_A_CHAIN * placed.number + version

    def _named(self, request: web.Request) -> tuple[Placed | None, int]:
        number, version = divmod(int(request.match_info["id"]) - CHAIN, IDS_A_CHAIN)
        return self.venue.orders.get(number), version

    # --- the account ----------------------------------------------------------------------------

    async def _time(self, _: web.Request) -> web.Response:
        return answer({"time": when(self.venue.now())})

    async def _accounts(self, _: web.Request) -> web.Response:
        rows = [{"type": "Margin", "number": n, "status": "Active"} for n in self.accounts]
        return answer({"accounts": rows, "userId": 3000124})

    async def _positions(self, _: web.Request) -> web.Response:
        rows = [
            {
                "symbol": symbol,
                "symbolId": self._symbols[symbol],
                "openQuantity": quantity,
                "closedQuantity": 0,
                "averageEntryPrice": 100,
                "isRealTime": False,
            }
            for symbol, quantity in self.venue.positions.items()
        ]
        return answer({"positions": rows})

    async def _balances(self, _: web.Request) -> web.Response:
        rows = [
            {"currency": currency, "cash": cash, "buyingPower": cash, "isRealTime": True}
            for currency, cash in (("CAD", self.venue.cash), ("USD", Decimal("6.304468")))
        ]
        return answer({"perCurrencyBalances": rows, "combinedBalances": rows})

    async def _executions(self, request: web.Request) -> web.Response:
        start = nanos(datetime.fromisoformat(request.query["startTime"]))
        rows = [self._execution(fill) for fill in self.venue.fills if fill.ts >= start]
        return answer({"executions": rows})

    async def _search(self, request: web.Request) -> web.Response:
        prefix = request.query["prefix"]
        rows = [
            {"symbol": symbol, "symbolId": number, "securityType": "Stock", "isTradable": True}
            for symbol, number in self._symbols.items()
            if symbol.startswith(prefix)
        ]
        return answer({"symbols": rows})

    # --- market data ----------------------------------------------------------------------------

    async def _details(self, request: web.Request) -> web.Response:
        names = [self._symbol_of(int(number)) for number in request.query["ids"].split(",")]
        rows = [
            {
                "symbol": name,
                "symbolId": self._symbols[name],
                "prevDayClosePrice": 100,
                "tradeUnit": 1,
                "listingExchange": "TSX",
                "securityType": "Stock",
                "isTradable": True,
                "isQuotable": True,
                "currency": "CAD",
                "minTicks": [{"pivot": 0, "minTick": 0.005}, {"pivot": 0.5, "minTick": 0.01}],
            }
            | self.details.get(name, {})
            for name in names
        ]
        return answer({"symbols": rows})

    async def _quotes(self, request: web.Request) -> web.Response:
        names = [self._symbol_of(int(number)) for number in request.query["ids"].split(",")]
        if request.query.get("stream") == "true":
            assert request.query["mode"] == "WebSocket"
            self.quoted = set(names)
            return answer({"streamPort": self._servers["quotes"].port})
        return answer({"quotes": [self._quote(name) for name in names]})

    def _quote(self, symbol: str) -> dict[str, Any]:
        quote = self.venue.quotes.get(symbol)
        row = {
            "symbol": symbol,
            "symbolId": self._symbols[symbol],
            "tier": "",
            "bidPrice": quote.bid if quote else None,
            "bidSize": int(quote.bid_size) if quote else 0,
            "askPrice": quote.ask if quote else None,
            "askSize": int(quote.ask_size) if quote else 0,
            "lastTradePrice": None,
            "delay": 0,
            "isHalted": False,
        }
        return row | self.quotes

    async def _candles(self, request: web.Request) -> web.Response:
        """What lies over an edge of the time that is asked for is cut off there, and told."""
        start, end = (datetime.fromisoformat(request.query[n]) for n in ("startTime", "endTime"))
        if self._symbol_of(int(request.match_info["id"])) in self.late:
            return answer({"candles": []})
        rows: list[dict[str, Any]] = []
        for row in self.candles:
            first, last = (datetime.fromisoformat(row[name]) for name in ("start", "end"))
            if first < end and last > start:
                whole = {"start": max(first, start), "end": min(last, end)}
                rows.append(row | {name: ts.isoformat() for name, ts in whole.items()})
        assert len(rows) <= CANDLES_MOST
        return answer({"candles": rows})

    # --- what is said without being asked -------------------------------------------------------

    async def _notifications(self, request: web.Request) -> web.Response:
        assert request.query["mode"] == "WebSocket"
        return answer({"streamPort": self._servers["stream"].port})

    def say_quote(self, symbol: str, **changes: object) -> None:
        """As the market of `symbol` is, but for `changes`."""
        said = {"quotes": [self._quote(symbol) | changes]}
        self.quote_streams.say(_encode(said).decode())

    async def cut_quotes(self) -> None:
        """The line of the stream of quotes is cut."""
        await self._sockets[self.quote_streams].close(code=1011)

    async def _speak(self, socket: web.WebSocketResponse, streams: Streams) -> None:
        """The first message is the bare access token. A second connection of a kind ends the
        first."""
        is_ours = (await socket.receive()).data in self.access_tokens
        with suppress(ConnectionError):
            await socket.send_str(json.encode({"success": is_ours}).decode())
        if not is_ours:  # or who was gone before the first message would end the one that is there
            return
        former = self._sockets.pop(streams, None)
        self._sockets[streams] = socket
        if former is not None:
            await former.close()
        async with speaking(streams, socket) as start:
            start()
            async for _ in socket:
                pass

    def _tell(self, change: Change) -> None:
        said: dict[str, Any] = {"orders": [self._row(change.placed)], "accountNumber": ACCOUNT}
        if change.fill is not None and change.what != "busted":
            said["executions"] = [self._execution(change.fill)]
        self.streams.say(_encode(said).decode())

    # --- shapes ---------------------------------------------------------------------------------

    def _row(self, placed: Placed, version: int | None = None) -> dict[str, Any]:
        order, newest = placed.order, self._versions.get(placed.number, 0)
        is_replaced = version is not None and version < newest
        ended = order.state in (OrderState.CANCELED, OrderState.EXPIRED)
        return {
            "id": self._id_of(placed, version),
            "symbol": order.symbol,
            "symbolId": self._symbols[order.symbol],
            "totalQuantity": order.quantity,
            "openQuantity": ZERO if ended else order.leaves,
            "filledQuantity": order.filled,
            "canceledQuantity": order.leaves if ended else ZERO,
            "side": str(order.side).capitalize(),
            "orderType": TYPES.get(order.type, "TrailStopInPercentage"),
            "limitPrice": order.limit_price,
            "stopPrice": order.stop_price,
            "isAllOrNone": False,
            "isAnonymous": False,
            "avgExecPrice": order.avg_price,
            "timeInForce": TIMES.get(order.time_in_force, "GoodTillExtendedDay"),
            "gtdDate": None,
            "state": "Replaced" if is_replaced else STATES[order.state],
            "clientReasonStr": order.reason,
            "chainId": self._id_of(placed, 0),
            "creationTime": when(order.created_ts),
            "updateTime": when(order.updated_ts),
            "notes": "",
            "primaryRoute": "AUTO",
            "secondaryRoute": "AUTO",
            "venueHoldingOrder": "ITSR",
            "exchangeOrderId": "XS177106005",
            "userId": 3000124,
            "placementCommission": ZERO,
            "legs": [],
            "strategyType": "SingleLeg",
            "triggerStopPrice": None,
        }

    def _execution(self, fill: Fill) -> dict[str, Any]:
        placed = self.venue.orders[int(fill.venue_order_id)]
        return {
            "symbol": fill.symbol,
            "symbolId": self._symbols[fill.symbol],
            "quantity": fill.quantity,
            "side": str(fill.side).capitalize(),
            "price": fill.price,
            "id": 53_817_000 + int(fill.execution_id),
            "orderId": self._id_of(placed),
            "orderChainId": self._id_of(placed, 0),
            "exchangeExecId": f"XS{fill.execution_id}",
            "timestamp": when(fill.ts),
            "notes": "",
            "venue": "LAMP",
            "totalCost": fill.quantity * fill.price,
            "orderPlacementCommission": ZERO,
            "commission": fill.commission,
            "executionFee": ZERO,
            "secFee": ZERO,
            "canadianExecutionFee": ZERO,
            "parentId": 0,
        }
