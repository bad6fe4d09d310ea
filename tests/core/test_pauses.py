"""Symbols that are paused after a fault, or halted by their venue."""

from engine.core.events import (
    FillQuarantined,
    HaltChanged,
    ResumeSymbol,
    SignalBlocked,
    SignalGenerated,
    SubmitOrder,
    SymbolPaused,
    SymbolResumed,
)
from engine.core.model import OrderPurpose, OrderState, Side
from tests.core.rig import ACME, COIN, Rig


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
