"""The dead-man's switch goes by the operator's time: no sign of life, and the kill switch trips."""

import pytest

from engine.core.events import (
    ChangeCommander,
    ClockTick,
    Command,
    ControlFeed,
    KillSwitchTriggered,
    OperatorSilent,
    RequestCancel,
    SignOfLife,
    TripKillSwitch,
)
from engine.core.model import NANOS
from engine.core.safety import SafetyRules
from tests.core.rig import Rig


def rig_with(seconds: int = 60) -> Rig:
    return Rig(safety=SafetyRules(dead_man=seconds * NANOS))


def at(rig: Rig, seconds: float) -> None:
    """A tick when the session is so old; the market's time stands still."""
    rig.send(ClockTick(uptime=int(seconds * NANOS)))


def test_silence_for_the_set_time_trips_the_kill_switch() -> None:
    rig = rig_with()
    at(rig, 59.75)
    assert not rig.killed
    at(rig, 60)
    (trip,) = rig.facts(KillSwitchTriggered)
    assert (trip.source, trip.reason) == ("dead-man's switch", "no sign of life for 60 s")


def test_the_operator_is_warned_once_before() -> None:
    rig = rig_with()
    for seconds in (47.75, 48, 50, 59):
        at(rig, seconds)
    (fact,) = rig.facts(OperatorSilent)
    assert (fact.silent, fact.limit) == (48 * NANOS, 60 * NANOS)
    assert not rig.killed


@pytest.mark.parametrize(
    "command",
    [
        SignOfLife(author="console"),
        RequestCancel(client_order_id="none", author="console"),
        ControlFeed(action="pause", author="console"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_any_command_starts_the_time_anew(command: Command) -> None:
    rig = rig_with()
    at(rig, 50)
    rig.send(command)
    at(rig, 109)
    assert not rig.killed
    assert len(rig.facts(OperatorSilent)) == 2
    at(rig, 110)
    assert rig.killed


@pytest.mark.parametrize(
    "command",
    [TripKillSwitch(source="file"), ChangeCommander(author="a console that attached anew")],
    ids=lambda command: type(command).__name__,
)
def test_what_need_come_from_no_person_is_no_sign_of_life(command: Command) -> None:
    rig = rig_with()
    at(rig, 50)
    rig.send(command)
    at(rig, 60)
    assert [fact.source for fact in rig.facts(KillSwitchTriggered)][-1] == "dead-man's switch"


def test_it_trips_once_and_again_after_a_person_was_there() -> None:
    rig = rig_with()
    for seconds in (60, 61, 300):
        at(rig, seconds)
    assert len(rig.facts(KillSwitchTriggered)) == 1
    rig.rearm()
    assert not rig.killed
    at(rig, 359)
    assert not rig.killed
    at(rig, 360)
    assert rig.killed


def test_it_goes_by_the_operators_time_and_not_by_the_markets() -> None:
    """A replay plays a day in minutes."""
    rig = rig_with()
    rig.tick(86_400)
    assert not rig.killed


def test_where_it_is_not_set_nobody_need_be_there() -> None:
    rig = rig_with(0)
    at(rig, 1e6)
    assert not rig.killed
    assert rig.machine.safety.dead_man.remaining is None


def test_what_is_left_is_told() -> None:
    rig = rig_with()
    at(rig, 20)
    assert rig.machine.safety.dead_man.remaining == 40 * NANOS
    at(rig, 100)
    assert rig.machine.safety.dead_man.remaining == 0
