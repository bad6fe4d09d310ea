"""The frame style: the last row of a frame decides, and nothing else does."""

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from math import inf, nan
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from engine.core.events import (
    CommandRefused,
    OrderSized,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StrategyFailed,
    StrategyState,
)
from engine.core.model import MINUTE, Bar, Book, Order, OrderPurpose, Side, SizingMethod
from engine.core.sizing import Sizing, SizingRules
from engine.feeds.recordings import Recordings
from engine.styles.frame import FrameStrategy
from strategies.sma_crossover import SmaCrossover
from tests.core.rig import ACME, COIN, Rig
from tests.strategies.playing import make, play, show, sides

CASH = Decimal(100_000)


class Above(FrameStrategy):
    """Buys above the average of the last two closes, sells below it."""

    def required_history(self) -> int:
        return 2

    def populate_indicators(self, frame: DataFrame) -> DataFrame:
        frame["average"] = frame["close"].rolling(2).mean()
        return frame

    def populate_entry_conditions(self, frame: DataFrame) -> DataFrame:
        frame["enter"] = frame["close"] > frame["average"]
        return frame

    def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
        frame["exit"] = frame["close"] < frame["average"]
        return frame


def always(**columns: Any) -> type[FrameStrategy]:
    """One with these columns at every row; it wants to be long unless they say otherwise."""

    class Always(Above):
        def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
            return frame.assign(**({"enter": True, "exit": False} | columns))

    return Always


def said(rig: Rig) -> list[Side]:
    return [fact.signal.side for fact in rig.facts(SignalGenerated)]


# --- the last row --------------------------------------------------------------------------------


def test_it_says_what_its_conditions_say_of_the_last_row() -> None:
    signals = play(Above, [10, 12, 12, 11, 13])
    assert sides(signals) == [None, Side.BUY, None, Side.SELL, Side.BUY]
    assert [s.indicators for s in signals if s] == [
        {"average": 11.0}, {"average": 11.5}, {"average": 12.0}
    ]  # fmt: skip
    last = signals[-1]
    assert last is not None
    assert (last.price, last.ts, last.strength, last.stop_price) == (13, 5 * MINUTE, 1.0, None)


def test_the_columns_that_a_signal_has_go_into_it_and_all_other_numbers_are_what_it_rests_on() -> (
    None
):
    kind = always(
        strength=0.8, stop_price=8.0, take_profit=np.int64(15), trail=np.float32(0.5),
        trend=np.True_, label="up", none=None, missing=nan, endless=inf, when=pd.Timestamp(0),
    )  # fmt: skip
    signal = play(kind, [10, 10])[-1]
    assert signal is not None
    assert (signal.strength, signal.stop_price) == (0.8, 8.0)
    assert (signal.take_profit, signal.trail) == (15, 0.5)
    assert signal.indicators == {"average": 10.0, "trend": 1.0}


def test_an_option_that_is_missing_in_the_last_row_is_not_given() -> None:
    signal = play(always(strength=nan, stop_price=None), [10, 10])[-1]
    assert signal is not None
    assert (signal.strength, signal.stop_price) == (1.0, None)


@pytest.mark.parametrize(
    ("columns", "side"),
    [
        ({"exit": True}, Side.SELL),
        ({"exit": 1, "enter": 0}, Side.SELL),
        ({"enter": 1.0}, Side.BUY),
        ({"enter": np.True_}, Side.BUY),
        ({"enter": nan}, None),
        ({"enter": None}, None),
        ({"enter": pd.NA}, None),
        ({"enter": False}, None),
    ],
    ids=str,
)
def test_an_exit_comes_first_and_what_is_missing_is_no_condition(
    columns: dict[str, Any], side: Side | None
) -> None:
    assert sides(play(always(**columns), [10, 10])) == [None, side]


def test_the_frame_has_as_many_rows_as_are_required_and_ends_with_the_bar() -> None:
    frames: list[DataFrame] = []

    class Looking(Above):
        def populate_indicators(self, frame: DataFrame) -> DataFrame:
            frames.append(frame.copy())
            frame["close"] = 0.0  # it is a copy: nobody else sees it
            return super().populate_indicators(frame)

    bars = [Bar("ACME", n * MINUTE, 10.0 + n, 20.0 + n, 5.0 + n, 12.0 + n, n) for n in range(1, 5)]
    show(make(Looking), bars)
    assert [len(frame) for frame in frames] == [2, 2, 2]
    assert list(frames[-1].columns) == ["open", "high", "low", "close", "volume"]
    assert frames[-1].to_numpy().tolist() == [[13, 23, 8, 15, 3], [14, 24, 9, 16, 4]]
    assert list(frames[-1].index) == [
        pd.Timestamp(3 * MINUTE, tz="UTC"), pd.Timestamp(4 * MINUTE, tz="UTC")
    ]  # fmt: skip


# --- no look ahead -------------------------------------------------------------------------------


class Clairvoyant(FrameStrategy):
    """Buys before a rise, sells before a fall: the next close is known in all rows but the last."""

    def required_history(self) -> int:
        return 10

    def populate_entry_conditions(self, frame: DataFrame) -> DataFrame:
        frame["enter"] = frame["close"].shift(-1) > frame["close"]
        return frame

    def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
        frame["exit"] = frame["close"].shift(-1) < frame["close"]
        return frame


def test_one_that_looks_ahead_gains_nothing_by_it() -> None:
    random = Random(7)
    closes = [100 + random.random() for _ in range(200)]
    whole = DataFrame({"close": closes})
    seen = Clairvoyant.populate_entry_conditions(make(Clairvoyant), whole)  # type: ignore[arg-type]
    assert sum(seen["enter"].tolist()) > 80  # over the whole array it knows every rise
    assert sides(play(Clairvoyant, closes)) == [None] * 200
    rig = Rig(kinds={"clairvoyant": Clairvoyant})
    for close in closes:
        rig.bar(close)
    assert said(rig) == []
    assert rig.cash == CASH


def test_a_row_before_the_bar_decides_nothing() -> None:
    """What drops the rows whose future is not known would decide by an older one."""

    class Dropping(Clairvoyant):
        def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
            frame["next"] = frame["close"].shift(-1)
            return super().populate_exit_conditions(frame).dropna()

    rig = Rig(kinds={"dropping": Dropping})
    for close in range(100, 110):
        rig.bar(close)
    (failed,) = rig.facts(StrategyFailed)
    assert (
        "populate_exit_conditions returned a frame that does not end with the bar" in failed.reason
    )


# --- the same everywhere -------------------------------------------------------------------------


class FrameCrossover(FrameStrategy):
    """The rule of sma_crossover."""

    def required_history(self) -> int:
        return 31

    def populate_indicators(self, frame: DataFrame) -> DataFrame:
        for name, length in (("fast", 10), ("slow", 30)):
            frame[name] = frame["close"].rolling(length).mean()
        spread = (frame["fast"] - frame["slow"]).round(9)
        return frame.assign(spread=spread, before=spread.shift())

    def populate_entry_conditions(self, frame: DataFrame) -> DataFrame:
        frame["enter"] = (frame["spread"] > 0) & (frame["before"] <= 0)
        return frame

    def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
        frame["exit"] = (frame["spread"] < 0) & (frame["before"] >= 0)
        return frame


def test_it_says_what_the_event_style_says_by_the_same_rule() -> None:
    bars = Recordings().bars("ETH-USD")[:1500]
    by_frame, by_event = (sides(show(make(kind), bars)) for kind in (FrameCrossover, SmaCrossover))
    assert by_frame[30:] == by_event[30:]
    assert by_frame.count(Side.BUY) > 20


def test_after_a_restart_it_goes_on_as_if_there_had_been_none() -> None:
    """Of bars of the past it is shown none, and needs none."""
    random = Random(3)
    closes = [round(100 + random.random(), 2) for _ in range(40)]
    whole = Rig(kinds={"above": Above})
    for close in closes:
        whole.bar(close)
    first = Rig(kinds={"above": Above})
    for close in closes[:20]:
        first.bar(close)
    last = {"ACME": said(first)[-1]}
    state = StrategyState("above", True, last_signals=last)
    second = Rig(
        kinds={"above": Above},
        restored=Restored({"paper": CASH}, strategies=(state,)),
        started=False,
    )
    for close in closes[18:20]:
        second.bar(close, live=False)
    second.start()
    for close in closes[20:]:
        second.bar(close)
    assert said(first) + said(second) == said(whole)
    assert len(said(second)) > 5


def test_one_that_is_off_is_not_asked() -> None:
    asked: list[int] = []

    class Counting(Above):
        def populate_indicators(self, frame: DataFrame) -> DataFrame:
            asked.append(len(frame))
            return super().populate_indicators(frame)

    rig = Rig(kinds={"counting": Counting})
    rig.toggle("counting", False)
    for _ in range(5):
        rig.bar(100)
    assert asked == []
    rig.toggle("counting")
    rig.bar(101)
    assert asked == [2]
    assert said(rig) == [Side.BUY]


def test_the_start_of_the_engine_does_not_import_pandas() -> None:
    program = "import sys, engine.host.runtime, engine.plugins, engine.cli.strategy, tui.app\n"
    program += "engine.plugins.find_strategies()\nprint('pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "False\n"


# --- stakes and the last word --------------------------------------------------------------------


def staking(stake: Callable[[Any, Book], Any]) -> type[FrameStrategy]:
    class Staking(always()):
        def custom_stake_amount(self, row: Any, book: Book) -> Any:
            return stake(row, book)

    return Staking


def bought(rig: Rig) -> Order:
    for _ in range(2):
        rig.bar(100)
    return rig.last(OrderPurpose.ENTRY)


def test_its_stake_is_what_it_puts_in_at_the_worst_price() -> None:
    rig = Rig(kinds={"staking": staking(lambda row, _: row["average"] * 20.25)})
    order = bought(rig)
    assert (order.quantity, order.reference_price) == (20, Decimal("100.50"))
    (size,) = rig.facts(OrderSized)
    assert (size.method, size.basis["notional"]) == (SizingMethod.FIXED_NOTIONAL, 2025)


def test_limits_cap_its_stake() -> None:
    assert bought(Rig(kinds={"staking": staking(lambda *_: 10**9)})).quantity == 49


def test_without_a_stake_the_settings_size_it() -> None:
    rules = SizingRules(Sizing.parse("fixed_quantity:3"))
    assert bought(Rig(kinds={"staking": staking(lambda *_: None)}, sizing=rules)).quantity == 3


def test_it_may_stake_by_what_it_holds_and_by_the_equity() -> None:
    books: list[Book] = []

    def a_hundredth(_: Any, book: Book) -> float:
        books.append(book)
        return float(book.equity or 0) / 100

    rig = Rig("puppet", kinds={"staking": staking(a_hundredth)}, instruments=(ACME, COIN))
    rig.hold_position(symbol="COIN")
    rig.toggle("puppet", False)
    assert bought(rig).quantity == 9
    assert (books[0].equity, books[0].positions) == (CASH, {})
    assert books[0].cash is not None
    assert books[0].cash < CASH


def test_a_stake_of_nothing_makes_no_signal_and_is_asked_for_again() -> None:
    stakes = [0, 0.0, 500]
    rig = Rig(kinds={"staking": staking(lambda *_: stakes.pop(0))})
    for _ in range(3):
        rig.bar(100)
    assert said(rig) == []
    rig.bar(100)
    assert said(rig) == [Side.BUY]


def test_its_veto_is_told_with_its_reason() -> None:
    class Careful(always()):
        def confirm_trade_entry(self, order: Order) -> bool | str:
            return f"{order.quantity} is too many"

    rig = Rig(kinds={"careful": Careful})
    for _ in range(3):
        rig.bar(100)
    (blocked,) = rig.facts(SignalBlocked)
    assert (blocked.check, blocked.reason) == ("veto", "49 is too many")
    assert rig.orders == {}


# --- failures ------------------------------------------------------------------------------------


class NoFrame(Above):
    def populate_indicators(self, frame: DataFrame) -> Any:
        return None


class NoEntry(Above):
    populate_entry_conditions = FrameStrategy.populate_entry_conditions


class Misspelt(Above):
    def populate_entry_conditions(self, frame: DataFrame) -> DataFrame:
        return frame.assign(entry=True)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (NoFrame, "populate_indicators returned NoneType, no frame"),
        (NoEntry, "write populate_entry_conditions"),
        (Misspelt, "the frame has no column enter"),
        (always(enter="yes"), "the column enter has yes: write true or false"),
        (always(enter=0.5), "the column enter has 0.5: write true or false"),
        (always(strength=2.0), "a strength outside 0 to 1"),
        (always(stop_price=-1.0), "a stop price that is none"),
        (staking(lambda *_: nan), "custom_stake_amount returned nan, which is no amount"),
        (staking(lambda *_: -5), "custom_stake_amount returned -5.0, which is no amount"),
        (staking(lambda *_: "all"), "could not convert string to float"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_switches_it_off_and_the_others_go_on(
    kind: type[FrameStrategy], reason: str
) -> None:
    rig = Rig("puppet", kinds={"bad": kind})
    for _ in range(3):
        rig.bar(100)
    (failed,) = rig.facts(StrategyFailed)
    assert failed.strategy == "bad"
    assert reason in failed.reason
    assert rig.buy().quantity == 49
    assert not rig.killed


def test_a_window_of_nothing_is_one_of_the_bar_itself() -> None:
    class Short(always()):
        def required_history(self) -> int:
            return 0

    assert sides(play(Short, [10, 10])) == [Side.BUY, Side.BUY]


def test_a_window_that_is_not_kept_is_told_at_once() -> None:
    class Long(Above):
        def required_history(self) -> int:
            return 501

    rig = Rig(kinds={"long": Long})
    (refused,) = rig.facts(CommandRefused)
    assert "required_history is 501: at most 500 bars are kept" in refused.reason
