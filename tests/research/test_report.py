"""The report of a backtest, as it is printed and as JSON."""

import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from engine.core.model import Side
from engine.research.metrics import statistics
from engine.research.report import plot, print_report, to_json
from engine.research.result import BacktestResult

ESCAPE = "\x1b"


def printed(
    result: BacktestResult, *, encoding: str = "utf-8", width: int = 80, **options: Any
) -> str:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding), width=width, **options)
    print_report(console, result, statistics(result))
    console.file.flush()
    return raw.getvalue().decode(encoding)


def decoded(result: BacktestResult) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(to_json(result, statistics(result)), parse_constant=refuse)


def row(report: str, name: str) -> list[str]:
    """The words beside `name` in the first line that has it."""
    return next(line for line in report.splitlines() if name in line).split(name)[1].split()


# --- printed -------------------------------------------------------------------------------------


def test_every_statistic_is_printed(make_result: Callable, make_trip: Callable) -> None:
    result = make_result(
        equity=np.array([101_000.0, 99_990.0, 100_000.0] * 8 + [102_500.0] * 48),
        exposure=np.array([0.0, 0.05] * 36),
        round_trips=tuple(make_trip(pnl) for pnl in ("30", "-10", "5.60")),
    )
    report, figures = printed(result), statistics(result)
    assert "sma_crossover(fast=10, slow=30) on BTC-PERP" in report
    assert "2022-01-01 00:00 to 2022-01-04 00:00 UTC, 72 bars of 1 h" in report
    assert row(report, "Starting equity")[0] == "100,000.00"
    assert row(report, "Final equity")[0] == "102,500.00"
    assert row(report, "Total return")[:2] == ["2.50", "%"]
    assert figures.cagr is not None
    assert figures.volatility is not None
    assert row(report, "CAGR")[0] == f"{figures.cagr * 100:,.2f}"
    assert row(report, "Volatility, yearly")[0] == f"{figures.volatility * 100:,.2f}"
    assert row(report, "Sharpe")[0] == f"{figures.sharpe:,.2f}"
    assert row(report, "Sortino")[0] == "n/a"
    assert row(report, "Max drawdown")[:2] == ["1.00", "%"]
    assert row(report, "peak")[:2] == ["2022-01-01", "01:00"]
    assert row(report, "trough")[:2] == ["2022-01-01", "02:00"]
    assert row(report, "recovered")[:2] == ["2022-01-01", "04:00"]
    assert row(report, "Longest drawdown")[:2] == ["3", "h"]
    assert row(report, "Round trips") == ["3"]
    assert row(report, "Win rate") == ["66.67", "%"]
    assert row(report, "Profit factor") == ["3.56"]
    assert row(report, "Expectancy") == ["8.53"]
    assert row(report, "Average win") == ["17.80"]
    assert row(report, "Average loss") == ["-10.00"]
    assert row(report, "Best, worst") == ["30.00,", "-10.00"]
    assert row(report, "Exposure, time") == ["50.00", "%"]
    assert row(report, "Exposure, mean") == ["2.50", "%"]
    assert row(report, "Commission") == ["123.45"]
    assert row(report, "Slippage") == ["6.70"]
    assert row(report, "COMMISSION_PCT") == ["0.1"]
    assert row(report, "orders fill") == ["at", "the", "next", "bar's", "open"]
    assert row(report, "State hash") == ["ab" * 32]


def test_what_is_undefined_is_not_a_number(make_result: Callable) -> None:
    report = printed(make_result(equity=np.array([100_000.0])))
    for name in ("CAGR", "Sharpe", "Sortino", "Win rate", "Profit factor", "Expectancy"):
        assert row(report, name)[0] == "n/a"
    assert row(report, "Best, worst") == ["n/a,", "n/a"]
    assert row(report, "peak")[0] == "n/a"


def test_what_must_be_known_is_said(make_result: Callable, make_fill: Callable) -> None:
    report = printed(
        make_result(
            stops=tuple(f"2022-01-0{day} strategy paused: 3 losses" for day in range(1, 8)),
            blocked={"max_trades_per_day": 12},
            fills=(make_fill(Side.BUY, "0.1"),),
            gaps=431,
            refused=2,
        ),
        width=120,
    )
    assert "Stopped: 2022-01-05 strategy paused: 3 losses" in report
    assert "2022-01-06" not in report
    assert "Stopped 2 times more" in report
    assert "Signals that made no order: max_trades_per_day 12" in report
    assert "Open at the end: 1 " in report
    assert "Missing bars: 431" in report
    assert "Refused rows: 2 " in report


def test_a_clean_run_has_nothing_to_say(make_result: Callable) -> None:
    report = printed(make_result())
    for note in ("Stopped", "no order", "Open at the end", "Missing", "Refused", "rest on"):
        assert note not in report


def test_few_days_are_told(make_result: Callable) -> None:
    few = make_result(equity=100_000 + 50 * np.cos(np.arange(72.0)))
    assert "Yearly figures rest on 3 daily returns only" in printed(few)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_every_line_fits_in_every_encoding(
    make_result: Callable, width: int, encoding: str
) -> None:
    rules = {"A_SETTING_WITH_A_NAME_THAT_NO_LINE_HAS_ROOM_FOR": "#" * 100}
    report = printed(make_result(assumptions=rules), width=width, encoding=encoding)
    assert max(map(len, report.splitlines())) <= width
    assert ESCAPE not in report
    assert ("*" in report) is (encoding != "utf-8")
    assert "100,000.00" in report
    assert report.count("#") == 100
    assert "\N{HORIZONTAL ELLIPSIS}" not in report


def test_colour_only_where_it_is_wanted(
    make_result: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = {"force_terminal": True, "color_system": "standard", "legacy_windows": False}
    assert f"{ESCAPE}[36m" in printed(make_result(), **terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert f"{ESCAPE}[3" not in printed(make_result(), **terminal)


def test_markup_in_a_text_is_only_text(make_result: Callable) -> None:
    report = printed(make_result(stops=("[red]x[/nonsense]",), assumptions={"a": "[/]"}))
    assert "[red]x[/nonsense]" in report
    assert row(report, "a  ") == ["[/]"]


# --- the curve -----------------------------------------------------------------------------------


def test_a_rising_line_in_stars() -> None:
    assert plot(np.arange(4.0), 4, 4, ascii_only=True) == ["   *", "  **", " ** ", "**  "]


def test_a_rising_line_in_braille() -> None:
    # Two columns of dots and four rows a cell: up from the left below to the right above.
    assert plot(np.array([0.0, 3.0]), 1, 1, ascii_only=False) == ["⣸"]


def test_a_spike_is_not_lost_among_many_values() -> None:
    values = np.zeros(44_640)
    values[12_345] = 1.0
    for ascii_only in (True, False):
        top = plot(values, 60, 8, ascii_only)[0]
        assert len(top) == 60
        assert [at for at, dot in enumerate(top) if dot != " "] == [60 * 12_345 // 44_640]


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, 5.0]])
def test_a_level_line(values: list[float]) -> None:
    lines = plot(np.array(values), 10, 3, ascii_only=True)
    assert lines == ["*" * 10, " " * 10, " " * 10]


def test_the_curve_is_labelled_with_its_range_and_times(make_result: Callable) -> None:
    report = printed(make_result(equity=np.array([100_000.0, 98_765.43, 101_234.56])))
    assert "101,234.56 |" in report
    assert " 98,765.43 |" in report
    below = next(line for line in report.splitlines() if line.endswith("2022-01-01 03:00"))
    assert below.split() == ["2022-01-01", "01:00", "2022-01-01", "03:00"]


# --- JSON ----------------------------------------------------------------------------------------


def test_json_has_the_statistics(
    make_result: Callable, make_trip: Callable, make_fill: Callable
) -> None:
    result = make_result(
        round_trips=(make_trip("30"), make_trip("-10.10")), fills=(make_fill(Side.BUY, "1"),)
    )
    document, figures = decoded(result), statistics(result)
    numbers = document["statistics"]
    for name in ("final_equity", "total_return", "cagr", "sharpe", "sortino", "volatility"):
        assert numbers[name] == getattr(figures, name)
    assert numbers["drawdown"]["depth"] == figures.drawdown.depth
    assert numbers["drawdown"]["longest_seconds"] == figures.drawdown.longest / 1e9
    assert numbers["round_trips"]["win_rate"] == 0.5
    assert numbers["round_trips"]["worst"] == "-10.10"
    assert (numbers["commission"], numbers["slippage"]) == ("123.45", "6.70")
    assert document["assumptions"] == result.assumptions
    assert document["parameters"] == {"fast": 10, "slow": 30}
    assert (document["start"], document["end"]) == ("2022-01-01T00:00:00Z", "2022-02-01T00:00:00Z")
    assert document["round_trips"][1] == {
        "strategy": "sma_crossover",
        "symbol": "BTC-PERP",
        "side": "buy",
        "quantity": "0.1",
        "entry_price": "46000",
        "exit_price": "45899.00",
        "entry_time": "2022-01-01T00:00:00Z",
        "exit_time": "2022-01-01T00:01:00Z",
        "pnl": "-10.10",
        "commission": "9.20",
    }


def test_json_keeps_every_digit_of_money(make_result: Callable) -> None:
    exact = "12345678901234567890.123456789"
    assert decoded(make_result(commission=Decimal(exact)))["statistics"]["commission"] == exact


def test_json_has_null_for_what_is_undefined(make_result: Callable) -> None:
    document = decoded(make_result(equity=np.array([100_000.0])))
    numbers = document["statistics"]
    assert (numbers["sharpe"], numbers["cagr"]) == (None, None)
    assert numbers["round_trips"]["profit_factor"] is None
    assert numbers["drawdown"]["peak_time"] is None


@pytest.mark.parametrize("bars", [1, 2, 499, 500, 501, 44_640])
def test_json_has_a_curve_of_at_most_500_points(make_result: Callable, bars: int) -> None:
    result = make_result(equity=np.arange(1.0, bars + 1))
    curve = decoded(result)["equity_curve"]
    values = [point["equity"] for point in curve]
    assert len(curve) == min(bars, 500)
    assert (values[0], values[-1]) == (1.0, bars)
    assert values == sorted(set(values))
    assert curve[0]["time"] == "2022-01-01T01:00:00Z"


def test_json_has_no_nan(make_result: Callable) -> None:
    document = decoded(make_result(parameters={"x": float("nan")}, exposure=np.array([np.inf])))
    assert document["parameters"] == {"x": None}


def test_json_is_the_same_for_the_same_run(make_result: Callable) -> None:
    result = make_result()
    slower = msgspec.structs.replace(result, seconds=99.0)
    figures = statistics(result)
    assert to_json(result, figures) == to_json(slower, statistics(slower))
