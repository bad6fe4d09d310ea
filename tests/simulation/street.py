"""Ring D: the real runtime, an adapter, its client library and a loopback server as its exchange.

One seed is an account that several engines trade, one after the other, on real sockets and in real
time. It draws the settings, the market, when what befalls the requests, the stream and the server,
and when the kill switch is tripped; what the engine is doing then is the machine's matter, so a
seed that broke a law need not do so again. The last engine meets no faults and must come to rest.
After each end the laws are judged, as after the deaths of real processes (`process_laws`); in the
end the books of the venue and those of the database must agree.

`python -m tests.simulation.street --seeds 100 alpaca kraken` plays many at once.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import click

from engine.core.events import (
    ConfirmLive,
    FeedChanged,
    ResumeSymbol,
    TripKillSwitch,
)
from engine.core.live import LIVE_WORD
from engine.core.model import (
    MINUTE,
    Mode,
)
from engine.feeds.base import Publish
from engine.host.runtime import Runtime
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.simulation.laws import Violation, law
from engine.simulation.process_account import NEVER, STRATEGIES
from engine.simulation.process_laws import Succession, judge_rest
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.brokers.contract import WiredPeer, builders
from tests.loopback.faults import Fault
from tests.simulation.books import Books
from tests.simulation.peer_market import PeerMarket, parts_at

IN_BASE = {f"{name}, in base": build for name, build in builders("IN_BASE").items()}
"""Venues that take their commissions of what is bought."""
PEERS = {**builders(), **IN_BASE}
NAMES = tuple(name for name in PEERS if not name.startswith("paper"))

LIVES = 3
LIFE_S, LAST_S = 3.0, 2.0
PATIENCE_S = 90.0
"""Within it the last engine has come to rest (I16)."""
SPAN = 24 * 60 * MINUTE
QUOTE_S, BAR_S = 0.05, 0.15
POLL_S = 0.1
RESUME_S = 1.0
KILLED = 0.2
OUTAGE_S = 1.5
ON_THE_WAY_S = 2.0
"""What left before a kill has reached the venue by then (I5)."""
UNITS = 10
KINDS = ("submit",) * 4 + ("cancel",) * 3 + ("order",) * 2 + ("replace", "orders", "fills")
KINDS += ("positions", "balance")
GARBAGE = '\x00\x1b]52;c;\x07 {"id": '


@dataclass
class Outcome:
    """What became of a seed: `broken` names the law, and is empty where all hold."""

    seed: int
    name: str
    broken: str = ""
    seen: Counter[str] = field(default_factory=Counter[str])


_creating = asyncio.Lock()
"""Alembic makes one database at a time."""


async def play(name: str, seed: int) -> Outcome:
    """One seed at the broker `name`, in a folder of its own, that stays where a law was broken."""
    outcome = Outcome(seed, name)
    folder = Path(mkdtemp(prefix=f"tradebot-street-{name}-{seed}-"))
    try:
        async with PEERS[name]() as peer:
            assert isinstance(peer, WiredPeer)
            await peer.close()  # the engines have brokers of their own
            await _Street(peer, Random(f"{name} {seed}"), folder, outcome.seen).play()
    except Violation as broken:
        outcome.broken = f"{broken} (kept in {folder})"
    except Exception:
        outcome.broken = f"{traceback.format_exc()} (kept in {folder})"
    if not outcome.broken:
        rmtree(folder)
    return outcome


class _Street:
    """The engines of one account, and the venue at which they trade."""

    def __init__(self, peer: WiredPeer, random: Random, folder: Path, seen: Counter[str]) -> None:
        self.peer = peer
        self.random = random
        self.seen = seen
        self.market = _Market(peer, Random(random.getrandbits(64)))
        self.settings = _settings(folder, random, peer)
        self.books = Books(peer, self.settings)
        self.restarting = asyncio.Lock()

    async def play(self) -> None:
        async with _creating:
            await (await Repository.open(Place.of(self.settings))).close()
        self._succession = Succession(self.settings)
        for _ in range(LIVES - 1):
            await self._live(faults=True)
        await self._live(faults=False)
        judge_rest(self._succession.now)
        self.books.compare(self._succession)
        self.seen["orders"] += len(self._succession.now.orders)
        self.seen["orders there"] += len(self.peer.venue.orders)
        self.seen["executions"] += len(self._succession.now.trades)

    async def _live(self, *, faults: bool) -> None:
        await _Life(self, faults).run()
        await asyncio.to_thread(self._succession.judge)


def _settings(folder: Path, random: Random, peer: WiredPeer) -> Settings:
    """How the account is traded: what is a matter of taste is drawn."""
    given: dict[str, Any] = {
        "data_dir": folder,
        "mode": Mode.LIVE if peer.broker.live else Mode.PAPER,
        "allow_live_trading": peer.broker.live,
        "currency": peer.instrument.currency,
        "starting_cash": peer.venue.cash,
        "strategies": ("churn",),
        "strategies_dir": STRATEGIES,
        "sizing": f"fixed_quantity:{UNITS * peer.unit}",
        "entry_order_type": random.choice(("limit", "limit", "market")),
        "entry_offset_bps": random.choice((-20, 0, 0, 5)),
        "entry_timeout_s": random.choice((0.3, 1)),
        "entry_on_timeout": random.choice(("chase", "give_up")),
        "partial_remainder": random.choice(("cancel", "keep")),
        "exit_order_type": random.choice(("market", "limit")),
        "take_profit_pct": random.choice((0, 1)),
        "trailing_stop_pct": random.choice((0, 0, 1)),
        "kill_action": random.choice(("stop", "keep_stops", "cancel")),
        "on_stop": random.choice(("keep", "cancel_entries", "cancel_all")),
        "submit_timeout_s": 2,
        "in_doubt_lag_s": 0.5,
        "reconcile_s": 3,
        "stale_after_s": 86_400,
        "max_trades_per_day": NEVER,
        "max_consecutive_losses": NEVER,
        "throttle_orders": 0,
        "circuit_breaker_failures": NEVER,
        "max_daily_loss": Decimal(NEVER),
        "max_daily_loss_pct": Decimal(100),
        "max_drawdown_pct": Decimal(100),
        "pattern_day_trader": "off",
    }
    return Settings(**given)


class _Market(PeerMarket):
    """A walk about 100 that both the venue and the engine see, whichever engine it is; a Feed."""

    name = "street"

    def __init__(self, peer: WiredPeer, random: Random) -> None:
        super().__init__(peer, SPAN)
        self._random = random
        self._price = 100.0
        self.runs = True

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        publish(FeedChanged(self.name, "connected", ts=self.clock.now()))
        bar_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if self.runs:
                self._quote(publish)
                if loop.time() >= bar_at:
                    bar_at = loop.time() + BAR_S
                    self.tell_bar(publish, self._price, self._price)
            await asyncio.sleep(QUOTE_S)

    def _quote(self, publish: Publish) -> None:
        width = 0.03 if self._random.random() < 0.02 else 0.003
        walked = self._price * (1 + self._random.uniform(-width, width))
        self._price = round(walked + 0.02 * (100 - walked), 1)
        ask = round(self._price + 0.1, 1)
        self.tell_quote(publish, self._price, ask, self._random.choice((3, 7, 1000)))


class _Life:
    """One engine, from its start to its orderly end."""

    def __init__(self, street: _Street, faults: bool) -> None:
        self._street = street
        self._faults = faults
        self._random = Random(street.random.getrandbits(64))
        self._snapshot: Snapshot | None = None
        parts = parts_at(street.market)
        self._runtime = Runtime(street.settings, self._show, parts)

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def run(self) -> None:
        self._street.market.runs = True
        engine = asyncio.create_task(self._runtime.run())
        try:
            await (self._troubles(engine) if self._faults else self._rests(engine))
        finally:
            self._runtime.stop()
            with suppress(UserError):
                await engine
        _heal(self._street.peer)

    async def _troubles(self, engine: asyncio.Task[None]) -> None:
        """What befalls the engine; each seed does without some of it."""
        random, loop = self._random, asyncio.get_running_loop()
        ends = loop.time() + LIFE_S
        troubles = [t for t in (*[self._fault] * 6, *_TROUBLES) if random.random() < 0.7]
        if self._street.books.submits_at_kill is None and random.random() < KILLED:
            troubles.append(_kill)
        resume_at = loop.time() + RESUME_S
        async with asyncio.TaskGroup() as tasks:
            while loop.time() < ends and not engine.done():
                await asyncio.sleep(random.uniform(0.05, 0.4))
                if loop.time() > resume_at:
                    resume_at += RESUME_S
                    self._resume()
                if troubles:
                    trouble = random.choice(troubles)
                    if trouble is _kill:
                        troubles.remove(_kill)
                    tasks.create_task(trouble(self._street, self._runtime, random))

    async def _fault(self, street: _Street, runtime: Runtime, random: Random) -> None:
        kind = random.choice(KINDS)
        fault = random.choice([f for f in Fault if f not in street.peer.cannot])
        street.peer.faults.plan(kind, fault)
        street.seen[f"planned {fault}"] += 1

    def _resume(self) -> None:
        """What the operator does all the time: at Kraken and Coinbase there is no test account."""
        symbol = self._street.market.traded.symbol
        self._runtime.command(ResumeSymbol(symbol=symbol, author="simulation"))
        if self._street.peer.broker.live:
            self._runtime.command(ConfirmLive(word=LIVE_WORD, author="simulation"))

    async def _rests(self, engine: asyncio.Task[None]) -> None:
        """It trades for a while, and settles all that was left; then both sides agree."""
        await asyncio.sleep(LAST_S / 2)
        self._resume()
        await asyncio.sleep(LAST_S / 2)
        self._street.market.runs = False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while unsettled := self._street.books.unsettled(self._runtime, self._snapshot):
            law(not engine.done(), "it ended by itself", unsettled)
            law(loop.time() < deadline, "I16: it does not come to rest", unsettled)
            await asyncio.sleep(POLL_S)


# --- what befalls the stream, the server and the operator -----------------------------------------


async def _close(street: _Street, runtime: Runtime, random: Random) -> None:
    await street.peer.streams.close()


async def _mute(street: _Street, runtime: Runtime, random: Random) -> None:
    street.peer.streams.mute = True
    await asyncio.sleep(random.uniform(0, OUTAGE_S))
    street.peer.streams.mute = False


async def _refuse(street: _Street, runtime: Runtime, random: Random) -> None:
    """A reconnect with a gap."""
    street.peer.streams.refuses = True
    await street.peer.streams.close()
    await asyncio.sleep(random.uniform(0, OUTAGE_S))
    street.peer.streams.refuses = False


async def _double(street: _Street, runtime: Runtime, random: Random) -> None:
    street.peer.streams.doubled = not street.peer.streams.doubled


async def _reorder(street: _Street, runtime: Runtime, random: Random) -> None:
    street.peer.streams.reordered = not street.peer.streams.reordered


async def _garbage(street: _Street, runtime: Runtime, random: Random) -> None:
    is_ib = street.peer.broker.name == "interactive_brokers"
    street.peer.streams.say(GARBAGE.encode() if is_ib else GARBAGE)


async def _restart_server(street: _Street, runtime: Runtime, random: Random) -> None:
    async with street.restarting:
        await street.peer.stop_server()
        await asyncio.sleep(random.uniform(0, OUTAGE_S))
        await street.peer.start_server()


async def _order_by_hand(street: _Street, runtime: Runtime, random: Random) -> None:
    street.books.by_hand.add(street.peer.by_hand().number)


async def _kill(street: _Street, runtime: Runtime, random: Random) -> None:
    runtime.command(TripKillSwitch(source="key", author="simulation"))
    street.seen["killed"] += 1
    await asyncio.sleep(ON_THE_WAY_S)
    street.books.submits_at_kill = street.peer.faults.requests["submit"]


def _heal(peer: WiredPeer) -> None:
    """Nothing is wrong any more, but for what was lost."""
    peer.faults.heal()
    peer.streams.heal()


_TROUBLES = (_close, _mute, _refuse, _double, _reorder, _garbage, _order_by_hand, _restart_server)


# --- many at once --------------------------------------------------------------------------------

LANES = 16
"""Seeds at once: most of their time they wait."""


async def play_all(names: Sequence[str], seeds: Iterable[int]) -> list[Outcome]:
    lanes = asyncio.Semaphore(LANES)

    async def one(name: str, seed: int) -> Outcome:
        async with lanes:
            outcome = await play(name, seed)
        if outcome.broken:
            click.echo(f"{name} {seed}: {outcome.broken}")
        return outcome

    return await asyncio.gather(*(one(name, seed) for seed in seeds for name in names))


@click.command()
@click.option("--seeds", default=10, help="How many.")
@click.option("--first", default=0, help="The first of them.")
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(seeds: int, first: int, names: tuple[str, ...]) -> None:
    logging.disable(logging.CRITICAL)
    outcomes = asyncio.run(play_all(names or NAMES, range(first, first + seeds)))
    seen = sum((outcome.seen for outcome in outcomes), Counter[str]())
    for what, count in sorted(seen.items()):
        click.echo(f"  {what}: {count}")
    broken = [outcome for outcome in outcomes if outcome.broken]
    click.echo(f"{len(outcomes)} seeds, {len(broken)} broke a law")


if __name__ == "__main__":
    main()
