"""One event in, its effects out; the same inputs always the same; never half-blind."""

import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import pytest

from engine.core.events import (
    CommitIntent,
    ControlFeed,
    FeedChanged,
    FeedStatusChanged,
    Input,
    KillSwitchTriggered,
    LawBroken,
    OrderFilled,
    OrderInDoubt,
    OrderIntended,
    PositionClosed,
    Record,
    SignalBlocked,
    SignalGenerated,
    SteerFeed,
    SubmitOrder,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.matching import ExchangeRules
from engine.core.model import Bar, OrderState, Side, Signal
from engine.core.risk import RiskLimits
from engine.core.strategy import Strategy
from tests.core.rig import ACME, COIN, Rig, facts_of

ROOT = Path(__file__).parents[2]


# --- effects -------------------------------------------------------------------------------------


def test_facts_and_requests_leave_in_the_order_in_which_they_came_about() -> None:
    rig = Rig()
    effects = rig.signal(Side.BUY)
    kinds = [type(e.fact) if isinstance(e, Record) else type(e) for e in effects]
    assert kinds.index(SignalGenerated) < kinds.index(CommitIntent) < kinds.index(OrderIntended)


def test_an_event_without_consequences_has_no_effects() -> None:
    rig = Rig()
    rig.quote(100)
    assert rig.quote(100.5) == []


def test_a_feed_is_steered_and_its_state_told_in_harmless_text() -> None:
    rig = Rig()
    assert rig.send(ControlFeed(action="speed", speed=10.0)) == [SteerFeed("speed", 10.0)]
    effects = rig.send(FeedChanged("replay", "paused", "[why]"))
    assert [f.reason for f in facts_of(effects, FeedStatusChanged)] == ["(why)"]


# --- failures ------------------------------------------------------------------------------------


def test_a_broken_law_trips_the_kill_switch_and_is_named() -> None:
    rig = Rig(audited=False)
    rig.hold = {CommitIntent}
    order = rig.buy()
    effects = rig.fill(order, 10)  # of an order that has not left
    (law,) = facts_of(effects, LawBroken)
    assert law.law == "I7"
    assert order.client_order_id in law.reason
    (trip,) = facts_of(effects, KillSwitchTriggered)
    assert (trip.source, rig.killed) == ("broken law", True)
    assert rig.now_of(order).filled == 0
    rig.release()
    assert rig.submits() == []


def test_an_error_of_our_own_trips_the_kill_switch_and_is_kept_for_the_log() -> None:
    rig = Rig("puppet", "other", audited=False)
    rig.wish(Side.BUY)
    rig.wish(Side.BUY, "other")
    effects = rig.quote(1e300)  # no number of ticks that a Decimal could hold
    assert {fact.law for fact in facts_of(effects, LawBroken)} == {"internal error"}
    assert rig.killed
    assert isinstance(rig.machine.error, ArithmeticError)
    rig.quote(100)
    rig.signal(Side.SELL)
    rig.signal(Side.BUY)
    assert [fact.check for fact in rig.facts(SignalBlocked)] == ["flat", "stop"]
    assert rig.submits() == []


def test_an_unknown_strategy_parameter_is_refused_at_the_start() -> None:
    config = Rig().config
    (setup,) = config.strategies
    wrong = msgspec.structs.replace(setup, parameters={"fats": 1})
    with pytest.raises(ValueError, match="fats"):
        Machine(msgspec.structs.replace(config, strategies=(wrong,)), Rig().kinds)


# --- the same inputs, the same state --------------------------------------------------------------


class Momentum(Strategy):
    """Buys after two rises in a row, sells after a fall."""

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        closes = [known.close for known in history][-3:]
        if len(closes) == 3 and closes[0] < closes[1] < closes[2]:
            return self.signal(Side.BUY, bar, {"rise": closes[2] - closes[0]})
        if len(closes) == 3 and closes[2] < closes[1]:
            return self.signal(Side.SELL, bar, {})
        return None


def session() -> Rig:
    """Two hours of a random market, with answers that come late or never, a kill and a rearm."""
    random = Random(11)
    rig = Rig(
        kinds={"fast": Momentum, "slow": Momentum},
        instruments=(ACME, COIN),
        rules=ExchangeRules(),
        limits=RiskLimits(max_trades_per_day=1000, max_consecutive_losses=1000),
    )
    for minute in range(120):
        for symbol in ("ACME", "COIN"):
            price = 100 + random.uniform(-0.5, 0.5)
            rig.bar(price, symbol=symbol, volume=random.choice([90, 5000]))
            rig.quote(price + random.uniform(-0.1, 0.1), symbol, size=random.choice([5, 500]))
        rig.void = {SubmitOrder} if minute % 50 == 20 else set()
        rig.tick(random.choice([0.25, 10]))
        if minute in (60, 61):
            rig.kill() if minute == 60 else rig.rearm()
    return rig


def test_the_same_inputs_give_the_same_effects_and_the_same_state_hash() -> None:
    first, second = session(), session()
    assert first.effects == second.effects
    assert first.machine.state_hash() == second.machine.state_hash()
    counts = {kind: len(first.facts(kind)) for kind in (OrderFilled, OrderInDoubt, PositionClosed)}
    assert min(counts.values()) > 0, counts


def test_the_journal_of_a_session_leads_another_machine_to_the_same_state() -> None:
    rig = session()
    machine = Machine(rig.config, rig.kinds)
    for raw in [msgspec.msgpack.encode(event) for event in rig.inputs]:
        machine.process(msgspec.msgpack.decode(raw, type=Input))
    assert machine.state_hash() == rig.machine.state_hash()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_state_hash_does_not_depend_on_pythons_hash_seed(seed: str) -> None:
    script = "from tests.core.test_machine import session; print(session().machine.state_hash())"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    assert ran.stdout.strip() == session().machine.state_hash()


def test_every_difference_of_the_state_shows_in_its_hash() -> None:
    rig = Rig()
    hashes = {rig.machine.state_hash()}
    for step in (
        lambda: rig.tick(),
        lambda: rig.quote(100),
        lambda: rig.signal(Side.BUY, 100),
        lambda: rig.quote(100),
        lambda: rig.kill(),
        lambda: rig.toggle(enabled=False),
    ):
        step()
        hashes.add(rig.machine.state_hash())
    assert len(hashes) == 7


def test_a_configuration_outlives_its_journal() -> None:
    config = session().config
    raw = msgspec.msgpack.encode(config)
    assert msgspec.msgpack.decode(raw, type=MachineConfig) == config


def test_the_state_is_of_plain_values() -> None:
    state = session().machine.state()
    assert state["cash"] == Decimal(100_000) + sum(p.realised_pnl - p.commission - p.cost
                                             for p in state["positions"])  # fmt: skip
    assert {order.state for order in state["orders"]} <= set(OrderState)
    msgspec.json.encode(state)
