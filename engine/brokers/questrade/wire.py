"""Questrade's words and ours: what its answers hold, and what an order is to it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import nan
from typing import Any

from msgspec import MsgspecError, Struct, json

from engine.brokers.base import NotSent
from engine.core.events import ExecutionReport
from engine.core.model import (
    DAY,
    MINUTE,
    ZERO,
    Bar,
    Fill,
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    nanos,
    utc,
)
from engine.core.model import TimeInForce as Tif
from engine.core.text import clean

S = OrderState

NO_LOGIN = "Questrade needs a new login"
PREFIX = "questrade:"
"""Of the symbols whose names another venue has too."""
TYPES = {
    OrderType.MARKET: "Market",
    OrderType.LIMIT: "Limit",
    OrderType.STOP: "Stop",
    OrderType.STOP_LIMIT: "StopLimit",
}
TIMES = {
    Tif.DAY: "Day",
    Tif.GTC: "GoodTillCanceled",
    Tif.IOC: "ImmediateOrCancel",
    Tif.FOK: "FillOrKill",
}
OUR_TYPES = {name: kind for kind, name in TYPES.items()}
OUR_TIMES = {name: kind for kind, name in TIMES.items()}
SELLS = frozenset({"sell", "short", "stc", "sto"})
"""The sides that sell, in lower case: examples of executions write them in capitals."""
ENDED = {
    "Executed": S.FILLED,
    "Canceled": S.CANCELED,
    "PartialCanceled": S.CANCELED,
    "Rejected": S.REJECTED,
    "Failed": S.REJECTED,
    "Expired": S.EXPIRED,
}
"""The states in which an order ends. In every other one, known or not, it works."""
REPLACED = "Replaced"
"""Another order of the same chain is in its place."""
INTERVALS = {
    minutes * MINUTE: name
    for minutes, name in {
        1: "OneMinute", 2: "TwoMinutes", 3: "ThreeMinutes", 4: "FourMinutes", 5: "FiveMinutes",
        10: "TenMinutes", 15: "FifteenMinutes", 20: "TwentyMinutes", 30: "HalfHour",
        60: "OneHour", 120: "TwoHours", 240: "FourHours", 1440: "OneDay",
    }.items()
}  # fmt: skip
"""Of bars, by their length in nanoseconds."""


class Request(Struct, frozen=True):
    """`lane` is what it counts for: account, market or orders."""

    method: str
    path: str
    lane: str = "account"
    params: Mapping[str, str] = {}
    body: Mapping[str, Any] | None = None


class Refused(NotSent):
    """Questrade looked at the request and does not do it; `content` is the whole answer."""

    def __init__(self, reason: str, status: int, content: bytes) -> None:
        super().__init__(reason)
        self.status = status
        self.content = content


class Row(Struct, frozen=True, rename="camel"):
    """A record of an answer; what Questrade may leave out has a default."""


class Clock(Row, frozen=True):
    time: datetime


class OrderRow(Row, frozen=True):
    """An order. One that is replaced has a new `id` and the same `chain_id`: the first one's."""

    id: int
    symbol: str
    side: str
    order_type: str
    state: str
    total_quantity: Decimal
    filled_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    avg_exec_price: Decimal | None = None
    time_in_force: str = ""
    chain_id: int | None = None
    creation_time: datetime | None = None
    update_time: datetime | None = None
    client_reason_str: str | None = None

    def __post_init__(self) -> None:
        numbers = (self.total_quantity, self.filled_quantity, self.limit_price, self.stop_price)
        if not all(number is None or number.is_finite() for number in numbers):
            raise ValueError("what is no number")

    @property
    def chain(self) -> int:
        return self.chain_id or self.id

    @property
    def filled(self) -> Decimal:
        return self.filled_quantity or ZERO

    @property
    def terms(self) -> OrderTerms:
        return OrderTerms(self.total_quantity, self.limit_price or None, self.stop_price or None)

    @property
    def our_state(self) -> OrderState:
        return ENDED.get(self.state) or (S.PARTIALLY_FILLED if self.filled else S.ACCEPTED)


class ExecutionRow(Row, frozen=True):
    id: int
    order_id: int
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    timestamp: datetime | None = None
    order_chain_id: int | None = None
    commission: Decimal | None = None
    execution_fee: Decimal | None = None
    sec_fee: Decimal | None = None
    canadian_execution_fee: Decimal | None = None
    order_placement_commission: Decimal | None = None

    @property
    def chain(self) -> int:
        return self.order_chain_id or self.order_id

    @property
    def costs(self) -> Decimal:
        """All that was paid for it."""
        parts = (
            self.commission,
            self.execution_fee,
            self.sec_fee,
            self.canadian_execution_fee,
            self.order_placement_commission,
        )
        return sum((part for part in parts if part is not None), ZERO)


class AccountRow(Row, frozen=True):
    number: str | int
    type: str = ""
    status: str = "Active"


class PositionRow(Row, frozen=True):
    symbol: str
    open_quantity: Decimal


class BalanceRow(Row, frozen=True):
    currency: str
    cash: Decimal | None = None
    buying_power: Decimal | None = None


class SymbolRow(Row, frozen=True):
    symbol: str
    symbol_id: int


class TickRow(Row, frozen=True):
    """The step of prices from `pivot` on."""

    pivot: Decimal
    min_tick: Decimal


class SymbolDetail(Row, frozen=True):
    symbol: str
    symbol_id: int
    currency: str
    security_type: str = ""
    listing_exchange: str = ""
    is_tradable: bool = False
    is_quotable: bool = False
    min_ticks: tuple[TickRow, ...] = ()
    trade_unit: int = 1


class QuoteRow(Row, frozen=True):
    """`delay` is in minutes, or says that there is one; prices are null where there are none."""

    symbol_id: int
    bid_price: float | None = None
    ask_price: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    delay: int | bool = 0
    is_halted: bool = False


class CandleRow(Row, frozen=True):
    start: datetime
    end: datetime
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None


class Accounts(Row, frozen=True):
    accounts: tuple[AccountRow, ...]


class Orders(Row, frozen=True):
    """`message` says why an order that was made did not stay."""

    orders: tuple[OrderRow, ...]
    message: str = ""


class Canceled(Row, frozen=True):
    order_id: int


class Executions(Row, frozen=True):
    executions: tuple[ExecutionRow, ...]


class Positions(Row, frozen=True):
    positions: tuple[PositionRow, ...]


class Balances(Row, frozen=True):
    per_currency_balances: tuple[BalanceRow, ...]


class Symbols(Row, frozen=True):
    symbols: tuple[SymbolRow, ...]


class SymbolDetails(Row, frozen=True):
    symbols: tuple[SymbolDetail, ...]


class Quotes(Row, frozen=True):
    quotes: tuple[QuoteRow, ...]


class Candles(Row, frozen=True):
    candles: tuple[CandleRow, ...]


class StreamPort(Row, frozen=True):
    stream_port: int


class Greeting(Row, frozen=True):
    success: bool


class Notification(Row, frozen=True):
    orders: tuple[OrderRow, ...] = ()
    executions: tuple[ExecutionRow, ...] = ()


# --- ours ----------------------------------------------------------------------------------------


def name_of(symbol: str) -> str:
    """What Questrade calls a symbol of ours."""
    return symbol.removeprefix(PREFIX)


def side_of(name: str) -> Side:
    return Side.SELL if name.lower() in SELLS else Side.BUY


def time_of(moment: datetime | None) -> int:
    """ns UTC; 0 where it is not told."""
    return nanos(moment) if moment is not None and moment.tzinfo is not None else 0


def iso(ts: int) -> str:
    """A time as Questrade takes it."""
    return utc(ts).isoformat()


def report_of(row: OrderRow, client_order_id: str, now: int, reason: str = "") -> ExecutionReport:
    """What Questrade says of an order, by the id of its chain, which no replace changes."""
    return ExecutionReport(
        client_order_id,
        row.our_state,
        str(row.chain),
        reason=clean(reason or row.client_reason_str or ""),
        terms=row.terms,
        transact_ts=time_of(row.update_time),
        ts=now,
    )


def fill_of(row: ExecutionRow, client_order_id: str, symbol: str, now: int) -> Fill:
    return Fill(
        f"questrade-{row.id}",
        client_order_id,
        symbol,
        side_of(row.side),
        row.quantity,
        row.price,
        row.costs,
        time_of(row.timestamp) or now,
        venue_order_id=str(row.chain),
    )


def bar_of(row: CandleRow, symbol: str, interval: int) -> Bar:
    """A day ends at midnight in Toronto: on the days on which clocks change it is not as long."""
    end = time_of(row.end) if interval == DAY else time_of(row.start) + interval
    found = (row.open, row.high, row.low, row.close, row.volume)
    open_, high, low, close, volume = (nan if number is None else number for number in found)
    return Bar(symbol, end, open_, high, low, close, volume, interval)


def made_all_the_same(refused: Refused) -> Orders | None:
    """What a refusal says of an order that it left behind; None where there is none."""
    try:
        answer = json.decode(refused.content, type=Orders)
    except MsgspecError:
        return None
    return answer if answer.orders else None


def body_of(order: Order, terms: OrderTerms, account: str, symbol_id: int) -> dict[str, Any]:
    """What is to be sent for `order`; its numbers are exact on the wire."""
    body: dict[str, Any] = {
        "accountNumber": account,
        "symbolId": symbol_id,
        "quantity": terms.quantity,
        "orderType": TYPES[order.type],
        "timeInForce": TIMES[order.time_in_force],
        "action": order.side.value.capitalize(),
        "primaryRoute": "AUTO",
        "secondaryRoute": "AUTO",
    }
    if terms.limit_price is not None:
        body["limitPrice"] = terms.limit_price
    if terms.stop_price is not None:
        body["stopPrice"] = terms.stop_price
    return body
