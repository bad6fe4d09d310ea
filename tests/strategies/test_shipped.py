"""What holds for every strategy that is shipped."""

from collections.abc import Iterable
from decimal import Decimal

import pytest

from engine.core.events import (
    ChangeLimit,
    ExecutionReport,
    PositionChanged,
    SignalBlocked,
    SignalGenerated,
)
from engine.core.model import Fill, OrderPurpose, Side
from engine.core.risk import RiskLimits
from engine.core.strategy import Strategy, make_parameters
from engine.feeds.recordings import Recordings
from engine.plugins import find_strategies
from strategies.crypto_momentum import CryptoMomentum
from strategies.rsi_mean_reversion import RsiMeanReversion
from tests.core.rig import Rig
from tests.strategies.playing import make, show

KINDS = find_strategies().kinds
every_strategy = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    return Recordings()


@pytest.mark.parametrize("symbol", ["SPY", "BTC-USD"])
@every_strategy
def test_its_history_is_all_that_a_restart_needs(
    kind: type[Strategy], symbol: str, recordings: Recordings
) -> None:
    """Begun anew in the middle, with the required history, it says what it would have said."""
    bars = recordings.bars(symbol)
    whole = [signal and signal.side for signal in show(make(kind), bars)]
    required = make(kind).required_history()
    said = 0
    for start in range(required, len(bars) - 100, 331):
        anew = make(kind)
        show(anew, bars[start - required : start])
        after = [signal and signal.side for signal in show(anew, bars[start : start + 331])]
        assert after == whole[start : start + 331], start
        said += len(after) - after.count(None)
    assert said > 0


@every_strategy
def test_without_parameters_it_can_start(kind: type[Strategy]) -> None:
    assert make(kind).required_history() > 0
    assert make_parameters(kind, {}) == kind.Parameters()


@every_strategy
def test_its_rule_and_its_source_are_written_down(kind: type[Strategy]) -> None:
    module = __import__(kind.__module__, fromlist=["__doc__"])
    assert module.__doc__ is not None
    assert "\nRule: " in module.__doc__
    assert "\nSource: " in module.__doc__


# --- what becomes of its signals -----------------------------------------------------------------


class QuickRsi(RsiMeanReversion):
    """An RSI of one change: 0 after a fall, 100 after a rise."""

    def initialize(self) -> None:
        self.parameters = make_parameters(type(self), {"period": 1})
        super().initialize()


def said(rig: Rig, strategy: str) -> list[Side]:
    signals = [fact.signal for fact in rig.facts(SignalGenerated)]
    return [signal.side for signal in signals if signal.strategy == strategy]


def test_a_signal_that_is_blocked_does_not_keep_it_from_the_next_one() -> None:
    rig = Rig(kinds={"rsi": QuickRsi}, limits=RiskLimits(stop_loss_required=True))
    for price in (100, 101, 100, 99, 101, 102, 100):
        rig.bar(price)
    assert said(rig, "rsi") == [Side.BUY, Side.SELL, Side.BUY]
    assert {fact.check for fact in rig.facts(SignalBlocked)} == {"stop_loss", "flat"}


def test_it_enters_again_after_its_stop_has_closed_the_position() -> None:
    rig = Rig(kinds={"rsi": QuickRsi})
    for price in (100, 100.5, 100, 100):
        rig.bar(price)
    assert rig.position("rsi").quantity > 0
    rig.bar(90)  # under the stop
    assert rig.position("rsi").quantity == 0
    assert [o.purpose for o in rig.submits() if o.side is Side.SELL] == [
        OrderPurpose.PROTECTIVE_STOP
    ]
    for price in (90, 91, 90, 90):
        rig.bar(price)
    assert said(rig, "rsi") == [Side.BUY, Side.SELL, Side.BUY]
    assert rig.position("rsi").quantity > 0


class QuickMomentum(CryptoMomentum):
    """Up, down."""

    def initialize(self) -> None:
        self.parameters = make_parameters(
            type(self), {"lookback": 1, "entry_pct": 0, "volume_factor": 0}
        )
        super().initialize()


def test_two_strategies_on_one_symbol_keep_books_of_their_own_and_the_broker_sees_the_net() -> None:
    """One buys a fall, the other a rise, and there is room for both."""
    rig = Rig(kinds={"rsi": QuickRsi, "momentum": QuickMomentum})
    rig.toggle("momentum", False)
    held: list[tuple[int, int]] = []
    for number, price in enumerate((100, 100.1, 100, 100, 100.1, 100.1, 100.2, 100.2, 100, 100)):
        if number == 4:  # it holds what it bought, and would sell at the rise
            rig.toggle("rsi", False)
            rig.toggle("momentum")
            rig.send(ChangeLimit(name="max_position_size_pct", value="10", word="LOOSEN"))
        if number == 6:
            rig.toggle("rsi")
        rig.bar(price)
        rsi, momentum = (rig.position(name).quantity for name in ("rsi", "momentum"))
        held.append((int(rsi), int(momentum)))
        fills = [fact.fill for fact in rig.facts(PositionChanged)]
        assert rsi == net([fill for fill in fills if fill.strategy == "rsi"])
        assert momentum == net([fill for fill in fills if fill.strategy == "momentum"])
        reports = [event for event in rig.inputs if isinstance(event, ExecutionReport)]
        assert net([report.fill for report in reports if report.fill]) == rsi + momentum
    assert held[3:] == [(49, 0), (49, 0), (49, 49), (49, 49), (0, 49), (0, 49), (49, 0)]


def net(fills: Iterable[Fill]) -> Decimal:
    return sum((fill.side.sign * fill.quantity for fill in fills), Decimal(0))
