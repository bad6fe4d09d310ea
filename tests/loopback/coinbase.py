"""A loopback server that speaks Coinbase's Advanced Trade API: REST version 3, and WebSocket."""

import json
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
    Order,
    OrderPurpose,
    OrderState,
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

ROOT = "/api/v3/brokerage"
PAGE = 50
"""Executions in one answer, the newest first."""
PORTFOLIO = "2ef0a5c4-9d2c-5f9a-8f0f-6b2f0a8e6f11"
KINDS = {
    ("POST", "/orders"): "submit",
    ("POST", "/orders/batch_cancel"): "cancel",
    ("GET", "/orders/historical/fills"): "fills",
    ("GET", "/accounts"): "positions",
    ("GET", "/market/product_book"): "quote",
    ("GET", "/market/products"): "markets",
    ("GET", "/"): "stream",
}
GRANULARITIES = {
    "ONE_MINUTE": MINUTE,
    "FIVE_MINUTE": 5 * MINUTE,
    "FIFTEEN_MINUTE": 15 * MINUTE,
    "ONE_HOUR": 60 * MINUTE,
    "ONE_DAY": DAY,
}
MOST_CANDLES = 350
WINDOW_S = 30
CONFIGURATIONS = {
    "market_market_ioc": (OrderType.MARKET, TimeInForce.GTC),
    "limit_limit_gtc": (OrderType.LIMIT, TimeInForce.GTC),
    "sor_limit_ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "limit_limit_fok": (OrderType.LIMIT, TimeInForce.FOK),
    "stop_limit_stop_limit_gtc": (OrderType.STOP_LIMIT, TimeInForce.GTC),
    "trigger_bracket_gtd": (OrderType.UNKNOWN, TimeInForce.UNKNOWN),
}
NAMES = {meant: name for name, meant in CONFIGURATIONS.items()}
LASTS = {
    TimeInForce.GTC: "GOOD_UNTIL_CANCELLED",
    TimeInForce.IOC: "IMMEDIATE_OR_CANCEL",
    TimeInForce.FOK: "FILL_OR_KILL",
    TimeInForce.UNKNOWN: "GOOD_UNTIL_DATE_TIME",
}
STATUS = {
    OrderState.ACCEPTED: "OPEN",
    OrderState.PARTIALLY_FILLED: "OPEN",
    OrderState.FILLED: "FILLED",
    OrderState.CANCELED: "CANCELLED",
    OrderState.EXPIRED: "EXPIRED",
    OrderState.REJECTED: "FAILED",
}


class Coinbase:
    """One account in the coins of `venue`'s instruments, named as ccxt does (BTC/USD). `bodies` are
    those of the submits that came; `can_trade` is what the API key may do."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.market = Market()
        self._sequence = 0
        self._trades = 0
        self._last_trades: list[dict[str, Any]] = []
        self._traded: dict[str, int] = {}
        self.bodies: list[dict[str, Any]] = []
        self.can_trade = True
        venue.listeners.append(self._tell)

    def app(self) -> web.Application:
        app = web.Application(
            middlewares=[middleware(self.faults, kind_of, refusal), signed(self.venue)]
        )
        app.add_routes(
            [
                web.get(f"{ROOT}/time", self._time),
                web.get(f"{ROOT}/market/products", self._products),
                web.get(f"{ROOT}/market/product_book", self._book),
                web.get(f"{ROOT}/market/products/{{name}}/ticker", self._ticker),
                web.get(f"{ROOT}/market/products/{{name}}/candles", self._candles),
                web.get(f"{ROOT}/transaction_summary", self._fees),
                web.get(f"{ROOT}/accounts", self._accounts),
                web.get(f"{ROOT}/key_permissions", self._key),
                web.post(f"{ROOT}/orders", self._submit),
                web.post(f"{ROOT}/orders/batch_cancel", self._cancel),
                web.get(f"{ROOT}/orders/historical/batch", self._orders),
                web.get(f"{ROOT}/orders/historical/fills", self._fills),
                web.get(f"{ROOT}/orders/historical/{{order_id}}", self._order),
                web.get("/", web_socket(self.streams, self._talk)),
            ]
        )
        return app

    # --- public ---------------------------------------------------------------------------------

    async def _time(self, _: web.Request) -> web.Response:
        now = self.venue.now()
        told = {"iso": time(now), "epochSeconds": f"{now // 10**9}"}
        return web.json_response(told | {"epochMillis": f"{now // 10**6}"})

    async def _products(self, request: web.Request) -> web.Response:
        is_spot = request.query.get("product_type", "SPOT") == "SPOT"
        instruments = self.venue.instruments.values() if is_spot else ()
        products = [product(instrument) for instrument in instruments]
        for one in products:
            one["trading_disabled"] = one["product_id"].replace("-", "/") in self.market.halted
        return web.json_response({"products": products, "num_products": len(products)})

    async def _book(self, request: web.Request) -> web.Response:
        name = request.query["product_id"]
        quote = self.venue.quotes.get(name.replace("-", "/"))
        book: dict[str, Any] = {"product_id": name, "bids": [], "asks": []}
        if quote is not None:
            book["bids"] = [{"price": f"{quote.bid}", "size": f"{quote.bid_size}"}]
            book["asks"] = [{"price": f"{quote.ask}", "size": f"{quote.ask_size}"}]
            book["time"] = time(quote.ts)
        return web.json_response({"pricebook": book})

    async def _ticker(self, request: web.Request) -> web.Response:
        """Without sizes, and with the time of the last trade."""
        name = request.match_info["name"]
        symbol = name.replace("-", "/")
        quote = self.venue.quotes.get(symbol)
        if quote is None:
            return web.json_response({"trades": [], "best_bid": "", "best_ask": ""})
        traded = time(self._traded.get(symbol, quote.ts))
        trade = {"trade_id": "1", "product_id": name, "price": "1", "size": "1", "time": traded}
        best = {"best_bid": f"{quote.bid}", "best_ask": f"{quote.ask}"}
        return web.json_response({"trades": [trade | {"side": "BUY", "bid": "", "ask": ""}]} | best)

    async def _candles(self, request: web.Request) -> web.Response:
        """The newest first."""
        query, symbol = request.query, request.match_info["name"].replace("-", "/")
        start, end = int(query["start"]) * NANOS, int(query["end"]) * NANOS
        interval = GRANULARITIES[query["granularity"]]
        if (end - start) // interval > MOST_CANDLES:
            return refused(400, "INVALID_ARGUMENT")
        bars = self.market.candles(symbol, interval)
        rows = [candle(bar) for bar in reversed(bars) if start <= bar.start <= end]
        return web.json_response({"candles": rows})

    # --- the account ----------------------------------------------------------------------------

    async def _fees(self, _: web.Request) -> web.Response:
        tier = {"maker_fee_rate": "0.006", "taker_fee_rate": "0.012"}
        return web.json_response({"total_volume": 0, "fee_tier": tier})

    async def _key(self, _: web.Request) -> web.Response:
        portfolio = {"portfolio_uuid": PORTFOLIO, "portfolio_type": "DEFAULT"}
        may = {"can_view": True, "can_trade": self.can_trade, "can_transfer": False}
        return web.json_response(may | portfolio)

    async def _accounts(self, _: web.Request) -> web.Response:
        held = {symbol.split("/")[0]: quantity for symbol, quantity in self.venue.positions.items()}
        held["USD"] = self.venue.cash
        accounts = [
            {
                "uuid": f"8bfc20d7-f7c6-4422-bf07-{number:012}",
                "name": f"{coin} Wallet",
                "currency": coin,
                "available_balance": {"value": f"{quantity:.8f}", "currency": coin},
                "default": True,
                "active": True,
                "type": "ACCOUNT_TYPE_FIAT" if coin == "USD" else "ACCOUNT_TYPE_CRYPTO",
                "ready": True,
                "hold": {"value": "0.00000000", "currency": coin},
            }
            for number, (coin, quantity) in enumerate(held.items())
        ]
        return web.json_response({"accounts": accounts, "has_next": False, "cursor": ""})

    async def _orders(self, request: web.Request) -> web.Response:
        wanted, since = request.query.get("order_status"), request.query.get("start_date", "")
        told = [order_of(placed) for placed in reversed(self.venue.orders.values())]
        listed = [order for order in told if wanted in (None, order["status"])]
        listed = [order for order in listed if order["created_time"] >= since]
        start, size = int(request.query.get("cursor", 0)), int(request.query["limit"])
        more = len(listed) > start + size
        answer = {"has_next": more, "cursor": str(start + size) if more else ""}
        return web.json_response({"orders": listed[start : start + size], **answer})

    async def _order(self, request: web.Request) -> web.Response:
        for placed in self.venue.orders.values():
            if order_id(placed) == request.match_info["order_id"]:
                return web.json_response({"order": order_of(placed)})
        return refused(404, "NOT_FOUND")

    async def _fills(self, request: web.Request) -> web.Response:
        wanted, since = (
            request.query.getall("order_ids", []),
            request.query.get("start_sequence_timestamp", ""),
        )
        told = [fill_of(fill) for fill in reversed(self.venue.fills)]
        told = [fill for fill in told if fill["sequence_timestamp"] >= since]
        told = [fill for fill in told if not wanted or fill["order_id"] in wanted]
        start = int(request.query.get("cursor", 0))
        more = len(told) > start + PAGE
        cursor = str(start + PAGE) if more else ""
        return web.json_response({"fills": told[start : start + PAGE], "cursor": cursor})

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        ((name, terms),) = body["order_configuration"].items()
        type_, time_in_force = CONFIGURATIONS[name]
        now = self.venue.now()
        order = Order(
            body["client_order_id"],
            "",
            body["product_id"].replace("-", "/"),
            Side(body["side"].lower()),
            type_,
            Decimal(terms["base_size"]),
            OrderPurpose.EXTERNAL,
            now,
            now,
            ZERO,
            limit_price=_price(terms, "limit_price"),
            stop_price=_price(terms, "stop_price"),
            time_in_force=time_in_force,
        )
        try:
            placed = self.venue.submit(order)
        except DuplicateId:
            placed = self.venue.find(order.client_order_id)
            assert placed is not None
        except InsufficientFunds:
            return unsuccessful("INSUFFICIENT_FUND", "Insufficient balance in source account")
        except Refused as reason:
            return unsuccessful("INVALID_ORDER_CONFIG", str(reason))
        answer = {
            "order_id": order_id(placed),
            "product_id": body["product_id"],
            "side": body["side"],
            "client_order_id": body["client_order_id"],
        }
        return web.json_response({"success": True, "success_response": answer})

    async def _cancel(self, request: web.Request) -> web.Response:
        results: list[dict[str, Any]] = []
        for asked in (await request.json())["order_ids"]:
            found = [placed for placed in self.venue.open if order_id(placed) == asked]
            for placed in found:
                self.venue.cancel(placed.number)
            reason = "UNKNOWN_CANCEL_FAILURE_REASON" if found else "UNKNOWN_CANCEL_ORDER"
            results.append({"success": bool(found), "failure_reason": reason, "order_id": asked})
        return web.json_response({"results": results})

    # --- the stream -----------------------------------------------------------------------------

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        market = self.market.streams
        async with (
            speaking(self.streams, socket) as start,
            speaking(market, socket) as start_market,
        ):
            async for message in socket:
                asked = json.loads(message.data)
                if asked["channel"] in ("ticker", "market_trades", "heartbeats"):
                    assert asked["type"] == "subscribe"
                    assert {
                        n.replace("-", "/") for n in asked["product_ids"]
                    } <= self.venue.instruments.keys()
                    subscribed = {"subscriptions": {asked["channel"]: asked["product_ids"]}}
                    await socket.send_str(self._said("subscriptions", subscribed))
                    start_market()
                    continue
                assert (asked["type"], asked["channel"]) == ("subscribe", "user")
                assert {"api_key", "timestamp", "signature"} <= asked.keys()
                snapshot = [moved(placed) for placed in self.venue.open]
                await socket.send_str(self._said("user", {"type": "snapshot", "orders": snapshot}))
                await socket.send_str(self._said("subscriptions", {"subscriptions": {"user": []}}))
                start()

    def tell_quote(self, quote: Quote) -> None:
        """As it is when something is traded."""
        self.venue.quotes[quote.symbol] = quote
        self._traded[quote.symbol] = quote.ts
        row = {
            "type": "ticker",
            "product_id": quote.symbol.replace("/", "-"),
            "price": f"{quote.bid}",
            "best_bid": f"{quote.bid}",
            "best_bid_quantity": f"{quote.bid_size}",
            "best_ask": f"{quote.ask}",
            "best_ask_quantity": f"{quote.ask_size}",
        }
        self.market.streams.say(self._said("ticker", {"type": "update", "tickers": [row]}))

    def tell_trades(
        self, symbol: str, *trades: tuple[int, float, float], kind: str = "update"
    ) -> None:
        """Each with its time (ns), price and size, the oldest first; told the newest first."""
        rows: list[dict[str, Any]] = []
        for ts, price, size in trades:
            self._trades += 1
            self._traded[symbol] = ts
            rows.insert(
                0,
                {
                    "trade_id": f"{self._trades:09}",
                    "product_id": symbol.replace("/", "-"),
                    "price": f"{price}",
                    "size": f"{size}",
                    "side": "BUY",
                    "time": time(ts),
                },
            )
        self._last_trades = rows
        self.market.streams.say(self._said("market_trades", {"type": kind, "trades": rows}))

    def repeat(self) -> None:
        """The last trades, as an update."""
        again = {"type": "update", "trades": self._last_trades}
        self.market.streams.say(self._said("market_trades", again))

    def skip(self) -> None:
        """A message gets lost."""
        self._sequence += 1

    def _tell(self, change: Change) -> None:
        self.streams.say(self._said("user", {"type": "update", "orders": [moved(change.placed)]}))

    def _said(self, channel: str, event: dict[str, Any]) -> str:
        self._sequence += 1
        return json.dumps(
            {
                "channel": channel,
                "client_id": "",
                "timestamp": time(self.venue.now()),
                "sequence_num": self._sequence,
                "events": [event],
            }
        )


def signed(venue: Venue) -> Any:
    """Takes what is signed now; the signature itself is not looked at."""

    @web.middleware
    async def checked(request: web.Request, handler: Any) -> web.StreamResponse:
        open_to_all = (f"{ROOT}/market", f"{ROOT}/time")
        is_public = request.path == "/" or request.path.startswith(open_to_all)
        has = {"CB-ACCESS-KEY", "CB-ACCESS-SIGN"} <= request.headers.keys()
        said = int(request.headers.get("CB-ACCESS-TIMESTAMP", 0))
        is_now = abs(said - venue.now() // NANOS) <= WINDOW_S
        return await handler(request) if is_public or (has and is_now) else refusal(401)

    return checked


def kind_of(request: web.Request) -> str:
    path = request.path.removeprefix(ROOT)
    if path.endswith(("/ticker", "/candles")):
        return "quotes" if path.endswith("/ticker") else "bars"
    if path.startswith("/orders/historical/") and not path.endswith("/fills"):
        return "orders" if request.query.get("order_status") == "OPEN" else "order"
    return KINDS.get((request.method, path), "other")


def refused(status: int, error: str) -> web.Response:
    said = {"error": error, "error_details": "", "message": ""}
    return web.json_response(said, status=status)


def refusal(status: int) -> web.Response:
    match status:
        case 403:
            return refused(403, "PERMISSION_DENIED")
        case 429:
            return refused(429, "rate_limit_exceeded")
        case _:
            return web.Response(status=status, text="Unauthorized\n")


def unsuccessful(error: str, message: str) -> web.Response:
    said = {"error": error, "message": message, "error_details": ""}
    return web.json_response({"success": False, "error_response": said})


# --- shapes --------------------------------------------------------------------------------------


def time(ts: int) -> str:
    return f"{utc(ts):%Y-%m-%dT%H:%M:%S.%fZ}"


def order_id(placed: Placed) -> str:
    return f"0000-000000-{placed.number:06}"


def product(instrument: Instrument) -> dict[str, Any]:
    base, quote = instrument.symbol.split("/")
    return {
        "product_id": f"{base}-{quote}",
        "price": "100",
        "base_increment": f"{instrument.lot:f}",
        "quote_increment": "0.01",
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": f"{max(instrument.lot, instrument.min_quantity):f}",
        "base_max_size": "3400",
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "product_type": "SPOT",
        "quote_currency_id": quote,
        "base_currency_id": base,
        "alias": "",
        "price_increment": f"{instrument.tick:f}",
    }


def candle(bar: Bar) -> dict[str, Any]:
    return {
        "start": f"{bar.start // NANOS}",
        "low": f"{bar.low}",
        "high": f"{bar.high}",
        "open": f"{bar.open}",
        "close": f"{bar.close}",
        "volume": f"{bar.volume}",
    }


def order_of(placed: Placed) -> dict[str, Any]:
    order = placed.order
    terms = {"base_size": f"{order.quantity:f}"}
    if order.limit_price is not None:
        terms["limit_price"] = f"{order.limit_price:f}"
    if order.stop_price is not None:
        terms |= {"stop_price": f"{order.stop_price:f}", "stop_direction": "STOP_DIRECTION_STOP_UP"}
    return {
        "order_id": order_id(placed),
        "product_id": order.symbol.replace("/", "-"),
        "order_configuration": {NAMES[order.type, order.time_in_force]: terms},
        "side": order.side.upper(),
        "client_order_id": order.client_order_id,
        "status": STATUS[order.state],
        "time_in_force": LASTS[order.time_in_force],
        "created_time": time(order.created_ts),
        "filled_size": f"{order.filled:f}",
        "average_filled_price": f"{order.avg_price or ZERO:f}",
        "number_of_fills": str(len(placed.fills)),
        "filled_value": f"{order.filled * (order.avg_price or ZERO):f}",
        "size_in_quote": False,
        "total_fees": "0",
        "order_type": "BRACKET" if order.type is OrderType.UNKNOWN else order.type.upper(),
        "product_type": "SPOT",
    }


def fill_of(fill: Fill) -> dict[str, Any]:
    return {
        "entry_id": f"22222-2222222-{fill.execution_id}",
        "trade_id": f"1111-11111-{fill.execution_id}",
        "order_id": f"0000-000000-{int(fill.venue_order_id):06}",
        "trade_time": time(fill.ts),
        "trade_type": "FILL",
        "price": f"{fill.price:f}",
        "size": f"{fill.quantity:f}",
        "commission": f"{fill.commission:f}",
        "product_id": fill.symbol.replace("/", "-"),
        "sequence_timestamp": time(fill.ts),
        "liquidity_indicator": fill.liquidity.upper(),
        "size_in_quote": False,
        "side": fill.side.upper(),
    }


def moved(placed: Placed) -> dict[str, Any]:
    order = placed.order
    return {
        "order_id": order_id(placed),
        "client_order_id": order.client_order_id,
        "cumulative_quantity": f"{order.filled:f}",
        "leaves_quantity": f"{order.leaves:f}",
        "avg_price": f"{order.avg_price or ZERO:f}",
        "total_fees": "0",
        "status": STATUS[order.state],
        "product_id": order.symbol.replace("/", "-"),
        "creation_time": time(order.created_ts),
        "order_side": order.side.upper(),
        "order_type": order.type.replace("_", " ").title(),
        "cancel_reason": "",
        "reject_reason": order.reason,
        "product_type": "SPOT",
        "time_in_force": LASTS[order.time_in_force],
    }


def _price(terms: dict[str, str], name: str) -> Decimal | None:
    return Decimal(terms[name]) if name in terms else None
