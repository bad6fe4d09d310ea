"""Blocking requests to Alpaca: on threads of their own, each with a time-out, and sent once."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from engine.brokers.alpaca.answers import Refused
from engine.brokers.alpaca.login import Login
from engine.brokers.alpaca.sweep import Sweep
from engine.brokers.base import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    RateLimited,
)
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import take_turn
from engine.core.text import clean

CONNECT_S = 3.0
ASKED_AT_ONCE = 8
DATA_AT_ONCE = 2
SWEEPING_AT_ONCE = 2
RATE_WINDOW_S = 60.0
"""Alpaca counts requests by the minute: so long at most lasts a limit that comes without a time."""
WINDOW_S = RATE_WINDOW_S + 1
"""What leaves later may be there earlier."""
REFUSED_ORDER = 40310000
"""The code of an order that the account cannot pay for, or may not make as it is."""


class Rest:
    """One of alpaca-py's clients on up to `threads` threads, named `name`, each made when it is
    needed: none of its requests waits for those of another one. The library's own repeats are off.

    `bucket` is what its venue takes of requests.
    """

    def __init__(
        self,
        client: RESTClient,
        name: str,
        threads: int,
        read_s: float,
        bucket: TokenBucket,
    ) -> None:
        self.client: Any = client
        self._session = sent_once(client, read_s, threads)
        self._threads = ThreadPoolExecutor(threads, name)
        self.bucket = bucket
        self._asked: set[Future[Any]] = set()

    async def ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What `call`, a method of the client, answers. Raises Refused, NotSent or InDoubt."""
        await take_turn(self.bucket)
        try:
            asked = self._threads.submit(answered, call, arguments)
        except RuntimeError:  # closed meanwhile
            raise NotConnected("not connected to alpaca") from None
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        try:
            return await asyncio.wrap_future(asked)
        except RateLimited as error:
            self.bucket.shut(error.wait_s)
            raise

    async def question(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """As `ask`, where a refusal is no answer."""
        try:
            return await self.ask(call, *arguments)
        except Refused as error:
            raise NotSent(f"alpaca: {error}") from None

    def close(self) -> None:
        """A request that still hangs ends by its time-out; nobody waits for it."""
        self._session.close()
        self._threads.shutdown(wait=not self._asked, cancel_futures=True)


def sent_once(
    client: RESTClient, read_s: float, connections: int = ASKED_AT_ONCE
) -> requests.Session:
    """Takes from a client its own repeats, which would send orders again, and gives it time-outs:
    `read_s` seconds of silence. Its session, which keeps so many connections and is to be
    closed."""
    client._retry = 0  # pyright: ignore[reportPrivateUsage]
    session = client._session  # pyright: ignore[reportPrivateUsage]
    for scheme in ("http://", "https://"):
        session.mount(scheme, _TimeOuts(read_s, connections))
    return session


class _TimeOuts(HTTPAdapter):
    """Gives every request its time-outs: requests has none, and a lost packet would hang a thread
    for good."""

    def __init__(self, read_s: float, connections: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._timeout = (CONNECT_S, read_s)

    def send(self, request: Any, *arguments: Any, **named: Any) -> requests.Response:
        named["timeout"] = self._timeout
        return super().send(request, *arguments, **named)


def answered(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What `call`, a method of a client, answers. Raises Refused, NotSent or InDoubt."""
    try:
        return call(*arguments)
    except APIError as error:
        raise _said(error) from None
    except requests.RequestException as error:
        raise _broken(error) from None
    except ValueError:
        raise InDoubt("alpaca's answer is no JSON") from None


def _said(error: APIError) -> Exception:
    """What an answer with an error status means. Its body is read where it is JSON, never shown
    raw."""
    failed: Any = error
    response: requests.Response = failed.response
    status, (code, message) = response.status_code, _body(response)
    if status >= 500:
        return InDoubt(f"alpaca answered {status}")
    if status == 429:
        return RateLimited("alpaca takes no more requests for now", _wait_s(response))
    if status == 401:
        return NotAuthenticated(f"alpaca does not take the key: {message}")
    if status == 403 and code != REFUSED_ORDER:
        return NotPermitted(f"alpaca does not allow it: {message}")
    return Refused(status, message)


def _body(response: requests.Response) -> tuple[int, str]:
    """Code and message of an error."""
    try:
        body = json.loads(response.text)
        return int(body.get("code", 0)), clean(str(body.get("message", "")))
    except (ValueError, TypeError, AttributeError):
        return 0, f"status {response.status_code}"


def _wait_s(response: requests.Response) -> float:
    """As told, or until the time at which Alpaca counts anew, by our clock."""
    headers = response.headers
    try:
        if "Retry-After" in headers:
            return max(float(headers["Retry-After"]), 0.0)
        wait_s = float(headers["X-RateLimit-Reset"]) - time.time()
    except (KeyError, ValueError):
        return RATE_WINDOW_S
    return min(max(wait_s, 1.0), RATE_WINDOW_S)


def _broken(error: requests.RequestException) -> Exception:
    """What a connection that failed means. The error's own text has the address in it."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    cause = getattr(reason, "args", (None,))
    if isinstance(reason, NewConnectionError) or isinstance(error, requests.ConnectTimeout):
        return NotConnected("no connection to alpaca")
    if cause and isinstance(cause[0], ssl.SSLCertVerificationError):
        return NotConnected("alpaca's certificate is not valid")
    return InDoubt(f"no answer from alpaca: {type(error).__name__}")


class AccountClient(TradingClient):
    """The Trading API's requests for one account of the Broker API: the same, below other paths."""

    def __init__(self, login: Login) -> None:
        super().__init__(
            login.key.get_secret_value(),
            login.secret.get_secret_value(),
            raw_data=True,
            url_override=login.broker_url,
        )
        self._use_basic_auth = True
        self._account_id = login.account_id

    def _request(
        self,
        method: str,
        path: str,
        data: Any = None,
        base_url: Any = None,
        api_version: str | None = "v1",
    ) -> Any:
        if path == "/clock" or path.startswith("/assets/"):  # what is no account's
            pass
        elif path.startswith("/account/activities"):
            data = {**data, "account_id": self._account_id}
            path = path.replace("/account/", "/accounts/", 1)
        else:
            path = f"/trading/accounts/{self._account_id}{path}"
        library: Any = super()
        return library._request(method, path, data, base_url, api_version)


def trading_client(login: Login) -> TradingClient:
    if login.account_id:
        return AccountClient(login)
    return TradingClient(
        login.key.get_secret_value(),
        login.secret.get_secret_value(),
        paper=not login.live,
        raw_data=True,
        url_override=login.url,
    )


class Access:
    """Everything that is asked of one account. What is asked and sent, the cancels, and the market
    data have connections and threads of their own each: none waits for another one."""

    def __init__(self, login: Login) -> None:
        # It counts by the minute, and not how fast: of a kill's cancels as many leave at once as it
        # takes in one, half of which are for cancels alone. A tenth is for the cancel of all, which
        # is so never behind cancels and questions that nobody answered.
        most = login.requests_a_minute
        bucket = TokenBucket(0.9 * most / 60, 0.9 * most, most / 2, time.monotonic, WINDOW_S)
        self.bucket = bucket
        sweeping = TokenBucket(0.07 * most / 60, 0.03 * most, 0, time.monotonic)
        data_bucket = TokenBucket(most / 150, 0.6 * most, 0, time.monotonic)

        def rest(client: RESTClient, name: str, threads: int, **named: Any) -> Rest:
            named = {"bucket": bucket} | named
            return Rest(client, name, threads, login.read_s, **named)

        self.trading = rest(trading_client(login), "alpaca", ASKED_AT_ONCE)
        # A thread for each that the bucket lets out in a minute, which is longer than one lasts: no
        # cancel waits for another one that hangs.
        self.cancels = rest(trading_client(login), "alpaca-cancel", most)
        self.swept = rest(trading_client(login), "alpaca-sweep", SWEEPING_AT_ONCE, bucket=sweeping)
        self.sweep = Sweep(self.swept, bucket)
        stocks = StockHistoricalDataClient(**login.to_data)
        self.stocks = rest(stocks, "alpaca-stocks", DATA_AT_ONCE, bucket=data_bucket)
        crypto = CryptoHistoricalDataClient(**login.to_data)
        self.crypto = rest(crypto, "alpaca-crypto", DATA_AT_ONCE, bucket=data_bucket)

    def close(self) -> None:
        self.sweep.close()
        for rest in (self.trading, self.cancels, self.swept, self.stocks, self.crypto):
            rest.close()
