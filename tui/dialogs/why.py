"""Why: the chain of causes of an order, a fill, a position or a signal, as the engine tells it, or
would have told it at a moment of the past."""

import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

from engine.core.model import utc
from engine.core.text import clean
from engine.view.questions import Chain, Number, Step
from tui import format
from tui.details import Zones, elsewhere
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.frame import Frame
from tui.widgets.lines import Cell, Line, length, spread

MOST_WIDTH = 105
AROUND = 7
"""Cells of the box beside its text: its border, its padding and its scroll bar."""

SETTING_FROM = 90
"""The width from which there is room for the names of the settings beside the checks."""


class WhyDialog(Dialog):
    """`chain` is the answer to come, about `symbol`. It may take its time, or never come: escape
    closes all the same."""

    TITLE = "Why"
    expires = False

    def __init__(
        self,
        chain: Future[Chain],
        symbol: str,
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self._symbol = symbol
        self.add_class("-broad")
        self._chain = chain
        self._as_of: list[Line] | None = None
        """Of when the answer is, where that is not now; None before it came."""

    def lines(self, frame: Frame) -> list[Line]:
        if not self._chain.done():
            return _waiting(frame)
        if self._as_of is None:
            self._as_of = list(_as_of(frame))
        if (error := self._chain.exception()) is not None:
            texts = str(error).splitlines()
            return [*self._as_of, *(line for text in texts for line in paragraph(text, "warn"))]
        width = min(self.app.size.width - AROUND, MOST_WIDTH)
        zones = frame.zones(self._symbol)
        return [*self._as_of, *told(self._chain.result(), width, zones)]


def _as_of(frame: Frame) -> Iterator[Line]:
    past, snapshot = frame.past, frame.snapshot
    if past is not None and snapshot is not None:
        when = f"{format.date_and_clock(snapshot.ts)}, event {past.number:,} of {past.total:,}"
        yield ((" AS OF ", "past"), (f" {when}", "text"))
        yield BLANK


def _waiting(frame: Frame) -> list[Line]:
    if frame.failure is not None:
        return [(("no answer will come: the engine has ended", "alarm"),)]
    if frame.lost:
        silent = format.seconds(frame.silence)
        return [((f"ENGINE LOST: not heard of for {silent}, no answer yet", "alarm"),)]
    asked = "engine" if frame.past is None else "journal"
    return [((f"asking the {asked} …", "dim"),)]


def told(chain: Chain, width: int, zones: Zones = ()) -> Iterator[Line]:
    """`chain` in lines of `width` cells: what it came to first, then every step, in UTC; the first
    of a day in `zones` too."""
    yield from _wrapped(chain.title, width, "strong")
    yield from _wrapped(chain.outcome, width, "warn" if chain.remedies else "text")
    for head, points, style in (
        ("It would have passed with", chain.remedies, "info"),
        ("Not known", chain.unknown, "warn"),
    ):
        if points:
            yield BLANK
            yield ((head, "head"),)
            for point in points:
                yield from _wrapped(point, width, style, "  ")
    day = ""
    for step in chain.steps:
        yield BLANK
        if day != (day := f"{utc(step.ts):%Y-%m-%d} UTC"):
            there = elsewhere(step.ts, zones)
            also = f"; {format.clock(step.ts)} is {', '.join(there)}" if there else ""
            yield from _wrapped(f"{day}{also}", width, "dim")
        yield from _step(step, width)


def _step(step: Step, width: int) -> Iterator[Line]:
    delay = "" if step.delay is None else format.delay(step.delay)
    when: Line = ((format.clock_ms(step.ts), "dim"), (delay.rjust(10), "info"))
    yield spread(((step.title, "head"),), when, width)
    yield from _wrapped(step.text, width, "text", "  ")
    checks = [number for number in step.numbers if number.passed is not None]
    if checks:
        yield from map(partial(_check, width=width), checks)
    else:
        yield from _numbers(step.numbers, width)


def _numbers(numbers: tuple[Number, ...], width: int) -> Iterator[Line]:
    """Names and values beside each other, as many in a line as there is room for."""
    line: list[Cell] = []
    for number in numbers:
        value = f"{format.figure(number.value)}{_unit(number)}"
        pair = ((f"  {clean(number.name)} ", "dim"), (value, "strong"))
        if line and length(line) + length(pair) > width:
            yield tuple(line)
            line = []
        line += pair
    if line:
        yield tuple(line)


def _check(number: Number, width: int) -> Line:
    sign: Cell = ("  ● ", "good") if number.passed else ("  ✗ ", "down")
    value = f"{format.figure(number.value, 6)}{_unit(number)}"
    limit = f"{number.bound or 'of'} {format.figure(number.limit, 6)}{_unit(number)}"
    setting = number.setting.upper() if width >= SETTING_FROM else ""
    return (
        sign,
        (clean(format.words(number.name)).ljust(22), "text" if number.passed else "down"),
        (value.rjust(14), "strong" if number.passed else "down"),
        (f"  {limit.ljust(20)}", "text"),
        (f" {clean(setting)}" if setting else "", "dim"),
    )


def _unit(number: Number) -> str:
    return f" {clean(number.unit)}" if number.unit else ""


def _wrapped(text: str, width: int, style: str, indent: str = "") -> Iterator[Line]:
    lines = textwrap.wrap(clean(text), width, initial_indent=indent, subsequent_indent=indent)
    for line in lines:
        yield ((line, style),)
