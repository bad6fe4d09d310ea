"""What Alpaca says of orders without being asked: server-sent events, for accounts of the Broker
API (https://docs.alpaca.markets/reference/subscribetotradev2sse)."""

import asyncio
import json
import logging
from random import uniform

import httpx
from httpx_sse import SSEError, aconnect_sse

from engine.brokers.alpaca.heard import Heard
from engine.brokers.alpaca.login import Login

CONNECT_S = 3.0
SILENCE_S = 60.0
"""Without any byte for so long the connection is made again."""
AGAIN_S = 1.0
AGAIN_MOST_S = 30.0

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
        login, pause = self._login, AGAIN_S / 2
        auth = (login.key.get_secret_value(), login.secret.get_secret_value())
        timeout = httpx.Timeout(CONNECT_S, read=SILENCE_S)
        client = httpx.AsyncClient(base_url=login.broker_url, auth=auth, timeout=timeout)
        async with client:
            while True:
                before = self._last_id
                try:
                    await self._listen(client)
                except (httpx.HTTPError, SSEError) as error:
                    log.warning("no stream of alpaca's events: %s", type(error).__name__)
                await self.heard.lost()
                is_of_use = self._last_id != before
                pause = AGAIN_S if is_of_use else min(2 * pause, AGAIN_MOST_S)
                await asyncio.sleep(pause * uniform(0.5, 1))

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
