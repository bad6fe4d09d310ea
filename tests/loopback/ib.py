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

from engine.core.model import (
    ZERO,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
    utc,
)
from tests.loopback.faults import Fault, Faults, Streams
from tests.loopback.venue import Change, Placed, Refused, Venue

ACCOUNT = "DU1234567"
VERSION = 178
TYPES = {
    "MKT": OrderType.MARKET,
    "LMT": OrderType.LIMIT,
    "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT,
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
KINDS = {3: "submit", 4: "cancel", 7: "fills", 16: "order", 61: "positions", 62: "balance"}
"""What a message is, for the faults; a place of a known order is a replace."""
PERM = 1_000_000
"""Added to an order's number: the id that IB gives it for good."""

Message = list[object]


class IbServer:
    """One client at a time. `sent` is every message as it came; while `keeps` is set no order is
    cancelled."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.faults = Faults()
        self.streams = Streams()
        self.port = 0
        self.accounts = [ACCOUNT]
        self.keeps = False
        self.sent: list[list[str]] = []
        self._names: dict[int, tuple[int, int]] = {}
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._client = 0
        self._con_ids = {symbol: 265_598 + n for n, symbol in enumerate(venue.instruments)}
        venue.listeners.append(self._tell)

    async def start(self) -> None:
        """Listen, on the same port as before where it was stopped."""
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
        """The line is cut."""
        if self._writer is not None:
            self._writer.transport.abort()

    # --- the socket -----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.streams.refuses:
            writer.transport.abort()
            return
        self._writer = writer
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        saying = asyncio.create_task(self.streams.serve(self._say, self._end))
        await self._talk(reader)
        saying.cancel()
        await asyncio.wait([saying])
        writer.close()
        self._serving.discard(serving)

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            assert await reader.readexactly(4) == b"API\0"
            await _read(reader)
            await self._say(_wire([[VERSION, "20261121 10:00:00 UTC"]]))
            while True:
                fields = (await _read(reader)).decode().split("\0")[:-1]
                self.sent.append(fields)
                await self._answer(fields)

    async def _say(self, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    async def _end(self) -> None:
        self.cut()

    async def _answer(self, fields: list[str]) -> None:
        number = int(fields[0])
        kind = KINDS.get(number, "other")
        if kind == "submit" and self._find(int(fields[1])) is not None:
            kind = "replace"
        fault = self.faults.take(kind)
        if fault is Fault.HANG:
            return
        if fault is Fault.RESET:
            self.cut()
            return
        answers = self._answers(number, fields)
        if fault is Fault.LOST:
            self.cut()
        elif fault is not Fault.MUTE:
            await self._say(_wire(answers))

    def _answers(self, number: int, fields: list[str]) -> list[Message]:
        match number:
            case 71:
                self._client = int(fields[2])
                return [[9, 1, len(self.venue.orders) + 1], [15, 1, ",".join(self.accounts)]]
            case 3:
                return self._place(fields)
            case 4:
                return self._cancel(int(fields[2]))
            case 7:
                wanted = self.venue.fills
                rows = [row for fill in wanted for row in self._executed(fill, fields[2])]
                return [*rows, [55, 1, fields[2]]]
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
            case 49:
                return [[49, 1, int(datetime.now(UTC).timestamp())]]
            case 99:
                return [[102]]
            case _:
                return []

    # --- orders ---------------------------------------------------------------------------------

    def _place(self, fields: list[str]) -> list[Message]:
        number = int(fields[1])
        prices = [Decimal(text) if text else None for text in fields[19:21]]
        kind = TYPES[fields[18]]
        limit = prices[0] if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
        stop = prices[1] if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None
        quantity = Decimal(fields[17])
        known = self._find(number)
        try:
            if known is not None:
                self.venue.replace(known.number, OrderTerms(quantity, limit, stop))
                return [self._open(known), self._status(known)]
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
        return [self._open(placed), self._status(placed)]

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
            self.streams.say(_wire([*rows, self._status(change.placed)]))

    # --- shapes ---------------------------------------------------------------------------------

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
        return [3, number, STATUS[order.state], filled, leaves, paid, perm, 0, last, client, "", 0]

    def _open(self, placed: Placed) -> Message:
        order, (client, number) = placed.order, self._name(placed)
        blank = [""]
        return [
            5, number, *self._contract(order.symbol),
            order.side.upper(), order.quantity, NAMES[order.type],
            order.limit_price or 0, order.stop_price or 0, order.time_in_force.upper(),
            "", ACCOUNT, "", 0, order.client_order_id, client, PERM + placed.number,
            0, 0, 0, "", "", "", "", "",
            *blank * 29, *blank * 7, 0, 0, 0, *blank * 3, "", *blank * 4, 0, "",
            0, 0, STATUS[order.state], *blank * 9, *blank * 5, 0, 0,
            0, *blank * 16, *blank * 3, *blank * 5,
        ]  # fmt: skip

    def _executed(self, fill: Fill, request: str) -> list[Message]:
        placed = self.venue.orders[int(fill.venue_order_id)]
        client, number = self._name(placed)
        before = placed.fills[: placed.fills.index(fill) + 1]
        total = sum((f.quantity for f in before), ZERO)
        execution = f"0000e0d5.{fill.execution_id}.01.01"
        return [
            [
                11, request, number, *self._contract(fill.symbol), execution,
                f"{utc(fill.ts):%Y%m%d %H:%M:%S} UTC", ACCOUNT, "NASDAQ",
                "BOT" if fill.side is Side.BUY else "SLD", fill.quantity, fill.price,
                PERM + placed.number, client, 0, total, placed.order.avg_price or fill.price,
                placed.order.client_order_id, "", "", "", 1, 0,
            ],
            [59, 1, execution, fill.commission, "USD", "", "", ""],
        ]  # fmt: skip

    def _position(self, symbol: str, quantity: Decimal) -> Message:
        return [61, 3, ACCOUNT, *self._contract(symbol, ""), quantity, 100]

    def _quote(self, fields: list[str]) -> list[Message]:
        request, quote = fields[2], self.venue.quotes.get(fields[4])
        rows: list[Message] = []
        if quote is not None:
            rows = [
                [1, 6, request, 1, quote.bid, quote.bid_size, 0],
                [1, 6, request, 2, quote.ask, quote.ask_size, 0],
            ]
        return [*rows, [57, 1, request]]

    def _details(self, fields: list[str]) -> list[Message]:
        request, symbol = fields[2], fields[4]
        if symbol not in self._con_ids:
            return [_error(int(request), 200, "No security definition has been found")]
        row: Message = [
            10, request, symbol, "STK", "", 0, "", "SMART", "USD", symbol, "NMS", "NMS",
            self._con_ids[symbol], "0.01", "", "LMT,MKT", "SMART,NASDAQ", 1, 0, "", "NASDAQ",
            "", "", "", "", "US/Eastern", "", "", "", 0, 0, 1, "", "", "26", "", "COMMON", 1, 1, 1,
        ]  # fmt: skip
        return [row, [52, 1, request]]


def _wire(messages: list[Message]) -> bytes:
    texts = ["".join(f"{'' if f is None else f}\0" for f in fields) for fields in messages]
    return b"".join(struct.pack(">I", len(text)) + text.encode() for text in texts)


def _error(number: int, code: int, text: str) -> Message:
    return [4, 2, number, code, text, ""]


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(size)
