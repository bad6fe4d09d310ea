"""Panels that stand still, and what ends it."""

import pytest
from msgspec.structs import replace

from tests.tui import scripted
from tests.tui.scripted import desk
from tui.still import FOR_S


async def test_frozen_panels_keep_their_numbers_while_the_top_goes_on() -> None:
    async with desk(scripted.paper()) as it:
        before = [line for line in it.screen.splitlines() if "AAPL" in line]
        await it.press("F")
        it.client.change(positions=(), quotes=(), ts=scripted.TS + 5 * scripted.NANOS)
        assert "FROZEN" in await it.draw(1)
        assert [line for line in it.screen.splitlines() if "AAPL" in line] == before
        assert "14:30:12" in it.screen
        await it.press("F")
        assert "FROZEN" not in it.screen
        assert [line for line in it.screen.splitlines() if "AAPL" in line] != before


@pytest.mark.parametrize("end", ["time", "kill", "lost", "another screen"])
async def test_it_ends_by_itself(end: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press("F")
        assert "FROZEN" in it.screen
        if end == "another screen":
            await it.press("2")
        elif end == "kill":
            assert it.client.snapshot is not None
            it.client.change(kill=replace(it.client.snapshot.kill, tripped=True))
            await it.draw()
        else:
            it.clock.now += FOR_S + 1 if end == "time" else 3
            if end == "time":
                it.client.change()
            await it.draw()
        assert "FROZEN" not in it.screen


async def test_an_engine_that_is_lost_cannot_be_frozen() -> None:
    async with desk(scripted.paper()) as it:
        await it.draw(3)
        await it.press("F")
        assert "FROZEN" not in it.screen


async def test_why_a_killed_engine_is_not_frozen_is_told() -> None:
    async with desk(scripted.killed(), size=(80, 24)) as it:
        await it.press("F")
        assert "not frozen: the engine is killed or lost" in it.screen
