"""The asyncio host of the machine: inbox, outbox, timers; start, stop.

Everything here runs on one event loop, the engine's own. Inputs are handled in the order in which
they are published, each to its end; effects are carried out by tasks, and answer with inputs.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine import __version__
from engine.brokers.base import InDoubt, NotSent
from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules, live_gate, machine_config, make_feed, plugins
from engine.calendars import session_tables
from engine.core.events import (
    BarClosed,
    BrokerChanged,
    CancelOrder,
    CancelRejected,
    ClockTick,
    Command,
    CommitIntent,
    Effect,
    EngineStarted,
    Event,
    FeedStatusChanged,
    IntentCommitted,
    IntentFailed,
    KillSwitchRearmed,
    KillSwitchTriggered,
    OrderNotFound,
    QueryOrder,
    QuoteUpdate,
    Record,
    Restored,
    SteerFeed,
    SubmitFailed,
    SubmitOrder,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.model import MINUTE, Order, utc
from engine.core.text import clean
from engine.feeds.base import Feed
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder
from engine.ops.latch import KillLatch
from engine.ops.settings import Settings
from engine.snapshot import FeedStatus, Health, Snapshot
from engine.store import StoreUnavailable
from engine.store.journal import JOURNAL_VERSION, JournalHeader, JournalWriter
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.writer import StoreWriter
from engine.view import View

TICK_S = 0.25
PULSE_S = 0.02
PULSES_KEPT = 500
SAVE_S = 1.0
STOP_S = 5.0
JOURNALS_KEPT = 20

log = logging.getLogger(__name__)


class Runtime:
    """One engine: a machine, its feed, its broker and its database, from start to stop."""

    def __init__(self, settings: Settings, show: Callable[[Snapshot], None]) -> None:
        self._settings = settings
        self._show = show
        self._inbox: deque[Event] = deque()
        self._draining = False
        self._early: list[Command] | None = []
        self._outstanding = 0
        self._ready = asyncio.Event()
        self._ready.set()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._latch = KillLatch(settings.kill_file)
        self._latch_changes = 0
        self._latched = True
        self._latch_fault = ""
        self._pulses: deque[float] = deque(maxlen=PULSES_KEPT)
        self._started_wall_ts = time.time_ns()

    async def run(self) -> None:
        """Start, trade until `stop`, and stop in order.

        Raises UserError where something outside stands in the way of a start.
        """
        repository = await Repository.open(Place.of(self._settings))
        try:
            await self._prepare(repository)
            await self._trade(repository)
        finally:
            self._latch.close()
            await repository.close()

    def stop(self) -> None:
        self._stop.set()

    def command(self, command: Command) -> None:
        """Handle an operator's command at once, or as soon as the engine is there, and show what
        came of it."""
        if self._early is None:
            self.publish(msgspec.structs.replace(command, ts=self._now()))
            self._show(self._take())
        else:
            self._early.append(command)

    # --- inbox ----------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Handle an input now, or right after the one that is being handled.

        The simulated exchange sees market data first: what it fills, it fills at prices that the
        machine has not decided on yet.
        """
        if isinstance(event, QuoteUpdate | BarClosed):
            self._broker.on_market(event)
        self._inbox.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._draining = False

    def _handle(self, event: Event) -> None:
        self._journal.append(event)
        effects = self.machine.process(event)
        if effects:
            self._dispatch(effects)
        if isinstance(event, IntentCommitted | IntentFailed):
            self._settle()

    def _dispatch(self, effects: Sequence[Effect]) -> None:
        facts: list[Event] = []
        for effect in effects:
            if isinstance(effect, Record):
                facts.append(effect.fact)
                self._note(effect.fact)
            else:
                self._carry_out(effect)
        if facts:
            self._writer.record(facts)
        if self.machine.error is not None:
            log.error("error of our own; the kill switch is tripped", exc_info=self.machine.error)
            self.machine.error = None

    # --- outbox ---------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case CommitIntent(order=order):
                self._begin()
                self._writer.commit(order)
            case SubmitOrder(order=order):
                self._request(self._submit(order))
            case CancelOrder(order=order):
                self._request(self._cancel(order))
            case QueryOrder(order=order):
                self._request(self._query(order))
            case SteerFeed():
                self._steer(effect)
            case _:
                raise TypeError(f"no way to carry out {type(effect).__name__}")

    def _begin(self) -> None:
        self._outstanding += 1
        self._ready.clear()

    def _settle(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._ready.set()

    def _request(self, request: Coroutine[Any, Any, None]) -> None:
        self._begin()
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._requested)

    def _requested(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._settle()
        if not task.cancelled() and (error := task.exception()):
            log.error("a request to the broker failed", exc_info=error)

    async def _submit(self, order: Order) -> None:
        """Send once. Whatever is not a clear answer leaves the order in doubt."""
        key = order.client_order_id
        if not self.machine.orders.is_wanted(key):
            self.publish(SubmitFailed(key, False, "cancelled before it left", ts=self._now()))
            return
        try:
            async with asyncio.timeout(self._settings.submit_timeout_s):
                report = await self._broker.submit_order(order)
        except NotSent as error:
            self.publish(SubmitFailed(key, False, str(error), ts=self._now()))
        except (InDoubt, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            self.publish(SubmitFailed(key, True, reason, ts=self._now()))
        except Exception as error:
            self.publish(SubmitFailed(key, True, f"{type(error).__name__}", ts=self._now()))
            raise
        else:
            self.publish(report)

    async def _cancel(self, order: Order) -> None:
        try:
            async with asyncio.timeout(self._settings.submit_timeout_s):
                answer = await self._broker.cancel_order(order)
        except (NotSent, InDoubt, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            answer = CancelRejected(order.client_order_id, reason, ts=self._now())
        self.publish(answer)

    async def _query(self, order: Order) -> None:
        """Ask where the order is; no answer is asked again by the machine."""
        try:
            async with asyncio.timeout(self._settings.submit_timeout_s):
                report = await self._broker.get_order(order)
        except (NotSent, InDoubt, TimeoutError) as error:
            log.warning("no answer about order %s: %s", order.client_order_id, clean(str(error)))
            return
        self.publish(report or OrderNotFound(order.client_order_id, ts=self._now()))

    def _steer(self, effect: SteerFeed) -> None:
        try:
            self._feed.steer(effect.action, effect.speed)
        except UserError as error:
            self._view.line("warning", clean(error.message))

    def _note(self, fact: Event) -> None:
        self._view.follow(fact)
        match fact:
            case KillSwitchTriggered():
                self._set_latch(fact)
            case KillSwitchRearmed():
                self._set_latch(None)
            case FeedStatusChanged():
                self._feed_status = fact.status
                self._feed_note = fact.reason
            case _:
                pass

    # --- kill switch file -----------------------------------------------------------------------

    def _set_latch(self, tripped: KillSwitchTriggered | None) -> None:
        self._latch_changes += 1
        self._latched = False
        change = self._latch.set(f"{tripped.source}: {tripped.reason}") if tripped else None
        waiting = asyncio.wrap_future(change or self._latch.clear())
        waiting.add_done_callback(self._latch_changed)

    def _latch_changed(self, change: asyncio.Future[None]) -> None:
        if change.cancelled():
            return
        error = change.exception()
        self._latched = error is None
        fault = clean(str(error)) if error else ""
        if fault and fault != self._latch_fault:
            log.error("the kill switch is not on disk: %s", fault)
            self._view.line("error", f"the kill switch is not on disk yet: {fault}")
        self._latch_fault = fault

    async def _watch_latch(self) -> None:
        """Trip where somebody makes the file; write or remove it where that is still to be done."""
        while True:
            changes = self._latch_changes
            is_set = await asyncio.wrap_future(self._latch.look())
            kill = self.machine.safety.kill
            if changes == self._latch_changes:
                if is_set and not kill.tripped:
                    reason = f"{self._settings.kill_file} is there"
                    self.publish(TripKillSwitch(source="file", reason=reason, ts=self._now()))
                elif is_set != kill.tripped or not self._latched:
                    trip = KillSwitchTriggered(kill.source, kill.reason) if kill.tripped else None
                    self._set_latch(trip)
            await asyncio.sleep(TICK_S)

    # --- start ----------------------------------------------------------------------------------

    async def _prepare(self, repository: Repository) -> None:
        settings = self._settings
        restored, resume_at = await _durable_state(repository, settings)
        held = {p.symbol for p in restored.positions if p.quantity}
        held |= {o.symbol for o in restored.orders if o.is_open}
        self._feed: Feed = await asyncio.to_thread(make_feed, settings, resume_at, held)
        found = plugins(settings)
        instruments = self._feed.instruments
        tables = await asyncio.to_thread(session_tables, instruments, *self._feed.span)
        config = machine_config(settings, instruments, tuple(found.kinds), tables)
        self.machine = Machine(config, found.kinds)
        self._broker = PaperBroker(self._feed.instruments, exchange_rules(settings), self._now)
        self._view = View(self.machine, live_gate(settings))
        self._feed_status, self._feed_note = "connecting", ""
        self._writer = StoreWriter(repository, self.publish, self._overflow)
        self._journal = _open_journal(settings.journal_dir, config, self._started_wall_ts)
        self._broker.restore(o for o in restored.orders if o.is_open)
        await self._broker.connect(self.publish)
        self.publish(BrokerChanged(self._broker.name, True, ts=restored.ts))
        self.publish(restored)
        self._trip_if_asked()
        for name, problem in found.broken.items():
            self._view.line("warning", f"strategy file {name} is broken: {problem}")
        await self._warm_up()
        self._switch_on(restored)
        early, self._early = self._early or [], None
        for command in early:
            self.command(command)
        self.publish(EngineStarted(ts=self._now()))
        log.info(
            "started: %d symbols, state %s", len(config.instruments), self.machine.state_hash()
        )

    def _trip_if_asked(self) -> None:
        """The kill switch may have been asked for while no engine ran."""
        if self.machine.safety.kill.tripped:
            return
        if self._settings.kill_switch:
            self.publish(TripKillSwitch(source="KILL_SWITCH=true", ts=self._now()))
        elif self._latch.is_set():
            self.publish(TripKillSwitch(source="file", ts=self._now()))

    async def _warm_up(self) -> None:
        """Show the strategies the bars before now, so that their first live bar counts."""
        required = max((run.required for run in self.machine.runner.runs.values()), default=0)
        until = self._feed.clock.now()
        bars = await asyncio.to_thread(
            lambda: [
                bar
                for instrument in self._feed.instruments
                for bar in self._feed.history(instrument.symbol, required, until)
            ]
        )
        for bar in sorted(bars, key=lambda bar: bar.ts):
            self.publish(BarClosed(bar, live=False, ts=bar.ts))

    def _switch_on(self, restored: Restored) -> None:
        """Switch on what the settings name and no operator ever switched."""
        known = {state.strategy for state in restored.strategies}
        for name in self._settings.strategies:
            if name not in known:
                self.publish(
                    ToggleStrategy(strategy=name, enabled=True, author="settings", ts=self._now())
                )

    # --- running --------------------------------------------------------------------------------

    async def _trade(self, repository: Repository) -> None:
        """Run all tasks until stop; one that fails ends them all: half-blind is not traded."""
        writer = asyncio.create_task(self._writer.run())
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._feed.run(self.publish, self._ready),
                self._tick(),
                self._watch_latch(),
                self._save(repository),
                self._pulse(),
                self._picture(),
                self._stop.wait(),
            )
        ]
        try:
            while not self._stop.is_set():
                running = [writer, *(duty for duty in duties if not duty.done())]
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await self._wind_down(duties, writer, repository)

    async def _wind_down(
        self,
        duties: list[asyncio.Task[Any]],
        writer: asyncio.Task[None],
        repository: Repository,
    ) -> None:
        """No new data; what is under way is answered; all is on disk; then the end."""
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_S):
                await self._ready.wait()
                await self._writer.flush()
                await self._save_now(repository)
                log.info("audit head %s", await repository.audit_head())
        except (TimeoutError, StoreUnavailable) as error:
            log.error("stopped before all was on disk: %s", clean(str(error)))
        writer.cancel()
        await asyncio.gather(writer, *self._tasks, return_exceptions=True)
        await self._broker.disconnect()
        self._close_journal()
        self._show(self._take())
        log.info("stopped: state %s", self.machine.state_hash())

    async def _tick(self) -> None:
        while True:
            self.publish(ClockTick(ts=self._now()))
            self._flush_journal()
            await asyncio.sleep(TICK_S)

    async def _pulse(self) -> None:
        """Measure how late the loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE_S
            await asyncio.sleep(PULSE_S)
            self._pulses.append(loop.time() - due)

    async def _picture(self) -> None:
        """A picture for each frame of the console."""
        while True:
            self._show(self._take())
            await asyncio.sleep(1 / self._settings.fps)

    async def _save(self, repository: Repository) -> None:
        """Keep the market time, and a point of the equity curve a minute of market time."""
        saved = 0
        while True:
            await asyncio.sleep(SAVE_S)
            try:
                if self._now() - saved >= MINUTE:
                    saved = self._now()
                    await self._save_equity(repository)
                await self._save_now(repository)
            except StoreUnavailable as error:
                log.warning("not saved: %s", clean(str(error)))

    async def _save_equity(self, repository: Repository) -> None:
        portfolio = self.machine.portfolio
        equity = portfolio.equity()
        if equity is not None:
            peak = self.machine.risk.peak_equity
            await repository.save_equity(self._now(), equity, portfolio.cash, peak)

    async def _save_now(self, repository: Repository) -> None:
        marks = {s: m.mark for s, m in self.machine.market.symbols.items()}
        await repository.save_market_time(self.machine.bus.now, marks)

    def _flush_journal(self) -> None:
        try:
            self._journal.flush()
        except StoreUnavailable as error:
            log.error("the journal cannot be written: %s", clean(str(error)))

    def _close_journal(self) -> None:
        try:
            self._journal.close()
        except StoreUnavailable as error:
            log.error("the journal is not whole: %s", clean(str(error)))

    def _overflow(self) -> None:
        """More facts wait for the database than are kept: no more may be made."""
        if not self.machine.safety.kill.tripped:
            reason = "too many facts wait for the database"
            self.publish(TripKillSwitch(source="store", reason=reason, ts=self._now()))

    # --- the picture ----------------------------------------------------------------------------

    def _now(self) -> int:
        """Market time. A recording's stands still while an intent or a request is under way, so
        that an order is at the exchange when it was decided, however long that took."""
        if self._feed.recorded and not self._ready.is_set():
            return self.machine.bus.now
        return self._feed.clock.now()

    def _take(self) -> Snapshot:
        feed = FeedStatus(
            self._feed.name,
            self._feed_status,
            self._feed_note,
            self._feed.clock.speed,
            self._feed.recorded,
        )
        return self._view.take(self._now(), time.time_ns(), feed, self._latched, self._health())

    def _health(self) -> Health:
        pulses = sorted(self._pulses)
        late = pulses[int(len(pulses) * 0.99)] * 1000 if pulses else 0.0
        return Health(
            lateness_ms=late,
            queue=self._outstanding + self._writer.waiting,
            conflated=0,
            events=self.machine.bus.seq,
            started_wall_ts=self._started_wall_ts,
            pid=os.getpid(),
        )


def _open_journal(folder: Path, config: MachineConfig, started_ts: int) -> JournalWriter:
    """A new journal for this session; of former ones the newest stay."""
    make_private_folder(folder)
    for old in sorted(folder.glob("*.journal"))[: -JOURNALS_KEPT + 1]:
        old.unlink()
    header = JournalHeader(
        JOURNAL_VERSION, msgspec.msgpack.encode(config), started_ts, f"tradebot-tui {__version__}"
    )
    name = f"{utc(started_ts):%Y%m%dT%H%M%S.%f}-{os.getpid()}.journal"
    return JournalWriter(folder / name, header)


async def _durable_state(repository: Repository, settings: Settings) -> tuple[Restored, int | None]:
    """What the database remembers, and the market time from which a replay goes on."""
    restored = await repository.restore(settings.starting_cash, None)
    trades = await repository.trades(1)
    times = [await repository.last_market_ts() or 0, *(o.updated_ts for o in restored.orders)]
    times += [fill.ts for fill in trades]
    resume_at = max(times)
    return msgspec.structs.replace(restored, ts=resume_at), resume_at or None
