"""Interactive Brokers' TWS socket, as far as the adapter speaks it.

Messages are text fields that end in NUL, behind their length; the first field is the message's
number. The shapes are those of server version 178, the newest that ib_async speaks, read in its
decoder. The faults are those of a socket: there is no status of HTTP here.
"""

import asyncio
import struct
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import (
    DAY,
    NANOS,
    ZERO,
    Fill,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
    nanos,
    utc,
)
from tests.loopback import faults
from tests.loopback.faults import SLOW_S, Fault, Faults, Streams
from tests.loopback.venue import Change, Placed, Refused, Venue

ACCOUNT = "DU1234567"
VERSION = 178
TYPES = {
    "MKT": OrderType.MARKET,
    "LMT": OrderType.LIMIT,
    "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT,
    "TRAIL": OrderType.UNKNOWN,
}
NAMES = {kind: name for name, kind in TYPES.items()}
STATUS = {
    OrderState.ACCEPTED: "Submitted",
    OrderState.PARTIALLY_FILLED: "Submitted",
    OrderState.FILLED: "Filled",
    OrderState.CANCELED: "Cancelled",
    OrderState.EXPIRED: "Cancelled",
    OrderState.REJECTED: "Inactive",
}
KINDS = {
    1: "quote", 3: "submit", 4: "cancel", 7: "fills", 9: "symbol", 16: "order", 20: "bars",
    61: "positions", 62: "balance",
}  # fmt: skip
"""What a message is, for the faults; a place of a known order is a replace."""
PERM = 1_000_000
"""Added to an order's number: the id that IB gives it for good."""

Message = list[object]
Row = tuple[int, float, float, float, float, float]
"""Of a bar: its start, open, high, low, close and volume."""


START_API, OPEN_ORDERS = 71, 5
ALL, ORDERS = -1, -2
"""Who is told: every client, or those that follow orders; else it is the number of one."""


class _Client:
    """One connection, whose id is `number` once it has told it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.number = ALL
        self.follows_orders = False

    def say(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def hear(self, message: bytes | str) -> None:
        """What is said without being asked, where it is for this client."""
        assert isinstance(message, bytes)
        (target,) = struct.unpack_from(">i", message)
        if target in (ALL, self.number) or (target == ORDERS and self.follows_orders):
            self.say(message[4:])

    def cut(self) -> None:
        self._writer.transport.abort()

    async def end(self) -> None:
        self.cut()

    def cut_in(self, message: bytes, kept: int | None) -> None:
        """A part of a message, and then the end of the line."""
        self._writer.write(faults.part_of(message[4:], kept))
        self._writer.close()


class IbServer:
    """Of several clients, those that ask for open orders are told of orders, and each of the market
    data that it asked for. `sent` is every message as it came; while `keeps` is set no order is
    cancelled. Of the next orders and replaces, `remarks` are said before their answers, `refusals`
    in their place; each is a code and a text. A client whose id is `taken` is sent away; while
    `read_only` is set orders are none of a client's business. `foreign` are the numbers of orders
    that are the last account's. `details` is what is said otherwise
    of a contract, by symbol (exchange, tick, count); `bars` are what it has of a symbol, `asked` is
    how it was asked for them. Market data are of type `data_type`, or refused with `no_data`.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.port = 0
        self.accounts = [ACCOUNT]
        self.keeps = False
        self.corrections: dict[str, Decimal] = {}
        self.read_only = False
        self.foreign: set[int] = set()
        self.details: dict[str, dict[str, object]] = {}
        self.bars: dict[str, list[Row]] = {}
        self.data_type = 1
        self.no_data: tuple[int, str] | None = None
        self.asked: list[list[str]] = []
        self._tickers: dict[str, tuple[int, str]] = {}
        self._followed: dict[str, tuple[int, str]] = {}
        self.taken: set[int] = set()
        self.remarks: list[tuple[int, str]] = []
        self.refusals: list[tuple[int, str]] = []
        self.sent: list[list[str]] = []
        self._names: dict[int, tuple[int, int]] = {}
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._client = 0
        self._con_ids = {symbol: 265_598 + n for n, symbol in enumerate(venue.instruments)}
        venue.listeners.append(self._tell)

    async def start(self) -> None:
        """Listen, on the same port as before where it was stopped."""
        self.faults.closing.clear()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.faults.closing.set()
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._serving:
            await asyncio.wait(self._serving)

    def cut(self) -> None:
        """Every line is cut."""
        for client in self._clients:
            client.cut()

    # --- the socket -----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.streams.refuses:
            writer.transport.abort()
            return
        client = _Client(writer)
        self._clients.add(client)
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        saying = asyncio.create_task(self.streams.serve(client.hear, client.end, client.cut_in))
        await self._talk(client, reader)
        saying.cancel()
        await asyncio.wait([saying])
        writer.close()
        self._clients.discard(client)
        self._serving.discard(serving)

    async def _talk(self, client: "_Client", reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            assert await reader.readexactly(4) == b"API\0"
            await _read(reader)
            client.say(_wire([[VERSION, "20261121 10:00:00 UTC"]]))
            while True:
                fields = (await _read(reader)).decode().split("\0")[:-1]
                self.sent.append(fields)
                await self._answer(client, fields)

    def _tell_clients(self, target: int, messages: list[Message]) -> None:
        """Say it to the client of that number, to ALL, or to those that follow ORDERS."""
        self.streams.say(struct.pack(">i", target) + _wire(messages))

    async def _answer(self, client: "_Client", fields: list[str]) -> None:
        number = int(fields[0])
        kind = KINDS.get(number, "other")
        self._client = client.number
        if kind == "submit" and self._find(int(fields[1])) is not None:
            kind = "replace"
        fault = self.faults.take(kind)
        if fault is Fault.HANG:
            return
        if fault is Fault.RESET:
            client.cut()
            return
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
        if number == START_API:
            client.number = int(fields[2])
            if client.number in self.taken:
                text = "Unable to connect as the client id is already in use."
                client.say(_wire([_error(-1, 326, text)]))
                asyncio.get_running_loop().call_soon(client.cut)
                return
        client.follows_orders |= kind == "order" or number == OPEN_ORDERS
        self._client = client.number
        answers = self._answers(number, fields)
        if fault is Fault.LOST:
            client.cut()
        elif fault is Fault.LATE:
            loop = asyncio.get_running_loop()
            loop.call_later(faults.LATE_S, self._say_late, client, answers)
        elif fault is not Fault.MUTE:
            client.say(_wire(answers))

    def _say_late(self, client: _Client, answers: list[Message]) -> None:
        self.faults.late += 1
        client.say(_wire(answers))

    def _answers(self, number: int, fields: list[str]) -> list[Message]:
        match number:
            case 71:
                return [[9, 1, len(self.venue.orders) + 1], [15, 1, ",".join(self.accounts)]]
            case 3:
                return self._place(fields)
            case 4:
                return self._cancel(int(fields[2]))
            case 7:
                wanted = self.venue.fills
                rows = [row for fill in wanted for row in self._executed(fill, fields[2])]
                return [*rows, [55, 1, fields[2]]]
            case 5 | 16 if self.read_only:
                text = "The API interface is currently in Read-Only mode."
                return [_error(-1, 321, f"Error validating request.-'bW' : cause - {text}")]
            case 5 | 16:
                rows = [m for p in self.venue.open for m in (self._open(p), self._status(p))]
                return [*rows, [53, 1]]
            case 61:
                rows = [self._position(s, q) for s, q in self.venue.positions.items()]
                return [*rows, [62, 1]]
            case 62:
                tags = {"TotalCashValue": self.venue.cash, "BuyingPower": self.venue.cash}
                rows = [[63, 1, fields[2], ACCOUNT, t, v, "USD"] for t, v in tags.items()]
                return [*rows, [64, 1, fields[2]]]
            case 9:
                return self._details(fields)
            case 1:
                return self._quote(fields)
            case 20:
                return self._history(fields)
            case 49:
                return [[49, 1, self.venue.now() // NANOS]]
            case 99:
                return [[102]]
            case _:
                return []

    # --- orders ---------------------------------------------------------------------------------

    def say_error(self, code: int, text: str) -> None:
        """An error that is of no request."""
        self._tell_clients(ALL, [_error(-1, code, text)])

    def _place(self, fields: list[str]) -> list[Message]:
        number = int(fields[1])
        if self.refusals:
            return [_error(number, *self.refusals.pop(0))]
        remarks: list[Message] = [_error(number, *remark) for remark in self.remarks]
        self.remarks.clear()
        prices = [Decimal(text) if text else None for text in fields[19:21]]
        kind = TYPES[fields[18]]
        limit = prices[0] if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
        stop = prices[1] if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None
        quantity = Decimal(fields[17])
        known = self._find(number)
        try:
            if known is not None:
                self.venue.replace(known.number, OrderTerms(quantity, limit, stop))
                return [*remarks, self._open(known), self._status(known)]
            now = self.venue.now()
            order = Order(
                fields[26],
                "",
                fields[3],
                Side(fields[16].lower()),
                kind,
                quantity,
                OrderPurpose.EXTERNAL,
                now,
                now,
                ZERO,
                limit_price=limit,
                stop_price=stop,
                time_in_force=TimeInForce(fields[21].lower()),
            )
            self._names[len(self.venue.orders) + 1] = (self._client, number)
            placed = self.venue.submit(order)
        except Refused as error:
            return [_error(number, 201, f"Order rejected - reason:{error}")]
        return [*remarks, self._open(placed), self._status(placed)]

    def _cancel(self, number: int) -> list[Message]:
        placed = self._find(number)
        if placed is None:
            return [
                _error(number, 10147, f"OrderId {number} that needs to be cancelled is not found.")
            ]
        try:
            if self.keeps:
                raise Refused("state: Submitted")
            self.venue.cancel(placed.number)
        except Refused as error:
            return [_error(number, 10148, f"OrderId {number} cannot be cancelled, {error}")]
        return [self._status(placed), _error(number, 202, "Order Canceled - reason:")]

    def _find(self, order_id: int) -> Placed | None:
        for number, name in self._names.items():
            if name == (self._client, order_id):
                return self.venue.orders.get(number)
        return None

    def _tell(self, change: Change) -> None:
        if change.what not in ("accepted", "replaced", "canceled"):  # those are answers
            rows = self._executed(change.fill, "-1") if change.fill is not None else []
            self._tell_clients(ORDERS, [*rows, self._status(change.placed)])

    # --- shapes ---------------------------------------------------------------------------------

    def _account(self, placed: Placed) -> str:
        return self.accounts[-1] if placed.number in self.foreign else ACCOUNT

    def _name(self, placed: Placed) -> tuple[int, int]:
        """The client and its id of the order; zeros for one made by hand."""
        return self._names.get(placed.number, (0, 0))

    def _contract(self, symbol: str, exchange: str = "SMART") -> Message:
        return [
            self._con_ids[symbol],
            symbol,
            "STK",
            "",
            0,
            "?",
            "",
            exchange,
            "USD",
            symbol,
            "NMS",
        ]

    def _status(self, placed: Placed) -> Message:
        order, (client, number) = placed.order, self._name(placed)
        paid, last = order.avg_price or ZERO, placed.fills[-1].price if placed.fills else ZERO
        filled, leaves = order.filled, order.leaves
        perm = PERM + placed.number
        status = STATUS[order.state]
        if status == "Submitted" and order.stop_price is not None:
            status = "PreSubmitted"  # until it is triggered
        return [3, number, status, filled, leaves, paid, perm, 0, last, client, "", 0]

    def _open(self, placed: Placed) -> Message:
        order, (client, number) = placed.order, self._name(placed)
        blank = [""]
        return [
            5, number, *self._contract(order.symbol),
            order.side.upper(), order.quantity, NAMES[order.type],
            order.limit_price or 0, order.stop_price or 0, order.time_in_force.upper(),
            "", self._account(placed), "", 0, order.client_order_id, client, PERM + placed.number,
            0, 0, 0, "", "", "", "", "",
            *blank * 29, *blank * 7, 0, 0, 0, *blank * 3, "", *blank * 4, 0, "",
            0, 0, STATUS[order.state], *blank * 9, *blank * 5, 0, 0,
            0, *blank * 16, *blank * 3, *blank * 5,
        ]  # fmt: skip

    def correct(self, fill: Fill, price: Decimal) -> None:
        """The venue changes the price of an execution; it tells both from then on."""
        self.corrections[fill.execution_id] = price
        self._tell_clients(ORDERS, self._corrected(fill, "-1"))

    def _corrected(self, fill: Fill, request: str) -> list[Message]:
        price = self.corrections.get(fill.execution_id)
        if price is None:
            return []
        done, commission = self._execution(replace(fill, price=price), request, 2)
        return [done, commission]

    def _executed(self, fill: Fill, request: str) -> list[Message]:
        return [*self._execution(fill, request), *self._corrected(fill, request)]

    def _execution(self, fill: Fill, request: str, version: int = 1) -> list[Message]:
        placed = self.venue.orders[int(fill.venue_order_id)]
        client, number = self._name(placed)
        total = sum((f.quantity for f in placed.fills if f.ts <= fill.ts), ZERO)
        execution = f"0000e0d5.{fill.execution_id}.01.{version:02}"
        return [
            [
                11, request, number, *self._contract(fill.symbol), execution,
                f"{utc(fill.ts):%Y%m%d %H:%M:%S} UTC", self._account(placed), "NASDAQ",
                "BOT" if fill.side is Side.BUY else "SLD", fill.quantity, fill.price,
                PERM + placed.number, client, 0, total, placed.order.avg_price or fill.price,
                placed.order.client_order_id, "", "", "",
                1 if fill.liquidity is Liquidity.MAKER else 2, 0,
            ],
            [59, 1, execution, fill.commission, "USD", "", "", ""],
        ]  # fmt: skip

    def _position(self, symbol: str, quantity: Decimal) -> Message:
        return [61, 3, ACCOUNT, *self._contract(symbol, ""), quantity, 100]

    def _quote(self, fields: list[str]) -> list[Message]:
        """Once, or from now on."""
        request, symbol, is_snapshot = fields[2], self._symbol(fields[3]), fields[17] == "1"
        if self.no_data is not None:
            return [_error(int(request), *self.no_data)]
        if not is_snapshot:
            self._tickers[symbol] = (self._client, request)
        rows: list[Message] = [[58, 1, request, self.data_type], *self._ticks(symbol, request)]
        return [*rows, [57, 1, request]] if is_snapshot else rows

    def _ticks(self, symbol: str, request: str) -> list[Message]:
        quote = self.venue.quotes.get(symbol)
        if quote is None:
            return []
        return [
            [1, 6, request, 1, quote.bid, quote.bid_size, 0],
            [1, 6, request, 2, quote.ask, quote.ask_size, 0],
        ]

    def say_quote(self, symbol: str, bid: float, ask: float, size: float = 3) -> None:
        """The market of `symbol` moves."""
        self.venue.quote(symbol, bid, ask, size)
        client, request = self._tickers[symbol]
        self._tell_clients(client, self._ticks(symbol, request))

    def say_bid(self, symbol: str, bid: float) -> None:
        client, request = self._tickers[symbol]
        self._tell_clients(client, [[1, 6, request, 1, bid, 3, 0]])

    def say_halted(self, symbol: str, value: int) -> None:
        client, request = self._tickers[symbol]
        self._tell_clients(client, [[45, 6, request, 49, value]])

    def say_ticker_error(self, symbol: str, code: int, text: str) -> None:
        client, request = self._tickers[symbol]
        self._tell_clients(client, [_error(int(request), code, text)])

    def say_bar(self, symbol: str, row: Row) -> None:
        """The bar that forms, or a new one, of who keeps up to date."""
        start, open_, high, low, close, volume = row
        shown = [start // NANOS, open_, close, high, low, close, volume]
        client, request = self._followed[symbol]
        self._tell_clients(client, [[90, request, 7, *shown]])

    def _history(self, fields: list[str]) -> list[Message]:
        """What began in the time before the end, told by its start, or by its date for a day."""
        self.asked.append(fields[14:])
        request, symbol = fields[1], self._symbol(fields[2])
        end, size, duration, follows = fields[15], fields[16], fields[17], fields[21] == "1"
        until = self.venue.now()
        if end:
            stamp = datetime.strptime(end, "%Y%m%d %H:%M:%S UTC").replace(tzinfo=UTC)
            until = nanos(stamp)
        number, unit = duration.split(" ")
        since = until - int(number) * {"S": NANOS, "D": DAY}[unit]
        rows = [row for row in self.bars.get(symbol, ()) if since <= row[0] < until]
        if follows:
            self._followed[symbol] = (self._client, request)
        if not rows:
            text = "Historical Market Data Service error message:HMDS query returned no data"
            return [_error(int(request), 162, text)]
        told: Message = []
        for start, *numbers in rows:
            when = f"{utc(start):%Y%m%d}" if size == "1 day" else start // NANOS
            told += [when, *numbers, numbers[3], 7]
        return [[17, request, "", "", len(rows), *told]]

    def _symbol(self, con_id: str) -> str:
        return next(s for s, number in self._con_ids.items() if number == int(con_id))

    def _details(self, fields: list[str]) -> list[Message]:
        request, name, currency = fields[2], fields[4], fields[12]
        symbol = f"{name}.TO" if currency == "CAD" else name.replace(" ", ".")
        if symbol not in self._con_ids:
            return [_error(int(request), 200, "No security definition has been found")]
        said = {"exchange": "NASDAQ", "tick": "0.01", "count": 1} | self.details.get(symbol, {})
        row: Message = [
            10, request, name, "STK", "", 0, "", "SMART", currency, name, "NMS", "NMS",
            self._con_ids[symbol], said["tick"], "", "LMT,MKT", "SMART,NASDAQ", 1, 0, "",
            said["exchange"],
            "", "", "", "", "US/Eastern", "", "", "", 0, 0, 1, "", "", "26", "", "COMMON", 1, 1, 1,
        ]  # fmt: skip
        return [*[row] * int(str(said["count"])), [52, 1, request]]


def _wire(messages: list[Message]) -> bytes:
    texts = ["".join(f"{'' if f is None else f}\0" for f in fields) for fields in messages]
    return b"".join(struct.pack(">I", len(text)) + text for text in map(str.encode, texts))


def _error(number: int, code: int, text: str) -> Message:
    return [4, 2, number, code, text, ""]


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(size)
