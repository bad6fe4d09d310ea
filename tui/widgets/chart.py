"""The chart panel: the bars of one symbol with what was done in them."""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.message import Message

from engine.core.model import MINUTE, NANOS, Fill, Order, Side, utc
from engine.view.questions import Bars, Chart
from engine.view.snapshot import QuoteRow, SignalRow, Snapshot
from tui import chart, commands, format
from tui.asking import EVERY, Asking
from tui.candles import Candle, Forming, candles, gaps, with_gaps
from tui.chart import Level, Mark, View
from tui.frame import Frame
from tui.widgets.lines import Line, Lines
from tui.widgets.panel import Panel

if TYPE_CHECKING:
    pass

MOST_BARS = 500
"""Bars that are asked for: as many as the engine keeps by default."""

ZOOMS = ((2, 1), (1, 1), (1, 5), (1, 15), (1, 60))
"""From near to far: the cells of a candle, and how many bars are in it."""


class ChartPanel(Panel, Lines):
    """Asks for the bars of `symbol` and draws them; up and down go to another symbol."""

    BINDINGS: ClassVar = [
        Binding("up", "other(-1)", show=False, id="symbol-up"),
        Binding("down", "other(1)", show=False, id="symbol-down"),
        *commands.bindings("market"),
    ]

    class Other(Message):
        """The operator wants to see the symbol `step` lines further."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.symbol = ""
        self._zoom = 1
        self._frame: Frame | None = None
        self._bars = Asking[Chart](self.ask)
        self._forming = Forming()

    def show(self, frame: Frame) -> None:
        self._frame = frame
        row = _row(frame, self.symbol)
        if row is None:
            self.entitle("chart", "")
            self.update([((_why_empty(frame), "dim"),)])
            return
        self._bars.look(Bars(self.symbol, MOST_BARS), frame.now, frame.moment)
        self._draw(frame, row)

    def forget(self) -> None:
        self._bars, self._forming = Asking[Chart](self.ask), Forming()

    def about(self) -> str:
        return self.symbol

    def on_resize(self) -> None:
        if self._frame is not None:
            self.show(self._frame)

    def action_other(self, step: int) -> None:
        self.post_message(self.Other(step))

    def action_nearer(self) -> None:
        self._go(self._zoom - 1)

    def action_farther(self) -> None:
        self._go(self._zoom + 1)

    def _go(self, zoom: int) -> None:
        self._zoom = min(max(zoom, 0), len(ZOOMS) - 1)
        if self._frame is not None:
            self.show(self._frame)

    # --- what is drawn ---------------------------------------------------------------------------

    def _draw(self, frame: Frame, row: QuoteRow) -> None:
        bars = self._bars
        answer, name = bars.answer, frame.names[self.symbol]
        width, height = self.size
        if answer is None or not answer.bars:
            self.entitle(name, "")
            self.update([_why_no_bars(bars, frame.now)])
            return
        self._forming.see(answer.bars[-1], row.last, row.ts)
        step, factor = ZOOMS[self._zoom]
        interval = answer.bars[-1].interval * factor
        title = f"{name} · {_length(interval)}"
        if width < chart.LEAST_WIDTH or height < chart.LEAST_HEIGHT:
            self.entitle(title, "")
            remedy = f"{frame.keys['zoom']} makes it the whole screen"
            self.update([((f"no room for a chart here: {remedy}", "dim"),)])
            return
        view = View(
            with_gaps(candles(answer.bars, factor)),
            self._forming.range,
            tuple(_levels(frame.snapshot, row)),
            tuple(map(_fill, answer.fills)),
            tuple(map(_signal, answer.signals)),
            frame.instruments[row.symbol],
            interval,
            step,
            _zone(answer.bars[-1].ts),
        )
        lines, drawn = chart.draw(view, width, height)
        self.entitle(f"{title} · {_span(drawn)}", " · ".join(_notes(answer, bars, frame.now)))
        self.update([_old(line) for line in lines] if frame.lost else lines)


def _row(frame: Frame, symbol: str) -> QuoteRow | None:
    rows = frame.snapshot.quotes if frame.snapshot else ()
    return next((row for row in rows if row.symbol == symbol), None)


# --- marks and levels ----------------------------------------------------------------------------


def _levels(snapshot: Snapshot | None, row: QuoteRow) -> Iterator[Level]:
    """What is held, the open orders and the last price, which is written over all others."""
    if snapshot is None:
        return
    symbol = row.symbol
    for held in snapshot.positions:
        if held.position.symbol == symbol and held.position.avg_price is not None:
            yield Level(float(held.position.avg_price), "avg", "head")
    for order in snapshot.orders:
        if order.symbol == symbol and order.is_open:
            yield from _order(order)
    if row.last is not None:
        yield Level(row.last, "last", "stale" if row.stale else "strong")


def _order(order: Order) -> Iterator[Level]:
    style = "up" if order.side is Side.BUY else "down"
    if order.stop_price is not None:
        yield Level(float(order.stop_price), "stop", "warn")
    if order.limit_price is not None:
        yield Level(float(order.limit_price), order.side, style)


def _fill(fill: Fill) -> Mark:
    buys = fill.side is Side.BUY
    sign, style = (format.UP, "strong") if buys else (format.DOWN, "strong")
    return Mark(fill.ts, float(fill.price), sign, style)


def _signal(row: SignalRow) -> Mark:
    """`B` and `S`; a small letter where no order came of it."""
    signal = row.signal
    letter, style = signal.side[0], "warn"
    if row.outcome == "order":
        letter, style = letter.upper(), "info"
    return Mark(signal.ts, signal.price, letter, style)


# --- words ---------------------------------------------------------------------------------------


def _why_no_bars(bars: Asking[Chart], now: float) -> Line:
    if bars.failure:
        return ((f"no bars: {bars.failure}", "warn"),)
    if bars.answer is not None:
        return (("no bar of this symbol yet", "dim"),)
    waited = bars.waited(now)
    return ((f"asking … {format.seconds(waited)}" if waited else "asking …", "dim"),)


def _notes(answer: Chart, bars: Asking[Chart], now: float) -> Iterator[str]:
    if bars.failure:
        yield f"NOT UP TO DATE: {bars.failure}"
    waited = bars.waited(now)
    if waited is not None and waited >= EVERY:
        yield f"NOT UP TO DATE: no answer for {format.seconds(waited)}"
    missing = gaps(answer.bars)
    if missing:
        yield format.plural(missing, "gap")
    yield f"{format.UP}{format.DOWN} fill, B S signal, b s blocked"


def _length(nanos: int) -> str:
    """The length of a candle in its largest whole unit."""
    minutes = nanos / MINUTE
    for size, unit in ((1440, "d"), (60, "h"), (1, "min")):
        if minutes % size == 0:
            return f"{int(minutes // size)} {unit}"
    return f"{nanos / NANOS:g} s"


def _span(drawn: Sequence[Candle]) -> str:
    """The days of the candles, UTC."""
    first, last = utc(drawn[0].start), utc(drawn[-1].end)
    same = first.date() == last.date()
    return f"{first:%Y-%m-%d}" if same else f"{first:%Y-%m-%d} to {last:%m-%d}"


def _zone(ts: int) -> tzinfo | None:
    """The operator's time zone, None where its clock shows UTC."""
    zone = utc(ts).astimezone().tzinfo
    return zone if zone is not None and zone.utcoffset(utc(ts)) else None


def _old(line: Line) -> Line:
    return tuple((text, "stale") for text, _ in line)


def _why_empty(frame: Frame) -> str:
    return "no symbols yet" if frame.snapshot else "waiting for the engine"
