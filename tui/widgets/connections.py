"""The connections panel: each broker and the feed, since when, how fast, and what room is left."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from msgspec import Struct
from textual.message import Message

from engine.view.snapshot import BrokerHealth, BrokerStatus, FeedStatus
from tui import commands, format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Cell, Line
from tui.widgets.status_strip import FEED_SIGNS

SLOW_MS = 1_000
LITTLE_ROOM = 0.25
"""The share of the requests that is left from which on it is little."""
FAR_MS = 1_000
"""A clock that is so far off is told."""


class Connection(Struct, frozen=True, gc=False):
    """A broker with what was measured of it, or the feed."""

    kind: str
    status: BrokerStatus | FeedStatus
    health: BrokerHealth | None = None


class Connections(LineTable[Connection]):
    """State, since when (market time), losses in this session, median and 99th percentile of the
    time in which orders are answered, requests that may leave now, and the clock's offset."""

    BINDINGS: ClassVar = commands.bindings("connections")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("what", 6, stays=True),
        Column("name", 7, most=20, stays=True),
        Column("state", 7, stays=True),
        Column("since", 8, rank=2),
        Column("lost", 4, ">", rank=3),
        Column("p50 ms", 6, ".", rank=2),
        Column("p99 ms", 6, ".", rank=2),
        Column("room", 6, "/", rank=4),
        Column("clock", 6, ">", rank=5),
        Column("why", 8, rank=1, most=60, grows=True),
    )
    empty = "no broker"

    class AdjustAsked(Message):
        """The operator wants the books to have the broker's cash."""

        def __init__(self, broker: str) -> None:
            super().__init__()
            self.broker = broker

    def action_open(self) -> None:
        status = self.selected_row.status if self.selected_row else None
        if isinstance(status, BrokerStatus) and status.cash_difference is not None:
            self.post_message(self.AdjustAsked(status.name))
        else:
            super().action_open()

    def rows(self, frame: Frame) -> Sequence[Connection]:
        snapshot = frame.snapshot
        if snapshot is None:
            return ()
        measured = snapshot.health.brokers if snapshot.health else ()
        health = {each.name: each for each in measured}
        brokers = [Connection("broker", b, health.get(b.name)) for b in snapshot.brokers]
        return [*brokers, Connection("feed", snapshot.feed)]

    def row_id(self, row: Connection) -> Hashable:
        return row.kind, row.status.name

    def cells(self, row: Connection) -> Line:
        status, health = row.status, row.health
        lost = (str(status.losses), "warn" if status.losses else "dim")
        return (
            (row.kind, "dim"),
            (status.name, "strong"),
            _state(status),
            (format.clock(status.since_ts), "dim"),
            lost,
            _ms(health.answer_ms if health else None),
            _ms(health.slowest_ms if health else None),
            _room(health),
            _clock(health),
            (_why(status), "warn"),
        )

    def note(self, frame: Frame) -> str:
        brokers = frame.snapshot.brokers if frame.snapshot else ()
        up = sum(broker.connected for broker in brokers)
        return f"{up} of {format.plural(len(brokers), 'broker')} up"


def _state(status: BrokerStatus | FeedStatus) -> Cell:
    if isinstance(status, FeedStatus):
        sign, word, style = FEED_SIGNS.get(status.status, ("○", status.status, "warn"))
        return f"{sign} {word}", style
    if not status.connected:
        return ("○ connecting", "warn") if status.is_connecting else ("✗ DOWN", "down")
    return ("● up, LIVE", "live") if status.live else ("● up", "good")


def _why(status: BrokerStatus | FeedStatus) -> str:
    """Why it is down; of a broker that is up, that it has other cash than the books."""
    if isinstance(status, BrokerStatus) and status.cash_difference is not None:
        difference = format.money(status.cash_difference, signed=True)
        return f"cash there {difference} {status.currency}: enter adjusts"
    return status.note


def _ms(value: float | None) -> Cell:
    return format.number(value, 1), "warn" if value is not None and value >= SLOW_MS else "text"


def _room(health: BrokerHealth | None) -> Cell:
    """How many requests may leave now, of how many; or for how long none may."""
    if health is None or health.room is None or not health.most:
        return format.DASH, "dim"
    if health.shut_s:
        return f"SHUT {format.seconds(health.shut_s)}", "down"
    scarce = health.room / health.most <= LITTLE_ROOM
    return f"{health.room:.0f}/{health.most:.0f}", "warn" if scarce else "text"


def _clock(health: BrokerHealth | None) -> Cell:
    offset = health.clock_offset_ms if health else None
    return offset_text(offset), "warn" if offset is not None and abs(offset) >= FAR_MS else "dim"


def offset_text(ms: float | None) -> str:
    """How far a clock is ahead; what cannot be told from none is 0."""
    if ms is None:
        return format.DASH
    return f"{ms / 1000:+.1f}s" if abs(ms) >= FAR_MS else f"{ms:+.0f}ms"
