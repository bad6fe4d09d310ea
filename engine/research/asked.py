"""What every command of research is asked for: a strategy, symbols, a range and recorded data."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from engine.core.model import DAY, Bar, utc
from engine.core.strategy import Strategy, make_parameters
from engine.core.text import clean
from engine.feeds.recordings import RecordingError, Recordings
from engine.ops.errors import UserError
from engine.ops.options import first_instant, last_instant
from engine.ops.settings import load_settings
from engine.plugins import Plugins, find_strategies
from engine.research.result import BacktestRequest

MAX_CASH = Decimal(10**12)

Command = Callable[..., None]


class Asked(NamedTuple):
    """A request whose strategy, symbols and range are there. Whether a strategy can be made with
    its parameters is for the command to ask."""

    request: BacktestRequest
    recordings: Recordings


def prepare(
    strategy: str,
    symbols: tuple[str, ...],
    start: int | None,
    end: int | None,
    parameters: dict[str, str],
    folder: Path | None,
    cash: Decimal | None,
) -> Asked:
    """What was typed as a request. Raises UserError for what is not there."""
    settings = load_settings(**({} if cash is None else {"starting_cash": cash}))
    folders = [settings.strategies_dir] if settings.strategies_dir else []
    kind = _strategy(strategy, find_strategies(*folders))
    recordings = Recordings(folder or settings.replay_dir)
    _require_bars(recordings, symbols, start, end)
    require_parameters(strategy, kind, parameters, "--param")
    return Asked(
        BacktestRequest(strategy, kind, parameters, symbols, start, end, settings), recordings
    )


# --- what was typed ------------------------------------------------------------------------------


def _symbols(_: click.Context, option: click.Parameter, texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct names, in their order."""
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise click.BadParameter("a symbol is missing beside a comma.", param=option)
    return tuple(dict.fromkeys(names))


def read_pairs(_: click.Context, option: click.Parameter, texts: Iterable[str]) -> dict[str, str]:
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


OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option("-s", "--strategy", required=True, metavar="NAME", help="The strategy to run."),
    click.option(
        "--symbol",
        "symbols",
        required=True,
        multiple=True,
        callback=_symbols,
        metavar="SYMBOL",
        help="A symbol to trade; several with commas between them, or the option again.",
    ),
    click.option(
        "--start",
        callback=first_instant,
        metavar="DATE",
        help="First day (2022-01-01) or time (2022-01-01T14:30), UTC. "
        "Default: where the data begin.",
    ),
    click.option(
        "--end",
        callback=last_instant,
        metavar="DATE",
        help="Last day, all of it, or time at which to end, UTC. Default: where the data end.",
    ),
    click.option(
        "--param",
        "parameters",
        multiple=True,
        callback=read_pairs,
        metavar="NAME=VALUE",
        help="A parameter of the strategy, such as fast=5; the option again for each.",
    ),
    click.option(
        "--data",
        "folder",
        type=click.Path(path_type=Path),
        help="Folder of recorded data. Default: REPLAY_DIR, or the samples that are shipped.",
    ),
    click.option(
        "--cash",
        callback=_cash,
        metavar="AMOUNT",
        help="Cash at the start. Default: STARTING_CASH.",
    ),
)
"""The options that become the arguments of `prepare`."""


# --- what is refused -----------------------------------------------------------------------------


def _strategy(name: str, plugins: Plugins) -> type[Strategy]:
    if name in plugins.kinds:
        return plugins.kinds[name]
    faults = "".join(f"\n{file} does not load: {fault}" for file, fault in plugins.broken.items())
    raise UserError(
        f"There is no strategy {clean(name)!r}{faults}",
        f"Strategies that are there: {_closest_first(name, plugins.kinds) or 'none'}; "
        "correct --strategy",
    )


def require_parameters(
    name: str, kind: type[Strategy], parameters: Iterable[str], option: str
) -> None:
    """Raises UserError where strategy `name` does not have all `parameters`, which `option`
    gives."""
    known = _parameters(kind)
    for unknown in sorted(set(parameters) - set(known)):
        raise UserError(
            f"Strategy {name} has no parameter {clean(unknown)!r}",
            f"Its parameters are: {_closest_first(unknown, known) or 'none'}; correct {option}",
        )


def require_fitting(request: BacktestRequest) -> None:
    """Raises UserError where no strategy can be made as the request says."""
    if reason := objection(request.kind, request.symbols[0], request.parameters):
        name, known = request.strategy, _parameters(request.kind)
        given = ", ".join(f"{key}={value}" for key, value in request.parameters.items())
        raise UserError(
            f"Strategy {name} cannot start with {clean(given) or 'its defaults'} ({reason})",
            f"Give it other values with --param; its parameters are {', '.join(known) or 'none'}",
        )


def objection(kind: type[Strategy], symbol: str, parameters: dict[str, Any]) -> str:
    """Why no strategy can be made with `parameters`, empty where one can: it has rules of its
    own."""
    try:
        kind(symbol, make_parameters(kind, parameters))
    except ValueError as error:
        return clean(str(error)) or type(error).__name__
    except Exception as error:  # whatever the strategy's own code raises
        return clean(f"{type(error).__name__}: {error}")
    return ""


def _parameters(kind: type[Strategy]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind.Parameters)]


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
            f"The start ({_time(start)}) is not before the end ({_end(end)})",
            "Give a --start that lies before --end",
        )
    for symbol in symbols:
        bars = _bars(recordings, symbol)
        if not bars:
            raise UserError(
                f"There are quotes of {clean(symbol)} but no bars",
                "Name another one with --symbol, or put a file of its bars into the folder",
            )
        if not recordings.bars(symbol, start, end):
            raise UserError(
                f"There is no bar of {clean(symbol)} in that range",
                f"The data go from {_time(bars[0].start)} to {_time(bars[-1].ts)}; "
                "give --start and --end within that",
            )


def _bars(recordings: Recordings, symbol: str) -> Sequence[Bar]:
    try:
        return recordings.bars(symbol)
    except RecordingError:
        raise
    except UserError as error:
        raise UserError(error.message, f"{error.remedy}; correct --symbol") from None


def _end(ts: int) -> str:
    """An end at midnight is of the day before, which is what was typed."""
    return _time(ts) if ts % DAY else f"{utc(ts - DAY):%Y-%m-%d} 24:00 UTC"


def _time(ts: int) -> str:
    return f"{utc(ts):%Y-%m-%d %H:%M} UTC"
