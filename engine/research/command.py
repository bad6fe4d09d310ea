"""`tradebot backtest`, `search` and `walk-forward`: what was typed is run, the answer printed."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import write_private
from engine.research import search_report
from engine.research.asked import OPTIONS, Asked, Command, prepare, require_fitting
from engine.research.backtest import run_backtest
from engine.research.grid import MOST_BY_DEFAULT, Grid, combine, read_grid
from engine.research.metrics import statistics
from engine.research.report import print_report, to_json
from engine.research.search import OBJECTIVES, Tell, search
from engine.research.walk_forward import Plan, walk_forward

INTERRUPTED = 130  # as of a shell whose command ended by SIGINT

T = TypeVar("T")


# --- what the commands have in common ------------------------------------------------------------


class _Output(NamedTuple):
    """What becomes of a report, and how the progress is told."""

    as_json: bool
    keep: bool
    tells: bool


_OUTPUT = (
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    click.option("--keep", is_flag=True, help="Keep the report, as JSON, in DATA_DIR/research."),
    click.option(
        "--progress", "tells", is_flag=True, help="Tell `progress DONE TOTAL` on standard error."
    ),
)
_SEARCHED = (
    click.option(
        "--grid",
        multiple=True,
        callback=read_grid,
        metavar="NAME=VALUES",
        help="Values of a parameter: fast=5,10,20, or first, last and step: fast=5:20:5; the "
        f"option again for each. Default: half, once and twice the default of the first "
        f"{MOST_BY_DEFAULT} that are numbers.",
    ),
    click.option(
        "--by",
        "objective",
        type=click.Choice(list(OBJECTIVES)),
        default="return",
        show_default=True,
        help="What the best has most of.",
    ),
)


class _Count(click.IntRange):
    """A whole number, refused in the same words whatever it is instead."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            rule = f"is not a whole number from {self.min} to {self.max}."
            self.fail(f"{clean(str(value))!r} {rule}", param, ctx)


def _takes(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# --- the commands --------------------------------------------------------------------------------


@click.command(short_help="Run a strategy over recorded data.")
@_takes(*OPTIONS, *_OUTPUT)
@click.pass_context
def backtest(ctx: click.Context, as_json: bool, keep: bool, tells: bool, **typed: Any) -> None:
    """Run a strategy over recorded bars, through the same engine, limits and costs as in trading,
    and print what came of it.

    Settings (see `tradebot settings`) count here as they do in the console.
    """
    with _interruptible(ctx):
        asked = prepare(**typed)
        require_fitting(asked.request)
        result = _run(asked, tells, lambda tell: run_backtest(*asked, tell))
    figures = statistics(result)
    output = _Output(as_json, keep, tells)
    _report(output, asked, to_json(result, figures), lambda to: print_report(to, result, figures))


@click.command("search", short_help="Search for parameters over recorded data.")
@_takes(*OPTIONS, *_SEARCHED, *_OUTPUT)
@click.pass_context
def parameter_search(
    ctx: click.Context,
    grid: Grid,
    objective: str,
    as_json: bool,
    keep: bool,
    tells: bool,
    **typed: Any,
) -> None:
    """Run a backtest for each combination of parameters, and print which were best.

    The best of many is the best of the past, and partly by luck: `tradebot walk-forward` says what
    it is worth on bars that it was not chosen on.
    """
    with _interruptible(ctx):
        asked = prepare(**typed)
        combinations = combine(asked.request, grid)
        found = _run(asked, tells, lambda tell: search(*asked, combinations, objective, tell))
    output = _Output(as_json, keep, tells)
    report = search_report.search_to_json(found)
    _report(output, asked, report, lambda to: search_report.print_search(to, found))


@click.command("walk-forward", short_help="Search for parameters, trade them on later data.")
@_takes(*OPTIONS, *_SEARCHED, *_OUTPUT)
@click.option(
    "--windows",
    type=_Count(1, 50),
    default=4,
    show_default=True,
    help="Stretches that are traded, each with the best parameters of the time before it.",
)
@click.option(
    "--in-sample",
    type=_Count(1, 20),
    default=3,
    show_default=True,
    help="How many times as long as one of these the stretch is in which they are searched.",
)
@click.pass_context
def walk_forwards(
    ctx: click.Context,
    grid: Grid,
    objective: str,
    windows: int,
    in_sample: int,
    as_json: bool,
    keep: bool,
    tells: bool,
    **typed: Any,
) -> None:
    """Search for parameters on a stretch of bars and trade them on the one after it, again and
    again, and print what all that was traded came to."""
    plan = Plan(windows, in_sample, objective)
    with _interruptible(ctx):
        asked = prepare(**typed)
        combinations = combine(asked.request, grid)
        done = _run(asked, tells, lambda tell: walk_forward(*asked, combinations, plan, tell))
    output = _Output(as_json, keep, tells)
    report = search_report.walk_forward_to_json(done)
    _report(output, asked, report, lambda to: search_report.print_walk_forward(to, done))


# --- running and reporting -----------------------------------------------------------------------


@contextmanager
def _interruptible(ctx: click.Context) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped: no report of a run that is not over.", err=True)
        ctx.exit(INTERRUPTED)


def _run(asked: Asked, tells: bool, work: Callable[[Tell], T]) -> T:
    """Do the work; its progress is told on standard error: in lines where it `tells`, else if that
    is a terminal, as is how long it took."""
    if tells:
        return work(_tell_progress())
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(asked.request.strategy, total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        answer = work(tell)
    if console.is_terminal:
        (ended,) = progress.tasks
        seconds = max(ended.elapsed or 0.0, 1e-9)
        bars = ended.completed
        console.print(f"{bars:,.0f} bars in {seconds:.1f} s, {bars / seconds:,.0f} a second")
    return answer


def _tell_progress() -> Tell:
    """Tells the progress in a line for each of a hundred parts."""
    told = -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        part = done * 100 // max(total, 1)
        if part > told:
            told = part
            click.echo(f"progress {done} {total}", err=True)

    return tell


def _report(output: _Output, asked: Asked, report: bytes, show: Callable[[Console], None]) -> None:
    if output.keep:
        request = asked.request
        kept = _keep(request.settings.research_dir, request.strategy, report)
        click.echo(f"kept {clean(str(kept))}", err=True)
    if output.as_json:
        click.echo(report)
    else:
        show(_stdout())


def _keep(folder: Path, strategy: str, report: bytes) -> Path:
    """Write `report` into a new file of `folder`, named by the time and the strategy; its path.
    Raises UserError where that cannot be."""
    letters = "".join(letter if letter.isalnum() else "_" for letter in strategy)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{letters}.json"
    try:
        write_private(path, report)
    except OSError as error:
        raise UserError(
            f"The report cannot be kept in {clean(str(folder))} ({error.strerror})",
            "Make room there, or give a folder that can be written in DATA_DIR",
        ) from error
    return path


def _stdout() -> Console:
    """A console on standard output, to which text that its encoding lacks comes as `?`."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console()
