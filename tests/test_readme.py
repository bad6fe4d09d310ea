"""The examples of the README work."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.core.strategy import Strategy
from engine.plugins import find_strategies
from engine.styles.frame import FrameStrategy
from engine.styles.policy import Policy

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = {
    re.findall('STRATEGY_NAME = "(.*)"', source)[0]: source
    for source in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """STRATEGIES_DIR, with the examples in it."""
    for name, source in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("STRATEGIES_DIR", str(tmp_path))
    return tmp_path


def test_there_is_one_of_each_style(folder: Path) -> None:
    kinds = find_strategies(folder).kinds
    bases = [kinds[name].__bases__ for name in EXAMPLES]
    assert bases == [(Strategy,), (FrameStrategy,), (Policy,)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_is_listed_and_trades_the_samples(name: str) -> None:
    runner = CliRunner()
    assert f"\n{name}  " in runner.invoke(main, ["strategy", "list"]).output
    day = ("--start", "2018-04-04", "--end", "2018-04-04", "--json")
    run = runner.invoke(main, ["backtest", "-s", name, "--symbol", "BTC-USD,ETH-USD", *day])
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert not any("failed" in stop for stop in report["stops"])
    assert {trip["symbol"] for trip in report["round_trips"]} == {"BTC-USD", "ETH-USD"}
