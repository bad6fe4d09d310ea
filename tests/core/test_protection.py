"""What protects a position: its stop, its target, and a stop that follows the price."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    Bracket,
    BracketChanged,
    BrokerChanged,
    CancelOrder,
    PositionUnprotected,
    ReplaceOrder,
    ReplaceRejected,
    RequestReplace,
    Restored,
    SignalBlocked,
    StoreChanged,
    SubmitFailed,
    SubmitOrder,
    TargetReached,
    TripKillSwitch,
)
from engine.core.execution.protection import Leg
from engine.core.execution.rules import ExecutionRules, StopRefused
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Position,
    Side,
)
from engine.core.risk import RiskLimits
from tests.core.rig import ACME, AT_MARKET, COIN, Rig

S = OrderState
ENTRY, EXIT, STOP = OrderPurpose.ENTRY, OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP
TARGET = OrderPurpose.TAKE_PROFIT
PLAIN = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP)


def able(rig: Rig, **can: Any) -> Rig:
    """The venue says what it can: by default all but linking orders and trailing stops."""
    plain: dict[str, Any] = {"oco": False, "order_types": PLAIN}
    capabilities = replace(CAPABILITIES, **(plain | can))
    rig.send(BrokerChanged("paper", True, capabilities=capabilities))
    return rig


def reconnected(rig: Rig, **can: Any) -> Rig:
    """The venue comes back, and can something else now: every position is looked after."""
    rig.send(BrokerChanged("paper", False))
    return able(rig, **can)


def moved(rig: Rig, stop_price: object) -> None:
    """The operator moves the stop."""
    stop = rig.last(STOP)
    terms = OrderTerms(stop.quantity, None, d(stop_price))
    rig.send(RequestReplace(client_order_id=stop.client_order_id, terms=terms, author="me"))


def resting(rig: Rig) -> list[tuple[OrderPurpose, Decimal, Decimal | None]]:
    """Purpose, quantity left and price of what protects."""
    return [
        (o.purpose, o.leaves, o.stop_price if o.purpose is STOP else o.limit_price)
        for o in rig.open
        if o.purpose in (STOP, TARGET)
    ]


def d(value: object) -> Decimal:
    return Decimal(str(value))


# --- the stop is changed, not taken away ---------------------------------------------------------


def test_a_stop_grows_without_a_moment_in_which_there_is_none() -> None:
    rig = able(Rig())
    rig.buy()
    rig.quote(100, size=10)
    (stop,) = rig.of(STOP)
    for size in (20, 19):
        rig.quote(100, size=size)
        assert resting(rig) == [(STOP, rig.position().quantity, d(98))]
    assert rig.of(STOP) == [rig.now_of(stop)]
    assert rig.count(CancelOrder) == 0
    assert rig.count(ReplaceOrder) == 2


def test_a_stop_that_is_not_accepted_yet_is_changed_when_it_is() -> None:
    rig = able(Rig())
    rig.buy()
    rig.hold = {SubmitOrder}
    rig.quote(100, size=10)
    rig.quote(100)
    assert rig.count(ReplaceOrder) == 0
    rig.release()
    assert resting(rig) == [(STOP, 49, d(98))]
    assert len(rig.submits(STOP)) == 1


def test_while_a_change_is_on_its_way_no_other_is_asked_for() -> None:
    rig = able(Rig())
    rig.buy()
    rig.quote(100, size=10)
    rig.hold = {ReplaceOrder}
    for _ in range(3):
        rig.quote(100, size=10)
        rig.tick()
    assert rig.count(ReplaceOrder) == 1
    rig.release()
    assert resting(rig) == [(STOP, 40, d(98))]


def test_where_the_venue_cannot_change_an_order_a_new_one_takes_its_place() -> None:
    rig = able(Rig(), replace=False)
    rig.buy()
    rig.quote(100, size=10)
    rig.quote(100)
    assert resting(rig) == [(STOP, 49, d(98))]
    assert [o.quantity for o in rig.submits(STOP)] == [10, 49]
    assert rig.count(ReplaceOrder) == 0


def test_a_change_that_is_refused_is_not_the_end_of_the_stop() -> None:
    rig = able(Rig())
    rig.buy()
    rig.quote(100, size=10)
    rig.void = {ReplaceOrder}
    rig.quote(100, size=10)
    (stop,) = rig.of(STOP)
    assert stop.state is S.PENDING_REPLACE
    rig.void = set()
    rig.send(ReplaceRejected(stop.client_order_id, "too late"))
    assert resting(rig) == [(STOP, 20, d(98))]


def test_a_stop_shrinks_when_a_part_of_the_position_goes() -> None:
    rig = able(Rig())
    rig.hold_position()
    entry = rig.last(ENTRY)
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    rig.fill(first, 9, 98)  # late: the position is 40, the new stop 49
    assert rig.position().quantity == 40
    assert resting(rig) == [(STOP, 40, d(98))]
    assert rig.state_of(entry) is S.FILLED


def test_a_stop_that_did_not_leave_is_asked_for_again_a_little_later() -> None:
    rig = able(Rig())
    rig.hold = {SubmitOrder}
    entry = rig.buy()
    rig.release()
    rig.void = {SubmitOrder}
    rig.fill(entry, 49, state=S.FILLED)
    rig.send(SubmitFailed(rig.last(STOP).client_order_id, False, "no line"))
    rig.void = set()
    rig.tick(4.9)
    assert resting(rig) == []
    rig.tick(0.1)
    assert resting(rig) == [(STOP, 49, d(98))]


@pytest.mark.parametrize(
    ("found", "then"),
    [
        ([(20, S.ACCEPTED), (49, S.ACCEPTED)], [(20, S.PENDING_CANCEL), (49, S.ACCEPTED)]),
        ([(49, S.PENDING_CANCEL), (49, S.ACCEPTED)], [(49, S.PENDING_CANCEL), (49, S.ACCEPTED)]),
        ([(49, S.PENDING_CANCEL), (20, S.ACCEPTED)], [(49, S.PENDING_CANCEL), (20, S.ACCEPTED)]),
        ([(20, S.ACCEPTED), (30, S.ACCEPTED)], [(20, S.ACCEPTED), (30, S.PENDING_CANCEL)]),
        ([(60, S.ACCEPTED), (70, S.ACCEPTED)], [(49, S.ACCEPTED), (70, S.PENDING_CANCEL)]),
    ],
)
def test_of_two_stops_one_stays_and_does_not_grow_before_the_other_is_gone(
    found: list[tuple[int, OrderState]], then: list[tuple[int, OrderState]]
) -> None:
    rig = able(Rig())
    rig.hold_position()
    stop, durable = rig.last(STOP), rig.durable()
    stops = tuple(
        replace(stop, client_order_id=f"stop-{number}", quantity=d(size), state=state)
        for number, (size, state) in enumerate(found)
    )
    after = Rig(
        restored=replace(durable, orders=stops), started=False, now=rig.now, void=[CancelOrder]
    )
    able(after).start()
    assert [(o.quantity, o.state) for o in after.of(STOP)] == then
    (going,) = (o for o in after.of(STOP) if o.state is S.PENDING_CANCEL)
    after.report(going, S.CANCELED)
    assert resting(after) == [(STOP, 49, d(98))]
    assert len(after.of(STOP)) == 2


LEG = Leg(STOP, OrderType.STOP, d(49), stop_price=d(98))
FOLLOWING = replace(LEG, follows=True)


@pytest.mark.parametrize(
    ("leg", "order", "met"),
    [
        (LEG, {}, True),
        (LEG, {"quantity": d(48)}, False),
        (LEG, {"quantity": d(58), "filled": d(9)}, True),
        (LEG, {"filled": d(9)}, False),
        (LEG, {"quantity": d(20), "pending_quantity": d(49)}, True),
        (LEG, {"pending_quantity": d(20)}, False),
        (LEG, {"type": OrderType.TRAILING_STOP}, False),
        (LEG, {"trail": d(2)}, False),
        (LEG, {"oco_group": "another"}, False),
        (LEG, {"stop_price": d(90)}, True),
        (FOLLOWING, {}, True),
        (FOLLOWING, {"stop_price": d(99)}, True),
        (FOLLOWING, {"stop_price": d(97)}, False),
        (FOLLOWING, {"stop_price": None}, False),
    ],
)
def test_an_order_is_the_one_that_is_wanted(leg: Leg, order: dict[str, Any], met: bool) -> None:
    """By kind and size, on its way or there; by its price only where we follow the market's."""
    rig = able(Rig())
    rig.hold_position()
    assert leg.is_met_by(replace(rig.last(STOP), **order)) is met


TRAILING = {"order_types": (*PLAIN, OrderType.TRAILING_STOP)}


@pytest.mark.parametrize(
    ("how", "can", "then_can", "legs"),
    [
        ({"trail": 2}, {}, TRAILING, [(OrderType.TRAILING_STOP, d(2), False)]),
        ({"trail": 2}, TRAILING, {}, [(OrderType.STOP, None, False)]),
        ({"take_profit": 110}, {"oco": True}, {}, [(OrderType.STOP, None, False)]),
        (
            {"take_profit": 110},
            {},
            {"oco": True},
            [(OrderType.STOP, None, True), (OrderType.LIMIT, None, True)],
        ),
    ],
)
def test_what_no_replace_can_make_of_a_stop_is_a_new_one(
    how: dict[str, Any], can: dict[str, Any], then_can: dict[str, Any], legs: list[Any]
) -> None:
    rig = able(Rig(), **can)
    rig.hold_position(**how)
    first = rig.last(STOP)
    reconnected(rig, **then_can)
    assert sorted((o.type, o.trail, bool(o.oco_group)) for o in rig.open) == sorted(legs)
    assert rig.state_of(first) is S.CANCELED
    assert rig.count(ReplaceOrder) == 0


def test_a_stop_waits_until_what_else_could_sell_is_gone() -> None:
    rig = linked()
    rig.void = {CancelOrder}
    stop, target = rig.last(STOP), rig.last(TARGET)
    reconnected(rig)
    rig.report(stop, S.CANCELED)
    assert rig.of(STOP) == [rig.now_of(stop)]
    rig.report(target, S.CANCELED)
    assert resting(rig) == [(STOP, 49, d(98))]


# --- what has no stop ----------------------------------------------------------------------------


def bare(rig: Rig) -> Decimal:
    """How much the operator is shown to be without a stop."""
    return rig.machine.desk.unprotected().get(("puppet", "ACME"), d(0))


def test_a_stop_protects_from_when_the_venue_has_it() -> None:
    rig = able(Rig())
    entry = rig.buy()
    rig.hold = {SubmitOrder}
    rig.fill(entry, 1)
    assert bare(rig) == 1
    rig.release()
    assert bare(rig) == 0
    rig.void = {CancelOrder}
    rig.request_cancel(rig.last(STOP))
    assert bare(rig) == 1


def test_a_stop_that_is_being_changed_protects_as_much_as_it_does_either_way() -> None:
    rig = able(Rig())
    entry = rig.buy()
    rig.fill(entry, 10)
    rig.hold = {ReplaceOrder}
    rig.fill(entry, 10)
    assert bare(rig) == 10
    rig.release()
    assert bare(rig) == 0
    rig.hold = {ReplaceOrder}
    sold_by_hand(rig, 5)
    assert rig.last(STOP).pending_quantity == 15
    rig.fill(entry, 10)
    assert bare(rig) == 10
    rig.fill(rig.last(STOP), 3, 98)
    assert bare(rig) == 10


def test_a_target_is_no_stop() -> None:
    rig = linked()
    rig.report(rig.last(STOP), S.REJECTED, reason="no stops today")
    assert [purpose for purpose, *_ in resting(rig)] == [TARGET]
    assert bare(rig) == 49


# --- targets -------------------------------------------------------------------------------------


def test_a_target_is_a_signals_or_the_default_one() -> None:
    assert Rig().buy().take_profit is None
    assert Rig().buy(take_profit=110.019).take_profit == d("110.02")
    limits = RiskLimits(take_profit_pct=d(3))
    assert Rig(limits=limits).buy().take_profit == 103
    assert Rig(limits=limits).buy(take_profit=120).take_profit == 120


@pytest.mark.parametrize("target", [100, 90])
def test_a_target_that_is_not_above_the_price_is_refused(target: float) -> None:
    rig = Rig()
    rig.signal(Side.BUY, take_profit=target)
    assert [fact.check for fact in rig.facts(SignalBlocked)] == ["take_profit"]


def test_where_orders_cannot_be_linked_the_target_is_watched_and_only_the_stop_rests() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    assert resting(rig) == [(STOP, 49, d(98))]
    rig.quote(109.99)
    assert rig.of(TARGET) == []
    rig.quote(110)
    (target,) = rig.submits(TARGET)
    assert (target.type, target.quantity, target.side) == (OrderType.MARKET, 49, Side.SELL)
    assert len(rig.facts(TargetReached)) == 1
    rig.quote(110)
    assert rig.position().quantity == 0
    assert rig.open == []
    assert rig.cash == 100_000 + 490


def test_a_bars_close_is_a_price_too() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.bar(100, 111, 100, 109)
    assert rig.of(TARGET) == []
    rig.bar(109, 111, 109, 110.5)
    assert len(rig.of(TARGET)) == 1


def test_a_bar_of_the_past_and_prices_of_others_are_not() -> None:
    rig = able(Rig(instruments=(ACME, COIN)))
    rig.hold_position(take_profit=103)
    rig.bar(104, live=False)
    for price in (110, 110):
        rig.quote(price, "COIN")
        rig.bar(price, symbol="COIN")
    assert rig.facts(TargetReached) == []
    rig.quote(103)
    assert len(rig.submits(TARGET)) == 1


@pytest.mark.parametrize(("held", "reached"), [(1, 1), (-1, 0)])
def test_a_target_is_that_of_what_was_bought(held: int, reached: int) -> None:
    restored = Restored(
        {"paper": d(100_000)},
        positions=(Position("puppet", "ACME", d(held), cost=d(100 * held), opened_ts=1),),
        brackets=(Bracket("puppet", "ACME", d(98), take_profit=d(103)),),
    )
    rig = able(Rig(restored=restored, void=[SubmitOrder]))
    rig.quote(102)
    rig.quote(103)
    assert len(rig.facts(TargetReached)) == reached


def test_a_target_that_rests_at_the_venue_is_not_watched_here() -> None:
    rig = linked(take_profit=103)
    rig.quote(103, size=0.5)
    assert resting(rig) == [(STOP, 49, d(98)), (TARGET, 49, d(103))]
    assert rig.facts(TargetReached) == []


def test_a_lone_print_far_off_reaches_no_target_and_the_next_one_does() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=106)
    rig.quote(107)
    rig.quote(100)
    assert rig.submits(TARGET) == []
    rig.quote(107)
    rig.quote(107)
    assert len(rig.submits(TARGET)) == 1


def test_the_stop_is_gone_before_the_target_leaves() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.void = {CancelOrder}
    for price in (110, 110, 111):
        rig.quote(price)
    assert rig.of(TARGET) == [], "two orders that both sell would sell twice"
    assert len(rig.facts(TargetReached)) == 1
    rig.report(rig.last(STOP), S.CANCELED)
    assert [o.quantity for o in rig.submits(TARGET)] == [49]


def test_a_stop_that_fills_while_it_makes_way_leaves_nothing_for_the_target() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.void = {CancelOrder}
    rig.quote(110)
    rig.fill(rig.last(STOP), 49, 98)
    assert rig.position().quantity == 0
    rig.quote(110)
    assert rig.of(TARGET) == []


def test_a_target_is_the_positions_not_the_strategys() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.toggle(enabled=False)
    rig.quote(110)
    rig.quote(110)
    rig.quote(110)
    assert rig.position().quantity == 0


def test_a_target_that_is_reached_while_nothing_may_leave_is_not_remembered() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.send(StoreChanged(False, "locked"))
    rig.quote(110)
    rig.quote(110)
    rig.send(StoreChanged(True))
    assert rig.facts(TargetReached) == []
    rig.quote(105)
    assert rig.of(TARGET) == []
    assert resting(rig) == [(STOP, 49, d(98))]
    rig.quote(110)
    assert len(rig.submits(TARGET)) == 1


def test_a_target_is_there_after_a_restart() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    after = able(Rig(restored=rig.durable(), exchange=rig.exchange, now=rig.now))
    after.quote(110)
    after.quote(110)
    after.quote(110)
    assert after.position().quantity == 0


def test_it_is_forgotten_with_its_position() -> None:
    rig = able(Rig())
    rig.hold_position(take_profit=110)
    rig.quote(97)
    assert rig.position().quantity == 0
    assert rig.machine.state()["desk"]["brackets"] == []
    assert rig.facts(BracketChanged)[-1].bracket == Bracket("puppet", "ACME")
    rig.quote(110)
    rig.quote(110)
    assert rig.of(TARGET) == []


def test_without_a_target_or_a_trailing_stop_nothing_is_watched() -> None:
    rig = Rig()
    rig.hold_position()
    assert rig.facts(BracketChanged) == []
    assert rig.machine.state()["desk"]["brackets"] == []


# --- trailing stops ------------------------------------------------------------------------------


def test_the_distance_is_a_signals_or_the_default_one() -> None:
    assert Rig().buy().trail is None
    assert Rig().buy(trail=1.5).trail == d("1.50")
    assert Rig(limits=RiskLimits(trailing_stop_pct=d(3))).buy().trail == 3


def test_the_stop_follows_the_price_up_and_never_down() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    for price, stop in ((101, 99), (100, 99), (105, 103), (103.5, 103)):
        rig.quote(price)
        assert resting(rig) == [(STOP, 49, d(stop))]
    assert len(rig.submits(STOP)) == 1
    rig.quote(103)
    assert rig.position().quantity == 0
    assert rig.cash == 100_000 + 49 * 3


def test_it_follows_in_steps() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    for cents in range(1, 101):
        rig.quote(100 + cents / 100)
    assert rig.count(ReplaceOrder) == 10
    assert resting(rig) == [(STOP, 49, d(99))]


@pytest.mark.parametrize(("distance", "stop"), [(2, 98), (99, 1), (100, None), (200, None)])
def test_one_without_a_price_gets_it_from_the_market(distance: int, stop: int | None) -> None:
    rig = able(Rig())
    rig.hold_position()
    bracket = Bracket("puppet", "ACME", trail=d(distance))
    restored = replace(rig.durable(), orders=(), brackets=(bracket,))
    after = able(Rig(restored=restored, now=rig.now))
    assert resting(after) == []
    after.quote(100)
    assert resting(after) == ([] if stop is None else [(STOP, 49, d(stop))])


def test_it_is_where_it_was_after_a_restart() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    rig.quote(105)
    rig.kill()
    assert resting(rig) == []
    after = able(Rig(restored=rig.durable(), exchange=rig.exchange, now=rig.now))
    after.rearm()
    assert resting(after) == [(STOP, 49, d(103))]
    after.quote(106)
    assert resting(after) == [(STOP, 49, d(104))]


def test_more_bought_does_not_move_it_back() -> None:
    rig = able(Rig())
    rig.buy(trail=2)
    rig.quote(100, size=10)
    rig.quote(105, size=0.5)
    rig.quote(105, size=10)
    assert resting(rig) == [(STOP, 20, d(103))]


def test_more_bought_when_the_price_has_come_back_does_not_either() -> None:
    rig = able(Rig())
    entry = rig.buy(trail=2)
    rig.fill(entry, 10)
    rig.quote(105, size=0.5)
    rig.quote(104, size=0.5)
    rig.fill(entry, 5, 104)
    rig.fill(entry, 5, 104)
    assert resting(rig) == [(STOP, 20, d(103))]
    assert [fact.bracket.stop_price for fact in rig.facts(BracketChanged)] == [98, 103]


def test_a_stop_does_not_follow_a_lone_print_far_off() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    rig.quote(107)
    rig.quote(100)
    assert resting(rig) == [(STOP, 49, d(98))]
    rig.quote(107)
    rig.quote(107)
    assert resting(rig) == [(STOP, 49, d(105))]


def test_where_the_venue_has_trailing_stops_it_does_the_following() -> None:
    rig = able(Rig(), order_types=(*PLAIN, OrderType.TRAILING_STOP))
    rig.void = {SubmitOrder}
    rig.hold_position()
    rig = able(Rig(), order_types=(*PLAIN, OrderType.TRAILING_STOP))
    entry = rig.buy(trail=2)
    rig.void = {SubmitOrder}
    rig.fill(entry, 49, 100, state=S.FILLED)
    stop = rig.last(STOP)
    assert (stop.type, stop.trail, stop.stop_price) == (OrderType.TRAILING_STOP, 2, 98)
    rig.report(stop, S.ACCEPTED)
    rig.quote(105)
    assert rig.count(ReplaceOrder) == 0
    rig.report(stop, S.CANCELED)
    assert rig.last(STOP).stop_price == 103, "the next one begins where this one was"


def test_a_trailing_stop_filled_in_part_leaves_the_target_where_it_was() -> None:
    rig = able(Rig(), **TRAILING)
    rig.hold_position(trail=2, take_profit=110)
    rig.fill(rig.last(STOP), 9, 98)
    assert rig.machine.state()["desk"]["brackets"] == [
        Bracket("puppet", "ACME", d(98), d(110), d(2))
    ]


def test_a_stop_that_fills_before_the_venue_has_acknowledged_it_is_the_only_one() -> None:
    rig = able(Rig())
    entry = rig.buy()
    rig.void = {SubmitOrder}
    rig.fill(entry, 49, state=S.FILLED)
    rig.fill(rig.last(STOP), 49, 98, state=S.FILLED)
    assert len(rig.of(STOP)) == 1


# --- refused -------------------------------------------------------------------------------------


def refused(rule: StopRefused) -> tuple[Rig, Order]:
    rig = able(Rig(execution=replace(AT_MARKET, on_stop_refused=rule)))
    rig.hold_position()
    stop = rig.last(STOP)
    rig.report(stop, S.REJECTED, reason="no stops today")
    return rig, stop


def test_a_position_whose_stop_is_refused_is_closed_at_once() -> None:
    rig, _ = refused(StopRefused.EXIT)
    (fact,) = rig.facts(PositionUnprotected)
    assert (fact.quantity, fact.reason, fact.action) == (49, "no stops today", "it is closed")
    assert [o.quantity for o in rig.submits(EXIT)] == [49]
    rig.quote(99)
    assert rig.position().quantity == 0


def test_or_the_operator_is_told_and_the_venue_asked_again_later() -> None:
    rig, _ = refused(StopRefused.ALERT)
    (fact,) = rig.facts(PositionUnprotected)
    assert fact.action == "it is asked for again in five minutes"
    assert rig.of(EXIT) == []
    rig.tick(299)
    assert resting(rig) == []
    rig.tick(1)
    assert resting(rig) == [(STOP, 49, d(98))]


def test_a_stop_that_is_refused_after_the_position_was_closed_is_no_news() -> None:
    rig = able(Rig(execution=replace(AT_MARKET, on_stop_refused=StopRefused.EXIT)))
    rig.hold_position()
    first = rig.last(STOP)
    rig.void = {SubmitOrder, CancelOrder}
    rig.report(first, S.CANCELED)
    rig.fill(first, 49, 98)  # late
    rig.report(rig.last(STOP), S.REJECTED, reason="no position")
    assert rig.facts(PositionUnprotected) == []
    assert rig.of(EXIT) == []


def test_a_venue_that_takes_every_stop_and_cancels_it_refuses_it() -> None:
    rig = able(Rig(execution=replace(AT_MARKET, on_stop_refused=StopRefused.ALERT)))
    rig.hold_position()
    for _ in range(2):
        rig.report(rig.last(STOP), S.CANCELED, reason="risk desk")
        assert resting(rig) == [(STOP, 49, d(98))]
    rig.report(rig.last(STOP), S.CANCELED, reason="risk desk")
    (fact,) = rig.facts(PositionUnprotected)
    assert fact.reason == "the venue cancelled it 3 times: risk desk"
    assert resting(rig) == []
    rig.tick(300)
    assert resting(rig) == [(STOP, 49, d(98))]
    rig.report(rig.last(STOP), S.CANCELED)  # the first in five minutes
    assert resting(rig) == [(STOP, 49, d(98))]


def test_a_stop_that_the_operator_cancels_again_and_again_is_not_refused() -> None:
    rig = able(Rig())
    rig.hold_position()
    for _ in range(4):
        rig.request_cancel(rig.last(STOP))
    assert len(rig.of(STOP)) == 5
    assert rig.facts(PositionUnprotected) == []
    assert resting(rig) == [(STOP, 49, d(98))]


# --- after a kill --------------------------------------------------------------------------------


def test_kept_stops_are_kept_right() -> None:
    rig = able(Rig())
    rig.hold_position()
    rig.kill(KillAction.KEEP_STOPS)
    assert resting(rig) == [(STOP, 49, d(98))]
    stop = rig.last(STOP)
    rig.fill(rig.last(ENTRY), 1, state=S.FILLED)  # no more than was ordered: quarantined
    rig.fill(stop, 9, 98)
    assert resting(rig) == [(STOP, 40, d(98))]
    assert len(rig.submits()) == 2


def test_a_stop_that_is_larger_than_the_position_is_made_smaller_after_a_kill() -> None:
    rig = able(Rig())
    rig.hold_position()
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    rig.kill(KillAction.KEEP_STOPS)
    sent = rig.count(SubmitOrder)
    rig.fill(first, 9, 98)  # late
    assert resting(rig) == [(STOP, 40, d(98))]
    rig.fill(first, 40, 98)
    assert resting(rig) == [], "no position, no stop"
    assert rig.count(SubmitOrder) == sent


@pytest.mark.parametrize("can_replace", [True, False])
def test_a_stop_of_the_positions_size_stays_after_a_kill(can_replace: bool) -> None:
    rig = able(Rig(), replace=can_replace)
    rig.hold_position()
    rig.kill(KillAction.KEEP_STOPS)
    reconnected(rig, replace=can_replace)
    assert resting(rig) == [(STOP, 49, d(98))]
    assert rig.count(CancelOrder) == rig.count(ReplaceOrder) == 0


def test_one_that_is_being_made_smaller_after_a_kill_is_left_to_it() -> None:
    rig = able(Rig())
    rig.hold_position()
    rig.kill(KillAction.KEEP_STOPS)
    rig.hold = {ReplaceOrder}
    for name in ("one", "two"):
        sold_by_hand(rig, 4, name)
        reconnected(rig)
    assert (rig.count(ReplaceOrder), rig.count(CancelOrder)) == (1, 0)
    rig.release()
    assert resting(rig) == [(STOP, 41, d(98))]


def test_where_it_cannot_be_made_smaller_it_is_cancelled() -> None:
    rig = able(Rig(), replace=False)
    rig.hold_position()
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    rig.kill(KillAction.KEEP_STOPS)
    rig.fill(first, 9, 98)
    assert resting(rig) == []


def test_what_is_bought_after_a_kill_gets_no_stop_and_is_shown() -> None:
    rig = able(Rig())
    entry = rig.buy()
    rig.quote(100, size=10)
    rig.void = {CancelOrder}
    rig.kill(KillAction.KEEP_STOPS)
    sent = rig.count(SubmitOrder)
    rig.fill(entry, 39, 100, state=S.FILLED)
    assert resting(rig) == [(STOP, 10, d(98))], "nothing grows after a kill"
    assert rig.count(SubmitOrder) == sent
    assert rig.count(ReplaceOrder) == 0
    assert rig.machine.desk.unprotected() == {("puppet", "ACME"): 39}
    rig.void = set()
    rig.rearm()
    assert resting(rig) == [(STOP, 49, d(98))]
    assert rig.machine.desk.unprotected() == {}


def test_terms_that_are_asked_for_are_the_whole_quantity() -> None:
    rig = able(Rig())
    rig.hold_position()
    rig.fill(rig.last(STOP), 9, 98)
    first = rig.last(STOP)
    rig.report(rig.last(ENTRY), S.FILLED)
    assert (first.filled, first.leaves) == (9, 40)
    assert OrderTerms(d(49), None, d(98)) == rig.last(STOP).terms


def test_rules_that_are_not_about_stops_leave_them_alone() -> None:
    rig = able(Rig(execution=ExecutionRules()))
    rig.hold_position()
    assert resting(rig) == [(STOP, 49, d(98))]


@pytest.mark.parametrize(
    ("how", "to"), [({}, 95), ({}, 99), ({"take_profit": 110}, 95), ({"trail": 2}, 99)]
)
def test_a_stop_that_the_operator_moved_stays_where_it_is(how: dict[str, Any], to: int) -> None:
    rig = able(Rig())
    rig.hold_position(**how)
    moved(rig, to)
    rig.quote(100.5)
    assert resting(rig) == [(STOP, 49, d(to))]
    rig.fill(rig.last(STOP), 9, to)
    assert resting(rig) == [(STOP, 40, d(to))]
    sold_by_hand(rig, 10)
    assert resting(rig) == [(STOP, 30, d(to))]


def test_one_that_follows_the_price_is_never_behind_it() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    rig.quote(105)
    for to, stop in ((104, 104), (90, 103)):
        moved(rig, to)
        assert resting(rig) == [(STOP, 49, d(stop))]


def test_one_that_follows_the_price_follows_it_while_it_is_made_smaller() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    rig.hold = {ReplaceOrder}
    rig.quote(102)
    rig.quote(105)
    sold_by_hand(rig, 10)
    rig.release()
    assert resting(rig) == [(STOP, 39, d(103))]
    assert rig.count(ReplaceOrder) == 2


def test_a_stop_does_not_follow_the_price_of_a_short() -> None:
    rig = able(Rig())
    rig.hold_position(trail=2)
    first = rig.last(STOP)
    rig.report(first, S.CANCELED)
    rig.void = {ReplaceOrder, SubmitOrder}
    rig.fill(first, 30, 98)
    rig.fill(rig.last(STOP), 49, 98, state=S.FILLED)
    assert rig.position().quantity == -30
    told = rig.facts(BracketChanged)
    rig.quote(103)
    rig.quote(103)
    assert rig.facts(BracketChanged) == told


# --- linked orders at the venue ------------------------------------------------------------------


def linked(**how: Any) -> Rig:
    """A position under a stop and a target that the venue links."""
    rig = able(Rig(), oco=True)
    rig.hold_position(**({"take_profit": 110} | how))
    return rig


def test_where_orders_can_be_linked_both_rest_at_the_venue() -> None:
    rig = linked()
    assert resting(rig) == [(STOP, 49, d(98)), (TARGET, 49, d(110))]
    stop, target = rig.last(STOP), rig.last(TARGET)
    assert stop.oco_group == target.oco_group != ""
    assert (target.type, target.side) == (OrderType.LIMIT, Side.SELL)
    assert (stop.stop_price, stop.limit_price, target.stop_price) == (98, None, None)


def test_an_exit_waits_for_both() -> None:
    rig = linked()
    rig.void = {CancelOrder}
    rig.signal(Side.SELL, 101)
    rig.report(rig.last(STOP), S.CANCELED)
    assert rig.of(EXIT) == []
    rig.report(rig.last(TARGET), S.CANCELED)
    assert [o.quantity for o in rig.submits(EXIT)] == [49]


def test_both_follow_the_position() -> None:
    rig = able(Rig(), oco=True)
    rig.buy(take_profit=110)
    for size in (10, 20, 19):
        rig.quote(100, size=size)
        held = rig.position().quantity
        assert resting(rig) == [(STOP, held, d(98)), (TARGET, held, d(110))]
    assert len(rig.submits(STOP)) == len(rig.submits(TARGET)) == 1


def test_a_target_filled_in_part_leaves_both_at_what_is_left() -> None:
    rig = linked()
    rig.fill(rig.last(TARGET), 9, 110)
    assert rig.position().quantity == 40
    assert resting(rig) == [(STOP, 40, d(98)), (TARGET, 40, d(110))]


@pytest.mark.parametrize(("purpose", "price"), [(STOP, 98), (TARGET, 110)])
def test_one_that_is_filled_ends_the_other(purpose: OrderPurpose, price: int) -> None:
    rig = linked()
    rig.fill(rig.last(purpose), 49, price, state=S.FILLED)
    assert rig.position().quantity == 0
    assert rig.open == []


def test_a_target_that_the_venue_cancels_is_set_again_in_the_same_group() -> None:
    rig = linked()
    first = rig.last(TARGET)
    rig.report(first, S.CANCELED)
    assert resting(rig) == [(STOP, 49, d(98)), (TARGET, 49, d(110))]
    assert rig.last(TARGET).oco_group == first.oco_group


def test_a_restart_finds_both_and_sets_no_other() -> None:
    rig = linked()
    after = Rig(restored=rig.durable(), exchange=rig.exchange, now=rig.now, started=False)
    able(after, oco=True).start()
    assert after.submits() == []
    assert len(resting(after)) == 2


def test_a_refused_target_leaves_the_stop() -> None:
    rig = linked()
    rig.report(rig.last(TARGET), S.REJECTED, reason="too far")
    assert resting(rig) == [(STOP, 49, d(98))]
    assert rig.facts(PositionUnprotected) == []
    rig.tick(300)
    assert len(resting(rig)) == 2


# --- what others close at the venue --------------------------------------------------------------


def sold_by_hand(rig: Rig, quantity: object, name: str = "hand") -> None:
    """Somebody sells at the broker's own screen."""
    order = replace(rig.last(ENTRY), client_order_id=name, side=Side.SELL)
    rig.fill(order, quantity, state=S.FILLED)


def test_what_a_hand_sold_at_the_venue_is_not_sold_again() -> None:
    rig = Rig()
    held = rig.hold_position().quantity
    sold_by_hand(rig, held - 4)
    assert [(purpose, left) for purpose, left, _ in resting(rig)] == [(STOP, 4)]
    rig.signal(Side.SELL)
    assert (rig.last(EXIT).quantity, rig.open) == (4, [rig.last(EXIT)])
    rig.quote(100)
    assert rig.now_of(rig.last(EXIT)).filled == 4


def test_a_position_that_a_hand_closed_has_no_order_that_could_open_another() -> None:
    rig = Rig()
    held = rig.hold_position().quantity
    sold_by_hand(rig, held)
    assert rig.open == []
    rig.signal(Side.SELL)
    rig.send(TripKillSwitch(source="key", action=KillAction.FLATTEN))
    rig.tick(60)
    rig.quote(90)
    assert (rig.open, rig.of(EXIT)) == ([], [])


def test_what_a_hand_sold_is_taken_from_the_strategies_in_their_order() -> None:
    rig = Rig("first", "second")
    entry = rig.buy(strategy="first")
    rig.quote(100, size=10)
    rig.request_cancel(entry)
    second = rig.hold_position(strategy="second").quantity
    sold_by_hand(rig, 11)
    assert [(o.strategy, o.leaves) for o in rig.open] == [("second", second - 1)]


def test_what_is_missing_moves_on_when_another_strategy_holds_some() -> None:
    rig = Rig("first", "second")
    entry = rig.buy(strategy="second")
    rig.quote(100, size=10)
    rig.request_cancel(entry)
    sold_by_hand(rig, 10)
    assert rig.open == []
    first = rig.hold_position(strategy="first").quantity
    assert sum(o.leaves for o in rig.open) == first
