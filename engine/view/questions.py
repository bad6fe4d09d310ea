"""What may be asked of the engine beyond the snapshot, and what it answers.

A snapshot is what everybody looks at all the time; a question is asked where somebody looks closer:
at the chart of a symbol, at orders of last week. Both are values with a tag, so they travel over a
socket as well. An answer is of one moment, and bounded: what asks for more gets the most there is.
"""

from decimal import Decimal
from typing import Generic, TypeVar

from msgspec import Struct

from engine.core.model import Bar, Fill, Order, OrderState, Part
from engine.view.snapshot import FillRow, SignalRow

MOST_FILLS = 500
MOST_ORDERS = 500
MOST_POINTS = 2_000
MOST_WAITING = 16
"""Questions that wait for their answers; further ones are refused."""


class Answer(Struct, frozen=True, tag=True, gc=False):
    pass


A = TypeVar("A", bound=Answer)


class Question(Struct, Generic[A], frozen=True, tag=True, gc=False):
    """Asks for an answer of the type `A`."""


class Chart(Answer, frozen=True):
    """The last `bars` of a symbol that the market holds, oldest first, and the `fills` and
    `signals` since the first of them began, as far as they are in memory, oldest first."""

    symbol: str
    bars: tuple[Bar, ...]
    fills: tuple[Fill, ...]
    signals: tuple[SignalRow, ...]


class Bars(Question[Chart], frozen=True):
    """The last `count` bars of `symbol`."""

    symbol: str
    count: int


class EquityPoint(Struct, frozen=True, gc=False):
    ts: int
    equity: Decimal
    cash: Decimal


class EquityCurve(Answer, frozen=True):
    """`points` in `currency`, oldest first, empty where none was saved yet. Where they are fewer
    than what was saved, the highest and the lowest of each stretch of it are among them."""

    currency: str
    points: tuple[EquityPoint, ...]


class Equity(Question[EquityCurve], frozen=True):
    """The saved equity curve since `since` (ns UTC) in at most `points`, at least 4."""

    points: int
    since: int = 0


OrderKey = tuple[int, str]
"""`created_ts` and client order id: the place of an order in the history."""


class OrderPage(Answer, frozen=True):
    """`orders` of the history, newest first. `before` asks for the page after this one; None where
    this is the last."""

    orders: tuple[Order, ...]
    before: OrderKey | None


class Orders(Question[OrderPage], frozen=True):
    """The `count` newest orders of all that the database holds, older than `before`.

    Of those alone whose ids, strategy, symbol or reason contain `text`, whatever its case; of the
    `strategy` and the `symbol`, and in one of the `states`; where one of these is empty, of all.
    """

    text: str = ""
    strategy: str = ""
    symbol: str = ""
    states: tuple[OrderState, ...] = ()
    before: OrderKey | None = None
    count: int = 100


FillKey = tuple[int, str, str]
"""`ts`, execution id and symbol: the place of a fill in the history."""


class FillPage(Answer, frozen=True):
    """`fills` of the history, newest first. `before` asks for the page after this one; None where
    this is the last."""

    fills: tuple[FillRow, ...]
    before: FillKey | None


class Fills(Question[FillPage], frozen=True):
    """The `count` newest executions of all that the database holds, older than `before`; of those
    alone whose ids, strategy, symbol or venue contain `text`, whatever its case."""

    text: str = ""
    before: FillKey | None = None
    count: int = 100


class Number(Struct, frozen=True, gc=False):
    """A number that a step rests on. `value` is None where it is not known. Where it was checked,
    `passed` says how that went, and `limit` what it has to be (at least, below or at most, as
    `bound` says); `setting` names the limit."""

    name: str
    value: Decimal | float | None
    unit: str = ""
    bound: str = ""
    limit: Decimal | float | None = None
    passed: bool | None = None
    setting: str = ""


class Step(Struct, frozen=True, gc=False):
    """Something that happened, at the market's time `ts` (ns UTC), `delay` ns after the step before
    it, None for the first. `order` is the client order id of the order that it is of, empty where
    it is of none."""

    ts: int
    delay: int | None
    title: str
    text: str
    numbers: tuple[Number, ...] = ()
    order: str = ""


class Chain(Answer, frozen=True):
    """How something came about: what `title` names, what became of it, the steps that led there,
    oldest first. `remedies` are what would have let it pass, where it was blocked; `unknown` is
    what is missing between the steps."""

    title: str
    outcome: str
    steps: tuple[Step, ...]
    remedies: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class WhyOrder(Question[Chain], frozen=True):
    client_order_id: str


class WhyFill(Question[Chain], frozen=True):
    execution_id: str
    symbol: str


class WhyPosition(Question[Chain], frozen=True):
    """Of the round trip that is open."""

    strategy: str
    symbol: str


class WhySignal(Question[Chain], frozen=True):
    """`seq` is the signal's sequence number in this session."""

    seq: int


class MeantPart(Answer, frozen=True):
    """The `part` by its whole name; `unknown` is why nothing can be killed under it, else empty."""

    part: Part
    unknown: str = ""


class WhichPart(Question[MeantPart], frozen=True):
    """Which `part` of the trading a name means: a symbol goes without its venue too."""

    part: Part


AnyQuestion = (
    Bars | Equity | Orders | Fills | WhyOrder | WhyFill | WhyPosition | WhySignal | WhichPart
)
AnyAnswer = Chart | EquityCurve | OrderPage | FillPage | Chain | MeantPart
