"""What keeps the engine's loop in time: Python's garbage collector has little to look through."""

import gc
from asyncio import sleep
from collections.abc import Iterator
from random import Random
from weakref import ref

import pytest

from engine.health import SETTLED_S, apart_from_start
from engine.simulation.virtual_loop import VirtualLoop
from tests.week import Week


class Cycle:
    """Only the garbage collector can take it away."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(Random(1))
    yield loop
    loop.close()


def test_what_comes_after_the_start_is_collected_however_long_it_lived(loop: VirtualLoop) -> None:
    async def session() -> None:
        with apart_from_start():
            await sleep(2 * SETTLED_S)
            cycle = Cycle()
            gone = ref(cycle)
            await sleep(10 * SETTLED_S)
            del cycle
            gc.collect()
            assert gone() is None

    loop.run_until_complete(session())


def test_what_a_start_makes_is_not_looked_through_until_the_end(loop: VirtualLoop) -> None:
    async def session() -> None:
        with apart_from_start():
            made = Cycle()
            await sleep(SETTLED_S + 1)
            assert not any(it is made for it in gc.get_objects())
        assert any(it is made for it in gc.get_objects())

    loop.run_until_complete(session())


def test_a_session_that_ends_before_it_has_settled_freezes_nothing(loop: VirtualLoop) -> None:
    async def session() -> None:
        with apart_from_start():
            await sleep(SETTLED_S / 2)
        await sleep(SETTLED_S)
        assert gc.get_freeze_count() == 0

    loop.run_until_complete(session())


def test_orders_executions_and_events_are_none_of_the_collectors_concern() -> None:
    week = Week(seed=1)
    week.run(1_000)
    gc.collect()
    started = len(gc.get_objects())
    week.run(40_000)
    gc.collect()
    orders = week.machine.orders.orders
    assert len(orders) > 100
    assert len(gc.get_objects()) - started < len(orders)
