"""A loopback server that speaks Binance's spot API, as its documentation and recordings have it."""

import json
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from engine.core.model import (
    ZERO,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from tests.loopback.faults import Faults, Streams, middleware
from tests.loopback.serving import speaking
from tests.loopback.venue import Change, DuplicateId, InsufficientFunds, Placed, Refused, Venue

MS = 1_000_000
TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
}
NAMES = {type_: name for name, type_ in TYPES.items()}
STATUS = {OrderState.ACCEPTED: "NEW", OrderState.PARTIALLY_FILLED: "PARTIALLY_FILLED"}
KINDS = {
    ("POST", "/order"): "submit",
    ("DELETE", "/order"): "cancel",
    ("GET", "/order"): "order",
    ("GET", "/openOrders"): "orders",
    ("GET", "/myTrades"): "fills",
    ("GET", "/account"): "positions",
    ("GET", "/depth"): "quote",
}


class Binance:
    """One account in the coins of `venue`'s instruments, named as ccxt does (BTC/USDT).

    `bodies` are those of the submits that came; `answers` are said to the next ones in the place of
    what was made of them. `commission` is that of each execution, and the coin in which it is
    paid.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.bodies: list[dict[str, str]] = []
        self.answers: deque[web.Response] = deque()
        self.commission: tuple[str, str] = ("0", "USDT")
        venue.listeners.append(self._tell)
        self._symbols = {symbol.replace("/", ""): symbol for symbol in venue.instruments}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[middleware(self.faults, kind_of, refusal)])
        app.add_routes(
            [
                web.get("/api/v3/time", self._time),
                web.get("/api/v3/exchangeInfo", self._exchange_info),
                web.get("/api/v3/depth", self._depth),
                web.get("/api/v3/account", signed(self._account)),
                web.get("/api/v3/openOrders", signed(self._open_orders)),
                web.get("/api/v3/myTrades", signed(self._my_trades)),
                web.get("/api/v3/order", signed(self._order)),
                web.post("/api/v3/order", signed(self._submit)),
                web.delete("/api/v3/order", signed(self._cancel)),
                web.get("/ws-api/v3", self._web_socket),
            ]
        )
        return app

    # --- public ---------------------------------------------------------------------------------

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"serverTime": self.venue.now() // MS})

    async def _exchange_info(self, _: web.Request) -> web.Response:
        symbols = [market(instrument) for instrument in self.venue.instruments.values()]
        return web.json_response(
            {
                "timezone": "UTC",
                "serverTime": self.venue.now() // MS,
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": symbols,
            }
        )

    async def _depth(self, request: web.Request) -> web.Response:
        quote = self.venue.quotes.get(self._symbols[request.query["symbol"]])
        book: dict[str, Any] = {"lastUpdateId": 1027024, "bids": [], "asks": []}
        if quote is not None:
            book["bids"] = [[f"{quote.bid:.8f}", f"{quote.bid_size:.8f}"]]
            book["asks"] = [[f"{quote.ask:.8f}", f"{quote.ask_size:.8f}"]]
        return web.json_response(book)

    # --- the account ----------------------------------------------------------------------------

    async def _account(self, _: web.Request) -> web.Response:
        coins = {symbol.split("/")[0]: held for symbol, held in self.venue.positions.items()}
        coins["USDT"] = self.venue.cash
        return web.json_response(
            {
                "makerCommission": 15,
                "takerCommission": 15,
                "canTrade": True,
                "canWithdraw": True,
                "canDeposit": True,
                "updateTime": self.venue.now() // MS,
                "accountType": "SPOT",
                "balances": [
                    {"asset": coin, "free": f"{held:.8f}", "locked": "0.00000000"}
                    for coin, held in coins.items()
                ],
                "permissions": ["SPOT"],
                "uid": 354937868,
            }
        )

    async def _open_orders(self, _: web.Request) -> web.Response:
        return web.json_response([order_of(placed) for placed in self.venue.open])

    async def _my_trades(self, request: web.Request) -> web.Response:
        symbol = self._symbols[request.query["symbol"]]
        since, most = int(request.query.get("startTime", 0)), int(request.query.get("limit", 500))
        fills = [f for f in self.venue.fills if f.symbol == symbol and f.ts // MS >= since]
        return web.json_response([trade_of(fill, self.commission) for fill in fills[:most]])

    async def _order(self, request: web.Request) -> web.Response:
        placed = self._find(request.query)
        if placed is None:
            return error(400, -2013, "Order does not exist.")
        return web.json_response(order_of(placed))

    async def _submit(self, request: web.Request) -> web.Response:
        body = {name: str(value) for name, value in (await request.post()).items()}
        self.bodies.append(body)
        now = self.venue.now()
        order = Order(
            body["newClientOrderId"],
            "",
            self._symbols[body["symbol"]],
            Side(body["side"].lower()),
            TYPES[body["type"]],
            Decimal(body["quantity"]),
            OrderPurpose.EXTERNAL,
            now,
            now,
            ZERO,
            limit_price=_price(body, "price"),
            stop_price=_price(body, "stopPrice"),
            time_in_force=TimeInForce(body.get("timeInForce", "GTC").lower()),
        )
        try:
            placed = self.venue.submit(order)
        except DuplicateId:
            return error(400, -2010, "Duplicate order sent.")
        except InsufficientFunds:
            return error(400, -2010, "Account has insufficient balance for requested action.")
        except Refused as refused:
            return error(400, -1013, f"Filter failure: {refused}")
        if self.answers:
            return self.answers.popleft()
        return web.json_response(order_of(placed) | {"transactTime": now // MS, "fills": []})

    async def _cancel(self, request: web.Request) -> web.Response:
        query = request.query or await request.post()
        placed = self._find({name: str(value) for name, value in query.items()})
        if placed is None:
            return error(400, -2011, "Unknown order sent.")
        try:
            self.venue.cancel(placed.number)
        except Refused:
            return error(400, -2011, "Unknown order sent.")
        told = order_of(placed)
        names = {"origClientOrderId": told["clientOrderId"], "clientOrderId": "cancelMyOrder1"}
        return web.json_response(told | names | {"transactTime": self.venue.now() // MS})

    def _find(self, query: Any) -> Placed | None:
        if key := query.get("origClientOrderId"):
            return self.venue.find(key)
        return self.venue.orders.get(int(query.get("orderId", "0")))

    # --- the stream -----------------------------------------------------------------------------

    async def _web_socket(self, request: web.Request) -> web.StreamResponse:
        if self.streams.refuses:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async with speaking(self.streams, socket) as start:
            async for message in socket:
                asked = json.loads(message.data)
                assert asked["method"] == "userDataStream.subscribe.signature"
                assert {"apiKey", "timestamp", "signature"} <= asked["params"].keys()
                answer = {"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}}
                await socket.send_json(answer)
                start()
        return socket

    def _tell(self, change: Change) -> None:
        report = execution_report(change, self.venue.now() // MS, self.commission)
        self.streams.say(json.dumps({"subscriptionId": 0, "event": report}))


def kind_of(request: web.Request) -> str:
    return KINDS.get((request.method, request.path.removeprefix("/api/v3")), "other")


def error(status: int, code: int, text: str) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=status)


def refusal(status: int) -> web.Response:
    match status:
        case 401:
            return error(401, -2014, "API-key format invalid.")
        case 429:
            return error(429, -1003, "Too much request weight used.")
        case _:  # the firewall's own page
            return web.Response(status=status, text="<html>Forbidden</html>")


Handler = Callable[[web.Request], Awaitable[web.Response]]


def signed(handler: Handler) -> Handler:
    """Refuses what is not signed; the signature itself is not looked at."""

    async def checked(request: web.Request) -> web.Response:
        said = {**request.query, **(await request.post())}
        if not {"timestamp", "signature"} <= said.keys():
            return error(400, -1102, "Mandatory parameter 'signature' was not sent.")
        if "X-MBX-APIKEY" not in request.headers:
            return error(401, -2014, "API-key format invalid.")
        return await handler(request)

    return checked


# --- shapes --------------------------------------------------------------------------------------


def market(instrument: Instrument) -> dict[str, Any]:
    base, quote = instrument.symbol.split("/")
    return {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": f"{instrument.tick:.8f}",
                "maxPrice": "1000000.00000000",
                "tickSize": f"{instrument.tick:.8f}",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": f"{instrument.lot:.8f}",
                "maxQty": "9000.00000000",
                "stepSize": f"{instrument.lot:.8f}",
            },
            {"filterType": "NOTIONAL", "minNotional": f"{instrument.min_notional:.8f}"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def order_of(placed: Placed) -> dict[str, Any]:
    order = placed.order
    return {
        "symbol": order.symbol.replace("/", ""),
        "orderId": placed.number,
        "orderListId": -1,
        "clientOrderId": order.client_order_id or f"web_{placed.number}",
        "price": f"{order.limit_price or ZERO:.8f}",
        "origQty": f"{order.quantity:.8f}",
        "executedQty": f"{order.filled:.8f}",
        "cummulativeQuoteQty": f"{order.filled * (order.avg_price or ZERO):.8f}",
        "status": _status(order),
        "timeInForce": order.time_in_force.upper(),
        "type": NAMES[order.type],
        "side": order.side.upper(),
        "stopPrice": f"{order.stop_price or ZERO:.8f}",
        "icebergQty": "0.00000000",
        "time": order.created_ts // MS,
        "updateTime": order.updated_ts // MS,
        "isWorking": True,
        "workingTime": order.created_ts // MS,
        "origQuoteOrderQty": "0.00000000",
        "selfTradePreventionMode": "NONE",
    }


def trade_of(fill: Fill, commission: tuple[str, str]) -> dict[str, Any]:
    return {
        "symbol": fill.symbol.replace("/", ""),
        "id": int(fill.execution_id),
        "orderId": int(fill.venue_order_id),
        "orderListId": -1,
        "price": f"{fill.price:.8f}",
        "qty": f"{fill.quantity:.8f}",
        "quoteQty": f"{fill.price * fill.quantity:.8f}",
        "commission": commission[0],
        "commissionAsset": commission[1],
        "time": fill.ts // MS,
        "isBuyer": fill.side is Side.BUY,
        "isMaker": False,
        "isBestMatch": True,
    }


def execution_report(change: Change, now_ms: int, commission: tuple[str, str]) -> dict[str, Any]:
    order, fill = change.placed.order, change.fill
    told = order_of(change.placed)
    cancelled = order.state is OrderState.CANCELED
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": told["symbol"],
        "c": "cancelMyOrder1" if cancelled else told["clientOrderId"],
        "S": told["side"],
        "o": told["type"],
        "f": told["timeInForce"],
        "q": told["origQty"],
        "p": told["price"],
        "P": told["stopPrice"],
        "F": "0.00000000",
        "g": -1,
        "C": told["clientOrderId"] if cancelled else "",
        "x": "TRADE" if fill else told["status"],
        "X": told["status"],
        "r": order.reason or "NONE",
        "i": told["orderId"],
        "l": f"{fill.quantity if fill else ZERO:.8f}",
        "z": told["executedQty"],
        "L": f"{fill.price if fill else ZERO:.8f}",
        "n": commission[0] if fill else "0",
        "N": commission[1] if fill else None,
        "T": (fill.ts if fill else order.updated_ts) // MS,
        "t": int(fill.execution_id) if fill else -1,
        "I": 8641984,
        "w": change.placed.is_open,
        "m": False,
        "M": False,
        "O": told["time"],
        "Z": told["cummulativeQuoteQty"],
        "Y": f"{fill.quantity * fill.price if fill else ZERO:.8f}",
        "Q": "0.00000000",
        "W": told["workingTime"],
        "V": "NONE",
    }


def _status(order: Order) -> str:
    return STATUS.get(order.state, order.state.upper())


def _price(body: dict[str, str], name: str) -> Decimal | None:
    return Decimal(body[name]) if name in body else None
