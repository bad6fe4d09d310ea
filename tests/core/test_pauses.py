"""Symbols that are paused after a fault, or halted by their venue."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import (
    CommitIntent,
    FillQuarantined,
    HaltChanged,
    OrderPendingCancel,
    ReplaceOrder,
    RequestReplace,
    ResumeSymbol,
    SignalBlocked,
    SignalGenerated,
    SubmitOrder,
    SymbolPaused,
    SymbolResumed,
)
from engine.core.execution.rules import SymbolHalted
from engine.core.model import Fill, OrderPurpose, OrderState, OrderTerms, Side
from tests.core.rig import ACME, AT_MARKET, COIN, Rig

S = OrderState
STOP = OrderPurpose.PROTECTIVE_STOP


def halt(rig: Rig) -> None:
    rig.send(HaltChanged(symbol="ACME", halted=True, reason="news"))


def entries(rig: Rig, symbol: str = "ACME") -> int:
    return sum(order.symbol == symbol for order in rig.submits(OrderPurpose.ENTRY))


def test_a_rejected_entry_is_not_asked_for_again_within_five_minutes() -> None:
    rig = Rig("first", "second", "third", void=(SubmitOrder,))
    rig.report(rig.buy(strategy="first"), OrderState.REJECTED, reason="not tradable")
    rig.tick(290)
    rig.signal(Side.BUY, strategy="second")
    assert entries(rig) == 1
    assert "not tradable" in rig.facts(SignalBlocked)[-1].reason
    rig.tick(20)
    assert [fact.symbol for fact in rig.facts(SymbolResumed)] == ["ACME"]
    rig.signal(Side.BUY, strategy="third")
    assert entries(rig) == 2


def test_a_pause_of_one_symbol_leaves_the_others_alone() -> None:
    rig = Rig(instruments=(ACME, COIN), void=(SubmitOrder,))
    rig.report(rig.buy(), OrderState.REJECTED, reason="not tradable")
    rig.signal(Side.BUY, symbol="COIN")
    assert entries(rig, "COIN") == 1


def test_a_quarantined_execution_pauses_its_symbol_until_a_person_resumes_it() -> None:
    rig = Rig()
    rig.quote(100.0)
    order = rig.buy()
    rig.fill(order, -1)
    assert rig.facts(FillQuarantined)
    assert [fact.until for fact in rig.facts(SymbolPaused)] == [0]
    rig.tick(3600)
    assert not rig.facts(SymbolResumed)
    rig.send(ResumeSymbol(symbol="ACME", author="me"))
    assert [fact.author for fact in rig.facts(SymbolResumed)] == ["me"]


def test_nothing_new_leaves_in_a_halted_symbol_and_it_trades_again_after() -> None:
    rig = Rig()
    rig.quote(100.0)
    rig.send(HaltChanged(symbol="ACME", halted=True, reason="news"))
    rig.signal(Side.BUY)
    assert not rig.submits()
    rig.send(HaltChanged(symbol="ACME", halted=False))
    rig.signal(Side.BUY)
    assert entries(rig) == 1


def test_a_position_keeps_its_stop_and_nothing_is_signalled_while_halted() -> None:
    rig = Rig()
    rig.hold_position()
    before = len(rig.submits()), len(rig.facts(SignalGenerated))
    rig.send(HaltChanged(symbol="ACME", halted=True, reason="news"))
    rig.signal(Side.SELL)
    assert (len(rig.submits()), len(rig.facts(SignalGenerated))) == before
    assert rig.state_of(rig.last(OrderPurpose.PROTECTIVE_STOP)) is OrderState.ACCEPTED
    rig.send(HaltChanged(symbol="ACME", halted=False))
    rig.signal(Side.SELL)
    rig.quote(100.0)
    assert rig.position().quantity == 0


@pytest.mark.parametrize(
    ("rule", "entry", "stop", "others"),
    [
        (SymbolHalted.KEEP, S.PARTIALLY_FILLED, S.ACCEPTED, S.ACCEPTED),
        (SymbolHalted.CANCEL_ENTRIES, S.CANCELED, S.ACCEPTED, S.ACCEPTED),
        (SymbolHalted.CANCEL, S.CANCELED, S.CANCELED, S.ACCEPTED),
    ],
)
def test_open_orders_in_a_halted_symbol_are_handled_as_set(
    rule: SymbolHalted, entry: S, stop: S, others: S
) -> None:
    rig = Rig(instruments=(ACME, COIN), execution=replace(AT_MARKET, on_halt=rule))
    elsewhere = rig.buy(50, symbol="COIN")
    order = rig.buy()
    rig.quote(100, size=20)
    fill = Fill("x-1", "hand", "ACME", Side.BUY, Decimal(1), Decimal(99), Decimal(0), rig.now)
    rig.report("hand", S.PARTIALLY_FILLED, fill=fill, terms=OrderTerms(Decimal(5), Decimal(99)))
    assert rig.orders["hand"].is_open
    halt(rig)
    assert (rig.state_of(order), rig.state_of(rig.last(STOP))) == (entry, stop)
    assert rig.state_of(elsewhere) is others
    assert rig.orders["hand"].purpose is OrderPurpose.EXTERNAL
    assert "hand" not in [f.order.client_order_id for f in rig.facts(OrderPendingCancel)]
    before = len(rig.submits())
    rig.tick(600)
    rig.quote(100)
    assert len(rig.submits()) == before, "nothing new leaves into a halt"
    rig.send(HaltChanged(symbol="ACME", halted=False))
    stops = [o.leaves for o in rig.open if o.purpose is STOP]
    assert stops == [rig.position().quantity]


@pytest.mark.parametrize("rule", list(SymbolHalted))
def test_a_pause_cancels_entries_whatever_is_set_for_a_halt(rule: SymbolHalted) -> None:
    rig = Rig("first", "second", execution=replace(AT_MARKET, on_halt=rule))
    entry = rig.buy(strategy="first")
    rig.quote(100, size=20)
    rig.fill(entry, -1)
    assert rig.state_of(entry) is S.CANCELED
    assert [(o.purpose, o.leaves) for o in rig.open] == [(STOP, 20)]


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_what_was_decided_before_a_halt_does_not_leave_into_it(side: Side) -> None:
    rig = Rig(execution=replace(AT_MARKET, on_halt=SymbolHalted.KEEP))
    if side is Side.SELL:
        rig.hold_position()
    before = len(rig.submits())
    rig.hold = {CommitIntent}
    rig.signal(side)
    decided = list(rig.orders.values())[-1]
    halt(rig)
    rig.release()
    assert len(rig.submits()) == before
    assert rig.now_of(decided).reason == "not sent: ACME is paused: halted: news"
    rig.send(HaltChanged(symbol="ACME", halted=False))
    stops = [o for o in rig.open if o.purpose is STOP]
    assert len(stops) == (side is Side.SELL), "what is held is protected again"


def test_a_pause_lets_what_closes_a_position_leave() -> None:
    rig = Rig(execution=replace(AT_MARKET, on_halt=SymbolHalted.CANCEL))
    rig.hold_position()
    rig.fill(rig.last(OrderPurpose.ENTRY), -1)
    rig.signal(Side.SELL)
    assert [o.purpose for o in rig.submits()][2:] == [OrderPurpose.EXIT]


def test_a_stop_is_not_replaced_in_a_halt_but_may_be_made_smaller() -> None:
    rig = Rig()
    rig.hold_position()
    stop = rig.last(STOP)
    halt(rig)
    for quantity, is_taken in ((50, False), (30, True)):
        terms = OrderTerms(Decimal(quantity), None, stop.stop_price)
        rig.send(RequestReplace(client_order_id=stop.client_order_id, terms=terms, author="me"))
        assert (rig.count(ReplaceOrder) == 1) is is_taken


def test_a_pause_and_a_halt_outlive_a_restart() -> None:
    rig = Rig("first", "second", instruments=(ACME, COIN), void=(SubmitOrder,))
    rig.report(rig.buy(strategy="first"), OrderState.REJECTED, reason="not tradable")
    rig.send(HaltChanged(symbol="COIN", halted=True, reason="news"))
    again = Rig("first", "second", instruments=(ACME, COIN), restored=rig.durable(), now=rig.now)
    again.signal(Side.BUY, strategy="second", symbol="COIN")
    again.signal(Side.BUY, strategy="second")
    assert not again.submits()
    assert "not tradable" in again.facts(SignalBlocked)[-1].reason
    assert again.machine.pauses.is_halted("COIN")
