"""What waits for its turn at a venue, asked for in one request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Generic, TypeVar

from engine.brokers.turns import Patience, patience, with_patience
from engine.brokers.wanted import while_wanted
from engine.ops.errors import InDoubt, NotConnected

K = TypeVar("K")
A = TypeVar("A")


class Batch(Generic[K, A]):
    """Whatever is asked for until `turn` has come goes in one request, `ask`, which answers each of
    its keys. Both run in a task of their own: nobody's deadline ends what others wait for."""

    def __init__(
        self,
        turn: Callable[[], Awaitable[object]],
        ask: Callable[[Sequence[K]], Awaitable[Mapping[K, A]]],
    ) -> None:
        self._turn = turn
        self._ask = ask
        self._waiting: dict[K, asyncio.Future[A]] = {}
        self._left = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: K) -> A:
        """Its answer. Raises what the request does, InDoubt where that answers others alone."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._left = asyncio.Event()
            task = loop.create_task(self._lead(self._waiting, self._left))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer, left = self._waiting.setdefault(key, loop.create_future()), self._left
        with patience().waiting():
            await left.wait()
        return await asyncio.shield(answer)

    def close(self) -> None:
        """Nobody is asked any more; who waits is told so."""
        for task in self._tasks:
            task.cancel()

    async def _lead(self, waiting: dict[K, asyncio.Future[A]], left: asyncio.Event) -> None:
        failure: BaseException | None = None
        answers: Mapping[K, A] = {}
        try:
            with with_patience(Patience(inf)), while_wanted(lambda: True):
                await self._turn()
                self._waiting = {}
                left.set()
                answers = await self._ask(list(waiting))
        except asyncio.CancelledError:
            failure = NotConnected("the connection was given up")
        except Exception as error:
            failure = error
        finally:
            if self._waiting is waiting:
                self._waiting = {}
            left.set()
        for key, answer in waiting.items():
            if failure is None and key in answers:
                answer.set_result(answers[key])
            else:
                answer.set_exception(failure or InDoubt("the answer does not name it"))
            answer.exception()  # who waited may have gone
