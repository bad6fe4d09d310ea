"""What keeps the engine's loop in time, as Python's garbage collector has little to look through;
and what is measured of it."""

import gc
from asyncio import sleep
from collections.abc import Iterator
from random import Random
from weakref import ref

import pytest

from engine.host.health import ANSWERS_KEPT, SETTLED_S, AnswerTimes, Throughput, apart_from_start
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
    kept = {id(s) for s in (*week.causes.signals.values(), *week.causes.orders.values())}
    stories = 2 * len(kept)  # each a list of facts; there are only so many (tests/test_bounded.py)
    assert len(gc.get_objects()) - started - stories < len(orders)


def test_answer_times_are_of_the_last_requests_and_unknown_before_the_first() -> None:
    times = AnswerTimes()
    assert (times.count, times.ms(0.5), times.ms(0.99)) == (0, None, None)
    for number in range(100):
        times.add(number / 1000)
    assert (times.count, times.ms(0.5), times.ms(0.99)) == (100, 50, 99)
    for _ in range(ANSWERS_KEPT):
        times.add(0.007)
    assert (times.count, times.ms(0.5), times.ms(0.99)) == (ANSWERS_KEPT, 7, 7)


def test_events_a_second_are_of_the_last_seconds() -> None:
    throughput = Throughput()
    assert throughput.at(10.0, 1_000) is None
    assert throughput.at(10.5, 1_500) is None
    assert throughput.at(12.0, 2_000) == 500
    assert throughput.at(60.0, 2_000) is None
    assert throughput.at(61.0, 2_000) == 0
