"""The quotes panel."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.message import Message

from engine.core.model import Scope
from engine.view.snapshot import QuoteRow
from tui import commands, format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line


def has_data(row: QuoteRow) -> bool:
    return row.quote is not None or row.last is not None


def with_data_first(rows: Sequence[QuoteRow]) -> Sequence[QuoteRow]:
    """In their order, those of which nothing was heard yet after the others."""
    return sorted(rows, key=lambda row: not has_data(row))


class Quotes(LineTable[QuoteRow]):
    """Prices and the age of each: against the market's time, which a replay may make run fast."""

    BINDINGS: ClassVar = commands.bindings("quotes")
    columns = (
        Column("symbol", 7, stays=True),
        Column("last", 8, "."),
        Column("day", 8, ">"),
        Column("age", 3, ">", stays=True),
        Column("bid", 8, ".", rank=2),
        Column("ask", 8, ".", rank=2),
        Column("volume", 6, ">", rank=3),
        Column("bid size", 8, ">", rank=4),
        Column("ask size", 8, ">", rank=4),
        Column("", 5, rank=1),
    )
    empty = "no symbols yet"
    _paused: frozenset[str] = frozenset()
    _killed: frozenset[str] = frozenset()
    _is_chosen = False

    class ResumeAsked(Message):
        """The operator wants the symbol traded again."""

        def __init__(self, symbol: str) -> None:
            super().__init__()
            self.symbol = symbol

    def show(self, frame: Frame) -> None:
        self.leave_empty(frame)
        super().show(frame)

    def leave_empty(self, frame: Frame) -> None:
        """A symbol that nobody chose, and that has no data, gives way to the first that has."""
        if self._is_chosen or frame.snapshot is None:
            return
        rows = frame.snapshot.quotes
        if any(r.symbol == self.selected and not has_data(r) for r in rows):
            self.selected = with_data_first(rows)[0].symbol

    def _go_to_row(self, index: int) -> None:
        self._is_chosen = True
        super()._go_to_row(index)

    def action_open(self) -> None:
        row = self.selected_row
        if self.acts and row is not None and row.symbol in self._paused:
            self.post_message(self.ResumeAsked(row.symbol))
        else:
            super().action_open()

    def about(self) -> str:
        row = self.selected_row
        meant = row is not None and (self._is_chosen or has_data(row))
        return row.symbol if row is not None and meant else ""

    def rows(self, frame: Frame) -> Sequence[QuoteRow]:
        if frame.snapshot is None:
            return ()
        self._now, self._names = frame.snapshot.ts, frame.names
        self._instruments = frame.instruments
        self._paused = frozenset(row.symbol for row in frame.snapshot.paused)
        parts = [row.killed.part for row in frame.snapshot.killed_parts]
        self._killed = frozenset(part.name for part in parts if part.scope is Scope.SYMBOL)
        return with_data_first(frame.snapshot.quotes)

    def row_id(self, row: QuoteRow) -> Hashable:
        return row.symbol

    def aged(self, row: QuoteRow) -> str:
        return format.since(row.ts, self._now)

    def cells(self, row: QuoteRow) -> Line:
        """Few styles: every change of style costs more bytes than a column, in the panel that
        changes most."""
        quote, instrument = row.quote, self._instruments.get(row.symbol)
        change = format.percent(row.change_pct)
        style = "stale" if row.stale else "text"
        return (
            (self._names.get(row.symbol, row.symbol), style),
            (format.price(row.last, instrument), style),
            (f"{format.arrow(change)}{change}", "stale" if row.stale else format.direction(change)),
            (self.aged(row), style),
            (format.price(quote.bid if quote else None, instrument), style),
            (format.price(quote.ask if quote else None, instrument), style),
            (format.compact(row.volume), style),
            (format.compact(quote.bid_size if quote else None), style),
            (format.compact(quote.ask_size if quote else None), style),
            (self._state(row), "warn"),
        )

    def _state(self, row: QuoteRow) -> str:
        if row.stale:
            return "STALE"
        if row.symbol in self._killed:
            return "KILL"
        return "PAUSE" if row.symbol in self._paused else ""

    def note(self, frame: Frame) -> str:
        rows = frame.snapshot.quotes if frame.snapshot else ()
        stale = sum(row.stale for row in rows)
        return f"{stale} STALE of {len(rows)}" if stale else format.plural(len(rows), "symbol")
