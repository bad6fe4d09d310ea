"""Small sessions that Hypothesis draws, and shrinks where a law breaks: each rule is one thing that
happens, with faults that are on until they are switched off."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace

from engine.core.model import NANOS, KillAction
from engine.simulation.options import Fault, draw
from engine.simulation.world import World

WITHIN = set(Fault) - {Fault.CASH_MOVED}
"""Cash that moved stays a difference until somebody takes it over, as the seeds' operator does."""
EVENTS = [fault for fault in World(draw(0)).now_and_then if fault in WITHIN]
CHANCES = [fault for fault in Fault if fault in WITHIN and fault not in EVENTS]


class Session(RuleBasedStateMachine):
    """Time passes only by a rule; at the end the faults stop, and all must come to rest."""

    @initialize(seed=st.integers(0, 20))
    def begin(self, seed: int) -> None:
        self.faults = dict.fromkeys(Fault, 0.0)
        self.world = World(replace(draw(seed), faults=self.faults))
        self.world.begin()
        self.world.go_on(NANOS)

    @rule(tenths=st.integers(1, 100))
    def wait(self, tenths: int) -> None:
        self.world.go_on(tenths * NANOS // 10)

    @rule(fault=st.sampled_from(CHANCES))
    def fail(self, fault: Fault) -> None:
        self.faults[fault] = 0.9

    @rule()
    def mend(self) -> None:
        self.faults.update(dict.fromkeys(Fault, 0.0))

    @rule(fault=st.sampled_from(EVENTS))
    def happen(self, fault: Fault) -> None:
        self._do(self.world.now_and_then[fault])

    @rule(action=st.sampled_from(KillAction))
    def kill(self, action: KillAction) -> None:
        self._do(lambda: self.world.operator.kill(action))

    @rule()
    def rearm(self) -> None:
        self._do(self.world.operator.rearm)

    def _do(self, action: Callable[[], None]) -> None:
        self.world.schedule.after(0, action)
        self.world.go_on(1)

    def teardown(self) -> None:
        self.world.come_to_rest()


Session.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestSession = Session.TestCase
