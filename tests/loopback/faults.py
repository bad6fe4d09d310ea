"""Faults on demand: of requests by their kind, and of what a server says without being asked.

`Faults` and `Streams` know no protocol; `middleware` puts the first into a server of aiohttp.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiohttp import web

RETRY_AFTER_S = 7
SLOW_S = 0.2
LATE_S = 60.0
GARBAGE = b'\x00\xff\x1b]52;c;\x07 {"id": \xc3\x28'
HTML = "<html><body><h1>\x1b[2J Bad gateway [/x]</h1></body></html>"

Send = Callable[[Any], Awaitable[None]]
Cut = Callable[[bytes, int | None], None]
"""Ends a connection in a message, of which so many bytes were sent, or half."""


class Fault(StrEnum):
    """What becomes of a request. With `LOST` and those after it the venue has carried it out."""

    SLOW = "slow"
    """It is answered, but late."""
    HANG = "hang"
    """Nobody reads it, and nobody answers."""
    RESET = "reset"
    """The connection ends before it is looked at."""
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    RATE_LIMITED = "429"
    """With Retry-After of RETRY_AFTER_S, or of the server's `limit`."""
    RATE_LIMITED_BARE = "429 without Retry-After"
    BANNED = "418"
    """As Binance bans an address, with Retry-After."""
    SERVER_ERROR = "500"
    """Not carried out; the body is HTML."""
    REDIRECT = "307"
    """To itself: whoever follows sends everything once more."""
    LOST = "answer lost"
    LATE = "answered after a minute"
    MUTE = "answer never comes"
    SERVER_ERROR_AFTER = "500 after acceptance"
    GATEWAY_TIMEOUT = "504 after acceptance"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    EMPTY = "empty"


STATUS = {
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.RATE_LIMITED: 429,
    Fault.RATE_LIMITED_BARE: 429,
    Fault.BANNED: 418,
    Fault.SERVER_ERROR: 500,
    Fault.SERVER_ERROR_AFTER: 500,
    Fault.GATEWAY_TIMEOUT: 504,
}
CARRIED_OUT = frozenset(list(Fault)[list(Fault).index(Fault.LOST) :])
"""The venue did what was asked; its answer is not there, or is none."""


@dataclass(frozen=True)
class Answer:
    """Given in the place of the venue, which is not asked."""

    body: bytes
    status: int = 200


Meets = Fault | bytes | Answer
"""What may become of a request; bytes are the body of an Answer."""


class Limit:
    """Takes `most` requests in any `seconds`, as `clock` counts them."""

    def __init__(
        self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._taken: deque[float] = deque([float("-inf")] * most, most)

    def take(self) -> float:
        """Count a request; 0, or in how many seconds the next one is taken."""
        now = self._clock()
        wait_s = max(0.0, self._taken[0] + self._seconds - now)
        if not wait_s:
            self._taken.append(now)
        return wait_s


class Faults:
    """Counts every request that comes, by its kind (submit, cancel, replace, order, orders, fills,
    positions, balance, quote, login or other), and says what is to become of it. `answers` has the
    last one of each kind that was given as it should be. `struck`
    counts what became of them as it was planned, `late` the answers that were given late.

    While there is a `limit` what is beyond it is RATE_LIMITED: `limited` are so many. Such an
    answer says to come again after `retry_after_s`.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.answers: dict[str, bytes] = {}
        self.struck: Counter[tuple[str, Meets]] = Counter()
        self.limit: Limit | None = None
        self.limited = 0
        self.late = 0
        self.retry_after_s = float(RETRY_AFTER_S)
        self.closing = asyncio.Event()
        self._came = asyncio.Event()
        self._planned: dict[str, deque[Meets]] = {}

    def plan(self, kind: str, *faults: Meets) -> None:
        """What becomes of the next requests of `kind`, one after another."""
        self._planned.setdefault(kind, deque()).extend(faults)

    def heal(self) -> None:
        """Nothing that was planned becomes of any request."""
        self._planned.clear()

    def take(self, kind: str) -> Meets | None:
        """A request came: what becomes of it."""
        self.requests[kind] += 1
        self._came.set()
        if self.limit is not None and (wait_s := self.limit.take()):
            self.limited += 1
            self.retry_after_s = wait_s
            return Fault.RATE_LIMITED
        planned = self._planned.get(kind)
        fault = planned.popleft() if planned else None
        if fault is not None:
            self.struck[kind, fault] += 1
        return fault

    async def has_come(self, kind: str, times: int) -> None:
        """Until there were so many requests of `kind`, in all."""
        while self.requests[kind] < times:
            self._came.clear()
            await self._came.wait()


def middleware(
    faults: Faults,
    kind_of: Callable[[web.Request], str],
    refusal: Callable[[int], web.Response],
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Makes the faults of an aiohttp server. `refusal` words a status as the venue does."""

    @web.middleware
    async def meet(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        kind = kind_of(request)
        fault = faults.take(kind)
        if fault is None:
            answer = await handler(request)
            if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
                faults.answers[kind] = answer.body
            return answer
        if isinstance(fault, bytes):
            fault = Answer(fault)
        if isinstance(fault, Answer):
            json = "application/json"
            return web.Response(status=fault.status, body=fault.body, content_type=json)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
            return await handler(request)
        if fault is Fault.HANG:
            await faults.closing.wait()
            return _gone(request)
        answer = await handler(request) if fault in CARRIED_OUT else None
        if fault is Fault.LATE:
            await asyncio.sleep(LATE_S)
            faults.late += 1
            assert answer is not None
            return answer
        if fault is Fault.MUTE:
            await faults.closing.wait()
        if fault in (Fault.MUTE, Fault.RESET, Fault.LOST):
            return _gone(request)
        if fault is Fault.REDIRECT:
            return web.Response(status=307, headers={"Location": str(request.url)})
        if fault in STATUS:
            return _status(fault, refusal, math.ceil(faults.retry_after_s))
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        body = {
            Fault.TRUNCATED: answer.body[: len(answer.body) // 2],
            Fault.GARBAGE: GARBAGE,
            Fault.EMPTY: b"",
        }[fault]
        return web.Response(body=body, content_type="application/json")

    return meet


def _status(
    fault: Fault, refusal: Callable[[int], web.Response], retry_after_s: int
) -> web.Response:
    status = STATUS[fault]
    if status >= 500:
        return web.Response(status=status, text=HTML, content_type="text/html")
    answer = refusal(status)
    if fault in (Fault.RATE_LIMITED, Fault.BANNED):
        answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def _gone(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class StreamFault(StrEnum):
    """What becomes of what a server says without being asked."""

    DOUBLED = "doubled"
    """Each message is said twice."""
    REORDERED = "reordered"
    """Of two messages the second is said first."""
    MUTE = "mute"
    """Nothing is said, and it is lost; the connection stays."""
    GAP = "gap"
    """There was no connection, and none was taken."""
    HALF = "half a frame"
    """The line is cut in the middle of a message."""
    GARBAGE = "garbage"
    """A message has bytes in its middle that are none of the protocol's."""


class Streams:
    """The connections to which a server speaks without being asked, and their faults.

    `doubled`, `reordered` and `mute` are faults as long as they are set, `halved` and `garbled` up
    to the next message; of one that is halved so many bytes are `kept`, half where it is None.
    `refuses` is for the server to look at: whether it takes no new connection.
    `struck` counts the messages that met a fault.
    """

    def __init__(self) -> None:
        self.doubled = False
        self.reordered = False
        self.mute = False
        self.halved = False
        self.garbled = False
        self.kept: int | None = None
        self.refuses = False
        self.joined = 0
        self.struck: Counter[StreamFault] = Counter()
        self._held: list[bytes | str] = []
        self._withheld: list[bytes | str] | None = None
        self._queues: dict[asyncio.Queue[bytes | str], _Connection] = {}
        self._came = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are connected now."""
        return len(self._queues)

    async def serve(self, send: Send, close: Callable[[], Awaitable[object]], cut: Cut) -> None:
        """Speak to one connection until it ends, which is when this is cancelled or `send` fails;
        `close` ends it from here, `cut` does so in the middle of a message."""
        queue: asyncio.Queue[bytes | str] = asyncio.Queue()
        self._queues[queue] = _Connection(close, cut)
        self.joined += 1
        self._came.set()
        try:
            while True:
                await send(await queue.get())
        except ConnectionError:
            pass
        finally:
            self._queues.pop(queue, None)

    async def has_joined(self, times: int = 1) -> None:
        """Until so many connections were made, in all."""
        while self.joined < times:
            self._came.clear()
            await self._came.wait()

    @contextmanager
    def withheld(self) -> Generator[list[bytes | str]]:
        """What is said within the block, and nobody hears."""
        self._withheld = said = []
        try:
            yield said
        finally:
            self._withheld = None

    def say(self, message: bytes | str) -> None:
        if self._withheld is not None:
            self._withheld.append(message)
        elif self.mute:
            self.struck[StreamFault.MUTE] += 1
        elif not self._queues:
            self.struck[StreamFault.GAP] += 1
        elif self.garbled:
            self.garbled = False
            self.struck[StreamFault.GARBAGE] += 1
            self._say(_garbled(message))
        elif self.halved:
            self.halved = False
            self.struck[StreamFault.HALF] += 1
            for connection in self._queues.values():
                whole = message if isinstance(message, bytes) else message.encode()
                connection.cut(whole, self.kept)
        else:
            self._say(message)

    def _say(self, message: bytes | str) -> None:
        messages = [message]
        if self.reordered:
            self._held.append(message)
            if len(self._held) < 2:
                return
            self.struck[StreamFault.REORDERED] += 1
            messages, self._held = self._held[::-1], []
        if self.doubled:
            self.struck[StreamFault.DOUBLED] += 1
        for queue in self._queues:
            for each in messages:
                for _ in range(2 if self.doubled else 1):
                    queue.put_nowait(each)

    def heal(self) -> None:
        """What is said from now on arrives."""
        self.doubled = self.reordered = self.mute = self.halved = self.garbled = False
        self.refuses = False

    async def close(self) -> None:
        """End every connection, as when the line is cut in order."""
        for connection in list(self._queues.values()):
            await connection.close()


def _garbled(message: bytes | str) -> bytes | str:
    middle = len(message) // 2
    if isinstance(message, str):
        return message[:middle] + GARBAGE.decode("latin-1") + message[middle:]
    return message[:middle] + GARBAGE + message[middle:]


@dataclass(frozen=True)
class _Connection:
    close: Callable[[], Awaitable[object]]
    cut: Cut


def part_of(frame: bytes, kept: int | None) -> bytes:
    """The first `kept` bytes, or half of them."""
    return frame[: len(frame) // 2 if kept is None else kept]


def cut_frame(transport: asyncio.BaseTransport | None, message: bytes, kept: int | None) -> None:
    """A part of a WebSocket's frame of text, and then the end of the line."""
    assert isinstance(transport, asyncio.Transport)
    header = bytes([0x81, 126]) + len(message).to_bytes(2, "big")
    transport.write(part_of(header + message, kept))
    transport.close()
