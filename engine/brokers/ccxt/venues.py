"""What differs from exchange to exchange, beyond what ccxt makes the same."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct
from pydantic import SecretStr

from engine.core.model import NANOS, Capabilities, Idempotency, OrderType, TimeInForce


class Access(Struct, frozen=True):
    """The way to an account, and to the market data, which need no keys. `paper` takes the
    exchange's own test network; `url` takes the place of scheme, host and port of all its
    addresses, as `http://127.0.0.1:8080`; `timeout_s` is how long an answer may take."""

    api_key: SecretStr = SecretStr("")
    secret: SecretStr = SecretStr("")
    paper: bool = True
    url: str = ""
    timeout_s: float = 5.0


class Said(Struct, frozen=True):
    """What an exchange says of an account: the `number` that it has there, and whether the API key
    may make orders; None where it does not say."""

    number: str = ""
    may_trade: bool | None = None


class BatchCancel(Struct, frozen=True):
    """The `call` of ccxt that cancels up to `most` orders, whose ids go in `field`. It `tells_each`
    of them, or only of how many of them it took the cancel."""

    call: str
    field: str
    most: int
    tells_each: bool


class Venue(Struct, frozen=True):
    """One exchange.

    `rate` is in ccxt's weights a second, of which `burst` may come at once, and in any `window_s`
    seconds where it counts so, and `reserved` are kept for cancels; `options` are those of ccxt.
    `pages` says how executions come where there are many: by their time, by an offset, or by a
    cursor that ccxt follows; where `by_symbol`, of one symbol after another. Where orders cannot be
    asked for by our name, an order whose id there is not known is looked for in what the calls
    `looked_for_in` answer, which weigh `look_cost` in all. `key` is what ccxt wants our name to be
    called in a new order, `named` whether a cancel can tell it. `market_params` go with a market
    order of an amount. Where an exchange does not stream executions (`streams_fills`), they are
    asked for when it tells that an order has filled. `counts_seconds` says that its clock is told
    in whole seconds. `data_rate` and `data_burst` are those of the market data, beside the
    account's; `market_params_of` symbols asks for the markets of these alone. `said` reads what is
    answered about the API key by `key_call`, or with what the account holds. With
    `commission_in_base` the commission of a buy is taken from what is bought; with
    `stops_have_limits` a stop goes there as `engine.brokers.stops` says. `batch_cancel` says how
    several orders are cancelled at once.
    """

    capabilities: Capabilities
    said: Callable[[Mapping[str, Any]], Said]
    rate: float
    burst: float
    reserved: float
    window_s: float = 0
    options: Mapping[str, Any] = {}
    has_currencies: bool = True
    commission_in_base: bool = False
    stops_have_limits: bool = False
    pages: Literal["time", "offset", "cursor"] = "time"
    by_symbol: bool = False
    looked_for_in: tuple[str, ...] = ()
    look_cost: float = 1
    key: str = "clientOrderId"
    named: bool = True
    market_params: Callable[[str], Mapping[str, Any]] = lambda _: {}
    streams_fills: bool = True
    counts_seconds: bool = False
    data_rate: float = 1
    data_burst: float = 10
    market_params_of: Callable[[Iterable[str]], Mapping[str, Any]] = lambda _: {}
    key_call: str = ""
    batch_cancel: BatchCancel | None = None


def _listed(symbols: Iterable[str]) -> Mapping[str, Any]:
    """Binance lists some thousand markets, and whoever asks for one that it does not have gets
    none: https://developers.binance.com/docs/binance-spot-api-docs/rest-api (exchangeInfo)."""
    names = sorted(symbol.replace("/", "") for symbol in symbols)
    return {"symbols": json.dumps(names, separators=(",", ":"))} if names else {}


def _said_by_kraken(answer: Mapping[str, Any]) -> Said:
    """https://docs.kraken.com/api-reference/account-data/get-api-key-info"""
    key = answer["result"]
    return Said(str(key.get("iban") or ""), "modify-trades" in key["permissions"])


def _spot(*order_types: OrderType, replace: bool = False) -> Capabilities:
    """Of no exchange it is known that it refuses a client order id for ever.

    `replace` is for those that change an order in place. What ccxt makes of it at Binance is a
    cancel and a new order, of which the second may fail after the first, under an id that it can
    have only once more; Coinbase changes limit orders alone, and answers before it has.
    """
    return Capabilities(
        order_types=order_types,
        replace=replace,
        times_in_force=(TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK),
        fractional=True,
        client_order_ids=True,
        idempotency=Idempotency.OPEN_ONLY,
        visibility_lag=10 * NANOS,
    )


VENUES = {
    # A client order id is unique among open orders: the same one "can be accepted only when the
    # previous one is filled". 6,000 weights a minute, five to one of ccxt's, of which the market
    # data have a fifth; 100 orders in 10 s.
    "binance": Venue(
        _spot(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
        said=lambda held: Said(str(held.get("uid") or ""), held.get("canTrade")),
        rate=14,
        burst=80,
        reserved=20,
        data_rate=4,
        data_burst=20,
        market_params_of=_listed,
        options={
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "adjustForTimeDifference": True,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
        has_currencies=False,
        commission_in_base=True,
        by_symbol=True,
    ),
    # Uniqueness of a client order id "is verified across open orders". A counter that each call
    # raises (ccxt has three to one), down by one in 3 s for an account of the lowest tier, and
    # never above 15; orders and cancels do not count there. Market data are counted by the address
    # that asks: one request a second.
    "kraken": Venue(
        _spot(
            OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, replace=True
        ),
        said=_said_by_kraken,
        key_call="privatePostGetApiKeyInfo",
        rate=1,
        burst=45,
        reserved=3,
        batch_cancel=BatchCancel("privatePostCancelOrderBatch", "orders", 50, tells_each=False),
        has_currencies=False,
        pages="offset",
        looked_for_in=("fetch_open_orders", "fetch_closed_orders"),
        look_cost=6,
        counts_seconds=True,
    ),
    # "If the ID is not unique, the order will not be created and the order corresponding with that
    # ID will be returned instead": for how long is not said. 30 requests a second, and beside them
    # 10 for market data without keys; ccxt counts one of these for three. Without its own words it
    # would turn the amount of a market order to buy into money to spend.
    "coinbase": Venue(
        _spot(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
        stops_have_limits=True,
        said=lambda key: Said(str(key.get("portfolio_uuid") or ""), key.get("can_trade")),
        key_call="v3PrivateGetBrokerageKeyPermissions",
        rate=29,
        burst=30,
        reserved=10,
        window_s=1.1,
        batch_cancel=BatchCancel(
            "v3PrivatePostBrokerageOrdersBatchCancel", "order_ids", 100, tells_each=True
        ),
        data_rate=27,
        data_burst=30,
        options={
            "adjustForTimeDifference": True,
            "createMarketBuyOrderRequiresPrice": False,
            "fetchBalance": "v3PrivateGetBrokerageAccounts",  # the other knows of nothing held
            "fetchTime": "v3PublicGetBrokerageTime",  # where everything else is asked
        },
        has_currencies=False,
        pages="cursor",
        looked_for_in=("fetch_orders",),
        key="client_order_id",
        named=False,
        market_params=lambda amount: {
            "order_configuration": {"market_market_ioc": {"base_size": amount}}
        },
        streams_fills=False,
        counts_seconds=True,
    ),
}
