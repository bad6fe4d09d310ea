"""Ring B: the real runtime, store and SQL on a virtual loop, crashed between any two steps.

One seed is an account that several engines trade, one after the other. Each runs on a loop of its
own, on which the seed decides who runs next, how long each request and each call of the database
takes, and which fails; at a step, or a call of the database, that was drawn the process dies. The
last engine meets no faults and must come to rest. After each end the laws are judged, as after the
deaths of real processes (`process_laws`), and in the end the venue and the database must agree.
"""

import asyncio
import gc
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from sqlalchemy.exc import SAWarning

from engine.brokers.base import BaseBroker
from engine.build import exchange_rules
from engine.core.events import Restored, ResumeSymbol, TripKillSwitch
from engine.core.model import DAY, Instrument, nanos
from engine.core.sessions import Calendars
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import Recordings
from engine.feeds.replay import ReplayFeed
from engine.host.runtime import Parts, Runtime
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.simulation.laws import Violation, law
from engine.simulation.process_account import SYMBOLS, Account, write_market
from engine.simulation.process_laws import (
    UNSETTLED,
    Kept,
    Succession,
    judge_rest,
)
from engine.simulation.runtime_world import Disk, Power, Venue
from engine.simulation.virtual_loop import Crash, Deadlock, VirtualLoop
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot

LIVES = 3
MINUTES, SHORT_MINUTES = 600, 120
STEPS = 3_000
"""At the latest so many steps after its start an engine dies; some end their recording before."""
KILLED = 0.2
LONGEST_S = 10.0
"""Of virtual time that an engine lives, where it does not die before."""
LAST_S = 2.0
PATIENCE_S = 60.0
"""Of virtual time, until the last engine has come to rest."""
POLL_S, RESUME_S = 0.5, 2.0
BORN = 20_000 * DAY


@dataclass
class Outcome:
    """What became of a seed: `broken` names the law, and is empty where all hold; `digest` is the
    head of the audit log, which every fact and its time went into."""

    seed: int
    broken: str = ""
    digest: str = ""
    seen: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True)
class Death:
    """When an engine dies: at a step of its loop, or at a call of its database. 0 is never."""

    step: int = 0
    call: int = 0


def play(seed: int) -> Outcome:
    """One seed: engines that meet faults and die, and one that must come to rest."""
    return _outcome(seed, MINUTES, _Row.play)


def play_death(death: Death, seed: int = 0) -> Outcome:
    """A short session without any fault but that death, and what comes after it."""
    return _outcome(seed, SHORT_MINUTES, lambda row: row.play_death(death))


def deaths(kind: str, every: int = 1) -> Iterator[Death]:
    """Every step (`kind` step) or every call of the database (`call`) of that session: to be taken
    until no engine dies any more."""
    return (Death(**{kind: number}) for number in count(1, every))


def _outcome(seed: int, minutes: int, play: Callable[["_Row"], None]) -> Outcome:
    """In a folder of its own, that stays where a law was broken."""
    outcome = Outcome(seed)
    folder = Path(mkdtemp(prefix="tradebot-simulation-"))
    with _quiet():
        try:
            row = _Row(seed, folder, minutes, outcome.seen)
            play(row)
            outcome.digest = row.now.head.hash
        except (Violation, Deadlock) as broken:
            outcome.broken = f"{broken} (kept in {folder})"
        except Exception:
            outcome.broken = f"{traceback.format_exc()} (kept in {folder})"
    if not outcome.broken:
        rmtree(folder)
    return outcome


@contextmanager
def _quiet() -> Generator[None]:
    """What the engine logs of faults that are meant is not for the screen, nor is that it died with
    a connection in its hand."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore", category=SAWarning):
            yield
            gc.collect()
    finally:
        logging.disable(logging.NOTSET)


class _Row:
    """The engines of one account."""

    def __init__(self, seed: int, folder: Path, minutes: int, seen: Counter[str]) -> None:
        self._random = Random(seed)
        self._seen = seen
        write_market(folder / "market", Random(seed), minutes)
        account = Account(folder / "var", folder / "market")
        self.settings = account.settings
        self._venue: Venue | None = None
        self._lives = 0
        self._make_database()
        self._succession = Succession(self.settings)

    @property
    def now(self) -> Kept:
        return self._succession.now

    def _make_database(self) -> None:
        async def make() -> None:
            await (await Repository.open(Place.of(self.settings))).close()

        asyncio.run(make())

    def born(self) -> int:
        """The computer's time at which an engine is started: each a day after the one before."""
        self._lives += 1
        return BORN + self._lives * DAY

    def play(self) -> None:
        for _ in range(LIVES - 1):
            random = self._random
            at_call = random.random() < 0.3
            moment = random.randrange(1, STEPS)
            self.live(Death(call=moment // 25) if at_call else Death(step=moment))
        self._rest()

    def play_death(self, death: Death) -> None:
        self.live(death, faults=False)
        self._rest()

    def _rest(self) -> None:
        self.live(Death(), faults=False)
        judge_rest(self.now)
        self._compare_with_venue()

    def live(self, death: Death, *, faults: bool = True) -> str:
        """One engine, from its start to its end; how it ended."""
        life = _Life(self, Random(self._random.getrandbits(64)), death, faults)
        ended = life.run()
        self._seen[ended] += 1
        self._seen["steps"] += life.steps
        self._seen["database calls"] += life.power.calls
        self._judge()
        return ended

    def venue(
        self, instruments: Sequence[Instrument], restored: Restored, calendars: Calendars
    ) -> Venue:
        """The venue stays what it is, whatever becomes of the engines."""
        if self._venue is None:
            rules = exchange_rules(self.settings)
            self._venue = Venue(instruments, rules, calendars, lambda: restored.ts)
            self._venue.accepted = {}
            self._venue.restore(restored)
        return self._venue

    def _judge(self) -> None:
        self._succession.judge()
        for order in self.now.orders.values():
            if order.state in UNSETTLED:
                self._seen[f"orders {order.state} at an end"] += 1

    def _compare_with_venue(self) -> None:
        """I2 and I8: no order was accepted twice or without an intent, and both sides agree."""
        venue, now = self._venue, self.now
        if venue is None:
            return
        for key, times in venue.accepted.items():
            law(times == 1, "I2", f"{key} was sent {times} times")
            law(key in now.orders, "I1", key)
        there = {o.order.client_order_id for o in venue.open_there()}
        law(there == now.open.keys(), "I8: open orders", (there, set(now.open)))
        held: dict[str, Any] = {}
        for position in now.positions.values():
            held[position.symbol] = held.get(position.symbol, 0) + position.quantity
        holds = {symbol: q for symbol, q in venue.held_there().items() if q}
        law(holds == {s: q for s, q in held.items() if q}, "I8: positions", (holds, held))
        self._seen["orders"] += len(now.orders)
        self._seen["executions"] += len(now.trades)


class _Life:
    """One engine on a loop of its own."""

    def __init__(self, row: _Row, random: Random, death: Death, faults: bool) -> None:
        self._row = row
        self._random = random
        self._faults = faults
        self.loop = VirtualLoop(random, death.step)
        self.power = Power(random, faults)
        self.power.die_at, self.power.die = death.call, self.loop.crash
        self._disk = Disk(self.power)
        self._snapshot: Snapshot | None = None
        self.steps = 0
        born = row.born()
        parts = Parts(
            self._feed,
            self._brokers,
            self._disk.open,
            lambda: born + self.loop.time_ns(),
            random=Random(born),
        )
        self._runtime = Runtime(row.settings, self._show, parts)

    def run(self) -> str:
        """How it ended."""
        loop = self.loop
        asyncio.set_event_loop(loop)
        engine = loop.create_task(self._runtime.run())
        operator = loop.create_task(self._operate())
        both = asyncio.gather(engine, operator)
        try:
            loop.run_until_complete(both)
            return "stopped in order"
        except Crash:
            return "died"
        except UserError:  # told to the operator, as it is where no engine can start
            law(self._faults, "I16: it does not start", "without a fault")
            return "could not start"
        finally:
            self.steps = loop.steps
            self.power.on = False
            self._disk.pull_the_plug()
            loop.crash_at = 0
            _bury(loop)
            asyncio.set_event_loop(None)

    async def _operate(self) -> None:
        """Kill now and then, have symbols traded again that a difference paused, and stop the
        engine when its time has come."""
        kill_at = self._random.uniform(0, LONGEST_S) if self._random.random() < KILLED else None
        loop, resume_at = self.loop, RESUME_S
        while not self._is_at_rest():
            law(loop.time() < PATIENCE_S, "I16: it does not come to rest", self._unsettled())
            await asyncio.sleep(POLL_S)
            if self._faults and kill_at is not None and loop.time() > kill_at:
                kill_at = None
                self._runtime.command(TripKillSwitch(source="key", author="simulation"))
            if self._faults and loop.time() > resume_at:
                resume_at += RESUME_S
                for symbol in SYMBOLS:
                    self._runtime.command(ResumeSymbol(symbol=symbol, author="simulation"))
        self._runtime.stop()

    def _is_at_rest(self) -> bool:
        """An engine with faults has lived long enough; the last one has settled what was left."""
        now = self.loop.time()
        return now > LONGEST_S if self._faults else now > LAST_S and not self._unsettled()

    def _unsettled(self) -> list[str]:
        """What the engine before left unsettled, and still is."""
        left = self._row.now.open
        orders = self._snapshot.orders if self._snapshot else ()
        return [
            f"{o.client_order_id} {o.state}"
            for o in orders
            if o.client_order_id in left and o.state in UNSETTLED
        ]

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def _feed(self, settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        recordings = Recordings(settings.replay_dir)
        start, done = resume or Played(nanos(settings.replay_start))
        return ReplayFeed(
            recordings,
            recordings.symbols,
            start,
            settings.replay_speed,
            self.loop.time_ns,
            done,
        )

    def _brokers(
        self,
        settings: Settings,
        feed: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        venue = self._row.venue(feed.instruments, restored, calendars)
        venue.plug_in(self.power, now)
        return {venue.name: venue}


def _bury(loop: VirtualLoop) -> None:
    """Let what is left of an engine end, without power, and close its loop."""
    tasks = asyncio.all_tasks(loop)  # a set: in the order in which they were made
    left = sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name()))
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
