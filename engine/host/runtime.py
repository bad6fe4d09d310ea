"""The asyncio host of the machine: inbox, outbox, timers; start, stop.

Everything here runs on one event loop, the engine's own. Inputs are handled in the order in which
they are published, each to its end; effects are carried out by tasks, and answer with inputs.

A simulation runs it on a loop of its own: time is the loop's (`asyncio.sleep`, `asyncio.timeout`),
the feed's clock and `Parts.wall`; work that may block goes through `loop.run_in_executor` alone, so
a loop that calls it inline needs no thread; and what reaches outside comes from `Parts`.
"""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from engine import __version__
from engine.brokers.base import BaseBroker
from engine.build import (
    machine_config,
    make_brokers,
    make_feed,
    plugins,
    strategy_folders,
)
from engine.calendars import session_tables
from engine.config_version import config_version
from engine.core.breaker import RESET_WORD
from engine.core.events import (
    AlertRaised,
    BarClosed,
    ClockTick,
    Command,
    CommitIntent,
    Effect,
    EngineStarted,
    EngineStopping,
    Event,
    ExecutionReport,
    FeedStatusChanged,
    IntentCommitted,
    IntentFailed,
    KillSwitchRearmed,
    KillSwitchTriggered,
    QuoteUpdate,
    RaiseAlert,
    RatePublished,
    Record,
    ResetCircuitBreaker,
    Restored,
    SteerFeed,
    StrategyToggled,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.machine import Machine
from engine.core.model import DAY, NANOS, Order, OrderState
from engine.core.sessions import Calendars
from engine.core.text import clean
from engine.feeds.base import Feed, Played
from engine.feeds.clock import NanosecondSource
from engine.feeds.conflation import Conflation
from engine.host.backfill import Backfill
from engine.host.broker_link import BrokerLink
from engine.host.health import Pulse, Throughput
from engine.host.identifying import IdentityKeeper
from engine.host.journaling import JournalKeeper
from engine.host.latching import LatchKeeper
from engine.host.opening import openings
from engine.host.rates import RatesWatch, read_rates
from engine.host.reloading import StrategyWatch
from engine.host.requests import InFlight, Requests
from engine.host.restoring import check_witness, durable_state, with_accounts, with_openings
from engine.host.saving import Saver
from engine.host.warming import WarmUp
from engine.host.watchdog import Unwatched, Watchdog
from engine.ops.errors import UserError
from engine.ops.latch import KillLatch
from engine.ops.settings import Settings
from engine.plugins import fingerprint
from engine.store import StoreUnavailable
from engine.store.durable import market_at
from engine.store.journal import JOURNAL_VERSION, JournalHeader
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.witness import Witness
from engine.store.writer import StoreWriter
from engine.view.answers import Answers, is_starting
from engine.view.causes import Causes
from engine.view.questions import A, Question
from engine.view.snapshot import FeedStatus, Health, Snapshot
from engine.view.view import View
from engine.view.wording import left_open

TICK_S = 0.25
ANSWERS_S = 3.0
ON_DISK_S = 6.0
"""How long after its beginning a stop waits for the brokers, and for the disk. What is left of the
ten seconds that it may take is for the ends of the connections: a second for all brokers
(`DISCONNECT_S`), two for the database."""

MakeFeed = Callable[[Settings, Played | None, Collection[str]], Awaitable[Feed]]
MakeBrokers = Callable[
    [Settings, Feed, Restored, Calendars, Callable[[], int]],
    Mapping[str, BaseBroker],
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Where an engine reaches outside; a test or a simulation gives its own.

    `feed` makes the market data (`engine.build.make_feed`), `brokers` the brokers by the name of
    the venue, `repository` opens the database, `wall` is the computer's time in ns UTC. `watchdog`
    watches the loop from a thread; `Unwatched` needs none. `random` varies the pauses before a
    connection is made again.
    """

    feed: MakeFeed = make_feed
    brokers: MakeBrokers = make_brokers
    repository: Callable[[Place], Awaitable[Repository]] = Repository.open
    wall: NanosecondSource = time.time_ns
    watchdog: Callable[[], Watchdog | Unwatched] = Watchdog
    random: Random = field(default_factory=Random)


class Runtime:
    """One engine: a machine, its feed, its brokers and its database, from start to stop."""

    def __init__(
        self, settings: Settings, show: Callable[[Snapshot], None], parts: Parts | None = None
    ) -> None:
        self._settings = settings
        self._show = show
        self._parts = parts or Parts()
        self._inbox: deque[Event] = deque()
        self._draining = False
        self._winds_down = False
        self._facts: list[Event] = []
        self._early: list[Command] | None = []
        self._in_flight = InFlight()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._latch = KillLatch(settings.kill_files)
        self._pulse = Pulse()
        self._throughput = Throughput()
        self._host = clean(socket.gethostname())
        self._config = ""
        self._watchdog = self._parts.watchdog()
        self._started_wall_ts = self._parts.wall()

    async def run(self) -> None:
        """Start, trade until `stop`, and stop in order.

        Raises UserError where something outside stands in the way of a start.
        """
        try:
            repository = await self._parts.repository(Place.of(self._settings))
            try:
                restored = await self._prepared(repository)
                await self._trade(repository, restored)
            finally:
                await repository.close()
        finally:
            await self._latch_what_was_not_heard()
            self._latch.close()

    async def _latch_what_was_not_heard(self) -> None:
        """Where there was no start, the next engine starts killed."""
        for command in self._early or ():
            if isinstance(command, TripKillSwitch):
                with suppress(OSError):
                    await self._latch.set(f"{command.source}: {command.reason}")

    def stop(self) -> None:
        self._stop.set()

    def command(self, command: Command) -> None:
        """Handle an operator's command at once, or as soon as the engine is there, and show what
        came of it."""
        if self._early is None:
            self.publish(msgspec.structs.replace(command, ts=self._now()))
            # The picture waits for the requests that this made: first the cancels of a kill.
            asyncio.get_running_loop().call_soon(lambda: self._show(self._take()))
        else:
            self._early.append(command)

    def ask(self, question: Question[A], answer: Future[A]) -> None:
        """Have `answer` bring what is asked for, or a UserError that says why not."""
        if self._early is None:
            self._answers.ask(question, answer)
        elif answer.set_running_or_notify_cancel():
            answer.set_exception(is_starting())

    # --- inbox ----------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Handle an input now, or right after the one that is being handled.

        The simulated exchange sees market data first: what it fills, it fills at prices that the
        machine has not decided on yet.
        """
        if not self._feed.recorded and self._holds(event):
            return
        self._admit(event)

    def _holds(self, event: Event) -> bool:
        """Whether market data wait: quotes while the loop is behind, bars for those before them.

        None come in while the writer is full: then no order can leave either. Bars that are missed
        are asked for later.
        """
        if self._writer.is_full and isinstance(event, QuoteUpdate | BarClosed):
            return True
        if isinstance(event, QuoteUpdate):
            if self._pulse.is_behind:
                self._conflation.keep(event)
            return self._pulse.is_behind
        if isinstance(event, BarClosed):
            self._conflation.flush()
            return self._backfill.holds(event)
        return False

    def _admit(self, event: Event) -> None:
        """Handle an input, and what the simulated exchange makes of it before, as one: their facts
        are durable together."""
        outermost, self._draining = not self._draining, True
        try:
            if isinstance(event, QuoteUpdate | BarClosed):
                self._requests.on_market(event)
            self._inbox.append(event)
            while outermost and self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._draining = not outermost
        if outermost and self._facts:
            facts, self._facts = self._facts, []
            self._writer.record(facts, self._standing())

    def _standing(self) -> dict[str, Any]:
        """What a replay goes on from: durable with the facts before it, or they would be made again
        after a restart, or be missing. A feed that is now has no such place."""
        played = self._feed.played
        if played is None:
            return {}
        market = market_at(played.ts, self.machine.market.marks(), played.events)
        return {"market": market, "peak_equity": self.machine.risk.peak_equity}

    def _keep_place(self) -> bool:
        standing = self._standing()
        if standing:
            self._writer.record((), standing)
        return bool(standing)

    def _handle(self, event: Event) -> None:
        if isinstance(event, BarClosed) and event.live and event.bar.is_sound:
            self._writer.keep(event.bar)
        self._journal.append(event)
        effects = self.machine.process(event)
        if effects:
            self._dispatch(effects)
        if isinstance(event, IntentCommitted | IntentFailed):
            self._in_flight.end()

    # --- outbox ---------------------------------------------------------------------------------

    def _dispatch(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Record):
                self._facts.append(effect.fact)
                self._note(effect.fact)
            elif not self._requests.carry_out(effect):
                self._carry_out(effect)
        if self.machine.error is not None:
            log.error("error of our own; the kill switch is tripped", exc_info=self.machine.error)
            self.machine.error = None

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case CommitIntent(order=order):
                self._in_flight.begin()
                self._writer.commit(order)
            case SteerFeed():
                self._steer(effect)
            case _:
                raise TypeError(f"no way to carry out {type(effect).__name__}")

    def _steer(self, effect: SteerFeed) -> None:
        try:
            self._feed.steer(effect.action, effect.speed, effect.author)
        except UserError as error:
            self._view.line("warning", clean(error.message))

    def _note(self, fact: Event) -> None:
        self._view.follow(fact)
        self._causes.follow(fact)
        match fact:
            case KillSwitchTriggered() | KillSwitchRearmed():
                self._latching.write()
            case StrategyToggled(enabled=True):
                self._warming.switched_on(fact.strategy)
            case AlertRaised():
                log.error("alert %s: %s", fact.name, fact.text)
            case FeedStatusChanged():
                self._feed_status = fact.status
                self._feed_note = fact.reason
            case _:
                pass

    # --- start ----------------------------------------------------------------------------------

    async def _prepared(self, repository: Repository) -> Restored:
        """As `_prepare`; raises UserError where the database cannot be asked now."""
        try:
            return await self._prepare(repository)
        except StoreUnavailable as error:
            raise UserError(
                f"the database cannot be used ({error})",
                "check the free space, and that no other program holds it; then start again",
            ) from error

    async def _prepare(self, repository: Repository) -> Restored:
        """Put the parts together, and give the machine what the database remembers."""
        settings = self._settings
        rates = await asyncio.to_thread(read_rates, settings.fx_rates)
        self._witness = Witness(settings.head_path)
        doubt = await check_witness(repository, self._witness, settings.mode)
        restored, resume = await durable_state(repository)
        self._first_start = await repository.first_start()
        held = {p.symbol for p in restored.positions if p.quantity}
        held |= {o.symbol for o in restored.orders if o.is_open}
        self._feed = await self._parts.feed(settings, resume, held)
        found = plugins(settings)
        instruments = self._feed.instruments
        known = await repository.opened_accounts()
        opening = await openings(settings, self._feed, rates, known)
        restored = await with_accounts(repository, restored, opening, self._feed, settings.currency)
        identities = IdentityKeeper(
            await repository.identities(), lambda values: self._writer.record((), values)
        )
        tables = await asyncio.to_thread(session_tables, instruments, *self._feed.span)
        config = machine_config(settings, instruments, tuple(found.kinds), tables)
        self.machine = Machine(config, found.kinds)
        new = await repository.unrecorded_openings()
        self._requests = self._make_requests(with_openings(restored, new), identities)
        self._view = View(self.machine, restored.fills)
        self._causes = Causes(self.machine.bus)
        place = Place.of(settings)
        self._answers = Answers(self.machine, self._view, self._causes, place)
        self._view.broken = found.broken
        self._feed_status, self._feed_note = "connecting", ""
        self._make_keepers(repository, rates)
        self.publish(restored)
        for rate in rates:
            self.publish(msgspec.structs.replace(rate, ts=restored.ts))
        for fill in new:
            report = ExecutionReport(fill.client_order_id, OrderState.FILLED, fill=fill)
            self._publish_now(report)
        if doubt:
            self.publish(RaiseAlert("database", doubt, ts=restored.ts))
        self._tell_of_the_settings(found.broken, restored.ts)
        return restored

    def _make_keepers(self, repository: Repository, rates: list[RatePublished]) -> None:
        """What looks after files, the database and data that come late."""
        self._backfill = Backfill(self._feed.history, self._admit, self._fail)
        self._warming = WarmUp(
            self.machine, self._feed, self._backfill, self._in_flight, self.publish, self._fail
        )
        self._conflation = Conflation(self._admit)
        self._latching = LatchKeeper(
            self._latch,
            lambda: self.machine.safety.kill,
            self.machine.parts.unknown,
            self._publish_now,
            lambda text: self._view.line("error", text),
        )
        self._writer = StoreWriter(
            repository,
            self._publish_now,
            self._overflow,
            self._settings.market_data_days * DAY,
            self._in_flight.begin,
            self._in_flight.end,
            whole=self._feed.recorded,
        )
        self._journal = JournalKeeper(
            self._settings.journal_dir,
            JournalHeader(
                JOURNAL_VERSION,
                msgspec.msgpack.encode(self.machine.config),
                self._started_wall_ts,
                f"tradebot {__version__}",
                {name: fingerprint(kind) for name, kind in self.machine.kinds.items()},
            ),
            self._settings.journal_max_mb,
            lambda text: self._view.line("error", text),
        )
        self._watch = StrategyWatch(
            self.machine,
            strategy_folders(self._settings),
            self._publish_now,
            self._view.show_broken,
        )
        self._rates = RatesWatch(self._settings.fx_rates, rates, self._publish_now)

    def _tell_of_the_settings(self, broken: Mapping[str, str], ts: int) -> None:
        for name, problem in broken.items():
            text = f"strategy file {name} is broken: {problem}"
            self.publish(RaiseAlert(f"strategy-file-{name}", text, ts=ts))
        if self._settings.dry_run:
            self._view.line("warning", "DRY RUN: no order is sent")
            log.warning("dry run: no order is sent")

    def _make_requests(self, restored: Restored, identities: IdentityKeeper) -> Requests:
        instruments = self._feed.instruments
        calendars = self.machine.calendars
        brokers = self._parts.brokers(self._settings, self._feed, restored, calendars, self._now)
        if missing := {i.venue for i in instruments} - brokers.keys():
            names = ", ".join(sorted(map(clean, missing)))
            raise UserError(f"no broker is set up for {names}", "set it up, or leave its symbols")
        outside = self.publish, self._now, self._settings.submit_timeout_s, identities.check
        links = {
            name: BrokerLink(name, broker, *outside, self._parts.random)
            for name, broker in brokers.items()
        }
        venues = {instrument.symbol: instrument.venue for instrument in instruments}
        return Requests(links, venues, self.machine.orders, self._in_flight, self._fail)

    def _hear_the_operator(self, restored: Restored) -> None:
        """What was asked for before the engine was there; also where it is to stop at once."""
        self._requests.announce()
        self._watch.announce()
        self._trip_if_asked()
        self._reset_if_asked()
        self._switch_on(restored)
        early, self._early = self._early or [], None
        for command in early:
            self.command(command)

    async def _start(self) -> None:
        """Brokers, then trade. A recording's past comes before its data flow, another feed's while
        they do: nothing waits for a venue that is slow to tell it."""
        await self._requests.tried()
        with suppress(TimeoutError):  # a broker without an answer is not traded with, and shown
            async with asyncio.timeout(2 * self._settings.submit_timeout_s):
                await self._in_flight.idle.wait()
        since = self._first_start or self._feed.clock.now()
        if self._feed.recorded:
            await self._warming.show_recorded(since)
        self._config = await asyncio.to_thread(config_version, self._settings)
        self.publish(EngineStarted(self._config, ts=self._now()))
        log.info(
            "started: config %s, %d symbols, state %s",
            self._config,
            len(self.machine.config.instruments),
            self.machine.state_hash(),
        )
        if not self._feed.recorded:
            self._warming.start(since)
            await self._warming.of_what_is_held()
        await self._feed.run(self.publish, self._in_flight.idle)

    def _trip_if_asked(self) -> None:
        """The kill switch may have been asked for while no engine ran."""
        if self._settings.kill_switch and not self.machine.safety.kill.tripped:
            self._trip("KILL_SWITCH=true")
        self._latching.hear_now()

    def _publish_now(self, event: Event) -> None:
        self.publish(msgspec.structs.replace(event, ts=self._now()))

    def _trip(self, source: str, reason: str = "") -> None:
        self.publish(TripKillSwitch(source=source, reason=reason, ts=self._now()))

    def _reset_if_asked(self) -> None:
        if self._settings.circuit_breaker_reset and self.machine.safety.breaker.state.tripped:
            author = "CIRCUIT_BREAKER_RESET=true"
            self.publish(ResetCircuitBreaker(word=RESET_WORD, author=author, ts=self._now()))

    def _switch_on(self, restored: Restored) -> None:
        """Switch on what the settings name and no operator ever switched."""
        known = {state.strategy for state in restored.strategies}
        for name in self._settings.strategies:
            if name not in known:
                self.publish(
                    ToggleStrategy(strategy=name, enabled=True, author="settings", ts=self._now())
                )

    # --- running --------------------------------------------------------------------------------

    async def _trade(self, repository: Repository, restored: Restored) -> None:
        """Run all tasks until stop; one that fails ends them all: half-blind is not traded."""
        saver = Saver(repository, self.machine, self._now, self._witness, self._keep_place)
        services = [
            asyncio.create_task(service) for service in (self._writer.run(), self._requests.run())
        ]
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._start(),
                self._tick(),
                self._latching.watch(),
                saver.run(),
                self._pulse.run(),
                self._conflation.run(),
                self._watch.run(),
                self._rates.run(),
                self._picture(),
                self._stop.wait(),
            )
        ]
        try:
            self._hear_the_operator(restored)
            with self._watchdog:
                while not self._stop.is_set():
                    running = [task for task in (*services, *duties) if not task.done()]
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            if self._error is not None:
                raise self._error
        finally:
            await self._wind_down(duties, services, saver, repository)

    def _fail(self, error: BaseException) -> None:
        """A task that nobody waits for has failed."""
        self._error = self._error or error
        self._stop.set()

    async def _wind_down(
        self,
        duties: list[asyncio.Task[Any]],
        services: list[asyncio.Task[None]],
        saver: Saver,
        repository: Repository,
    ) -> None:
        """No new data, strategies off, open orders as set; what is under way is answered; all is on
        disk; then the end."""
        began = asyncio.get_running_loop().time()
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await self._warming.close()
        await self._backfill.close()
        await self._let_decisions_leave(began)
        self._winds_down = True
        try:
            self.publish(EngineStopping(self._settings.on_stop, ts=self._now()))
        except Exception as error:
            log.error("open orders stay as they are", exc_info=error)
        with suppress(TimeoutError):  # a broker without an answer must not keep facts from the disk
            async with asyncio.timeout_at(began + ANSWERS_S):
                await self._settle()
        try:
            async with asyncio.timeout_at(began + ON_DISK_S):
                self._keep_place()
                await self._writer.flush()
                await saver.save()
                log.info("audit head %s", await repository.audit_head())
        except (TimeoutError, StoreUnavailable) as error:
            reason = clean(str(error)) or f"{self._writer.waiting} facts wait after {ON_DISK_S:g} s"
            log.error("stopped before all was on disk: %s", reason)
        for service in services:
            service.cancel()
        await asyncio.gather(*services, return_exceptions=True)
        await self._requests.close()
        await self._answers.close()
        state_hash = self.machine.state_hash()
        self._journal.close(state_hash)
        snapshot = self._take()
        left_open = tuple(map(self._left_open, self.machine.orders.open.values()))
        for line in left_open:
            log.warning("%s", line)
        self._show(msgspec.structs.replace(snapshot, left_open=left_open))
        log.info("stopped: state %s, books %s", state_hash, self.machine.books_hash())

    async def _let_decisions_leave(self, began: float) -> None:
        """What a recording brought about leaves before the strategies are off: played on after a
        restart, it comes to what it would have come to."""
        if self._feed.recorded:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(began + ANSWERS_S / 2):
                    await self._in_flight.idle.wait()

    async def _settle(self) -> None:
        """Wait until all requests are answered and all cancels confirmed; what is refused, or is
        not answered, is asked again meanwhile."""
        ticking = asyncio.create_task(self._tick())
        try:
            await self._in_flight.idle.wait()
            while self.machine.orders.is_cancelling:
                await asyncio.sleep(TICK_S)
                await self._in_flight.idle.wait()
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    def _left_open(self, order: Order) -> str:
        market = self.machine.market.symbols.get(order.symbol)
        return left_open(order, market.instrument.venue if market else "its venue")

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            uptime = int((loop.time() - started) * NANOS)
            if blocked := self._watchdog.beat():
                self._switch_off(blocked)
            now = self._now()
            self.publish(ClockTick(uptime, self._clock_offset(now), ts=now))
            self._journal.flush()
            await asyncio.sleep(TICK_S)

    def _clock_offset(self, now: int) -> int:
        """How far the computer's clock is ahead of market time, or of a venue's if that is more."""
        if self._feed.recorded:
            return 0
        ahead = self._parts.wall() - now
        return max(ahead, ahead + self._requests.clock_offset, key=abs)

    def _switch_off(self, strategy: str) -> None:
        """It held the loop up too long, or too often; nobody knows for how long the next time."""
        self._view.line("error", f"{clean(strategy)} held the engine up, and is switched off")
        self.publish(
            ToggleStrategy(strategy=strategy, enabled=False, author="watchdog", ts=self._now())
        )

    async def _picture(self) -> None:
        """A picture for each frame of the console."""
        while True:
            for _ in self._view.ahead():
                await asyncio.sleep(0)
            self._show(self._take())
            await asyncio.sleep(1 / self._settings.fps)

    def _overflow(self) -> None:
        """More facts wait for the database than are kept: no more may be made."""
        if not self.machine.safety.kill.tripped:
            self._trip("store", "too many facts wait for the database")

    # --- the picture ----------------------------------------------------------------------------

    def _now(self) -> int:
        """Market time. A recording's stands still while an intent or a request is under way, so
        that an order is at the exchange when it was decided, however long that took; at a stop it
        goes on, so that what has no answer is asked again."""
        if self._feed.recorded and self._in_flight.count and not self._winds_down:
            return self.machine.bus.now
        return self._feed.clock.now()

    def _take(self) -> Snapshot:
        feed = FeedStatus(
            self._feed.name,
            self._feed_status,
            self._feed_note,
            self._feed.clock.speed,
            self._feed.recorded,
            awaited=self._warming.awaited,
        )
        loop, offset = asyncio.get_running_loop(), self.machine.safety.clock_offset.offset
        health = Health(
            lateness_ms=self._pulse.lateness_ms,
            queue=self._in_flight.count + self._writer.waiting,
            conflated=self._conflation.dropped + self._feed.conflated,
            events=self.machine.bus.seq,
            started_wall_ts=self._started_wall_ts,
            pid=os.getpid(),
            host=self._host,
            worst_ms=self._pulse.worst_ms,
            events_per_s=self._throughput.at(loop.time(), self.machine.bus.seq),
            unwritten=self._writer.waiting,
            clock_offset_ms=None if self._feed.recorded else offset / 1e6,
            journal=self._journal.status,
            brokers=self._requests.health,
            config=self._config,
        )
        wall_ts = self._parts.wall()
        return self._view.take(self._now(), wall_ts, feed, self._latching.durable, health)
