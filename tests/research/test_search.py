"""`tradebot search` and `tradebot walk-forward`: the real commands over the recorded samples."""

import json
from itertools import pairwise

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main

RUN = ("-s", "sma_crossover", "--symbol", "ETH-USD")
DAY = (*RUN, "--start", "2018-04-04", "--end", "2018-04-04")
GRID = ("--grid", "fast=5,10", "--grid", "slow=10:30:20")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def report(*arguments: str) -> dict:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refusal(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


# --- search --------------------------------------------------------------------------------------


def test_a_search_tries_what_fits_and_tells_the_best_in_full() -> None:
    found = report("search", *DAY, *GRID)
    tried = [trial["parameters"] for trial in found["trials"]]
    returns = [trial["outcome"]["total_return"] for trial in found["trials"]]
    assert sorted((each["fast"], each["slow"]) for each in tried) == [(5, 10), (5, 30), (10, 30)]
    assert (found["kind"], found["unfit"]) == ("search", 1)
    assert found["grid"] == {"fast": ["5", "10"], "slow": ["10", "30"]}
    assert returns == sorted(returns, reverse=True)
    assert found["parameters"] == tried[0]
    assert found["statistics"]["total_return"] == returns[0]


def test_each_trial_is_the_backtest_of_its_parameters() -> None:
    found = report("search", *DAY, *GRID)
    for trial in found["trials"]:
        pairs = (f"--param={name}={value}" for name, value in trial["parameters"].items())
        alone = report("backtest", *DAY, *pairs)["statistics"]
        outcome = trial["outcome"]
        assert outcome["total_return"] == alone["total_return"]
        assert outcome["drawdown"] == alone["drawdown"]["depth"]
        assert outcome["round_trips"] == alone["round_trips"]["count"]


def test_another_objective_and_a_fixed_parameter() -> None:
    found = report("search", *RUN, "--grid", "fast=5:15:5", "--param", "slow=40", "--by", "sharpe")
    ratios = [trial["outcome"]["sharpe"] for trial in found["trials"]]
    assert ratios == sorted(ratios, reverse=True)
    assert [trial["parameters"]["slow"] for trial in found["trials"]] == [40, 40, 40]


def test_without_a_grid_the_defaults_are_varied() -> None:
    assert report("search", *DAY)["grid"] == {"fast": ["5", "10", "20"], "slow": ["15", "30", "60"]}


def test_a_search_is_printed() -> None:
    said = run("search", *DAY, *GRID).stdout
    assert "3 combinations of fast=5,10; slow=10,30, 1 do not fit together" in " ".join(
        said.split()
    )
    assert "on the bars that it was chosen on" in said
    assert "Assumptions" in said


# --- walk-forward --------------------------------------------------------------------------------


def test_a_walk_forward_trades_what_was_best_before_and_carries_the_money_on() -> None:
    done = report("walk-forward", *RUN, *GRID, "--windows", "3", "--in-sample", "2")
    windows = done["windows"]
    assert (done["kind"], len(windows)) == ("walk-forward", 3)
    assert all(one["end"] == other["start"] for one, other in pairwise(windows))
    assert (done["start"], done["end"]) == (windows[0]["start"], windows[-1]["end"])
    grown = 100_000.0
    for window in windows:
        grown *= 1 + window["out_of_sample"]["total_return"]
    assert done["statistics"]["final_equity"] == pytest.approx(grown, abs=0.05)
    assert done["equity_curve"][-1]["equity"] == done["statistics"]["final_equity"]
    trips = [window["out_of_sample"]["round_trips"] for window in windows]
    assert done["statistics"]["round_trips"]["count"] == sum(trips) == len(done["round_trips"])


def test_a_window_trades_the_best_of_the_search_before_it() -> None:
    done = report("walk-forward", *RUN, *GRID, "--windows", "1", "--in-sample", "1")
    (window,) = done["windows"]
    span = ("--start", window["searched_from"], "--end", window["start"])
    best = report("search", *RUN, *GRID, *span)["trials"][0]
    assert (window["parameters"], window["in_sample"]) == (best["parameters"], best["outcome"])
    pairs = (f"--param={name}={value}" for name, value in best["parameters"].items())
    alone = report("backtest", *RUN, "--start", window["start"], *pairs)
    assert alone["statistics"]["total_return"] == window["out_of_sample"]["total_return"]
    assert alone["statistics"]["total_return"] == done["statistics"]["total_return"]


def test_a_walk_forward_is_printed() -> None:
    said = run("walk-forward", *RUN, "--grid", "fast=5,10").stdout
    for words in ("in sample", "Walk-forward efficiency", "on bars that nothing was chosen on"):
        assert words in said


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "fast"], "'fast' is not NAME=VALUE"),
        (["--grid", "fast=5:1:1"], "'fast=5:1:1' is neither values such as fast=5,10,20"),
        (["--grid", "fast=5:9:0"], "nor first, last and step such as fast=5:20:5"),
        (["--grid", "fast=5:nan:1"], "'fast=5:nan:1' is neither values"),
        (["--grid", "fast=5,"], "'fast=5,' is neither values"),
        (["--grid", "fst=5"], "no parameter 'fst' Its parameters are: fast, slow; correct --grid"),
        (["--grid", "fast=5,x"], "does not take fast=x (fast: x is not a whole number)"),
        (["--param", "fast=x"], "not a whole number) Give --param other values of fast"),
        (["--grid", "fast=5", "--param", "fast=7"], "Leave fast out of --param or out of --grid"),
        (["--grid", "fast=1:40:1", "--grid", "slow=2:41:1"], "has 1,600 combinations, more than"),
        (["--grid", "fast=50,60"], "takes no combination of the grid (fast (50) must be less"),
        (["--by", "luck"], "'luck' is not one of 'return', 'sharpe', 'sortino'"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], words: str) -> None:
    assert words in refusal("search", *RUN, *arguments)


def test_a_range_too_short_for_its_windows_is_told() -> None:
    said = refusal("walk-forward", *RUN, "--end", "2018-04-04T01:00")
    assert "too few for 7 parts of 10 or more" in said
    assert "fewer --windows" in said


@pytest.mark.parametrize("count", ["0", "51", "x", "1.5"])
def test_what_is_no_number_of_windows_is_told_which_are(count: str) -> None:
    said = refusal("walk-forward", *RUN, "--windows", count)
    assert f"'{count}' is not a whole number from 1 to 50." in said
