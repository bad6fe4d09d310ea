"""`tradebot backtest`: the real command over the recorded samples."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.research.command import INTERRUPTED

ROOT = Path(__file__).parents[2]
RUN = ("-s", "sma_crossover", "--symbol", "ETH-USD")


def backtest(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["backtest", *arguments])


def report(*arguments: str) -> dict:
    result = backtest(*RUN, "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refusal(*arguments: str) -> str:
    """What is said of arguments that are wrong: never a traceback, and nothing is printed."""
    result = backtest(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


# --- what it prints ------------------------------------------------------------------------------


def test_a_report_is_printed() -> None:
    result = backtest(*RUN, "--start", "2018-04-04", "--end", "2018-04-04")
    assert result.exit_code == 0
    assert result.stderr == ""
    for words in ("sma_crossover", "ETH-USD", "Sharpe", "Commission", "Equity, USD", "Assumptions"):
        assert words in result.stdout


def test_json_is_the_same_run() -> None:
    document = report("--start", "2018-04-04", "--end", "2018-04-04")
    table = backtest(*RUN, "--start", "2018-04-04", "--end", "2018-04-04").stdout
    assert f"{document['statistics']['final_equity']:,.2f}" in table
    assert document["state_hash"] in table


def test_the_figures_of_a_run_agree_with_each_other() -> None:
    document = report("--start", "2018-04-04", "--end", "2018-04-04")
    figures, trips = document["statistics"], document["round_trips"]
    pnls = [float(trip["pnl"]) for trip in trips]
    assert len(trips) > 2
    assert figures["open_positions"] == 0
    assert figures["fills"] >= 2 * len(trips)
    assert figures["final_equity"] == pytest.approx(100_000 + sum(pnls), abs=1e-6)
    assert float(figures["round_trips"]["profit"]) == pytest.approx(sum(pnls), abs=1e-9)
    paid = sum(float(trip["commission"]) for trip in trips)
    assert float(figures["commission"]) == pytest.approx(paid, abs=1e-9)
    assert document["equity_curve"][-1]["equity"] == figures["final_equity"]


def test_dates_are_whole_days_in_utc() -> None:
    document = report("--start", "2018-04-05", "--end", "2018-04-05")
    assert document["start"] == "2018-04-05T00:00:00Z"
    assert document["end"] == "2018-04-06T00:00:00Z"


def test_times_count_to_the_minute() -> None:
    document = report("--start", "2018-04-05T10:00", "--end", "2018-04-05T14:30+02:00")
    assert document["start"] == "2018-04-05T10:00:00Z"
    assert document["end"] == "2018-04-05T12:30:00Z"


def test_several_symbols_cash_and_parameters() -> None:
    given = ("--symbol", "BTC-USD,ETH-USD", "--cash", "5000.50", "--param", "fast=3")
    document = report(*given, "--param", "slow=7", "--end", "2018-04-04")
    assert document["symbols"] == ["ETH-USD", "BTC-USD"]
    assert document["starting_equity"] == 5000.5
    assert document["parameters"] == {"fast": 3, "slow": 7}


def test_settings_count_as_they_do_in_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_TRADES_PER_DAY", "1")
    assert len(report("--end", "2018-04-04")["round_trips"]) <= 2
    monkeypatch.setenv("MAX_TRADES_PER_DAY", "x")
    assert "MAX_TRADES_PER_DAY" in refusal(*RUN)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    rows = [f"2020-01-01T10:{minute:02}:00Z,5,5,5,5,1" for minute in range(50)]
    (tmp_path / "ABC.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))
    result = backtest("-s", "sma_crossover", "--symbol", "ABC", "--data", str(tmp_path), "--json")
    document = json.loads(result.stdout)
    assert (document["symbols"], document["bars"]) == (["ABC"], 50)


# --- what it refuses -----------------------------------------------------------------------------


def test_an_unknown_strategy_is_told_with_those_there_are() -> None:
    said = refusal("-s", "sma_crosover", "--symbol", "ETH-USD")
    assert "There is no strategy 'sma_crosover'" in said
    assert "Strategies that are there: sma_crossover, " in said


def test_a_strategy_file_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setenv("STRATEGIES_DIR", str(tmp_path))
    said = refusal("-s", "mine", "--symbol", "ETH-USD")
    assert "mine.py does not load: ModuleNotFoundError" in said


def test_an_unknown_symbol_is_told_with_those_there_are() -> None:
    said = refusal("-s", "sma_crossover", "--symbol", "ETHUSD")
    assert "'ETHUSD'" in said
    assert "Symbols that are there: ETH-USD" in said


def test_a_range_without_data_is_told_with_the_range_that_has_some() -> None:
    said = refusal(*RUN, "--start", "2023-01-01")
    assert "no bar of ETH-USD" in said
    assert "from 2018-04-04 00:00 UTC to 2018-04-06 00:00 UTC" in said


def test_a_symbol_without_bars_is_told(tmp_path: Path) -> None:
    columns = "timestamp,bid_open,bid_high,bid_low,bid_close,bid_size"
    columns += ",ask_open,ask_high,ask_low,ask_close,ask_size"
    row = "2020-01-01T10:00:00Z,5,5,5,5,1,6,6,6,6,1"
    (tmp_path / "ABC-quotes-1m.csv").write_text(f"{columns}\n{row}\n")
    said = refusal("-s", "sma_crossover", "--symbol", "ABC", "--data", str(tmp_path))
    assert "quotes of ABC but no bars" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--start", "2018-04-05", "--end", "2018-04-04"],
            "(2018-04-05 00:00 UTC) is not before the end (2018-04-04 24:00 UTC)",
        ),
        (["--start", "2018-04-05T10:00", "--end", "2018-04-05T10:00"], "is not before the end"),
        (["--start", "yesterday"], "'yesterday' is neither a date such as 2022-01-31"),
        (["--end", "2018-04-31"], "'2018-04-31' is neither a date"),
        (["--end", "9999-12-31"], "'9999-12-31' is neither a date"),
        (["--param", "fast"], "'fast' is not NAME=VALUE"),
        (["--param", "fast=2", "--param", "fast=3"], "'fast=3' is given twice"),
        (
            ["--param", "fst=3"],
            "parameter 'fst' Its parameters are: fast, slow; correct --param",
        ),
        (["--param", "fast=x"], "start with fast=x (fast: x is not a whole number)"),
        (["--param", "fast=0"], "start with fast=0 (fast: 0 is not a whole number >= 1)"),
        (["--param", "fast=30"], "fast (30) must be less than slow (30)"),
        (["--cash", "0"], "'0' is not an amount above 0"),
        (["--cash", "nan"], "'nan' is not an amount above 0"),
        (["--cash", "lots"], "'lots' is not an amount above 0"),
        (["--symbol", "BTC-USD,"], "a symbol is missing beside a comma"),
        (["--data", "/nowhere/at/all"], "/nowhere/at/all cannot be read"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], words: str) -> None:
    assert words in refusal(*RUN, *arguments)


def test_control_characters_do_not_reach_the_terminal() -> None:
    said = refusal("-s", "\x1b[31mx", "--symbol", "ETH-USD")
    assert "\x1b" not in said


# --- on a terminal -------------------------------------------------------------------------------


PRINTED = Path("printed")


def on_a_terminal(*arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """The command in a process of its own, its standard output in the file `PRINTED`, its standard
    error a terminal, whose other end comes with it."""
    ours, theirs = pty.openpty()
    with PRINTED.open("wb") as printed:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from engine.cli.main import main; main()",
                "backtest",
                *arguments,
            ],
            stdout=printed,
            stderr=theirs,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )
    os.close(theirs)
    return process, ours


def read_until(end: int, words: bytes = b"") -> bytes:
    """What is written to a terminal until it shows `words`, or closes where there are none."""
    shown = b""
    while not words or words not in shown:
        try:
            shown += os.read(end, 1000)
        except OSError:  # EIO: the other side is closed
            break
    return shown


def test_progress_goes_to_the_terminal_and_json_to_the_file() -> None:
    process, end = on_a_terminal(*RUN, "--json")
    shown = read_until(end)
    os.close(end)
    assert process.wait() == 0
    document = json.loads(PRINTED.read_bytes())
    assert b"100%" in shown
    assert f"{document['bars']:,} bars in ".encode() in shown


def test_one_that_needs_more_bars_than_are_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from engine.styles.frame import FrameStrategy

class Long(FrameStrategy):
    def required_history(self):
        return 501

STRATEGY_NAME = "long"
STRATEGY_CLASS = Long
"""
    (tmp_path / "long.py").write_text(source)
    monkeypatch.setenv("STRATEGIES_DIR", str(tmp_path))
    said = refusal("-s", "long", "--symbol", "BTC-USD")
    assert "Strategy long cannot be set up" in said
    assert "required_history is 501: at most 500 bars are kept" in said


WAITING = """
import os
import signal

from engine.core.strategy import Strategy


class Waiting(Strategy):
    def on_bar(self, bar, history):
        os.write(2, b"it waits at a bar")
        signal.pause()


STRATEGY_NAME = "waiting"
STRATEGY_CLASS = Waiting
"""


def test_ctrl_c_ends_the_run_without_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    monkeypatch.setenv("STRATEGIES_DIR", str(tmp_path))
    process, end = on_a_terminal("-s", "waiting", "--symbol", "BTC-PERP")
    read_until(end, b"it waits at a bar")
    process.send_signal(signal.SIGINT)
    said = read_until(end)
    os.close(end)
    assert process.wait() == INTERRUPTED
    assert PRINTED.read_bytes() == b""
    assert b"Stopped" in said
    assert b"Traceback" not in said


def test_a_report_is_kept_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "var"))
    day = ("--start", "2018-04-04", "--end", "2018-04-04")
    first, second = (backtest(*RUN, *day, "--json", "--keep") for _ in range(2))
    kept = sorted((tmp_path / "var" / "research").iterdir())
    assert [f"kept {path}\n" for path in kept] == [first.stderr, second.stderr]
    assert json.loads(kept[0].read_bytes()) == json.loads(first.stdout)
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_a_report_that_cannot_be_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "research").write_text("a file")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    day = ("--start", "2018-04-04", "--end", "2018-04-04")
    assert "DATA_DIR" in refusal(*RUN, *day, "--keep")


def test_progress_is_told_in_lines_that_reach_the_end() -> None:
    result = backtest(*RUN, "--start", "2018-04-04", "--end", "2018-04-04", "--json", "--progress")
    lines = [line.split() for line in result.stderr.splitlines()]
    assert {line[0] for line in lines} == {"progress"}
    done, total = [int(line[1]) for line in lines], int(lines[-1][2])
    assert done == sorted(done)
    assert done[-1] == total
    assert done[0] == 0
