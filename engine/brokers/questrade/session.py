"""Signed requests to Questrade, and its streams."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from msgspec import MsgspecError, Struct, json
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from engine.brokers.base import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    RateLimited,
    Room,
)
from engine.brokers.questrade.access import Access, reason_of
from engine.brokers.questrade.login import Login
from engine.brokers.questrade.symbols import Symbols
from engine.brokers.questrade.tokens import Tokens, TokenStore
from engine.brokers.questrade.wire import Greeting, Refused, Request, StreamPort
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import is_for_a_cancel, take_turn
from engine.core.model import NANOS
from engine.core.text import clean

T = TypeVar("T")

ACCOUNT_RATE = 30.0
FOR_CANCELS = 10.0
MARKET_RATE = 20.0
"""Requests a second, as https://www.questrade.com/api/documentation/rate-limiting has it."""
WINDOW_S = 1.1
"""A little more than that second: requests may take longer or shorter on their way."""
BARE_WAIT_S = 5.0
"""How long to wait after "too many requests" that does not say how long."""
INVALID_TOKEN = 1017
OUT_OF_SCOPE = 1016

_encode = json.Encoder(decimal_format="number").encode


class Problem(Struct, frozen=True):
    """What Questrade says in place of an answer."""

    code: int | str = 0
    message: str = ""

    @property
    def number(self) -> int:
        """Documented as text, and sent as a number."""
        return int(self.code) if str(self.code).isdecimal() else 0


class Session:
    """One login. Every request is sent once, but for one that came with an access token which had
    become invalid: nobody looked at that one, and it goes again with a new token, once.

    Several may use it: each joins before its first request, and leaves after its last one. What is
    open is closed with the last of them, and opened again where another one joins, on whatever loop
    that is. `now` is in ns UTC.
    """

    def __init__(self, login: Login, now: Callable[[], int]) -> None:
        self.now = now
        self.live = login.live
        self.symbols = Symbols(self)
        self._timeout_s = login.timeout_s
        self._users = 0
        self._opened: httpx.AsyncClient | None = None
        store = TokenStore(login.tokens_path, login.refresh_token)
        self._access = Access(lambda: self._http, store, login.login_url, now)
        # All cancels leave at once for as long as Questrade has not said that they are too many.
        self._counts_cancels = False
        clock = time.monotonic
        self._buckets = {
            "account": TokenBucket(ACCOUNT_RATE, ACCOUNT_RATE, 0, clock, WINDOW_S),
            "market": TokenBucket(MARKET_RATE, MARKET_RATE, 0, clock, WINDOW_S),
            # Of orders no limit is documented; the one of the account's calls does no harm.
            "orders": TokenBucket(ACCOUNT_RATE, ACCOUNT_RATE, FOR_CANCELS, clock, WINDOW_S),
        }

    @property
    def room(self) -> Room:
        """For requests that concern orders."""
        return self._buckets["orders"].room()

    def join(self) -> None:
        self._users += 1

    async def leave(self) -> None:
        self._users -= 1
        if not self._users:
            await self._access.settled()
        if self._users:
            return
        http, self._opened = self._opened, None
        if http is not None:
            await http.aclose()

    @property
    def _http(self) -> httpx.AsyncClient:
        if not self._users:
            raise NotConnected("not connected to Questrade")
        if self._opened is None:
            # As many connections as there are requests: none waits for another one's answer.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            self._opened = httpx.AsyncClient(timeout=self._timeout_s, limits=limits)
        return self._opened

    async def get(self, path: str, answer: type[T], lane: str = "account", **params: str) -> T:
        """As `send`. Raises RateLimited only where waiting for its turn would take too long."""
        return await self.send(Request("GET", path, lane, params), answer)

    async def send(self, request: Request, answer: type[T]) -> T:
        """Raises Refused where that is the answer, another NotSent where nobody looked at the
        request, InDoubt where somebody may have."""
        tokens = await self._access.tokens()
        response = await self._once(request, tokens)
        if _is_stale(response):
            tokens = await self._access.tokens(refused=tokens.access_token)
            response = await self._once(request, tokens)
            if _is_stale(response):
                raise self._access.give_up(tokens)
        self._check(request, response)
        try:
            return json.decode(response.content, type=answer)
        except MsgspecError as error:
            raise InDoubt("Questrade answers what cannot be read") from error

    async def _once(self, request: Request, tokens: Tokens) -> httpx.Response:
        is_free = is_for_a_cancel() and not self._counts_cancels
        await take_turn(self._buckets[request.lane], 0 if is_free else 1)
        headers = {"Authorization": f"Bearer {tokens.access_token}"}
        content = None
        if request.body is not None:
            content = _encode(request.body)
            headers["Content-Type"] = "application/json"
        try:
            return await self._http.request(
                request.method,
                f"{tokens.api_server}/v1/{request.path}",
                params=request.params,
                content=content,
                headers=headers,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotConnected(f"Questrade is out of reach ({reason_of(error)})") from error
        except httpx.HTTPError as error:
            raise InDoubt(f"no answer from Questrade ({type(error).__name__})") from error

    def _check(self, request: Request, response: httpx.Response) -> None:
        """Raises where the response is no answer to the request."""
        status = response.status_code
        if status == 429:
            self._counts_cancels |= request.method == "DELETE"
            wait_s = self._wait_of(response)
            for bucket in self._buckets.values():
                bucket.shut(wait_s)
            raise RateLimited(f"Questrade: too many requests; the next in {wait_s:.0f} s", wait_s)
        if response.headers.get("X-RateLimit-Remaining") == "0":
            self._buckets[request.lane].shut(self._wait_of(response))
        if status < 300:
            return
        if status >= 500 or status < 400:
            raise InDoubt(f"Questrade answers {status}")
        problem = _problem(response)
        reason = clean(problem.message) or f"refused ({status})"
        if status == 401:
            raise NotAuthenticated(f"Questrade: {reason}")
        if status == 403 or problem.number == OUT_OF_SCOPE:
            raise NotPermitted(f"Questrade: {reason}{_permission(request)}")
        raise Refused(reason, status, response.content)

    def _wait_of(self, response: httpx.Response) -> float:
        """In how many seconds the next request may leave: as told, or as the clock of the limit."""
        after = response.headers.get("Retry-After", "")
        reset = response.headers.get("X-RateLimit-Reset", "")
        if after.isdecimal():
            return float(after)
        if reset.isdecimal():
            return max(0.0, int(reset) - self.now() / NANOS)
        return BARE_WAIT_S

    @asynccontextmanager
    async def stream(
        self, path: str, lane: str = "account", **params: str
    ) -> AsyncGenerator[AsyncIterable[str | bytes]]:
        """What Questrade says without being asked, message by message.

        Raises NotSent or InDoubt where the connection is not made, or breaks. A second one of the
        same kind ends the first; orders and quotes have ports of their own. It does not make the
        session last: a request in half an hour does.
        """
        port = await self.get(path, StreamPort, lane, mode="WebSocket", **params)
        tokens = await self._access.tokens()
        server = urlsplit(tokens.api_server)
        scheme = "wss" if server.scheme == "https" else "ws"
        url = f"{scheme}://{server.hostname}:{port.stream_port}"
        try:
            async with connect(url, open_timeout=self._timeout_s) as socket:
                await socket.send(tokens.access_token)
                async with asyncio.timeout(self._timeout_s):
                    greeting = json.decode(await socket.recv(), type=Greeting)
                if not greeting.success:
                    raise NotConnected("Questrade's stream does not take the access token")
                yield socket
        except (WebSocketException, MsgspecError, OSError) as error:
            raise NotConnected(f"Questrade's stream ends ({type(error).__name__})") from error


def _problem(response: httpx.Response) -> Problem:
    """What a refusal says; nothing where it is none of Questrade's making."""
    try:
        return json.decode(response.content, type=Problem)
    except MsgspecError:
        return Problem()


def _is_stale(response: httpx.Response) -> bool:
    """Whether the access token is the reason why nobody looked at the request."""
    return response.status_code == 401 and _problem(response).number == INVALID_TOKEN


def _permission(request: Request) -> str:
    """What to do about a request that the token may not make."""
    if request.lane == "orders":
        return "; orders need Questrade's permission as a partner, data and paper trading do not"
    return "; give the app more permissions in Questrade's App hub"
