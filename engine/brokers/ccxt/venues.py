"""What differs from exchange to exchange, beyond what ccxt makes the same."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from pydantic import SecretStr

from engine.core.model import NANOS, Capabilities, Idempotency, OrderType, TimeInForce


class Access(Struct, frozen=True):
    """The way to an account. `paper` takes the exchange's own test network; `url` takes the place
    of scheme, host and port of all its addresses, as `http://127.0.0.1:8080`; `timeout_s` is how
    long an answer may take."""

    api_key: SecretStr
    secret: SecretStr
    paper: bool = True
    url: str = ""
    timeout_s: float = 5.0


class Venue(Struct, frozen=True):
    """One exchange.

    `rate` is in ccxt's weights a second, of which `burst` may come at once and `reserved` are kept
    for cancels; `options` are those of ccxt. `pages` says how executions come where there are many:
    by their time, by an offset, or by a cursor that ccxt follows; where `by_symbol`, of one symbol
    after another. Where orders cannot be asked for by our name, an order whose id there is not
    known is looked for in what the calls `looked_for_in` answer. `key` is what ccxt wants our name
    to be called in a new order, `named` whether a cancel can tell it. `market_params` go with a
    market order of an amount. Where an exchange does not stream executions (`streams_fills`), they
    are asked for when it tells that an order has filled.
    """

    capabilities: Capabilities
    rate: float
    burst: float
    reserved: float
    options: Mapping[str, Any] = {}
    has_currencies: bool = True
    pages: Literal["time", "offset", "cursor"] = "time"
    by_symbol: bool = False
    looked_for_in: tuple[str, ...] = ()
    key: str = "clientOrderId"
    named: bool = True
    market_params: Callable[[str], Mapping[str, Any]] = lambda _: {}
    streams_fills: bool = True


def _spot(*order_types: OrderType) -> Capabilities:
    """Of no exchange it is known that it refuses a client order id for ever."""
    return Capabilities(
        order_types=order_types,
        times_in_force=(TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK),
        fractional=True,
        client_order_ids=True,
        idempotency=Idempotency.OPEN_ONLY,
        visibility_lag=10 * NANOS,
    )


VENUES = {
    # A client order id is unique among open orders: the same one "can be accepted only when the
    # previous one is filled". 6,000 weights a minute, five to one of ccxt's; 100 orders in 10 s.
    "binance": Venue(
        _spot(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
        rate=20,
        burst=100,
        reserved=20,
        options={
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "adjustForTimeDifference": True,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
        has_currencies=False,
        by_symbol=True,
    ),
    # Uniqueness of a client order id "is verified across open orders". A counter that each call
    # raises (ccxt has three to one), down by one in 3 s for an account of the lowest tier, and
    # never above 15; orders and cancels do not count there.
    "kraken": Venue(
        _spot(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
        rate=1,
        burst=45,
        reserved=3,
        has_currencies=False,
        pages="offset",
        looked_for_in=("fetch_open_orders", "fetch_closed_orders"),
    ),
    # "If the ID is not unique, the order will not be created and the order corresponding with that
    # ID will be returned instead": for how long is not said. 30 requests a second. Without its own
    # words ccxt would turn the amount of a market order to buy into money to spend.
    "coinbase": Venue(
        _spot(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT),
        rate=29,
        burst=30,
        reserved=10,
        options={
            "createMarketBuyOrderRequiresPrice": False,
            "fetchBalance": "v3PrivateGetBrokerageAccounts",  # the other knows of nothing held
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
    ),
}
