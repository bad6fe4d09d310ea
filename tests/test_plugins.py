"""Strategy files are found, and a broken one is named and stops nothing."""

import sys
from pathlib import Path

import pytest

from engine.core.strategy import Strategy
from engine.plugins import find_strategies

OURS = [
    "bollinger_breakout",
    "crypto_momentum",
    "grid_trading",
    "macd_crossover",
    "rsi_mean_reversion",
    "sma_crossover",
    "stochastic_oscillator",
    "vwap",
]

GOOD = """
from engine.core.strategy import Strategy

class Quiet(Strategy):
    pass

STRATEGY_NAME = "quiet"
STRATEGY_CLASS = Quiet
"""


def test_the_shipped_strategies_are_there() -> None:
    found = find_strategies()
    assert sorted(found.kinds) == OURS
    assert found.broken == {}


def test_a_new_file_is_a_new_strategy(tmp_path: Path) -> None:
    (tmp_path / "quiet.py").write_text(GOOD)
    found = find_strategies(tmp_path)
    assert sorted(found.kinds) == sorted([*OURS, "quiet"])
    assert issubclass(found.kinds["quiet"], Strategy)
    assert found.broken == {}


@pytest.mark.parametrize("name", ["_helper.py", "notes.txt", "quiet.py.bak"])
def test_a_file_of_another_name_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GOOD)
    assert list(find_strategies(tmp_path).kinds) == OURS


def test_a_file_without_the_two_exports_is_none(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1")
    found = find_strategies(tmp_path)
    assert (list(found.kinds), found.broken) == (OURS, {})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('[/x] \\x1b[2J')", "RuntimeError: (/x)  (2J"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("STRATEGY_NAME = 'x'", "STRATEGY_CLASS must be a subclass"),
        ("STRATEGY_NAME = 'x'; STRATEGY_CLASS = int", "STRATEGY_CLASS must be a subclass"),
        ("STRATEGY_NAME = 'x'; STRATEGY_CLASS = 5", "STRATEGY_CLASS must be a subclass"),
        (GOOD.replace('"quiet"', '"not a name"'), "STRATEGY_NAME must be a name"),
        (GOOD.replace('"quiet"', "7"), "STRATEGY_NAME must be a name"),
        (GOOD.replace('STRATEGY_NAME = "quiet"', ""), "STRATEGY_NAME must be a name"),
        (GOOD.replace("quiet", "sma_crossover"), "sma_crossover is taken by another file"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    (tmp_path / "quiet.py").write_text(GOOD)
    found = find_strategies(tmp_path)
    assert list(found.broken) == ["broken.py"]
    assert said in found.broken["broken.py"]
    assert sorted(found.kinds) == sorted([*OURS, "quiet"])


def test_files_of_the_same_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for folder, name in (("a", "quiet"), ("b", "loud")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(GOOD.replace("quiet", name))
    found = find_strategies(tmp_path / "a", tmp_path / "b")
    assert sorted(found.kinds) == sorted([*OURS, "loud", "quiet"])


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "quiet.py"
    file.write_text(GOOD)
    find_strategies(tmp_path)
    file.write_text(GOOD.replace("quiet", "another_name"))
    assert "another_name" in find_strategies(tmp_path).kinds


def test_a_strategy_cannot_take_the_place_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(GOOD)
    find_strategies(tmp_path)
    assert sys.modules["json"].__file__ != str(tmp_path / "json.py")
