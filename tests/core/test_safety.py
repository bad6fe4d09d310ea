"""The kill switch stops at once, from every source, and starts again only when asked by hand."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import (
    BrokerChanged,
    BrokerStatusChanged,
    CancelOrder,
    CommandRefused,
    CommitIntent,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    OrderCanceled,
    QueryOrder,
    RequestMode,
    Restored,
    SignalBlocked,
    StoreChanged,
    StoreStatusChanged,
    SubmitFailed,
    SubmitOrder,
    TripKillSwitch,
)
from engine.core.model import Mode, OrderPurpose, OrderState, Side
from tests.core.rig import ACME, COIN, Rig, effects_of, facts_of

CASH = Decimal(100_000)


def blocks(rig: Rig) -> list[tuple[str, str]]:
    return [(fact.check, fact.reason) for fact in rig.facts(SignalBlocked)]


# --- tripping ------------------------------------------------------------------------------------


def test_a_trip_cancels_every_open_order_in_the_same_event_the_largest_first() -> None:
    third = replace(ACME, symbol="THIRD", lot=Decimal(10))
    rig = Rig("puppet", instruments=(ACME, COIN, third))
    rig.void = {CancelOrder}
    rig.hold_position(100, symbol="THIRD")
    rig.hold_position(50, symbol="COIN")
    entry = rig.buy(100)
    stops = rig.of(OrderPurpose.PROTECTIVE_STOP)
    cancelled = [effect.order for effect in effects_of(rig.kill(), CancelOrder)]
    every = {order.client_order_id for order in (entry, *stops)}
    assert len(every) == 3
    assert {order.client_order_id for order in cancelled} == every
    worth = [order.leaves * order.reference_price for order in cancelled]
    assert worth == sorted(worth, reverse=True)


def test_a_trip_says_from_where_and_why_in_harmless_text() -> None:
    rig = Rig()
    rig.send(TripKillSwitch(source="[socket]", reason="\x1b[2J", author="me\n"))
    (fact,) = rig.facts(KillSwitchTriggered)
    assert (fact.source, fact.reason, fact.author) == ("(socket)", " (2J", "me ")
    assert rig.machine.state()["kill"] == KillSwitchState(True, "(socket)", " (2J", rig.now)


def test_fifty_trips_are_one_and_each_is_recorded() -> None:
    rig = Rig()
    rig.void = {CancelOrder}
    rig.buy()
    for number in range(50):
        rig.send(TripKillSwitch(source=f"source {number}"))
    assert len(rig.facts(KillSwitchTriggered)) == 50
    assert rig.count(CancelOrder) == 1
    assert rig.machine.state()["kill"].source == "source 0"


def test_nothing_is_bought_and_nothing_protected_while_it_is_tripped() -> None:
    rig = Rig()
    rig.kill()
    rig.signal(Side.BUY)
    assert blocks(rig) == [("stop", "kill switch (key)")]
    assert rig.orders == {}


def test_what_was_filled_on_the_way_is_kept_unprotected_until_it_is_rearmed() -> None:
    rig = Rig()
    rig.void = {CancelOrder}
    order = rig.buy()
    rig.kill()
    rig.quote(100)
    assert rig.state_of(order) is OrderState.FILLED
    assert rig.of(OrderPurpose.PROTECTIVE_STOP) == []
    rig.void.clear()
    rig.rearm()
    assert [o.quantity for o in rig.submits(OrderPurpose.PROTECTIVE_STOP)] == [49]


# --- re-arming -----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "rearm", "REARM ", "yes", "REARMED"])
def test_any_other_word_does_not_rearm(word: str) -> None:
    rig = Rig()
    rig.kill()
    rig.rearm(word)
    assert rig.killed
    assert [fact.reason for fact in rig.facts(CommandRefused)] == ["type REARM to re-arm"]


def test_the_word_rearms_and_signals_make_orders_again() -> None:
    rig = Rig()
    rig.kill()
    rig.rearm()
    assert not rig.killed
    assert [fact.author for fact in rig.facts(KillSwitchRearmed)] == ["test"]
    assert rig.buy().state is OrderState.ACCEPTED


def test_what_is_not_tripped_cannot_be_rearmed() -> None:
    rig = Rig()
    rig.rearm()
    assert [fact.reason for fact in rig.facts(CommandRefused)] == ["the kill switch is not tripped"]


def test_it_is_not_rearmed_while_orders_are_in_doubt() -> None:
    rig = Rig(void={SubmitOrder, CancelOrder, QueryOrder})
    order = rig.buy()
    rig.send(SubmitFailed(order.client_order_id, True, "reset"))
    rig.kill()
    rig.rearm()
    assert rig.killed
    (refused,) = rig.facts(CommandRefused)
    assert refused.reason == f"orders are in doubt: {order.client_order_id}"


# --- restart -------------------------------------------------------------------------------------


def test_it_stays_tripped_over_a_restart_and_what_is_open_is_cancelled_first() -> None:
    rig = Rig()
    rig.void = {CancelOrder}
    order = rig.buy()
    rig.kill()
    after = Rig(restored=rig.durable())
    assert after.killed
    first = next(e for e in after.effects if isinstance(e, CancelOrder | SubmitOrder))
    assert isinstance(first, CancelOrder)
    assert after.state_of(order) is OrderState.CANCELED
    after.signal(Side.BUY)
    assert after.submits() == []


def test_a_kill_at_the_start_cancels_what_the_last_session_left_open() -> None:
    rig = Rig()
    order = rig.buy()
    restored = rig.durable()
    tripped = Restored(CASH, orders=restored.orders, kill=KillSwitchState(True, "file"))
    after = Rig(restored=tripped)
    assert after.state_of(order) is OrderState.CANCELED


# --- store and brokers ---------------------------------------------------------------------------


def test_no_order_leaves_while_the_database_is_out_of_reach() -> None:
    rig = Rig()
    rig.send(StoreChanged(False, "disk \x07full"))
    assert [(f.available, f.reason) for f in rig.facts(StoreStatusChanged)] == [
        (False, "disk  full")
    ]
    rig.signal(Side.BUY)
    assert blocks(rig) == [("stop", "the database is out of reach")]


def test_an_intent_that_was_durable_before_does_not_leave_either() -> None:
    rig = Rig()
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.send(StoreChanged(False, "locked"))
    rig.release()
    assert rig.submits() == []
    assert rig.now_of(order).reason == "not sent: the database is out of reach"


def test_a_position_made_meanwhile_is_protected_when_the_database_is_back() -> None:
    rig = Rig()
    rig.buy()
    rig.send(StoreChanged(False, "locked"))
    rig.send(StoreChanged(False, "locked"))
    rig.quote(100)
    assert rig.position().quantity == 49
    assert rig.of(OrderPurpose.PROTECTIVE_STOP) == []
    effects = rig.send(StoreChanged(True))
    assert len(facts_of(effects, StoreStatusChanged)) == 1
    assert len(rig.facts(StoreStatusChanged)) == 2, "a change is told, and not the same twice"
    assert len(rig.submits(OrderPurpose.PROTECTIVE_STOP)) == 1


def test_no_order_leaves_while_a_broker_is_not_connected_and_then_positions_are_protected() -> None:
    rig = Rig()
    rig.buy()
    rig.send(BrokerChanged("al[paca", False, "401 \x1b"))
    (fact,) = rig.facts(BrokerStatusChanged)
    assert (fact.broker, fact.reason) == ("al(paca", "401  ")
    assert list(rig.machine.safety.brokers.values()) == [fact]
    rig.quote(100)
    rig.signal(Side.SELL)
    assert blocks(rig) == [("stop", "al(paca is not connected")]
    assert len(rig.submits()) == 1
    rig.send(BrokerChanged("al[paca", True))
    assert [order.purpose for order in rig.submits()][1:] == [OrderPurpose.EXIT]


def test_cancels_leave_whatever_is_out_of_reach() -> None:
    rig = Rig()
    order = rig.buy()
    rig.send(StoreChanged(False, "locked"))
    rig.send(BrokerChanged("paper", False))
    assert len(effects_of(rig.kill(), CancelOrder)) == 1
    assert rig.state_of(order) is OrderState.CANCELED
    assert len(rig.facts(OrderCanceled)) == 1


# --- the live gate -------------------------------------------------------------------------------


def refusals(rig: Rig, mode: Mode) -> list[str]:
    rig.send(RequestMode(mode=mode, author="me"))
    return [fact.reason for fact in rig.facts(CommandRefused)]


def test_a_running_engine_is_never_carried_over_to_live() -> None:
    rig = Rig(live_objections=("set MODE=live", "confirm"))
    assert refusals(rig, Mode.LIVE) == ["live trading needs: set MODE=live; confirm"]
    assert rig.machine.safety.mode is Mode.PAPER


def test_nor_without_objections() -> None:
    rig = Rig()
    assert len(refusals(rig, Mode.LIVE)) == 1
    assert rig.machine.safety.mode is Mode.PAPER


@pytest.mark.parametrize(
    ("running", "reason"),
    [(Mode.PAPER, "the mode is paper already"), (Mode.LIVE, "restart with MODE=paper")],
)
def test_nor_to_paper(running: Mode, reason: str) -> None:
    rig = Rig(mode=running)
    assert refusals(rig, Mode.PAPER) == [reason]
