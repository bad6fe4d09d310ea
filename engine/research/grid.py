"""The combinations of parameters that a search tries."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

import click
import msgspec

from engine.core.strategy import Strategy, make_parameters
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.research.asked import objection, read_pairs, require_parameters
from engine.research.result import BacktestRequest

MOST_COMBINATIONS = 1_000
MOST_BY_DEFAULT = 3
"""Parameters that are varied where no grid is given."""

Grid = dict[str, tuple[str, ...]]
"""The values of each parameter, as text."""


class Combinations(msgspec.Struct, frozen=True):
    """What is tried: the parameters of each run, those that are fixed included. `unfit` is how
    many combinations of the `grid` the strategy does not take."""

    grid: Grid
    runs: tuple[dict[str, str], ...]
    unfit: int


def read_grid(ctx: click.Context, option: click.Parameter, texts: Iterable[str]) -> Grid:
    """`NAME=5,10,20` lists values, `NAME=5:20:5` gives the first, the last and the step."""
    pairs = read_pairs(ctx, option, texts)
    return {name: _values(option, name, text) for name, text in pairs.items()}


def _values(option: click.Parameter, name: str, text: str) -> tuple[str, ...]:
    listed = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
    if ":" not in text and all(listed):
        return listed
    try:
        first, last, step = (Decimal(part) for part in text.split(":"))
        if all(n.is_finite() for n in (first, last, step)) and step > 0 and first <= last:
            count = min(int((last - first) / step), MOST_COMBINATIONS)
            return tuple(f"{first + step * at:f}" for at in range(count + 1))
    except (InvalidOperation, ValueError):
        pass
    raise click.BadParameter(
        f"{clean(f'{name}={text}')!r} is neither values such as {clean(name)}=5,10,20 "
        f"nor first, last and step such as {clean(name)}=5:20:5.",
        param=option,
    )


def combine(request: BacktestRequest, grid: Grid) -> Combinations:
    """All combinations of `grid`, or of one by default, that the strategy takes, beside the fixed
    parameters of `request`. Raises UserError that names what is wrong with the grid."""
    kind, fixed = request.kind, request.parameters
    require_parameters(request.strategy, kind, grid, "--grid")
    for name, value in fixed.items():
        _require_taken(request, "--param", name, value)
    grid = grid or _default(request)
    for name, values in grid.items():
        if name in fixed:
            raise UserError(
                f"Parameter {name} is in the grid and has one value besides",
                f"Leave {name} out of --param or out of --grid",
            )
        for value in values:
            _require_taken(request, "--grid", name, value)
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_COMBINATIONS:
        raise UserError(
            f"The grid has {count:,} combinations, more than {MOST_COMBINATIONS:,}",
            "Give --grid fewer values, or vary fewer parameters",
        )
    every = [fixed | dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    symbol = request.symbols[0]
    faults = [objection(kind, symbol, run) for run in every]
    runs = tuple(run for run, fault in zip(every, faults, strict=True) if not fault)
    if not runs:
        raise UserError(
            f"Strategy {request.strategy} takes no combination of the grid ({faults[0]})",
            "Give --grid values that fit together",
        )
    return Combinations(grid, runs, count - len(runs))


def _default(request: BacktestRequest) -> Grid:
    """Half, once and twice the default of the first parameters that are numbers."""
    grid: Grid = {}
    for field in msgspec.structs.fields(request.kind.Parameters):
        default: Any = field.default
        if field.name in request.parameters or len(grid) == MOST_BY_DEFAULT:
            continue
        if type(default) not in (int, float) or not default:
            continue
        texts = (str(type(default)(default * factor)) for factor in (0.5, 1, 2))
        taken = (text for text in texts if not _fault(request.kind, field.name, text))
        grid[field.name] = tuple(dict.fromkeys(taken))
    if not grid:
        raise UserError(
            f"Strategy {request.strategy} has no number among its parameters that is to be varied",
            "Name the parameters and their values with --grid",
        )
    return grid


def _require_taken(request: BacktestRequest, option: str, name: str, value: str) -> None:
    """Raises UserError where the strategy does not take the value that `option` gives."""
    if reason := _fault(request.kind, name, value):
        raise UserError(
            f"Strategy {request.strategy} does not take {name}={clean(value)} ({reason})",
            f"Give {option} other values of {name}",
        )


def _fault(kind: type[Strategy], name: str, value: str) -> str:
    """What is wrong with `value` by itself, whatever it goes with."""
    try:
        make_parameters(kind, {name: value})
    except ValueError as error:
        return clean(str(error))
    return ""
