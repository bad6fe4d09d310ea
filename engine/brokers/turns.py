"""How long a request waits for its turn, where a venue takes only so many.

An order or a question about one waits shortly, and is refused: it is asked anew, or not wanted any
more. The requests of an account statement have more patience: refused amid it, it would begin anew
each time, use up what the venue takes, and never end. Whatever a cancel asks for has the room that
is kept for cancels.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from engine.brokers.throttle import TokenBucket

SHORTLY_S = 1.0


class Patience:
    """`is_tried` while a request waits for its turn. That time is not the broker's: it is added to
    the `deadline` of what is asked."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.deadline: asyncio.Timeout | None = None
        self.is_tried = False

    async def wait(self, seconds: float) -> None:
        """Raises nothing; the caller has looked at what is `left`."""
        self.left -= seconds
        if self.deadline is not None and (when := self.deadline.when()) is not None:
            self.deadline.reschedule(when + seconds)
        self.is_tried = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.is_tried = False


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


async def wait_for_turn(bucket: TokenBucket, cost: float) -> None:
    """Until `bucket` has room for the request, or its patience is at an end."""
    turn, cancel = patience(), is_for_a_cancel()
    while (wait_s := bucket.wait_s(cost, cancel=cancel)) and wait_s <= turn.left:
        await turn.wait(wait_s)
