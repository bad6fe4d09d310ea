"""`tradebot`: the engine's commands. Each is imported when it is called, so that help is quick.

Exit status: 0 done; 1 something unexpected, told in the log; 2 something that the caller can mend,
told on standard error. Of the commands to a running engine: 3 none runs; 4 no answer in time; 5 it
refuses.
"""

import importlib
import json
import logging
from typing import Any

import click

from engine import __version__
from engine.core.text import clean
from engine.ops.errors import UserError


class LazyCommand(click.Command):
    """A command that `target` (`module:name`) defines, imported when it is called."""

    def __init__(self, name: str, target: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._target = target

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        module, name = self._target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command.make_context(info_name, args, parent, **extra)


class Commands(click.Group):
    """Turns what a command raises into a message and an exit status, never into a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            click.echo(f"error: {_told_in_log(error)}", err=True)
            ctx.exit(1)


def _told_in_log(error: Exception) -> str:
    """Writes the traceback to the log; the line that says so. Local variables, which may be
    secrets, go nowhere."""
    from engine.ops.logging import start_logging
    from engine.ops.settings import load_settings

    what = f"unexpected {type(error).__name__}"
    try:
        settings = load_settings()
        start_logging(settings)
    except UserError as unlogged:
        return f"{what}, and no log can be written: {unlogged}"
    logging.getLogger(__name__).critical(what, exc_info=error)
    return f"{what}; {clean(str(settings.log_path.absolute()))} says more"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tradebot")
def main() -> None:
    """The commands of tradebot. The console is tradebot-tui."""


for name, target, short_help in (
    ("audit", "engine.store.command:audit", "Verify and export the audit log."),
    ("backtest", "engine.research.command:backtest", "Run a strategy over recorded data."),
    ("selfcheck", "engine.cli.selfcheck:selfcheck", "The yearly report: audit log and controls."),
    ("controls", "engine.cli.controls:controls", "List every control, and when it last worked."),
    ("data", "engine.data.command:data", "Bring market data into the local archive."),
    ("flatten", "engine.control.kill:flatten", "Close every position, and stop trading."),
    ("kill", "engine.control.kill:kill", "Trip the kill switch of the running engine."),
    ("logs", "engine.control.status:logs", "Print what the running engine says."),
    ("replay", "engine.travel.replay:replay", "Run a session again from its journal."),
    ("simulate", "engine.simulation.command:simulate", "Try to break the laws, seed by seed."),
    ("run", "engine.host.headless:run", "Run the engine without a console."),
    ("report", "engine.store.report:report", "List and export what compliance flagged."),
    (
        "search",
        "engine.research.command:parameter_search",
        "Search for parameters on recorded data.",
    ),
    ("status", "engine.control.status:status", "Say what the running engine does."),
    ("strategy", "engine.cli.strategy:strategy", "List the strategies, or write a new one."),
    ("upgrade", "engine.store.command:upgrade", "Bring the database to this version."),
    (
        "walk-forward",
        "engine.research.command:walk_forwards",
        "Search for parameters, trade them on later data.",
    ),
    ("verify-broker", "engine.verify.command:verify_broker", "Check a broker step by step."),
):
    main.add_command(LazyCommand(name, target, short_help))


@main.command(short_help="Print the settings in force.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """Print the settings in force, secrets masked: the environment comes before .env, that before
    the defaults."""
    from engine.config_version import config_version
    from engine.ops.settings import env_text, load_settings

    values = load_settings()
    if as_json:
        plain = {name.upper(): value for name, value in values.model_dump(mode="json").items()}
        click.echo(json.dumps(plain, indent=2))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    whole = (Column(title, overflow="fold") for title in ("setting", "value", "meaning"))
    table = Table(*whole, box=SIMPLE)
    for name, field in type(values).model_fields.items():
        table.add_row(name.upper(), clean(env_text(getattr(values, name))), field.description)
    Console().print(table)
    click.echo(f"config version {config_version(values)}")
