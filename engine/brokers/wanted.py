"""Whether an order is still wanted when its turn to leave comes.

Between the request and the wire an adapter may wait: for a thread, a token, the number of a symbol,
the limit of requests. A kill in that time is not to be followed by an order.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from engine.ops.errors import NotSent

P = ParamSpec("P")
T = TypeVar("T")

GONE = "cancelled before it left"

_is_wanted: ContextVar[Callable[[], bool]] = ContextVar("is_wanted", default=lambda: True)


@contextmanager
def while_wanted(is_wanted: Callable[[], bool]) -> Generator[None]:
    """What is sent within the block leaves only while `is_wanted`."""
    token = _is_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_wanted.reset(token)


def check_wanted() -> None:
    """To be called right before an order, or its replace, leaves. Raises NotSent where it is not
    wanted any more."""
    if not _is_wanted.get()():
        raise NotSent(GONE)


def if_wanted(call: Callable[P, T]) -> Callable[P, T]:
    """`call`, with `check_wanted` when it is made, on whatever thread that is."""
    is_wanted = _is_wanted.get()

    def leave(*arguments: P.args, **named: P.kwargs) -> T:
        if not is_wanted():
            raise NotSent(GONE)
        return call(*arguments, **named)

    return leave
