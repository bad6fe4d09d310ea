"""What Alpaca answers, in its words and in the engine's."""

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from engine.brokers.base import InDoubt
from engine.core.events import ExecutionReport, VenueOrder
from engine.core.model import (
    EXTERNAL,
    ORDER_TYPES,
    TIMES_IN_FORCE,
    ZERO,
    Fill,
    Instrument,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    nanos,
)
from engine.core.model import Order as OurOrder
from engine.core.order_moves import is_made_here
from engine.core.text import clean

T = TypeVar("T")

ENDS = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
"""The other states work, whatever they are called; `replaced` is the business of the next one."""

REPLACEMENT = re.compile(r"(.+)-r(\d+)")
"""A replace makes a new order, which needs a client order id of its own: the first one's, and which
replacement it is. So whose it is can be told without anything being kept."""


class Refused(Exception):
    """Alpaca looked at a request and answered that it will not be. `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Named(Struct):
    """An order by its names there."""

    id: str
    client_order_id: str

    def __post_init__(self) -> None:
        self.id = clean(self.id)

    @property
    def root(self) -> str:
        """The client order id of the intent that it belongs to, harmless: that of another program's
        order may be any text."""
        return clean(self.told_root)

    @property
    def told_root(self) -> str:
        """As Alpaca has it."""
        match = REPLACEMENT.fullmatch(self.client_order_id)
        return match[1] if match else self.client_order_id


class Canceled(Struct):
    """What became of an order where all are cancelled; `status` is HTTP's."""

    id: str
    status: int


class Order(Named):
    """An order (https://docs.alpaca.markets/reference/getallorders). `filled_qty` is what it filled
    itself: what those before it in a chain of replacements filled is not in it."""

    symbol: str
    side: Side
    status: str
    updated_at: datetime
    created_at: datetime
    asset_class: str = "us_equity"
    type: str = "market"
    time_in_force: str = "day"
    qty: Decimal | None = None
    filled_qty: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    def __post_init__(self) -> None:
        """A stop of ours in crypto is told as it was meant (`stops`)."""
        super().__post_init__()
        has_limit = self.type == OrderType.STOP_LIMIT and self.asset_class == "crypto"
        if has_limit and is_made_here(self.root):
            self.type, self.limit_price = str(OrderType.STOP), None

    @property
    def next_id(self) -> str:
        """The client order id of what may replace it."""
        match = REPLACEMENT.fullmatch(self.client_order_id)
        return f"{self.root}-r{int(match[2]) + 1 if match else 1}"

    @property
    def is_working(self) -> bool:
        return self.status not in ENDS and self.status != "replaced"

    @property
    def state(self) -> OrderState:
        working = OrderState.PARTIALLY_FILLED if self.filled_qty else OrderState.ACCEPTED
        return ENDS.get(self.status, working)


class Update(Struct):
    """A message of `trade_updates`; `qty` and `price` are those of its execution, `position_qty` is
    what the account holds after it."""

    event: str
    order: Order
    timestamp: datetime
    execution_id: str | None = None
    previous_execution_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    position_qty: Decimal | None = None
    reason: str = ""


class Activity(Struct):
    """An execution, as the account's activities have it."""

    id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    cum_qty: Decimal
    price: Decimal
    transaction_time: datetime

    def __post_init__(self) -> None:
        self.order_id = clean(self.order_id)


class Position(Struct):
    symbol: str
    qty: Decimal
    side: str = "long"

    @property
    def signed(self) -> Decimal:
        return -abs(self.qty) if self.side == "short" else self.qty


class Account(Struct):
    account_number: str
    status: str
    cash: Decimal
    buying_power: Decimal
    account_blocked: bool = False
    trading_blocked: bool = False
    trade_suspended_by_user: bool = False
    pattern_day_trader: bool | None = None
    daytrade_count: int | None = None

    @property
    def objection(self) -> str:
        """Why no order can be made now; empty where one can."""
        if self.status != "ACTIVE":
            return f"the account is {clean(self.status)}"
        if self.account_blocked:
            return "the account is blocked"
        if self.trading_blocked:
            return "trading is blocked"
        return (
            "trading is suspended in the account's settings" if self.trade_suspended_by_user else ""
        )


class Clock(Struct):
    timestamp: datetime


class RawQuote(Struct):
    t: datetime
    bp: float | None = None
    ap: float | None = None
    bs: float | None = None
    as_: float | None = msgspec.field(default=None, name="as")


def read(answer: Any, kind: type[T]) -> T:
    """`answer`, parsed JSON, as a `kind`. Raises InDoubt where it is none: then nobody knows what
    was meant."""
    try:
        return msgspec.convert(answer, kind, strict=False)
    except msgspec.ValidationError:
        raise InDoubt("alpaca's answer makes no sense") from None


class Symbols:
    """The engine's names of instruments, and Alpaca's: it calls a pair BTC/USD in an order, and
    BTCUSD among positions."""

    def __init__(self, instruments: Iterable[Instrument], venue: str) -> None:
        self.instruments = {i.symbol: i for i in instruments}
        self._venue = venue
        self._ours = {self.theirs(symbol).replace("/", ""): symbol for symbol in self.instruments}

    def theirs(self, symbol: str) -> str:
        return symbol.removeprefix(f"{self._venue}:")

    def ours(self, symbol: str) -> str:
        return self._ours.get(symbol.replace("/", ""), clean(symbol))


def report_of(
    order: Order, ts: int, fill: Fill | None = None, terms: OrderTerms | None = None
) -> ExecutionReport:
    reason = f"alpaca: {clean(order.status)}" if order.status == "rejected" else ""
    updated = nanos(order.updated_at)
    return ExecutionReport(order.root, order.state, order.id, fill, reason, terms, updated, ts=ts)


def terms_of(
    order: Order, filled_before: Decimal, asked_stop: Decimal | None = None
) -> OrderTerms | None:
    """What an order asks for in all. Of a trailing stop the venue tells where the stop is now;
    `asked_stop` is where it was to begin, and without it the terms are not known."""
    stop_price = asked_stop if order.type == OrderType.TRAILING_STOP else order.stop_price
    if order.qty is None or (stop_price is None and order.type == OrderType.TRAILING_STOP):
        return None
    return OrderTerms(filled_before + order.qty, order.limit_price, stop_price)


def venue_order(order: Order, symbol: str, filled_before: Decimal) -> VenueOrder:
    """An open order, ours or not."""
    filled = filled_before + order.filled_qty
    prices = [p for p in (order.limit_price, order.stop_price) if p is not None]
    listed = OurOrder(
        order.root,
        EXTERNAL,
        symbol,
        order.side,
        _type_of(order),
        filled_before + (order.qty if order.qty is not None else order.filled_qty),
        OrderPurpose.EXTERNAL,
        nanos(order.created_at),
        nanos(order.updated_at),
        max(prices, default=ZERO),
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        time_in_force=_time_in_force(order.time_in_force),
        state=order.state,
        filled=filled,
        avg_price=order.filled_avg_price,
        venue_order_id=order.id,
        trail=order.trail_price,
    )
    return VenueOrder(listed, order.state)


def _type_of(order: Order) -> OrderType:
    return OrderType(order.type) if order.type in ORDER_TYPES else OrderType.UNKNOWN


def _time_in_force(text: str) -> TimeInForce:
    """Alpaca has more of them, as those of orders for an auction (opg, cls)."""
    return TimeInForce(text) if text in TIMES_IN_FORCE else TimeInForce.UNKNOWN


def execution_id(order_id: str, filled: Decimal) -> str:
    """The same for one execution, whether the stream tells of it or the account's activities: the
    order, and what it had filled with it. Whether their own ids agree is written nowhere."""
    return f"{order_id}:{filled.normalize():f}"


def fill_of(update: Update, symbol: str) -> Fill | None:
    """The execution that an update tells of; None where it tells of none."""
    order = update.order
    if update.qty is None or update.price is None or update.event not in ("fill", "partial_fill"):
        return None
    return Fill(
        execution_id(order.id, order.filled_qty),
        order.root,
        symbol,
        order.side,
        update.qty,
        update.price,
        ZERO,
        nanos(update.timestamp),
        venue_order_id=order.id,
    )


def fill_of_activity(activity: Activity, symbol: str, root: str) -> Fill:
    """`root` is the client order id of its order's intent. A short sale is a sell."""
    return Fill(
        execution_id(activity.order_id, activity.cum_qty),
        root,
        symbol,
        Side.BUY if activity.side == "buy" else Side.SELL,
        activity.qty,
        activity.price,
        ZERO,
        nanos(activity.transaction_time),
        venue_order_id=activity.order_id,
    )


def quote_of(raw: RawQuote, symbol: str) -> Quote | None:
    quote = Quote(symbol, nanos(raw.t), raw.bp or 0.0, raw.ap or 0.0, raw.bs or 0.0, raw.as_ or 0.0)
    return quote if quote.is_sound else None
