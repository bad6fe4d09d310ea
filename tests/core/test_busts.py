"""Executions that a venue takes back or corrects: the ledger is as if they had never been."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import (
    CommandRefused,
    Event,
    ExecutionReport,
    FillQuarantined,
    PositionClosed,
    TradeBusted,
    TradeReversed,
)
from engine.core.model import EXTERNAL, Fill, OrderPurpose, OrderState, Position, Side
from tests.core.rig import BOUNDED, START, Rig

S = OrderState
CASH = Decimal(100_000)


def execution(
    number: int, side: Side, quantity: int, price: int, taken: str = "0", **fields: Any
) -> Fill:
    """`taken` is the commission that was taken in the instrument itself."""
    fill = {"commission": Decimal(1), "symbol": "ACME", "commission_quantity": Decimal(taken)}
    fill |= fields
    return Fill(
        f"x{number}",
        f"by-hand-{number}",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        ts=START,
        **fill,
    )


def tell(rig: Rig, fill: Fill) -> None:
    rig.send(ExecutionReport(fill.client_order_id, S.FILLED, "v", fill))


def bust(rig: Rig, fill: Fill, corrected: Fill | None = None, **fields: Any) -> list[TradeReversed]:
    rig.send(TradeBusted(fill.execution_id, fill.symbol, corrected, "error \x1b", **fields))
    return rig.facts(TradeReversed)


def money(position: Position) -> tuple[Decimal, ...]:
    return (position.quantity, position.cost, position.realised_pnl, position.commission)


trades = st.tuples(
    st.sampled_from(list(Side)),
    st.integers(1, 50),
    st.integers(90, 110),
    st.sampled_from(("0", "0", "0.25")),
)


@BOUNDED
@given(st.lists(trades, min_size=1, max_size=12), st.data())
def test_the_ledger_is_as_if_the_execution_had_never_been(
    sequence: list[tuple[Side, int, int, str]], data: st.DataObject
) -> None:
    fills = [execution(number, *trade) for number, trade in enumerate(sequence)]
    busted = data.draw(st.sampled_from(fills))
    corrected = data.draw(st.none() | trades.map(lambda t: execution(99, busted.side, *t[1:])))
    rig, other = Rig(), Rig()
    for fill in fills:
        tell(rig, fill)
        instead = fill if fill is not busted else corrected
        if instead is not None:
            tell(other, instead)
    (fact,) = bust(rig, busted, corrected)
    assert money(rig.position(EXTERNAL)) == money(other.position(EXTERNAL))
    assert rig.cash == other.cash == fact.cash
    assert rig.machine.portfolio.equity_estimate == pytest.approx(
        other.machine.portfolio.equity_estimate, nan_ok=True
    )
    for fill in fills:  # the next bust is as exact
        bust(rig, fill)
    if corrected is not None:
        bust(rig, corrected)
    assert money(rig.position(EXTERNAL))[:3] == (0, 0, 0)
    assert rig.cash == CASH


def test_the_fact_links_both_executions() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    tell(rig, fill)
    (fact,) = bust(rig, fill, execution(2, Side.BUY, 10, 99))
    assert fact.correction is not None
    assert (fact.fill.execution_id, fact.correction.execution_id) == ("x1", "x2")
    assert (fact.correction.client_order_id, fact.reason) == ("by-hand-1", "error  ")


def test_a_bust_and_its_executions_count_once() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    tell(rig, fill)
    for _ in range(3):
        bust(rig, fill, execution(2, Side.BUY, 10, 99))
        tell(rig, fill)
        tell(rig, execution(2, Side.BUY, 10, 99))
    assert len(rig.facts(TradeReversed)) == 1
    assert rig.position(EXTERNAL).quantity == 10
    assert rig.cash == CASH - 990 - 1


def test_a_correction_that_was_reported_before_is_not_counted_twice() -> None:
    rig = Rig()
    first, second = execution(1, Side.BUY, 10, 100), execution(2, Side.BUY, 10, 99)
    tell(rig, first)
    tell(rig, second)
    (fact,) = bust(rig, first, second)
    assert fact.correction is None
    assert rig.position(EXTERNAL).quantity == 10


def test_a_correction_under_the_same_id() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    tell(rig, fill)
    (fact,) = bust(rig, fill, execution(1, Side.BUY, 9, 100))
    assert fact.position.quantity == 9
    tell(rig, fill)
    assert rig.position(EXTERNAL).quantity == 9


def test_a_former_sessions_execution_is_reversed_too() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    tell(rig, fill)
    after = Rig(restored=rig.durable())
    (fact,) = bust(after, fill)
    assert (fact.position.quantity, after.cash) == (0, CASH)
    bust(after, fill)
    assert len(after.facts(TradeReversed)) == 1


def test_a_commission_of_a_former_session_that_was_taken_in_the_instrument_comes_back() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100, "0.25")
    tell(rig, fill)
    assert (rig.position(EXTERNAL).quantity, rig.cash) == (Decimal("9.75"), CASH - 1001)
    after = Rig(restored=rig.durable())
    (fact,) = bust(after, fill)
    assert (money(fact.position), after.cash) == ((0, 0, 0, 0), CASH)


def test_the_correction_of_a_former_sessions_execution_may_be_taken_back_too() -> None:
    rig = Rig()
    fill, correction = execution(1, Side.BUY, 10, 100), execution(2, Side.BUY, 10, 99)
    tell(rig, fill)
    after = Rig(restored=rig.durable())
    bust(after, fill, correction)
    _, fact = bust(after, correction)
    assert (fact.position.quantity, after.cash) == (0, CASH)


def test_a_bust_of_nothing_that_is_known_is_said() -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    assert bust(rig, fill) == []
    tell(rig, fill)
    rig.send(TradeBusted("x1", "COIN"))
    assert [fact.reason for fact in rig.facts(CommandRefused)] == [
        "no execution x1 of ACME is known",
        "no execution x1 of COIN is known",
    ]
    assert rig.position(EXTERNAL).quantity == 10


@pytest.mark.parametrize(
    "wrong",
    [execution(2, Side.SELL, 10, 99), execution(2, Side.BUY, 0, 99),
     execution(2, Side.BUY, 10, 99, symbol="COIN")],
)  # fmt: skip
def test_a_correction_that_makes_no_sense_is_quarantined(wrong: Fill) -> None:
    rig = Rig()
    fill = execution(1, Side.BUY, 10, 100)
    tell(rig, fill)
    assert bust(rig, fill, wrong) == []
    assert len(rig.facts(FillQuarantined)) == 1
    assert rig.position(EXTERNAL).quantity == 10


def test_what_is_held_after_a_bust_is_protected() -> None:
    rig = Rig()
    rig.hold_position(100)
    (fill,) = [e.fill for e in rig.inputs if isinstance(e, ExecutionReport) and e.fill]
    half = execution(2, Side.BUY, 20, 100)
    bust(rig, fill, half)
    rig.quote(100)
    stops = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert [stop.leaves for stop in stops] == [20]
    assert rig.facts(Event)


def with_fee(rig: Rig, taken: str) -> TradeReversed:
    """The fee of the last execution becomes known."""
    fill = [e.fill for e in rig.inputs if isinstance(e, ExecutionReport) and e.fill][-1]
    corrected = replace(
        fill, execution_id=f"{fill.execution_id}:with-fee", commission_quantity=Decimal(taken)
    )
    return bust(rig, fill, corrected)[-1]


def test_a_fee_that_becomes_known_makes_what_is_held_smaller_and_its_stop() -> None:
    rig = Rig()
    before = rig.hold_position(100)
    cash, orders = rig.cash, len(rig.submits(OrderPurpose.ENTRY))
    fact = with_fee(rig, "2")
    rig.quote(100)
    after = rig.position()
    assert fact.position == after
    assert (after.quantity, after.commission) == (before.quantity - 2, before.commission + 200)
    assert (after.realised_pnl, rig.cash) == (before.realised_pnl, cash)
    (stop,) = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert stop.leaves == after.quantity
    assert len(rig.submits(OrderPurpose.ENTRY)) == orders
    assert rig.facts(PositionClosed) == []
    assert rig.machine.compliance.accounts["paper"].day_trades.used("ACME", rig.now) == 0
    rig.quote(90)
    assert rig.position().quantity == 0


def test_an_exit_sells_no_more_than_is_left_once_a_fee_is_known() -> None:
    rig = Rig()
    held = rig.hold_position(100).quantity
    with_fee(rig, "2")
    rig.signal(Side.SELL)
    rig.quote(100)
    assert [order.quantity for order in rig.submits(OrderPurpose.EXIT)] == [held - 2]
    assert rig.position().quantity == 0
    (closed,) = rig.facts(PositionClosed)
    assert closed.round_trip.pnl == -200


def test_a_stop_that_was_refused_for_more_than_is_held_is_asked_for_again_at_once() -> None:
    rig = Rig()
    held = rig.hold_position(100).quantity
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.report(stop, S.REJECTED, reason="insufficient balance")
    rig.tick()
    assert not [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    with_fee(rig, "2")
    (stop,) = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert stop.leaves == held - 2


def test_a_position_that_a_bust_brings_back_is_under_its_stop_again() -> None:
    rig = Rig()
    stop_price = rig.hold_position(100).stop_price
    rig.quote(90)
    assert rig.position().quantity == 0
    fill = [e.fill for e in rig.inputs if isinstance(e, ExecutionReport) and e.fill][-1]
    bust(rig, fill)
    (stop,) = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert (stop.leaves, stop.stop_price) == (rig.position().quantity, stop_price)


def test_what_others_sold_and_the_venue_took_back_is_under_the_stop_again() -> None:
    """What others hold of the symbol is taken from what the stop of a strategy has to cover."""
    rig = Rig()
    held = rig.hold_position(100).quantity
    sold = execution(1, Side.SELL, 10, 100)
    tell(rig, sold)
    rig.tick()
    assert rig.position(EXTERNAL).quantity == -10
    (stop,) = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert stop.leaves == held - 10
    bust(rig, sold)
    (stop,) = [o for o in rig.of(OrderPurpose.PROTECTIVE_STOP) if o.is_open]
    assert stop.leaves == held
