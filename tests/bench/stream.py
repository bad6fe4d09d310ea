"""Alpaca's stream through alpaca-py and the whole engine: 500 symbols, 10,000 messages a second.

The server is a process of its own; a quote's time is when it was sent, and it is late by what has
passed when the machine has it. The limit is what no client of that stream can do without: its
WebSocket and the MessagePack of each frame, alone in this process. alpaca-py alone is what it does
for a handler that does nothing.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, Any, NamedTuple

import msgpack
from pydantic import SecretStr
from websockets.asyncio.client import connect

from engine.brokers.alpaca import Login
from engine.core.events import BarClosed, Event, QuoteUpdate
from engine.core.machine import Machine
from engine.core.model import AssetClass, Instrument
from engine.feeds.alpaca import AlpacaSource
from engine.feeds.base import Feed
from engine.feeds.live import LiveFeed
from engine.host.runtime import Parts
from tests.bench.engine import running, tapped
from tests.bench.measure import Figure, percentile
from tests.bench.stream_server import SYMBOLS
from tests.loopback.alpaca_data import KEY, SECRET

RATE, SECONDS = 10_000, 10.0
REST_S = 2.0
INSTRUMENTS = tuple(Instrument(s, AssetClass.STOCK, Decimal("0.01"), Decimal(1)) for s in SYMBOLS)


class Seen(NamedTuple):
    """How many messages were `sent` and `got`, how late the quotes were (ms), and the `cpu` of this
    process, in percent of a core."""

    sent: int
    got: int
    late: list[float]
    cpu: float


def measure() -> Iterator[Figure]:
    with server() as at:
        engine = through_the_engine(at)
        least, library = by(least_client, at), by(library_client, at)
    where = f"{len(SYMBOLS)} symbols, {RATE:,} messages/s through alpaca-py"
    yield Figure(
        f"{where}: arrived",
        engine.got,
        "messages",
        "sent",
        engine.sent,
        "all",
        engine.got == engine.sent,
    )
    peer = "websockets and msgpack"
    for percent in (50, 99):
        yield Figure(
            f"{where}: late, p{percent}",
            percentile(engine.late, percent),
            "ms",
            peer,
            percentile(least.late, percent),
            note=f"alpaca-py alone {percentile(library.late, percent):.2f} ms",
        )
    yield Figure(
        f"{where}: engine",
        engine.cpu,
        "% CPU",
        peer,
        least.cpu,
        note=f"alpaca-py alone {library.cpu:.1f} %",
    )


class Server:
    """The process at the other end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout
        self.url, self.stream_url = self._out.readline().split()

    def flow(self, rate: int = RATE, seconds: float = SECONDS) -> int:
        """How many messages were sent, once they were."""
        print(rate, seconds, file=self._in, flush=True)
        return sum(map(int, self._out.readline().split()))


@contextmanager
def server() -> Iterator[Server]:
    argv = [sys.executable, "-m", "tests.bench.stream_server"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


class Meter:
    """Counts messages as they come, and how late the quotes are."""

    def __init__(self) -> None:
        self.got = 0
        self.late: list[float] = []

    def take(self, sent_ts: int | None) -> None:
        self.got += 1
        if sent_ts is not None:
            self.late.append((time.time_ns() - sent_ts) / 1e6)

    def message(self, message: dict[str, Any]) -> None:
        if message["T"] in ("q", "b"):
            self.take(message["t"].to_unix_nano() if message["T"] == "q" else None)

    def event(self, _: Machine, event: Event) -> None:
        if isinstance(event, QuoteUpdate):
            self.take(event.quote.ts)
        elif isinstance(event, BarClosed):
            self.take(None)

    def watch(self, flow: Callable[[], int]) -> Seen:
        """What came of `flow`, and within a while after it."""
        began, cpu = time.perf_counter(), time.process_time()
        sent = flow()
        taken = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        deadline = time.perf_counter() + REST_S
        while self.got < sent and time.perf_counter() < deadline:
            time.sleep(0.01)
        return Seen(sent, self.got, self.late, taken)


def through_the_engine(at: Server) -> Seen:
    login = Login(SecretStr(KEY), SecretStr(SECRET), data_url=at.url, data_stream_url=at.stream_url)

    async def feed(*_: object) -> Feed:
        return LiveFeed([AlpacaSource(login, INSTRUMENTS)])

    meter = Meter()
    with (
        running(Parts(feed=feed), strategies=(), stale_after_s=86_400),
        tapped(Machine, "process", meter.event),
    ):
        return meter.watch(at.flow)


# --- without the engine --------------------------------------------------------------------------


def by(client: Callable[[str, Meter], Coroutine[Any, Any, None]], at: Server) -> Seen:
    """What a client that only listens sees."""

    async def listen() -> Seen:
        meter = Meter()
        listening = asyncio.create_task(client(f"{at.stream_url}/v2/iex", meter))
        await asyncio.sleep(1)
        seen = await asyncio.to_thread(meter.watch, at.flow)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return seen

    return asyncio.run(listen())


async def least_client(url: str, meter: Meter) -> None:
    async with connect(url, compression=None) as socket:
        await socket.recv()
        for said in (
            {"action": "auth", "key": KEY, "secret": SECRET},
            {"action": "subscribe", "quotes": SYMBOLS, "bars": SYMBOLS},
        ):
            await socket.send(bytes(msgpack.packb(said) or b""))
            await socket.recv()
        async for frame in socket:
            for message in msgpack.unpackb(frame):
                meter.message(message)


async def library_client(url: str, meter: Meter) -> None:
    from alpaca.data.live import StockDataStream

    async def take(message: dict[str, Any]) -> None:
        meter.message(message)

    stream: Any = StockDataStream(KEY, SECRET, raw_data=True, url_override=url)
    stream.subscribe_quotes(take, *SYMBOLS)
    stream.subscribe_bars(take, *SYMBOLS)
    await stream._start_ws()
    await stream._send_subscribe_msg()
    await stream._consume()
