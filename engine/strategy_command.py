"""`tradebot strategy`: list the strategies that are there, and write the first lines of one."""

import json
import keyword
import re
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.build import strategy_folders
from engine.core.strategy import Strategy
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.settings import Settings, load_settings
from engine.plugins import SHIPPED, check_trust, find_strategies

LONGEST_NAME = 40

TEMPLATE = '''"""{title}: say here the exact rule, and where it comes from.

Rule: buy when a close is above the highest high of the `length` bars before; sell when it is below
their lowest low.
"""

from collections import deque
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class {kind}Parameters(StrategyParameters, frozen=True):
    """What can be set, each with its default and bounds. Lengths are in bars."""

    length: Annotated[int, Meta(ge=2, le=500)] = 20


class {kind}(Strategy):
    """There is one instance for each symbol; what you keep in `self` is of that symbol."""

    Parameters = {kind}Parameters

    def initialize(self) -> None:
        self.highs: deque[float] = deque(maxlen=self.parameters.length)
        self.lows: deque[float] = deque(maxlen=self.parameters.length)

    def required_history(self) -> int:
        return self.parameters.length + 1

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        highest = max(self.highs, default=bar.high)
        lowest = min(self.lows, default=bar.low)
        self.highs.append(bar.high)
        self.lows.append(bar.low)
        if bar.close > highest:
            return self.signal(Side.BUY, bar, {{"highest": highest}})
        if bar.close < lowest:
            return self.signal(Side.SELL, bar, {{"lowest": lowest}})
        return None


STRATEGY_NAME = "{name}"
STRATEGY_CLASS = {kind}
'''

TEST = '''"""{title}, on bars worked out by hand. Run with: pytest {path}"""

from pathlib import Path

from engine.core.model import MINUTE, Bar, Side
from engine.core.strategy import make_parameters
from engine.plugins import find_strategies

KIND = find_strategies({folder}).kinds["{name}"]


def sides(*closes: float) -> list[Side | None]:
    """What it says at each of these closes, with `length` 2."""
    strategy = KIND("TEST", make_parameters(KIND, {{"length": 2}}))
    found: list[Side | None] = []
    history: list[Bar] = []
    for number, close in enumerate(closes, 1):
        bar = Bar("TEST", number * MINUTE, close, close, close, close, 1.0)
        history.append(bar)
        signal = strategy.on_bar(bar, history)
        found.append(signal.side if signal else None)
    return found


def test_it_buys_above_the_highest_and_sells_below_the_lowest() -> None:
    assert sides(10, 11, 10.5, 11.5, 10.2) == [None, Side.BUY, None, Side.BUY, Side.SELL]
'''


@click.group(short_help="List the strategies, or write a new one.")
def strategy() -> None:
    """The strategies that are there: those shipped, and those in STRATEGIES_DIR."""


@strategy.command("list", short_help="List the strategies and their parameters.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List every strategy with its parameters and their defaults, and every broken file with what
    is wrong with it."""
    found = find_strategies(*strategy_folders(load_settings()))
    rows = {name: _described(kind) for name, kind in sorted(found.kinds.items())}
    if as_json:
        click.echo(json.dumps({"strategies": rows, "broken": found.broken}, indent=2))
        return
    for name, row in rows.items():
        values = " ".join(f"{key}={value}" for key, value in row["parameters"].items())
        click.echo(f"{name}  {values}\n    {row['about']}")
    for name, problem in found.broken.items():
        click.echo(f"{name}  BROKEN: {problem}")


def _described(kind: type[Strategy]) -> dict[str, Any]:
    about = clean((kind.__doc__ or "").strip().partition("\n")[0])
    return {"parameters": msgspec.to_builtins(kind.Parameters()), "about": about}


@strategy.command(short_help="Write a new strategy, and a test of it.")
@click.argument("name")
def new(name: str) -> None:
    """Write NAME.py, a strategy that works and is yours to change, and a test of it, into
    STRATEGIES_DIR; in a checkout without one, beside the shipped strategies."""
    _check_name(name)
    settings = load_settings()
    folder, tests = _places(settings)
    path, test = folder / f"{name}.py", tests / f"test_{name}.py"
    if name in find_strategies(*strategy_folders(settings)).kinds or path.exists():
        raise UserError(f"there is a strategy {name}", "choose another name")
    kind = "".join(part.capitalize() for part in name.split("_"))
    title = name.replace("_", " ").capitalize()
    where = "" if folder == SHIPPED else "Path(__file__).parent.parent"
    text = TEST.format(title=title, name=name, path=test.name, folder=where)
    if not where:
        text = text.replace("from pathlib import Path\n\n", "")
    _write(path, TEMPLATE.format(title=title, kind=kind, name=name))
    _write(test, text)
    click.echo(f"wrote {path}\nwrote {test}")
    click.echo(f"next: tradebot backtest -s {name}; a running console shows it by itself, off")


def _check_name(name: str) -> None:
    """Raises UserError for what would be no file of its own in the folder, or no Python name."""
    fits = re.fullmatch("[a-z][a-z0-9_]*", name) and len(name) <= LONGEST_NAME
    if not fits or keyword.iskeyword(name) or name.startswith("test_"):
        raise UserError(
            f"{clean(name, LONGEST_NAME)} is no name for a strategy",
            "write small letters, digits and underscores, a letter first, such as my_breakout",
        )


def _places(settings: Settings) -> tuple[Path, Path]:
    """The folders of the strategy and of its test."""
    own = strategy_folders(settings)
    if own:
        folder, tests = own[0], own[0] / "tests"
    elif (SHIPPED.parent / "pyproject.toml").exists():
        folder, tests = SHIPPED, SHIPPED.parent / "tests" / "strategies"
    else:
        raise UserError("STRATEGIES_DIR is not set", "set it to a folder for strategies of yours")
    try:
        check_trust(folder / "any.py")
    except PermissionError as error:
        raise UserError(
            f"{clean(str(folder))}: {error}", "or choose another STRATEGIES_DIR"
        ) from error
    return folder, tests


def _write(path: Path, text: str) -> None:
    """A new file; nothing is written over, and no link followed."""
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(
            f"{clean(str(path))} cannot be written ({error.strerror})",
            "move what is there away, or choose another name",
        ) from error
