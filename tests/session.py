"""A real engine on the test's own loop: real files, a real database, a small recording."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.build import plugins
from engine.core.events import Command
from engine.core.machine import Machine
from engine.core.model import MINUTE, NANOS, utc
from engine.host.runtime import Parts, Runtime
from engine.ops.settings import Settings
from engine.store.place import Place
from engine.store.repository import Repository
from engine.travel.replay import open_session
from engine.view.snapshot import Health, Snapshot

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)

ZIGZAG = '''
from engine.core.model import Side
from engine.core.strategy import Strategy


class Zigzag(Strategy):
    """Buys at every third of six bars, and sells at the sixth."""

    def initialize(self):
        self.seen = 0

    def on_bar(self, bar, history):
        self.seen += 1
        sides = {3: Side.BUY, 0: Side.SELL}
        side = sides.get(self.seen % 6)
        return self.signal(side, bar, {"seen": self.seen}) if side else None


STRATEGY_NAME = "zigzag"
STRATEGY_CLASS = Zigzag
'''


def record(folder: Path, symbol: str, closes: Sequence[float], quotes: bool = True) -> None:
    """A recording of one-minute bars, and of quotes at their opens and closes, from `OPEN` on."""
    folder.mkdir(exist_ok=True)
    bars = ["timestamp,open,high,low,close,volume"]
    pairs = [
        "timestamp," + ",".join(
            f"{side}_{price}" for side in ("bid", "ask")
            for price in ("open", "high", "low", "close", "size")
        )
    ]  # fmt: skip
    for minute, close in enumerate(closes):
        open_ = closes[max(0, minute - 1)]
        high, low = max(open_, close), min(open_, close)
        ts = int(OPEN.timestamp()) * NANOS + minute * MINUTE
        when = f"{utc(ts):%Y-%m-%dT%H:%M:%SZ}"
        bars.append(f"{when},{open_},{high},{low},{close},100000")
        side = f"{open_},{high},{low},{close},1000"
        pairs.append(f"{when},{side},{side}")
    (folder / f"{symbol}-bars-1m.csv").write_text("\n".join(bars) + "\n")
    if quotes:
        (folder / f"{symbol}-quotes-1m.csv").write_text("\n".join(pairs) + "\n")


CLOSES = [100 + minute % 5 * 0.1 for minute in range(120)]


def zigzag(
    folder: Path,
    closes: Sequence[float] = CLOSES,
    quotes: bool = True,
    sells: bool = True,
    **other: Any,
) -> Settings:
    """Settings for a `zigzag` that trades two hours of ACME below `folder`, 1,200 times as fast."""
    folder.mkdir(exist_ok=True)
    record(folder / "data", "ACME", closes, quotes)
    (folder / "plugins").mkdir(exist_ok=True)
    source = ZIGZAG if sells else ZIGZAG.replace("0: Side.SELL", "")
    (folder / "plugins" / "zigzag.py").write_text(source)
    given: dict[str, Any] = {
        "data_dir": folder / "var",
        "replay_dir": folder / "data",
        "replay_start": OPEN,
        "replay_speed": 1200,
        "strategies": ("zigzag",),
        "strategies_dir": folder / "plugins",
        "max_trades_per_day": 1000,
        "max_consecutive_losses": 1000,
    }
    return Settings(**(given | other))


class Session:
    """A running engine; `snapshots` are all that it showed."""

    def __init__(
        self, settings: Settings, kind: type[Runtime] = Runtime, parts: Parts | None = None
    ) -> None:
        self.settings = settings
        self.runtime = kind(settings, self._show, parts)
        self.snapshots: list[Snapshot] = []
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def _show(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self._news.set()

    def start(self) -> None:
        self._running = asyncio.create_task(self.runtime.run())

    async def stop(self) -> Snapshot:
        """Stop in order; the last snapshot. Raises what the engine ended with."""
        assert self._running is not None
        self.runtime.stop()
        await self._running
        return self.snapshots[-1]

    async def until(self, holds: Callable[[Snapshot], object], within: float = 20) -> Snapshot:
        """The first snapshot from now on of which `holds` is true, `within` seconds."""
        assert self._running is not None
        try:
            async with asyncio.timeout(within):
                while True:
                    if self.snapshots and holds(self.snapshots[-1]):
                        return self.snapshots[-1]
                    self._news.clear()
                    news = asyncio.create_task(self._news.wait())
                    await asyncio.wait({news, self._running}, return_when="FIRST_COMPLETED")
                    news.cancel()
                    if self._running.done():
                        self._running.result()
                        raise AssertionError("the engine ended")
        except TimeoutError:
            lines = [line.text for line in self.snapshots[-1].log[-20:]]
            raise AssertionError("\n".join(["it did not come; the last was:", *lines])) from None

    def command(self, command: Command) -> None:
        self.runtime.command(command)

    # --- what is on disk ------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows(self.settings, query)


def health_of(snapshot: Snapshot) -> Health:
    """That of a running engine, which is known."""
    assert snapshot.health is not None
    return snapshot.health


@asynccontextmanager
async def running(settings: Settings, parts: Parts | None = None) -> AsyncIterator[Session]:
    """An engine from its start to its orderly stop."""
    session = Session(settings, parts=parts)
    session.start()
    try:
        yield session
    finally:
        await session.stop()


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    """What another program reads in the database."""
    with closing(sqlite3.connect(settings.database_path)) as connection:
        return connection.execute(query).fetchall()


async def ledger_check(settings: Settings) -> list[str]:
    repository = await Repository.open(Place.of(settings))
    try:
        return await repository.ledger_check()
    finally:
        await repository.close()


def journals(settings: Settings) -> list[Path]:
    return sorted(settings.journal_dir.iterdir())


def replayed(settings: Settings, journal: Path) -> Machine:
    """A machine that took in a journal, as its header has it configured."""
    reader, machine = open_session(journal, plugins(settings).kinds)
    for event in reader:
        machine.process(event)
    return machine
