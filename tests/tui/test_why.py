"""The dialog that says why: what it asks, what it shows, while it waits and when nothing comes."""

import pytest
from msgspec.structs import replace

from engine.ops.errors import UserError
from engine.view.questions import (
    Chain,
    Number,
    Question,
    Step,
    WhyFill,
    WhyOrder,
    WhyPosition,
    WhySignal,
)
from tests.tui import scripted, whys
from tests.tui.scripted import Desk, desk, to
from tui.dialogs.why import WhyDialog
from tui.frame import LOST_AFTER

ORDER = (*to("orders"), "end")
WHYS = WhyOrder, WhyFill, WhyPosition, WhySignal


def is_open(it: Desk) -> bool:
    return isinstance(it.app.screen, WhyDialog)


async def answer(it: Desk, chain: Chain) -> str:
    """Have the last question answered, as another thread does; what is on the screen then."""
    _, future = it.client.asked[-1]
    future.set_result(chain)
    return await it.draw()


@pytest.mark.parametrize(
    ("keys", "question"),
    [
        (ORDER, whys.ASK_ENTRY),
        ((*to("positions"), "home"), whys.ASK_POSITION),
        ((*to("signals"), "home"), whys.ASK_BLOCKED),
        (("2", "t", "end"), whys.ASK_FILL),
    ],
)
async def test_w_asks_why_there_is_the_selected_row(
    keys: tuple[str, ...], question: Question[Chain]
) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*keys, "w")
        assert is_open(it)
        assert [asked for asked, _ in it.client.asked if isinstance(asked, WHYS)] == [question]
        assert it.sent == []


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_it_waits_and_then_shows_the_chain_from_the_bar_to_the_fill(
    size: tuple[int, int],
) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press(*ORDER, "w")
        assert "asking the engine …" in it.screen
        screen = await answer(it, whys.FILLED)
        assert "asking" not in screen
        assert "PAPER" in screen.splitlines()[0]
        seen = screen
        for _ in range(8):
            await it.press("pagedown")
            seen += it.screen
        for step in whys.FILLED.steps:
            assert step.title in seen
        for text in ("169.98", "fast 170.04799", "at most 5 %", "+1.9 s", "b-771204", "x-5512"):
            assert text in seen


async def test_escape_goes_back_while_it_waits_and_after() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*ORDER, "w", "escape")
        assert not is_open(it)
        await answer(it, whys.FILLED)
        assert "Risk checks" not in it.screen
        await it.press("w")
        await answer(it, whys.FILLED)
        await it.press("escape")
        assert not is_open(it)


async def test_what_blocked_a_signal_and_what_would_have_let_it_pass_comes_first() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press(*to("signals"), "home", "w")
        screen = await answer(it, whys.BLOCKED)
        assert "blocked: position size would be 5.4 %" in screen
        assert "It would have passed with" in screen
        assert "position size at most 5 % (MAX_POSITION_SIZE_PCT)" in screen
        assert "neither a bar nor a" in screen
        await it.press("pagedown", "pagedown")
        assert "✗ position size" in it.screen


async def test_a_number_that_is_not_known_is_said_to_be_unknown() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("signals"), "home", "w")
        screen = await answer(it, whys.BLOCKED)
        (line,) = [line for line in screen.splitlines() if "✗ venue buying power" in line]
        assert "unknown $" in line


async def test_a_failure_is_told_in_its_own_words() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*ORDER, "w")
        _, future = it.client.asked[-1]
        future.set_exception(UserError("no order x is recorded", "ask again in a moment"))
        screen = await it.draw()
        assert "no order x is recorded" in screen
        assert "ask again in a moment" in screen


async def test_a_lost_engine_is_not_waited_for_in_silence() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*ORDER, "w")
        assert "ENGINE LOST: not heard of for" in await it.draw(LOST_AFTER)
        it.client.ended = "the engine ended with OSError; see the log"
        assert "no answer will come: the engine has ended" in await it.draw()


async def test_an_answer_that_is_there_stays_when_the_engine_is_lost() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*ORDER, "w")
        await answer(it, whys.FILLED)
        assert "7 of 7 limits kept" in await it.draw(LOST_AFTER)


@pytest.mark.parametrize("panel", ["quotes", "risk", "strategies", "log"])
async def test_other_panels_say_where_why_can_be_asked(panel: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to(panel), "w")
        assert not is_open(it)
        assert it.client.asked == []
        assert "select a row of signals, orders, fills, positions first" in it.screen


async def test_a_panel_without_rows_asks_nothing() -> None:
    async with desk(scripted.empty()) as it:
        await it.press(*to("orders"), "w")
        assert it.client.asked == []
        assert "select a row first" in it.screen


async def test_an_engine_that_is_starting_is_not_asked() -> None:
    async with desk(None) as it:
        await it.press(*to("orders"), "w")
        assert it.client.asked == []
        assert "the engine is still starting" in it.screen


async def test_text_from_outside_is_shown_clean() -> None:
    evil = scripted.hostile().account
    step = Step(whys.BAR_TS, None, evil, evil, (Number(evil, 1.0, evil),))
    check = Number(evil, 1.0, evil, evil, 2.0, False, evil)
    chain = Chain(evil, evil, (step, replace(step, numbers=(check,))), (evil,), (evil,))
    async with desk(scripted.paper()) as it:
        await it.press(*ORDER, "w")
        screen = await answer(it, chain)
        assert "(red)x(/)" in screen
        assert screen.replace("\n", "").isprintable()
