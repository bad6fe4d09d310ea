"""A chart of candles as lines of text: price, volume and time. Pure.

Rising candles are narrow and falling ones wide, so that they differ without colour; a cell holds
two steps of the price.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from math import ceil, floor, log10
from typing import NamedTuple

from engine.core.model import MINUTE, Instrument, utc
from tui import format
from tui.candles import Candle
from tui.widgets.lines import Cell, Line

LEAST_WIDTH, LEAST_HEIGHT = 30, 7
"""Cells in which a chart can be read."""

# By what the upper and the lower half of a cell hold: `b`ody, `w`ick or nothing.
_RISING = {"bb": "▌", "b": "▘", " b": "▖"}
_FALLING = {"bb": "█", "b": "▀", " b": "▄"}
_WICK = {"ww": "│", "w ": "╵", " w": "╷"}
_VOLUME = " ▁▂▃▄▅▆▇█"
_TAG = 5
_LABEL_GAP = 9
_ROUND = (1, 5, 10, 15, 30, 60, 120, 240, 720, 1440)
"""Minutes from one label of the time axis to the next."""
_WIDEST = 2.0
"""How many times as high as its candles a chart becomes for the levels beside them."""


class Level(NamedTuple):
    """A price with a name, such as that of an order; it is drawn across the chart."""

    price: float
    tag: str
    style: str


class Mark(NamedTuple):
    """A sign at a price and a time (ns UTC)."""

    ts: int
    price: float
    sign: str
    style: str


class View(NamedTuple):
    """What a chart shows. `slots` are candles and the gaps between them, oldest first; `now` is the
    lowest and the highest price since the last of them. Later `levels` are written over earlier
    ones. `fills` stand at their prices, `signals` in a line of their own. A candle is of `interval`
    nanoseconds and has `step` cells with the room after it. `zone` is the operator's, None where
    that is UTC."""

    slots: Sequence[Candle | None]
    now: tuple[float, float] | None
    levels: Sequence[Level]
    fills: Sequence[Mark]
    signals: Sequence[Mark]
    instrument: Instrument
    interval: int = MINUTE
    step: int = 1
    zone: tzinfo | None = None


class Drawing(NamedTuple):
    """The lines of a chart, and the candles for which there was room."""

    lines: list[Line]
    candles: list[Candle]


def draw(view: View, width: int, height: int) -> Drawing:
    """`view` in `height` lines of `width` cells; the newest candles are those that are drawn."""
    axis = _axis_width(view)
    room = max(1, (width - axis) // view.step - (view.now is not None))
    slots = view.slots[-room:]
    candles = [slot for slot in slots if slot]
    fills = [mark for mark in view.fills if mark.ts >= candles[0].start]
    view = view._replace(slots=slots, fills=fills)
    prices, columns = Prices(view, _price_rows(view, height)), _Columns(view, width - axis)
    labels = prices.labels()
    lines = [_line(row, labels.get(y), axis) for y, row in enumerate(_drawn(view, prices, columns))]
    lines.append(_line(columns.lane(view.signals), ("sign.", "dim"), axis))
    lines += _volume(slots, columns, _volume_rows(height), axis)
    lines += [columns.times(zone, axis) for zone in ((None, view.zone) if view.zone else (None,))]
    return Drawing(lines, candles)


def _axis_width(view: View) -> int:
    prices = [price for slot in view.slots if slot for price in (slot.low, slot.high)]
    widest = max(len(format.price(price, view.instrument)) for price in (max(prices), min(prices)))
    return widest + _TAG + 2


def _volume_rows(height: int) -> int:
    return 1 if height < 14 else 2 if height < 24 else 4


def _price_rows(view: View, height: int) -> int:
    return height - _volume_rows(height) - 2 - (view.zone is not None)


def _line(cells: Sequence[Cell], label: Cell | None, axis: int) -> Line:
    text, style = label or ("", "dim")
    return (*cells, (" " + text.ljust(axis - 1), style))


# --- prices --------------------------------------------------------------------------------------


class Prices:
    """Which price stands in which of `rows` lines, two halves each, the highest at the top."""

    def __init__(self, view: View, rows: int) -> None:
        self._instrument = view.instrument
        self._levels = view.levels
        self._halves = 2 * rows
        self.rows = rows
        known = [price for slot in view.slots if slot for price in (slot.low, slot.high)]
        known += [*(view.now or ()), *(mark.price for mark in view.fills)]
        self._low, self._high = _extended(min(known), max(known), view)

    def half(self, price: float) -> int:
        """The half line of `price`, from the top."""
        share = (self._high - price) / (self._high - self._low)
        return min(max(int(share * self._halves), 0), self._halves - 1)

    def row(self, price: float) -> int | None:
        return self.half(price) // 2 if self._low <= price <= self._high else None

    def labels(self) -> dict[int, Cell]:
        """What the price axis says, by line: round prices, and the levels, of which those that lie
        outside stand at the edge."""
        labels: dict[int, Cell] = {}
        step = _round_step((self._high - self._low) / max(self.rows / 3, 1))
        for number in range(ceil(self._low / step), floor(self._high / step) + 1):
            row = self.row(number * step)
            if row is not None:
                labels[row] = format.price(number * step, self._instrument), "dim"
        for level in self._levels:
            text = f"{format.price(level.price, self._instrument)} {level.tag}"
            row = self.row(level.price)
            if row is None:
                above = level.price > self._high
                row, text = (0, f"↑{text}") if above else (self.rows - 1, f"↓{text}")
            labels[row] = text, level.style
        return labels


def _extended(low: float, high: float, view: View) -> tuple[float, float]:
    """The range of the prices with as many levels as do not make the candles too low to read."""
    tick = float(view.instrument.tick)
    if high - low < tick:
        low, high = low - tick, high + tick
    most = (high - low) * _WIDEST
    middle = (low + high) / 2
    for level in sorted(view.levels, key=lambda level: abs(level.price - middle)):
        wider = min(low, level.price), max(high, level.price)
        if wider[1] - wider[0] <= most:
            low, high = wider
    return low, high


def _round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** floor(log10(least))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least * 0.999999)


# --- what is drawn in the lines ------------------------------------------------------------------


class _Columns:
    """Which cell a slot begins at; the newest is at the right."""

    def __init__(self, view: View, width: int) -> None:
        self._view = view
        self.width = width
        used = (len(view.slots) + (view.now is not None)) * view.step
        self.first = max(0, width - used)

    def of(self, number: int) -> int:
        return self.first + number * self._view.step

    @property
    def now(self) -> int:
        """Where the prices since the last candle are."""
        return self.of(len(self._view.slots))

    def at(self, ts: int) -> int | None:
        """The cell of the candle in which `ts` lies, None where that is not drawn."""
        last = 0
        for number, slot in enumerate(self._view.slots):
            if slot is not None:
                if slot.start <= ts <= slot.end:
                    return self.of(number)
                last = slot.end
        return self.now if self._view.now is not None and ts > last else None

    def lane(self, marks: Iterable[Mark]) -> list[Cell]:
        """A line of signs alone."""
        cells: list[Cell] = [(" ", "text")] * self.width
        for mark in marks:
            column = self.at(mark.ts)
            if column is not None:
                cells[column] = mark.sign, mark.style
        return cells

    def times(self, zone: tzinfo | None, axis: int) -> Line:
        """The time axis of `zone`, UTC where None: times that are round in UTC, and the date where
        it changes."""
        text, free, day = [" "] * self.width, 0, None
        name = "UTC"
        every = self._label_every()
        for number, slot in enumerate(self._view.slots):
            column = self.of(number)
            if slot is None or slot.start % every or column < free or column + 5 > self.width:
                continue
            moment = utc(slot.start).astimezone(zone) if zone else utc(slot.start)
            changed = day is not None and moment.date() != day
            label = f"{moment:%m-%d}" if changed else f"{moment:%H:%M}"
            text[column : column + 5] = label
            free, day, name = column + _LABEL_GAP, moment.date(), f"{moment:%Z}"
        return ("".join(text), "dim"), (f" {name}".ljust(axis), "dim")

    def _label_every(self) -> int:
        """The nanoseconds between two labels, for which there is room."""
        least = self._view.interval * _LABEL_GAP // self._view.step
        return next((minutes * MINUTE for minutes in _ROUND if minutes * MINUTE >= least), least)


def _drawn(view: View, prices: Prices, columns: _Columns) -> list[list[Cell]]:
    rows: list[list[Cell]] = [[(" ", "text")] * columns.width for _ in range(prices.rows)]
    for number, slot in enumerate(view.slots):
        column = columns.of(number)
        signs = _candle(slot, prices) if slot else dict.fromkeys(range(prices.rows), ("┊", "dim"))
        for y, cell in signs.items():
            rows[y][column] = cell
    if view.now is not None:
        low, high = view.now
        for y, sign in _signs(prices.half(high), prices.half(low), None, _RISING).items():
            rows[y][columns.now] = sign, "info"
    for level in view.levels:
        row = prices.row(level.price)
        if row is not None:
            rows[row] = [("╌", level.style) if cell[0] == " " else cell for cell in rows[row]]
    for mark in view.fills:
        row, column = prices.row(mark.price), columns.at(mark.ts)
        if row is not None and column is not None:
            rows[row][column] = mark.sign, mark.style
    return rows


def _candle(candle: Candle, prices: Prices) -> dict[int, Cell]:
    rises = candle.close >= candle.open
    top, bottom = max(candle.open, candle.close), min(candle.open, candle.close)
    body = prices.half(top), prices.half(bottom)
    high, low = prices.half(candle.high), prices.half(candle.low)
    signs = _signs(high, low, body, _RISING if rises else _FALLING)
    return {y: (sign, "up" if rises else "down") for y, sign in signs.items()}


def _signs(
    high: int, low: int, body: tuple[int, int] | None, bodies: Mapping[str, str]
) -> dict[int, str]:
    """The signs of a candle, by line, from the half lines of its prices."""

    def holds(half: int) -> str:
        if body is not None and body[0] <= half <= body[1]:
            return "b"
        return "w" if high <= half <= low else " "

    signs: dict[int, str] = {}
    for y in range(high // 2, low // 2 + 1):
        upper, lower = holds(2 * y), holds(2 * y + 1)
        if "b" in (upper, lower):
            halves = "bb" if upper == lower else "b" if upper == "b" else " b"
            signs[y] = bodies[halves]
        else:
            signs[y] = _WICK[upper + lower]
    return signs


def _volume(slots: Sequence[Candle | None], columns: _Columns, rows: int, axis: int) -> list[Line]:
    most = max((slot.volume for slot in slots if slot), default=0.0)
    cells = [[" "] * columns.width for _ in range(rows)]
    for number, slot in enumerate(slots):
        if slot is None or not most:
            continue
        eighths = ceil(slot.volume / most * rows * 8)
        for y in range(rows):
            part = min(max(eighths - 8 * (rows - 1 - y), 0), 8)
            cells[y][columns.of(number)] = _VOLUME[part]
    labels = {0: format.compact(most), rows - 1: "vol."} if rows > 1 else {0: format.compact(most)}
    return [
        (("".join(row), "head"), (f" {labels.get(y, '')}".ljust(axis), "dim"))
        for y, row in enumerate(cells)
    ]
