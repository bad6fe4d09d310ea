"""The market data of Alpaca: the stream in MessagePack, quotes and bars over HTTP."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

import msgpack
from aiohttp import WSMsgType, web

from tests.loopback.faults import Faults, Streams, cut_frame, middleware
from tests.loopback.serving import Server

KEY, SECRET = "key-of-the-test", "secret-of-the-test"


class AlpacaData:
    """`quotes` and `bars` are what the HTTP interface answers, by symbol, as it words them;
    `subscribed` is what the last stream asked for; `timeframes` are those of the bars that were
    asked for, `starts` from when on each time; `feeds` has where from stocks were asked for, as the
    path of the stream or in a request."""

    def __init__(self, key: str = KEY, secret: str = SECRET) -> None:
        self._keys = key, secret
        self.faults = Faults()
        self.streams = Streams()
        self.quotes: dict[str, dict[str, Any]] = {}
        self.bars: dict[str, list[dict[str, Any]]] = {}
        self.subscribed: dict[str, list[str]] = {}
        self.timeframes: set[str] = set()
        self.starts: list[datetime] = []
        self.feeds: list[str | None] = []
        self._server = Server(self._app, self.faults)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[middleware(self.faults, _kind_of, _refusal)])
        app.router.add_get("/v2/{feed}", self._stream)
        app.router.add_get("/v1beta3/crypto/us", self._stream)
        app.router.add_get("/v2/stocks/quotes/latest", self._quotes)
        app.router.add_get("/v2/stocks/bars", self._bars)
        app.router.add_get("/v1beta3/crypto/us/latest/quotes", self._quotes)
        app.router.add_get("/v1beta3/crypto/us/bars", self._bars)
        return app

    async def start(self) -> None:
        """Listen, on the same port as before where it was stopped."""
        await self._server.start()

    async def stop(self) -> None:
        """The port is closed, and every connection with it."""
        await self.streams.close()
        await self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def stream_url(self) -> str:
        return self._server.stream_url

    def say(self, *messages: dict[str, Any]) -> None:
        """One frame; a `t` in nanoseconds becomes a MessagePack timestamp."""
        self.streams.say(_packed(*map(_worded, messages)))

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        self.feeds.append(request.match_info.get("feed"))
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        if self.streams.refuses:
            await socket.close()
            return socket
        await socket.send_bytes(_packed({"T": "success", "msg": "connected"}))
        login = msgpack.unpackb(await socket.receive_bytes())
        if (login.get("key"), login.get("secret")) != self._keys:
            failed = {"T": "error", "code": 402, "msg": "auth failed"}
            await socket.send_bytes(_packed(failed))
            await socket.close()
            return socket
        await socket.send_bytes(_packed({"T": "success", "msg": "authenticated"}))
        self.subscribed = msgpack.unpackb(await socket.receive_bytes())
        await socket.send_bytes(_packed({"T": "subscription"} | self.subscribed))

        async def send(message: bytes | str) -> None:
            assert isinstance(message, bytes)
            await socket.send_bytes(message)

        speaking = asyncio.create_task(
            self.streams.serve(send, socket.close, partial(cut_frame, request.transport))
        )
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    break
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        return socket

    async def _quotes(self, request: web.Request) -> web.Response:
        asked = request.query["symbols"].split(",")
        self.feeds.append(request.query.get("feed"))
        return web.json_response({"quotes": {s: self.quotes[s] for s in asked if s in self.quotes}})

    async def _bars(self, request: web.Request) -> web.Response:
        query = request.query
        self.timeframes.add(query["timeframe"])
        self.feeds.append(query.get("feed"))
        self.starts.append(_time(query["start"]))
        end = _time(query["end"])
        rows = {
            symbol: sorted(
                (
                    row
                    for row in self.bars.get(symbol, ())
                    if _time(query["start"]) <= _time(row["t"]) <= end
                ),
                key=lambda row: row["t"],
                reverse=query["sort"] == "desc",
            )[: int(query["limit"])]
            for symbol in query["symbols"].split(",")
        }
        return web.json_response({"bars": rows, "next_page_token": None})


def _kind_of(request: web.Request) -> str:
    last = request.path.rpartition("/")[2]
    return {"latest": "quotes", "bars": "bars"}.get(last, "stream")


def _refusal(status: int) -> web.Response:
    return web.json_response({"code": status * 100_000, "message": "refused"}, status=status)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _packed(*messages: dict[str, Any]) -> bytes:
    packed = msgpack.packb(messages, datetime=True)
    assert isinstance(packed, bytes)
    return packed


def _worded(message: dict[str, Any]) -> dict[str, Any]:
    if isinstance(ts := message.get("t"), int):
        return message | {"t": msgpack.Timestamp(*divmod(ts, 1_000_000_000))}
    return message
