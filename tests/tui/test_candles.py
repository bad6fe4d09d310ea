"""Bars as candles: what is put together, what is a gap, what is known of the bar to come."""

from engine.core.model import MINUTE, NANOS, Bar
from tui.candles import Candle, Forming, candles, gaps, with_gaps


def bar(minute: int, open: float, close: float, volume: float = 10.0) -> Bar:
    """The bar of the minute that begins at `minute`."""
    high, low = max(open, close) + 1, min(open, close) - 1
    return Bar("AAPL", (minute + 1) * MINUTE, open, high, low, close, volume)


BARS = (bar(4, 100, 101), bar(5, 101, 104), bar(6, 104, 103), bar(9, 103, 99))


def test_a_bar_is_a_candle() -> None:
    assert candles(BARS[:1], 1) == [Candle(4 * MINUTE, 5 * MINUTE, 100, 102, 99, 101, 10)]


def test_five_bars_in_a_candle_are_those_of_five_round_minutes() -> None:
    assert candles(BARS, 5) == [
        Candle(4 * MINUTE, 5 * MINUTE, 100, 102, 99, 101, 10),
        Candle(5 * MINUTE, 10 * MINUTE, 101, 105, 98, 99, 30),
    ]


def test_where_bars_are_missing_is_a_gap_and_no_candle() -> None:
    drawn = candles(BARS, 1)
    assert with_gaps(drawn) == [*drawn[:3], None, drawn[3]]
    assert gaps(BARS) == 1
    assert with_gaps([]) == []


def test_what_forms_is_what_was_seen_since_the_last_bar() -> None:
    forming, last = Forming(), BARS[-1]
    forming.see(last, 99.0, last.ts)
    assert forming.range is None
    for seconds, price in ((1, 99.5), (2, 98.0), (40, 98.5)):
        forming.see(last, price, last.ts + seconds * NANOS)
    assert forming.range == (98.0, 99.5)
    forming.see(last, None, last.ts + 50 * NANOS)
    assert forming.range == (98.0, 99.5)


def test_a_new_bar_ends_what_formed_though_it_comes_late() -> None:
    forming, last = Forming(), BARS[-1]
    forming.see(last, 98.0, last.ts + 1 * NANOS)
    forming.see(last, 105.0, last.ts + 61 * NANOS)
    following = bar(10, 98, 98)
    forming.see(following, 104.0, last.ts + 62 * NANOS)
    assert forming.range == (104.0, 105.0)
