"""The machine: one event in, its effects out. Everything that decides is wired here."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from engine.core.accounts import Accounts, Rates, of_accounts
from engine.core.adjusting import Adjusting
from engine.core.bus import BrokenLaw, Bus
from engine.core.compliance import Compliance, ComplianceRules
from engine.core.events import (
    AccountStatement,
    AcknowledgeAlerts,
    AdjustCash,
    AskOrder,
    BarClosed,
    BarCorrected,
    BracketChanged,
    BrokerChanged,
    BrokerStatusChanged,
    CancelRejected,
    CashAdjusted,
    ChangeCommander,
    ChangeLimit,
    CircuitBreakerTripped,
    ClockTick,
    Command,
    CommandRefused,
    ConfigUsed,
    ConfirmLive,
    ControlFeed,
    DataRefused,
    DuplicateRefused,
    Effect,
    EngineStarted,
    EngineStopping,
    Event,
    ExecutionReport,
    FeedChanged,
    FeedStatusChanged,
    FillQuarantined,
    HaltChanged,
    HistoryLoaded,
    IntentCommitted,
    IntentFailed,
    KillFileChanged,
    KillPart,
    KillSwitchRearmed,
    KillSwitchTriggered,
    LateFill,
    LawBroken,
    LimitBreached,
    LiveConfirmed,
    MarkOrder,
    OrderAbandoned,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderInDoubt,
    OrderIntended,
    OrderNotFound,
    OrderPartiallyFilled,
    OrderPendingCancel,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderSubmitted,
    PartKilled,
    PartRearmed,
    PositionChanged,
    PositionClosed,
    QuoteUpdate,
    RaiseAlert,
    RatePublished,
    RearmKillSwitch,
    RearmPart,
    Reconciled,
    Record,
    ReloadStrategy,
    ReplaceRejected,
    RequestCancel,
    RequestMode,
    RequestReplace,
    ResetCircuitBreaker,
    Restored,
    ResumeSymbol,
    SignalGenerated,
    StatementDue,
    StatementFailed,
    SteerFeed,
    StoreChanged,
    StoreStatusChanged,
    StrategyFailed,
    StrategyFileChanged,
    StrategyToggled,
    SubmitFailed,
    SymbolPaused,
    SymbolResumed,
    TargetReached,
    ToggleStrategy,
    TradeBusted,
    TradeReversed,
    TripKillSwitch,
)
from engine.core.execution.context import Context
from engine.core.execution.desk import Desk
from engine.core.execution.rules import ExecutionRules
from engine.core.market import Market
from engine.core.model import NANOS, Instrument, Mode, Order, OrderPurpose, StopAction
from engine.core.orders import OrderBook
from engine.core.parts import KilledParts
from engine.core.pauses import Pauses
from engine.core.portfolio import Portfolio
from engine.core.reconcile import Reconciler
from engine.core.records import TradeRecords
from engine.core.risk import Risk, RiskLimits
from engine.core.safety import Safety, SafetyRules
from engine.core.sessions import Calendars, SessionTable
from engine.core.sizing import SizingRules
from engine.core.strategy import Strategy, StrategyRunner, make_parameters
from engine.core.text import clean

MARK_WORD = "MARK"


class StrategySetup(Struct, frozen=True):
    """A strategy to run: its name, its parameters where they are not the defaults, its symbols."""

    name: str
    symbols: tuple[str, ...]
    parameters: dict[str, Any] = {}


class MachineConfig(Struct, frozen=True):
    """All that a machine starts from; with the journal of its inputs it can be run again.

    `currency` is the base currency, in which equity is told and limits are set; each account, one a
    venue, has the currency of its instruments, and begins with `starting_cash` of it until the
    durable state is there. `stablecoins` are coins, each with the currency of which it counts as a
    unit. Durations are in nanoseconds. `day_zone` is the IANA time zone of the trading day;
    `history` is how many bars of each symbol are kept; `reconcile_every` 0 compares no books with
    the brokers'; `calendars` are the sessions of the exchanges that the instruments name.
    """

    instruments: tuple[Instrument, ...]
    strategies: tuple[StrategySetup, ...] = ()
    mode: Mode = Mode.PAPER
    currency: str = "USD"
    stablecoins: dict[str, str] = {}
    starting_cash: Decimal = Decimal(100_000)
    limits: RiskLimits = RiskLimits()
    execution: ExecutionRules = ExecutionRules()
    safety: SafetyRules = SafetyRules()
    day_zone: str = "America/New_York"
    stale_after: int = 120 * NANOS
    submit_timeout: int = 5 * NANOS
    visibility_lag: int = 30 * NANOS
    reconcile_every: int = 0
    history: int = 500
    calendars: tuple[SessionTable, ...] = ()
    compliance: ComplianceRules = ComplianceRules()
    sizing: SizingRules = SizingRules()


class Machine:
    """The engine's state and its only way to change: `process`.

    It never awaits, reads a clock, draws a random number or touches a file or a socket: the same
    config and the same inputs in the same order give the same effects and the same `state_hash`.

    Raises ValueError where the instruments of a venue have two currencies.
    """

    def __init__(self, config: MachineConfig, kinds: Mapping[str, type[Strategy]]) -> None:
        self.config = config
        self.kinds = dict(kinds)
        self._effects: list[Effect] = []
        self.error: Exception | None = None
        self.bus = bus = Bus()
        self.calendars = Calendars(config.calendars)
        self.market = Market(bus, config.instruments, config.history, config.stale_after)
        self.rates = Rates()
        self.accounts = Accounts(
            config.instruments, config.currency, config.stablecoins, self.rates, self._alert
        )
        cash = dict.fromkeys(self.accounts.currencies, config.starting_cash)
        self.portfolio = Portfolio(bus, self.market, self.accounts, cash)
        self.orders = OrderBook(
            bus,
            self._effects.append,
            self.portfolio.is_applied,
            self.portfolio.venue,
            instruments=config.instruments,
            submit_timeout=config.submit_timeout,
            visibility_lag=config.visibility_lag,
        )
        self.market.decided_on = self.orders.decided_on
        self.safety = Safety(bus, self.orders, config.safety, config.mode)
        self.parts = KilledParts(
            bus,
            self.orders,
            self.portfolio,
            config.instruments,
            [setup.name for setup in config.strategies],
            config.safety.kill_action,
        )
        self.risk = Risk(
            bus,
            config.limits,
            self.market,
            self.portfolio,
            self.orders,
            day_zone=config.day_zone,
            calendars=self.calendars,
            trip_breaker=self.safety.trip_breaker,
        )
        self.compliance = Compliance(
            bus,
            config.compliance,
            self.market,
            self.portfolio,
            self.orders,
            self.calendars,
            self.rates,
        )
        self.risk.rules = self.compliance.usages
        self.runner = StrategyRunner(bus, self.market, self.portfolio, self.calendars)
        self.pauses = Pauses(bus, self.market.symbols)
        self.records = TradeRecords()
        self.reconciler = Reconciler(
            bus,
            self._effects.append,
            config.instruments,
            self.portfolio,
            self.orders,
            self.pauses.pause,
            self.safety.alerts.alert,
            config.reconcile_every,
        )
        self._stopping = ""
        self.safety.venue_objection = self._objection
        self.desk = Desk(
            Context(
                bus,
                self.market,
                self.portfolio,
                self.orders,
                self.risk,
                self.safety,
                self.runner,
                self.parts,
                self.pauses,
                self.calendars,
                config.execution,
                config.sizing,
                self.records,
            )
        )
        self._send_nothing_in_a_dry_run()
        for setup in config.strategies:
            kind = kinds[setup.name]
            parameters = make_parameters(kind, setup.parameters)
            self.runner.add(setup.name, kind, parameters, setup.symbols)
        self._wire()

    def process(self, event: Event) -> Sequence[Effect]:
        """Handle one input and return what is to be done outside, in order.

        A broken law, or an error of our own, trips the kill switch: half-blind is not traded.
        """
        try:
            self.bus.deliver(event)
        except Exception as error:
            self._stop_on(error)
        effects = self._effects
        if not effects:
            return ()
        done = effects.copy()
        effects.clear()
        return done

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, as plain values."""
        return {
            "seq": self.bus.seq,
            "now": self.bus.now,
            "cash": of_accounts(self.portfolio.cash),
            **self.accounts.state(),
            "positions": list(self.portfolio.positions.values()),
            "equity": self.portfolio.equity_estimate,
            "orders": list(self.orders.orders.values()),
            "unwanted": self.orders.unwanted,
            "refused": self.orders.refused,
            "told": self.orders.told,
            "capabilities": self.orders.capabilities,
            "desk": self.desk.state(),
            "pauses": [*self.pauses.paused.values(), *self.pauses.halted.values()],
            "kill": self.safety.kill,
            "killed_parts": list(self.parts.killed.values()),
            "kill_file": self.safety.kill_file,
            "accounts": self.reconciler.accounts,
            "stopping": self._stopping,
            "breaker": self.safety.breaker.state,
            "live": self.safety.live.confirmed,
            "alerts": self.safety.alerts.waiting,
            "dead_man": [self.safety.dead_man.seen, self.safety.dead_man.warned],
            "clock_offset": self.safety.clock_offset.offset,
            "store_available": self.safety.store_available,
            "brokers": list(self.safety.brokers.values()),
            "marks": self.market.marks(),
            **self.risk.state(),
            "compliance": self.compliance.state(),
            "records": self.records.records,
            "strategy_files": self.runner.files,
            "strategies": self._strategies(),
        }

    def state_hash(self) -> str:
        """SHA-256 of the state; floats enter with all their bits, NaN as null."""
        return _hash(self.state())

    def books(self) -> dict[str, Any]:
        """What a restart brings back, as plain values: money, positions, what is open and what
        protects it, the limits and what counts against them, and where the strategies stand.

        A recording that is played with restarts ends with the same books as without. Left out of
        `state` is what names a session or is its own: sequence numbers and the ids of the stops
        that hold them, when a broker was last asked, what was rejected here and is tried again, the
        orders that are over, and `equity_estimate`, whose last bits are of the additions that
        led there.
        """
        return {
            "cash": of_accounts(self.portfolio.cash),
            "positions": _sorted(self.portfolio.positions.values()),
            "orders": sorted(map(_terms, self.orders.open.values())),
            "brackets": _sorted(self.desk.protection.brackets.values()),
            "kill": self.safety.kill,
            "killed_parts": _sorted(self.parts.killed.values()),
            "marks": self.market.marks(),
            "limits": self.risk.limits,
            "day": [self.risk.day_equity, self.risk.peak_equity],
            "losses": {name: losses for name, losses in self.risk.losses.items() if losses},
            "records": _sorted(self.records.records),
            "violations": self.compliance.violations,
            "strategy_files": self.runner.files,
            "strategies": self._strategies(),
        }

    def books_hash(self) -> str:
        """SHA-256 of the books, as `state_hash` of the state."""
        return _hash(self.books())

    def _strategies(self) -> list[Any]:
        return [
            [run.name, run.enabled, run.failed, [s.last_side for s in run.slots.values()]]
            for run in self.runner.runs.values()
        ]

    def _send_nothing_in_a_dry_run(self) -> None:
        may_leave = self.orders.gate
        self.orders.gate = lambda order: may_leave(order) or self.safety.dry_run

    # --- wiring ---------------------------------------------------------------------------------

    def _wire(self) -> None:
        """Who hears what, in which order: the ledger before risk, risk before decisions."""
        self.bus.record_with(lambda fact: self._effects.append(Record(fact)))
        self._wire_market()
        self._wire_session()
        self._wire_answers()
        self._wire_orders()
        self._wire_books()
        self._wire_rates()
        self._wire_risk()
        self._wire_kills()
        self._wire_safety()
        self._wire_brokers()
        self._wire_operator()
        self._wire_pauses()

    def _wire_market(self) -> None:
        bus, portfolio, runner = self.bus, self.portfolio, self.runner
        watch = self.risk.watch
        for part in (self.market, portfolio, watch, runner):
            bus.subscribe(QuoteUpdate, part.on_quote)
            bus.subscribe(BarClosed, part.on_bar)
        bus.subscribe(HistoryLoaded, runner.on_history)
        bus.subscribe(HistoryLoaded, portfolio.on_history)
        bus.subscribe(BarCorrected, portfolio.on_bar_corrected)
        bus.subscribe(BarCorrected, watch.on_books)
        for part in (self.orders, self.market, watch, runner, self.pauses, self.desk):
            bus.subscribe(ClockTick, part.on_tick)

    def _wire_session(self) -> None:
        """The start, with what the database remembers, and the end."""
        bus, runner, desk, safety = self.bus, self.runner, self.desk, self.safety
        books = (
            self.portfolio,
            self.compliance,
            self.records,
            runner,
            self.risk,
            self.orders,
            self.pauses,
        )
        for part in (*books, desk, safety, self.parts, safety.breaker, safety.alerts):
            bus.subscribe(Restored, part.on_restored)
        bus.subscribe(EngineStarted, self._on_started)
        for part in (runner, safety.breaker, desk):
            bus.subscribe(EngineStarted, part.on_started)
        bus.subscribe(EngineStopping, runner.on_stopping)
        bus.subscribe(EngineStopping, self._on_stopping)
        bus.subscribe(EngineStopping, desk.on_stopping)
        bus.subscribe(EngineStopping, self.reconciler.on_stopping)

    def _wire_answers(self) -> None:
        """What the database and the venues say of an order."""
        bus, orders, breaker = self.bus, self.orders, self.safety.breaker
        bus.subscribe(IntentCommitted, orders.on_committed)
        bus.subscribe(IntentFailed, orders.on_intent_failed)
        bus.subscribe(SubmitFailed, breaker.on_submit_failed)
        bus.subscribe(SubmitFailed, orders.on_submit_failed)
        bus.subscribe(ExecutionReport, orders.on_report)
        bus.subscribe(CancelRejected, orders.on_cancel_rejected)
        bus.subscribe(ReplaceRejected, orders.on_replace_rejected)
        bus.subscribe(OrderNotFound, orders.on_not_found)

    def _wire_orders(self) -> None:
        """From a signal to the end of its order."""
        bus, desk, portfolio = self.bus, self.desk, self.portfolio
        orders, safety = self.orders, self.safety
        bus.subscribe(SignalGenerated, desk.on_signal)
        bus.subscribe(OrderIntended, self.risk.on_intended)
        for fill_fact in (OrderPartiallyFilled, OrderFilled, LateFill):
            bus.subscribe(fill_fact, portfolio.on_fill)
            bus.subscribe(fill_fact, orders.on_booked)
            bus.subscribe(fill_fact, desk.on_fill)
        for end_fact in (OrderCanceled, OrderRejected, OrderExpired, OrderAbandoned):
            bus.subscribe(end_fact, desk.on_order_done)
        bus.subscribe(OrderPendingCancel, desk.on_pending_cancel)
        bus.subscribe(OrderAdopted, safety.on_adopted)
        bus.subscribe(OrderAdopted, self.parts.on_adopted)
        for settled_fact in (OrderAccepted, OrderReplaced, OrderReplaceRejected):
            bus.subscribe(settled_fact, desk.on_order_settled)
        bus.subscribe(DuplicateRefused, desk.on_duplicate)

    def _wire_books(self) -> None:
        """What changes positions and cash, and who counts with it."""
        bus, compliance, portfolio = self.bus, self.compliance, self.portfolio
        watch, desk = self.risk.watch, self.desk
        bus.subscribe(OrderIntended, compliance.on_intended)
        bus.subscribe(PositionChanged, compliance.on_position)
        bus.subscribe(TradeBusted, portfolio.on_busted)
        bus.subscribe(TradeReversed, compliance.on_reversed)
        bus.subscribe(TradeReversed, desk.on_reversed)
        adjusting = Adjusting(bus, portfolio, watch, self.reconciler)
        bus.subscribe(AdjustCash, adjusting.on_adjust)
        for part in (portfolio, compliance, watch):
            bus.subscribe(CashAdjusted, part.on_adjusted)
        bus.subscribe(AccountStatement, compliance.on_statement)
        for change in (PositionChanged, TradeReversed):
            bus.subscribe(change, watch.on_books)

    def _wire_risk(self) -> None:
        bus, risk, desk = self.bus, self.risk, self.desk
        for message in (OrderSubmitted, OrderPendingCancel, OrderPendingReplace):
            bus.subscribe(message, risk.account.on_message)
        bus.subscribe(AccountStatement, risk.account.on_statement)
        bus.subscribe(ChangeLimit, risk.on_change_limit)
        bus.subscribe(BracketChanged, desk.on_bracket)
        bus.subscribe(TargetReached, desk.on_target)
        bus.subscribe(PositionChanged, self.runner.on_position)
        bus.subscribe(PositionClosed, risk.on_closed)
        bus.subscribe(PositionClosed, self.records.on_closed)

    def _wire_kills(self) -> None:
        bus, safety, parts, desk = self.bus, self.safety, self.parts, self.desk
        bus.subscribe(TripKillSwitch, safety.on_trip)
        bus.subscribe(KillFileChanged, safety.on_kill_file)
        bus.subscribe(LimitBreached, safety.on_breach)
        bus.subscribe(LawBroken, safety.on_broken_law)
        bus.subscribe(RearmKillSwitch, safety.on_rearm)
        bus.subscribe(KillSwitchTriggered, desk.on_killed)
        bus.subscribe(KillSwitchRearmed, parts.on_rearmed)
        bus.subscribe(KillSwitchRearmed, desk.on_resumed)
        bus.subscribe(KillPart, parts.on_kill)
        bus.subscribe(RearmPart, parts.on_rearm)
        bus.subscribe(PartKilled, desk.on_part_killed)
        bus.subscribe(PartRearmed, parts.on_rearmed)
        bus.subscribe(PartRearmed, desk.on_resumed)

    def _wire_safety(self) -> None:
        """Live mode, alerts, the computer's clock, the dead man's switch, the circuit breaker."""
        bus, safety, desk = self.bus, self.safety, self.desk
        breaker = safety.breaker
        bus.subscribe(RequestMode, safety.live.on_mode)
        bus.subscribe(ConfirmLive, safety.live.on_confirm)
        bus.subscribe(LiveConfirmed, desk.on_resumed)
        bus.subscribe(RaiseAlert, safety.alerts.on_raise)
        bus.subscribe(AcknowledgeAlerts, safety.alerts.on_acknowledge)
        bus.subscribe(ChangeCommander, safety.on_commander)
        bus.subscribe(ClockTick, safety.clock_offset.on_tick)
        if safety.dead_man.limit:
            bus.subscribe(ClockTick, safety.dead_man.on_tick)
            for kind in Command.__subclasses__():
                bus.subscribe(kind, safety.dead_man.on_command)
        bus.subscribe(StoreChanged, safety.on_store)
        bus.subscribe(StoreStatusChanged, desk.on_store_status)
        bus.subscribe(OrderInDoubt, breaker.on_doubt)
        bus.subscribe(OrderRejected, breaker.on_rejected)
        for success in (OrderAccepted, OrderPartiallyFilled, OrderFilled):
            bus.subscribe(success, breaker.on_success)
        bus.subscribe(CircuitBreakerTripped, safety.on_breaker)
        bus.subscribe(ResetCircuitBreaker, breaker.on_reset)

    def _wire_brokers(self) -> None:
        bus, reconciler, desk = self.bus, self.reconciler, self.desk
        bus.subscribe(BrokerChanged, self.orders.on_broker)
        bus.subscribe(BrokerChanged, self.safety.on_broker)
        bus.subscribe(BrokerStatusChanged, reconciler.on_broker_status)
        bus.subscribe(BrokerStatusChanged, desk.on_broker_status)
        bus.subscribe(Restored, reconciler.on_restored)
        bus.subscribe(ClockTick, reconciler.on_tick)
        bus.subscribe(AccountStatement, reconciler.on_statement)
        bus.subscribe(StatementFailed, reconciler.on_failed)
        bus.subscribe(StatementDue, reconciler.on_due)
        bus.subscribe(OrderRejected, reconciler.on_rejected)
        bus.subscribe(OrderInDoubt, reconciler.on_doubt)
        bus.subscribe(PositionChanged, reconciler.on_position)
        bus.subscribe(Reconciled, self.portfolio.on_reconciled)
        bus.subscribe(Reconciled, desk.on_resumed)
        bus.subscribe(FeedChanged, self._on_feed)

    def _wire_operator(self) -> None:
        bus, runner, desk = self.bus, self.runner, self.desk
        bus.subscribe(StrategyFileChanged, self._on_strategy_file)
        bus.subscribe(ToggleStrategy, runner.on_toggle)
        bus.subscribe(ReloadStrategy, runner.on_reload)
        bus.subscribe(StrategyToggled, self.risk.strategy.on_toggled)
        bus.subscribe(StrategyToggled, desk.on_toggled)
        bus.subscribe(StrategyFailed, desk.on_failed)
        bus.subscribe(RequestCancel, self._on_cancel)
        bus.subscribe(RequestReplace, self._on_replace)
        bus.subscribe(AskOrder, self._on_ask)
        bus.subscribe(MarkOrder, self._on_mark)
        bus.subscribe(ControlFeed, self._on_control)

    def _wire_rates(self) -> None:
        """Where no account is in another currency than the base, rates are for compliance alone."""
        bus, portfolio = self.bus, self.portfolio
        bus.subscribe(RatePublished, self._on_rate)
        bus.subscribe(RatePublished, self.compliance.on_rate)
        if self.accounts.foreign:
            for kind in (RatePublished, EngineStarted, ClockTick):
                bus.subscribe(kind, portfolio.look_at_rates)
                bus.subscribe(kind, self.risk.watch.on_books)
            bus.subscribe(ClockTick, lambda event: self.accounts.tell_old(event.ts))

    def _wire_pauses(self) -> None:
        bus, pauses = self.bus, self.pauses
        bus.subscribe(HaltChanged, pauses.on_halt)
        bus.subscribe(OrderRejected, pauses.on_rejected)
        bus.subscribe(FillQuarantined, pauses.on_quarantined)
        bus.subscribe(ResumeSymbol, pauses.on_resume)
        bus.subscribe(SymbolPaused, self.runner.on_symbol_paused)
        bus.subscribe(SymbolPaused, self.desk.on_paused)
        bus.subscribe(SymbolResumed, self.runner.on_symbol_resumed)
        bus.subscribe(SymbolResumed, self.desk.on_symbol_resumed)

    def _alert(self, name: str, texts: Sequence[str]) -> None:
        self.safety.alerts.alert(name, texts)

    def _on_rate(self, event: RatePublished) -> bool:
        """A rate that is none is refused, and nobody else hears of it."""
        if not (event.rate.is_finite() and event.rate > 0):
            currency = clean(event.currency)
            self.bus.publish(DataRefused(currency, "its rate is no positive number"))
            return False
        self.rates.add(event)
        return True

    def _on_started(self, event: EngineStarted) -> None:
        if event.config:
            self.bus.publish(ConfigUsed(clean(event.config)))

    def _on_strategy_file(self, event: StrategyFileChanged) -> None:
        self.runner.load(event.strategy, self.kinds[event.strategy], event.fingerprint)
        self.parts.know(event.strategy)

    def _on_feed(self, event: FeedChanged) -> None:
        self.bus.publish(FeedStatusChanged(event.feed, event.status, clean(event.reason)))

    def _objection(self, venue: str) -> str:
        return self._stopping or self.reconciler.objection(venue)

    def _on_stopping(self, event: EngineStopping) -> None:
        if event.action is StopAction.KEEP:
            return
        if event.action is StopAction.CANCEL_ALL:
            self._stopping = "the engine stops"  # no stop takes the place of one that is cancelled
        for order in list(self.orders.open.values()):
            is_entry = order.purpose is OrderPurpose.ENTRY
            is_ours = order.purpose is not OrderPurpose.EXTERNAL
            if is_entry or (is_ours and event.action is StopAction.CANCEL_ALL):
                self.orders.cancel(order.client_order_id, "the engine stops")

    def _on_cancel(self, event: RequestCancel) -> None:
        if event.client_order_id in self.orders.open:
            self.orders.cancel(event.client_order_id, f"asked for by {clean(event.author)}")
        else:
            self.bus.publish(CommandRefused.of(event, "no such order is open"))

    def _on_replace(self, event: RequestReplace) -> None:
        key, author = event.client_order_id, clean(event.author)
        if reason := self.orders.replace_objection(key, event.terms):
            self.bus.publish(CommandRefused.of(event, reason))
        else:
            self.orders.replace(key, event.terms, f"asked for by {author}")

    def _on_ask(self, event: AskOrder) -> None:
        if not self.orders.ask(event.client_order_id):
            self.bus.publish(CommandRefused.of(event, "no such order has left and is open"))

    def _on_mark(self, event: MarkOrder) -> None:
        if event.word != MARK_WORD:
            self.bus.publish(CommandRefused.of(event, f"type {MARK_WORD} to mark an order"))
        elif not self.orders.mark(event.client_order_id, event.state, clean(event.author)):
            reason = f"no such order is in doubt, or it cannot be marked {event.state}"
            self.bus.publish(CommandRefused.of(event, reason))

    def _on_control(self, event: ControlFeed) -> None:
        self._effects.append(SteerFeed(event.action, event.speed, clean(event.author)))

    def _stop_on(self, error: Exception) -> None:
        if isinstance(error, BrokenLaw):
            law, reason = error.law, error.reason
        else:
            self.error = error
            law, reason = "internal error", clean(f"{type(error).__name__}: {error}")
        self.bus.publish(LawBroken(law, reason))
        try:
            self.bus.drain()
        except Exception as another:
            self._stop_on(another)


def _hash(values: dict[str, Any]) -> str:
    return sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


def _sorted(values: Iterable[Struct]) -> list[Struct]:
    """In an order that does not depend on which came first."""
    return sorted(values, key=msgspec.json.encode)


def _terms(order: Order) -> list[str]:
    """What an open order asks for, and what came of it so far."""
    return [
        str(value)
        for value in (
            order.strategy,
            order.symbol,
            order.purpose,
            order.side,
            order.type,
            *msgspec.structs.astuple(order.terms),
            order.time_in_force,
            order.state,
            order.filled,
            order.avg_price,
            order.stop_loss,
            order.take_profit,
            order.trail,
        )
    ]
