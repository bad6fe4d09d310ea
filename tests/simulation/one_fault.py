"""A short session of the real engine at a loopback venue, in which one fault strikes when it is
told to.

The engine, the adapter, its client library, the server and the database are real; the market
stands at 100 and moves when the session says so. After it the laws are judged: by the journal, the
database, and the venue's own books.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.core.events import (
    ConfirmLive,
    FeedChanged,
    ResumeSymbol,
    TripKillSwitch,
)
from engine.core.live import LIVE_WORD
from engine.core.model import MINUTE, Fill, Instrument, Mode, Order
from engine.feeds.base import Publish
from engine.host.runtime import Runtime
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.simulation.laws import law
from engine.simulation.process_account import NEVER
from engine.simulation.process_laws import Kept, Succession, judge_rest
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.brokers.contract import WiredPeer
from tests.loopback.faults import StreamFault
from tests.simulation.books import Books
from tests.simulation.peer_market import PeerMarket, parts_at

STRATEGY = '''
from engine.core.model import Side
from engine.core.strategy import Strategy


class Told(Strategy):
    """Buys at a bar that rises, sells at one that falls."""

    def on_bar(self, bar, history):
        return self.signal(Side.BUY if bar.close > bar.open else Side.SELL, bar, {})


STRATEGY_NAME = "told"
STRATEGY_CLASS = Told
'''
UNITS = 10
PATIENCE_S = 180.0
LOOK_S = 0.1
AGAIN_S = 2.0
SPAN = 60 * MINUTE


def settings_of(folder: Path, peer: WiredPeer, **changes: Any) -> Settings:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "told.py").write_text(STRATEGY)
    given: dict[str, Any] = {
        "data_dir": folder / "var",
        "mode": Mode.LIVE if peer.broker.live else Mode.PAPER,
        "allow_live_trading": peer.broker.live,
        "currency": peer.instrument.currency,
        "starting_cash": Decimal(1_000_000),
        "strategies": ("told",),
        "strategies_dir": plugins,
        "sizing": f"fixed_quantity:{UNITS * peer.unit}",
        "entry_offset_bps": -20,
        "entry_timeout_s": 3600,
        "submit_timeout_s": 5,
        "in_doubt_lag_s": 0.5,
        "reconcile_s": 30,
        "stale_after_s": 86_400,
        "max_trades_per_day": NEVER,
        "circuit_breaker_failures": NEVER,
        "throttle_orders": 0,
        "fps": 5,
    }
    return Settings(**(given | changes))


class Market(PeerMarket):
    """Stands until the session says something; a Feed."""

    def __init__(self, peer: WiredPeer, *others: Instrument) -> None:
        super().__init__(peer, SPAN, *others)
        self._publish: Publish | None = None

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        self._publish = publish
        publish(FeedChanged(self.name, "connected", ts=self.clock.now()))
        self.quote(100, 100.1)
        await asyncio.Event().wait()

    def quote(
        self, bid: float, ask: float, units: int = 1000, other: Instrument | None = None
    ) -> None:
        assert self._publish is not None
        self.tell_quote(self._publish, bid, ask, units, other)

    def buy(self, other: Instrument | None = None) -> None:
        """The strategy, which sees no reason to hold anything, sees one to buy."""
        self.quote(100, 100.1, other=other)
        assert self._publish is not None
        for close in (99.9, 100.1):
            self.tell_bar(self._publish, 100, close, other)

    @property
    def runs(self) -> bool:
        return self._publish is not None


class Session:
    """One engine at the venue of `peer`, from its start to its orderly end. It trades `others` too;
    `changes` are of its settings."""

    def __init__(self, peer: WiredPeer, folder: Path, *others: Instrument, **changes: Any) -> None:
        self.peer = peer
        peer.venue.now = time.time_ns
        self.settings = settings_of(folder, peer, **changes)
        self.market = Market(peer, *others)
        self.books = Books(peer, self.settings)
        self.snapshot: Snapshot | None = None
        parts = parts_at(self.market)
        self.runtime = Runtime(self.settings, self._show, parts)

    def _show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    async def play(self, acts: Callable[["Session"], Awaitable[None]]) -> None:
        """The engine starts, `acts` happen, the engine comes to rest, and stops. Raises
        Violation."""
        await _database(self.settings)
        self._succession = Succession(self.settings)
        self._engine = asyncio.create_task(self.runtime.run())
        try:
            await self.until("the engine is there", lambda: self.market.runs and self.settled)
            if self.peer.broker.live:
                self.runtime.command(ConfirmLive(word=LIVE_WORD, author="operator"))
            await acts(self)
            await self.rests()
        finally:
            self.runtime.stop()
            with suppress(UserError):
                await self._engine

    def judge(self) -> None:
        """By the journal, the database, and the venue's books; outside of a loop. Raises
        Violation."""
        self._succession.judge()
        judge_rest(self._succession.now)
        self.books.compare(self._succession)

    # --- what happens in it ----------------------------------------------------------------------

    @property
    def orders(self) -> list[Order]:
        """All that were there, as the database has them, the first one first."""
        return sorted(self._succession.now.orders.values(), key=lambda order: order.created_ts)

    @property
    def trades(self) -> list[Fill]:
        return list(self._succession.now.trades.values())

    @property
    def kept(self) -> Kept:
        """What the database holds after it."""
        return self._succession.now

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is to be bought of the instrument."""
        rows = self.snapshot.paused if self.snapshot is not None else ()
        return any(row.symbol == self.market.traded.symbol for row in rows)

    def dip(self) -> None:
        """The market fills an entry in two parts."""
        for units in (4, 6):
            self.market.quote(99.6, 99.7, units)

    async def buys(self) -> None:
        """An order is made, as soon as the broker is connected: one that was may be so no more."""
        while True:
            self.market.buy()
            if self.runtime.machine.orders.open:
                return
            await asyncio.sleep(AGAIN_S)

    async def has_resting(self) -> None:
        """An order rests at the venue: the strategy buys until one does."""
        while not self.peer.venue.open:
            self.resume()
            self.market.buy()
            await self.rests()
            await asyncio.sleep(AGAIN_S)

    async def spoils(self, fault: StreamFault) -> None:
        """From now on the venue tells what happens as the fault has it."""
        streams = self.peer.streams
        match fault:
            case StreamFault.DOUBLED:
                streams.doubled = True
            case StreamFault.REORDERED:
                streams.reordered = True
            case StreamFault.MUTE:
                streams.mute = True
            case StreamFault.HALF:
                streams.halved = True
            case StreamFault.GARBAGE:
                streams.garbled = True
            case StreamFault.GAP:
                streams.refuses = True
                await streams.close()
                await self.until("nobody listens", lambda: not streams.count)

    def resume(self) -> None:
        """After a refusal a symbol waits for the operator."""
        symbol = self.market.traded.symbol
        self.runtime.command(ResumeSymbol(symbol=symbol, author="operator"))

    def kill(self) -> None:
        self.runtime.command(TripKillSwitch(source="key", author="operator"))
        self.books.submits_at_kill = self.peer.faults.requests["submit"]

    async def rests(self) -> None:
        """Every order is in a definite state, and the venue has what the engine has."""
        await self.until("it has come to rest", lambda: self.settled)

    async def until(self, what: str, holds: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while not holds():
            law(not self._engine.done(), "it ended by itself", self._engine)
            law(loop.time() < deadline, f"I16: waited in vain until {what}", self._told)
            await asyncio.sleep(LOOK_S)

    @property
    def _told(self) -> list[str]:
        """What is not settled, and the last that the engine said."""
        lines = self.snapshot.log[-12:] if self.snapshot is not None else ()
        return [*self.unsettled, *(line.text for line in lines)]

    @property
    def unsettled(self) -> list[str]:
        return self.books.unsettled(self.runtime, self.snapshot)

    @property
    def settled(self) -> bool:
        return not self.unsettled


_templates: dict[Mode, bytes] = {}


async def _database(settings: Settings) -> None:
    """An empty one; of each mode one is made."""
    place = Place.of(settings)
    if settings.mode in _templates:
        place.file.parent.mkdir()
        place.file.write_bytes(_templates[settings.mode])
        return
    await (await Repository.open(place)).close()
    _templates[settings.mode] = place.file.read_bytes()
