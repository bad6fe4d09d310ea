"""How long a request waits for its turn, where a venue takes only so many.

An order or a question about one waits shortly, and is refused: it is asked anew, or not wanted any
more. The requests of an account statement have more patience: refused amid it, it would begin anew
each time, use up what the venue takes, and never end. Whatever a cancel asks for has the room that
is kept for cancels, and where that is gone too they leave one after another, before all else.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

from engine.brokers.throttle import TokenBucket
from engine.brokers.wanted import check_wanted

SHORTLY_S = 2.0
"""Longer than the second in which some venues count."""


class Patience:
    """For how many seconds a request waits for its turn. That time is not the broker's: it is added
    to the `deadline` of what is asked. `is_tried` while it waits; `waited` is how long it did."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.waited = 0.0
        self.deadline: asyncio.Timeout | None = None
        self.is_tried = False

    @contextmanager
    def waiting(self) -> Generator[None]:
        """The block waits for the request's turn; the caller has looked at what is `left`."""
        loop, deadline = asyncio.get_running_loop(), self.deadline
        began, when = loop.time(), None if deadline is None else deadline.when()
        if deadline is not None:
            deadline.reschedule(None)
        self.is_tried = True
        try:
            yield
        finally:
            self.is_tried = False
            waited = loop.time() - began
            self.waited += waited
            self.left -= waited
            if deadline is not None and when is not None:
                deadline.reschedule(when + waited)


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def with_patience(patience: Patience) -> Generator[None]:
    """What is asked within the block waits as long as `patience` lasts."""
    token = _patience.set(patience)
    try:
        yield
    finally:
        _patience.reset(token)


def patience() -> Patience:
    """That of the request that is made here."""
    return _patience.get() or Patience(SHORTLY_S)


_cancels: ContextVar[bool] = ContextVar("cancels", default=False)


@contextmanager
def for_a_cancel() -> Generator[None]:
    """What is asked within the block is asked to cancel an order."""
    token = _cancels.set(True)
    try:
        yield
    finally:
        _cancels.reset(token)


def is_for_a_cancel() -> bool:
    """Whether the request that is made here is."""
    return _cancels.get()


async def wait_for_turn(bucket: TokenBucket, cost: float = 1.0) -> None:
    """Until `bucket` has room for the request, or its patience is at an end."""
    await _wait(bucket, cost, None)


async def take_turn(bucket: TokenBucket, cost: float = 1.0) -> None:
    """Wait until `bucket` has room for the request, and count it: it leaves now.

    Raises RateLimited where its patience is at an end, NotSent where it is not wanted any more.
    """
    cancel = is_for_a_cancel()
    with bucket.in_line(cost) if cancel else nullcontext() as place:
        await _wait(bucket, cost, place)
        check_wanted()
        bucket.take(cost, cancel=cancel, place=place)


async def _wait(bucket: TokenBucket, cost: float, place: object | None) -> None:
    turn, cancel = patience(), is_for_a_cancel()
    while wait_s := bucket.wait_s(cost, cancel=cancel, place=place):
        if wait_s > turn.left:
            return
        with turn.waiting():
            await asyncio.sleep(wait_s)
