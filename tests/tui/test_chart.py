"""The drawing of a chart: where prices, marks, levels and times stand."""

from datetime import timedelta, timezone
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.model import MINUTE
from tests.tui.scripted import AAPL
from tui.candles import Candle
from tui.chart import Level, Mark, View, draw
from tui.widgets.lines import Line

START = 27_391_680 * MINUTE  # 2022-01-30T00:00Z
WIDTH, HEIGHT = 60, 13
DOLLAR = replace(AAPL, tick=Decimal(1))


def candle(
    number: int, open: float, high: float, low: float, close: float, volume: float = 1.0
) -> Candle:
    start = START + number * MINUTE
    return Candle(start, start + MINUTE, open, high, low, close, volume)


RISES, FALLS = candle(0, 12, 18, 10, 16), candle(1, 16, 17, 10, 12)


def view(*slots: Candle | None, **fields: object) -> View:
    empty = View(slots, None, (), (), (), DOLLAR)
    return empty._replace(**fields)


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def drawn(view: View, height: int = HEIGHT) -> list[str]:
    lines = [text(line) for line in draw(view, WIDTH, height).lines]
    assert len(lines) == height
    assert {len(line) for line in lines} == {WIDTH}
    return lines


def column(lines: list[str], at: int) -> str:
    """The prices of one column, from the top."""
    return "".join(line[at] for line in lines[:-3])


LAST = 50
"""The column of the newest candle: beside it stands the axis."""


def test_a_rising_and_a_falling_candle_differ_by_their_signs() -> None:
    lines = drawn(view(RISES, FALLS))
    assert column(lines, LAST - 1) == "││▖▌▌▌▌▌││"
    assert column(lines, LAST) == " │▄█████││"


def test_a_candle_without_a_body_has_a_sign() -> None:
    lines = drawn(view(RISES, candle(1, 12, 12, 12, 12)))
    assert column(lines, LAST).strip() == "▖"


def test_a_gap_is_a_line_and_no_candle() -> None:
    lines = drawn(view(RISES, None, candle(5, 12, 13, 11, 12)))
    assert column(lines, LAST - 1) == "┊" * 10
    assert lines[-2][LAST - 1] == " "


def test_a_fill_stands_at_its_price_and_a_signal_in_its_line() -> None:
    fill = Mark(RISES.start + 1, 15.1, "▲", "strong")
    signal = Mark(FALLS.end, 12.0, "s", "warn")
    lines = drawn(view(RISES, FALLS, fills=(fill,), signals=(signal,)))
    assert column(lines, LAST - 1) == "││▖▲▌▌▌▌││"
    assert lines[-3].rstrip() == f"{'s':>{LAST + 1}} sign."


def test_what_was_done_before_the_first_candle_is_not_drawn() -> None:
    fill, signal = Mark(START - 1, 99.0, "▲", ""), Mark(START - 1, 99.0, "B", "")
    lines = drawn(view(RISES, FALLS, fills=(fill,), signals=(signal,)))
    assert "▲" not in "".join(lines)
    assert "B" not in "".join(lines)


def test_a_level_is_a_line_with_its_price_and_name() -> None:
    lines = drawn(view(RISES, FALLS, levels=(Level(14.0, "avg", "head"),)))
    (line,) = (line for line in lines if "╌" in line)
    assert line.endswith("╌▌█ 14 avg  ")


@pytest.mark.parametrize(("price", "row", "arrow"), [(40.0, 0, "↑40 stop"), (1.0, 9, "↓1 stop")])
def test_a_level_out_of_reach_is_named_at_the_edge(price: float, row: int, arrow: str) -> None:
    lines = drawn(view(RISES, FALLS, levels=(Level(price, "stop", "warn"),)))
    assert arrow in lines[row]
    assert "╌" not in "".join(lines)


def test_a_level_near_by_makes_the_chart_higher() -> None:
    lines = drawn(view(RISES, FALLS, levels=(Level(5.0, "stop", "warn"),)))
    assert "5 stop" in lines[9]
    assert lines[9].startswith("╌")


def test_the_axis_has_round_prices() -> None:
    labels = [line[LAST + 1 :].strip() for line in drawn(view(RISES, FALLS), 24)]
    assert [label for label in labels if label.isdigit()] == ["18", "16", "14", "12", "10", "1"]


def test_what_forms_is_beside_the_last_candle() -> None:
    lines = drawn(view(RISES, now=(11.0, 13.0)))
    assert column(lines, LAST).strip(" ╵╷│") == ""
    assert "│" in column(lines, LAST)
    assert "▌" in column(lines, LAST - 1)


def test_there_is_room_for_the_newest() -> None:
    slots = [candle(number, 12, 13, 11, 12) for number in range(100)]
    drawing = draw(view(*slots), WIDTH, HEIGHT)
    assert drawing.candles == slots[-len(drawing.candles) :]
    assert len(drawing.candles) == LAST + 1
    assert len(draw(view(*slots, step=2), WIDTH, HEIGHT).candles) == (LAST + 1) // 2


def test_the_scale_is_of_what_is_in_sight() -> None:
    slots = [candle(0, 90, 90, 90, 90), *(candle(n, 12, 18, 10, 14) for n in range(1, 100))]
    assert "90" not in "".join(drawn(view(*slots)))


def test_the_time_axis_has_round_times_and_new_days() -> None:
    slots = [candle(number, 12, 13, 11, 12) for number in range(1440 - 26, 1440 + 20)]
    times = drawn(view(*slots))[-1]
    assert times.split() == ["23:40", "23:50", "01-31", "00:10", "UTC"]
    assert times.index("01-31") == LAST - 19


def test_the_operators_time_is_below_that_of_the_market() -> None:
    slots = [candle(number, 12, 13, 11, 12) for number in range(600, 640)]
    zone = timezone(timedelta(hours=-5), "EST")
    market, here = drawn(view(*slots, zone=zone))[-2:]
    assert market.split() == ["10:00", "10:10", "10:20", "10:30", "UTC"]
    assert here.split() == ["05:00", "05:10", "05:20", "05:30", "EST"]
    assert market.index("10:20") == here.index("05:20")


def test_the_volume_is_a_share_of_the_highest() -> None:
    slots = (RISES._replace(volume=4.0), FALLS._replace(volume=1.0))
    volume = drawn(view(*slots))[-2]
    assert volume[LAST - 1 : LAST + 1] == "█▂"
    assert volume.split()[-1] == "4"


def test_one_price_alone_can_be_drawn() -> None:
    lines = drawn(view(candle(0, 12, 12, 12, 12, 0.0)))
    assert "12" in "".join(lines)
