"""A backtest's question and its answer."""

from decimal import Decimal
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.core.model import Fill, Instrument, RoundTrip
from engine.core.strategy import Strategy
from engine.ops.settings import Settings


class BacktestRequest(Struct, frozen=True):
    """One strategy over recorded bars: those that closed after `start` and not after `end`, in
    nanoseconds UTC; None is no bound. `strategy` is the name of `kind`; `parameters` are those that
    are not the defaults, valid, and may be text.
    """

    strategy: str
    kind: type[Strategy]
    parameters: dict[str, Any]
    symbols: tuple[str, ...]
    start: int | None
    end: int | None
    settings: Settings


class BacktestResult(Struct, frozen=True):
    """What a backtest came to.

    `parameters` are the strategy's, defaults included. `start` and `end` are the begin of the first
    bar and the close of the last (nanoseconds UTC), `bars` how many there were over all symbols,
    `interval` the length of one in nanoseconds. A day ends at midnight of `trading_zone`.

    `times` (int64, nanoseconds UTC), `equity` and `exposure` (float64) are of one length, at least
    1: an entry for each time at which bars closed. `equity` is marked to these closes, `exposure`
    is the gross value of the positions as a share of it.

    `fills` are all executions, `round_trips` the positions that were closed. `commission` and
    `slippage` are what was paid in all, positive. `assumptions` name the rules of simulated time,
    of the exchange, of sizing and of risk that the run went by, with their values.

    `stops` say, a line each, when and why trading stopped: kill switch, strategy paused or failed.
    `blocked` counts the signals that made no order, by the check that stood in their way. `refused`
    counts rows that were not sound, `gaps` bars that were missing. `seconds` is the run's duration.
    """

    strategy: str
    parameters: dict[str, Any]
    instruments: tuple[Instrument, ...]
    start: int
    end: int
    bars: int
    interval: int
    trading_zone: str
    starting_equity: float
    times: NDArray[np.int64]
    equity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    round_trips: tuple[RoundTrip, ...]
    fills: tuple[Fill, ...]
    commission: Decimal
    slippage: Decimal
    assumptions: dict[str, str]
    stops: tuple[str, ...]
    blocked: dict[str, int]
    refused: int
    gaps: int
    state_hash: str
    seconds: float
