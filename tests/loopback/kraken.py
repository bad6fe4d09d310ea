"""A loopback server that speaks Kraken's spot API: REST, and WebSocket version 2."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from engine.core.model import (
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
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    utc,
)
from tests.loopback.faults import Faults, Streams, middleware
from tests.loopback.market import Market
from tests.loopback.serving import speaking, web_socket
from tests.loopback.venue import Change, DuplicateId, InsufficientFunds, Placed, Refused, Venue

PAGE = 50
"""Executions in one answer, the newest first."""
CANCELS_AT_ONCE = 50
ACCOUNT = "AA88 N84G WOAK NMOI"
KINDS = {
    "AddOrder": "submit",
    "CancelOrder": "cancel",
    "CancelOrderBatch": "cancel",
    "AmendOrder": "replace",
    "OpenOrders": "order",
    "QueryOrders": "order",
    "ClosedOrders": "closed",
    "TradesHistory": "fills",
    "BalanceEx": "positions",
    "Depth": "quote",
    "Ticker": "quotes",
    "OHLC": "bars",
    "AssetPairs": "markets",
    "v2": "stream",
}
TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop-loss": OrderType.STOP,
    "stop-loss-limit": OrderType.STOP_LIMIT,
    "trailing-stop-limit": OrderType.UNKNOWN,
}
NAMES = {type_: name for name, type_ in TYPES.items()}
COINS = {"BTC": "XXBT", "ETH": "XETH", "USD": "ZUSD"}
KEPT = 720
"""Candles that are told at once, and older ones never."""

Body = dict[str, str]
Handler = Callable[[Body], Any]


class KrakenError(Exception):
    """What Kraken answers, with status 200."""


class Kraken:
    """One account in the coins of `venue`'s instruments, named as ccxt does (BTC/USD).

    `nonce` is the greatest that came, `overtaken` counts those that came too late. `permissions`
    are those of the API key; where they are None nothing is told of it.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.market = Market()
        self.bodies: list[Body] = []
        self.nonce = self.overtaken = 0
        self.permissions: list[str] | None = ["query-funds", "modify-trades"]
        self.refusal = ""
        self.refused: asyncio.Queue[str] = asyncio.Queue()
        venue.listeners.append(self._tell)
        self._symbols = {
            name: symbol for symbol in venue.instruments for name in (pair(symbol), altname(symbol))
        }

    def app(self) -> web.Application:
        app = web.Application(middlewares=[middleware(self.faults, kind_of, refusal)])
        private: dict[str, Handler] = {
            "AddOrder": self._submit,
            "CancelOrder": self._cancel,
            "CancelOrderBatch": self._cancel_batch,
            "AmendOrder": self._amend,
            "OpenOrders": self._open_orders,
            "ClosedOrders": self._closed_orders,
            "QueryOrders": self._query_orders,
            "TradesHistory": self._trades_history,
            "BalanceEx": self._balance,
            "GetApiKeyInfo": self._key,
            "GetWebSocketsToken": lambda _: {"token": "of-the-stream", "expires": 900},
        }
        app.add_routes(
            [
                web.get("/0/public/Time", public(self._time)),
                web.get("/0/public/AssetPairs", public(self._asset_pairs)),
                web.get("/0/public/Depth", public(self._depth)),
                web.get("/0/public/Ticker", public(self._ticker)),
                web.get("/0/public/OHLC", public(self._ohlc)),
                web.get("/v2", web_socket(self.streams, self._talk)),
            ]
        )
        for name, handler in private.items():
            app.add_routes([web.post(f"/0/private/{name}", self._signed(handler))])
        return app

    def _signed(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The signature is not looked at, the nonce is."""

        async def checked(request: web.Request) -> web.Response:
            body: Body
            if request.path.endswith("Batch"):
                body = await request.json()  # in a form it would be an invalid argument
            else:
                body = {name: str(value) for name, value in (await request.post()).items()}
            if not {"API-Key", "API-Sign"} <= request.headers.keys():
                return answer(error="EAPI:Invalid key")
            if int(body["nonce"]) <= self.nonce:
                self.overtaken += 1
                return answer(error="EAPI:Invalid nonce")
            self.nonce = int(body["nonce"])
            return answered(handler, body)

        return checked

    # --- public ---------------------------------------------------------------------------------

    def _time(self, _: Body) -> Any:
        return {"unixtime": self.venue.now() // NANOS}

    def _asset_pairs(self, _: Body) -> Any:
        pairs = {pair(i.symbol): market(i) for i in self.venue.instruments.values()}
        for symbol in self.market.halted:
            pairs[pair(symbol)]["status"] = "cancel_only"
        return pairs

    def _depth(self, query: Body) -> Any:
        symbol = self._symbols[query["pair"]]
        quote = self.venue.quotes.get(symbol)
        book: dict[str, Any] = {"asks": [], "bids": []}
        if quote is not None:
            seconds = quote.ts // NANOS
            book["bids"] = [[f"{quote.bid:.1f}", f"{quote.bid_size:.3f}", seconds]]
            book["asks"] = [[f"{quote.ask:.1f}", f"{quote.ask_size:.3f}", seconds]]
        return {pair(symbol): book}

    def _ticker(self, query: Body) -> Any:
        quotes = [self.venue.quotes.get(self._symbols[name]) for name in query["pair"].split(",")]
        return {pair(quote.symbol): ticker(quote) for quote in quotes if quote is not None}

    def _ohlc(self, query: Body) -> Any:
        symbol, interval = self._symbols[query["pair"]], int(query["interval"]) * MINUTE
        bars = self.market.candles(symbol, interval)[-KEPT:]
        since = int(query.get("since", 0))
        rows = [ohlc(bar) for bar in bars if bar.start // NANOS > since]
        return {pair(symbol): rows, "last": bars[-1].start // NANOS if bars else 0}

    # --- the account ----------------------------------------------------------------------------

    def _key(self, _: Body) -> Any:
        if self.permissions is None:
            raise KrakenError("EGeneral:Unknown method")
        return {"iban": ACCOUNT, "permissions": self.permissions}

    def _balance(self, _: Body) -> Any:
        held = {symbol.split("/")[0]: quantity for symbol, quantity in self.venue.positions.items()}
        held["USD"] = self.venue.cash
        return {
            COINS[coin]: {"balance": f"{quantity:.10f}", "hold_trade": "0.0000000000"}
            for coin, quantity in held.items()
        }

    def _open_orders(self, body: Body) -> Any:
        return {"open": self._listed(body, is_open=True)}

    def _closed_orders(self, body: Body) -> Any:
        closed = self._listed(body, is_open=False)
        return {"closed": closed, "count": len(closed)}

    def _listed(self, body: Body, *, is_open: bool) -> dict[str, Any]:
        key = body.get("cl_ord_id")
        return {
            txid(placed): order_of(placed)
            for placed in self.venue.orders.values()
            if placed.is_open is is_open and key in (None, placed.order.client_order_id)
        }

    def _query_orders(self, body: Body) -> Any:
        orders = {txid(placed): order_of(placed) for placed in self.venue.orders.values()}
        if body["txid"] not in orders:
            raise KrakenError("EOrder:Unknown order")
        return {body["txid"]: orders[body["txid"]]}

    def _trades_history(self, body: Body) -> Any:
        since, offset = float(body.get("start", 0)), int(body.get("ofs", 0))
        fills = [fill for fill in reversed(self.venue.fills) if fill.ts / NANOS > since]
        page = fills[offset : offset + PAGE]
        return {"trades": {trade_id(fill): trade_of(fill) for fill in page}, "count": len(fills)}

    def _submit(self, body: Body) -> Any:
        self.bodies.append(body)
        now, type_ = self.venue.now(), TYPES[body["ordertype"]]
        prices = [Decimal(body[name]) for name in ("price", "price2") if name in body]
        order = Order(
            body.get("cl_ord_id", ""),
            "",
            self._symbols[body["pair"]],
            Side(body["type"]),
            type_,
            Decimal(body["volume"]),
            OrderPurpose.EXTERNAL,
            now,
            now,
            ZERO,
            limit_price=prices[-1] if "limit" in body["ordertype"] else None,
            stop_price=prices[0] if "stop" in body["ordertype"] else None,
            time_in_force=TimeInForce(body.get("timeinforce", "GTC").lower()),
        )
        try:
            placed = self.venue.submit(order)
        except DuplicateId:
            raise KrakenError("EOrder:Duplicate client order id") from None
        except InsufficientFunds:
            raise KrakenError("EOrder:Insufficient funds") from None
        except Refused as refused:
            raise KrakenError(f"EGeneral:Invalid arguments:{refused}") from None
        return {"txid": [txid(placed)], "descr": {"order": described(order)}}

    def _cancel(self, body: Body) -> Any:
        key = body.get("cl_ord_id")
        for placed in self.venue.open:
            if body.get("txid") == txid(placed) or key == placed.order.client_order_id:
                self.venue.cancel(placed.number)
                return {"count": 1}
        raise KrakenError("EOrder:Unknown order")

    def _cancel_batch(self, body: Body) -> Any:
        """It tells how many it cancelled, and of one that is not open nothing more."""
        named = [placed for placed in self.venue.open if txid(placed) in body["orders"]]
        if len(body["orders"]) > CANCELS_AT_ONCE:
            raise KrakenError("EGeneral:Invalid arguments:orders")
        if not named:
            raise KrakenError("EOrder:Unknown order")
        for placed in named:
            self.venue.cancel(placed.number)
        return {"count": len(named)}

    def _amend(self, body: Body) -> Any:
        """In place: what is not named stays."""
        key = body.get("cl_ord_id")
        for placed in self.venue.open:
            if body.get("txid") == txid(placed) or key == placed.order.client_order_id:
                terms = placed.order.terms
                changed = OrderTerms(
                    Decimal(body.get("order_qty", terms.quantity)),
                    Decimal(body["limit_price"]) if "limit_price" in body else terms.limit_price,
                    Decimal(body["trigger_price"]) if "trigger_price" in body else terms.stop_price,
                )
                try:
                    self.venue.replace(placed.number, changed)
                except Refused as refused:
                    raise KrakenError(f"EGeneral:Invalid arguments:{refused}") from None
                return {"amend_id": "TJSMEH-AA67V-YUSQ6O"}
        raise KrakenError("EOrder:Unknown order")

    # --- the stream -----------------------------------------------------------------------------

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json({"channel": "status", "type": "update", "data": [{}]})
        market = self.market.streams
        async with (
            speaking(self.streams, socket) as start,
            speaking(market, socket) as start_market,
        ):
            async for message in socket:
                asked = json.loads(message.data)
                if asked["method"] != "subscribe":
                    await socket.send_json({"method": "pong", "req_id": asked.get("req_id")})
                    continue
                if asked["params"]["channel"] in ("ticker", "ohlc"):
                    await self._confirm(socket, asked)
                    start_market()
                    continue
                assert asked["params"]["channel"] == "executions"
                assert asked["params"]["token"] == "of-the-stream"
                if self.refusal:
                    refused = {"method": "subscribe", "success": False, "error": self.refusal}
                    await socket.send_json(refused)
                    self.refused.put_nowait(self.refusal)
                    continue
                result = {"channel": "executions", "snap_trades": True}
                await socket.send_json({"method": "subscribe", "result": result, "success": True})
                old = [executed(change, 0) for change in self._old_trades()]
                await socket.send_json({"channel": "executions", "type": "snapshot", "data": old})
                start()

    async def _confirm(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        """Each symbol by itself, and then what is known of it."""
        channel = asked["params"]["channel"]
        for symbol in asked["params"]["symbol"]:
            told: dict[str, Any] = {"method": "subscribe", "req_id": asked["req_id"]}
            if symbol not in self.venue.instruments:
                problem = f"Currency pair not supported {symbol}"
                await socket.send_json(told | {"success": False, "error": problem})
                continue
            result = {"channel": channel, "symbol": symbol, "snapshot": True}
            await socket.send_json(told | {"success": True, "result": result})
            if channel == "ohlc":
                old = self.market.candles(symbol)[-KEPT:]
                await socket.send_str(candles_said("snapshot", old, self.venue.now()))

    def tell_quote(self, quote: Quote) -> None:
        self.venue.quotes[quote.symbol] = quote
        row = {"symbol": quote.symbol, "last": quote.bid, "volume": 2158.3, "vwap": quote.bid}
        row |= {"bid": quote.bid, "bid_qty": quote.bid_size}
        row |= {"ask": quote.ask, "ask_qty": quote.ask_size}
        said = {"channel": "ticker", "type": "update", "data": [row]}
        self.market.streams.say(json.dumps(said))

    def tell_candle(self, bar: Bar, *, closed: bool) -> None:
        """It says nothing of being closed."""
        self.market.streams.say(candles_said("update", [bar], self.venue.now()))

    def _old_trades(self) -> list[Change]:
        orders = self.venue.orders.values()
        return [Change("filled", placed, fill) for placed in orders for fill in placed.fills]

    def _tell(self, change: Change) -> None:
        """What became of an order, and its trade, are one message."""
        data = [moved(change, self.venue.now())]
        if change.fill is not None:
            data.append(executed(change, self.venue.now()))
        self.streams.say(json.dumps({"channel": "executions", "type": "update", "data": data}))


def kind_of(request: web.Request) -> str:
    return KINDS.get(request.path.rpartition("/")[2], "other")


def answer(result: Any = None, error: str = "") -> web.Response:
    return web.json_response({"error": [error]} if error else {"error": [], "result": result})


def answered(handler: Handler, body: Body) -> web.Response:
    try:
        return answer(handler(body))
    except KrakenError as error:
        return answer(error=str(error))


def public(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def asked(request: web.Request) -> web.Response:
        return answered(handler, dict(request.query))

    return asked


def refusal(status: int) -> web.Response:
    match status:
        case 401:
            return answer(error="EAPI:Invalid key")
        case 403:
            return answer(error="EGeneral:Permission denied")
        case _:
            return web.Response(status=status, text="error code: 1015")


# --- shapes --------------------------------------------------------------------------------------


def pair(symbol: str) -> str:
    base, quote = symbol.split("/")
    return COINS[base] + COINS[quote]


def altname(symbol: str) -> str:
    return symbol.replace("BTC", "XBT").replace("/", "")


def txid(placed: Placed) -> str:
    return f"OTLAS3-RRHUF-{placed.number:06}"


def trade_id(fill: Fill) -> str:
    return f"TT5UC3-GOIRW-{fill.execution_id}"


def market(instrument: Instrument) -> dict[str, Any]:
    base, quote = instrument.symbol.split("/")
    return {
        "altname": altname(instrument.symbol),
        "wsname": instrument.symbol.replace("BTC", "XBT"),
        "aclass_base": "currency",
        "base": COINS[base],
        "aclass_quote": "currency",
        "quote": COINS[quote],
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": -int(instrument.tick.as_tuple().exponent),
        "lot_decimals": -int(instrument.lot.as_tuple().exponent),
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "ordermin": f"{max(instrument.lot, instrument.min_quantity)}",
        "costmin": "0.5",
        "tick_size": f"{instrument.tick}",
        "status": "online",
    }


def ticker(quote: Quote) -> dict[str, Any]:
    return {
        "a": [f"{quote.ask:.5f}", "1", f"{quote.ask_size:.3f}"],
        "b": [f"{quote.bid:.5f}", "1", f"{quote.bid_size:.3f}"],
        "c": [f"{quote.bid:.5f}", "0.00067643"],
        "v": ["4083.67", "4412.73"],
        "p": ["0.08000", "0.08000"],
        "t": [34619, 38907],
        "l": ["0.07000", "0.07000"],
        "h": ["0.09000", "0.09000"],
        "o": "0.08000",
    }


def ohlc(bar: Bar) -> list[Any]:
    prices = [f"{price:.5f}" for price in (bar.open, bar.high, bar.low, bar.close)]
    return [bar.start // NANOS, *prices, prices[-1], f"{bar.volume:.8f}", 5]


def candles_said(kind: str, bars: list[Bar], now: int) -> str:
    data = [
        {
            "symbol": bar.symbol,
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "trades": 12,
            "volume": bar.volume,
            "vwap": bar.close,
            "interval_begin": f"{utc(bar.start):%Y-%m-%dT%H:%M:%S}.000000000Z",
            "interval": 1,
            "timestamp": f"{utc(bar.ts):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        for bar in bars
    ]
    timestamp = f"{utc(now):%Y-%m-%dT%H:%M:%S.%f}123Z"
    return json.dumps({"channel": "ohlc", "type": kind, "timestamp": timestamp, "data": data})


def described(order: Order) -> str:
    side, quantity, symbol = order.side, order.quantity, altname(order.symbol)
    prices = " -> limit ".join(f"{p}" for p in (order.stop_price, order.limit_price) if p)
    kind = NAMES[order.type].replace("-limit", "").replace("-", " ")
    return f"{side} {quantity} {symbol} @ {kind} {prices}".strip()


def order_of(placed: Placed) -> dict[str, Any]:
    order = placed.order
    prices = [f"{price}" for price in (order.stop_price, order.limit_price) if price is not None]
    first, second = [*prices, "0", "0"][:2]
    told = {
        "refid": None,
        "userref": None,
        "status": _status(order),
        "opentm": order.created_ts / NANOS,
        "starttm": 0,
        "expiretm": 0,
        "descr": {
            "pair": altname(order.symbol),
            "aclass": "forex",
            "type": str(order.side),
            "ordertype": NAMES[order.type],
            "price": first,
            "price2": second,
            "leverage": "none",
            "order": described(order),
            "close": "",
        },
        "vol": f"{order.quantity:.8f}",
        "vol_exec": f"{order.filled:.8f}",
        "cost": f"{order.filled * (order.avg_price or ZERO):.5f}",
        "fee": "0.00000",
        "price": f"{order.avg_price or ZERO:.5f}",
        "stopprice": "0.00000",
        "limitprice": "0.00000",
        "misc": "",
        "oflags": "fciq",
        "trades": [trade_id(fill) for fill in placed.fills],
    }
    if order.client_order_id:
        told["cl_ord_id"] = order.client_order_id
    return told | ({} if placed.is_open else {"closetm": order.updated_ts / NANOS, "reason": None})


def trade_of(fill: Fill) -> dict[str, Any]:
    return {
        "ordertxid": f"OTLAS3-RRHUF-{int(fill.venue_order_id):06}",
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": pair(fill.symbol),
        "aclass": "forex",
        "time": fill.ts / NANOS,
        "type": str(fill.side),
        "ordertype": "limit",
        "price": f"{fill.price:.5f}",
        "cost": f"{fill.price * fill.quantity:.5f}",
        "fee": f"{fill.commission:.5f}",
        "vol": f"{fill.quantity:.8f}",
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": int(fill.execution_id),
        "maker": fill.liquidity is Liquidity.MAKER,
    }


def executed(change: Change, now: int) -> dict[str, Any]:
    fill = change.fill
    assert fill is not None
    return moved(change, now) | {
        "exec_type": "trade",
        "exec_id": trade_id(fill),
        "trade_id": int(fill.execution_id),
        "symbol": fill.symbol,
        "side": str(fill.side),
        "last_qty": float(fill.quantity),
        "last_price": float(fill.price),
        "liquidity_ind": fill.liquidity[0],
        "cost": float(fill.quantity * fill.price),
        "order_type": NAMES[change.placed.order.type],
        "fees": [{"asset": "USD", "qty": float(fill.commission)}],
        "timestamp": f"{utc(fill.ts):%Y-%m-%dT%H:%M:%S.%fZ}",
    }


def moved(change: Change, now: int) -> dict[str, Any]:
    """Only what is new tells all of an order; what follows tells what changed."""
    order = change.placed.order
    told: dict[str, Any] = {
        "order_id": txid(change.placed),
        "order_userref": 0,
        "exec_type": _ws_status(order),
        "order_status": _ws_status(order),
        "cum_qty": float(order.filled),
        "cum_cost": float(order.filled * (order.avg_price or ZERO)),
        "avg_price": float(order.avg_price or ZERO),
        "fee_usd_equiv": 0.0,
        "timestamp": f"{utc(now):%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    if order.client_order_id:
        told["cl_ord_id"] = order.client_order_id
    if change.what == "accepted":
        told |= {
            "symbol": order.symbol,
            "side": str(order.side),
            "order_type": NAMES[order.type],
            "order_qty": float(order.quantity),
            "limit_price": float(order.limit_price or ZERO),
            "time_in_force": order.time_in_force.upper(),
        }
    return told


def _status(order: Order) -> str:
    match order.state:
        case OrderState.ACCEPTED | OrderState.PARTIALLY_FILLED:
            return "open"
        case OrderState.FILLED:
            return "closed"
        case state:
            return str(state)


def _ws_status(order: Order) -> str:
    return "new" if order.state is OrderState.ACCEPTED else str(order.state)
