"""What differs from exchange to exchange, beyond what ccxt makes the same."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from pydantic import SecretStr

from engine.core.model import NANOS, Capabilities, Idempotency, OrderType, TimeInForce

WAITING = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)
AT_ONCE = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)


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
    for cancels; `options` are those of ccxt. Where an exchange is not `asked_by_client_order_id`,
    an order whose id there is not known is looked for among all that have ours. Executions come
    `by_symbol`, one after another, or of all; in pages by their time, or `by_offset`.
    """

    capabilities: Capabilities
    rate: float
    burst: float
    reserved: float
    options: Mapping[str, Any] = {}
    has_currencies: bool = True
    asked_by_client_order_id: bool = True
    by_symbol: bool = False
    by_offset: bool = False


VENUES = {
    # A client order id is unique among open orders: the same one "can be accepted only when the
    # previous one is filled". 6,000 weights a minute, five to one of ccxt's; 100 orders in 10 s.
    "binance": Venue(
        Capabilities(
            order_types=WAITING,
            times_in_force=AT_ONCE,
            fractional=True,
            client_order_ids=True,
            idempotency=Idempotency.OPEN_ONLY,
            visibility_lag=10 * NANOS,
        ),
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
        Capabilities(
            order_types=WAITING,
            times_in_force=AT_ONCE,
            fractional=True,
            client_order_ids=True,
            idempotency=Idempotency.OPEN_ONLY,
            visibility_lag=10 * NANOS,
        ),
        rate=1,
        burst=45,
        reserved=3,
        has_currencies=False,
        asked_by_client_order_id=False,
        by_offset=True,
    ),
}
