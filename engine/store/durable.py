"""What single facts make of the durable state. The database and the simulated one share it."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from engine.core.compliance import YEAR
from engine.core.events import (
    Bracket,
    BracketChanged,
    CashAdjusted,
    ChangedLimit,
    CircuitBreakerCounted,
    CircuitBreakerReset,
    CircuitBreakerState,
    CircuitBreakerTripped,
    Event,
    FintracFlagged,
    FintracUpdated,
    KilledPart,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    LimitChanged,
    PartKilled,
    PartRearmed,
    Pause,
    PositionChanged,
    PositionClosed,
    Restored,
    SettlementViolated,
    SignalGenerated,
    StrategyFailed,
    StrategyLoaded,
    StrategyPaused,
    StrategyResumed,
    StrategyState,
    StrategyToggled,
    SymbolPaused,
    SymbolResumed,
    TradeRecord,
    TradeReversed,
    TradingDayStarted,
)
from engine.core.fintrac import updated
from engine.core.model import CashAdjustment, Fill, FintracReport, KillAction, Violation
from engine.core.records import records_after
from engine.core.risk import HIGH_WATER_MARK
from engine.store.identity import AccountIdentity

KillSwitch = KillSwitchTriggered | KillSwitchRearmed
Breaker = CircuitBreakerCounted | CircuitBreakerTripped | CircuitBreakerReset


class Market(Struct, frozen=True):
    """The market time (ns UTC) and the mark prices at it. Of a recording that goes on there,
    `events` is how many of those that it has at that time were played."""

    ts: int
    marks: dict[str, float]
    events: int | None = None


def market_at(ts: int, marks: Mapping[str, float], events: int | None = None) -> Market:
    """A mark that is no finite number is no price, and is left out."""
    known = {symbol: mark for symbol, mark in marks.items() if isfinite(mark)}
    return Market(ts, known, events)


class EquityScope(Struct, frozen=True):
    """What equity is of, and with it its peak and the day's first: the accounts at these `venues`,
    in this `currency`."""

    currency: str
    venues: tuple[str, ...]


class AccountState(Struct, frozen=True):
    """The single values of the accounts: each field is a key of `bot_state`, and is what it is here
    while it has no row. Facts make them, as `account_after` says, but for the market and what
    `Repository.open_accounts` says of the accounts: the currency of each, by its venue, the cash
    that it began with, as executions what it held then, and whose they are."""

    opening_cash: dict[str, Decimal] = {}
    opening_fills: tuple[Fill, ...] = ()
    currencies: dict[str, str] = {}
    identities: dict[str, AccountIdentity] = {}
    equity_scope: EquityScope | None = None
    cash: dict[str, Decimal] = {}
    adjustments: tuple[CashAdjustment, ...] = ()
    trading_day: TradingDayStarted | None = None
    peak_equity: float | None = None
    market: Market | None = None
    kill_switch: KillSwitchState = KillSwitchState()
    circuit_breaker: CircuitBreakerState = CircuitBreakerState()
    limits: tuple[ChangedLimit, ...] = ()
    pauses: tuple[Pause, ...] = ()
    brackets: tuple[Bracket, ...] = ()
    killed_parts: tuple[KilledPart, ...] = ()
    violations: tuple[Violation, ...] = ()
    records: tuple[TradeRecord, ...] = ()
    strategy_files: dict[str, str] = {}


def restored_account(account: AccountState, cash: dict[str, Decimal]) -> Restored:
    """What a session is given of the account; the rest of it comes from rows of their own."""
    day = account.trading_day
    return Restored(
        cash,
        kill=account.kill_switch,
        breaker=account.circuit_breaker,
        limits=account.limits,
        pauses=account.pauses,
        brackets=account.brackets,
        killed_parts=account.killed_parts,
        day=day.day if day else "",
        day_equity=day.equity if day else None,
        peak_equity=account.peak_equity,
        violations=account.violations,
        records=account.records,
        strategy_files=account.strategy_files,
    )


def account_after(state: AccountState, facts: Iterable[Event]) -> dict[str, Any]:
    """The fields of `state` that `facts` change, with their new values."""
    changed: dict[str, Any] = {}
    for fact in facts:
        for name, fold in _FOLDS.get(type(fact), ()):
            before = changed[name] if name in changed else getattr(state, name)
            after = fold(before, fact)
            if after is not before:
                changed[name] = after
    return changed


def strategy_of(fact: Event) -> str:
    """The strategy whose durable state `fact` changes; empty where it changes none."""
    match fact:
        case SignalGenerated():
            return fact.signal.strategy
        case StrategyToggled() | StrategyPaused() | StrategyResumed() | StrategyFailed():
            return fact.strategy
        case PositionClosed():
            return fact.round_trip.strategy
        case _:
            return ""


def strategy_after(state: StrategyState, fact: Event) -> StrategyState:
    """What of a strategy outlives a restart, after `fact`."""
    match fact:
        case SignalGenerated(signal=signal):
            sides = {**state.last_signals}
            sides.pop(signal.symbol, None)  # the latest comes to the end
            return replace(state, last_signals={**sides, signal.symbol: signal.side})
        case StrategyToggled(enabled=True):
            return replace(state, enabled=True, paused="", losses=0)
        case StrategyToggled():
            return replace(state, enabled=False)
        case StrategyPaused():
            return replace(state, paused=fact.reason)
        case StrategyResumed():
            return replace(state, paused="", losses=0)
        case StrategyFailed():
            return replace(state, enabled=False, paused=fact.reason)
        case PositionClosed():
            return replace(state, losses=state.losses + 1 if fact.round_trip.pnl < 0 else 0)
        case _:
            return state


def kill_after(kill: KillSwitchState, fact: KillSwitch) -> KillSwitchState:
    """The first trip is the one that counts, until the switch is re-armed; a later one may only
    have it do more."""
    if isinstance(fact, KillSwitchRearmed):
        return KillSwitchState()
    if not kill.tripped:
        kill = KillSwitchState(True, fact.source, fact.reason, fact.ts)
    flattens = fact.action is KillAction.FLATTEN
    flatten_ts = fact.ts if flattens else kill.flatten_ts
    return replace(kill, action=fact.action, flatten_ts=flatten_ts)


def killed_parts_after(
    killed: tuple[KilledPart, ...], fact: PartKilled | PartRearmed
) -> tuple[KilledPart, ...]:
    """The parts that are killed by themselves, after `fact`; as with the kill switch, the first
    kill counts."""
    others = tuple(k for k in killed if k.part != fact.part)
    if isinstance(fact, PartRearmed):
        return others
    known = [replace(k, action=fact.action) for k in killed if k.part == fact.part]
    first = KilledPart(fact.part, fact.source, fact.reason, fact.ts, fact.action)
    return (*others, *(known or [first]))


def breaker_after(state: CircuitBreakerState, fact: Breaker) -> CircuitBreakerState:
    """The circuit breaker as it outlives a restart, after `fact`."""
    match fact:
        case CircuitBreakerCounted():
            return CircuitBreakerState(fact.failures)
        case CircuitBreakerTripped():
            return CircuitBreakerState(state.failures, True, fact.reason, fact.ts)
        case CircuitBreakerReset():
            return CircuitBreakerState()


def limits_after(limits: tuple[ChangedLimit, ...], fact: LimitChanged) -> tuple[ChangedLimit, ...]:
    """The limits that the operator changed, each once, after `fact`."""
    if fact.name == HIGH_WATER_MARK:
        return limits
    others = (limit for limit in limits if limit.name != fact.name)
    return (*others, ChangedLimit(fact.name, fact.after, fact.setting))


def pauses_after(
    pauses: tuple[Pause, ...], fact: SymbolPaused | SymbolResumed
) -> tuple[Pause, ...]:
    """The pauses and halts that are in force, after `fact`."""
    others = tuple(p for p in pauses if (p.symbol, p.halted) != (fact.symbol, fact.halted))
    if isinstance(fact, SymbolResumed):
        return others
    return (*others, Pause(fact.symbol, fact.reason, fact.until, fact.halted))


def brackets_after(brackets: tuple[Bracket, ...], fact: BracketChanged) -> tuple[Bracket, ...]:
    """The brackets of the positions that are held, after `fact`."""
    new = fact.bracket
    others = tuple(b for b in brackets if (b.strategy, b.symbol) != (new.strategy, new.symbol))
    return others if new.is_empty else (*others, new)


def violations_after(
    violations: tuple[Violation, ...], fact: SettlementViolated
) -> tuple[Violation, ...]:
    """The violations of the last 12 months, after `fact`."""
    new = fact.violation
    return (*(v for v in violations if v.ts > new.ts - YEAR), new)


def reports_after(
    reports: Mapping[str, FintracReport], facts: Iterable[Event]
) -> dict[str, FintracReport]:
    """The reports that `facts` flag or update, whole, by their ids; `reports` are those before."""
    changed: dict[str, FintracReport] = {}
    for fact in facts:
        if isinstance(fact, FintracFlagged | FintracUpdated):
            told = fact.report
            known = changed.get(told.report_id) or reports.get(told.report_id)
            if known is not None and isinstance(fact, FintracUpdated):
                told = updated(known, told)
            changed[told.report_id] = told
    return changed


def _cash_after(
    cash: dict[str, Decimal], fact: PositionChanged | TradeReversed | CashAdjusted
) -> dict[str, Decimal]:
    venue = fact.adjustment.venue if isinstance(fact, CashAdjusted) else fact.fill.venue
    return {**cash, venue: fact.cash}


def _adjustments_after(
    adjustments: tuple[CashAdjustment, ...], fact: CashAdjusted
) -> tuple[CashAdjustment, ...]:
    return (*adjustments, fact.adjustment)


def _day_after(
    day: TradingDayStarted | None, fact: TradingDayStarted | CashAdjusted
) -> TradingDayStarted | None:
    if isinstance(fact, TradingDayStarted):
        return fact if isfinite(fact.equity) else day
    return day and replace(day, equity=day.equity + float(fact.worth))


def _files_after(files: dict[str, str], fact: StrategyLoaded) -> dict[str, str]:
    return {**files, fact.strategy: fact.fingerprint}


def _peak_after(peak: float | None, fact: LimitChanged | CashAdjusted) -> float | None:
    if isinstance(fact, CashAdjusted):
        return fact.peak_equity if isfinite(fact.peak_equity) else peak
    return float(fact.after) if fact.name == HIGH_WATER_MARK else peak


def _by_kind(
    *folds: tuple[str, Any, Callable[[Any, Any], Any]],
) -> dict[type[Event], list[tuple[str, Callable[[Any, Any], Any]]]]:
    table: dict[type[Event], list[tuple[str, Callable[[Any, Any], Any]]]] = {}
    for name, kinds, fold in folds:
        for kind in get_args(kinds) or (kinds,):
            table.setdefault(kind, []).append((name, fold))
    return table


_FOLDS = _by_kind(
    ("cash", PositionChanged | TradeReversed | CashAdjusted, _cash_after),
    ("adjustments", CashAdjusted, _adjustments_after),
    ("trading_day", TradingDayStarted | CashAdjusted, _day_after),
    ("peak_equity", LimitChanged | CashAdjusted, _peak_after),
    ("kill_switch", KillSwitch, kill_after),
    ("circuit_breaker", Breaker, breaker_after),
    ("limits", LimitChanged, limits_after),
    ("pauses", SymbolPaused | SymbolResumed, pauses_after),
    ("brackets", BracketChanged, brackets_after),
    ("killed_parts", PartKilled | PartRearmed, killed_parts_after),
    ("violations", SettlementViolated, violations_after),
    ("records", PositionClosed, records_after),
    ("strategy_files", StrategyLoaded, _files_after),
)
"""The fields that facts change, the kinds of these facts, and how, by the kind."""
