"""The computer's clock is set while the market's time goes on."""

import pytest

from engine.core.clock_offset import STOPS, TELLS
from engine.core.events import ClockOff, ClockTick
from engine.core.model import NANOS, OrderPurpose, Side
from tests.core.rig import Rig


def test_an_offset_is_told_once_and_when_it_is_gone() -> None:
    rig = Rig()
    for offset in (TELLS, 2 * NANOS, 3 * NANOS, -2 * NANOS, 0, 0):
        rig.send(ClockTick(0, offset))
    assert [fact.offset for fact in rig.facts(ClockOff)] == [2 * NANOS, 0]


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_its_bound_no_entry_is_made_and_exits_are(sign: int) -> None:
    rig = Rig()
    rig.hold_position()
    rig.send(ClockTick(0, sign * (STOPS + 1)))
    rig.signal(Side.SELL)
    rig.signal(Side.BUY)
    assert len(rig.submits(OrderPurpose.ENTRY)) == 1
    assert len(rig.submits(OrderPurpose.EXIT)) == 1
    rig.send(ClockTick(0, sign * STOPS))
    rig.signal(Side.SELL)
    rig.signal(Side.BUY)
    assert len(rig.submits(OrderPurpose.ENTRY)) == 2
