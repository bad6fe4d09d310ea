"""The keys that every table has: filter, sort, details, copy, export."""

import csv
from pathlib import Path

import pytest
from textual import events

from engine.core.events import TripKillSwitch
from tests.tui import scripted
from tests.tui.scripted import PANELS, Desk, desk, to
from tui.dialogs.detail import DetailDialog
from tui.widgets.orders import Orders
from tui.widgets.quotes import Quotes


def rows(it: Desk) -> list[str]:
    """The first words of the lines in the quotes panel."""
    panel = it.app.base.query_one(Quotes)
    lines = [panel.render_line(y).text for y in range(1, panel.size.height)]
    return [line.split()[0] for line in lines if line.strip()]


# --- filter --------------------------------------------------------------------------------------


async def test_a_filter_shows_the_rows_that_have_its_words_while_it_is_typed() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("slash", "u", "s")
        assert rows(it) == ["BTC-USD", "ETH-USD"]
        assert "quotes /us▏ 2 of 4" in it.screen
        await it.press("d", "space", "e")
        assert rows(it) == ["ETH-USD"]
        await it.press("backspace", "b", "enter")
        assert rows(it) == ["BTC-USD"]
        assert "quotes /usd b 1 of 4" in it.screen
        await it.press("escape")
        assert len(rows(it)) == 4
        assert "quotes /" not in it.screen


async def test_keys_that_come_in_one_go_are_letters_of_the_filter_from_the_first_on() -> None:
    async with desk(scripted.paper()) as it:
        for key in ("slash", *"eth", "enter"):
            it.app.simulate_key(key)
        await it.pilot.pause(0.1)
        assert "quotes /eth 1 of 4" in await it.draw()
        assert it.app.base.name == "desk"


async def test_letters_of_a_filter_are_no_commands_and_the_kill_key_is_none_of_them() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("slash", *"qpKRs9")
        assert it.sent == []
        assert "quotes /qpKRs9▏ 0 of 4" in it.screen
        assert "esc shows all" in it.screen
        await it.press("ctrl+k")
        assert [type(command) for command in it.sent] == [TripKillSwitch]


async def test_escape_while_typing_clears_and_stays() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("9", "slash", *"warn", "escape")
        assert it.app.base.name == "logs"
        assert "log /" not in it.screen
        await it.press("escape")
        assert it.app.base.name == "desk"


async def test_a_filter_is_kept_where_one_goes_to_another_panel() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("slash", *"spy", "tab", "q")
        assert "quotes /spy 1 of 4" in it.screen
        await it.press("escape", "shift+tab", "escape")
        assert len(rows(it)) == 4


async def test_what_comes_later_is_filtered_too_and_the_selection_stays() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("home", "down", "slash", "s", "p", "y")
        panel = it.app.base.query_one(Quotes)
        assert panel.selected == "SPY"
        it.client.change(quotes=tuple(reversed(scripted.QUOTES)))
        await it.draw()
        assert (panel.selected, rows(it)) == ("SPY", ["SPY"])
        await it.press("escape")
        assert panel.selected == "SPY"


async def test_where_the_selected_row_is_filtered_away_another_is_selected() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("home", "slash", *"spy")
        panel = it.app.base.query_one(Quotes)
        assert panel.selected is None
        await it.press("enter")
        assert panel.selected == "SPY"
        await it.press("y")
        assert it.app.clipboard.startswith("SPY\t")


async def test_a_paste_into_a_filter_is_cleaned_and_cut() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("slash")
        assert it.app.focused is not None
        it.app.post_message(events.Paste("[b]\x1b[2J" + "x" * 1_000_000))
        title = (await it.draw()).splitlines()[3]
        assert "/(b) (2Jxx" in title
        assert title.isprintable()


# --- sort ----------------------------------------------------------------------------------------


async def test_columns_are_chosen_for_the_sort_and_it_is_turned_round() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("greater_than_sign", "greater_than_sign")
        assert rows(it) == ["AAPL", "SPY", "ETH-USD", "BTC-USD"]
        assert "quotes by last ▲" in it.screen
        await it.press("r")
        assert rows(it) == ["BTC-USD", "ETH-USD", "SPY", "AAPL"]
        await it.press("less_than_sign", "less_than_sign")
        assert rows(it) == ["AAPL", "SPY", "BTC-USD", "ETH-USD"]
        assert " by " not in it.screen.splitlines()[3]


# --- details -------------------------------------------------------------------------------------


@pytest.mark.parametrize("panel", PANELS)
async def test_enter_shows_all_fields_of_the_selected_row(panel: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to(panel), "end", "enter")
        assert isinstance(it.app.screen, DetailDialog)
        assert f"{panel}: all fields" in it.screen
        await it.press("enter", "space", seconds=1.0)
        assert it.sent == []
        await it.press("escape")
        assert it.app.screen is it.app.base
        assert it.app.base.panel == panel


async def test_details_are_of_now_and_say_when_the_row_is_gone() -> None:
    async with desk(scripted.paper(), size=(120, 50)) as it:
        await it.press(*to("positions"), "home", "enter")
        assert "4929.42" not in it.screen
        assert "4,929.42" in it.screen
        it.client.change(positions=(scripted.position(scripted.AAPL, "30", "5099", "1", "1", "0"),))
        assert "5,099" in await it.draw()
        it.client.change(positions=())
        screen = await it.draw()
        assert "no longer in the table" in screen
        assert "5,099" in screen


async def test_details_are_copied_whole() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("strategies"), "home", "enter", "y")
        assert "parameters\tfast=10 slow=30" in it.app.clipboard
        assert "copied all fields" in it.screen


# --- copy and export -----------------------------------------------------------------------------


async def test_y_copies_the_selected_row_and_says_what() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "home", "y")
        assert "\tBTC-USD\tSELL\t0.031\tlimit\t38,200.0\t" in it.app.clipboard
        assert "copied: 14:17:09 BTC-USD SELL 0.031 limit" in it.screen.splitlines()[-1]


async def test_a_hostile_row_is_copied_clean() -> None:
    async with desk(scripted.hostile()) as it:
        await it.press(*to("orders"), "home", "y")
        assert it.app.clipboard.replace("\t", "").isprintable()


async def test_without_a_row_nothing_is_copied() -> None:
    async with desk(scripted.empty()) as it:
        await it.press(*to("orders"), "y")
        assert "no row is selected" in it.screen
        assert it.app.clipboard == ""


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_e_saves_the_filtered_rows_and_says_where(tmp_path: Path) -> None:
    async with desk(scripted.paper(), size=(200, 50), exports=tmp_path) as it:
        await it.press(*to("orders"), "slash", *"spy", "enter", "e")
        await it.app.workers.wait_for_complete()
        await it.draw()
        (path,) = files(tmp_path)
        assert [row["symbol"] for row in csv.DictReader(path.read_text().splitlines())] == [
            "SPY",
            "SPY",
            "SPY",
        ]
        assert f"3 rows written to {path}" in it.screen
        await it.press("e")
        await it.app.workers.wait_for_complete()
        assert "not exported: File exists" in await it.draw()


async def test_a_picture_of_the_screen_is_saved(tmp_path: Path) -> None:
    async with desk(scripted.paper(), exports=tmp_path) as it:
        await it.press("P")
        await it.app.workers.wait_for_complete()
        (path,) = files(tmp_path)
        assert path.name == "desk-20220131T143007.000000Z.svg"
        assert "BTC-USD" in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        assert "the screen is saved as" in await it.draw()


async def test_before_the_engine_is_there_nothing_is_saved() -> None:
    async with desk(None) as it:
        await it.press("e")
        assert "not exported: the engine is still starting" in it.screen


async def test_the_last_column_is_not_under_the_scroll_bar() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        panel = it.app.base.query_one(Orders)
        assert panel.show_vertical_scrollbar
        assert panel.render_line(1).cell_length == panel.size.width - 1
