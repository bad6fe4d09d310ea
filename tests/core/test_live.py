"""The live gate: of all combinations of what it asks for, exactly one lets an order leave."""

from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from engine.core.events import (
    AcknowledgeAlerts,
    AlertRaised,
    AlertsAcknowledged,
    BrokerChanged,
    CircuitBreakerState,
    CommandRefused,
    ConfirmLive,
    KillSwitchState,
    LiveConfirmed,
    Pause,
    RaiseAlert,
    RequestMode,
    Restored,
    SignalBlocked,
    StrategyState,
)
from engine.core.model import Mode, OrderPurpose, OrderState, Side
from engine.core.safety import SafetyRules
from tests.core.rig import ACME, COIN, Rig

CASH = Decimal(100_000)


def rig_at(broker: bool = True, *, mode: Mode = Mode.LIVE, allowed: bool = True, **how: Any) -> Rig:
    """A rig whose broker holds a real account where `broker` is True."""
    rig = Rig(mode=mode, safety=SafetyRules(allow_live=allowed), **how)
    rig.send(BrokerChanged("paper", True, live=broker))
    return rig


def confirm(rig: Rig, word: str = "LIVE") -> None:
    rig.send(ConfirmLive(word=word, author="me"))


def blocked(rig: Rig) -> list[str]:
    rig.signal(Side.BUY)
    return [fact.reason for fact in rig.facts(SignalBlocked)]


def refused(rig: Rig) -> list[str]:
    return [fact.reason for fact in rig.facts(CommandRefused)]


@pytest.mark.parametrize(
    ("mode", "allowed", "word", "broker"),
    list(product(Mode, (False, True), ("", "live", "LIVE"), (False, True))),
)
def test_exactly_one_combination_is_live(
    mode: Mode, allowed: bool, word: str, broker: bool
) -> None:
    rig = rig_at(broker, mode=mode, allowed=allowed)
    confirm(rig, word)
    rig.signal(Side.BUY)
    live = (mode, allowed, word, broker) == (Mode.LIVE, True, "LIVE", True)
    paper = mode is Mode.PAPER and not broker
    assert len(rig.submits()) == (live or paper)
    assert bool(rig.facts(LiveConfirmed)) == live


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({}, "live trading is not confirmed in this session"),
        ({"allowed": False}, "live trading needs ALLOW_LIVE_TRADING=true"),
        ({"broker": False}, "live trading needs a live broker"),
        ({"mode": Mode.PAPER}, "paper is a real account, and the mode is paper"),
    ],
)
def test_it_says_what_is_missing(how: dict[str, Any], reason: str) -> None:
    assert blocked(rig_at(**how)) == [reason]


@pytest.mark.parametrize(
    ("how", "word", "reason"),
    [
        ({}, "live", "type LIVE to confirm"),
        ({"allowed": False}, "LIVE", "live trading needs ALLOW_LIVE_TRADING=true"),
        ({"broker": False}, "LIVE", "live trading needs a live broker"),
        ({"mode": Mode.PAPER}, "LIVE", "live trading needs MODE=live"),
    ],
)
def test_a_word_makes_up_for_nothing_else(how: dict[str, Any], word: str, reason: str) -> None:
    rig = rig_at(**how)
    confirm(rig, word)
    assert refused(rig) == [reason]


def test_a_confirmation_is_of_its_session_and_dies_with_it() -> None:
    rig = rig_at()
    confirm(rig)
    order = rig.buy()
    assert order.state is OrderState.ACCEPTED
    after = rig_at(restored=rig.durable(), now=rig.now + 1)
    rig.request_cancel(order)
    after.rearm()
    assert blocked(after) == ["live trading is not confirmed in this session"]


def test_a_confirmation_is_said_once_with_who_and_where() -> None:
    rig = rig_at()
    confirm(rig)
    confirm(rig)
    assert [(f.author, f.brokers) for f in rig.facts(LiveConfirmed)] == [("me", ("paper",))]
    assert refused(rig) == ["live trading is confirmed already"]


def test_an_account_that_comes_later_is_confirmed_anew() -> None:
    """And the one that was confirmed trades on."""
    rig = rig_at()
    confirm(rig)
    rig.send(BrokerChanged("other", True, live=True))
    assert [c.met for c in rig.machine.safety.live.conditions()] == [True] * 4 + [False]
    assert rig.buy().state is OrderState.ACCEPTED
    confirm(rig)
    assert rig.facts(LiveConfirmed)[-1].brokers == ("paper", "other")


def test_the_conditions_are_shown_as_they_are_met() -> None:
    rig = rig_at()
    assert [c.met for c in rig.machine.safety.live.conditions()] == [True] * 4 + [False]
    confirm(rig)
    assert all(c.met for c in rig.machine.safety.live.conditions())


def test_cancels_leave_before_anything_is_confirmed() -> None:
    rig = rig_at()
    confirm(rig)
    order = rig.buy()
    after = rig_at(restored=rig.durable(), exchange=rig.exchange, now=rig.now + 1)
    after.kill()
    assert after.state_of(order) is OrderState.CANCELED


# --- the mode ------------------------------------------------------------------------------------


def test_a_running_engine_is_never_carried_over_to_live() -> None:
    rig = Rig()
    rig.send(RequestMode(mode=Mode.LIVE, author="me"))
    (reason,) = refused(rig)
    assert reason.startswith("live trading needs: set MODE=live and start again; set ALLOW_LIVE")
    assert rig.machine.config.mode is Mode.PAPER
    assert rig.buy().state is OrderState.ACCEPTED


@pytest.mark.parametrize(
    ("running", "reason"),
    [(Mode.PAPER, "the mode is paper already"), (Mode.LIVE, "restart with MODE=paper")],
)
def test_nor_to_paper(running: Mode, reason: str) -> None:
    rig = Rig(mode=running)
    rig.send(RequestMode(mode=Mode.PAPER, author="me"))
    assert refused(rig) == [reason]


def test_a_broker_that_was_no_real_account_when_it_was_confirmed_is_not_confirmed() -> None:
    rig = rig_at()
    rig.send(BrokerChanged("other", True))
    confirm(rig)
    assert rig.facts(LiveConfirmed)[-1].brokers == ("paper",)
    rig.send(BrokerChanged("other", True, live=True))
    assert rig.machine.safety.live.objection("other").endswith("not confirmed in this session")


# --- alerts --------------------------------------------------------------------------------------

ON = (StrategyState("puppet", True),)
LEFT = {
    "kill-switch": Restored({"paper": CASH}, kill=KillSwitchState(True, "key", "", 1)),
    "circuit-breaker": Restored(
        {"paper": CASH}, breaker=CircuitBreakerState(5, True, "5 in a row", 1)
    ),
    "paused-symbols": Restored(
        {"paper": CASH}, pauses=(Pause("ACME", "quarantined"),), strategies=ON
    ),
}


def acknowledge(rig: Rig, *names: str) -> None:
    rig.send(AcknowledgeAlerts(names=names, author="me"))


@pytest.mark.parametrize("name", LEFT)
def test_what_the_last_session_left_is_acknowledged_before_live_is_confirmed(name: str) -> None:
    rig = rig_at(restored=LEFT[name])
    assert [fact.name for fact in rig.facts(AlertRaised)] == [name]
    confirm(rig)
    assert refused(rig) == ["live trading needs no alert that holds live back"]
    acknowledge(rig, name)
    assert [(f.author, f.names) for f in rig.facts(AlertsAcknowledged)] == [("me", (name,))]
    confirm(rig)
    assert rig.facts(LiveConfirmed)


def test_an_alert_keeps_entries_of_live_trading_back_and_exits_go() -> None:
    rig = rig_at()
    confirm(rig)
    rig.hold_position()
    rig.send(RaiseAlert("database", "not the one that was used last"))
    rig.signal(Side.SELL)
    rig.quote(100)
    assert rig.position().quantity == 0
    assert blocked(rig) == ["alerts wait to be acknowledged: database"]
    acknowledge(rig, "database")
    rig.signal(Side.SELL)
    rig.signal(Side.BUY)
    assert len(rig.submits(OrderPurpose.ENTRY)) == 2


def test_on_paper_alerts_are_told_and_stand_in_nobodys_way() -> None:
    rig = Rig(restored=LEFT["paused-symbols"], instruments=(ACME, COIN))
    assert rig.facts(AlertRaised)
    rig.signal(Side.BUY, symbol="COIN")
    assert len(rig.submits(OrderPurpose.ENTRY)) == 1


def test_alerts_named_before_the_start_are_acknowledged_and_audited() -> None:
    rules = SafetyRules(allow_live=True, acknowledged=("circuit-breaker",))
    rig = Rig(mode=Mode.LIVE, safety=rules, restored=LEFT["circuit-breaker"])
    (fact,) = rig.facts(AlertsAcknowledged)
    assert (fact.author, fact.names) == ("ACKNOWLEDGE_ALERTS", ("circuit-breaker",))
    assert rig.machine.safety.alerts.waiting == {}


def test_to_acknowledge_another_alert_lets_none_go() -> None:
    rig = rig_at(restored=LEFT["paused-symbols"])
    acknowledge(rig, "rejected ACME")
    confirm(rig)
    assert refused(rig) == ["live trading needs no alert that holds live back"]
