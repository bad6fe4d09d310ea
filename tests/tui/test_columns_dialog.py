"""The columns of a table: which are shown, which cannot be hidden, and what is remembered."""

from pathlib import Path

import pytest

from tests.tui import scripted
from tests.tui.scripted import Desk, desk, to
from tests.tui.test_preferences import left_as, written
from tui.commands import SCREENS
from tui.dialogs.columns import ColumnsDialog
from tui.preferences import NAME, Arrangement, Choices, Preferences
from tui.widgets.blotter import Blotter
from tui.widgets.line_table import LineTable


def is_open(it: Desk) -> bool:
    return isinstance(it.app.screen, ColumnsDialog)


def head(it: Desk) -> str:
    return it.app.base.query_one(Blotter).render_line(0).text


async def hide(it: Desk, title: str) -> None:
    """Hide the column in the dialog, or show it again."""
    titles = [column.title for column in Blotter.columns]
    await it.press("home", *["down"] * titles.index(title), "space")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_space_hides_a_column_and_shows_it_again(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press("2", "C")
        assert "Columns of orders" in it.screen
        assert "●  type" in it.screen
        assert "all shown" in it.screen
        await hide(it, "type")
        assert "○  type" in it.screen
        assert "1 hidden" in it.screen
        await it.press("escape")
        assert not is_open(it)
        assert "type" not in head(it)
        assert "limit" not in it.screen
        assert "orders · 1 column hidden" in it.screen
        await it.press("C")
        await hide(it, "type")
        await it.press("escape")
        assert "type" in head(it)
        assert "hidden" not in it.screen
        assert it.sent == []


async def test_what_says_which_row_it_is_or_what_is_at_risk_cannot_be_hidden() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("2", "C")
        for title in ("symbol", "side", "qty", "state"):
            await hide(it, title)
            assert f"{title} is always shown" in it.screen
        await hide(it, "time")
        await it.press("enter", "enter")
        await it.press("escape")
        assert "time" not in head(it)
        assert all(title in head(it) for title in ("symbol", "side", "qty", "state"))


async def test_a_column_that_has_no_room_says_so() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("2", "C", "end")
        (line,) = [line for line in it.screen.splitlines() if "purpose" in line]
        assert "no room for it now" in line
        await it.press("space", "escape", "C", "home")
        assert "1 hidden" in it.screen


async def test_the_room_of_a_hidden_column_is_others() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("2")
        assert "strategy" not in head(it)
        await it.press("C")
        for title in ("time", "type", "price", "filled", "avg", "reason", "age"):
            await hide(it, title)
        await it.press("escape")
        assert "strategy" in head(it)


async def test_columns_are_as_they_were_left(tmp_path: Path) -> None:
    path = tmp_path / NAME
    async with left_as(path, Choices(guided=True)) as it:
        await it.press("2", "C")
        await hide(it, "type")
        await hide(it, "TIF")
        await it.press("escape")
        written()
    left = Preferences.load(path).chosen
    assert left.tables["orders.orders"].hidden == ("type", "TIF")
    async with left_as(path, left) as it:
        assert "type" not in head(it)
        assert "orders · 2 columns hidden" in it.screen


async def test_no_file_hides_a_column_that_cannot_be_hidden(tmp_path: Path) -> None:
    tables = {"orders.orders": Arrangement(hidden=("state", "symbol", "mauve", "", "type"))}
    choices = Choices(guided=True, screen="orders", tables=tables)
    async with left_as(tmp_path / NAME, choices) as it:
        assert "state" in head(it)
        assert "symbol" in head(it)
        assert "orders · 1 column hidden" in it.screen


async def test_a_hidden_column_is_looked_through_copied_and_saved_and_that_is_said(
    tmp_path: Path,
) -> None:
    async with desk(scripted.paper(), size=(200, 50), exports=tmp_path) as it:
        await it.press("2", "C")
        assert "A filter looks through hidden columns too" in it.screen
        await hide(it, "reason")
        await it.press("escape", "slash", *"operator", "enter")
        assert "orders /operator 1 of 8" in it.screen
        assert "by the operator" not in it.screen
        await it.press("home", "y")
        assert "by the operator" in it.app.clipboard
        await it.press("e")
        await it.app.workers.wait_for_complete()
        (path,) = files(tmp_path)
        assert "by the operator" in path.read_text()
        assert "1 row, hidden columns too, written to" in await it.draw()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_hidden_column_is_not_sorted_by_unless_it_was() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("2", "C")
        await hide(it, "time")
        await hide(it, "type")
        await it.press("escape", "greater_than_sign")
        assert "orders by symbol" in it.screen
        await it.press(*["greater_than_sign"] * 3)
        assert "orders by price" in it.screen
        await it.press("C")
        await hide(it, "price")
        await it.press("escape", "greater_than_sign")
        assert "orders by filled" in it.screen
        await it.press("less_than_sign")
        assert "orders by qty" in it.screen


async def test_a_table_without_columns_to_hide_says_so() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("risk"), "C")
        assert not is_open(it)
        assert "no column that can be hidden" in it.screen


async def test_in_a_dialog_there_is_no_other() -> None:
    async with desk(scripted.alerting()) as it:
        await it.press("a", "C")
        assert not is_open(it)
        await it.press("escape", "C", "C", "escape")
        assert it.app.screen is it.app.base


async def test_it_is_in_the_palette_and_in_help() -> None:
    async with desk(scripted.paper(), size=(120, 120)) as it:
        await it.press("question_mark")
        assert "Choose the columns that are shown" in it.screen
        await it.press("escape", "ctrl+p", *"columns")
        await it.app.workers.wait_for_complete()
        await it.press("enter")
        assert is_open(it)


@pytest.mark.parametrize("screen", SCREENS)
async def test_of_every_table_something_stays(screen: str) -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press(SCREENS[screen].key)
        tables = [table for table in it.app.base.query(LineTable) if table.size.width]
        for table in tables:
            for column in table.hideable:
                table.toggle_column(column.title)
        await it.draw()
        for table in tables:
            shown = {column.title for column in table.columns if table.has_room(column.title)}
            assert shown
            assert shown.isdisjoint(column.title for column in table.hideable)
