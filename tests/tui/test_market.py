"""The market screen: one symbol, its chart, its quote, and the way to the next symbol."""

import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from engine.core.model import MINUTE, NANOS
from engine.ops.errors import UserError
from engine.view.questions import Bars, Chart
from engine.view.snapshot import PausedRow, Snapshot
from tests.tui import scripted
from tests.tui.scripted import TS, Desk, desk, to
from tui.asking import EVERY
from tui.widgets.chart import MOST_BARS, ChartPanel

AAPL = Bars("AAPL", MOST_BARS)


def titles(it: Desk) -> tuple[str, str]:
    panel = it.app.base.query_one(ChartPanel)
    return str(panel.border_title), str(panel.border_subtitle)


async def later(it: Desk, seconds: float) -> str:
    """What is on the screen `seconds` later, of an engine that lives."""
    it.client.change()
    return await it.draw(seconds)


@pytest.fixture
def here_in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def test_the_chart_has_bars_marks_and_levels() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        assert titles(it) == (
            "AAPL · 1 min · 2022-01-31",
            "1 gap · ▲▼ fill, B S signal, b s blocked",
        )
        screen = await it.draw()
        for words in ("170.12 last", "169.98 avg", "166.58 stop", "▲", "▼", "┊", "vol.", "UTC"):
            assert words in screen


async def test_the_quote_the_position_and_the_orders_are_told() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        for words in (
            "ask       170.13 × 80",
            "bid       170.12 × 120",
            "spread    0.01  0.6 bp",
            "depth     top of book only",
            "day       ▲+0.84%",
            "position  29 @ 169.98",
            "gain    +4.20",
            "SELL      29 @ 166.58 stop, accepted",
        ):
            assert words in it.screen


async def test_arrows_go_to_another_symbol_from_chart_and_list() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6", "down")
        assert titles(it)[0] == "SPY"
        assert "441.97 × 80" in it.screen
        await it.press("tab")
        assert it.app.base.panel == "quotes"
        await it.pilot.press("up")
        await it.pilot.pause()
        assert titles(it)[0].startswith("AAPL")
        await it.press("down", "shift+tab", "up", "up")
        assert titles(it)[0].startswith("AAPL")


async def test_the_symbol_is_that_of_where_one_came_from() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("positions"), "down", "6")
        assert titles(it)[0] == "BTC-USD"
        await it.press("1", *to("orders"), "end", "6")
        assert titles(it)[0] == "AAPL · 1 min · 2022-01-31"
        await it.press("1", *to("signals"), "home", "6")
        assert titles(it)[0] == "BTC-USD"
        await it.press("1", *to("quotes"), "end", "6")
        assert titles(it)[0] == "ETH-USD"
        await it.press("1", *to("log"), "6")
        assert titles(it)[0] == "ETH-USD"


async def test_braces_zoom_to_both_ends() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6", "}")
        assert titles(it)[0].startswith("AAPL · 5 min")
        await it.press("}", "}", "}", "}")
        assert titles(it)[0].startswith("AAPL · 1 h")
        await it.press("{", "{", "{")
        near = (await it.draw()).count("█")
        await it.press("{", "{")
        assert titles(it)[0].startswith("AAPL · 1 min")
        assert it.screen.count("█") < near


async def test_bars_are_asked_for_now_and_then_and_no_oftener() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        for _ in range(8):
            await later(it, EVERY / 4)
        questions = [question for question, _ in it.client.asked]
        assert set(questions) == {AAPL}
        assert 2 <= len(questions) <= 4
        await it.press("1")
        before = len(it.client.asked)
        await later(it, 10 * EVERY)
        assert len(it.client.asked) == before


async def test_while_there_is_no_answer_no_bar_is_drawn() -> None:
    async with desk(scripted.paper()) as it:
        it.client.answers.clear()
        await it.press("6")
        assert "asking …" in it.screen
        assert "▌" not in it.screen
        await later(it, 3.0)
        assert "asking … 3" in it.screen


async def test_why_there_are_no_bars_is_said() -> None:
    async with desk(scripted.paper()) as it:
        it.client.answers.clear()
        await it.press("6")
        it.client.asked[-1][1].set_exception(UserError("the engine has ended", "start it again"))
        assert "no bars: the engine has ended" in await it.draw()


async def test_bars_that_are_not_renewed_say_so() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        it.client.answers.clear()
        await later(it, EVERY)
        await later(it, 5.0)
        assert titles(it)[1].startswith("NOT UP TO DATE: no answer for 5.0 s")
        it.client.asked[-1][1].set_exception(UserError("the engine has ended", "start it again"))
        await it.draw()
        assert titles(it)[1].startswith("NOT UP TO DATE: the engine has ended")
        assert "▌" in it.screen


async def test_a_symbol_without_bars_has_none() -> None:
    async with desk(scripted.paper()) as it:
        it.client.answers[AAPL] = Chart("AAPL", (), (), ())
        await it.press("6")
        assert "no bar of this symbol yet" in it.screen


async def test_the_last_price_moves_with_the_quotes() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        moved = scripted.quote(scripted.AAPL, 171.49, 171.51, 0, 1.6)
        it.client.change(quotes=(replace(moved, ts=TS + NANOS), *scripted.QUOTES[1:]))
        screen = await it.draw()
        assert "171.50 last" in screen
        assert "170.12 last" not in screen


def troubled() -> Snapshot:
    snapshot = scripted.parts_killed()
    spy = replace(scripted.QUOTES[1], stale=True, ts=TS - 5 * MINUTE)
    paused = PausedRow("SPY", "halted", TS + 5 * MINUTE)
    return replace(snapshot, quotes=(spy,), paused=(paused,))


async def test_what_keeps_a_symbol_from_trade_comes_first() -> None:
    async with desk(troubled()) as it:
        await it.press("6")
        screen = it.screen
        for words in ("STALE     no data for 5m", "PAUSED    halted until 14:35:07", "KILLED "):
            assert screen.index(words) < screen.index("ask       ")
        assert "IN DOUBT" in screen


async def test_the_operators_time_is_shown_too(here_in_new_york: None) -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        assert "14:20" in it.screen
        assert "09:20" in it.screen
        assert "EST" in it.screen


@pytest.mark.parametrize("state", [scripted.hostile, scripted.empty, lambda: None])
async def test_any_snapshot_can_be_shown(state: object) -> None:
    snapshot = state()  # pyright: ignore[reportCallIssue]
    async with desk(snapshot) as it:
        await it.press("6", "down", "}", "tab", "tab", "z", "z")
        assert it.app.crash is None
        assert "\x1b" not in it.screen
        assert "\u202e" not in it.screen


async def test_no_symbol_gets_the_bars_of_another_though_the_engine_is_lost() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("6")
        await it.draw(5.0)
        assert "170.12 last" in it.screen
        await it.press("down")
        assert titles(it)[0] == "SPY"
        assert "asking …" in it.screen


async def test_where_there_is_no_room_it_says_so() -> None:
    async with desk(scripted.paper(), size=(60, 12)) as it:
        await it.press("6")
        assert it.app.crash is None


def without_data(*symbols: str) -> Snapshot:
    """Nothing was heard yet of `symbols`."""
    snapshot = scripted.paper()
    quotes = [
        replace(row, quote=None, last=None, change_pct=None, ts=0) if row.symbol in symbols else row
        for row in snapshot.quotes
    ]
    return replace(snapshot, quotes=tuple(quotes))


async def test_symbols_of_which_nothing_was_heard_come_last() -> None:
    async with desk(without_data("AAPL")) as it:
        await it.press("6")
        assert titles(it)[0].startswith("SPY")
        names = [line.split()[1] for line in it.screen.splitlines() if "441.9" in line]
        assert names
        assert it.screen.index("ETH-USD") < it.screen.rindex("AAPL")


async def test_an_empty_symbol_that_nobody_chose_gives_way_to_the_first_with_data() -> None:
    everything = [row.symbol for row in scripted.QUOTES]
    async with desk(without_data(*everything)) as it:
        await it.press("6")
        assert titles(it)[0].startswith("AAPL")
        it.client.snapshot = without_data("AAPL", "SPY")
        await it.draw()
        assert titles(it)[0].startswith("BTC")


async def test_an_empty_symbol_that_the_operator_chose_stays() -> None:
    everything = [row.symbol for row in scripted.QUOTES]
    async with desk(without_data(*everything)) as it:
        await it.press("6", "down")
        assert titles(it)[0].startswith("SPY")
        it.client.snapshot = without_data("SPY")
        await it.draw()
        assert titles(it)[0].startswith("SPY")
