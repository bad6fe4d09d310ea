"""The blotter: all orders, and those of the history as far as one looks."""

from concurrent.futures import Future

import pytest
from msgspec.structs import replace
from textual import events

from engine.core.events import RequestCancel
from engine.core.model import NANOS, Order, OrderState, Side
from engine.ops.errors import UserError
from engine.view.questions import OrderPage, Orders
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.widgets.blotter import Blotter
from tui.widgets.history import PAGE, looked_for
from tui.widgets.orders import PARTS

FIRST = Orders(count=PAGE)


def old(number: int, **fields: object) -> Order:
    """A filled order of days before."""
    order = scripted.order(
        1, "AAPL", Side.BUY, "29", OrderState.FILLED, "150.00", filled="29", reason=""
    )
    ts = scripted.TS - number * 86_400 * NANOS
    return replace(
        order, client_order_id=f"old-{number:04d}", created_ts=ts, updated_ts=ts, **fields
    )


def page(first: int, last: int, *, more: bool = True) -> OrderPage:
    orders = tuple(old(number) for number in range(first, last + 1))
    return OrderPage(orders, (orders[-1].created_ts, orders[-1].client_order_id) if more else None)


def ids(it: Desk) -> list[str]:
    return [row.client_order_id for row in it.app.base.query_one(Blotter)._rows]


def asked(it: Desk) -> list[tuple[Orders, Future[OrderPage]]]:
    """The questions about orders; those about fills are not the blotter's."""
    return [(q, future) for q, future in it.client.asked if isinstance(q, Orders)]


async def answer(it: Desk, number: int, page: OrderPage) -> None:
    asked(it)[number][1].set_result(page)
    await it.app.workers.wait_for_complete()
    await it.draw()


async def test_it_has_every_column_of_an_order() -> None:
    first, *rest = scripted.ORDERS
    orders = (replace(first, venue_order_id="V-1", reason="by hand"), *rest)
    async with desk(replace(scripted.paper(), orders=orders), size=(250, 50)) as it:
        await it.press("2")
        head = next(line for line in it.screen.splitlines() if "client order id" in line)
        line = next(line for line in it.screen.splitlines() if first.client_order_id in line)
    titles = "time symbol side qty type price filled avg state age strategy TIF purpose reason"
    assert all(title in head for title in (*titles.split(), "venue order id"))
    for text in ("01-31 14:11:09", "AAPL", "BUY", "29", "limit", "169.98", "filled", "19m", "GTC"):
        assert text in line
    for text in ("V-1", "by hand", "sma_crossover", "entry"):
        assert text in line


async def test_the_history_follows_on_the_orders_of_the_snapshot() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2")
        assert [question for question, _ in asked(it)] == [FIRST]
        assert "history: asking" in it.screen
        newer = replace(scripted.ORDERS[0], state=OrderState.ACCEPTED, updated_ts=1)
        await answer(it, 0, replace(page(1, 40), orders=(newer, *page(1, 40).orders)))
        assert "history: older ones at the end" in it.screen
        assert len(ids(it)) == len(scripted.ORDERS) + 40
        assert ids(it)[-1] == "old-0040"
        assert "sma-aap-0001" in ids(it)[4:]
        await it.press("end")
        before = (old(40).created_ts, "old-0040")
        assert asked(it)[1][0] == replace(FIRST, before=before)
        await it.press("end", "down")
        assert len(asked(it)) == 2
        await answer(it, 1, page(41, 45, more=False))
        assert ids(it)[-1] == "old-0045"
        assert "history: whole" in it.screen
        await it.press("end")
        assert len(asked(it)) == 2


async def test_the_wheel_comes_to_the_end_of_the_known_ones_too() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2")
        await answer(it, 0, page(1, 40))
        panel = it.app.base.query_one(Blotter)
        for _ in range(40):
            panel.post_message(wheel(panel))
            await it.pilot.pause()
        assert len(asked(it)) == 2


def wheel(panel: Blotter) -> events.MouseScrollDown:
    """A turn of the mouse's wheel, downwards."""
    return events.MouseScrollDown(panel, 5, 5, 0, 0, 0, False, False, False)


async def test_a_panel_that_is_not_full_asks_on() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("2")
        await answer(it, 0, page(1, 2))
        assert len(asked(it)) == 2


async def test_words_are_looked_for_in_the_whole_history() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "slash", *"tsla")
        assert len(asked(it)) == 1
        await it.press("enter")
        assert asked(it)[-1][0] == Orders(text="tsla", count=PAGE)
        found = replace(page(1, 2, more=False), orders=(old(1, symbol="TSLA"), old(2)))
        await answer(it, 1, found)
        assert ids(it) == ["old-0001"]
        await it.press("escape")
        assert asked(it)[-1][0] == FIRST
        assert len(ids(it)) == len(scripted.ORDERS) + 2


@pytest.mark.parametrize(
    ("words", "text"),
    [("", ""), ("Filled SPY", "spy"), ("buy limit", ""), ("in doubt", "in"), ("reject x", "x")],
)
def test_of_the_words_the_database_looks_for_one_that_it_has(words: str, text: str) -> None:
    assert looked_for(words, Blotter.vocabulary) == text


async def test_f_goes_through_the_parts_of_the_orders() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2")
        for part in (*list(PARTS)[1:], ""):
            await it.press("f")
            states = PARTS[part]
            assert asked(it)[-1][0] == replace(FIRST, states=states)
            wanted = [o for o in scripted.ORDERS if not states or o.state in states]
            assert sorted(ids(it)) == sorted(order.client_order_id for order in wanted)
            assert (f"· {part} alone" in it.screen) == bool(part)


async def test_without_an_answer_it_says_why_and_asks_again_at_the_end() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2")
        error = UserError("the database is out of reach", "look at the log")
        asked(it)[0][1].set_exception(error)
        await it.app.workers.wait_for_complete()
        assert "the database is out of reach" in await it.draw()
        assert len(asked(it)) == 1
        await it.press("end")
        assert [question for question, _ in asked(it)] == [FIRST, FIRST]


async def test_the_snapshot_tells_more_of_an_order_than_the_history() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2")
        done = replace(
            scripted.ORDERS[3], state=OrderState.FILLED, updated_ts=scripted.TS, reason="done"
        )
        it.client.change(orders=(*scripted.ORDERS[:3], done))
        await it.draw()
        await answer(it, 0, OrderPage(scripted.ORDERS, None))
        assert "done" in await it.draw()
        assert len(ids(it)) == len(scripted.ORDERS)


async def test_orders_are_cancelled_and_settled_here_too() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "home", "x", "y", seconds=0.6)
        assert it.sent == [RequestCancel(client_order_id="sma-btc-0007", author="console")]
        await it.press("down", "enter")
        assert "In doubt since" in it.screen


async def test_a_part_without_rows_is_not_told_as_no_order_at_all() -> None:
    async with desk(replace(scripted.paper(), orders=())) as it:
        await it.press("2", "f")
        assert "none: open alone is shown" in it.screen
        assert "no order yet" not in it.screen
