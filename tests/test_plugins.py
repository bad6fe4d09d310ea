"""Strategy files are found, and a broken one is named and stops nothing."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from engine.core.strategy import Strategy
from engine.plugins import find_strategies, fingerprint

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


# --- what others could have written --------------------------------------------------------------


def refused(folder: Path) -> str:
    found = find_strategies(folder)
    assert "quiet" not in found.kinds
    assert list(found.broken) == ["quiet.py"]
    return found.broken["quiet.py"]


def test_a_file_that_every_user_may_write_to_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "quiet.py"
    file.write_text(GOOD)
    file.chmod(0o646)
    assert f"every user may write to the file: look at what it does, then run chmod o-w {file}" in (
        refused(tmp_path)
    )
    file.chmod(0o644)
    assert "quiet" in find_strategies(tmp_path).kinds


def test_a_file_in_a_folder_that_every_user_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "quiet.py").write_text(GOOD)
    folder.chmod(0o777)
    said = refused(folder)
    assert said.startswith("PermissionError: every user may write to its folder: look at what it")
    assert said.endswith(f"chmod o-w {folder}")


def test_a_link_to_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "elsewhere.py").write_text(GOOD)
    (folder / "quiet.py").symlink_to(tmp_path / "elsewhere.py")
    assert "a link to outside the folder: copy the file into it" in refused(folder)


def test_what_is_refused_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "quiet.py"
    file.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n" + GOOD)
    file.chmod(0o666)
    find_strategies(tmp_path)
    assert not (tmp_path / "ran").exists()


# --- again ---------------------------------------------------------------------------------------


def test_a_file_that_did_not_change_gives_the_same_class(tmp_path: Path) -> None:
    file = tmp_path / "quiet.py"
    file.write_text(GOOD)
    first = find_strategies(tmp_path).kinds["quiet"]
    assert find_strategies(tmp_path).kinds["quiet"] is first
    file.write_text(GOOD.replace("pass", "x = 1"))
    other = find_strategies(tmp_path).kinds["quiet"]
    assert other is not first
    assert fingerprint(first) == sha256(GOOD.encode()).hexdigest() != fingerprint(other)


def test_parameters_need_defaults(tmp_path: Path) -> None:
    needy = """
from engine.core.strategy import Strategy, StrategyParameters

class Needs(StrategyParameters, frozen=True):
    length: int

class Quiet(Strategy):
    Parameters = Needs

STRATEGY_NAME = "quiet"
STRATEGY_CLASS = Quiet
"""
    (tmp_path / "quiet.py").write_text(needy)
    assert "missing required field length" in find_strategies(tmp_path).broken["quiet.py"]
