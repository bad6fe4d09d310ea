"""What Alpaca says of orders without being asked: server-sent events, for accounts of the Broker
API (https://docs.alpaca.markets/reference/subscribetotradev2sse)."""

import asyncio
import json
import logging

import httpx
from httpx_sse import SSEError, aconnect_sse

from engine.brokers.alpaca.heard import Heard
from engine.brokers.alpaca.login import Login
from engine.ops.backoff import Backoff

CONNECT_S = 3.0
SILENCE_S = 60.0
"""Without any byte for so long the connection is made again."""

log = logging.getLogger(__name__)


class Events:
    """The firm's stream, of which this account's events are heard. It connects again by itself, and
    asks for what came since the last event that it had."""

    def __init__(self, name: str, login: Login) -> None:
        self.heard = Heard(name)
        self._login = login
        self._last_id = ""

    async def open(self) -> None:
        await self.heard.open(self._run())

    async def end(self) -> None:
        await self.heard.end()

    async def _run(self) -> None:
        login, backoff, loop = self._login, Backoff(), asyncio.get_running_loop()
        auth = (login.key.get_secret_value(), login.secret.get_secret_value())
        timeout = httpx.Timeout(CONNECT_S, read=SILENCE_S)
        client = httpx.AsyncClient(base_url=login.broker_url, auth=auth, timeout=timeout)
        async with client:
            while True:
                began = loop.time()
                try:
                    await self._listen(client)
                except (httpx.HTTPError, SSEError) as error:
                    log.warning("no stream of alpaca's events: %s", type(error).__name__)
                await self.heard.lost()
                await asyncio.sleep(backoff.after(loop.time() - began))

    async def _listen(self, client: httpx.AsyncClient) -> None:
        since = {"since_id": self._last_id} if self._last_id else {}
        async with aconnect_sse(client, "GET", "/v2/events/trades", params=since) as source:
            source.response.raise_for_status()
            await self.heard.there()
            async for event in source.aiter_sse():
                self._last_id = event.id or self._last_id
                await self._hear(event.data)

    async def _hear(self, data: str) -> None:
        try:
            message = json.loads(data)
            is_ours = message["account_id"] == self._login.account_id
        except (ValueError, TypeError, KeyError):
            log.warning("an event of alpaca was not understood")
            return
        if is_ours:
            await self.heard.said.put(message)
