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
from engine.styles.templates import TEMPLATES

LONGEST_NAME = 40


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
@click.option(
    "--style",
    type=click.Choice([*TEMPLATES]),
    default="event",
    show_default=True,
    help="What it decides by: bars, quotes and fills as they come; a pandas frame of the last bars;"
    " or all its symbols and its own book at once.",
)
def new(name: str, style: str) -> None:
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
    template = TEMPLATES[style]
    text = template.test.format(title=title, name=name, path=test.name, folder=where)
    if not where:
        text = text.replace("from pathlib import Path\n\n", "")
    _write(path, template.strategy.format(title=title, kind=kind, name=name))
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
