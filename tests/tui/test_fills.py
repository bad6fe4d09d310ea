"""The fills: every execution as a row, those of the history as far as one looks."""

import csv
from concurrent.futures import Future
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.model import NANOS, Liquidity
from engine.ops.errors import UserError
from engine.view.questions import FillPage, Fills
from engine.view.snapshot import FillRow
from tests.tui import scripted
from tests.tui.scripted import Desk, desk, to
from tui.widgets.fills import Fills as FillsPanel
from tui.widgets.history import PAGE

FIRST = Fills(count=PAGE)


def old(number: int, **fields: object) -> FillRow:
    """A fill of days before."""
    known = scripted.FILLS[0].fill
    ts = scripted.TS - number * 86_400 * NANOS
    return FillRow(replace(known, execution_id=f"old-{number:04d}", ts=ts, **fields))


def page(first: int, last: int, *, more: bool = True) -> FillPage:
    rows = tuple(old(number) for number in range(first, last + 1))
    fill = rows[-1].fill
    return FillPage(rows, (fill.ts, fill.execution_id, fill.symbol) if more else None)


def asked(it: Desk) -> list[tuple[Fills, Future[FillPage]]]:
    return [(q, future) for q, future in it.client.asked if isinstance(q, Fills)]


def ids(it: Desk) -> list[str]:
    return [row.fill.execution_id for row in it.app.base.query_one(FillsPanel)._rows]


async def answer(it: Desk, number: int, page: FillPage) -> None:
    asked(it)[number][1].set_result(page)
    await it.draw()


def line(it: Desk, text: str) -> str:
    return next(line for line in it.screen.splitlines() if text in line)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_t_goes_from_the_orders_to_the_fills_and_back(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press(*to("orders"), "t")
        assert (it.app.base.name, it.app.base.panel) == ("orders", "fills")
        assert "4.92942" in line(it, "14:11:08")
        await it.press("t")
        assert it.app.base.panel == "orders"
        assert "14:11:09" in it.screen
        assert ("4.92942" in it.screen) == (size[1] > 24)
        await it.press("t", "escape")
        assert it.app.base.name == "desk"


async def test_a_fill_has_every_column() -> None:
    made = replace(scripted.FILLS[0].fill, liquidity=Liquidity.MAKER)
    snapshot = replace(scripted.paper(), fills=(FillRow(made), *scripted.FILLS[1:]))
    async with desk(snapshot, size=(200, 50)) as it:
        await it.press("2", "t")
        head, row = line(it, "execution id"), line(it, "x-5512")
        titles = "time symbol side qty price commission state strategy venue"
        assert all(title in head for title in (*titles.split(), "venue order id"))
        for text in (
            "01-31 14:11:08",
            "AAPL",
            "BUY",
            " 29 ",
            "169.98",
            "4.92942",
            "paper",
            "maker",
        ):
            assert text in row
        for text in ("sma_crossover", "sma-aap-0001", "b-771201"):
            assert text in row
        assert ids(it) == ["x-5516", "x-5515", "x-5514", "x-5513", "x-5512"]


async def test_one_that_the_venue_took_back_stays_and_says_so() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("2", "t")
        assert "TAKEN BACK" in line(it, "x-5516")
        assert "TAKEN BACK" not in line(it, "x-5515")
        assert "1 TAKEN BACK · 4 fills" in it.screen
        later = replace(scripted.FILLS[0], is_reversed=True)
        it.client.change(fills=(*scripted.FILLS[1:], later))
        await it.draw()
        await answer(it, 0, FillPage(scripted.FILLS[:1], None))
        assert "TAKEN BACK" in line(it, "x-5512")
        it.client.change(fills=scripted.FILLS[1:3])
        assert "2 TAKEN BACK · 3 fills" in await it.draw()


async def test_the_history_follows_on_the_fills_of_the_snapshot() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "t")
        assert [question for question, _ in asked(it)] == [FIRST]
        assert "history: asking" in it.screen
        await answer(it, 0, page(1, 40))
        assert "44 fills · history: older ones at the end" in it.screen
        assert ids(it)[-1] == "old-0040"
        await it.press("end")
        fill = old(40).fill
        assert asked(it)[1][0] == replace(FIRST, before=(fill.ts, fill.execution_id, fill.symbol))
        await answer(it, 1, page(41, 45, more=False))
        assert ids(it)[-1] == "old-0045"
        assert "49 fills · history: whole" in it.screen
        await it.press("end")
        assert len(asked(it)) == 2


async def test_words_are_looked_for_in_the_whole_history() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "t", "slash", *"buy tsla", "enter")
        assert asked(it)[-1][0] == Fills(text="tsla", count=PAGE)
        found = FillPage((old(1, symbol="TSLA"), old(2)), None)
        await answer(it, 1, found)
        assert ids(it) == ["old-0001"]
        await it.press("escape")
        assert asked(it)[-1][0] == FIRST
        assert len(ids(it)) == len(scripted.FILLS) + 2


async def test_without_an_answer_it_says_why_and_asks_again_at_the_end() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "t")
        error = UserError("the database is out of reach", "look at the log")
        asked(it)[0][1].set_exception(error)
        assert "the database is out of reach" in await it.draw()
        assert len(ids(it)) == len(scripted.FILLS)
        await it.press("end")
        assert [question for question, _ in asked(it)] == [FIRST, FIRST]


async def test_a_new_fill_is_there_with_the_next_snapshot() -> None:
    new = scripted.fill(8, scripted.ORDERS[4], "1.175")
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("2", "t")
        it.client.change(fills=(*scripted.FILLS, new))
        await it.draw()
        assert "1.175" in line(it, "x-5519")


async def test_fills_are_sorted_opened_and_copied_as_other_rows_are() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("2", "t", *["greater_than_sign"] * 6)
        assert "fills by commission ▲" in it.screen
        assert ids(it)[0] == "x-5516"
        assert ids(it)[-1] == "x-5512"
        await it.press("end", "y")
        assert "AAPL\tBUY\t29\t169.98\t4.92942" in it.app.clipboard
        await it.press("enter")
        assert "fills: all fields" in it.screen
        assert "x-5512" in it.screen


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_fills_are_exported(tmp_path: Path) -> None:
    async with desk(scripted.paper(), exports=tmp_path) as it:
        await it.press("2", "t", "e")
        await it.app.workers.wait_for_complete()
        (path,) = files(tmp_path)
        assert path.name.startswith("fills-")
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert [row["fill.execution_id"] for row in rows] == ids(it)
        assert [row["is_reversed"] for row in rows].count("True") == 1


async def test_before_the_first_fill_there_is_none() -> None:
    async with desk(scripted.empty()) as it:
        await it.press("2", "t")
        assert "no fill yet" in it.screen
