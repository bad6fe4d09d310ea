"""The symbol panel: what is known of one symbol now, a line for each."""

from collections.abc import Hashable, Iterator, Sequence

from msgspec import Struct

from engine.core.model import Instrument, Order, OrderState, Scope, Side
from engine.view.snapshot import PositionRow, QuoteRow, Snapshot
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line


class Fact(Struct, frozen=True, gc=False):
    """`key` names the line from one frame to the next."""

    key: str
    name: str
    text: str
    style: str = "text"


class Symbol(LineTable[Fact]):
    """The quote of `symbol` with all that is known of its book, its state, what is held of it and
    the orders that are open."""

    columns = (Column("", 8), Column("", 12, grows=True))
    header = False
    empty = "no symbol"
    symbol = ""

    def about(self) -> str:
        return self.symbol

    def rows(self, frame: Frame) -> Sequence[Fact]:
        snapshot = frame.snapshot
        rows = snapshot.quotes if snapshot else ()
        row = next((row for row in rows if row.symbol == self.symbol), None)
        if snapshot is None or row is None:
            return ()
        return tuple(_facts(snapshot, row))

    def row_id(self, row: Fact) -> Hashable:
        return row.key

    def cells(self, row: Fact) -> Line:
        return (row.name, "head"), (row.text, row.style)


def _facts(snapshot: Snapshot, row: QuoteRow) -> Iterator[Fact]:
    symbol, instrument = row.symbol, snapshot.instruments.get(row.symbol)
    yield Fact("symbol", "symbol", symbol, "strong")
    yield from _state(snapshot, row)
    yield from _quote(row, instrument, snapshot.ts)
    for held in snapshot.positions:
        if held.position.symbol == symbol:
            yield from _position(held, instrument)
    for order in snapshot.orders:
        if order.symbol == symbol and order.is_open:
            yield _order(order, instrument)


def _state(snapshot: Snapshot, row: QuoteRow) -> Iterator[Fact]:
    """What keeps the symbol from being traded, if anything does."""
    symbol = row.symbol
    if row.stale:
        age = format.since(row.ts, snapshot.ts)
        yield Fact("stale", "STALE", f"no data for {age}", "warn")
    for paused in snapshot.paused:
        if paused.symbol == symbol:
            until = f" until {format.clock(paused.until)}" if paused.until else ""
            yield Fact("paused", "PAUSED", f"{paused.reason}{until}", "warn")
    for part in (killed.killed.part for killed in snapshot.killed_parts):
        if (part.scope, part.name) == (Scope.SYMBOL, symbol):
            yield Fact("killed", "KILLED", "no order leaves", "alarm")


def _quote(row: QuoteRow, instrument: Instrument | None, now: int) -> Iterator[Fact]:
    quote = row.quote
    style = "stale" if row.stale else "text"
    change = format.percent(row.change_pct)
    yield Fact("last", "last", format.price(row.last, instrument), style)
    direction = "stale" if row.stale else format.direction(change)
    yield Fact("day", "day", f"{format.arrow(change)}{change}", direction)
    if quote is None:
        yield Fact("ask", "bid ask", format.DASH, "dim")
    else:
        spread = quote.ask - quote.bid
        share = format.number(spread / quote.mid * 1e4, 1)
        for name, price, size in (
            ("ask", quote.ask, quote.ask_size),
            ("bid", quote.bid, quote.bid_size),
        ):
            text = f"{format.price(price, instrument)} × {format.compact(size)}"
            yield Fact(name, name, text, style)
        text = f"{format.price(spread, instrument)}  {share} bp"
        yield Fact("spread", "spread", text, style)
    yield Fact("depth", "depth", "top of book only", "dim")
    yield Fact("age", "age", format.since(row.ts, now), style)
    yield Fact("volume", "volume", format.compact(row.volume), style)


def _position(row: PositionRow, instrument: Instrument | None) -> Iterator[Fact]:
    held, key = row.position, row.position.strategy
    gain = format.money(row.unrealised_pnl, signed=True)
    text = f"{format.quantity(held.quantity)} @ {format.price(held.avg_price, instrument)}"
    yield Fact(f"held {key}", "position", text, "strong")
    yield Fact(f"by {key}", "  of", key, "dim")
    yield Fact(f"gain {key}", "  gain", gain, format.direction(gain))
    stop = format.price(row.stop_price, instrument)
    if row.unprotected:
        text = f"{stop}, {format.quantity(row.unprotected)} without"
        yield Fact(f"stop {key}", "  stop", text, "warn")
    else:
        yield Fact(f"stop {key}", "  stop", stop)


def _order(order: Order, instrument: Instrument | None) -> Fact:
    asked = order.stop_price if order.limit_price is None else order.limit_price
    price = "market" if asked is None else format.price(asked, instrument)
    state = format.words(order.state)
    doubtful = order.state is OrderState.IN_DOUBT
    side = "up" if order.side is Side.BUY else "down"
    text = (
        f"{format.quantity(order.leaves)} @ {price} {format.words(order.type)}, "
        f"{state.upper() if doubtful else state}"
    )
    return Fact(order.client_order_id, order.side.upper(), text, "caution" if doubtful else side)
