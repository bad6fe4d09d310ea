"""The first lines of a strategy in each style, and of its test.

Texts for `str.format`: `title`, `kind` (the class), `name`; of a test `title`, `name`, `path` (its
file) and `folder`, the expression that names where the strategy is.
"""

from msgspec import Struct


class Template(Struct, frozen=True):
    strategy: str
    test: str


_CHANNEL = '''"""{title}: say here the exact rule, and where it comes from.

Rule: buy when a close is above the highest high of the `length` bars before; sell when it is below
their lowest low.
"""
'''

_EVENT = (
    _CHANNEL
    + '''
from collections import deque
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.model import Bar, Fill, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class {kind}Parameters(StrategyParameters, frozen=True):
    """What can be set, each with its default and bounds. Lengths are in bars."""

    length: Annotated[int, Meta(ge=2, le=500)] = 20


class {kind}(Strategy):
    """There is one instance for each symbol; what you keep in `self` is of that symbol.

    Besides `on_bar` and `on_fill` there are `on_quote(quote)`, at each change of the best bid or
    ask, and `on_clock(now)`, about once a second of market time; both may return a signal.
    """

    Parameters = {kind}Parameters

    def initialize(self) -> None:
        self.highs: deque[float] = deque(maxlen=self.parameters.length)
        self.lows: deque[float] = deque(maxlen=self.parameters.length)

    def required_history(self) -> int:
        return self.parameters.length + 1

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        highest = max(self.highs, default=bar.high)
        lowest = min(self.lows, default=bar.low)
        self.highs.append(bar.high)
        self.lows.append(bar.low)
        if bar.close > highest:
            return self.signal(Side.BUY, bar, {{"highest": highest}})
        if bar.close < lowest:
            return self.signal(Side.SELL, bar, {{"lowest": lowest}})
        return None

    def on_fill(self, fill: Fill) -> None:
        """An order was filled, in part or whole; `self.read_book()` has what you hold now."""


STRATEGY_NAME = "{name}"
STRATEGY_CLASS = {kind}
'''
)

_FRAME = (
    _CHANNEL
    + '''
from typing import Annotated

from msgspec import Meta
from pandas import DataFrame

from engine.core.strategy import StrategyParameters
from engine.styles.frame import FrameStrategy


class {kind}Parameters(StrategyParameters, frozen=True):
    """What can be set, each with its default and bounds. Lengths are in bars."""

    length: Annotated[int, Meta(ge=2, le=499)] = 20


class {kind}(FrameStrategy):
    """The last row of the frame decides: what looks ahead of it is not there.

    `custom_stake_amount(row, book)` may say how much money to put in; `confirm_trade_entry(order)`
    may refuse an entry that is about to be made.
    """

    Parameters = {kind}Parameters

    def required_history(self) -> int:
        """The rows of the frame."""
        return self.parameters.length + 1

    def populate_indicators(self, frame: DataFrame) -> DataFrame:
        length = self.parameters.length
        frame["highest"] = frame["high"].rolling(length).max().shift()
        frame["lowest"] = frame["low"].rolling(length).min().shift()
        return frame

    def populate_entry_conditions(self, frame: DataFrame) -> DataFrame:
        frame["enter"] = frame["close"] > frame["highest"]
        return frame

    def populate_exit_conditions(self, frame: DataFrame) -> DataFrame:
        frame["exit"] = frame["close"] < frame["lowest"]
        return frame


STRATEGY_NAME = "{name}"
STRATEGY_CLASS = {kind}
'''
)

_POLICY = '''"""{title}: say here the exact rule, and where it comes from.

Rule: be in the symbol that rose most over the last `length` bars, with `weight` of the equity, and
out of every other; stay in the one that is held until another rose by `margin` more.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta

from engine.core.model import Book, Side
from engine.core.strategy import StrategyParameters
from engine.styles.policy import DecisionContext, Policy, PolicyOrder, SymbolSnapshot


class {kind}Parameters(StrategyParameters, frozen=True):
    """What can be set, each with its default and bounds. `length` is in bars, the others are
    parts of one."""

    length: Annotated[int, Meta(ge=2, le=499)] = 20
    weight: Annotated[float, Meta(gt=0, le=1)] = 0.05
    margin: Annotated[float, Meta(ge=0, le=1)] = 0.01


class {kind}(Policy):
    """There is one instance for all symbols. Say at every bar what you want of each symbol, held or
    not: what was said last is not heard twice, and limits cap it."""

    Parameters = {kind}Parameters

    def required_history(self) -> int:
        return self.parameters.length + 1

    def decide(
        self,
        portfolio: Book,
        snapshot: Mapping[str, SymbolSnapshot],
        context: DecisionContext,
    ) -> Iterator[PolicyOrder]:
        first = -1 - self.parameters.length
        rises = {{
            symbol: bars[-1].close / bars[first].close - 1
            for symbol, bars in context.history.items()
            if len(bars) > self.parameters.length
        }}
        best = max(rises, key=lambda symbol: rises[symbol], default="")
        for held in portfolio.positions:
            if held in rises and rises[best] < rises[held] + self.parameters.margin:
                best = held
        for symbol, rise in rises.items():
            why = {{"rise": rise}}
            if symbol == best:
                weight = self.parameters.weight
                yield PolicyOrder(symbol, Side.BUY, weight=weight, indicators=why)
            else:
                yield PolicyOrder(symbol, Side.SELL, indicators=why)


STRATEGY_NAME = "{name}"
STRATEGY_CLASS = {kind}
'''

_HEAD = '''"""{title}, on bars worked out by hand. Run with: pytest {path}"""

from pathlib import Path

'''

_CHANNEL_TEST = (
    _HEAD
    + '''from engine.core.model import MINUTE, Bar, Side
from engine.core.strategy import make_parameters
from engine.plugins import find_strategies

KIND = find_strategies({folder}).kinds["{name}"]


def sides(*closes: float) -> list[Side | None]:
    """What it says at each of these closes, with `length` 2."""
    strategy = KIND("TEST", make_parameters(KIND, {{"length": 2}}))
    found: list[Side | None] = []
    history: list[Bar] = []
    for number, close in enumerate(closes, 1):
        bar = Bar("TEST", number * MINUTE, close, close, close, close, 1.0)
        history.append(bar)
        signal = strategy.on_bar(bar, history)
        found.append(signal.side if signal else None)
    return found


def test_it_buys_above_the_highest_and_sells_below_the_lowest() -> None:
    assert sides(11, 10, 10.5, 11.5, 9.9) == [None, {second}, None, Side.BUY, Side.SELL]
'''
)

_POLICY_TEST = (
    _HEAD
    + '''from engine.core.model import HUNDRED, MINUTE, Bar, Book, Position, Side
from engine.core.strategy import make_parameters
from engine.plugins import find_strategies
from engine.styles.policy import DecisionContext, SymbolSnapshot

KIND = find_strategies({folder}).kinds["{name}"]


def wanted(held: str, **closes: list[float]) -> dict[str, Side]:
    """What it wants of each symbol after these closes, with `length` 2."""
    parameters = make_parameters(KIND, {{"length": 2}})
    history = {{
        symbol: [Bar(symbol, n * MINUTE, c, c, c, c, 1.0) for n, c in enumerate(prices, 1)]
        for symbol, prices in closes.items()
    }}
    snapshot = {{s: SymbolSnapshot(b[-1], None, b[-1].close) for s, b in history.items()}}
    last = next(iter(history.values()))[-1]
    book = Book(positions={{held: Position("{name}", held, HUNDRED)}} if held else {{}})
    context = DecisionContext(last.ts, last, parameters, history)
    orders = KIND(last.symbol, parameters).decide(book, snapshot, context)
    return {{order.symbol: order.side for order in orders}}


def test_it_wants_the_one_that_rose_most_and_no_other() -> None:
    rose = {{"A": [10, 10, 11], "B": [10, 10, 12]}}
    assert wanted("", **rose) == {{"A": Side.SELL, "B": Side.BUY}}


def test_it_stays_with_what_it_holds_until_another_rose_by_more_than_the_margin() -> None:
    assert wanted("A", A=[10, 10, 11], B=[10, 10, 11.05])["A"] is Side.BUY
    assert wanted("A", A=[10, 10, 11], B=[10, 10, 11.15])["A"] is Side.SELL
'''
)

TEMPLATES = {
    "event": Template(_EVENT, _CHANNEL_TEST.replace("{second}", "Side.SELL")),
    "frame": Template(_FRAME, _CHANNEL_TEST.replace("{second}", "None")),
    "policy": Template(_POLICY, _POLICY_TEST),
}
"""By the name of the style."""
