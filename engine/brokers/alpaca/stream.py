"""What Alpaca says of orders without being asked: `trade_updates` over a WebSocket."""

import asyncio
from typing import Any

from alpaca.trading.stream import TradingStream

from engine.brokers.alpaca.login import Login
from engine.brokers.base import NotPermitted
from engine.core.events import BrokerChanged

KEPT = 10_000
"""Updates that wait to be heard; then the socket is not read until there is room."""
PING_S = 5
CLOSE_S = 0.5

Said = BrokerChanged | NotPermitted | dict[str, Any]
"""An update as it came; that the stream is gone or back; that the account may not trade."""


class Updates(TradingStream):
    """The library's stream, which connects again by itself, and says here when it is gone and back:
    `said` has that among the updates, in their order."""

    def __init__(self, name: str, login: Login) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            login.key.get_secret_value(),
            login.secret.get_secret_value(),
            paper=not login.live,
            raw_data=True,
            url_override=login.stream_url,  # pyright: ignore[reportArgumentType] - None is default
            websocket_params={
                "ping_interval": PING_S,
                "ping_timeout": PING_S,
                "close_timeout": CLOSE_S,
                "max_queue": 1024,
            },
        )
        self._name = name
        self.said: asyncio.Queue[Said] = asyncio.Queue(KEPT)
        self._is_there = asyncio.Event()
        self._was_lost = False
        self._running_task: asyncio.Task[None] | None = None
        self.subscribe_trade_updates(self._hear)  # pyright: ignore[reportUnknownMemberType]

    async def open(self) -> None:
        """Until the stream listens; it goes on to try where it cannot connect."""
        if self._running_task is None:
            self._running_task = asyncio.create_task(self._run_forever())
        await self._is_there.wait()

    async def end(self) -> None:
        """No task and no socket of it is left."""
        if self._running_task is not None:
            # Python 3.11 may lose a cancel where a message comes in the same moment; the library
            # looks at its own word for it before it waits for the next one.
            await self.stop_ws()
            self._running_task.cancel()
            await asyncio.gather(self._running_task, return_exceptions=True)
        await super().close()

    async def next(self) -> Said | None:
        """The next thing said; None once the library has given the stream up."""
        if self._running_task is None:
            return None
        heard = asyncio.ensure_future(self.said.get())
        try:
            await asyncio.wait({heard, self._running_task}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else None
        finally:
            heard.cancel()

    async def _start_ws(self) -> None:
        await super()._start_ws()
        self._is_there.set()
        if self._was_lost:
            await self.said.put(BrokerChanged(self._name, True))

    async def close(self) -> None:
        if self._is_there.is_set():
            self._is_there.clear()
            self._was_lost = True
            await self.said.put(BrokerChanged(self._name, False, "its stream is lost"))
        await super().close()

    async def _hear(self, message: dict[str, Any]) -> None:
        await self.said.put(message)
