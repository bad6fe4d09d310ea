"""Backtest, bar by bar through the whole machine, beside backtesting.py.

Both take the same bars in memory to the statistics of the run: SMA 10/30 crossover, long only,
market orders filled at the next open, 5 % of equity, 0.1 % commission, no slippage. The limits are
so wide that trading never stops. CPU time, the least of several runs that take turns.

The machine does more: it checks seven limits for every entry, moves every order through its states,
keeps the ledger in Decimal, and holds a protective stop under each position (so wide that it never
fires). The number of trades may differ by a few: where the averages are equal, backtesting.py sees
no crossing; and volume may split an order into several fills here.
"""

import gzip
import warnings
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

from engine.core.model import NANOS, utc
from engine.feeds.recordings import SAMPLES, Recordings
from engine.ops.settings import Settings
from engine.research.backtest import run_backtest
from engine.research.metrics import statistics
from engine.research.result import BacktestRequest, BacktestResult
from strategies.sma_crossover import SmaCrossover
from tests.bench.engine import UNLIMITED
from tests.bench.measure import Figure, least_cpu_seconds

FAST, SLOW = 10, 30
ROUNDS = 3
MONTH = "BTC-PERP"
WALK = "WALK-USD"
WALK_BARS = 200_000
COLUMNS = ["timestamp", "open", "high", "low", "close", "volume"]
PEER = "backtesting.py"
GOAL = "≥ 2 × backtesting.py"


def measure() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        walk = Path(folder) / f"{WALK}-bars-1m.csv.gz"
        write_walk(walk, WALK_BARS)
        month = next(SAMPLES.glob(f"{MONTH}-*bars-1m.csv.gz"))
        yield from compare(f"{MONTH}, January 2022", MONTH, month)
        yield from compare("random walk", WALK, walk)


def compare(name: str, symbol: str, file: Path) -> Iterator[Figure]:
    """Ours and the peer's bars a second of CPU time, without and with reading the file."""
    recordings = Recordings(file.parent)
    bars = len(recordings.bars(symbol))
    frame = read_frame(file)
    ours, theirs, ours_read, theirs_read = least_cpu_seconds(
        ROUNDS,
        lambda: run_ours(symbol, recordings),
        lambda: run_theirs(frame),
        lambda: run_ours(symbol, Recordings(file.parent)),
        lambda: run_theirs(read_frame(file)),
    )
    result, peer = run_ours(symbol, recordings), run_theirs(frame)
    trades = f"{len(result.round_trips):,} trades, {peer['# Trades']:,} of the peer"
    yield Figure(
        f"backtest, {bars:,} bars of {name}",
        bars / ours,
        "bars/s",
        PEER,
        bars / theirs,
        GOAL,
        ours * 2 <= theirs,
        trades,
    )
    yield Figure(
        "the same, reading the file included", bars / ours_read, "bars/s", PEER, bars / theirs_read
    )


# --- ours ----------------------------------------------------------------------------------------


def run_ours(symbol: str, recordings: Recordings) -> BacktestResult:
    parameters = {"fast": FAST, "slow": SLOW}
    request = BacktestRequest(
        "sma_crossover", SmaCrossover, parameters, (symbol,), None, None, settings()
    )
    result = run_backtest(request, recordings, lambda done, total: None)
    statistics(result)
    return result


def settings() -> Settings:
    """Nothing stops trading, and no stop fires."""
    return Settings(
        **UNLIMITED,
        starting_cash=Decimal(100_000),
        entry_order_type="market",
        commission_pct=Decimal("0.1"),
        slippage_bps=Decimal(0),
        max_volume_share_pct=Decimal(100),
        max_position_size_pct=Decimal(5),
        stop_loss_pct=Decimal(99),
    )


# --- the peer ------------------------------------------------------------------------------------


class Crossover(Strategy):
    def init(self) -> None:
        self.fast: Any = self.I(_sma, self.data.Close, FAST)
        self.slow: Any = self.I(_sma, self.data.Close, SLOW)

    def next(self) -> None:
        if crossover(self.fast, self.slow):
            self.buy(size=0.05)
        elif crossover(self.slow, self.fast):
            self.position.close()


def run_theirs(frame: pd.DataFrame) -> Any:
    """It buys whole units only: the cash is such that 5 % of it are many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a position that is open at the end
        return Backtest(frame, Crossover, cash=10**9, commission=0.001).run()


def _sma(values: Any, length: int) -> Any:
    return pd.Series(values).rolling(length).mean()


def read_frame(file: Path) -> pd.DataFrame:
    frame = pd.read_csv(file, index_col="timestamp", parse_dates=["timestamp"])
    return frame.rename(columns=str.capitalize)


# --- data ----------------------------------------------------------------------------------------


def write_walk(file: Path, bars: int) -> None:
    """A seeded random walk of one-minute bars, in cents."""
    random = Random(7)
    start = 1_640_995_200
    close = 2_000_000
    with gzip.open(file, "wt", compresslevel=1) as out:
        out.write(",".join(COLUMNS) + "\n")
        for number in range(bars):
            opened, close = close, max(100_000, close + round(random.gauss(0, 1400)))
            high = max(opened, close) + random.randrange(600)
            low = min(opened, close) - random.randrange(600)
            prices = ",".join(f"{price / 100:.2f}" for price in (opened, high, low, close))
            time = utc((start + 60 * number) * NANOS)
            out.write(f"{time:%Y-%m-%dT%H:%M:%SZ},{prices},{random.randrange(1, 1000)}\n")
