"""An exchange of ccxt as the engine needs it: exact, at its rate, and never silently deaf."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, localcontext
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import ccxt.pro  # pyright: ignore[reportMissingTypeStubs]
from ccxt.base.errors import (  # pyright: ignore[reportMissingTypeStubs]
    BadSymbol,
    InvalidNonce,
    NetworkError,
)
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.base import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    RateLimited,
)
from engine.brokers.ccxt.errors import WAIT_S
from engine.brokers.ccxt.venues import VENUES, Access
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import is_for_a_cancel, take_turn
from engine.ops.errors import UserError

CONNECT_S = 5
"""How long the connection of a stream of market data may take."""
KEEP_ALIVE_S = 5
"""How often the stream is asked whether it is there; two answers missed, and it is lost."""
REFUSALS = 3
"""Nonces that are refused one after another, after which those of the session are behind."""
LEADS_MS = (1000, 60_000, 3_600_000, 86_400_000)

# In its debug log ccxt tells keys and signatures.
logging.getLogger("ccxt").setLevel(logging.INFO)


class Tuned:
    """What is changed in each exchange of ccxt, as the first of its base classes. `bucket` is asked
    before each request."""

    bucket: TokenBucket
    session: Any

    async def fetch2(self, path: str, api: Any, method: str, params: Any, config: Any) -> Any:
        """Every request passes here: it waits for its turn, and what a cancel asks for has the room
        that is kept for cancels. The library's own queue would have it wait behind everything
        else."""
        exchange: Any = super()
        cost = float(exchange.calculate_rate_limiter_cost(api, method, path, params, config))
        await take_turn(self.bucket, cost)
        if self.session is None:  # closed meanwhile: the library would open another one
            raise NotConnected("the connection was given up")
        return await exchange.fetch2(path, api, method, params, config)

    def handle_errors(self, *answer: Any) -> Any:
        """What a status says before the body is looked at, or where it says nothing."""
        code, _, _, _, headers, _, parsed = answer[:7]
        if code in (418, 429):
            wait_s = _wait_s(headers)
            self.bucket.shut(wait_s)
            raise RateLimited(f"too many requests; the next in {wait_s:g} s", wait_s)
        if code >= 500:
            raise InDoubt(f"the exchange failed with status {code}")
        exchange: Any = super()
        known = exchange.handle_errors(*answer)
        if code == 401:
            raise NotAuthenticated("the exchange does not take the API key")
        if code == 403:
            raise NotPermitted("the exchange does not permit it")
        if parsed is None:
            raise InDoubt(f"the answer with status {code} is not JSON")
        return known

    def client(self, url: str) -> Any:
        """The stream's connection. In the library a message that is not understood ends the
        reading, and nobody is told; here it ends the connection."""
        exchange: Any = super()
        client = exchange.client(url)
        kind = cast("Any", type(client))

        def guarded(message: Any) -> None:
            try:
                kind.handle_message(client, message)
            except Exception as error:
                client.on_error(NetworkError(f"not understood: {type(error).__name__}"))

        client.handle_message = guarded
        return client


class Nonces:
    """Kraken's: each is greater than all before it, over every connection of a session.

    One that is refused is not greater than those of a former session, whose clock was ahead, or of
    another program: those that follow are ahead by as much as it takes. One refusal among others
    that were taken says only that two requests overtook each other.
    """

    def __init__(self) -> None:
        self._last = self._lead = 0
        self._refused = REFUSALS

    def next(self, now_ms: int) -> int:
        self._last = max(self._last + 1, now_ms + self._lead)
        return self._last

    def was_taken(self) -> None:
        self._refused = 0

    def was_refused(self) -> None:
        self._refused += 1
        if self._refused >= REFUSALS:
            self._lead = next((lead for lead in LEADS_MS if lead > self._lead), self._lead)


class _Account(Tuned):
    """`on_up` is called when the stream is subscribed; `nonces` are those of the session."""

    on_up: Callable[[], None]
    nonces: Nonces

    async def fetch2(self, path: str, api: Any, method: str, params: Any, config: Any) -> Any:
        """A request that is refused for its time was not carried out; the next has the right one,
        though our clock had jumped. What a cancel asks for is so asked for once more at once."""
        if "private" not in api:
            return await super().fetch2(path, api, method, params, config)
        try:
            answer = await super().fetch2(path, api, method, params, config)
        except InvalidNonce:
            self.nonces.was_refused()
            await self._look_at_the_clock()
            if not is_for_a_cancel():
                raise
            answer = await super().fetch2(path, api, method, params, config)
        except NotAuthenticated:  # all that Coinbase says of it
            await self._look_at_the_clock()
            raise
        self.nonces.was_taken()
        return answer

    async def _look_at_the_clock(self) -> None:
        exchange: Any = self
        if exchange.options.get("adjustForTimeDifference"):
            with suppress(Exception):
                await exchange.load_time_difference()

    def parse_trade(self, trade: Mapping[str, Any], market: Any = None) -> Any:
        """The library reckons with the numbers of a trade, and at one that is none it gives up all
        trades of the answer. Told as 0 it is no execution either, and is quarantined alone."""
        exchange: Any = super()
        try:
            return exchange.parse_trade(trade, market)
        except (ValueError, ArithmeticError):
            sound = {name: _finite(value) for name, value in trade.items()}
            return exchange.parse_trade(sound, market)

    def incrementing_nonce(self) -> int:
        exchange: Any = self
        return self.nonces.next(exchange.nonce())

    def seconds(self) -> int:
        """By the exchange's clock: Coinbase's requests are signed with it."""
        exchange: Any = self
        return exchange.nonce() // 1000

    def handle_message(self, client: Any, message: Any) -> None:
        """Exchanges answer to a subscription in a message that says so in one word or another.
        Where Kraken refuses one, the library tells nobody: the connection is ended."""
        exchange: Any = super()
        for part in _parts(message):
            exchange.handle_message(client, part)
        if "subscri" not in str(message).lower():
            return
        if reason := _refusal(message):
            client.on_error(NetworkError(f"not subscribed: {reason}"))
        else:
            self.on_up()


class _MarketData(Tuned):
    """`hear` is told every message of the stream, and answers whether it was for it."""

    hear: Callable[[Any], bool]
    clients: dict[str, Any]

    def handle_message(self, client: Any, message: Any) -> None:
        exchange: Any = super()
        if self.clients.get(client.url) is not client:  # given up while it was being connected
            client.on_error(NetworkError("given up"))
        elif not self.hear(message):
            exchange.handle_message(client, message)


def exchange(
    name: str,
    access: Access,
    bucket: TokenBucket,
    on_up: Callable[[], None],
    nonces: Nonces | None = None,
) -> Any:
    """A new exchange of ccxt for an account, which belongs to the running loop. Numbers come as
    text: exact.

    Raises UserError where it has no test network.
    """
    made = _made(_Account, name, access, bucket)
    made.on_up, made.nonces = on_up, nonces or Nonces()
    return made


def market_data(name: str, access: Access) -> Any:
    """As `exchange`, for what needs no keys: it has none, and a share of its own of the requests
    that the exchange takes, so that it never waits before an account's, nor they behind it."""
    venue = VENUES[name]
    bucket = TokenBucket(venue.data_rate, venue.data_burst, 0, time.monotonic, venue.window_s)
    nobody = replace(access, api_key=SecretStr(""), secret=SecretStr(""))
    made = _made(_MarketData, name, nobody, bucket)
    made.streaming["connectionTimeout"] = CONNECT_S * 1000
    return made


async def load_markets(
    exchange: Any, symbols: Iterable[str], *, again: bool = False
) -> Mapping[str, Any]:
    """How the exchange trades: `symbols` alone where it can be asked for them and has them all;
    `again` where that is known, and may have changed."""
    params = VENUES[exchange.id].market_params_of(symbols)
    if params:
        with suppress(BadSymbol):
            return await exchange.load_markets(again, params)
    return await exchange.load_markets(again)


def _made(tuned: type[Tuned], name: str, access: Access, bucket: TokenBucket) -> Any:
    venue = VENUES[name]
    kind: Any = type(name, (tuned, getattr(ccxt.pro, name)), {})
    made = kind(
        {
            "apiKey": access.api_key.get_secret_value(),
            "secret": access.secret.get_secret_value(),
            "timeout": int(access.timeout_s * 1000),
            "enableRateLimit": False,
            "enableLastHttpResponse": False,  # from which Kraken's cancel would guess
            "options": {**venue.options, "maxRetriesOnFailure": 0},
        }
    )
    made.number = str
    made.decimal_to_precision = _apart(made.decimal_to_precision)
    made.bucket = bucket
    made.streaming = {**made.streaming, "keepAlive": KEEP_ALIVE_S * 1000}
    if not venue.has_currencies:
        made.has["fetchCurrencies"] = False
    if access.paper and not made.urls.get("test"):
        raise UserError(
            f"{name} has no test network", "Trade on paper with MODE=paper, without a broker."
        )
    made.set_sandbox_mode(access.paper)
    if access.url:
        made.urls["api"] = _aimed(made.urls["api"], access.url)
    connector = aiohttp.TCPConnector(limit=0)  # nothing waits for another's connection
    made.session = aiohttp.ClientSession(connector=connector, middlewares=(_once,))
    return made


def _apart(rounded: Callable[..., str]) -> Callable[..., str]:
    """ccxt's rounding sets the decimal rules of whoever calls it, and leaves them so: all money in
    the process would be rounded by them from then on."""

    def with_rules_of_its_own(*arguments: Any, **named: Any) -> str:
        with localcontext():
            return rounded(*arguments, **named)

    return with_rules_of_its_own


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A request goes once and to one place: aiohttp would repeat one whose connection is lost, and
    carry what is signed to wherever the answer points."""
    try:
        response = await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise InDoubt("the connection was lost") from None
    if 300 <= response.status < 400:
        response.close()
        raise InDoubt("the exchange answered with another address")
    return response


def _finite(value: Any) -> Any:
    """`value`, but 0 for a number that is written and is none, as NaN."""
    try:
        return value if Decimal(value).is_finite() else "0"
    except (ArithmeticError, TypeError, ValueError):
        return value


def _refusal(message: Any) -> str:
    """Why the exchange says no; empty where it does not."""
    fields = cast("dict[str, Any]", message if isinstance(message, dict) else {})
    refuses = fields.get("success") is False or fields.get("type") == "error"
    return str(fields.get("error") or (fields.get("message", "no reason") if refuses else ""))


def _parts(message: Any) -> Sequence[Any]:
    """Kraken's message of executions, one by one: ccxt looks at the first to tell what all are. The
    snapshot of old ones is left out: what was before is asked for."""
    if not isinstance(message, dict):
        return (message,)
    fields = cast("dict[str, Any]", message)
    if fields.get("channel") != "executions":
        return (fields,)
    if fields.get("type") == "snapshot":
        return ()
    return [{**fields, "data": [each]} for each in fields["data"]]


def _aimed(addresses: Any, url: str) -> Any:
    """ccxt's addresses, nested as they are, at another place."""
    if isinstance(addresses, dict):
        nested = cast("dict[str, Any]", addresses)
        return {key: _aimed(value, url) for key, value in nested.items()}
    old, new = urlsplit(str(addresses)), urlsplit(url)
    web_socket = old.scheme.startswith("ws")
    scheme = new.scheme.replace("http", "ws") if web_socket else new.scheme
    return urlunsplit(old._replace(scheme=scheme, netloc=new.netloc))


def _wait_s(headers: dict[str, str]) -> float:
    """What Retry-After says, in seconds."""
    said = next((v for name, v in headers.items() if name.lower() == "retry-after"), "")
    return float(said) if said.isdecimal() else WAIT_S
