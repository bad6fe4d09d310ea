"""The access token that every call is signed with, and its refresh."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx
from msgspec import MsgspecError, Struct, json
from msgspec.structs import replace

from engine.brokers.base import NotAuthenticated, NotConnected
from engine.brokers.questrade.tokens import HOW_TO_LOG_IN, Tokens, TokenStore
from engine.core.model import NANOS
from engine.ops.errors import UserError

SOON = 60 * NANOS
"""An access token that ends within this time is refreshed before it is used."""
LOOK_AGAIN_S = 0.05
LOCK_WAIT_S = 15.0


def reason_of(error: httpx.HTTPError) -> str:
    """Why there is no answer, without the error's own text: it may hold the address."""
    is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
    return "its certificate is not valid" if is_untrusted else type(error).__name__


class Granted(Struct, frozen=True):
    """The login server's answer; `expires_in` is in seconds."""

    access_token: str
    refresh_token: str
    api_server: str
    expires_in: int

    def __repr__(self) -> str:
        return "Granted(**********)"


class Access:
    """Gives the tokens that are good now, and refreshes them where there are none.

    All who ask at the same time share one refresh, other processes included. What it brought is on
    the disk before anybody has it. A refresh is not given up with who asked for it: its answer
    would be lost, and the old token has been used.
    """

    def __init__(
        self,
        http: Callable[[], httpx.AsyncClient],
        store: TokenStore,
        login_url: str,
        now: Callable[[], int],
    ) -> None:
        self._http = http
        self._store = store
        self._login_url = login_url
        self._now = now
        self._tokens: Tokens | None = None
        self._unstored: Tokens | None = None
        self._refreshing: asyncio.Task[Tokens] | None = None
        self._dead = ""

    async def settled(self) -> None:
        """Until a refresh that is under way has ended."""
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing])

    async def tokens(self, refused: str = "") -> Tokens:
        """Tokens that are good for a while, whose access token is not the `refused` one.

        Raises NotAuthenticated where only a person can get new ones, NotConnected where the login
        server gave none now.
        """
        if self._tokens is not None and self._are_good(self._tokens, refused):
            return self._tokens
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(refused))
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    def give_up(self, tokens: Tokens) -> NotAuthenticated:
        """These came from a refresh just now, and are refused all the same: they are not tried
        again, nor is what they came with."""
        self._tokens, self._dead = None, tokens.refresh_token
        return NotAuthenticated(f"Questrade refuses its own access token; {HOW_TO_LOG_IN}")

    def _are_good(self, tokens: Tokens, refused: str) -> bool:
        is_other = tokens.access_token not in ("", refused)
        return is_other and self._now() + SOON < tokens.expires_ts

    def _refreshed(self, task: asyncio.Task[Tokens]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # who asked has it, if anybody still waits

    async def _refresh(self, refused: str) -> Tokens:
        try:
            async with self._alone():
                tokens = self._unstored or self._store.read()
                if tokens.refresh_token == self._dead:
                    raise NotAuthenticated(f"Questrade takes the token no more; {HOW_TO_LOG_IN}")
                if not self._are_good(tokens, refused):  # another process may have been here
                    tokens = self._unstored = await self._log_in(tokens)
                if self._unstored is not None:
                    await self._store_them(self._unstored)
        except UserError as error:
            raise NotAuthenticated(f"{error.message}; {error.remedy}") from error
        self._check_server(tokens)
        self._tokens = tokens
        return tokens

    async def _store_them(self, tokens: Tokens) -> None:
        """What the disk does not take is kept in memory, unused, and written at the next try."""
        loop = asyncio.get_running_loop()
        try:
            # One of its own: no refresh waits behind somebody else's work.
            with ThreadPoolExecutor(1, thread_name_prefix="questrade-tokens") as disk:
                await loop.run_in_executor(disk, self._store.write, tokens)
        except OSError as error:
            reason = f"the tokens of Questrade cannot be stored ({error.strerror})"
            raise NotConnected(reason) from error
        self._unstored = None

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        with ExitStack() as stack:
            try:
                async with asyncio.timeout(LOCK_WAIT_S):
                    while True:
                        try:
                            stack.enter_context(self._store.locked())
                            break
                        except BlockingIOError:
                            await asyncio.sleep(LOOK_AGAIN_S)
            except TimeoutError as error:
                raise NotConnected("another process holds the tokens of Questrade") from error
            yield

    async def _log_in(self, tokens: Tokens) -> Tokens:
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        try:
            response = await self._http().post(f"{self._login_url}/oauth2/token", data=form)
        except httpx.HTTPError as error:
            reason = f"no answer from Questrade's login server ({reason_of(error)})"
            raise NotConnected(reason) from error
        if response.status_code in (400, 401, 403):
            self._dead = tokens.refresh_token
            raise NotAuthenticated(
                f"Questrade does not take the refresh token, which works once; {HOW_TO_LOG_IN}"
            )
        if response.status_code != 200:
            raise NotConnected(f"Questrade's login server answers {response.status_code}")
        try:
            granted = json.decode(response.content, type=Granted)
        except MsgspecError:
            raise NotConnected("Questrade's login server answers what is no token") from None
        return replace(
            tokens,
            refresh_token=granted.refresh_token,
            access_token=granted.access_token,
            api_server=granted.api_server.rstrip("/"),
            expires_ts=self._now() + granted.expires_in * NANOS,
        )

    def _check_server(self, tokens: Tokens) -> None:
        """Raises NotAuthenticated where the server to use, which gets the access token, is not of
        the login server's domain."""
        login, server = urlsplit(self._login_url), urlsplit(tokens.api_server)
        host, login_host = server.hostname or "", login.hostname or ""
        is_ours = host == login_host or host.endswith("." + login_host.partition(".")[2])
        if server.scheme != login.scheme or not is_ours:
            raise NotAuthenticated("Questrade's login server names one that is not Questrade's")
