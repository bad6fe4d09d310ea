"""The circuit breaker: after five failures in a row no new risk is taken, until a person resets."""

from typing import Any

import pytest

from engine.core.events import (
    BrokerChanged,
    CircuitBreakerCounted,
    CircuitBreakerReset,
    CircuitBreakerState,
    CircuitBreakerTripped,
    CommandRefused,
    CommitIntent,
    KillSwitchTriggered,
    QueryOrder,
    ResetCircuitBreaker,
    Restored,
    ResumeSymbol,
    SignalBlocked,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import NANOS, Order, OrderPurpose, OrderState, Side
from engine.core.safety import SafetyRules
from tests.core.rig import Rig

S = OrderState


def submitting(failures: int = 5, **rules: Any) -> Rig:
    """A rig whose submits go nowhere: what becomes of them is the test's to say."""
    safety = SafetyRules(breaker_failures=failures, **rules)
    return Rig(void={SubmitOrder, QueryOrder}, safety=safety)


def buy(rig: Rig) -> Order:
    """A strategy that is refused wants out before it wants in again; and a person has it go on in
    the symbol that the refusal paused."""
    if rig.machine.pauses.objection("ACME"):
        rig.send(ResumeSymbol(symbol="ACME", author="me"))
    rig.signal(Side.SELL)
    return rig.buy()


def reject(rig: Rig, reason: str = "no margin") -> None:
    rig.report(buy(rig), S.REJECTED, reason=reason)


def state(rig: Rig) -> CircuitBreakerState:
    return rig.machine.state()["breaker"]


def reset(rig: Rig, word: str = "RESET") -> None:
    rig.send(ResetCircuitBreaker(word=word, author="me"))


# --- tripping ------------------------------------------------------------------------------------


def test_five_rejections_in_a_row_trip_it_and_not_four() -> None:
    rig = submitting()
    for _ in range(4):
        reject(rig)
    assert (state(rig).failures, state(rig).tripped) == (4, False)
    assert rig.facts(CircuitBreakerTripped) == []
    reject(rig, "halted")
    (fact,) = rig.facts(CircuitBreakerTripped)
    assert fact.reason == "5 failures in a row, the last: halted"
    assert state(rig) == CircuitBreakerState(5, True, fact.reason, rig.now)
    assert [f.failures for f in rig.facts(CircuitBreakerCounted)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("in_doubt", [True, False])
def test_a_submit_without_an_answer_is_a_failure(in_doubt: bool) -> None:
    """Whether the venue can have it or not; and one submit is one failure."""
    rig = submitting(1)
    order = rig.buy()
    rig.send(SubmitFailed(order.client_order_id, in_doubt, "\x1b connection reset"))
    assert len(rig.facts(CircuitBreakerCounted)) == 1
    assert "connection reset" in state(rig).reason
    assert "\x1b" not in state(rig).reason


def test_a_submit_that_nobody_answers_is_a_failure_once() -> None:
    rig = submitting()
    rig.buy()
    rig.tick(6)
    rig.tick(6)
    assert [f.failures for f in rig.facts(CircuitBreakerCounted)] == [1]


@pytest.mark.parametrize("accepted_by", [S.ACCEPTED, S.FILLED])
def test_a_success_starts_the_count_anew(accepted_by: OrderState) -> None:
    rig = submitting(2)
    reject(rig)
    order = buy(rig)
    if accepted_by is S.FILLED:
        rig.fill(order, order.quantity, state=S.FILLED)
        rig.report(rig.last(OrderPurpose.PROTECTIVE_STOP), S.REJECTED)
    else:
        rig.report(order, S.ACCEPTED)
        rig.report(order, S.CANCELED)
        reject(rig)
    assert [f.failures for f in rig.facts(CircuitBreakerCounted)] == [1, 0, 1]
    assert not state(rig).tripped


def test_what_was_cancelled_before_it_left_did_not_fail() -> None:
    rig = submitting(1)
    order = rig.buy()
    rig.request_cancel(order)
    rig.send(SubmitFailed(order.client_order_id, False, "cancelled before it left"))
    assert not state(rig).tripped


def test_a_doubt_that_the_last_session_left_is_no_failure() -> None:
    rig = submitting(1)
    rig.buy()
    after = Rig(restored=rig.durable(), safety=SafetyRules(breaker_failures=1))
    assert not state(after).tripped


# --- tripped -------------------------------------------------------------------------------------


def test_no_entry_is_made_and_what_protects_and_closes_still_leaves() -> None:
    rig = Rig()
    order = rig.buy()
    rig.machine.safety.trip_breaker("too fast")
    rig.quote(100)
    assert rig.position().quantity == order.quantity
    assert len(rig.submits(OrderPurpose.PROTECTIVE_STOP)) == 1
    rig.signal(Side.SELL)
    rig.quote(100)
    assert rig.position().quantity == 0
    rig.signal(Side.BUY)
    reasons = [fact.reason for fact in rig.facts(SignalBlocked)]
    assert reasons == ["circuit breaker (too fast)"]
    assert len(rig.submits(OrderPurpose.ENTRY)) == 1


def test_an_entry_whose_intent_was_durable_before_does_not_leave_either() -> None:
    rig = Rig()
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.machine.safety.trip_breaker("too fast")
    rig.send(BrokerChanged("paper", True))
    rig.release()
    assert rig.submits() == []
    assert rig.now_of(order).reason == "not sent: circuit breaker (too fast)"


def test_it_is_not_the_kill_switch_unless_the_settings_say_so() -> None:
    rig, strict = submitting(1), submitting(1, breaker_kills=True)
    reject(rig)
    reject(strict)
    assert (rig.killed, strict.killed) == (False, True)
    (trip,) = strict.facts(KillSwitchTriggered)
    assert trip.source == "circuit breaker"


# --- resetting and restart -----------------------------------------------------------------------


def test_a_person_resets_it_and_entries_leave_again() -> None:
    rig = submitting(1)
    reject(rig)
    reset(rig)
    assert state(rig) == CircuitBreakerState()
    assert [fact.author for fact in rig.facts(CircuitBreakerReset)] == ["me"]
    before = len(rig.submits())
    buy(rig)
    assert len(rig.submits()) == before + 1


@pytest.mark.parametrize("word", ["", "reset", "RESET ", "REARM"])
def test_any_other_word_does_not_reset_it(word: str) -> None:
    rig = submitting(1)
    reject(rig)
    reset(rig, word)
    assert state(rig).tripped
    assert [fact.reason for fact in rig.facts(CommandRefused)] == ["type RESET to reset"]


def test_what_is_not_tripped_cannot_be_reset() -> None:
    rig = submitting()
    reject(rig)
    reset(rig)
    assert state(rig).failures == 1
    assert [fact.reason for fact in rig.facts(CommandRefused)] == [
        "the circuit breaker is not tripped"
    ]


def test_it_stays_tripped_over_a_restart_and_so_does_the_count() -> None:
    rig = submitting(2)
    reject(rig)
    counted = Rig(
        restored=rig.durable(),
        now=rig.now + NANOS,
        void={SubmitOrder},
        safety=SafetyRules(breaker_failures=2),
    )
    assert state(counted).failures == 1
    reject(counted)
    assert state(counted).tripped
    after = Rig(restored=counted.durable())
    after.signal(Side.BUY)
    assert after.submits() == []
    assert state(after) == state(counted)


def test_a_machine_that_was_told_of_no_breaker_has_none() -> None:
    rig = Rig(restored=Restored({"paper": Rig().cash}))
    assert state(rig) == CircuitBreakerState()
