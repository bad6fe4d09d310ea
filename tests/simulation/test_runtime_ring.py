"""The runtime on a virtual loop: seeds that hold, deaths at every kind of moment, and a loop whose
order is the seed's."""

import asyncio
import time
from random import Random

import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.simulation.runtime import deaths, play, play_death
from engine.simulation.runtime_world import Venue
from engine.simulation.virtual_loop import Crash, Deadlock, VirtualLoop

SEEDS = (*range(8), 1044)
"""1044 once broke I8: a fill on its way at an orderly stop left its order open in the database."""


@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_breaks(seed: int) -> None:
    outcome = play(seed)
    assert outcome.broken == ""
    assert outcome.seen["steps"] > 1_000


def test_a_seed_is_the_same_session_again() -> None:
    first, again, other = play(3), play(3), play(4)
    assert first == again
    assert first.digest != other.digest


@pytest.mark.parametrize(("kind", "every"), [("call", 7), ("step", 151)])
def test_whenever_it_dies_nothing_is_lost(kind: str, every: int) -> None:
    """Up to the death that comes after the session; every single one is for the nightly run."""
    died = 0
    for death in deaths(kind, every):
        outcome = play_death(death)
        assert outcome.broken == "", death
        if not outcome.seen["died"]:
            break
        died += 1
    assert died > 5


def test_an_order_that_is_sent_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice(self: Venue, order: object) -> object:
        await send(self, order)  # type: ignore[arg-type]
        return await send(self, order)  # type: ignore[arg-type]

    send = Venue.submit_order
    monkeypatch.setattr(Venue, "submit_order", twice)
    assert "I2" in play_death(next(deaths("step", 1))).broken


def test_the_command_tells_what_it_did() -> None:
    result = CliRunner().invoke(main, ["simulate", "--ring", "runtime", "--seeds", "2"])
    assert result.exit_code == 0, result.output
    assert "2 seeds" in result.output
    assert "0 broke a law" in result.output


# --- the loop ------------------------------------------------------------------------------------


def order_of(seed: int) -> list[int]:
    ran: list[int] = []

    async def runs(number: int) -> None:
        await asyncio.sleep(1)
        ran.append(number)

    async def all_of_them() -> None:
        await asyncio.gather(*map(runs, range(20)))

    loop = VirtualLoop(Random(seed))
    loop.run_until_complete(all_of_them())
    loop.close()
    return ran


def test_the_seed_decides_who_runs_next() -> None:
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)
    assert sorted(order_of(1)) == list(range(20))


def test_hours_pass_at_once() -> None:
    loop, began = VirtualLoop(Random(1)), time.monotonic()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == pytest.approx(86_400)
    assert time.monotonic() - began < 3_600
    loop.close()


def test_where_nothing_is_scheduled_everybody_waits_for_everybody() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop(Random(1))
    task = loop.create_task(waits())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_it_dies_at_the_step_that_was_drawn() -> None:
    async def goes_on() -> None:
        for _ in range(1_000):
            await asyncio.sleep(1)

    loop = VirtualLoop(Random(1), crash_at=50)
    task = loop.create_task(goes_on())
    with pytest.raises(Crash):
        loop.run_until_complete(task)
    assert loop.steps == 50
    loop.crash_at = 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
