"""Values to text. Pure; what is not known is a dash, never 0."""

from collections import Counter
from collections.abc import Collection
from decimal import Decimal
from math import isfinite

from rich.cells import cell_len, set_cell_size

from engine.core.model import NANOS, Instrument, Side, utc

DASH = "—"
UP, DOWN = "▲", "▼"
NEAR_LIMIT = 0.75
"""The share of a limit from which its use is worth a warning."""

MOST_DECIMALS = 8

_AGES = ((86_400, "d"), (3_600, "h"), (60, "m"))
_USED, _FREE = "━", "─"

Number = Decimal | float | int


def number(value: Number | None, places: int, *, signed: bool = False) -> str:
    """`value` with thousands separators and `places` decimals; `signed` shows a plus as well."""
    if value is None or not isfinite(value):
        return DASH
    text = f"{value:+,.{places}f}" if signed else f"{value:,.{places}f}"
    # a loss of a tenth of a cent is no "-0.00"
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def decimals(step: Decimal) -> int:
    """How many decimals a price or quantity step has."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def price(value: Number | None, instrument: Instrument | None) -> str:
    """A price with the decimals of the instrument's tick, or its own where there is none."""
    if value is None or not isfinite(value):
        return DASH
    step = instrument.tick if instrument is not None else Decimal(str(value))
    return number(value, min(decimals(step), MOST_DECIMALS))


def quantity(value: Decimal | None) -> str:
    """A quantity without trailing zeros."""
    return DASH if value is None else f"{value.normalize():,f}"


def money(value: Number | None, *, signed: bool = False) -> str:
    return number(value, 2, signed=signed)


def compact(value: float | None) -> str:
    """A volume or size in at most five characters."""
    if value is None or not isfinite(value):
        return DASH
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
    return f"{value:.4g}"


def percent(value: float | None, *, signed: bool = True) -> str:
    text = number(value, 2, signed=signed)
    return text if text == DASH else f"{text}%"


def direction(text: str) -> str:
    """The style of a signed number as it is written: what reads as zero is no loss."""
    if text == DASH:
        return "dim"
    return {"+": "up", "-": "down"}.get(text[:1], "text")


def arrow(text: str) -> str:
    """The direction of a signed number as it is written, so that it does not hang on colour."""
    return {"+": UP, "-": DOWN}.get(text[:1], " ")


def used_of(used: float | None, limit: float, unit: str) -> str:
    """A limit and how much of it is used, in its unit: `$` or another currency, `%` or a count."""
    sign = unit if unit == "$" else ""
    name = f" {unit}" if unit.isupper() else ""
    known = used is not None and isfinite(used)
    places = 1 if unit == "%" else _places(used if known else None, limit, unit)
    head = f"{sign}{number(used, places)}" if known else DASH
    tail = f"{sign}{number(limit, places)}{'%' if unit == '%' else ''}" if isfinite(limit) else DASH
    return f"{head}/{tail}{name}"


def _places(used: float | None, limit: float, unit: str) -> int:
    """Cents only where they matter."""
    if unit == "$" or unit.isupper():
        return 2 if limit < 100 else 0
    return 0 if all(float(n).is_integer() for n in (limit, used or 0)) else 2


def headroom(used: float | None, limit: float, unit: str, *, least: bool = False) -> str:
    """What is left of a limit, in its unit; below zero where more than all is used. Where it is the
    `least` that has to be there, how much more than that is."""
    if used is None or not isfinite(used) or not isfinite(limit):
        return DASH
    left = used - limit if least else limit - used
    places = 1 if unit == "%" else _places(used, limit, unit)
    text = number(left, places)
    if unit == "$":
        return f"-${text[1:]}" if text.startswith("-") else f"${text}"
    return f"{text} {unit}" if unit.isupper() else f"{text}{unit}" if unit == "%" else text


def used_share(used: float | None, limit: float, *, least: bool = False) -> float | None:
    """How much of a limit is used; None while that is not known. Where it is the `least` that has
    to be there, all of it is used by just so much."""
    if used is None or not isfinite(used) or not isfinite(limit):
        return None
    if least:
        used, limit = limit, used
    if limit <= 0:
        return 0.0 if used <= 0 else 1.0
    return max(0.0, used / limit)


def share_style(share: float | None) -> str:
    if share is None:
        return "dim"
    return "down" if share >= 1 else "warn" if share >= NEAR_LIMIT else "up"


def share(value: float | None) -> str:
    """The used share of a limit in whole per cent."""
    return DASH if value is None else f"{value:.0%}"


def bar(value: float | None, cells: int) -> str:
    """A share as a bar: thick where used, thin where free, so that it needs no colour."""
    used = 0 if not value else min(cells, max(1, round(value * cells)))
    return _USED * used + _FREE * (cells - used)


def age(nanos: int) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, nanos) // NANOS
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def since(ts: int, now: int) -> str:
    """The age of what happened at `ts`; a dash where nothing happened yet (`ts` 0)."""
    return age(now - ts) if ts else DASH


def seconds(value: float) -> str:
    """A short wait: tenths while they matter."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def delay(nanos: int) -> str:
    """How long after something else, in a unit in which it is small."""
    if nanos < NANOS:
        return f"+{nanos / 1e6:.3g} ms"
    if nanos < 60 * NANOS:
        return f"+{nanos / NANOS:.3g} s"
    return f"+{age(nanos)}"


def figure(value: Number | None, digits: int = 10) -> str:
    """A number of any size without trailing zeros, in so many significant digits."""
    if value is None or not isfinite(value):
        return "unknown"
    return f"{Decimal(f'{value:.{digits}g}').normalize():,f}"


def clock_ms(ts: int) -> str:
    """The time of day, UTC, to the millisecond."""
    return f"{utc(ts):%H:%M:%S.%f}"[:-3]


def clock(ts: int) -> str:
    """The time of day, UTC."""
    return f"{utc(ts):%H:%M:%S}" if ts else DASH


def day_and_clock(ts: int) -> str:
    """The month, the day and the time of day, UTC."""
    return f"{utc(ts):%m-%d %H:%M:%S}" if ts else DASH


def date_and_clock(ts: int) -> str:
    return f"{utc(ts):%Y-%m-%d %H:%M:%S} UTC" if ts else DASH


def speed(value: float) -> str:
    """The speed of a replay; 0 is as fast as possible."""
    return f"{value:g}×" if value else "max"


def words(name: str) -> str:
    """A name of the vocabulary as words."""
    return name.replace("_", " ")


def side(value: Side | None, *, faded: bool = False) -> tuple[str, str]:
    """A side in capitals, and its style."""
    if value is None:
        return DASH, "dim"
    style = "dim" if faded else "up" if value is Side.BUY else "down"
    return value.upper(), style


def width(text: str) -> int:
    """The cells that `text` takes on the screen."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, room: int) -> str:
    """`text` in at most `room` cells, with an ellipsis where it was cut."""
    return measured_cut(text, room)[0]


def measured_cut(text: str, room: int) -> tuple[str, int]:
    """As `cut`, and how many cells that takes."""
    taken = width(text)
    if taken <= room:
        return text, taken
    return (f"{set_cell_size(text, room - 1)}…", room) if room > 0 else ("", 0)


def cut_middle(text: str, room: int) -> str:
    """`text` in at most `room` cells, with an ellipsis for its middle where that is too much: names
    that begin alike end differently."""
    if width(text) <= room or room < 1:
        return cut(text, room)
    begin = room // 2
    end = set_cell_size(text[::-1], room - 1 - begin)[::-1]
    return f"{set_cell_size(text, begin)}…{end}"


def first_line(text: str) -> str:
    return text.partition("\n")[0]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short_names(symbols: Collection[str]) -> dict[str, str]:
    """Each symbol without its venue (alpaca:AAPL is AAPL), where no other has the same name."""
    bare = {symbol: symbol.partition(":")[2] or symbol for symbol in symbols}
    number = Counter(bare.values())
    return {symbol: name if number[name] == 1 else symbol for symbol, name in bare.items()}
