"""A loopback server of aiohttp: its port, and its WebSockets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol

from aiohttp import web

from tests.loopback.faults import Faults, Streams, cut_frame

TRANSPORT = web.ResponseKey("transport", asyncio.Transport)
"""The key of a socket's transport among what it carries."""


class Server:
    """Serves `app` on a port of its own of 127.0.0.1, and on the same one each time again."""

    def __init__(self, app: Callable[[], web.Application], faults: Faults) -> None:
        self._app = app
        self._faults = faults
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._faults.closing.clear()
        self._runner = web.AppRunner(self._app(), shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection. It may be called again."""
        self._faults.closing.set()
        if self._runner is not None:
            await self._runner.cleanup()


class Startable(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@asynccontextmanager
async def serving(*servers: Startable) -> AsyncGenerator[None]:
    """All are up within the block."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        yield


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
            serve = streams.serve(send, socket.close, partial(cut_frame, socket[TRANSPORT]))
            tasks.append(asyncio.create_task(serve))

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


def web_socket(
    streams: Streams, talk: Talk
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Hands each connection to `talk`, unless `streams` takes no new one."""

    async def accept(request: web.Request) -> web.StreamResponse:
        if streams.refuses:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        socket[TRANSPORT] = request.transport
        await talk(socket)
        return socket

    return accept
