"""The kill switch stops at once, from every source, and starts again only when asked by hand."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    AdjustCash,
    AskOrder,
    BrokerChanged,
    BrokerStatusChanged,
    CancelOrder,
    ChangeLimit,
    Command,
    CommandRefused,
    CommitIntent,
    ConfirmLive,
    KillPart,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    MarkOrder,
    OrderCanceled,
    QueryOrder,
    RearmKillSwitch,
    RearmPart,
    ReloadStrategy,
    RequestCancel,
    RequestMode,
    RequestReplace,
    ResetCircuitBreaker,
    Restored,
    ResumeSymbol,
    RiskChecked,
    SignalBlocked,
    StoreChanged,
    StoreStatusChanged,
    SubmitFailed,
    SubmitOrder,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import (
    KillAction,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    Part,
    Scope,
    Side,
)
from engine.core.safety import STRENGTH, SafetyRules
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


# --- what it does ---------------------------------------------------------------------------------


def tripped_with(action: KillAction, **config: Any) -> tuple[Rig, Order, Order]:
    """A rig with a position under its stop and an entry on its way, then the trip."""
    rig = Rig("puppet", instruments=(ACME, COIN), safety=SafetyRules(**config))
    rig.hold_position(50, symbol="COIN")
    entry = rig.buy(100)
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.kill(action)
    return rig, rig.now_of(entry), rig.now_of(stop)


S = OrderState


@pytest.mark.parametrize(
    ("action", "entry_is", "stop_is"),
    [
        (KillAction.STOP, S.ACCEPTED, S.ACCEPTED),
        (KillAction.KEEP_STOPS, S.CANCELED, S.ACCEPTED),
        (KillAction.CANCEL, S.CANCELED, S.CANCELED),
        (KillAction.FLATTEN, S.CANCELED, S.CANCELED),
    ],
)
def test_the_action_says_which_orders_are_cancelled(
    action: KillAction, entry_is: OrderState, stop_is: OrderState
) -> None:
    rig, entry, stop = tripped_with(action)
    assert (entry.state, stop.state) == (entry_is, stop_is)
    assert rig.machine.state()["kill"].action is action
    assert rig.facts(KillSwitchTriggered)[-1].action is action


@pytest.mark.parametrize("action", list(KillAction))
def test_whatever_the_action_nothing_is_bought(action: KillAction) -> None:
    rig, *_ = tripped_with(action)
    before = len(rig.submits(OrderPurpose.ENTRY))
    rig.signal(Side.BUY, strategy="puppet", symbol="ACME")
    assert len(rig.submits(OrderPurpose.ENTRY)) == before


def test_a_trip_that_names_no_action_does_what_the_settings_say() -> None:
    rig = Rig(safety=SafetyRules(kill_action=KillAction.KEEP_STOPS))
    rig.kill()
    assert rig.machine.state()["kill"].action is KillAction.KEEP_STOPS


@pytest.mark.parametrize("first", list(KillAction))
@pytest.mark.parametrize("second", list(KillAction))
def test_a_later_trip_may_do_more_and_never_less(first: KillAction, second: KillAction) -> None:
    """And what it does more, it does at once."""
    once, *_ = tripped_with(max(first, second, key=STRENGTH.index))
    rig, *_ = tripped_with(first)
    kill = rig.machine.state()["kill"]
    rig.kill(second)
    after = rig.machine.state()["kill"]
    assert after.action is max(first, second, key=STRENGTH.index)
    assert (after.source, after.ts) == (kill.source, kill.ts)
    assert [o.state for o in rig.orders.values()] == [o.state for o in once.orders.values()]


@pytest.mark.parametrize("action", list(KillAction))
def test_the_action_outlives_a_restart(action: KillAction) -> None:
    rig, entry, stop = tripped_with(action)
    after = Rig("puppet", instruments=(ACME, COIN), restored=rig.durable())
    assert after.machine.state()["kill"].action is action
    assert (after.now_of(entry).state, after.now_of(stop).state) == (entry.state, stop.state)


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
    tripped = Restored({"paper": CASH}, orders=restored.orders, kill=KillSwitchState(True, "file"))
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


def test_what_a_broker_says_of_itself_is_harmless_text() -> None:
    rig = Rig()
    rig.send(BrokerChanged("al[paca", False, "401 \x1b"))
    fact = rig.facts(BrokerStatusChanged)[-1]
    assert (fact.broker, fact.reason) == ("al(paca", "401  ")
    assert rig.machine.state()["brokers"][-1] == fact


def test_no_order_leaves_while_a_broker_is_not_connected_and_then_positions_are_protected() -> None:
    rig = Rig()
    rig.buy()
    rig.send(BrokerChanged("paper", False))
    rig.quote(100)
    rig.signal(Side.SELL)
    assert blocks(rig) == [("stop", "paper is not connected")]
    assert len(rig.submits()) == 1
    rig.send(BrokerChanged("paper", True))
    assert [order.purpose for order in rig.submits()][1:] == [OrderPurpose.EXIT]


def test_one_broker_that_is_down_does_not_stop_the_others() -> None:
    rig = Rig("puppet", instruments=(ACME, replace(COIN, venue="kraken")))
    rig.send(BrokerChanged("kraken", False, "maintenance"))
    rig.signal(Side.BUY, symbol="COIN")
    assert blocks(rig) == [("stop", "kraken is not connected")]
    assert rig.buy().state is OrderState.ACCEPTED


def test_a_broker_that_was_never_heard_of_gets_no_order() -> None:
    rig = Rig("puppet", instruments=(ACME,))
    rig.machine.safety.brokers.clear()
    rig.signal(Side.BUY)
    assert blocks(rig) == [("stop", "paper is not connected")]


def test_cancels_leave_whatever_is_out_of_reach() -> None:
    rig = Rig()
    order = rig.buy()
    rig.send(StoreChanged(False, "locked"))
    rig.send(BrokerChanged("paper", False))
    assert len(effects_of(rig.kill(), CancelOrder)) == 1
    assert rig.state_of(order) is OrderState.CANCELED
    assert len(rig.facts(OrderCanceled)) == 1


# --- dry run -------------------------------------------------------------------------------------


def test_a_dry_run_does_everything_but_send() -> None:
    rig = Rig(safety=SafetyRules(dry_run=True))
    order = rig.buy()
    assert rig.submits() == []
    assert rig.count(CommitIntent) == 1
    checked = rig.facts(RiskChecked)
    assert checked
    assert {fact.client_order_id for fact in checked} == {order.client_order_id}
    assert (order.state, order.reason) == (OrderState.CANCELED, "not sent: dry run")


def test_a_dry_run_leaves_positions_and_their_stops_alone() -> None:
    rig = Rig()
    rig.hold_position(100)
    (stop,) = rig.of(OrderPurpose.PROTECTIVE_STOP)
    dry = Rig(restored=rig.durable(), safety=SafetyRules(dry_run=True))
    dry.signal(Side.SELL)
    assert blocks(dry) == [("stop", "dry run")]
    assert dry.state_of(stop) is OrderState.ACCEPTED
    assert (dry.submits(), dry.count(CancelOrder)) == ([], 0)


def test_a_dry_run_can_be_killed() -> None:
    rig = Rig()
    rig.hold_position(100)
    dry = Rig(restored=rig.durable(), safety=SafetyRules(dry_run=True))
    dry.kill()
    assert dry.open == []


PART = Part(Scope.STRATEGY, "nobody")
REFUSED = (
    RearmKillSwitch(word="REARM"),
    KillPart(part=PART, source="key"),
    RearmPart(part=PART, word="REARM"),
    ToggleStrategy(strategy="nobody", enabled=True),
    ReloadStrategy(strategy="nobody"),
    RequestMode(mode=Mode.LIVE),
    RequestCancel(client_order_id="tb-nobody"),
    RequestReplace(client_order_id="tb-nobody", terms=OrderTerms(Decimal(1))),
    AskOrder(client_order_id="tb-nobody"),
    MarkOrder(client_order_id="tb-nobody", state=OrderState.CANCELED, word="MARK"),
    AdjustCash(broker="nobody", amount=Decimal(1), word="ADJUST"),
    ResetCircuitBreaker(word="RESET"),
    ChangeLimit(name="nothing", value="1"),
    ConfirmLive(word="LIVE"),
    ResumeSymbol(symbol="NOBODY"),
)


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: type(command).__name__)
def test_whoever_is_refused_is_named(command: Command) -> None:
    rig = Rig()
    rig.send(replace(command, author="root on pts/0\n"))
    (refused,) = rig.facts(CommandRefused)
    assert (refused.command, refused.author) == (type(command).__name__, "root on pts/0 ")
