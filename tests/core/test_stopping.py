"""The end of a session, and the past that strategies are shown."""

from collections.abc import Sequence

import pytest

from engine.core.events import EngineStopping, SubmitOrder
from engine.core.execution.rules import ExecutionRules
from engine.core.model import Bar, OrderPurpose, OrderState, Side, Signal, StopAction
from engine.core.strategy import Strategy
from tests.core.rig import ACME, COIN, Rig

S = OrderState


@pytest.mark.parametrize(
    ("action", "entry", "stop"),
    [
        (StopAction.KEEP, S.ACCEPTED, S.ACCEPTED),
        (StopAction.CANCEL_ENTRIES, S.CANCELED, S.ACCEPTED),
        (StopAction.CANCEL_ALL, S.CANCELED, S.CANCELED),
    ],
)
def test_open_orders_are_handled_as_set(action: StopAction, entry: S, stop: S) -> None:
    rig = Rig("one", "two", instruments=(ACME, COIN))
    rig.hold_position(strategy="one")
    resting = rig.buy(strategy="two", symbol="COIN")
    protective = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.send(EngineStopping(action))
    assert (rig.state_of(resting), rig.state_of(protective)) == (entry, stop)


def test_no_entry_leaves_once_the_engine_stops() -> None:
    rig = Rig("one", "two")
    rig.send(EngineStopping(StopAction.KEEP))
    rig.signal(Side.BUY, strategy="one")
    assert rig.count(SubmitOrder) == 0
    assert rig.of(OrderPurpose.ENTRY) == []


def test_an_entry_that_is_kept_is_neither_chased_nor_given_up_while_the_engine_stops() -> None:
    rig = Rig(execution=ExecutionRules())
    order = rig.buy(100)
    rig.quote(100.2, size=0.5)
    rig.send(EngineStopping(StopAction.KEEP))
    rig.tick(61)
    kept = rig.orders[order.client_order_id]
    assert (kept.state, kept.limit_price) == (S.ACCEPTED, order.limit_price)


def test_a_strategy_knows_the_past_from_what_is_now_and_decides_on_nothing_past() -> None:
    seen: list[tuple[float, bool]] = []

    class Eager(Strategy):
        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            seen.append((bar.close, self.live))
            return self.signal(Side.BUY, bar, {})

    rig = Rig(kinds={"eager": Eager}, started=False)
    rig.bar(100, live=False)
    rig.start()
    rig.bar(101, live=False)  # missed while the feed was away
    assert rig.of(OrderPurpose.ENTRY) == []
    rig.bar(102)
    assert seen == [(100, False), (101, False), (102, True)]
    assert len(rig.of(OrderPurpose.ENTRY)) == 1
