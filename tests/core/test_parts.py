"""One strategy, one symbol or one broker is killed by itself; the rest trades on."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    CancelOrder,
    CommandRefused,
    KillPart,
    OrderCanceled,
    PartKilled,
    PartRearmed,
    QueryOrder,
    RearmPart,
    Restored,
    SignalBlocked,
    SubmitFailed,
    SubmitOrder,
    TripKillSwitch,
)
from engine.core.execution.rules import StrategyOff
from engine.core.model import (
    EXTERNAL,
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    Part,
    Position,
    Scope,
    Side,
)
from tests.core.rig import ACME, AT_MARKET, COIN, Rig, effects_of

S = OrderState
ELSEWHERE = replace(COIN, venue="elsewhere")
FIRST = Part(Scope.STRATEGY, "first")
STOCK = Part(Scope.SYMBOL, "ACME")
BROKER = Part(Scope.BROKER, ACME.venue)
PARTS = (FIRST, STOCK, BROKER)


def kill(rig: Rig, part: Part, action: KillAction | None = None) -> list[Any]:
    return rig.send(KillPart(part=part, source="key", reason="test", author="ann", action=action))


def rearm(rig: Rig, part: Part, word: str = "REARM") -> None:
    rig.send(RearmPart(part=part, word=word, author="ann"))


def two(**config: Any) -> Rig:
    """Two strategies, and two symbols at two brokers."""
    return Rig("first", "second", instruments=(ACME, ELSEWHERE), **config)


def in_part(order: Order) -> bool:
    """Each of PARTS has what `first` does in ACME, and nothing that `second` does in COIN."""
    return (order.strategy, order.symbol) == ("first", "ACME")


def test_a_symbol_is_killed_by_its_name_without_the_venue_where_no_other_has_it() -> None:
    one, other = replace(ACME, symbol="north:ACME"), replace(ACME, symbol="north:BETA")
    again = replace(ACME, symbol="south:BETA", venue="south")
    rig = Rig("first", instruments=(one, other, again))
    kill(rig, Part(Scope.SYMBOL, "ACME"))
    assert rig.facts(PartKilled)[-1].part == Part(Scope.SYMBOL, "north:ACME")
    kill(rig, Part(Scope.SYMBOL, "BETA"))
    assert "there is no symbol BETA" in rig.facts(CommandRefused)[-1].reason


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.scope)
def test_the_orders_of_the_part_are_cancelled_in_the_same_event_and_no_others(part: Part) -> None:
    rig = two()
    rig.hold_position(strategy="first")
    rig.hold_position(50, strategy="second", symbol="COIN")
    cancelled = [effect.order for effect in effects_of(kill(rig, part), CancelOrder)]
    assert cancelled
    assert all(map(in_part, cancelled))
    assert [o.symbol for o in rig.open if o.purpose is OrderPurpose.PROTECTIVE_STOP] == ["COIN"]
    (fact,) = rig.facts(PartKilled)
    assert (fact.part, fact.source, fact.author, fact.action) == (
        part, "key", "ann", KillAction.CANCEL,
    )  # fmt: skip
    assert not rig.killed


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.scope)
def test_nothing_of_the_part_leaves_until_it_is_rearmed_and_the_rest_trades(part: Part) -> None:
    rig = two()
    kill(rig, part)
    rig.signal(Side.BUY, strategy="first")
    assert rig.submits() == []
    assert rig.facts(SignalBlocked)[-1].reason == f"{part} is killed (key)"
    rig.signal(Side.BUY, 50, strategy="second", symbol="COIN")
    assert [order.symbol for order in rig.submits(OrderPurpose.ENTRY)] == ["COIN"]
    rearm(rig, part)
    assert [fact.part for fact in rig.facts(PartRearmed)] == [part]
    rig.signal(Side.SELL, strategy="first")
    rig.signal(Side.BUY, strategy="first")
    assert rig.submits(OrderPurpose.ENTRY)[-1].symbol == "ACME"


def test_a_strategy_is_killed_in_every_symbol_and_a_symbol_for_every_strategy() -> None:
    rig = two()
    kill(rig, FIRST)
    rig.signal(Side.BUY, 50, strategy="first", symbol="COIN")
    assert rig.submits() == []
    rearm(rig, FIRST)
    kill(rig, STOCK)
    rig.signal(Side.BUY, strategy="second")
    assert rig.submits() == []


@pytest.mark.parametrize(
    ("action", "entry_is", "stop_is"),
    [
        (KillAction.STOP, S.ACCEPTED, S.ACCEPTED),
        (KillAction.KEEP_STOPS, S.CANCELED, S.ACCEPTED),
        (KillAction.CANCEL, S.CANCELED, S.CANCELED),
        (KillAction.FLATTEN, S.CANCELED, S.CANCELED),
    ],
)
def test_the_action_says_which_orders_of_the_part_are_cancelled(
    action: KillAction, entry_is: OrderState, stop_is: OrderState
) -> None:
    rig = two()
    rig.hold_position(50, strategy="first", symbol="COIN")
    entry = rig.buy(strategy="first")
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    kill(rig, FIRST, action)
    assert (rig.state_of(entry), rig.state_of(stop)) == (entry_is, stop_is)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.scope)
@pytest.mark.parametrize("has_stop", [True, False])
def test_a_part_that_is_flattened_closes_its_positions_and_leaves_the_others(
    part: Part, has_stop: bool
) -> None:
    rig = two()
    rig.hold_position(50, strategy="second", symbol="COIN")
    rig.hold_position(strategy="first")
    if not has_stop:
        rig.report(rig.last(OrderPurpose.PROTECTIVE_STOP), S.REJECTED, reason="no stops today")
    kill(rig, part, KillAction.FLATTEN)
    assert [order.symbol for order in rig.submits(OrderPurpose.EXIT)] == ["ACME"]
    rig.quote(100)
    rig.quote(50, "COIN")
    assert rig.position("first").quantity == 0
    assert rig.position("second", "COIN").quantity > 0


@pytest.mark.parametrize(("reason", "told"), [("panic", "panic"), ("", "key")])
def test_a_position_that_is_to_be_flat_says_who_wanted_it(reason: str, told: str) -> None:
    for flatten in (
        KillPart(part=FIRST, source="key", reason=reason, action=KillAction.FLATTEN),
        TripKillSwitch(source="key", reason=reason, action=KillAction.FLATTEN),
    ):
        rig = two()
        rig.hold_position(strategy="first")
        rig.void = {CancelOrder}
        rig.send(flatten)
        assert [found.reason for found in rig.machine.desk.not_flat()] == [told]


def test_what_is_to_be_flat_for_another_reason_does_not_leave_a_killed_part() -> None:
    rig = two(execution=replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN))
    rig.hold_position(strategy="first")
    kill(rig, STOCK)
    rig.toggle("first", enabled=False)
    rig.tick(60)
    assert rig.of(OrderPurpose.EXIT) == []
    rearm(rig, STOCK)
    assert len(rig.submits(OrderPurpose.EXIT)) == 1


def test_what_turns_up_in_a_killed_part_is_cancelled() -> None:
    rig = two()
    kill(rig, STOCK)
    for order in (Rig().buy(), Rig(instruments=(ELSEWHERE,)).buy(50, symbol="COIN")):
        external = {"strategy": EXTERNAL, "purpose": OrderPurpose.EXTERNAL, "state": S.ACCEPTED}
        rig.machine.orders.adopt(replace(order, **external))
    rig.tick()
    assert [effect.order.symbol for effect in effects_of(rig.effects, CancelOrder)] == ["ACME"]


def test_a_position_of_a_killed_part_is_protected_again_once_it_is_rearmed() -> None:
    rig = two()
    rig.hold_position(strategy="first")
    kill(rig, STOCK)
    rig.tick(60)
    assert rig.open == []
    rearm(rig, STOCK)
    (stop,) = rig.open
    assert (stop.purpose, stop.quantity) == (
        OrderPurpose.PROTECTIVE_STOP, rig.position("first").quantity,
    )  # fmt: skip


def test_a_second_kill_of_a_part_may_do_more_never_less() -> None:
    rig = two()
    rig.hold_position(strategy="first")
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    kill(rig, FIRST, KillAction.KEEP_STOPS)
    kill(rig, FIRST, KillAction.STOP)
    assert rig.facts(PartKilled)[-1].action is KillAction.KEEP_STOPS
    assert rig.state_of(stop) is S.ACCEPTED
    kill(rig, FIRST, KillAction.CANCEL)
    assert rig.state_of(stop) is S.CANCELED


def test_an_order_in_two_killed_parts_is_cancelled_where_one_of_them_says_so() -> None:
    rig = two()
    rig.hold_position(strategy="first")
    kill(rig, STOCK, KillAction.STOP)
    kill(rig, FIRST, KillAction.CANCEL)
    assert rig.open == []


def test_where_parts_overlap_the_strongest_action_counts() -> None:
    rig = two()
    rig.hold_position(strategy="first")
    kill(rig, STOCK, KillAction.STOP)
    kill(rig, FIRST, KillAction.FLATTEN)
    kill(rig, BROKER, KillAction.CANCEL)
    rig.quote(100)
    assert rig.position("first").quantity == 0


def test_an_intent_on_its_way_does_not_leave_and_an_order_in_flight_is_cancelled() -> None:
    rig = two()
    rig.hold = {SubmitOrder}
    entry = rig.buy(strategy="first")
    kill(rig, FIRST)
    rig.release()
    assert rig.state_of(entry) is S.CANCELED
    assert [fact.order.client_order_id for fact in rig.facts(OrderCanceled)] == [
        entry.client_order_id
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_a_part_stays_killed_over_a_restart_and_its_orders_are_cancelled_first(asked: bool) -> None:
    rig = two()
    rig.hold_position(strategy="first")
    rig.hold_position(50, strategy="second", symbol="COIN")
    rig.void = {CancelOrder}
    before = rig.durable()
    kill(rig, FIRST)
    after = rig.durable()
    restored = after if asked else replace(before, killed_parts=after.killed_parts)
    again = two(restored=restored, now=rig.now, started=False)
    assert {o.symbol: o.state for o in again.of(OrderPurpose.PROTECTIVE_STOP)} == {
        "ACME": S.CANCELED,
        "COIN": S.ACCEPTED,
    }
    again.start()
    again.signal(Side.BUY, 50, strategy="first", symbol="COIN")
    assert again.submits() == []


def test_to_rearm_takes_the_word_a_killed_part_and_no_order_of_it_in_doubt() -> None:
    rig = two(void=(CancelOrder, QueryOrder))
    rearm(rig, FIRST)
    rig.lost = {SubmitOrder}
    entry = rig.buy(strategy="first")
    rig.send(SubmitFailed(entry.client_order_id, True, "no answer"))
    kill(rig, FIRST, KillAction.STOP)
    rearm(rig, FIRST, "rearm")
    rearm(rig, FIRST)
    assert [fact.reason for fact in rig.facts(CommandRefused)] == [
        "strategy first is not killed",
        "type REARM to re-arm",
        f"orders are in doubt: {entry.client_order_id}",
    ]


def test_orders_at_work_and_the_doubts_of_others_do_not_keep_a_part_killed() -> None:
    rig = two(void=(CancelOrder, QueryOrder))
    rig.hold_position(strategy="first")
    rig.lost = {SubmitOrder}
    entry = rig.buy(50, strategy="second", symbol="COIN")
    rig.send(SubmitFailed(entry.client_order_id, True, "no answer"))
    kill(rig, FIRST, KillAction.STOP)
    rearm(rig, FIRST)
    assert rig.state_of(entry) is S.IN_DOUBT
    assert [fact.part for fact in rig.facts(PartRearmed)] == [FIRST]


@pytest.mark.parametrize(("held", "refusals"), [(1, 0), (0, 1)])
def test_a_strategy_that_is_gone_has_its_name_while_it_holds_something(
    held: int, refusals: int
) -> None:
    position = Position("gone", "ACME", Decimal(held), Decimal(100 * held), opened_ts=1)
    rig = two(restored=Restored({"paper": Decimal(100_000)}, positions=(position,)))
    kill(rig, Part(Scope.STRATEGY, "gone"))
    assert len(rig.facts(CommandRefused)) == refusals
    kill(rig, Part(Scope.STRATEGY, "ACME"))
    assert len(rig.facts(CommandRefused)) == refusals + 1


@pytest.mark.parametrize("scope", list(Scope))
def test_a_name_that_nothing_has_is_refused_with_those_there_are(scope: Scope) -> None:
    rig = two()
    kill(rig, Part(scope, "\x1b[2Jfrist"))
    (refusal,) = rig.facts(CommandRefused)
    assert refusal.reason.startswith(f"there is no {scope}  (2Jfrist: name one of ")
    assert rig.facts(PartKilled) == []


def test_the_kill_switch_stands_above_the_parts() -> None:
    rig = two()
    rig.hold_position(strategy="first")
    rig.hold_position(50, strategy="second", symbol="COIN")
    kill(rig, FIRST)
    rig.kill(KillAction.FLATTEN)
    rig.quote(100)
    rig.quote(50, "COIN")
    assert not any(position.quantity for position in rig.machine.state()["positions"])
    rig.rearm()
    rig.signal(Side.SELL, strategy="first")
    rig.signal(Side.BUY, strategy="first")
    assert rig.facts(SignalBlocked)[-1].reason == "strategy first is killed (key)"


@pytest.mark.parametrize("word", ["REARM", ""])
def test_an_exit_under_way_is_cancelled_where_the_kill_that_flattens_is_rearmed(word: str) -> None:
    """While both hold, the stronger one counts; the weaker one is still there after it."""
    rig = two()
    rig.hold_position(strategy="first")
    kill(rig, FIRST, KillAction.CANCEL)
    kill(rig, STOCK, KillAction.FLATTEN)
    (closing,) = rig.of(OrderPurpose.EXIT)
    rearm(rig, STOCK, word)
    assert rig.state_of(closing) is (S.CANCELED if word else S.ACCEPTED)
