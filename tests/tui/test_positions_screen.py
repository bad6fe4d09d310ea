"""The positions screen: positions, the equity curve, and P&L by strategy."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.model import NANOS
from engine.ops.errors import UserError
from engine.view.questions import Equity, EquityCurve
from tests.tui import scripted
from tests.tui.scripted import CURVE, TS, Desk, desk
from tests.tui.test_risk_screen import line, note
from tui.widgets.equity import ASK_EVERY, POINTS, chart


async def opened(it: Desk, curve: EquityCurve | None = CURVE) -> str:
    """What is on the screen of positions, with `curve` for an answer."""
    if curve is not None:
        it.client.answers[Equity(POINTS)] = curve
    await it.press("3")
    return await it.draw()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (250, 70)])
async def test_a_position_shows_what_share_of_the_equity_it_is(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await opened(it)
        aapl = line(it.screen, "AAPL", "4.91%")
        assert ("4,933.6" in aapl) is (size[0] > 80)
        assert all(text in aapl for text in ("29", "169.98", "170.12", "166.58", "4.91%", "mid"))
        eth = line(it.screen, "ETH-USD")
        assert "—" in eth
        assert "0.00%" not in eth


async def test_a_mark_shows_its_age_and_a_stale_one_says_so() -> None:
    bare = replace(scripted.POSITIONS[0], unprotected=Decimal(9))
    snapshot = replace(scripted.stale(), positions=(bare, *scripted.POSITIONS[1:]))
    async with desk(snapshot, size=(200, 50)) as it:
        await opened(it)
        btc = line(it.screen, "BTC-USD", "37,913.4")
        assert "STALE" in btc
        assert " 5m " in btc
        aapl = line(it.screen, "AAPL", "170.12")
        assert " mid " in aapl
        assert "PART 166.58" in aapl
        assert " 9 " in aapl  # without a stop


async def test_without_equity_no_share_is_made_up() -> None:
    async with desk(replace(scripted.paper(), equity=None)) as it:
        await opened(it)
        assert "%" not in line(it.screen, "AAPL", "4,933.6")


async def test_the_curve_shows_highest_lowest_last_and_the_times() -> None:
    async with desk(scripted.paper()) as it:
        screen = await opened(it)
        equities = [point.equity for point in CURVE.points]
        assert f"{max(equities):,}" in screen
        assert f"{min(equities):,}" in screen
        assert note(it, "equity") == f"last {equities[-1]:,} USD at 14:29:07"
        line(screen, "10:30:07", "14:29:07")


async def test_it_is_asked_for_at_once_and_again_now_and_then_while_it_is_in_sight() -> None:
    async with desk(scripted.paper()) as it:
        assert it.client.asked == []
        await opened(it)
        for _ in range(10):
            await it.draw(1.0)
        assert [question for question, _ in it.client.asked] == [Equity(POINTS)]
        await it.draw(ASK_EVERY)
        assert len(it.client.asked) == 2
        await it.press("1")
        await it.draw(10 * ASK_EVERY)
        assert len([q for q, _ in it.client.asked if isinstance(q, Equity)]) == 2
        await it.press("3")
        assert len([q for q, _ in it.client.asked if isinstance(q, Equity)]) == 3


async def test_while_nobody_answered_it_says_so_and_why_not() -> None:
    async with desk(scripted.paper()) as it:
        assert "asking for the equity curve" in await opened(it, None)
        ((_, answer),) = it.client.asked
        answer.set_exception(UserError("the database is locked", "wait"))
        assert "no equity curve: the database is locked" in await it.draw()


async def test_a_curve_that_is_not_answered_again_stays_and_says_that_it_is_old() -> None:
    async with desk(scripted.paper()) as it:
        await opened(it)
        it.client.answers.clear()
        await it.draw(ASK_EVERY)
        it.client.asked[-1][1].set_exception(UserError("the database is locked", "wait"))
        await it.draw()
        assert note(it, "equity").endswith("(OLD: the database is locked)")
        assert "10:30:07" in it.screen


async def test_an_empty_curve_is_told() -> None:
    async with desk(scripted.paper()) as it:
        assert "no point saved yet" in await opened(it, EquityCurve("", ()))


def test_a_curve_over_days_tells_the_days_and_one_without_room_is_left_out() -> None:
    first = replace(CURVE.points[0], ts=TS - 86_400 * NANOS)
    lines = chart(EquityCurve("USD", (first, *CURVE.points)), 60, 8, "info")
    assert "".join(text for text, _ in lines[-1]).split() == ["01-30", "14:30", "01-31", "14:29"]
    assert all(sum(len(text) for text, _ in each) == 60 for each in lines)
    assert chart(CURVE, 9, 8, "info") == []


async def test_pnl_by_strategy_is_in_parts_and_what_is_not_known_is_a_dash() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await opened(it)
        sma = line(it.screen, "sma_crossover", "+122.56")
        assert all(text in sma for text in ("+81.41", "+44.90", "3.75", "16"))
        retired = line(it.screen, "retired")
        assert "+1,250.00" in retired
        assert retired.count("—") == 2
        assert note(it, "pnl") == "all —"
        it.client.change(pnl=scripted.PNL[:3])
        await it.draw()
        assert note(it, "pnl") == "all -49.25"


async def test_tab_goes_through_the_panels_and_z_zooms_the_curve() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await opened(it)
        seen = [it.app.base.panel]
        for _ in range(2):
            await it.press("tab")
            seen.append(it.app.base.panel)
        assert seen == ["positions", "equity", "pnl"]
        await it.press("left", "z")
        assert it.app.base.query_one("#equity").region.height >= 19
        assert "10:30:07" in await it.draw()
