"""`tradebot backtest`: what was typed becomes a request; the answer is printed."""

import difflib
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from engine.core.model import utc
from engine.core.strategy import Strategy, make_parameters
from engine.core.text import clean
from engine.feeds.recordings import Recordings
from engine.ops.errors import UserError
from engine.ops.files import write_private
from engine.ops.options import first_instant, last_instant
from engine.ops.settings import load_settings
from engine.plugins import Plugins, find_strategies
from engine.research.backtest import run_backtest
from engine.research.metrics import statistics
from engine.research.report import print_report, to_json
from engine.research.result import BacktestRequest, BacktestResult

INTERRUPTED = 130  # as of a shell whose command ended by SIGINT
MAX_CASH = Decimal(10**12)


# --- what was typed ------------------------------------------------------------------------------


def _symbols(_: click.Context, option: click.Parameter, texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct names, in their order."""
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise click.BadParameter("a symbol is missing beside a comma.", param=option)
    return tuple(dict.fromkeys(names))


def _pairs(_: click.Context, option: click.Parameter, texts: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name.strip() in pairs:
            fault = "is given twice" if equals else "is not NAME=VALUE, such as fast=5"
            raise click.BadParameter(f"{clean(text)!r} {fault}.", param=option)
        pairs[name.strip()] = value.strip()
    return pairs


def _cash(_: click.Context, option: click.Parameter, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 < amount <= MAX_CASH):
        raise click.BadParameter(
            f"{clean(text)!r} is not an amount above 0, up to {MAX_CASH:,}, such as 100000.",
            param=option,
        )
    return amount


# --- the command ---------------------------------------------------------------------------------


@click.command(short_help="Run a strategy over recorded data.")
@click.option("-s", "--strategy", required=True, metavar="NAME", help="The strategy to run.")
@click.option(
    "--symbol",
    "symbols",
    required=True,
    multiple=True,
    callback=_symbols,
    metavar="SYMBOL",
    help="A symbol to trade; several with commas between them, or the option again.",
)
@click.option(
    "--start",
    callback=first_instant,
    metavar="DATE",
    help="First day (2022-01-01) or time (2022-01-01T14:30), UTC. Default: where the data begin.",
)
@click.option(
    "--end",
    callback=last_instant,
    metavar="DATE",
    help="Last day, all of it, or time at which to end, UTC. Default: where the data end.",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="A parameter of the strategy, such as fast=5; the option again for each.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of recorded data. Default: REPLAY_DIR, or the samples that are shipped.",
)
@click.option(
    "--cash", callback=_cash, metavar="AMOUNT", help="Cash at the start. Default: STARTING_CASH."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--keep", is_flag=True, help="Keep the report, as JSON, in DATA_DIR/research.")
@click.option(
    "--progress", "tells", is_flag=True, help="Tell `progress DONE TOTAL` on standard error."
)
@click.pass_context
def backtest(
    ctx: click.Context,
    strategy: str,
    symbols: tuple[str, ...],
    start: int | None,
    end: int | None,
    parameters: dict[str, str],
    folder: Path | None,
    cash: Decimal | None,
    as_json: bool,
    keep: bool,
    tells: bool,
) -> None:
    """Run a strategy over recorded bars, through the same engine, limits and costs as in trading,
    and print what came of it.

    Settings (see `tradebot settings`) count here as they do in the console.
    """
    try:
        settings = load_settings(**({} if cash is None else {"starting_cash": cash}))
        folders = [settings.strategies_dir] if settings.strategies_dir else []
        kind = _strategy(strategy, find_strategies(*folders))
        recordings = Recordings(folder or settings.replay_dir)
        _require_bars(recordings, symbols, start, end)
        _require_fitting(strategy, kind, symbols[0], parameters)
        request = BacktestRequest(strategy, kind, parameters, symbols, start, end, settings)
        result = _run(request, recordings, tells)
    except KeyboardInterrupt:
        click.echo("Stopped: no report of a run that is not over.", err=True)
        ctx.exit(INTERRUPTED)
    figures = statistics(result)
    if keep:
        kept = _keep(settings.research_dir, strategy, to_json(result, figures))
        click.echo(f"kept {clean(str(kept))}", err=True)
    if as_json:
        click.echo(to_json(result, figures))
    else:
        print_report(_stdout(), result, figures)


def _strategy(name: str, plugins: Plugins) -> type[Strategy]:
    if name in plugins.kinds:
        return plugins.kinds[name]
    faults = "".join(f"\n{file} does not load: {fault}" for file, fault in plugins.broken.items())
    raise UserError(
        f"There is no strategy {clean(name)!r}{faults}",
        f"Strategies that are there: {_closest_first(name, plugins.kinds) or 'none'}",
    )


def _require_fitting(
    name: str, kind: type[Strategy], symbol: str, parameters: dict[str, str]
) -> None:
    """Raises UserError where no strategy can be made with `parameters`: it has rules of its own."""
    known = [field.name for field in msgspec.structs.fields(kind.Parameters)]
    for unknown in sorted(parameters.keys() - set(known)):
        raise UserError(
            f"Strategy {name} has no parameter {clean(unknown)!r}",
            f"Its parameters are: {_closest_first(unknown, known) or 'none'}",
        )
    try:
        kind(symbol, make_parameters(kind, parameters))
    except Exception as error:  # whatever the strategy's own code raises
        given = ", ".join(f"{key}={value}" for key, value in parameters.items())
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UserError(
            f"Strategy {name} cannot start with {clean(given) or 'its defaults'} ({clean(reason)})",
            f"Give it other values with --param; its parameters are {', '.join(known) or 'none'}",
        ) from error


def _closest_first(name: str, names: Iterable[str]) -> str:
    names = sorted(names)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    return ", ".join([*close, *(other for other in names if other not in close)])


def _require_bars(
    recordings: Recordings, symbols: Iterable[str], start: int | None, end: int | None
) -> None:
    """Raises UserError for a range that is empty or holds no bar of one of `symbols`."""
    if start is not None and end is not None and start >= end:
        raise UserError(
            f"The start ({_time(start)}) is not before the end ({_time(end)})",
            "Give a --start that lies before --end",
        )
    for symbol in symbols:
        bars = recordings.bars(symbol)
        if not bars:
            raise UserError(
                f"There are quotes of {clean(symbol)} but no bars",
                "Name another symbol, or put a file of its bars into the folder",
            )
        if not recordings.bars(symbol, start, end):
            raise UserError(
                f"There is no bar of {clean(symbol)} in that range",
                f"The data go from {_time(bars[0].start)} to {_time(bars[-1].ts)}; "
                "give --start and --end within that",
            )


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


def _run(request: BacktestRequest, recordings: Recordings, tells: bool) -> BacktestResult:
    """Run; the progress is told on standard error: in lines where it `tells`, else if that is a
    terminal, as is how long it took."""
    if tells:
        return run_backtest(request, recordings, _tell_progress())
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(request.strategy, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        result = run_backtest(request, recordings, on_progress)
    if console.is_terminal:
        rate = result.bars / max(result.seconds, 1e-9)
        console.print(f"{result.bars:,} bars in {result.seconds:.1f} s, {rate:,.0f} a second")
    return result


def _tell_progress() -> Callable[[int, int], None]:
    """Tells the progress in a line for each of a hundred parts."""
    told = -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        part = done * 100 // max(total, 1)
        if part > told:
            told = part
            click.echo(f"progress {done} {total}", err=True)

    return tell


def _stdout() -> Console:
    """A console on standard output, to which text that its encoding lacks comes as `?`."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console()


def _time(ts: int) -> str:
    return f"{utc(ts):%Y-%m-%d %H:%M} UTC"
