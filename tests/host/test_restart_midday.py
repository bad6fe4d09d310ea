"""A restart in the middle of a day changes nothing: a recording that is played with restarts comes
to the same signals, orders, executions and books as one that is played through.

What is compared is told to the last bit, the indicator values of every signal included. Not
compared are the client order ids of stops, which name the session that made them, and orders that
were rejected here and never left.
"""

import asyncio
import gc
import gzip
import os
import subprocess
import sys
import warnings
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy.exc import SAWarning

from engine.core.events import SignalGenerated
from engine.core.model import Signal, nanos
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import INSTRUMENTS, SAMPLES, Recordings
from engine.feeds.replay import ReplayFeed
from engine.host.runtime import Parts, Runtime
from engine.host.watchdog import Unwatched
from engine.ops.settings import Settings, env_text
from engine.plugins import find_strategies
from engine.simulation.runtime_world import Disk, Power
from engine.simulation.virtual_loop import Crash, VirtualLoop
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.session import ledger_check, rows

EIGHT = sorted(find_strategies().kinds)
SYMBOLS = ("BTC-USD", "ETH-USD")
START = datetime(2018, 4, 5, 2, tzinfo=UTC)
END = "2018-04-05T12:00"

ORDERS = """SELECT created_ts, strategy, symbol, side, type, purpose, quantity, limit_price,
    stop_price, state, filled, avg_price FROM orders WHERE venue_order_id <> ''
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9"""
TRADES = """SELECT ts, strategy, symbol, side, quantity, price, commission FROM trades
    ORDER BY 1, 2, 3, 4, 5"""
SIGNALS = "SELECT payload FROM audit_log WHERE kind = 'SignalGenerated' ORDER BY id"


class Outcome(NamedTuple):
    """What became of an account."""

    signals: list[Signal]
    orders: list[tuple[Any, ...]]
    trades: list[tuple[Any, ...]]
    books: str


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of two symbols, up to `END`."""
    folder = tmp_path_factory.mktemp("market")
    (folder / INSTRUMENTS).write_text((SAMPLES / INSTRUMENTS).read_text())
    for name in [
        f"{symbol}-2018-{kind}-1m.csv" for symbol in SYMBOLS for kind in ("bars", "quotes")
    ]:
        with gzip.open(SAMPLES / f"{name}.gz", "rt") as lines:
            header, *played = lines
        (folder / name).write_text(header + "".join(line for line in played if line < END))
    return folder


def account(folder: Path, market: Path, **other: Any) -> Settings:
    """Settings for ten hours of trading, as fast as possible, with room for every strategy."""
    given: dict[str, Any] = {
        "data_dir": folder,
        "replay_dir": market,
        "replay_start": START,
        "replay_speed": 0,
        "symbols": SYMBOLS,
        "strategies": EIGHT,
        "sizing": "fixed_notional:300",
        "entry_order_type": "market",
        "max_trades_per_day": 1000,
        "max_consecutive_losses": 1000,
        "on_stop": "keep",
    }
    return Settings(**(given | other))


# --- engines that end when they are to -----------------------------------------------------------


class FirstComesFirst(Random):
    """No chance in the order of a loop, as on that of asyncio."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0


class Loop(VirtualLoop):
    """A loop on which an engine dies at the step `crash_at`, or is asked to stop at `stop_at`."""

    stop_at = 0
    runtime: Runtime

    def _run_once(self) -> None:
        if self.steps == self.stop_at:
            self.runtime.stop()
        super()._run_once()


class End(NamedTuple):
    """When an engine ends: it is stopped at a step of its loop, or dies at one, or at a call of its
    database. With none it ends with the recording."""

    stop: int = 0
    step: int = 0
    call: int = 0


class Life:
    """One engine, from its start to its end."""

    births = nanos(datetime(2026, 1, 1, tzinfo=UTC))

    def __init__(self, settings: Settings, end: End) -> None:
        Life.births += 10**12
        born = Life.births
        self.loop = Loop(FirstComesFirst(), end.step)
        self.power = Power(Random(1), faults=False)
        self.power.die_at, self.power.die = end.call, self.loop.crash
        self._disk = Disk(self.power)
        self.runtime = Runtime(
            settings,
            self._show,
            Parts(
                feed=self._feed,
                repository=self._disk.open,
                wall=lambda: born + self.loop.time_ns(),
                watchdog=Unwatched,
            ),
        )
        self.loop.runtime, self.loop.stop_at = self.runtime, end.stop or -1

    async def _feed(self, settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        start, done = resume or Played(nanos(settings.replay_start))
        recordings = Recordings(settings.replay_dir)
        return ReplayFeed(recordings, settings.symbols, start, 0, self.loop.time_ns, done)

    def _show(self, snapshot: Snapshot) -> None:
        if snapshot.feed.status == "ended":
            self.runtime.stop()

    def run(self) -> "Life":
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.runtime.run())
        except Crash:
            pass
        finally:
            self.steps, self.calls = self.loop.steps, self.power.calls
            self._bury()
        return self

    def _bury(self) -> None:
        """What is left of a dead engine reaches nothing any more."""
        self.power.on = False
        self._disk.pull_the_plug()
        self.loop.crash_at, self.loop.stop_at = 0, -1
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()
        asyncio.set_event_loop(None)


def played(settings: Settings, *ends: End) -> tuple[Outcome, Life]:
    """Engines that end so, one after the other, and one that plays to the end of the recording."""

    async def make_database() -> None:
        await (await Repository.open(Place.of(settings))).close()

    asyncio.run(make_database())
    with warnings.catch_warnings(action="ignore", category=SAWarning):
        for end in ends:
            Life(settings, end).run()
        gc.collect()  # they died with a connection in their hands
    last = Life(settings, End()).run()
    return outcome(settings, last.runtime), last


def outcome(settings: Settings, runtime: Runtime) -> Outcome:
    signals = [
        msgspec.json.decode(payload, type=SignalGenerated).signal
        for (payload,) in rows(settings, SIGNALS)
    ]
    trades = rows(settings, TRADES)
    return Outcome(signals, rows(settings, ORDERS), trades, runtime.machine.books_hash())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, market: Path) -> tuple[Outcome, Life]:
    """All eight, without a restart."""
    return played(account(tmp_path_factory.mktemp("whole"), market))


def ends(whole: Life, kind: str) -> list[End]:
    """Moments throughout the day, each later in its life than the one before."""
    total = whole.calls if kind == "call" else whole.steps
    return [End(**{kind: total * share // 100}) for share in (9, 14, 17, 23)]


# --- restarts ------------------------------------------------------------------------------------


def test_the_day_has_something_to_lose(whole: tuple[Outcome, Life]) -> None:
    told, _ = whole
    assert {signal.strategy for signal in told.signals} == set(EIGHT)
    assert {signal.symbol for signal in told.signals} == set(SYMBOLS)
    assert len(told.trades) > 100


@pytest.mark.parametrize("kind", ["stop", "step", "call"])
async def test_restarts_change_nothing(
    kind: str, whole: tuple[Outcome, Life], market: Path, tmp_path: Path
) -> None:
    """`stop` in order; `step` and `call`: dead between any two steps, and at a write."""
    told, life = whole
    settings = account(tmp_path, market)
    again, last = await asyncio.to_thread(played, settings, *ends(life, kind))
    assert last.steps < life.steps * 0.7, "the last one played a part of the day alone"
    assert again.signals == told.signals
    assert again == told
    assert await ledger_check(settings) == []


@pytest.mark.parametrize("name", EIGHT)
def test_each_strategy_comes_back_as_it_was(name: str, market: Path, tmp_path: Path) -> None:
    """To the last bit: of averages that never forget, of the session's VWAP, of the grid."""
    alone = {"strategies": (name,), "entry_order_type": "limit"}
    told, life = played(account(tmp_path / "whole", market, **alone))
    end = End(step=life.steps // 2)
    again, _ = played(account(tmp_path / "restarted", market, **alone), end)
    assert told.signals
    assert again == told


# --- sudden death --------------------------------------------------------------------------------

CHILD = """
import time
from engine.host.thread import EngineHost
from engine.ops.settings import load_settings

host = EngineHost(load_settings())
host.start()
while True:
    time.sleep(0.005)
    snapshot = host.latest()
    if snapshot is not None:
        print(sum(order.filled > 0 for order in snapshot.orders), flush=True)
"""


def killed(settings: Settings, fills: int) -> None:
    """An engine in a process of its own, killed with -9 once it has filled so many orders."""
    names = ("data_dir", "replay_dir", "replay_start", "replay_speed", "symbols", "strategies")
    names += ("sizing", "entry_order_type", "max_trades_per_day", "max_consecutive_losses", "fps")
    given = {name.upper(): env_text(getattr(settings, name)) for name in names}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=os.environ | given | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= fills:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -SIGKILL, "it was there to be killed"


def test_kill_9_changes_nothing(whole: tuple[Outcome, Life], market: Path, tmp_path: Path) -> None:
    told, life = whole
    settings = account(tmp_path, market, replay_speed=10_000, fps=10)
    killed(settings, fills=10)
    again, last = played(settings)
    assert last.steps < life.steps
    assert again == told
