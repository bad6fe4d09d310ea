"""From signals to orders: entries, exits, and exactly one stop under each position."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import (
    CancelOrder,
    CommitIntent,
    IntentFailed,
    OrderIntended,
    QueryOrder,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StrategyState,
    SubmitOrder,
)
from engine.core.execution.rules import SLIPPAGE_ALLOWANCE
from engine.core.model import Order, OrderPurpose, OrderState, OrderType, Position, Side
from engine.core.risk import RiskLimits
from tests.core.rig import ACME, COIN, Rig, effects_of

S = OrderState
ENTRY, EXIT, STOP = OrderPurpose.ENTRY, OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP
CASH = Decimal(100_000)


def blocks(rig: Rig) -> list[str]:
    return [fact.check for fact in rig.facts(SignalBlocked)]


def stops(rig: Rig) -> list[tuple[Decimal, Decimal | None]]:
    """Quantity left and stop price of the stops that are open."""
    return [(o.leaves, o.stop_price) for o in rig.open if o.purpose is STOP]


# --- entries -------------------------------------------------------------------------------------


def test_a_buy_signal_makes_a_market_order_that_names_its_cause() -> None:
    rig = Rig()
    order = rig.buy(100)
    assert (order.side, order.type, order.purpose) == (Side.BUY, OrderType.MARKET, ENTRY)
    assert (order.created_ts, order.strategy, order.symbol) == (rig.now, "puppet", "ACME")
    assert order.reference_price == 100 * (1 + SLIPPAGE_ALLOWANCE)
    (signal,) = rig.facts(SignalGenerated)
    assert order.cause == signal.seq


def test_its_chain_of_causes_goes_back_to_the_quote() -> None:
    rig = Rig()
    rig.buy(100)
    (intended,) = rig.facts(OrderIntended)
    chain = [type(event).__name__ for event in rig.machine.bus.why(intended.seq)]
    assert chain == ["QuoteUpdate", "SignalGenerated", "OrderIntended"]


def test_the_default_stop_is_a_set_distance_below_the_price() -> None:
    assert Rig().buy(100).stop_loss == Decimal("98.00")
    assert Rig(limits=RiskLimits(stop_loss_pct=Decimal(10))).buy(100).stop_loss == Decimal("90.00")


def test_the_signals_own_stop_goes_before_the_default() -> None:
    assert Rig().buy(100, stop_price=91.239).stop_loss == Decimal("91.24")


@pytest.mark.parametrize("stop", [100.0, 150.0])
def test_a_stop_that_is_not_below_the_price_protects_nothing_and_is_refused(stop: float) -> None:
    rig = Rig()
    rig.signal(Side.BUY, 100, stop_price=stop)
    assert blocks(rig) == ["stop_loss"]
    assert rig.orders == {}


def test_a_signal_without_a_stop_is_refused_where_one_is_required() -> None:
    rig = Rig(limits=RiskLimits(stop_loss_required=True))
    rig.signal(Side.BUY)
    assert blocks(rig) == ["stop_loss"]
    rig.signal(Side.SELL)
    assert rig.buy(stop_price=95).state is S.ACCEPTED


def test_a_second_buy_makes_no_second_entry() -> None:
    rig = Rig(void={SubmitOrder, CancelOrder})
    for side in (Side.BUY, Side.SELL, Side.BUY):
        rig.signal(side)
    assert blocks(rig) == ["flat", "position"]
    assert len(rig.of(ENTRY)) == 1


@pytest.mark.parametrize(("age", "blocked"), [(120, []), (120.25, ["stale"])])
def test_nothing_is_bought_on_a_price_older_than_its_limit(age: float, blocked: list[str]) -> None:
    rig = Rig()
    rig.quote(100)
    rig.wish(Side.BUY)
    rig.tick(age)
    assert blocks(rig) == blocked


def test_a_quote_older_than_its_limit_is_no_price_to_buy_at() -> None:
    rig = Rig()
    rig.quote(50)
    for _ in range(3):
        rig.bar(100)
    rig.wish(Side.BUY)
    rig.tick()
    assert rig.last(ENTRY).reference_price == Decimal("100.50")


def test_less_than_the_smallest_order_is_not_bought() -> None:
    rig = Rig(starting_cash=Decimal(190), instruments=(COIN,))
    rig.signal(Side.BUY, 100, symbol="COIN")
    assert blocks(rig) == ["size"]
    rig = Rig(starting_cash=Decimal(210), instruments=(COIN,))
    assert rig.buy(100, symbol="COIN").quantity * Decimal("100.50") >= 10


def test_less_than_the_smallest_quantity_is_not_bought_and_the_reason_names_it() -> None:
    coin = replace(COIN, min_notional=Decimal(0), min_quantity=Decimal(1))
    rig = Rig(starting_cash=Decimal(1000), instruments=(coin,))
    rig.signal(Side.BUY, 100, symbol="COIN")
    (block,) = rig.facts(SignalBlocked)
    assert "the smallest order is 100.5" in block.reason
    rig = Rig(starting_cash=Decimal(3000), instruments=(coin,))
    assert rig.buy(100, symbol="COIN").quantity > 1


# --- exits ---------------------------------------------------------------------------------------


def test_a_sell_signal_closes_the_whole_position() -> None:
    rig = Rig()
    rig.hold_position()
    rig.signal(Side.SELL, 101)
    order = rig.last(EXIT)
    assert (order.side, order.type, order.quantity) == (Side.SELL, OrderType.MARKET, 49)
    rig.quote(101)
    assert rig.position().quantity == 0
    assert rig.open == []


def test_a_sell_signal_without_a_position_is_blocked() -> None:
    rig = Rig()
    rig.signal(Side.SELL)
    assert blocks(rig) == ["flat"]
    assert rig.orders == {}


def test_a_sell_signal_cancels_an_entry_that_is_on_its_way() -> None:
    rig = Rig()
    order = rig.buy()
    rig.signal(Side.SELL, 101)
    assert rig.position().quantity == 49, "the quote filled it before the strategy spoke"
    rig = Rig()
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.signal(Side.SELL)
    assert rig.state_of(order) is S.CANCELED
    (blocked,) = rig.facts(SignalBlocked)
    assert blocked.reason == "no position to close; its entry is cancelled"


def test_an_exit_of_a_partly_filled_entry_sells_what_was_bought() -> None:
    rig = Rig()
    entry = rig.buy()
    rig.quote(100, size=20)
    rig.wish(Side.SELL)
    rig.tick()
    assert rig.state_of(entry) is S.CANCELED
    rig.quote(100)
    assert rig.position().quantity == 0
    assert [order.quantity for order in rig.submits(EXIT)] == [20]


def test_the_stop_makes_way_before_the_exit_leaves() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {CancelOrder}
    rig.signal(Side.SELL)
    assert rig.of(EXIT) == [], "two orders that both sell would sell twice"
    stop = rig.last(STOP)
    rig.report(stop, S.CANCELED)
    assert [order.quantity for order in rig.submits(EXIT)] == [49]


def test_a_stop_that_fills_while_it_makes_way_leaves_nothing_to_sell() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {CancelOrder}
    rig.signal(Side.SELL)
    rig.quote(97)
    assert rig.position().quantity == 0
    rig.tick(10)
    assert rig.of(EXIT) == []
    assert rig.open == []


def test_a_stop_that_fills_in_part_while_it_makes_way_leaves_the_rest() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {CancelOrder}
    rig.signal(Side.SELL)
    stop = rig.last(STOP)
    rig.fill(stop, 9, 98)
    rig.report(stop, S.CANCELED)
    assert [order.quantity for order in rig.submits(EXIT)] == [40]


@pytest.mark.parametrize("state", [S.REJECTED, S.CANCELED, S.EXPIRED])
def test_an_exit_that_does_not_fill_puts_the_position_back_under_its_stop(state: S) -> None:
    rig = Rig()
    rig.hold_position()
    rig.signal(Side.SELL)
    rig.report(rig.last(EXIT), state, reason="halted")
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]


def test_an_exit_that_could_not_be_made_durable_puts_it_back_too() -> None:
    rig = Rig()
    rig.hold_position()
    rig.hold = {CommitIntent}
    rig.signal(Side.SELL)
    exit_ = rig.last(EXIT)
    rig.hold.clear()
    rig.send(IntentFailed(exit_.client_order_id, "locked"))
    assert rig.state_of(exit_) is S.CANCELED
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]


def test_an_exit_that_the_database_knows_puts_it_back_too() -> None:
    rig = Rig()
    rig.hold_position()
    rig.hold = {CommitIntent}
    rig.signal(Side.SELL)
    exit_ = rig.last(EXIT)
    rig.hold.clear()
    rig.send(IntentFailed(exit_.client_order_id, "was made before", duplicate=True))
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]


def test_an_exit_that_was_blocked_is_carried_out_when_orders_may_leave() -> None:
    rig = Rig()
    rig.hold_position()
    rig.kill()
    rig.signal(Side.SELL)
    assert blocks(rig) == ["stop"]
    rig.rearm()
    assert len(rig.submits(EXIT)) == 1
    assert stops(rig) == []


def test_an_exit_that_was_signalled_before_the_end_is_carried_out_after_the_restart() -> None:
    held = Position(
        "puppet",
        "ACME",
        quantity=Decimal(49),
        cost=Decimal(4900),
        opened_ts=1,
        stop_price=Decimal(98),
    )
    state = StrategyState("puppet", True, last_signals={"ACME": Side.SELL})
    restored = Restored(
        {"paper": CASH - 4900}, positions=(held,), strategies=(state,), marks={"ACME": 100.0}
    )
    rig = Rig(restored=restored, started=False)
    assert rig.submits() == []
    rig.start()
    assert [order.quantity for order in rig.submits(EXIT)] == [49]
    assert rig.of(STOP) == []


@pytest.mark.parametrize("quantity", [49, 0])
def test_what_was_not_to_be_closed_before_the_end_is_not_closed_after(quantity: int) -> None:
    held = Position(
        "puppet", "ACME", Decimal(quantity), Decimal(4900), opened_ts=1, stop_price=Decimal(98)
    )
    last = Side.BUY if quantity else Side.SELL
    state = StrategyState("puppet", True, last_signals={"ACME": last})
    rig = Rig(
        restored=Restored(
            {"paper": CASH}, positions=(held,), strategies=(state,), marks={"ACME": 100.0}
        )
    )
    if not quantity:
        rig.hold_position()
    rig.tick()
    assert rig.submits(EXIT) == []
    assert [left for left, _ in stops(rig)] == [49]


# --- stops ---------------------------------------------------------------------------------------


def test_a_filled_entry_is_under_a_stop_of_its_size() -> None:
    rig = Rig()
    rig.hold_position(100)
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]
    stop = rig.last(STOP)
    assert (stop.type, stop.side) == (OrderType.STOP, Side.SELL)


def test_the_stop_grows_with_a_partly_filled_entry_and_never_is_two() -> None:
    rig = Rig()
    rig.buy()
    for size in (10, 20, 19):
        rig.quote(100, size=size)
        assert stops(rig) == [(rig.position().quantity, Decimal("98.00"))]
    assert rig.position().quantity == 49
    assert [o.quantity for o in rig.submits(STOP)] == [10]


def test_a_stop_that_is_too_small_is_gone_before_the_next_one_leaves() -> None:
    rig = Rig()
    rig.buy()
    rig.quote(100, size=10)
    rig.void = {CancelOrder}
    rig.quote(100)
    assert [o.quantity for o in rig.submits(STOP)] == [10]
    rig.report(rig.of(STOP)[0], S.CANCELED)
    assert [o.quantity for o in rig.submits(STOP)] == [10, 49]


def test_a_stop_does_not_stay_when_its_position_is_closed_by_another_fill() -> None:
    rig = Rig()
    rig.hold_position()
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]
    rig.fill(first, 49, 98)  # late
    assert rig.position().quantity == 0
    assert rig.open == []


def test_a_short_that_a_late_fill_of_a_stop_made_is_bought_back() -> None:
    rig = Rig()
    rig.hold_position()
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    rig.quote(97)  # fills the stop that took its place
    rig.fill(first, 49, 98)  # late
    assert rig.position().quantity == -49
    (back,) = rig.submits(EXIT)
    assert (back.side, back.quantity) == (Side.BUY, 49)
    rig.quote(97)
    assert rig.position().quantity == 0
    assert rig.open == []


def test_a_stop_that_was_filled_closes_and_nothing_is_sold_again() -> None:
    rig = Rig()
    rig.hold_position(100)
    rig.quote(97)
    assert rig.position().quantity == 0
    assert rig.cash == CASH - 3 * 49
    rig.signal(Side.SELL, 96)
    assert blocks(rig) == ["flat"]
    assert rig.open == []


def test_a_stop_that_was_filled_in_part_protects_the_rest() -> None:
    rig = Rig()
    rig.hold_position(100)
    rig.quote(97, size=9)
    assert stops(rig) == [(Decimal(40), Decimal("98.00"))]
    assert len(rig.submits(STOP)) == 1


def test_a_stop_that_is_cancelled_from_outside_is_set_again() -> None:
    rig = Rig()
    rig.hold_position()
    rig.report(rig.last(STOP), S.CANCELED)
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]
    assert len(rig.submits(STOP)) == 2


def test_a_rejected_stop_is_not_asked_for_again_within_five_minutes() -> None:
    rig = Rig()
    rig.hold_position()
    for _ in range(2):
        rig.report(rig.last(STOP), S.REJECTED, reason="halted")
        count = len(rig.submits(STOP))
        for _ in range(4):
            rig.quote(100)
            rig.tick(73)
            assert len(rig.submits(STOP)) == count
        rig.tick(8)
        assert len(rig.submits(STOP)) == count + 1


def test_a_rejected_entry_or_exit_does_not_keep_the_stop_away() -> None:
    rig = Rig()
    entry = rig.buy()
    rig.fill(entry, 20)
    rig.report(entry, S.REJECTED, reason="no more")
    assert stops(rig) == [(Decimal(20), Decimal("98.00"))]


def test_a_stop_in_doubt_is_waited_for_and_set_anew_when_it_was_not_there() -> None:
    rig = Rig()
    rig.buy()
    rig.void = {SubmitOrder}
    rig.quote(100)
    first = rig.last(STOP)
    rig.tick(5)
    assert rig.state_of(first) is S.IN_DOUBT
    rig.tick(20)
    assert len(rig.submits(STOP)) == 1
    rig.void.clear()
    rig.tick(11)
    assert rig.state_of(first) is S.ABANDONED
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]
    assert rig.last(STOP).client_order_id != first.client_order_id


def test_an_exit_for_more_than_is_held_by_now_does_not_leave() -> None:
    rig = Rig()
    rig.hold_position()
    rig.hold = {CommitIntent}
    rig.signal(Side.SELL)
    rig.fill(rig.of(STOP)[0], 9, 98)  # a fill of the stop, after its cancel was confirmed
    rig.release()
    assert rig.submits(EXIT) == []
    assert rig.last(EXIT).reason == "not sent: open orders would close more than is held"
    assert stops(rig) == [(Decimal(40), Decimal("98.00"))]


def test_an_exit_does_not_leave_beside_a_stop_that_turned_up_after_it_was_given_up() -> None:
    rig = Rig()
    rig.buy()
    rig.hold = {SubmitOrder}
    rig.quote(100)
    rig.tick(5)
    rig.tick(30)
    stop = rig.of(STOP)[0]
    assert rig.state_of(stop) is S.ABANDONED
    rig.hold = {CommitIntent}
    rig.void = {CancelOrder, SubmitOrder}
    rig.report(rig.last(STOP), S.CANCELED)
    rig.signal(Side.SELL)
    rig.report(stop, S.ACCEPTED)
    rig.release()
    assert rig.submits(EXIT) == []
    assert [order.client_order_id for order in rig.open] == [stop.client_order_id]


def test_a_stop_for_more_than_is_held_by_now_does_not_leave() -> None:
    rig = Rig()
    rig.hold_position()
    rig.report(rig.last(STOP), S.ACCEPTED)
    rig.hold = {CommitIntent}
    rig.report(rig.last(STOP), S.CANCELED)
    rig.fill(rig.of(STOP)[0], 9, 98)  # late
    rig.release()
    assert stops(rig) == [(Decimal(40), Decimal("98.00"))]
    assert [o.quantity for o in rig.submits(STOP)] == [49, 40]


def test_a_late_fill_of_an_entry_is_protected_too() -> None:
    rig = Rig()
    entry = rig.buy()
    rig.report(entry, S.CANCELED)
    rig.fill(entry, 7)
    assert stops(rig) == [(Decimal(7), Decimal("98.00"))]


def test_no_stop_is_set_before_the_warm_up_is_over() -> None:
    rig = Rig()
    rig.hold_position()
    after = Rig(restored=Restored({"paper": rig.cash}, positions=(rig.position(),)), started=False)
    assert after.submits() == []
    after.start()
    assert [o.quantity for o in after.submits(STOP)] == [49]


def test_a_restart_finds_its_stop_and_sets_no_second() -> None:
    rig = Rig()
    rig.hold_position()
    after = Rig(restored=rig.durable())
    assert stops(after) == [(Decimal(49), Decimal("98.00"))]
    assert after.submits() == []


# --- off is off ----------------------------------------------------------------------------------


def test_switching_off_cancels_entries_and_keeps_the_stop() -> None:
    rig = Rig()
    entry = rig.buy()
    rig.quote(100, size=20)
    rig.toggle(enabled=False)
    assert rig.state_of(entry) is S.CANCELED
    assert rig.position().quantity == 20
    assert stops(rig) == [(Decimal(20), Decimal("98.00"))]


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_what_was_decided_before_it_was_switched_off_does_not_leave(side: Side) -> None:
    rig = Rig()
    if side is Side.SELL:
        rig.hold_position()
    submitted = len(rig.submits())
    rig.hold = {CommitIntent}
    rig.signal(side)
    decided = rig.last(ENTRY if side is Side.BUY else EXIT)
    rig.toggle(enabled=False)
    rig.hold.clear()
    rig.release(CommitIntent)
    assert rig.state_of(decided) is S.CANCELED
    assert [o.purpose for o in rig.submits()[submitted:]] == ([] if side is Side.BUY else [STOP])


def test_an_exit_that_waits_for_its_stop_is_dropped_when_the_strategy_is_switched_off() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {CancelOrder}
    rig.signal(Side.SELL)
    rig.toggle(enabled=False)
    rig.report(rig.last(STOP), S.CANCELED)
    assert rig.of(EXIT) == []
    assert stops(rig) == [(Decimal(49), Decimal("98.00"))]


@pytest.mark.parametrize("in_doubt", [False, True])
def test_an_entry_that_a_former_session_left_of_a_strategy_that_is_off_is_cancelled(
    in_doubt: bool,
) -> None:
    rig = Rig()
    rig.void = {SubmitOrder} if in_doubt else set()
    entry = rig.buy()
    rig.tick(5)
    restored = replace(rig.durable(), strategies=(StrategyState("puppet", False),))
    after = Rig(restored=restored, started=False, void={CancelOrder, QueryOrder})
    assert after.count(CancelOrder) == 0
    after.start()
    assert after.count(CancelOrder) == 1
    after.report(entry, S.ACCEPTED)
    assert after.state_of(entry) is S.PENDING_CANCEL


def test_another_strategys_orders_are_left_alone() -> None:
    rig = Rig("puppet", "other", instruments=(ACME, COIN))
    mine = rig.buy()
    theirs = rig.buy(50, strategy="other", symbol="COIN")
    rig.toggle("other", False)
    assert rig.state_of(mine) is S.ACCEPTED
    assert rig.state_of(theirs) is S.CANCELED


def test_two_strategies_hold_the_same_symbol_each_under_its_own_stop() -> None:
    rig = Rig(
        "puppet", "other", limits=RiskLimits(max_position_size_pct=Decimal(5)), starting_cash=CASH
    )
    rig.signal(Side.BUY, 100, stop_price=90)
    first: Order = rig.last(ENTRY)
    rig.quote(100, size=20)
    rig.request_cancel(first)
    rig.hold_position(100, strategy="other", stop_price=95)
    assert sorted(stops(rig)) == [(Decimal(20), Decimal("90.00")), (Decimal(29), Decimal("95.00"))]
    rig.quote(94)
    assert rig.position().quantity == 20
    assert rig.position("other").quantity == 0
    assert [e.order for e in effects_of(rig.tick(), QueryOrder)] == []
