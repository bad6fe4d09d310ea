"""Replace, ask, mark, adopt: what an order asks for is what the venue says, and nothing else."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    AskOrder,
    BrokerChanged,
    CancelOrder,
    CommandRefused,
    Event,
    ExecutionReport,
    LateFill,
    MarkOrder,
    OrderAdopted,
    OrderCanceled,
    OrderMarked,
    OrderNotFound,
    OrderOverdue,
    OrderPendingReplace,
    OrderReplaced,
    OrderReplaceRejected,
    PositionChanged,
    QueryOrder,
    ReplaceOrder,
    ReplaceRejected,
    RequestCancel,
    RequestReplace,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import (
    EXTERNAL,
    Capabilities,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
)
from engine.core.risk.books import measure
from tests.core.rig import ACME, START, Rig, effects_of, facts_of

S = OrderState
VENUE = {SubmitOrder, CancelOrder, QueryOrder, ReplaceOrder}


def terms(quantity: object, **prices: Any) -> OrderTerms:
    return OrderTerms(Decimal(str(quantity)), **prices)


@pytest.fixture
def rig() -> Rig:
    """A machine whose requests no exchange answers: the test is the venue."""
    return Rig(void=VENUE)


@pytest.fixture
def resting(rig: Rig) -> Order:
    """An entry of 49 that the venue has accepted."""
    order = rig.buy()
    rig.report(order, S.ACCEPTED)
    return order


@pytest.fixture
def doubted(rig: Rig) -> Order:
    order = rig.buy()
    rig.send(SubmitFailed(order.client_order_id, True, "connection reset"))
    return order


def ask_to_replace(rig: Rig, order: Order, quantity: object) -> list[ReplaceOrder]:
    request = RequestReplace(order.client_order_id, terms(quantity), author="me")
    return effects_of(rig.send(request), ReplaceOrder)


@pytest.fixture
def pending(rig: Rig, resting: Order) -> Order:
    """An entry of 49 that is to become one of 40; the venue has not said."""
    assert len(ask_to_replace(rig, resting, 40)) == 1
    assert rig.state_of(resting) is S.PENDING_REPLACE
    return resting


def refusals(rig: Rig) -> list[str]:
    return [fact.reason for fact in rig.facts(CommandRefused)]


# --- asking --------------------------------------------------------------------------------------


def test_a_replace_asks_the_venue_and_changes_nothing_yet(rig: Rig, pending: Order) -> None:
    (fact,) = rig.facts(OrderPendingReplace)
    assert fact.order.reason == "asked for by me"
    now = rig.now_of(pending)
    assert (now.quantity, now.pending_terms, now.worst_leaves) == (49, terms(40), 49)


def test_a_replace_that_the_venue_takes(rig: Rig, pending: Order) -> None:
    rig.report(pending, S.ACCEPTED, terms=terms(40))
    now = rig.now_of(pending)
    assert (now.state, now.quantity, now.pending_terms) == (S.ACCEPTED, 40, None)
    assert [fact.order.quantity for fact in rig.facts(OrderReplaced)] == [40]
    rig.fill(pending, 40, state=S.FILLED)
    assert rig.state_of(pending) is S.FILLED


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        ("40.5", "quantity 40.5 is not a positive multiple of the lot 1"),
        (0, "quantity 0 is not a positive multiple of the lot 1"),
        (49, "nothing would change"),
        (10, "10 is filled already"),
        (5000, "position"),
    ],
)
def test_a_replace_that_cannot_be_is_refused_here(
    rig: Rig, resting: Order, quantity: object, why: str
) -> None:
    rig.fill(resting, 10)
    assert ask_to_replace(rig, resting, quantity) == []
    assert why in refusals(rig)[0]
    assert rig.state_of(resting) is S.PARTIALLY_FILLED
    assert rig.now_of(resting).pending_terms is None


def test_only_an_order_that_works_can_be_replaced(rig: Rig, pending: Order) -> None:
    assert ask_to_replace(rig, pending, 30) == []
    rig.report(pending, S.CANCELED)
    assert ask_to_replace(rig, pending, 30) == []
    assert refusals(rig) == ["the order is pending replace", "no such order is open"]


def test_a_venue_that_cannot_replace_is_not_asked_to(rig: Rig, resting: Order) -> None:
    rig.send(BrokerChanged("paper", True, capabilities=Capabilities()))
    assert ask_to_replace(rig, resting, 40) == []
    assert refusals(rig) == ["the venue cannot replace orders"]


def test_nothing_is_replaced_while_the_kill_switch_is_tripped(rig: Rig) -> None:
    rig = Rig(void=VENUE - {CancelOrder, SubmitOrder, QueryOrder})
    order = rig.buy()
    rig.send(BrokerChanged("paper", False))
    assert ask_to_replace(rig, order, 40) == []
    assert refusals(rig) == ["paper is not connected"]


def test_what_cannot_be_replaced_is_left_alone_by_whoever_wants_it(
    rig: Rig, resting: Order
) -> None:
    sent = rig.count(ReplaceOrder)
    rig.machine.orders.replace(resting.client_order_id, resting.terms, "the same")
    rig.machine.orders.replace("tb-nobody", resting.terms, "nobody's")
    rig.tick(0)
    assert rig.count(ReplaceOrder) == sent
    assert rig.state_of(resting) is S.ACCEPTED


# --- the venue does not say ----------------------------------------------------------------------


def test_a_pending_replace_is_asked_about_every_two_seconds(rig: Rig, pending: Order) -> None:
    asked = [len(effects_of(rig.tick(0.5), QueryOrder)) for _ in range(20)]
    assert asked == [0, 0, 0, 1] * 5
    assert rig.count(ReplaceOrder) == 1, "it is sent once"
    assert rig.state_of(pending) is S.PENDING_REPLACE


def test_the_former_terms_tell_nothing_before_the_venues_lag(rig: Rig, pending: Order) -> None:
    rig.tick(29)
    rig.report(pending, S.ACCEPTED, terms=terms(49))
    assert rig.state_of(pending) is S.PENDING_REPLACE
    rig.tick(1)
    rig.report(pending, S.ACCEPTED, terms=terms(49))
    assert rig.state_of(pending) is S.ACCEPTED
    (fact,) = rig.facts(OrderReplaceRejected)
    assert (fact.reason, fact.order.pending_terms) == ("the venue has the former terms", None)


def test_a_report_without_terms_settles_nothing(rig: Rig, pending: Order) -> None:
    rig.tick(60)
    assert facts_of(rig.report(pending, S.ACCEPTED), Event) == []
    assert rig.state_of(pending) is S.PENDING_REPLACE


def test_a_replace_without_an_answer_stays_pending_and_is_asked_about(
    rig: Rig, pending: Order
) -> None:
    effects = rig.send(ReplaceRejected(pending.client_order_id, "time-out", in_doubt=True))
    assert len(effects_of(effects, QueryOrder)) == 1
    assert rig.state_of(pending) is S.PENDING_REPLACE


def test_a_replace_that_is_refused_leaves_the_former_terms(rig: Rig, pending: Order) -> None:
    effects = rig.send(ReplaceRejected(pending.client_order_id, "no \x1b"))
    now = rig.now_of(pending)
    assert (now.state, now.quantity, now.pending_terms) == (S.ACCEPTED, 49, None)
    assert [fact.reason for fact in rig.facts(OrderReplaceRejected)] == ["no  "]
    assert len(effects_of(effects, QueryOrder)) == 1, "there was a reason"


def test_a_refusal_of_nothing_changes_nothing(rig: Rig, resting: Order) -> None:
    assert rig.send(ReplaceRejected(resting.client_order_id, "too late")) == []
    assert rig.send(ReplaceRejected("tb-nobody", "too late")) == []


def test_a_report_of_long_ago_does_not_bring_former_terms_back(rig: Rig, pending: Order) -> None:
    rig.report(pending, S.ACCEPTED, terms=terms(40), transact_ts=20)
    rig.report(pending, S.ACCEPTED, terms=terms(49), transact_ts=10)
    assert rig.now_of(pending).quantity == 40
    rig.report(pending, S.ACCEPTED, terms=terms(30), transact_ts=30)
    assert rig.now_of(pending).quantity == 30, "somebody changed it at the venue"


@pytest.mark.parametrize("quantity", ["NaN", "0", "-1", "Infinity"])
def test_terms_that_make_no_sense_are_not_taken(rig: Rig, pending: Order, quantity: str) -> None:
    rig.report(pending, S.ACCEPTED, terms=terms(quantity))
    assert rig.now_of(pending).quantity == 49
    assert not rig.killed


def test_a_pending_replace_that_the_venue_does_not_know_is_in_doubt_and_then_settled(
    rig: Rig, pending: Order
) -> None:
    rig.send(OrderNotFound(pending.client_order_id))
    assert rig.state_of(pending) is S.IN_DOUBT
    rig.report(pending, S.ACCEPTED)
    assert rig.state_of(pending) is S.PENDING_REPLACE
    rig.report(pending, S.ACCEPTED, terms=terms(40))
    assert (rig.state_of(pending), rig.now_of(pending).quantity) == (S.ACCEPTED, 40)


@pytest.mark.parametrize("said", [40, 49])
def test_a_pending_replace_is_settled_after_a_restart(rig: Rig, pending: Order, said: int) -> None:
    after = Rig(restored=rig.durable(), started=False, void=VENUE, now=rig.now)
    assert after.now_of(pending).pending_terms == terms(40)
    assert after.count(QueryOrder) == 1
    after.tick(30)
    after.report(pending, S.ACCEPTED, terms=terms(said))
    assert (after.state_of(pending), after.now_of(pending).quantity) == (S.ACCEPTED, said)


# --- races ---------------------------------------------------------------------------------------


def test_a_replace_that_loses_the_race_to_the_fill(rig: Rig, pending: Order) -> None:
    rig.fill(pending, 49, state=S.FILLED)
    assert (rig.state_of(pending), rig.position().quantity) == (S.FILLED, 49)
    assert [fact.reason for fact in rig.facts(OrderReplaceRejected)] == ["filled first"]
    assert rig.send(ReplaceRejected(pending.client_order_id, "too late")) == []


def test_a_partial_fill_leaves_the_replace_pending(rig: Rig, pending: Order) -> None:
    rig.fill(pending, 10)
    now = rig.now_of(pending)
    assert (now.state, now.filled, now.pending_terms) == (S.PENDING_REPLACE, 10, terms(40))
    rig.report(pending, S.PARTIALLY_FILLED, terms=terms(40))
    assert rig.state_of(pending) is S.PARTIALLY_FILLED


def test_a_replace_to_what_is_filled_meanwhile_ends_the_order(rig: Rig, pending: Order) -> None:
    rig.fill(pending, 40)
    assert rig.state_of(pending) is S.PENDING_REPLACE, "49 may still be asked for"
    rig.report(pending, S.FILLED, terms=terms(40))
    now = rig.now_of(pending)
    assert (now.state, now.quantity, now.filled) == (S.FILLED, 40, 40)


def test_a_fill_beyond_the_new_quantity_while_pending_counts(rig: Rig, pending: Order) -> None:
    rig.fill(pending, 45)
    rig.report(pending, S.FILLED, terms=terms(45))
    now = rig.now_of(pending)
    assert (now.state, now.quantity, rig.position().quantity) == (S.FILLED, 45, 45)


@pytest.fixture
def growing(rig: Rig) -> Order:
    """An entry of 20 (it was 49) that is to become one of 30."""
    order = rig.buy()
    rig.report(order, S.ACCEPTED)
    ask_to_replace(rig, order, 20)
    rig.report(order, S.ACCEPTED, terms=terms(20))
    ask_to_replace(rig, order, 30)
    assert rig.now_of(order).worst_leaves == 30
    return order


def test_an_order_that_is_to_grow_counts_at_its_worst(rig: Rig, growing: Order) -> None:
    now = rig.now_of(growing)
    assert now.worst_notional == 30 * now.reference_price


def test_a_fill_that_is_larger_than_the_order_shows_that_it_grew(rig: Rig, growing: Order) -> None:
    rig.fill(growing, 25)
    now = rig.now_of(growing)
    assert (now.state, now.quantity, now.filled) == (S.PARTIALLY_FILLED, 30, 25)
    assert rig.position().quantity == 25


def test_an_order_that_may_have_grown_is_not_filled_before_the_venue_says(
    rig: Rig, growing: Order
) -> None:
    effects = rig.fill(growing, 20)
    assert rig.state_of(growing) is S.PENDING_REPLACE
    assert len(effects_of(effects, QueryOrder)) == 1
    rig.fill(growing, 10, state=S.FILLED)
    assert (rig.state_of(growing), rig.position().quantity) == (S.FILLED, 30)


def test_an_order_that_did_not_grow_is_filled_when_the_venue_says(rig: Rig, growing: Order) -> None:
    rig.fill(growing, 20, state=S.FILLED)
    assert rig.state_of(growing) is S.IN_DOUBT, "an execution of 10 may be missing"
    rig.report(growing, S.FILLED, terms=terms(20))
    now = rig.now_of(growing)
    assert (now.state, now.quantity, now.filled) == (S.FILLED, 20, 20)


def test_a_cancel_during_a_pending_replace(rig: Rig, growing: Order) -> None:
    cancel = RequestCancel(client_order_id=growing.client_order_id, author="me")
    assert len(effects_of(rig.send(cancel), CancelOrder)) == 1
    assert rig.now_of(growing).worst_leaves == 30
    rig.report(growing, S.ACCEPTED, terms=terms(30))
    assert (rig.state_of(growing), rig.now_of(growing).quantity) == (S.PENDING_CANCEL, 30)
    rig.report(growing, S.CANCELED)
    assert rig.state_of(growing) is S.CANCELED


def test_a_late_fill_of_an_order_that_had_grown_before_its_cancel(rig: Rig, growing: Order) -> None:
    rig.request_cancel(growing)
    rig.report(growing, S.CANCELED)
    rig.fill(growing, 25, state=S.CANCELED)
    assert (rig.state_of(growing), rig.position().quantity) == (S.CANCELED, 25)
    assert len(rig.facts(LateFill)) == 1


def test_executions_under_the_old_and_the_new_venue_id_are_of_one_order(
    rig: Rig, pending: Order
) -> None:
    key = pending.client_order_id
    rig.fill(pending, 10)
    rig.send(ExecutionReport(key, S.PARTIALLY_FILLED, "new", terms=terms(40)))
    assert rig.now_of(pending).venue_order_id == "new"
    rig.fill(pending, 20)  # an execution of before, under the old id
    now = rig.now_of(pending)
    assert (now.venue_order_id, now.filled) == ("new", 30)
    rig.fill(pending, 10, state=S.FILLED)
    assert (rig.state_of(pending), rig.position().quantity) == (S.FILLED, 40)
    ids = [fact.fill.venue_order_id for fact in rig.facts(PositionChanged)]
    assert ids == [f"venue-{key}"] * 3, "each as it was reported"
    assert len(rig.submits(OrderPurpose.ENTRY)) == 1


def test_replaced_at_the_exchange() -> None:
    rig = Rig()
    order = rig.buy()
    ask_to_replace(rig, order, 40)
    assert (rig.state_of(order), rig.now_of(order).quantity) == (S.ACCEPTED, 40)
    rig.quote(100)
    assert (rig.state_of(order), rig.position().quantity) == (S.FILLED, 40)


# --- in doubt ------------------------------------------------------------------------------------


def test_the_operator_asks_again(rig: Rig, doubted: Order) -> None:
    effects = rig.send(AskOrder(doubted.client_order_id, author="me"))
    assert len(effects_of(effects, QueryOrder)) == 1
    rig.send(AskOrder("tb-nobody", author="me"))
    assert len(refusals(rig)) == 1


def mark(rig: Rig, order: Order, state: S = S.CANCELED, word: str = "MARK") -> list[Any]:
    return rig.send(MarkOrder(order.client_order_id, state, word, author="me\x9b"))


@pytest.mark.parametrize("state", [S.CANCELED, S.REJECTED, S.EXPIRED, S.ABANDONED])
def test_an_order_in_doubt_is_marked_by_hand(rig: Rig, doubted: Order, state: S) -> None:
    mark(rig, doubted, state)
    assert rig.state_of(doubted) is state
    (fact,) = rig.facts(OrderMarked)
    assert (fact.author, fact.order.reason) == ("me ", "marked by hand by me ")
    assert len(rig.facts(OrderCanceled)) == (state is S.CANCELED)


@pytest.mark.parametrize(("word", "state"), [("mark", S.CANCELED), ("MARK", S.FILLED)])
def test_a_mark_needs_the_word_and_a_state_that_can_be(
    rig: Rig, doubted: Order, word: str, state: S
) -> None:
    mark(rig, doubted, state, word)
    assert rig.state_of(doubted) is S.IN_DOUBT
    assert len(refusals(rig)) == 1


def test_only_an_order_in_doubt_is_marked(rig: Rig, resting: Order) -> None:
    mark(rig, resting)
    assert rig.state_of(resting) is S.ACCEPTED
    assert len(refusals(rig)) == 1


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("fills", [0, 10])
@pytest.mark.parametrize("state", [S.CANCELED, S.REJECTED, S.ABANDONED])
def test_a_marked_order_that_turns_up_is_known_again_and_cancelled(
    rig: Rig, doubted: Order, state: S, fills: int, restart: bool
) -> None:
    mark(rig, doubted, state)
    if restart:
        rig = Rig(restored=rig.durable(), void=VENUE, audited=False)
    effects = rig.fill(doubted, fills) if fills else rig.report(doubted, S.ACCEPTED)
    assert len(effects_of(effects, CancelOrder)) == 1
    assert rig.state_of(doubted) is S.PENDING_CANCEL
    assert rig.position().quantity == fills
    rig.report(doubted, S.CANCELED)
    assert rig.report(doubted, S.ACCEPTED) == [], "now the venue has said"


def test_a_doubt_that_lasts_alerts_once(rig: Rig, doubted: Order) -> None:
    for _ in range(130):
        rig.tick()
    (fact,) = rig.facts(OrderOverdue)
    assert fact.ts - doubted.created_ts == 120 * 10**9
    rig.report(doubted, S.ACCEPTED)
    rig.send(OrderNotFound(doubted.client_order_id))
    for _ in range(130):
        rig.tick()
    assert len(rig.facts(OrderOverdue)) == 2, "another doubt"


# --- external ------------------------------------------------------------------------------------

STRANGER = Order(
    "by-hand-1",
    "whoever",
    "ACME",
    Side.SELL,
    OrderType.LIMIT,
    Decimal(7),
    OrderPurpose.EXTERNAL,
    START,
    START,
    Decimal(120),
    limit_price=Decimal(120),
    state=S.ACCEPTED,
    venue_order_id="v-7",
)


@pytest.fixture
def adopted(rig: Rig) -> Order:
    rig.machine.orders.adopt(STRANGER)
    rig.tick()
    return rig.now_of(STRANGER)


def test_an_order_that_is_not_ours_is_shown_and_its_fills_are_external(
    rig: Rig, adopted: Order
) -> None:
    assert adopted.strategy == EXTERNAL
    assert [fact.order for fact in rig.facts(OrderAdopted)] == [adopted]
    assert not rig.machine.orders.adopt(STRANGER)
    rig.fill(adopted, 7, 120, state=S.FILLED)
    assert rig.state_of(adopted) is S.FILLED
    assert rig.position(EXTERNAL).quantity == -7
    assert rig.position().quantity == 0
    rig.quote(100)
    assert measure(rig.machine.portfolio, ()).exposure([STRANGER.symbol]) == 700
    assert rig.submits() == [], "nobody acts on it"


def test_an_external_order_is_cancelled_by_hand_and_by_the_kill_switch(
    rig: Rig, adopted: Order
) -> None:
    effects = rig.kill()
    assert [e.order.client_order_id for e in effects_of(effects, CancelOrder)] == ["by-hand-1"]
    rig = Rig(void=VENUE)
    rig.machine.orders.adopt(STRANGER)
    rig.tick()
    assert len(effects_of(rig.request_cancel(STRANGER), CancelOrder)) == 1


def test_an_external_order_that_turns_up_after_the_kill_is_cancelled(rig: Rig) -> None:
    rig.kill()
    rig.fill(STRANGER, 3, 120, symbol=ACME.symbol)
    rig.machine.orders.adopt(replace(STRANGER, client_order_id="by-hand-2"))
    effects = rig.tick()
    assert [e.order.client_order_id for e in effects_of(effects, CancelOrder)] == ["by-hand-2"]
