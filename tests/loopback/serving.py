"""A loopback server of aiohttp: its port, and its WebSockets."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.loopback.faults import Faults, Streams


class Server:
    """Serves `app` on a port of its own of 127.0.0.1."""

    def __init__(self, app: web.Application, faults: Faults) -> None:
        self._faults = faults
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        _, port = self._runner.addresses[0][:2]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Close the port and every connection. It may be called again."""
        self._faults.closing.set()
        await self._runner.cleanup()


@asynccontextmanager
async def speaking(
    streams: Streams, socket: web.WebSocketResponse
) -> AsyncGenerator[Callable[[], None]]:
    """Yields what starts to tell `socket` all that `streams` say; it ends with the block, in which
    the socket is to be read, so that pings are answered."""
    tasks: list[asyncio.Task[None]] = []

    async def send(text: bytes | str) -> None:
        await socket.send_str(text if isinstance(text, str) else text.decode())

    def start() -> None:
        if not tasks:
            tasks.append(asyncio.create_task(streams.serve(send, socket.close)))

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
