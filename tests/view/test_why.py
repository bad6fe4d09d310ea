"""Why: the chain of causes of orders, fills, positions and signals of a real engine."""

import asyncio
from concurrent.futures import Future
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    OrderCancelRejected,
    OrderIntended,
    OrderPendingCancel,
    OrderReplaced,
    OrderSized,
    TripKillSwitch,
)
from engine.core.model import KillAction, OrderPurpose, OrderState, SizingMethod
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.view.explaining import guard, order_chain
from engine.view.questions import (
    A,
    Chain,
    Question,
    Step,
    WhyFill,
    WhyOrder,
    WhyPosition,
    WhySignal,
)
from engine.view.snapshot import Snapshot
from tests.session import Session, running, zigzag
from tests.view.test_wording import ORDER

ENTRY, EXIT, STOP = OrderPurpose.ENTRY, OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path)


def has_traded(snapshot: Snapshot) -> bool:
    return sum(order.filled > 0 for order in snapshot.orders) >= 4


async def asked(session: Session, question: Question[A]) -> A:
    answer: Future[A] = Future()
    session.runtime.ask(question, answer)
    return await asyncio.wrap_future(answer)


def titles(chain: Chain) -> list[str]:
    return [step.title for step in chain.steps]


def step(chain: Chain, title: str) -> Step:
    return next(step for step in chain.steps if step.title == title)


def numbers(step: Step) -> dict[str, Any]:
    return {number.name: number.value for number in step.numbers}


def first(snapshot: Snapshot, purpose: OrderPurpose) -> str:
    """The first order of that purpose that is over."""
    return next(
        o.client_order_id
        for o in snapshot.orders
        if o.purpose is purpose and (o.state is OrderState.FILLED or purpose is STOP)
    )


# --- orders --------------------------------------------------------------------------------------


async def test_an_entry_is_told_from_the_bar_to_the_fill(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        key = first(snapshot, ENTRY)
        chain = await asked(session, WhyOrder(key))
        order = session.runtime.machine.orders.orders[key]
    assert titles(chain) == [
        "Bar", "Signal", "Size", "Protection", "Risk checks", "Order", "Submitted", "Accepted",
        "Filled",
    ]  # fmt: skip
    assert chain.unknown == ()
    assert key in chain.title
    assert chain.outcome.startswith(f"filled {order.filled:f} at ")
    assert numbers(step(chain, "Bar"))["close"] == numbers(step(chain, "Signal"))["price"]
    assert numbers(step(chain, "Signal"))["seen"] == 3
    assert numbers(step(chain, "Size"))["quantity"] == order.quantity
    checks = step(chain, "Risk checks").numbers
    assert {"position size", "exposure", "trades per day"} <= {check.name for check in checks}
    assert all(check.passed for check in checks)
    size = next(check for check in checks if check.name == "position size")
    assert (size.bound, size.unit, size.setting) == ("at most", "%", "max_position_size_pct")
    assert size.value is not None
    assert size.limit is not None
    assert size.value <= size.limit
    fill = numbers(step(chain, "Filled"))
    assert (fill["quantity"], fill["price"], fill["left"]) == (order.filled, order.avg_price, 0)


async def test_a_bar_that_was_corrected_is_told_as_it_was_and_as_it_is(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        key = first(snapshot, ENTRY)
        machine = session.runtime.machine
        order = machine.orders.orders[key]
        bars = machine.market.symbols[order.symbol].bars
        was = next(bar for bar in bars if bar.ts == order.created_ts)
        session.runtime.publish(BarClosed(replace(was, volume=was.volume + 1), ts=was.ts))
        chain = await asked(session, WhyOrder(key))
    assert (titles(chain)[0], titles(chain)[-1]) == ("Bar", "Bar corrected")
    assert numbers(chain.steps[0])["volume"] == was.volume
    assert numbers(chain.steps[-1])["volume"] == was.volume + 1


def test_a_cancel_that_did_not_take_is_told_with_its_reason() -> None:
    order = replace(ORDER, state=OrderState.PENDING_CANCEL, reason="kill switch")
    facts = [OrderPendingCancel(order), OrderCancelRejected(order, "already filled")]
    assert [(step.title, step.text) for step in order_chain(order, facts).steps] == [
        ("Pending cancel", "kill switch"),
        ("Cancel rejected", "already filled"),
    ]


def test_an_order_that_was_changed_is_told_with_its_new_terms() -> None:
    changed = replace(ORDER, limit_price=Decimal("7300"), reason="follows the price")
    chain = order_chain(changed, [OrderReplaced(changed)])
    told = step(chain, "Replaced")
    assert told.text == "follows the price"
    assert numbers(told)["limit"] == Decimal("7300")


async def test_each_step_says_how_long_after_the_one_before_it_came(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        chain = await asked(session, WhyOrder(first(snapshot, ENTRY)))
    steps = chain.steps
    assert steps[0].delay is None
    assert [s.delay for s in steps[1:]] == [b.ts - a.ts for a, b in pairwise(steps)]
    assert all(s.delay is None or s.delay >= 0 for s in steps)


async def test_an_exit_names_the_signal_that_it_waited_to_carry_out(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        chain = await asked(session, WhyOrder(first(snapshot, EXIT)))
    assert titles(chain)[:3] == ["Bar", "Signal", "Order"]
    assert "wants to sell" in step(chain, "Signal").text
    told = step(chain, "Order")
    assert told.text.endswith(": the whole position")
    assert numbers(told)["held"] == numbers(told)["quantity"] > 0
    assert chain.unknown == ()


async def test_a_stop_names_the_fill_that_it_protects(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        entry, stop = first(snapshot, ENTRY), first(snapshot, STOP)
        chain = await asked(session, WhyOrder(stop))
    assert titles(chain)[:3] == ["Protection", "Filled", "Order"]
    assert step(chain, "Filled").order == entry
    assert step(chain, "Order").order == stop
    told, price = step(chain, "Protection"), numbers(step(chain, "Order"))["stop"]
    assert numbers(told)["stop-loss"] == price
    paid = numbers(told)["buying price"]
    assert told.text == (
        f"stop-loss at {price.normalize()}, 2 % below the buying price of {paid}, as set"
    )
    assert abs(price - paid * Decimal("0.98")) < Decimal("0.01")
    assert chain.unknown == ()


def test_what_the_signal_asked_for_is_told_from_what_is_set() -> None:
    sized = OrderSized(
        "tb-1",
        "zigzag",
        "ACME",
        SizingMethod.FIXED_FRACTION,
        Decimal(10),
        Decimal(9),
        Decimal(9),
        {},
        Decimal("100.20"),
        Decimal(97),
        Decimal("104.20"),
        Decimal("1.5"),
        {"take_profit": Decimal(4)},
    )
    (told,) = guard([sized, replace(sized, client_order_id="tb-2")], "tb-1")
    assert told.text == (
        "stop-loss at 97, as the signal asked; target at 104.2, 4 % above the buying price of "
        "100.2, as set; trailing by 1.5, as the signal asked"
    )
    assert guard([replace(sized, buying_price=None)], "tb-1") == ()


def test_a_stop_without_a_record_of_its_price_says_so() -> None:
    stop = replace(ORDER, purpose=STOP)
    facts = [OrderIntended(stop, Decimal(20))]
    chain = order_chain(stop, facts)
    assert "how its price came about: no record of that is left" in chain.unknown
    assert chain.steps[0].text.endswith(" of 20 in the position")


async def test_an_order_of_a_former_session_is_told_as_it_was_then(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        keys = [first(snapshot, purpose) for purpose in (ENTRY, EXIT, STOP)]
        before = [await asked(session, WhyOrder(key)) for key in keys]
    async with running(settings) as again:
        await again.until(lambda snapshot: snapshot.feed.status == "connected")
        after = [await asked(again, WhyOrder(key)) for key in keys]
    assert after == before


async def test_an_order_that_is_not_there_is_named(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        with pytest.raises(UserError, match="no order nope is recorded"):
            await asked(session, WhyOrder("nope"))


# --- fills and positions -------------------------------------------------------------------------


async def test_a_fill_is_told_by_its_order(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        key = first(snapshot, ENTRY)
        query = f"select execution_id from trades where client_order_id = '{key}'"
        await session.until(lambda _: session.rows(query))
        ((execution,),) = session.rows(query)
        chain = await asked(session, WhyFill(execution, "ACME"))
        order = await asked(session, WhyOrder(key))
        with pytest.raises(UserError, match="no execution nope"):
            await asked(session, WhyFill("nope", "ACME"))
    assert chain.steps == order.steps
    assert chain.title.startswith(f"fill {execution} of entry buy")


async def test_a_position_is_told_from_the_bar_to_the_stop_under_it(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, sells=False)
    async with running(settings) as session:
        await session.until(lambda s: any(p.stop_price for p in s.positions))
        chain = await asked(session, WhyPosition("zigzag", "ACME"))
        with pytest.raises(UserError, match="zigzag holds no NOPE"):
            await asked(session, WhyPosition("zigzag", "NOPE"))
    assert titles(chain)[:3] == ["Bar", "Signal", "Size"]
    assert titles(chain)[-2:] == ["Filled", "Protected"]
    assert chain.outcome.startswith("holds ")
    assert chain.unknown == ()


async def test_a_stop_that_a_kill_cancelled_says_so_first_and_the_position_that_it_has_none(
    tmp_path: Path,
) -> None:
    async with running(zigzag(tmp_path, sells=False)) as session:
        bought = await session.until(lambda s: any(p.stop_price for p in s.positions))
        stop = next(o for o in bought.orders if o.purpose is STOP)
        session.command(TripKillSwitch(source="key", author="me", action=KillAction.CANCEL))
        await session.until(lambda s: s.kill.tripped and not s.kill.open_orders)
        order = await asked(session, WhyOrder(stop.client_order_id))
        position = await asked(session, WhyPosition("zigzag", "ACME"))
    assert order.outcome == "canceled: kill switch"
    assert position.outcome.endswith("WITHOUT A STOP: none rests at its venue")
    assert position.unknown == ()


async def test_a_position_of_a_former_session_is_told_all_the_same(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, sells=False)
    async with running(settings) as session:
        await session.until(lambda s: any(p.stop_price for p in s.positions))
    async with running(settings) as again:
        await again.until(lambda s: any(p.stop_price for p in s.positions))
        chain = await asked(again, WhyPosition("zigzag", "ACME"))
    assert titles(chain)[:3] == ["Bar", "Signal", "Size"]
    assert "Filled" in titles(chain)


# --- signals -------------------------------------------------------------------------------------


async def test_a_signal_is_told_to_what_became_of_its_order(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
        row = snapshot.signals[0]
        chain = await asked(session, WhySignal(row.seq))
        with pytest.raises(UserError, match="signal 7 any more"):
            await asked(session, WhySignal(7))
    assert titles(chain)[:6] == [
        "Bar", "Signal", "Size", "Protection", "Risk checks", "Order",
    ]  # fmt: skip
    assert titles(chain)[-1] == "Filled"
    assert row.note in chain.outcome


async def blocked(settings: Settings) -> Chain:
    async with running(settings) as session:
        snapshot = await session.until(lambda s: any(r.outcome == "blocked" for r in s.signals))
        row = next(row for row in snapshot.signals if row.outcome == "blocked")
        return await asked(session, WhySignal(row.seq))


async def test_a_blocked_signal_names_the_limit_and_what_would_have_let_it_pass(
    tmp_path: Path,
) -> None:
    chain = await blocked(zigzag(tmp_path, max_trades_per_day=1))
    assert titles(chain) == ["Bar", "Signal", "Size", "Protection", "Risk checks", "Blocked"]
    assert "trades per day would be 2, must be at most 1" in chain.outcome
    assert chain.remedies == ("trades per day at most 1 (MAX_TRADES_PER_DAY): it would be 2",)
    failed = [n for n in step(chain, "Risk checks").numbers if not n.passed]
    assert [(n.name, n.value, n.limit) for n in failed] == [("trades per day", 2, 1)]


async def test_a_signal_that_something_else_blocked_says_what(tmp_path: Path) -> None:
    chain = await blocked(zigzag(tmp_path, stop_loss_required=True))
    assert titles(chain) == ["Bar", "Signal", "Blocked"]
    assert "the signal has no stop-loss" in chain.outcome
    assert chain.remedies == ("another stop-loss",), "the reason is told above"
