"""Orders: what a venue may say, in whatever order, how often, and how late."""

import re
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import (
    BrokerChanged,
    CancelOrder,
    CancelRejected,
    CommandRefused,
    CommitIntent,
    DuplicateRefused,
    FillQuarantined,
    IntentCommitted,
    IntentFailed,
    KillPart,
    LateFill,
    OrderAbandoned,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderCancelRejected,
    OrderEvent,
    OrderFilled,
    OrderInDoubt,
    OrderIntended,
    OrderNotFound,
    OrderPartiallyFilled,
    OrderPendingCancel,
    OrderRejected,
    OrderSubmitted,
    QueryOrder,
    RequestCancel,
    Restored,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    EXTERNAL,
    NANOS,
    Fill,
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Part,
    Scope,
    Side,
)
from engine.core.orders import FINAL_ORDERS_KEPT, client_order_id
from tests.core.rig import ACME, BOUNDED, COIN, Rig, effects_of, facts_of

S = OrderState
CASH = Decimal(100_000)
VENUE = {SubmitOrder, CancelOrder, QueryOrder}


@pytest.fixture
def rig() -> Rig:
    """A machine whose requests no exchange answers: the test is the venue."""
    return Rig(void=VENUE)


@pytest.fixture
def sent(rig: Rig) -> Order:
    """An entry of 49 that has left; nobody has answered yet."""
    order = rig.buy()
    assert rig.state_of(order) is S.SUBMITTED
    return order


@pytest.fixture
def resting(rig: Rig, sent: Order) -> Order:
    """An entry of 49 that the venue has accepted."""
    rig.report(sent, S.ACCEPTED)
    return sent


@pytest.fixture
def doubted(rig: Rig, sent: Order) -> Order:
    """An entry of 49 whose submit got no answer."""
    rig.send(SubmitFailed(sent.client_order_id, True, "connection reset"))
    assert rig.state_of(sent) is S.IN_DOUBT
    return sent


# --- client order ids ----------------------------------------------------------------------------


@BOUNDED
@given(st.lists(st.text(), min_size=1))
def test_a_client_order_id_fits_the_strictest_venue(parts: list[str]) -> None:
    assert re.fullmatch(r"tb-[a-z0-9-]{15}", client_order_id(*parts))


def test_a_client_order_id_follows_from_its_decision_alone() -> None:
    parts = ("sma_crossover", "BTC-USD", Side.BUY, 1_522_836_000 * 10**9, "2018-04-04")
    assert client_order_id(*parts) == "tb-8f131c16c20aee0"
    others = {client_order_id(*parts[:n], "other", *parts[n + 1 :]) for n in range(len(parts))}
    assert len(others | {client_order_id(*parts)}) == len(parts) + 1


def test_the_same_signal_makes_the_same_id_in_another_session() -> None:
    assert Rig().buy().client_order_id == Rig().buy().client_order_id


# --- on its way ----------------------------------------------------------------------------------


def test_an_order_goes_from_intent_to_submit_to_accepted_to_filled(rig: Rig) -> None:
    rig.hold = {CommitIntent}
    order = rig.buy()
    assert (order.state, order.filled) == (S.INTENDED, 0)
    rig.release()
    assert rig.state_of(order) is S.SUBMITTED
    rig.report(order, S.ACCEPTED)
    assert rig.state_of(order) is S.ACCEPTED
    rig.fill(order, 20, 100)
    rig.fill(order, 29, 101, state=S.FILLED)
    done = rig.now_of(order)
    assert (done.state, done.filled, done.leaves) == (S.FILLED, 49, 0)
    assert done.avg_price == (20 * Decimal(100) + 29 * Decimal(101)) / 49
    assert done.venue_order_id == f"venue-{order.client_order_id}"
    mine = [f for f in rig.facts(OrderEvent) if f.order.client_order_id == order.client_order_id]
    assert [type(fact) for fact in mine] == [
        OrderIntended,
        OrderSubmitted,
        OrderAccepted,
        OrderPartiallyFilled,
        OrderFilled,
    ]


def test_an_intent_that_is_committed_twice_is_sent_once(rig: Rig, sent: Order) -> None:
    effects = rig.send(IntentCommitted(sent.client_order_id))
    assert effects_of(effects, SubmitOrder) == []


@pytest.mark.parametrize("answer", [IntentCommitted("tb-nobody"), IntentFailed("tb-nobody", "x")])
def test_an_answer_about_an_unknown_intent_does_nothing(
    rig: Rig, answer: IntentCommitted | IntentFailed
) -> None:
    assert rig.send(answer) == []


def test_an_intent_that_is_not_durable_does_not_leave(rig: Rig) -> None:
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.send(IntentFailed(order.client_order_id, "disk \x1b full"))
    assert rig.now_of(order).reason == "not sent: disk   full"
    assert rig.state_of(order) is S.CANCELED
    rig.send(IntentCommitted(order.client_order_id))
    assert rig.submits() == []


def test_a_decision_that_the_database_knows_makes_no_second_order(rig: Rig) -> None:
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.send(IntentFailed(order.client_order_id, "was made before", duplicate=True))
    assert rig.orders == {}
    assert [f.order.client_order_id for f in rig.facts(DuplicateRefused)] == [order.client_order_id]
    rig.release()
    assert rig.submits() == []


def test_a_decision_that_is_known_here_makes_no_second_order(rig: Rig) -> None:
    for side in (Side.BUY, Side.SELL, Side.BUY):
        rig.wish(side, ts=1)
        rig.quote(100)
        rig.hold = {CommitIntent}
    assert len(rig.of(OrderPurpose.ENTRY)) == 1


def test_an_answer_about_an_intent_that_has_left_changes_nothing(rig: Rig, resting: Order) -> None:
    for duplicate in (True, False):
        rig.send(IntentFailed(resting.client_order_id, "late", duplicate=duplicate))
        assert rig.state_of(resting) is S.ACCEPTED


def test_a_rejected_order_says_why_in_harmless_text(rig: Rig, sent: Order) -> None:
    rig.report(sent, S.REJECTED, reason="no [/money] \x9b")
    (fact,) = rig.facts(OrderRejected)
    assert fact.order.reason == "no (/money)  "
    assert rig.open == []


def test_a_venue_may_reject_after_it_accepted(rig: Rig, resting: Order) -> None:
    rig.report(resting, S.REJECTED)
    assert rig.state_of(resting) is S.REJECTED


@pytest.mark.parametrize("state", [S.CANCELED, S.EXPIRED])
def test_a_venue_may_end_an_order_by_itself(rig: Rig, resting: Order, state: S) -> None:
    rig.fill(resting, 10)
    rig.report(resting, state)
    assert (rig.state_of(resting), rig.now_of(resting).filled) == (state, 10)


def test_an_acknowledgement_after_the_end_changes_nothing(rig: Rig, resting: Order) -> None:
    rig.report(resting, S.CANCELED)
    assert rig.report(resting, S.ACCEPTED) == []
    assert rig.state_of(resting) is S.CANCELED


def test_a_venue_says_the_same_thing_twice(rig: Rig, resting: Order) -> None:
    assert rig.report(resting, S.ACCEPTED) == []
    rig.report(resting, S.CANCELED)
    assert rig.report(resting, S.CANCELED) == []
    assert len(rig.facts(OrderCanceled)) == 1


# --- fills ---------------------------------------------------------------------------------------


def test_a_fill_before_the_acknowledgement_counts_at_once(rig: Rig, sent: Order) -> None:
    rig.fill(sent, 10)
    assert (rig.state_of(sent), rig.position().quantity) == (S.PARTIALLY_FILLED, 10)
    rig.report(sent, S.ACCEPTED)
    assert rig.state_of(sent) is S.PARTIALLY_FILLED
    rig.fill(sent, 39, state=S.FILLED)
    rig.report(sent, S.ACCEPTED)
    assert rig.state_of(sent) is S.FILLED


def test_an_execution_counts_once_however_often_it_is_reported(rig: Rig, resting: Order) -> None:
    for _ in range(5):
        rig.fill(resting, 10, execution_id="x-1")
    assert (rig.now_of(resting).filled, rig.position().quantity) == (10, 10)


@pytest.mark.parametrize(
    "sequence", list(permutations([(10, 100, "a"), (20, 101, "b"), (19, 99, "c")]))
)
def test_fills_give_the_same_order_in_whatever_order_they_come(
    rig: Rig, resting: Order, sequence: tuple[tuple[int, int, str], ...]
) -> None:
    for quantity, price, execution_id in sequence:
        rig.fill(resting, quantity, price, execution_id)
    done = rig.now_of(resting)
    assert (done.state, done.filled) == (S.FILLED, 49)
    assert done.avg_price is not None
    assert abs(done.avg_price - Decimal(4901) / 49) < Decimal("1e-20")
    assert rig.position().cost == 4901


def test_a_fill_after_the_cancel_was_confirmed_still_counts(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 10)
    rig.report(resting, S.CANCELED)
    rig.fill(resting, 5)
    assert (rig.state_of(resting), rig.now_of(resting).filled) == (S.CANCELED, 15)
    assert rig.position().quantity == 15
    assert [fact.fill.quantity for fact in rig.facts(LateFill)] == [Decimal(5)]


@pytest.mark.parametrize("state", [S.CANCELED, S.EXPIRED, S.REJECTED])
def test_an_order_that_turns_out_to_be_filled_whole_is_filled(
    rig: Rig, resting: Order, state: S
) -> None:
    rig.report(resting, state)
    rig.fill(resting, 49, state=S.FILLED)
    assert rig.state_of(resting) is S.FILLED
    assert rig.position().quantity == 49


def test_one_report_may_tell_of_a_fill_and_of_the_end(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 10, state=S.CANCELED)
    assert (rig.state_of(resting), rig.now_of(resting).filled) == (S.CANCELED, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": Decimal(0)},
        {"price": Decimal(-1)},
        {"price": Decimal("NaN")},
        {"price": Decimal("Infinity")},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal(50)},
        {"commission": Decimal("NaN")},
        {"commission_quantity": Decimal("NaN")},
        {"commission_quantity": Decimal("-0.1")},
        {"commission_quantity": Decimal(1000)},
        {"symbol": "COIN"},
        {"side": Side.SELL},
    ],
    ids=str,
)
def test_an_execution_that_makes_no_sense_leaves_the_ledger_alone(
    rig: Rig, resting: Order, wrong: dict[str, Any]
) -> None:
    execution: dict[str, Any] = {"quantity": 10} | wrong
    rig.fill(resting, **execution)
    assert len(rig.facts(FillQuarantined)) == 1
    assert (rig.now_of(resting).filled, rig.cash) == (0, CASH)
    assert not rig.killed
    rig.fill(resting, 49)
    assert rig.state_of(resting) is S.FILLED


def test_an_execution_of_an_order_that_is_not_ours_is_external(rig: Rig) -> None:
    order = Rig().buy()
    rig.fill(order, 10, execution_id="x-1")
    rig.fill(order, 10, execution_id="x-1")
    rig.fill(order, 5, execution_id="x-2")
    (adopted,) = rig.facts(OrderAdopted)
    assert (adopted.order.purpose, adopted.order.strategy) == (OrderPurpose.EXTERNAL, EXTERNAL)
    assert rig.position(EXTERNAL).quantity == 15
    assert rig.position().quantity == 0
    assert rig.cash == CASH - 1500
    assert rig.now_of(order).filled == 15
    assert rig.report("tb-nobody", S.ACCEPTED) == []


def test_executions_that_name_no_order_are_of_the_one_with_the_venues_id() -> None:
    rig = Rig()
    rig.quote(100)
    nameless = replace(Rig().buy(), client_order_id="")
    for execution_id in ("x-1", "x-2"):
        rig.fill(nameless, 10, execution_id=execution_id)
    (adopted,) = rig.facts(OrderAdopted)
    assert adopted.order.client_order_id == client_order_id(EXTERNAL, "ACME", "venue-")
    assert rig.position(EXTERNAL).quantity == 20


def test_the_id_of_a_venue_is_of_one_symbol_alone() -> None:
    """Binance counts the orders of each symbol by itself."""
    rig = Rig(audited=False, instruments=[ACME, COIN])
    nameless = replace(Rig().buy(), client_order_id="")
    for symbol, execution_id in (("ACME", "x-1"), ("COIN", "x-2")):
        rig.fill(replace(nameless, symbol=symbol), 10, execution_id=execution_id, venue="7")
    assert [fact.order.symbol for fact in rig.facts(OrderAdopted)] == ["ACME", "COIN"]
    assert rig.position(EXTERNAL).quantity == rig.position(EXTERNAL, "COIN").quantity == 10


def test_an_execution_that_names_no_order_is_ours_where_the_venues_id_is() -> None:
    # The laws know orders by our id alone.
    rig = Rig(audited=False, instruments=[ACME, COIN], void=VENUE)
    order = rig.buy()
    rig.report(order, S.ACCEPTED)
    nameless = replace(order, client_order_id="")
    named = f"venue-{order.client_order_id}"
    for symbol, execution_id in (("ACME", "x-1"), ("COIN", "x-2")):
        rig.fill(replace(nameless, symbol=symbol), 10, execution_id=execution_id, venue=named)
    assert rig.now_of(order).filled == 10
    assert (rig.position().quantity, rig.position(EXTERNAL, "COIN").quantity) == (10, 10)


def test_an_execution_that_counted_makes_no_second_order_under_another_name(rig: Rig) -> None:
    order = Rig().buy()
    rig.fill(order, 10, execution_id="x-1")
    rig.fill(replace(order, client_order_id="tb-other"), 10, execution_id="x-1")
    assert [f.order.client_order_id for f in rig.facts(OrderAdopted)] == [order.client_order_id]


@pytest.mark.parametrize(
    ("terms", "kind", "quantity"),
    [
        (None, OrderType.MARKET, 10),
        (OrderTerms(Decimal(30), Decimal(101)), OrderType.LIMIT, 30),
        (OrderTerms(Decimal(30)), OrderType.MARKET, 30),
        (OrderTerms(Decimal("NaN"), Decimal(101)), OrderType.MARKET, 10),
    ],
)
def test_an_external_order_is_what_the_venue_says_of_it(
    rig: Rig, terms: OrderTerms | None, kind: OrderType, quantity: int
) -> None:
    order = Rig().buy()
    fill = Fill("x-1", "", "ACME", Side.BUY, Decimal(10), Decimal(100), Decimal(0), rig.now)
    rig.report(order, S.PARTIALLY_FILLED, fill=fill, terms=terms)
    (adopted,) = rig.facts(OrderAdopted)
    assert (adopted.order.type, adopted.order.quantity) == (kind, quantity)
    assert adopted.order.limit_price == (Decimal(101) if kind is OrderType.LIMIT else None)


@pytest.mark.parametrize(
    "wrong", [{"symbol": "NOPE"}, {"price": Decimal(0)}, {"quantity": Decimal("NaN")}], ids=str
)
def test_an_execution_of_no_order_that_makes_no_sense_is_quarantined(
    rig: Rig, wrong: dict[str, Any]
) -> None:
    execution: dict[str, Any] = {"quantity": 10} | wrong
    rig.fill(Rig().buy(), **execution)
    assert len(rig.facts(FillQuarantined)) == 1
    assert (rig.orders, rig.cash) == ({}, CASH)


def test_a_venue_that_has_filled_more_than_we_know_is_asked(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 20, execution_id="second", state=S.FILLED)
    assert rig.state_of(resting) is S.IN_DOUBT
    assert rig.position().quantity == 20
    assert [e.order.client_order_id for e in effects_of(rig.tick(), QueryOrder)] == [
        resting.client_order_id
    ]
    rig.fill(resting, 29, execution_id="first")
    assert rig.state_of(resting) is S.FILLED


def test_a_venue_that_says_filled_without_an_execution_is_asked(rig: Rig, sent: Order) -> None:
    rig.report(sent, S.FILLED)
    assert rig.state_of(sent) is S.IN_DOUBT
    assert rig.position().quantity == 0
    rig.report(sent, S.PARTIALLY_FILLED)
    assert rig.state_of(sent) is S.ACCEPTED, "what it has filled is not known yet"


# --- in doubt ------------------------------------------------------------------------------------


def test_a_submit_without_an_answer_is_in_doubt_after_the_time_out(rig: Rig, sent: Order) -> None:
    rig.tick(4.9)
    assert rig.state_of(sent) is S.SUBMITTED
    effects = rig.tick(0.1)
    assert rig.state_of(sent) is S.IN_DOUBT
    assert len(effects_of(effects, QueryOrder)) == 1
    assert effects_of(effects, SubmitOrder) == []


def test_a_venues_id_alone_is_no_answer_to_a_submit(rig: Rig, sent: Order) -> None:
    rig.tick(3)
    rig.report(sent, S.INTENDED)
    rig.tick(2)
    assert rig.state_of(sent) is S.IN_DOUBT


def test_a_submit_that_failed_without_an_answer_is_in_doubt(rig: Rig, doubted: Order) -> None:
    (fact,) = rig.facts(OrderInDoubt)
    assert fact.order.reason == "connection reset"
    assert rig.count(QueryOrder) == 1
    assert rig.open == [rig.now_of(doubted)]


def test_a_submit_that_never_left_is_not_in_doubt(rig: Rig, sent: Order) -> None:
    rig.send(SubmitFailed(sent.client_order_id, False, "connection refused"))
    assert rig.now_of(sent).reason == "not sent: connection refused"
    assert rig.state_of(sent) is S.CANCELED


@pytest.mark.parametrize("in_doubt", [True, False])
def test_a_failed_submit_of_an_order_that_the_venue_has_changes_nothing(
    rig: Rig, resting: Order, in_doubt: bool
) -> None:
    rig.send(SubmitFailed(resting.client_order_id, in_doubt, "no answer in time"))
    assert rig.state_of(resting) is S.ACCEPTED
    rig.fill(resting, 49, state=S.FILLED)
    rig.send(SubmitFailed(resting.client_order_id, in_doubt, "no answer in time"))
    rig.send(SubmitFailed("tb-nobody", in_doubt, "no answer in time"))
    assert rig.state_of(resting) is S.FILLED
    assert not rig.killed


def test_an_order_in_doubt_is_asked_about_again_and_again(rig: Rig, doubted: Order) -> None:
    asked = sum(len(effects_of(rig.tick(0.25), QueryOrder)) for _ in range(40))
    assert asked == 5, "every two seconds"


@pytest.mark.parametrize(
    ("state", "then"),
    [(S.ACCEPTED, S.ACCEPTED), (S.REJECTED, S.REJECTED), (S.CANCELED, S.CANCELED)],
)
def test_a_doubt_ends_when_the_venue_says(rig: Rig, doubted: Order, state: S, then: S) -> None:
    rig.report(doubted, state)
    assert rig.state_of(doubted) is then


def test_a_doubt_ends_with_a_fill(rig: Rig, doubted: Order) -> None:
    rig.fill(doubted, 49, state=S.FILLED)
    assert rig.state_of(doubted) is S.FILLED
    assert rig.position().quantity == 49


def test_a_late_answer_to_the_submit_ends_the_doubt_too(rig: Rig, sent: Order) -> None:
    rig.tick(60)
    rig.report(sent, S.ACCEPTED)
    assert rig.state_of(sent) is S.ACCEPTED


def test_not_found_is_believed_only_after_the_venues_lag(rig: Rig, doubted: Order) -> None:
    rig.tick(29)
    rig.send(OrderNotFound(doubted.client_order_id))
    assert rig.state_of(doubted) is S.IN_DOUBT
    rig.tick(1)
    rig.send(OrderNotFound(doubted.client_order_id))
    assert rig.state_of(doubted) is S.ABANDONED
    assert len(rig.facts(OrderAbandoned)) == 1
    assert rig.open == []


def test_not_found_right_after_the_submit_means_nothing(rig: Rig, sent: Order) -> None:
    assert rig.send(OrderNotFound(sent.client_order_id)) == []
    assert rig.state_of(sent) is S.SUBMITTED


def test_not_found_is_believed_only_of_an_order_that_is_asked_about(rig: Rig, sent: Order) -> None:
    rig.now += 60 * NANOS  # no tick: nobody looked yet
    rig.send(OrderNotFound(sent.client_order_id))
    rig.send(OrderNotFound("tb-nobody"))
    assert rig.state_of(sent) is S.SUBMITTED
    assert not rig.killed


def test_a_venue_that_needs_longer_to_show_an_order_is_waited_for(rig: Rig, doubted: Order) -> None:
    able = replace(CAPABILITIES, visibility_lag=90 * NANOS)
    rig.send(BrokerChanged("paper", True, capabilities=able))
    for seconds, state in ((89, S.IN_DOUBT), (1, S.ABANDONED)):
        rig.tick(seconds)
        rig.send(OrderNotFound(doubted.client_order_id))
        assert rig.state_of(doubted) is state


def test_an_open_order_that_the_venue_no_longer_knows_is_in_doubt(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 10)
    rig.send(OrderNotFound(resting.client_order_id))
    assert rig.state_of(resting) is S.IN_DOUBT
    rig.report(resting, S.ACCEPTED)
    assert rig.state_of(resting) is S.PARTIALLY_FILLED
    assert not rig.killed


@pytest.mark.parametrize("fills", [0, 10])
def test_an_abandoned_order_that_turns_up_is_cancelled(
    rig: Rig, doubted: Order, fills: int
) -> None:
    rig.tick(30)
    rig.send(OrderNotFound(doubted.client_order_id))
    effects = rig.fill(doubted, fills) if fills else rig.report(doubted, S.ACCEPTED)
    assert [e.order.client_order_id for e in effects_of(effects, CancelOrder)] == [
        doubted.client_order_id
    ]
    assert rig.state_of(doubted) is S.PENDING_CANCEL
    assert rig.position().quantity == fills


def test_an_abandoned_order_that_turns_out_to_be_filled_counts(rig: Rig, doubted: Order) -> None:
    rig.tick(30)
    rig.send(OrderNotFound(doubted.client_order_id))
    rig.fill(doubted, 49, state=S.FILLED)
    assert (rig.state_of(doubted), rig.position().quantity) == (S.FILLED, 49)


# --- cancels -------------------------------------------------------------------------------------


def test_a_cancel_is_pending_until_the_venue_confirms(rig: Rig, resting: Order) -> None:
    rig.send(RequestCancel(client_order_id=resting.client_order_id, author="me\x00"))
    (fact,) = rig.facts(OrderPendingCancel)
    assert fact.order.reason == "asked for by me "
    assert rig.count(CancelOrder) == 1
    rig.report(resting, S.CANCELED)
    assert rig.state_of(resting) is S.CANCELED


def test_an_order_that_was_cancelled_says_why_where_the_venue_does_not(
    rig: Rig, resting: Order
) -> None:
    rig.send(RequestCancel(client_order_id=resting.client_order_id, author="me"))
    rig.report(resting, OrderState.CANCELED)
    (canceled,) = rig.facts(OrderCanceled)
    assert canceled.order.reason == "asked for by me"


def test_the_cancel_of_an_unknown_order_is_refused(rig: Rig) -> None:
    rig.send(RequestCancel(client_order_id="tb-nobody"))
    assert [fact.command for fact in rig.facts(CommandRefused)] == ["RequestCancel"]


def test_an_intent_that_has_not_left_is_cancelled_here(rig: Rig) -> None:
    rig.hold = {CommitIntent}
    order = rig.buy()
    effects = rig.send(RequestCancel(client_order_id=order.client_order_id, author="me"))
    assert rig.state_of(order) is S.CANCELED
    assert effects_of(effects, CancelOrder) == []
    rig.release()
    assert rig.submits() == []


def cancel(rig: Rig, order: Order) -> list[CancelOrder]:
    request = RequestCancel(client_order_id=order.client_order_id, author="me")
    return effects_of(rig.send(request), CancelOrder)


@pytest.mark.parametrize("part", [None, Part(Scope.SYMBOL, "ACME")])
def test_a_kill_that_leaves_open_orders_lets_none_leave_that_waits_at_its_adapter(
    rig: Rig, sent: Order, part: Part | None
) -> None:
    is_wanted = rig.machine.orders.is_wanted
    assert is_wanted(sent.client_order_id)
    if part is None:
        rig.kill(KillAction.STOP)
    else:
        rig.send(KillPart(part=part, source="key", action=KillAction.STOP))
    assert rig.state_of(sent) is S.SUBMITTED
    assert not is_wanted(sent.client_order_id)


def test_a_kill_that_flattens_lets_the_exits_leave() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {SubmitOrder}
    rig.kill(KillAction.FLATTEN)
    leaving = rig.last(OrderPurpose.EXIT)
    assert rig.state_of(leaving) is S.SUBMITTED
    assert rig.machine.orders.is_wanted(leaving.client_order_id)


def test_a_cancel_that_loses_the_race_to_the_fill(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    rig.send(CancelRejected(resting.client_order_id, "already filled"))
    assert rig.state_of(resting) is S.PENDING_CANCEL, "never taken for cancelled"
    rig.fill(resting, 49, state=S.FILLED)
    assert (rig.state_of(resting), rig.position().quantity) == (S.FILLED, 49)


def test_a_rejected_cancel_has_the_venue_asked(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    effects = rig.send(CancelRejected(resting.client_order_id, "no answer"))
    assert len(effects_of(effects, QueryOrder)) == 1
    effects = rig.send(CancelRejected(resting.client_order_id, "no connection", sent=False))
    assert not effects_of(effects, QueryOrder), "nothing got there that could have changed it"
    assert rig.facts(OrderCancelRejected)[-1].reason == "no connection"


def test_a_refused_cancel_is_told_once_for_each_reason(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    for reason in ("unknown order", "unknown order", "auction\n"):
        rig.send(CancelRejected(resting.client_order_id, reason))
    told = rig.facts(OrderCancelRejected)
    assert [fact.reason for fact in told] == ["unknown order", "auction "]
    assert rig.machine.orders.refused == {resting.client_order_id: told[-1].reason}
    rig.fill(resting, 49, state=S.FILLED)
    rig.send(CancelRejected(resting.client_order_id, "already filled"))
    assert rig.facts(OrderCancelRejected) == told, "it has ended: there is nothing to tell"
    assert rig.machine.orders.refused == {}


def test_a_cancel_is_asked_again_once_a_second_until_confirmed(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    asked = sum(len(effects_of(rig.tick(0.25), CancelOrder)) for _ in range(16))
    assert asked == 4
    rig.report(resting, S.CANCELED)
    assert effects_of(rig.tick(1), CancelOrder) == []


def test_a_venue_that_refuses_cancels_is_not_stormed(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    for _ in range(10):
        rig.send(CancelRejected(resting.client_order_id, "auction"))
        rig.report(resting, S.ACCEPTED)
    assert rig.count(CancelOrder) == 1


def test_a_cancel_without_an_answer_for_long_has_the_venue_asked(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    asked = [len(effects_of(rig.tick(), QueryOrder)) for _ in range(6)]
    assert asked == [0, 0, 0, 0, 1, 1]


def test_a_partial_fill_while_the_cancel_is_pending(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    rig.fill(resting, 10)
    assert rig.state_of(resting) is S.PENDING_CANCEL
    rig.report(resting, S.CANCELED)
    assert (rig.state_of(resting), rig.now_of(resting).filled) == (S.CANCELED, 10)


def test_an_order_in_flight_is_cancelled_again_as_soon_as_it_is_known(
    rig: Rig, sent: Order
) -> None:
    assert len(cancel(rig, sent)) == 1
    rig.send(CancelRejected(sent.client_order_id, "unknown order"))
    effects = rig.report(sent, S.ACCEPTED)
    assert len(effects_of(effects, CancelOrder)) == 1
    assert rig.state_of(sent) is S.PENDING_CANCEL


@pytest.mark.parametrize("in_doubt", [True, False])
def test_an_order_in_flight_whose_submit_fails_after_the_cancel(
    rig: Rig, sent: Order, in_doubt: bool
) -> None:
    cancel(rig, sent)
    effects = rig.send(SubmitFailed(sent.client_order_id, in_doubt, "reset"))
    assert rig.state_of(sent) is (S.PENDING_CANCEL if in_doubt else S.CANCELED)
    assert len(effects_of(effects, QueryOrder)) == in_doubt


def test_a_cancelled_order_that_the_venue_never_had_is_abandoned(rig: Rig, sent: Order) -> None:
    cancel(rig, sent)
    rig.tick(29)
    rig.send(OrderNotFound(sent.client_order_id))
    assert rig.state_of(sent) is S.PENDING_CANCEL
    rig.tick(1)
    rig.send(OrderNotFound(sent.client_order_id))
    assert rig.state_of(sent) is S.ABANDONED


def test_an_order_in_doubt_is_cancelled_now_and_when_it_is_known(rig: Rig, doubted: Order) -> None:
    assert len(cancel(rig, doubted)) == 1
    assert rig.state_of(doubted) is S.IN_DOUBT
    effects = rig.report(doubted, S.ACCEPTED)
    assert len(effects_of(effects, CancelOrder)) == 1
    assert rig.state_of(doubted) is S.PENDING_CANCEL


def test_the_cancel_of_a_final_order_is_refused(rig: Rig, resting: Order) -> None:
    rig.report(resting, S.CANCELED)
    assert cancel(rig, resting) == []
    assert len(rig.facts(CommandRefused)) == 1


# --- restart -------------------------------------------------------------------------------------


def restarted(rig: Rig) -> Rig:
    """The next session, on what a database would have; the venue says nothing by itself."""
    return Rig(restored=rig.durable(), started=False, void=VENUE)


def asked_at_start(rig: Rig) -> dict[type, list[str]]:
    asked: dict[type, list[str]] = {}
    for effect in rig.effects:
        if isinstance(effect, QueryOrder | CancelOrder | SubmitOrder):
            asked.setdefault(type(effect), []).append(effect.order.client_order_id)
    return asked


@pytest.mark.parametrize("committed", [False, True])
def test_an_intent_of_a_former_session_may_have_left(rig: Rig, committed: bool) -> None:
    if not committed:
        rig.hold = {CommitIntent}
    order = rig.buy()
    after = restarted(rig)
    assert after.state_of(order) is S.IN_DOUBT
    assert asked_at_start(after) == {QueryOrder: [order.client_order_id]}


def test_an_order_that_was_open_is_asked_about(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 10)
    after = restarted(rig)
    assert after.state_of(resting) is S.PARTIALLY_FILLED
    assert resting.client_order_id in asked_at_start(after)[QueryOrder]


def test_a_cancel_that_was_pending_is_asked_again(rig: Rig, resting: Order) -> None:
    cancel(rig, resting)
    after = restarted(rig)
    assert asked_at_start(after) == {CancelOrder: [resting.client_order_id]}


def test_an_order_that_had_ended_is_not_asked_about(rig: Rig, resting: Order) -> None:
    rig.fill(resting, 49, state=S.FILLED)
    rig.report(rig.last(OrderPurpose.PROTECTIVE_STOP), S.CANCELED)
    ended = tuple(order for order in rig.durable().orders if not order.is_open)
    after = Rig(restored=Restored({"paper": CASH}, orders=ended), void=VENUE, started=False)
    assert (len(ended), after.count(QueryOrder)) == (2, 0)


def test_an_order_that_had_ended_stays_so_and_its_id_is_taken(rig: Rig, sent: Order) -> None:
    rig.report(sent, S.REJECTED)
    after = restarted(rig)
    after.start()
    assert after.state_of(sent) is S.REJECTED
    assert after.buy().client_order_id == sent.client_order_id
    assert after.submits() == []


# --- memory --------------------------------------------------------------------------------------


def test_old_final_orders_are_forgotten_and_open_ones_never(rig: Rig) -> None:
    first = rig.buy()
    template = rig.now_of(first)
    book = rig.machine.orders
    rig.audit = None
    orders = tuple(
        Order(
            f"tb-{n}",
            "puppet",
            "ACME",
            Side.BUY,
            template.type,
            Decimal(1),
            OrderPurpose.ENTRY,
            n,
            n,
            Decimal(1),
            state=S.CANCELED,
        )
        for n in range(FINAL_ORDERS_KEPT + 10)
    )
    rig.send(Restored({"paper": CASH}, orders=orders))
    assert first.client_order_id in book.orders
    assert len(book.orders) == FINAL_ORDERS_KEPT + 1
    assert "tb-9" not in book.orders
    assert "tb-10" in book.orders
    assert facts_of(rig.tick(), OrderCanceled) == []
