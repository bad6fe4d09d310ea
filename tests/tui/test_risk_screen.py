"""The risk screen: what is left of each limit, what blocked what, and what stops orders."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import ChangeLimit
from engine.core.model import DAY, NANOS
from engine.view.snapshot import AccountRow, LimitRow, Snapshot
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.widgets.limits import Limits

SIZES = [(80, 24), (120, 40), (200, 50), (250, 70)]


def line(screen: str, *words: str) -> str:
    """The first line with all of `words`."""
    found = [text for text in screen.splitlines() if all(word in text for word in words)]
    assert found, screen
    return found[0]


def note(it: Desk, panel: str) -> str:
    return str(it.app.base.query_one(f"#{panel}").border_subtitle)


@pytest.mark.parametrize("size", SIZES)
async def test_the_daily_loss_is_the_first_that_one_sees(size: tuple[int, int]) -> None:
    full = LimitRow("account", "exposure", "", 99.0, 80.0, "%", "max_exposure_pct")
    snapshot = replace(scripted.paper(), limits=(full, *scripted.LIMITS))
    async with desk(snapshot, size=size) as it:
        await it.press("5")
        daily = line(it.screen, "daily loss ")
        assert it.screen.index(daily) < it.screen.index("exposure")
        assert all(text in daily for text in ("$212/$1,000", "$788", "21%"))
        assert "daily loss limit: 21% used, $788 left" in it.screen


async def test_positions_at_their_limit_do_not_hide_the_losses_on_the_desk() -> None:
    _, of_a_position = (row for row in scripted.LIMITS if row.tier == "position" and not row.past)
    held = tuple(replace(of_a_position, scope=f"COIN{n}") for n in range(20))
    async with desk(replace(scripted.paper(), limits=(*held, *scripted.LIMITS))) as it:
        assert "$212/$1,000" in line(it.screen, "daily loss ")


async def test_the_closer_of_the_two_daily_loss_limits_is_told() -> None:
    money, percent, *others = scripted.LIMITS
    async with desk(scripted.paper()) as it:
        await it.press("5")
        it.client.change(limits=(money, replace(percent, used=4.5), *others))
        await it.draw()
        assert note(it, "risk").startswith("daily loss limit: 90% used, 0.5% left")
        it.client.change(limits=(money, replace(percent, used=None), *others))
        await it.draw()
        assert note(it, "risk").startswith("daily loss limit: —")


async def test_what_is_left_is_in_the_limits_unit_and_a_dash_where_not_known() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("5")
        assert "—/15.0%       —" in line(it.screen, "drawdown")
        assert "68.2%" in line(it.screen, "exposure")
        assert "0.05" in line(it.screen, "last: signal strength")  # the least that has to be there
        assert "FULL" in line(it.screen, "position size", "BTC-USD")
        assert "MAX_DAILY_LOSS" in line(it.screen, "daily loss ")
        assert "account" in line(it.screen, "daily loss ")


async def test_the_dialog_of_a_limit_speaks_of_now() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("5", "home", "enter", seconds=0.6)
        first, *others = scripted.paper().limits
        it.client.change(limits=(replace(first, used=123.0, limit=900.0), *others))
        assert "used/limit $123/$900" in await it.draw()
        await it.press(*"1000", "enter", seconds=0.6)
        assert "MAX_DAILY_LOSS from 900.00 to 1,000" in await it.draw()


async def test_enter_changes_the_limit() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("5", "home", "enter", seconds=0.6)
        assert "MAX_DAILY_LOSS" in it.screen
        await it.press(*"500", "enter", seconds=0.6)
        assert it.sent_but_life == [
            ChangeLimit(name="max_daily_loss", value="500", author="console")
        ]


async def test_enter_on_what_cannot_be_changed_shows_all_of_it() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("5", "home", "down", "enter")
        assert "all fields" in it.screen
        assert "daily_loss_pct" in it.screen


async def test_what_blocked_is_counted_and_the_latest_is_told_in_full() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("5")
        latest = line(it.screen, "position size", "14:19:07")
        assert all(text in latest for text in ("4", "BTC-USD", "BUY", "5.4 % over 5 %"))
        assert note(it, "blocked") == "15 signals since 13:30:07"
        await it.press("tab", "tab", "enter")
        assert "blocked: all fields" in it.screen
        assert "sma_crossover" in it.screen
        it.client.change(blocked=())
        await it.press("escape")
        assert "no signal was blocked" in it.screen


SWITCHES: dict[str, tuple[Callable[[], Snapshot], tuple[str, ...]]] = {
    "ready": (scripted.paper, ("kill switch", "ready", "would cancel")),
    "killed": (scripted.killed, ("kill switch", "KILLED", "kill key")),
    "failures": (scripted.paper, ("circuit breaker", "0/5", "in a row")),
    "breaker": (scripted.held_back, ("circuit breaker", "TRIPPED", "5 failures in a row")),
    "nobody": (scripted.paper, ("dead-man", "off")),
    "dead-man": (scripted.held_back, ("dead-man", "12 s left", "of 60 s")),
    "dry run": (scripted.held_back, ("dry run", "ON", "no order is sent")),
    "paused": (scripted.held_back, ("paused SPY", "by hand", "halted")),
    "part": (scripted.parts_killed, ("strategy sma_cross", "KILLED", "2 orders")),
    "day trades": (scripted.paper, ("day trades", "no limit")),
    "settled": (scripted.paper, ("settled cash", "83,612.02 USD", "of 88,540.07 cash")),
    "paper": (scripted.paper, ("live gate", "paper", "2 of 5")),
    "not met": (scripted.paper, ("MODE=live", "NOT MET", "start again")),
    "open": (scripted.live, ("live gate", "OPEN", "5 of 5")),
    "shut": (scripted.unconfirmed, ("live gate", "SHUT", "4 of 5")),
}


@pytest.mark.parametrize("fact", SWITCHES)
async def test_what_stops_orders_is_told(fact: str) -> None:
    make, words = SWITCHES[fact]
    async with desk(make(), size=(250, 70)) as it:
        await it.press("5")
        line(it.screen, *words)


async def test_what_live_trading_needs_and_what_to_do_for_it_is_whole() -> None:
    gate = tuple(replace(condition, met=False) for condition in scripted.GATE)
    async with desk(replace(scripted.paper(), live_gate=gate), size=(120, 40)) as it:
        await it.press("5")
        await it.pilot.resize_terminal(200, 50)
        screen = await it.draw()
        for condition in gate:
            told = line(screen, f"│{condition.condition} ", "NOT MET")
            assert f" {condition.remedy} " in told


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_how_a_fact_with_a_long_name_stands_is_told_in_a_narrow_panel(
    size: tuple[int, int],
) -> None:
    rich = replace(scripted.paper(), settled_cash=Decimal("1083612.02"))
    async with desk(rich, size=size) as it:
        await it.press("5", "tab", "end")
        line(it.screen, "│a confirmation", "NOT MET")


async def test_day_trades_and_settled_cash_are_of_each_account() -> None:
    trades = [
        LimitRow("account", "day_trades", venue, used, 3.0, "")
        for venue, used in (("alpaca", 2.0), ("ib", 3.0))
    ]
    accounts = (
        AccountRow("alpaca", "USD", Decimal(900), Decimal(400), Decimal(1)),
        AccountRow(
            "ib", "CAD", Decimal(700), Decimal(650), Decimal("0.7323"), scripted.TS - 3 * DAY
        ),
    )
    snapshot = replace(scripted.paper(), limits=(*scripted.LIMITS, *trades), accounts=accounts)
    async with desk(snapshot, size=(250, 70)) as it:
        await it.press("5")
        line(it.screen, "day trades alpaca", "2/3")
        line(it.screen, "day trades ib", "3/3")
        line(it.screen, "settled alpaca", "400.00 USD", "of 900.00 USD")
        line(it.screen, "settled ib", "650.00 CAD", "of 700.00 CAD")
        line(it.screen, "1 CAD", "0.7323 USD", "published 3d ago")
        assert "1 USD" not in it.screen  # it is counted by no rate


async def test_the_nearest_limits_follow_the_losses_and_those_of_one_order_come_last() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("5")
        table = it.app.base.query_one(Limits)
        rows = table.rows(it.app.frame)
    names = [(row.name, row.scope) for row in rows]
    assert [name for name, _ in names[:3]] == ["daily_loss", "daily_loss_pct", "drawdown"]
    assert names[3:6] == [
        ("position_size", "BTC-USD"),
        ("position_size", "AAPL"),
        ("trades_per_day", "sma_crossover"),
    ]
    assert all(row.past for row in rows[-2:])
    assert sorted(names) == sorted((row.name, row.scope) for row in scripted.LIMITS)


async def test_what_is_old_does_not_look_ready() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("5")
        it.clock.now += 5
        assert "kill —" in await it.draw()
        line(it.screen, "kill switch", "—")
        it.client.change(blocked_since_ts=scripted.TS + 60 * NANOS)
        assert "kill ready" in await it.draw()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_desk_says_which_limit_it_is_and_of_which_symbol(size: tuple[int, int]) -> None:
    near = LimitRow("position", "position_size", "BTC-PERP", 4.9, 5.0, "%")
    wide = LimitRow("account", "buying_power", "", 3006.0, 100_030.0, "USD")
    async with desk(scripted.paper(), size=size) as it:
        known = [row for row in scripted.paper().limits if row.name != "buying_power"]
        it.client.change(limits=(near, wide, *known))
        screen = await it.draw()
    for name in ("daily loss pct", "size BTC-PERP"):
        assert f"│{name} " in screen
