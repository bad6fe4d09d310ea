"""A loopback server that speaks Binance's spot API, as its documentation and recordings have it."""

import json
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from engine.core.model import (
    DAY,
    MINUTE,
    NANOS,
    ZERO,
    Bar,
    Fill,
    Instrument,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from tests.loopback.faults import Faults, Streams, middleware
from tests.loopback.market import Market
from tests.loopback.serving import speaking, web_socket
from tests.loopback.venue import Change, DuplicateId, InsufficientFunds, Placed, Refused, Venue

MS = 1_000_000
WINDOW_MS = 10_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT_LIMIT": OrderType.UNKNOWN,
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
    ("GET", "/ticker/bookTicker"): "quotes",
    ("GET", "/klines"): "bars",
    ("GET", "/exchangeInfo"): "markets",
}
INTERVALS = {
    "1s": NANOS,
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": DAY,
}


class Binance:
    """One account in the coins of `venue`'s instruments, named as ccxt does (BTC/USDT).

    `bodies` are those of the submits that came; `answers` are said to the next ones in the place of
    what was made of them. `commission` is that of each execution of a venue without costs, and the
    coin in which it is paid.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.market = Market()
        self.bodies: list[dict[str, str]] = []
        self.listed = 0
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
                web.get("/api/v3/ticker/bookTicker", self._book_tickers),
                web.get("/api/v3/klines", self._klines),
                web.get("/ws/{number}", web_socket(self.market.streams, self._talk_of_market)),
                web.get("/api/v3/account", self._signed(self._account)),
                web.get("/api/v3/openOrders", self._signed(self._open_orders)),
                web.get("/api/v3/myTrades", self._signed(self._my_trades)),
                web.get("/api/v3/order", self._signed(self._order)),
                web.post("/api/v3/order", self._signed(self._submit)),
                web.delete("/api/v3/order", self._signed(self._cancel)),
                web.get("/ws-api/v3", web_socket(self.streams, self._talk)),
            ]
        )
        return app

    def _signed(self, handler: Handler) -> Handler:
        """Refuses what is not signed, or at another time; the signature itself is not looked at."""

        async def checked(request: web.Request) -> web.StreamResponse:
            said = {**request.query, **(await request.post())}
            if not {"timestamp", "signature"} <= said.keys():
                return error(400, -1102, "Mandatory parameter 'signature' was not sent.")
            if abs(int(str(said["timestamp"])) - self.venue.now() // MS) > WINDOW_MS:
                return error(400, -1021, "Timestamp for this request is outside of the recvWindow.")
            if "X-MBX-APIKEY" not in request.headers:
                return error(401, -2014, "API-key format invalid.")
            return await handler(request)

        return checked

    # --- public ---------------------------------------------------------------------------------

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"serverTime": self.venue.now() // MS})

    async def _exchange_info(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query.get("symbols", json.dumps([*self._symbols])))
        if not self._symbols.keys() >= set(wanted):
            return error(400, -1121, "Invalid symbol.")
        self.listed = len(wanted)
        symbols = [market(self.venue.instruments[self._symbols[name]]) for name in wanted]
        for one in symbols:
            if self._symbols[one["symbol"]] in self.market.halted:
                one["status"] = "BREAK"
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

    async def _book_tickers(self, request: web.Request) -> web.Response:
        wanted = [self._symbols[name] for name in json.loads(request.query["symbols"])]
        quotes = [self.venue.quotes[symbol] for symbol in wanted if symbol in self.venue.quotes]
        keys = {"symbol": "s", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
        told = [book_ticker(quote) for quote in quotes]
        return web.json_response([{key: row[of] for key, of in keys.items()} for row in told])

    async def _klines(self, request: web.Request) -> web.Response:
        query = request.query
        assert int(query["limit"]) <= 1000
        symbol, interval = self._symbols[query["symbol"]], INTERVALS[query["interval"]]
        since = int(query.get("startTime", 0)) * MS
        bars = [bar for bar in self.market.candles(symbol, interval) if bar.start >= since]
        return web.json_response([kline(bar) for bar in bars[: int(query["limit"])]])

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

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        async with speaking(self.streams, socket) as start:
            async for message in socket:
                asked = json.loads(message.data)
                assert asked["method"] == "userDataStream.subscribe.signature"
                assert {"apiKey", "timestamp", "signature"} <= asked["params"].keys()
                answer = {"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}}
                await socket.send_json(answer)
                start()

    async def _talk_of_market(self, socket: web.WebSocketResponse) -> None:
        async with speaking(self.market.streams, socket) as start:
            async for message in socket:
                asked = json.loads(message.data)
                assert asked["method"] == "SUBSCRIBE"
                names = {self._symbols[name.split("@")[0].upper()] for name in asked["params"]}
                assert names <= self.venue.instruments.keys()
                await socket.send_json({"result": None, "id": asked["id"]})
                start()

    def tell_quote(self, quote: Quote) -> None:
        self.venue.quotes[quote.symbol] = quote
        self.market.streams.say(json.dumps(book_ticker(quote)))

    def tell_candle(self, bar: Bar, *, closed: bool) -> None:
        keys = ("t", "o", "h", "l", "c", "v", "T")
        row = dict(zip(keys, kline(bar), strict=False)) | {"i": "1m", "x": closed}
        told = {"e": "kline", "E": bar.ts // MS, "s": bar.symbol.replace("/", "")}
        self.market.streams.say(json.dumps(told | {"k": row | {"s": told["s"]}}))

    def _tell(self, change: Change) -> None:
        report = execution_report(change, self.venue.now() // MS, self.commission)
        self.streams.say(json.dumps({"subscriptionId": 0, "event": report}))


def kind_of(request: web.Request) -> str:
    if request.path.startswith("/ws/"):
        return "stream"
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
                "minQty": f"{max(instrument.lot, instrument.min_quantity):.8f}",
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


def book_ticker(quote: Quote) -> dict[str, Any]:
    return {
        "u": 400900217,
        "s": quote.symbol.replace("/", ""),
        "b": f"{quote.bid:.8f}",
        "B": f"{quote.bid_size:.8f}",
        "a": f"{quote.ask:.8f}",
        "A": f"{quote.ask_size:.8f}",
    }


def kline(bar: Bar) -> list[Any]:
    prices = [f"{price:.8f}" for price in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    return [bar.start // MS, *prices, bar.ts // MS - 1, "0.05490", 40, "10.92", "0.2733", "0"]


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


def commission_of(fill: Fill, otherwise: tuple[str, str]) -> tuple[str, str]:
    """What an execution cost, in which coin: as its venue took it, or `otherwise`."""
    base, quote = fill.symbol.split("/")
    if fill.commission_quantity:
        return f"{fill.commission_quantity:.8f}", base
    return (f"{fill.commission:.8f}", quote) if fill.commission else otherwise


def trade_of(fill: Fill, commission: tuple[str, str]) -> dict[str, Any]:
    paid, coin = commission_of(fill, commission)
    return {
        "symbol": fill.symbol.replace("/", ""),
        "id": int(fill.execution_id),
        "orderId": int(fill.venue_order_id),
        "orderListId": -1,
        "price": f"{fill.price:.8f}",
        "qty": f"{fill.quantity:.8f}",
        "quoteQty": f"{fill.price * fill.quantity:.8f}",
        "commission": paid,
        "commissionAsset": coin,
        "time": fill.ts // MS,
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.liquidity is Liquidity.MAKER,
        "isBestMatch": True,
    }


def execution_report(change: Change, now_ms: int, commission: tuple[str, str]) -> dict[str, Any]:
    order, fill = change.placed.order, change.fill
    told = order_of(change.placed)
    paid, coin = commission_of(fill, commission) if fill else ("0", None)
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
        "n": paid,
        "N": coin,
        "T": (fill.ts if fill else order.updated_ts) // MS,
        "t": int(fill.execution_id) if fill else -1,
        "I": 8641984,
        "w": change.placed.is_open,
        "m": fill is not None and fill.liquidity is Liquidity.MAKER,
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
