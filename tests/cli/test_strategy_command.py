"""`tradebot strategy`: what is there, and a new one from a template."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.plugins import find_strategies
from engine.styles.templates import TEMPLATES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("STRATEGIES_DIR", str(folder))
    return folder


def strategy(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["strategy", *arguments])


def module(*arguments: str) -> str:
    """What a module of Python prints, which finds nothing wrong."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("style", TEMPLATES)
def test_a_new_strategy_is_found_and_its_test_passes(style: str, folder: Path) -> None:
    result = strategy("new", "my_breakout", "--style", style)
    assert result.exit_code == 0, result.output
    found = find_strategies(folder)
    assert found.broken == {}
    assert found.kinds["my_breakout"].__name__ == "MyBreakout"
    test = folder / "tests" / "test_my_breakout.py"
    assert "passed" in module("pytest", "-q", "-p", "no:cacheprovider", str(test))
    module("ruff", "check", "--ignore=S101", "--config=pyproject.toml", str(folder))


def test_without_a_style_it_is_the_event_style(folder: Path) -> None:
    assert strategy("new", "plain").exit_code == 0
    assert "def on_bar(" in (folder / "plain.py").read_text()
    result = strategy("new", "other", "--style", "waltz")
    assert result.exit_code == 2
    assert "'event', 'frame', 'policy'" in result.output
    assert not (folder / "other.py").exists()


def test_the_list_has_parameters_with_their_defaults_and_what_is_broken(folder: Path) -> None:
    (folder / "bad.py").write_text("import no_such_module")
    result = strategy("list")
    assert result.exit_code == 0
    assert "sma_crossover  fast=10 slow=30\n    Long while the fast average" in result.output
    assert "bad.py  BROKEN: ModuleNotFoundError: No module named" in result.output
    told = json.loads(strategy("list", "--json").output)
    assert told["strategies"]["sma_crossover"]["parameters"] == {"fast": 10, "slow": 30}
    assert list(told["broken"]) == ["bad.py"]


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/b", "Evil", "1st", "_x", "class", "test_x", "", "a.b", "é"]
)
def test_a_name_that_is_none_is_refused_and_nothing_is_written(folder: Path, name: str) -> None:
    result = strategy("new", "--", name)
    assert result.exit_code == 2
    assert "is no name for a strategy" in result.output
    assert "write small letters, digits and underscores" in result.output
    assert [*folder.parent.rglob("*")] == [folder]


def test_nothing_is_written_over(folder: Path) -> None:
    assert strategy("new", "mine").exit_code == 0
    (folder / "mine.py").write_text("# edited")
    for name in ("mine", "sma_crossover"):
        result = strategy("new", name)
        assert result.exit_code == 2
        assert f"there is a strategy {name}" in result.output
    assert (folder / "mine.py").read_text() == "# edited"


def test_a_link_is_not_followed(folder: Path) -> None:
    target = folder.parent / "target.py"
    (folder / "linked.py").symlink_to(target)
    result = strategy("new", "linked")
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert not target.exists()


def test_a_folder_that_every_user_may_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    result = strategy("new", "mine")
    assert result.exit_code == 2
    assert "every user may write to its folder" in result.output
    assert list(folder.iterdir()) == []
