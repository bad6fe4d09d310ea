"""A backtest: the machine that trades, fed with recorded bars, on the simulated exchange.

No asyncio, no database: an intent counts as durable at once, everything else is as in trading.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec
import numpy as np

from engine.build import currencies_of, exchange_rules, machine_config, risk_limits
from engine.calendars import session_tables
from engine.core.events import (
    BarClosed,
    BarGap,
    BrokerChanged,
    CancelOrder,
    CommitIntent,
    Effect,
    EngineStarted,
    Event,
    IntentCommitted,
    KillSwitchTriggered,
    PositionChanged,
    PositionClosed,
    QueryOrder,
    ReplaceOrder,
    SignalBlocked,
    StrategyFailed,
    StrategyPaused,
    SubmitOrder,
    ToggleStrategy,
)
from engine.core.execution.rules import SLIPPAGE_ALLOWANCE
from engine.core.machine import Machine, MachineConfig, StrategySetup
from engine.core.matching import CAPABILITIES, SimulatedExchange
from engine.core.model import ZERO, Bar, Fill, Mode, RoundTrip, utc
from engine.core.risk import RiskLimits, shown
from engine.feeds.recordings import Recordings
from engine.feeds.replay import merged
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.research.result import BacktestRequest, BacktestResult
from engine.view.wording import worded

CHUNK = 1_000


class Backtest:
    """A machine and an exchange that answer each other until both are done."""

    def __init__(self, request: BacktestRequest, config: MachineConfig) -> None:
        self.machine = Machine(config, {request.strategy: request.kind})
        self.machine.bus.record_with(self._note)  # nothing is recorded: no effects for it
        rules = exchange_rules(request.settings)
        self.exchange = SimulatedExchange(config.instruments, rules, self.machine.calendars)
        self.fills: list[Fill] = []
        self.round_trips: list[RoundTrip] = []
        self.stops: list[str] = []
        self.blocked: Counter[str] = Counter()
        self.gaps = 0

    def send(self, event: Event) -> None:
        """Handle an input, and all that follows from it."""
        effects = self.machine.process(event)
        if effects:
            self._settle(effects)

    def close(self, event: BarClosed) -> None:
        """A bar closed: the exchange fills what it fills, then the machine decides."""
        for report in self.exchange.on_bar(event.bar):
            self.send(report)
        effects = self.machine.process(event)
        if effects:
            self._settle(effects)

    def _settle(self, effects: Iterable[Effect]) -> None:
        process, exchange = self.machine.process, self.exchange
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            now = self.machine.bus.now
            match effect:
                case CommitIntent(order=order):
                    queue += process(IntentCommitted(order.client_order_id, ts=now))
                case SubmitOrder(order=order):
                    queue += process(exchange.submit(order, now))
                case CancelOrder(order=order):
                    queue += process(exchange.cancel(order.client_order_id, now))
                case ReplaceOrder(order=order, terms=terms):
                    queue += process(exchange.replace(order.client_order_id, terms, now))
                case QueryOrder(order=order):
                    if report := exchange.find(order.client_order_id):
                        queue += process(report)
                case _:
                    pass

    def _note(self, fact: Event) -> None:
        match fact:
            case PositionChanged(fill=fill):
                self.fills.append(fill)
            case PositionClosed(round_trip=trip):
                self.round_trips.append(trip)
            case SignalBlocked(check=check):
                self.blocked[check] += 1
            case BarGap(missing=missing):
                self.gaps += missing
            case KillSwitchTriggered() | StrategyPaused() | StrategyFailed():
                line = worded(fact)
                self.stops.append(f"{utc(fact.ts):%Y-%m-%d %H:%M} UTC {line[1] if line else ''}")
            case _:
                pass


def run_backtest(
    request: BacktestRequest, recordings: Recordings, on_progress: Callable[[int, int], None]
) -> BacktestResult:
    """Run `request`; `on_progress` is told how many of how many bars are done.

    Bars before the start warm the strategy up where the recordings have them.
    """
    began = time.perf_counter()
    config = _config(request, recordings)
    run = Backtest(request, config)
    _begin(run, request, recordings)
    merge = merged(recordings, request.symbols, request.start, request.end)
    events = [event for event in merge if isinstance(event, BarClosed)]
    times, equity, exposure = _play(run, events, on_progress)
    bars = [event.bar for event in events]
    return BacktestResult(
        strategy=request.strategy,
        parameters=msgspec.structs.asdict(run.machine.runner.runs[request.strategy].parameters),
        instruments=config.instruments,
        start=min(bar.start for bar in bars),
        end=bars[-1].ts,
        bars=len(bars),
        interval=bars[0].interval,
        trading_zone=config.day_zone,
        starting_equity=float(config.starting_cash),
        times=np.array(times, np.int64),
        equity=np.array(equity, np.float64),
        exposure=np.array(exposure, np.float64),
        round_trips=tuple(run.round_trips),
        fills=tuple(run.fills),
        commission=sum((fill.total_commission for fill in run.fills), ZERO),
        slippage=run.exchange.slippage_paid,
        assumptions=assumptions(request.settings),
        stops=tuple(run.stops),
        blocked=dict(run.blocked),
        refused=sum(map(recordings.refused, request.symbols)),
        gaps=run.gaps,
        state_hash=run.machine.state_hash(),
        seconds=time.perf_counter() - began,
    )


def _config(request: BacktestRequest, recordings: Recordings) -> MachineConfig:
    instruments = [recordings.instrument(symbol) for symbol in request.symbols]
    spans = [recordings.span(symbol) for symbol in request.symbols]
    tables = session_tables(instruments, min(s for s, _ in spans), max(e for _, e in spans))
    config = machine_config(request.settings, instruments, (), tables)
    setup = StrategySetup(request.strategy, request.symbols, request.parameters)
    safety = msgspec.structs.replace(config.safety, dry_run=False, dead_man=0)
    nobody = msgspec.structs.replace(config.compliance, conductor="")  # nothing is transacted
    (currency,) = set(currencies_of(instruments).values())  # recordings are of one venue
    return msgspec.structs.replace(
        config,
        currency=currency,
        mode=Mode.PAPER,
        strategies=(setup,),
        safety=safety,
        reconcile_every=0,
        compliance=nobody,
    )


def _begin(run: Backtest, request: BacktestRequest, recordings: Recordings) -> None:
    """Warm the strategy up with what came before the start, and switch it on.

    Raises UserError where it cannot be set up.
    """
    strategy = run.machine.runner.runs[request.strategy]
    if strategy.broken:
        raise UserError(
            f"Strategy {request.strategy} cannot be set up ({strategy.note})", "mend its file"
        )
    run.send(ToggleStrategy(strategy=request.strategy, enabled=True, author="backtest"))
    if request.start is not None:
        required = strategy.required
        before: list[Bar] = []
        for symbol in request.symbols:
            bars = recordings.bars(symbol, end=request.start)
            before += bars[max(0, len(bars) - required) :]
        for bar in sorted(before, key=lambda bar: bar.ts):
            run.send(BarClosed(bar, live=False, ts=bar.ts))
    for venue in dict.fromkeys(i.venue for i in run.machine.config.instruments):
        run.send(BrokerChanged(venue, True, capabilities=CAPABILITIES))
    run.send(EngineStarted())


def _play(
    run: Backtest, events: list[BarClosed], on_progress: Callable[[int, int], None]
) -> tuple[list[int], list[float], list[float]]:
    """Play all bars; the times at which any closed, and equity and exposure after each."""
    times: list[int] = []
    equity: list[float] = []
    exposure: list[float] = []
    portfolio, close = run.machine.portfolio, run.close
    for first in range(0, len(events), CHUNK):
        on_progress(first, len(events))
        for event in events[first : first + CHUNK]:
            close(event)
            if times and times[-1] == event.ts:
                del times[-1], equity[-1], exposure[-1]
            times.append(event.ts)
            equity.append(portfolio.equity_estimate)
            exposure.append(portfolio.exposure_estimate())
    on_progress(len(events), len(events))
    return times, equity, exposure


def assumptions(settings: Settings) -> dict[str, str]:
    """The rules of simulated time, of the exchange, of sizing and of risk, with their values."""
    allowance = SLIPPAGE_ALLOWANCE * Decimal(100)
    limits = risk_limits(settings)
    return {
        "decision": "at a bar's close; its order can fill from the next bar on",
        "entry": _entry(settings),
        "market order": f"next open, {settings.slippage_bps} bp worse (SLIPPAGE_BPS)",
        "stop": "at the stop price, or the open where it gaps, with slippage",
        "limit": "where a bar trades through it, or the open where that is better",
        "volume": f"at most {settings.max_volume_share_pct} % of a bar's (MAX_VOLUME_SHARE_PCT)",
        "commission": f"{settings.commission_pct} % of notional (COMMISSION_PCT)",
        "size": (
            f"{settings.sizing} (SIZING); at most "
            f"{_by_class(limits, 'max_position_size_pct')} of equity less 1 % headroom "
            f"(MAX_POSITION_SIZE_PCT), at a price {allowance.normalize():f} % above the last"
        ),
        "stop-loss": (
            f"{_by_class(limits, 'stop_loss_pct')} unless the signal has its own (STOP_LOSS_PCT)"
        ),
        "direction": "long only",
        "hours": "the sessions of each symbol's calendar; daily bars decide for the next one",
        "limits": ", ".join(
            f"{name.upper()}={shown(limits.value(name))}" for name in RiskLimits.__struct_fields__
        ),
    }


def _by_class(limits: RiskLimits, name: str) -> str:
    stocks, crypto = shown(limits.value(name)), shown(limits.value(f"crypto_{name}"))
    return f"{stocks} %" if stocks == crypto else f"{stocks} % for stocks, {crypto} % for crypto,"


def _entry(settings: Settings) -> str:
    if settings.entry_order_type == "market":
        return "market (ENTRY_ORDER_TYPE)"
    then = f"{settings.entry_on_timeout.replace('_', ' ')} after {settings.entry_timeout_s:g} s"
    return f"limit at the close {settings.entry_offset_bps:+f} bp, {then} (ENTRY_ORDER_TYPE)"
