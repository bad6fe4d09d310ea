"""The live gate: of all combinations of what it asks for, exactly one lets an order leave."""

from itertools import product
from typing import Any

import pytest

from engine.core.events import (
    BrokerChanged,
    CommandRefused,
    ConfirmLive,
    LiveConfirmed,
    RequestMode,
    SignalBlocked,
)
from engine.core.model import Mode, OrderState, Side
from engine.core.safety import SafetyRules
from tests.core.rig import Rig


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
    assert [c.met for c in rig.machine.safety.live.conditions()] == [True, True, True, False]
    assert rig.buy().state is OrderState.ACCEPTED
    confirm(rig)
    assert rig.facts(LiveConfirmed)[-1].brokers == ("paper", "other")


def test_the_conditions_are_shown_as_they_are_met() -> None:
    rig = rig_at()
    assert [c.met for c in rig.machine.safety.live.conditions()] == [True, True, True, False]
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
