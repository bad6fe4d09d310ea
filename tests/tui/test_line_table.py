"""The table under the panels: what it paints, what it selects, where it scrolls."""

from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.model import NANOS
from engine.view.snapshot import LogLine, QuoteRow, Snapshot
from tests.tui import scripted
from tests.tui.scripted import Desk, desk, quote, to
from tests.tui.test_risk_screen import line
from tui.widgets.line_table import LineTable
from tui.widgets.log import Log
from tui.widgets.orders import Orders
from tui.widgets.quotes import Quotes

INSTRUMENTS = [replace(scripted.AAPL, symbol=f"SYM{number:03d}") for number in range(300)]
MANY = tuple(
    quote(instrument, 100.0 + number, 100.02 + number, 0, 1)
    for number, instrument in enumerate(INSTRUMENTS)
)


def many() -> Snapshot:
    """Three hundred symbols."""
    instruments = {instrument.symbol: instrument for instrument in INSTRUMENTS}
    return replace(scripted.paper(), quotes=MANY, instruments=instruments)


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The panel and line of every line that was painted."""
    lines: list[tuple[str, int]] = []
    render_line = LineTable.render_line

    def counted(self: LineTable[Any], y: int) -> object:
        lines.append((self.id or "", y))
        return render_line(self, y)

    monkeypatch.setattr(LineTable, "render_line", counted)
    return lines


def moved(row: QuoteRow, last: float) -> QuoteRow:
    return replace(row, last=last)


async def test_only_the_rows_that_changed_are_painted(painted: list[tuple[str, int]]) -> None:
    async with desk(many()) as it:
        await it.draw()
        painted.clear()
        it.client.change(quotes=(*MANY[:3], moved(MANY[3], 999.0), *MANY[4:]))
        assert "999.00" in await it.draw()
        assert painted == [("quotes", 4)]


async def test_a_snapshot_that_reads_the_same_paints_nothing(
    painted: list[tuple[str, int]],
) -> None:
    async with desk(scripted.paper()) as it:
        await it.draw()
        painted.clear()
        same = scripted.paper()
        it.client.change(
            quotes=tuple(replace(row) for row in same.quotes),
            orders=tuple(replace(order) for order in same.orders),
            positions=tuple(replace(row) for row in same.positions),
            limits=tuple(replace(row) for row in same.limits),
        )
        await it.draw()
        assert painted == []


async def test_rows_out_of_sight_cost_nothing(painted: list[tuple[str, int]]) -> None:
    async with desk(many()) as it:
        await it.draw()
        painted.clear()
        it.client.change(quotes=(*MANY[:200], *(moved(row, 1.0) for row in MANY[200:])))
        await it.draw()
        assert painted == []


async def test_ages_alone_repaint_their_rows(painted: list[tuple[str, int]]) -> None:
    async with desk(scripted.paper()) as it:
        await it.draw()
        painted.clear()
        it.client.change(ts=scripted.TS + 20 * NANOS)
        assert "20s" in await it.draw()
        assert {panel for panel, _ in painted} == {"quotes"}


async def test_rows_go_on_where_one_comes_back_after_the_terminal_changed_its_size() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("0")
        await it.pilot.resize_terminal(200, 50)
        await it.draw()
        await it.press("1")
        await it.press("0")
        it.client.change(health=replace(scripted.HEALTH, lateness_ms=12.5))
        await it.draw()
        line(it.screen, "lateness", "12.5 ms")


def symbols(it: Desk) -> list[str]:
    """The symbols in the lines of the quotes panel."""
    panel = it.app.base.query_one(Quotes)
    lines = [panel.render_line(y).text for y in range(1, panel.size.height)]
    return [line.split()[0] for line in lines if line.strip()]


async def test_the_selection_stays_with_its_row() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("quotes"), "home", "down")
        panel = it.app.base.query_one(Quotes)
        assert panel.selected == "SPY"
        it.client.change(quotes=tuple(reversed(scripted.QUOTES)))
        await it.draw()
        assert panel.selected == "SPY"
        await it.press("down")
        assert panel.selected == "AAPL"


async def test_a_selected_row_that_goes_takes_the_selection_along() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("quotes"), "end")
        it.client.change(quotes=scripted.QUOTES[:2])
        await it.draw()
        panel = it.app.base.query_one(Quotes)
        assert panel.selected is None
        assert panel.selected_row is None


async def test_keys_move_through_more_rows_than_there_are_lines() -> None:
    async with desk(many()) as it:
        await it.press(*to("quotes"))
        assert symbols(it)[0] == "SYM000"
        await it.press("end")
        assert symbols(it)[-1] == "SYM299"
        await it.press("pageup")
        assert it.app.base.query_one(Quotes).selected == f"SYM{299 - len(symbols(it)):03d}"
        await it.press("home")
        assert symbols(it)[0] == "SYM000"
        await it.press(*["down"] * len(symbols(it)))
        assert symbols(it)[0] == "SYM001"
        await it.press("up", "pagedown")
        assert it.app.base.query_one(Quotes).selected in symbols(it)


async def test_a_click_selects() -> None:
    async with desk(scripted.paper()) as it:
        await it.pilot.click(Quotes, offset=(5, 4))
        assert it.app.base.query_one(Quotes).selected == "BTC-USD"


async def test_open_orders_come_first_and_the_newest_of_each_part() -> None:
    async with desk(scripted.paper(), size=(120, 45)) as it:
        panel = it.app.base.query_one(Orders)
        states = [panel.render_line(y).text for y in range(1, 9)]
    words = ("pending", "IN DOUBT", "partially", "accepted", "canceled", "filled", "rejected")
    assert [next(word for word in words if word in line) for line in states] == [
        "pending",
        "IN DOUBT",
        "partially",
        "accepted",
        "canceled",
        "filled",
        "rejected",
        "filled",
    ]


def lines(first: int, last: int) -> tuple[LogLine, ...]:
    return tuple(LogLine(n, scripted.TS, "info", f"line {n}") for n in range(first, last + 1))


def last_line(it: Desk) -> str:
    panel = it.app.base.query_one(Log)
    return panel.render_line(panel.size.height - 1).text


async def test_the_log_stays_at_its_end_unless_one_scrolls_up() -> None:
    async with desk(replace(scripted.paper(), log=lines(1, 50))) as it:
        assert "line 50" in last_line(it)
        it.client.change(log=lines(1, 60))
        await it.draw()
        assert "line 60" in last_line(it)
        await it.press(*to("log"), "home")
        it.client.change(log=lines(1, 70))
        await it.draw()
        assert "line 70" not in last_line(it)
        await it.press("end")
        it.client.change(log=lines(1, 80))
        await it.draw()
        assert "line 80" in last_line(it)


async def test_a_log_that_comes_to_the_front_is_at_its_end() -> None:
    async with desk(replace(scripted.paper(), log=lines(1, 50)), size=(80, 24)) as it:
        await it.press(*to("log"))
        assert "line 50" in last_line(it)


async def test_lines_of_the_log_with_one_number_are_all_there() -> None:
    twins = (LogLine(5, 0, "info", "one"), LogLine(5, 0, "info", "two"))
    async with desk(replace(scripted.paper(), log=twins)) as it:
        assert "one" in it.screen
        assert "two" in it.screen
