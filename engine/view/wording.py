"""Facts in words, for the log and the console."""

from decimal import Decimal

from engine.core import events as e
from engine.core.model import (
    NANOS,
    Fill,
    FintracReport,
    FintracStatus,
    KillAction,
    Liquidity,
    Order,
    OrderPurpose,
    utc,
)
from engine.core.text import clean

INFO, WARNING, ERROR = "info", "warning", "error"
DIFFERENCES_TOLD = 3
_KILL_ACTIONS = {
    KillAction.STOP: ", open orders stay",
    KillAction.CANCEL: "",
    KillAction.KEEP_STOPS: ", protective stops stay",
    KillAction.FLATTEN: ", all positions are closed",
}
Worded = tuple[str, str]
"""Level and text."""


def worded(fact: e.Event) -> Worded | None:
    """What a person is told of `fact`; None where it is not worth a line of its own."""
    match fact:
        case e.OrderEvent():
            return _order(fact)
        case e.SignalGenerated(signal=s):
            values = " ".join(f"{name}={value:.6g}" for name, value in s.indicators.items())
            return INFO, f"{s.strategy}: {s.side} signal on {s.symbol} at {s.price:g} {values}"
        case e.OrderSized():
            basis = " ".join(f"{name}={value:.6g}" for name, value in fact.basis.items())
            most = f"at most {fact.most.normalize():f}"
            size = f"{fact.strategy}: {fact.quantity} {fact.symbol} by {fact.method}, {most}"
            return INFO, f"{size} {basis}"
        case e.SignalBlocked(signal=s):
            return INFO, f"{s.strategy}: {s.side} {s.symbol} made no order: {fact.reason}"
        case e.PositionClosed(round_trip=t):
            return INFO, f"{t.strategy}: closed {t.symbol}, P&L {_signed(t.pnl)} after commission"
        case e.StrategyToggled():
            state = "on" if fact.enabled else "off"
            return INFO, f"{fact.strategy} switched {state} by {fact.author}"
        case e.StrategyLoaded(changed=True):
            what = f"the file of {fact.strategy} changed, SHA-256 {fact.fingerprint[:12]}"
            return WARNING, f"{what}: it is off until it is switched on"
        case e.StrategyLoaded():
            by = f" by {fact.author}" if fact.author else ""
            return INFO, f"{fact.strategy} loaded{by}, SHA-256 {fact.fingerprint[:12]}"
        case e.StrategyPaused():
            return WARNING, f"{fact.strategy} paused: {fact.reason}"
        case e.StrategyResumed():
            return INFO, f"{fact.strategy} makes entries again: a new trading day"
        case e.StrategyFailed():
            return ERROR, f"{fact.strategy} failed and is off: {fact.reason}"
        case e.TradingDayStarted():
            return INFO, f"trading day {fact.day} starts with equity {fact.equity:,.2f}"
        case e.TradeReversed(fill=fill, correction=c):
            what = f"{fill.side} {fill.quantity} {fill.symbol} at {fill.price}"
            if c is not None and (c.quantity, c.price) == (fill.quantity, fill.price):
                fee = f"{c.total_commission.normalize():f}"
                return INFO, f"the commission of {what} is {fee}: {fact.reason}"
            instead = f", instead {c.quantity} at {c.price}" if c is not None else ""
            return ERROR, f"the venue took back {what}{instead}: {fact.reason}"
        case _:
            return (
                _market(fact)
                or _position(fact)
                or _safety(fact)
                or _limits(fact)
                or _accounts(fact)
                or _compliance(fact)
            )


def _order(fact: e.OrderEvent) -> Worded | None:
    order = fact.order
    name = f"{order.side} {order.quantity} {order.symbol} ({order.client_order_id})"
    match fact:
        case e.OrderIntended() | e.OrderSubmitted():
            return None
        case e.OrderAccepted():
            return INFO, f"{_kind(order)} accepted: {name}"
        case e.OrderPartiallyFilled(fill=fill) | e.OrderFilled(fill=fill):
            return INFO, _fill(order, fill)
        case e.LateFill(fill=fill):
            return WARNING, f"late, after {order.state}: {_fill(order, fill)}"
        case e.OrderRejected():
            return WARNING, f"{_kind(order)} rejected: {name}: {order.reason}"
        case e.OrderInDoubt():
            return ERROR, f"{_kind(order)} in doubt: {name}: {order.reason}"
        case e.OrderOverdue():
            state = order.state.replace("_", " ")
            return ERROR, f"{_kind(order)} still {state} after 2 min: {name}: {order.reason}"
        case e.OrderReplaced():
            return INFO, f"{_kind(order)} replaced: {name}{_at(order)}"
        case e.OrderReplaceRejected():
            return WARNING, f"{_kind(order)} not replaced: {name}: {fact.reason}"
        case e.OrderCancelRejected():
            return WARNING, f"{_kind(order)} not cancelled: {name}: {fact.reason}"
        case e.OrderMarked():
            return WARNING, f"{_kind(order)} marked {order.state} by {fact.author}: {name}"
        case e.OrderAdopted():
            return WARNING, f"found at the venue, not ours: {order.type} {name}{_at(order)}"
        case e.OrderAbandoned():
            return ERROR, f"{_kind(order)} abandoned: {name}: {order.reason}"
        case _:
            because = f": {order.reason}" if order.reason else ""
            return INFO, f"{_kind(order)} {order.state.replace('_', ' ')}: {name}{because}"


def left_open(order: Order, venue: str) -> str:
    """What to say of an order that a stop leaves open."""
    name = f"{_kind(order)} to {order.side} {order.leaves} {order.symbol}{_at(order)}"
    state = order.state.replace("_", " ")
    return f"still open at {clean(venue)}: {name} ({state}, {order.client_order_id})"


def _kind(order: Order) -> str:
    if order.purpose is OrderPurpose.PROTECTIVE_STOP:
        return "protective stop"
    return f"{order.type} {order.purpose}"


def _at(order: Order) -> str:
    prices = (("limit", order.limit_price), ("stop", order.stop_price))
    return "".join(f" {name} {price}" for name, price in prices if price is not None)


def _fill(order: Order, fill: Fill) -> str:
    rest = f", {order.leaves} left" if order.leaves else ""
    taken = fill.commission_quantity
    fee = f", {taken.normalize():f} {fill.symbol} taken as commission" if taken else ""
    at = f"at {fill.price}{as_told(fill.liquidity)}"
    return f"filled: {fill.side} {fill.quantity} {fill.symbol} {at}{fee}{rest}"


def as_told(liquidity: Liquidity) -> str:
    """As what an execution was made, where its venue tells."""
    return "" if liquidity is Liquidity.UNKNOWN else f" as {liquidity}"


def _position(fact: e.Event) -> Worded | None:
    match fact:
        case e.TargetReached():
            what = f"{fact.symbol} is at {fact.price}, its target was {fact.target}"
            return INFO, f"{fact.strategy}: {what}: the position is closed"
        case e.PositionUnprotected():
            what = f"{fact.quantity} {fact.symbol} without a stop"
            return ERROR, f"{fact.strategy}: {what}: {fact.reason}: {fact.action}"
        case e.PositionNotFlat():
            return ERROR, f"{fact.strategy}: {fact.quantity} {fact.symbol} not flat: {fact.reason}"
        case _:
            return None


def _market(fact: e.Event) -> Worded | None:
    match fact:
        case e.BarGap():
            return WARNING, f"{fact.symbol}: {fact.missing} bars are missing before this one"
        case e.BarCorrected():
            return _corrected(fact)
        case e.FeedStale():
            return WARNING, f"{fact.symbol} is stale: no data for {_duration(fact.age)}"
        case e.FeedRecovered():
            return INFO, f"{fact.symbol} has data again"
        case e.DataRefused():
            return WARNING, f"refused data of {fact.symbol}: {fact.reason}"
        case e.FeedStatusChanged():
            because = f": {fact.reason}" if fact.reason else ""
            level = WARNING if fact.status in ("disconnected", "degraded", "behind") else INFO
            return level, f"feed {fact.feed} {fact.status}{because}"
        case _:
            return None


def _corrected(fact: e.BarCorrected) -> Worded:
    was, bar = fact.was, fact.bar
    changes = ", ".join(
        f"{name} from {getattr(was, name):g} to {getattr(bar, name):g}"
        for name in ("open", "high", "low", "close", "volume")
        if getattr(bar, name) != getattr(was, name)
    )
    text = f"{bar.symbol}: the bar of {utc(bar.start):%H:%M:%S} UTC was corrected: {changes}"
    if not fact.orders:
        return INFO, text
    return WARNING, f"{text}; decided on it: {', '.join(fact.orders)}"


def _killed(fact: e.KillSwitchTriggered | e.PartKilled) -> str:
    told = fact.author.startswith(fact.source)  # a console's author is "console of …"
    by = fact.author if told else f"{fact.source} {fact.author}".strip()
    because = f": {fact.reason}" if fact.reason else ""
    return f"{by}{_KILL_ACTIONS[fact.action]}{because}"


def _safety(fact: e.Event) -> Worded | None:
    match fact:
        case e.KillSwitchTriggered():
            return ERROR, f"KILL SWITCH tripped by {_killed(fact)}"
        case e.KillSwitchRearmed():
            return WARNING, f"kill switch re-armed by {fact.author}"
        case e.PartKilled():
            return ERROR, f"KILLED {clean(str(fact.part))} by {_killed(fact)}"
        case e.PartRearmed():
            return WARNING, f"{clean(str(fact.part))} re-armed by {fact.author}"
        case e.LawBroken():
            return ERROR, f"law {fact.law} is broken: {fact.reason}"
        case e.CommandRefused():
            by = f" of {fact.author}" if fact.author else ""
            return WARNING, f"refused {fact.command}{by}: {fact.reason}"
        case e.FillQuarantined(fill=fill):
            return ERROR, f"execution {clean(fill.execution_id)} quarantined: {fact.reason}"
        case e.DuplicateRefused(order=order):
            return WARNING, f"{order.client_order_id} was made before; no second order"
        case e.StoreStatusChanged(available=True):
            return WARNING, "database is back: orders may leave again"
        case e.StoreStatusChanged():
            return ERROR, f"database out of reach, no order leaves: {fact.reason}"
        case e.BrokerStatusChanged(connected=False, reason=e.CONNECTING):
            return INFO, f"broker {fact.broker} connecting"
        case e.BrokerStatusChanged():
            state = "connected" if fact.connected else f"not connected: {fact.reason}"
            return INFO if fact.connected else ERROR, f"broker {fact.broker} {state}"
        case _:
            return None


def _limits(fact: e.Event) -> Worded | None:
    match fact:
        case e.CircuitBreakerCounted(failures=0):
            return None
        case e.CircuitBreakerCounted():
            return WARNING, f"failure {fact.failures} of {fact.limit} in a row: {fact.reason}"
        case e.CircuitBreakerTripped():
            return ERROR, f"CIRCUIT BREAKER tripped, no entry leaves: {fact.reason}"
        case e.CashAdjusted(adjustment=a):
            what = f"cash at {a.venue} adjusted by {a.amount:+,f} to {fact.cash:,f}"
            return WARNING, f"{what} by {fact.author}: no gain and no loss"
        case e.CircuitBreakerReset():
            return WARNING, f"circuit breaker reset by {fact.author}"
        case e.LiveConfirmed():
            at = ", ".join(fact.brokers)
            return WARNING, f"LIVE trading at {at} confirmed by {fact.author}"
        case e.ConfigUsed():
            return INFO, f"config version {fact.config}"
        case e.AlertRaised():
            return ERROR, f"alert {fact.name}: {fact.text}"
        case e.AlertsAcknowledged():
            return WARNING, f"alerts acknowledged by {fact.author}: {', '.join(fact.names)}"
        case e.CommanderChanged():
            return INFO, f"in command: {fact.author}"
        case e.ClockOff(offset=0):
            return INFO, "the computer's clock is right again"
        case e.ClockOff():
            ahead = f"{fact.offset / NANOS:+,.1f} s"
            return ERROR, f"the computer's clock is wrong: {ahead} from the market's time"
        case e.OperatorSilent():
            left = _duration(fact.limit - fact.silent)
            return WARNING, f"no sign of life: the dead-man's switch trips in {left}"
        case e.SymbolPaused():
            return WARNING, f"{fact.symbol} paused: {fact.reason}"
        case e.SymbolResumed():
            by = f" by {fact.author}" if fact.author else ""
            after = " after the halt" if fact.halted else ""
            return INFO, f"{fact.symbol} is traded again{after}{by}"
        case e.LimitChanged():
            how = "loosened" if fact.loosened else "tightened"
            return WARNING, f"{fact.name} {how} from {fact.before} to {fact.after} by {fact.author}"
        case _:
            return None


def _accounts(fact: e.Event) -> Worded | None:
    match fact:
        case e.Reconciled(differences=()):
            return INFO, f"reconciled with {fact.broker}: all agrees"
        case e.Reconciled(differences=found):
            what = "; ".join(difference.what for difference in found[:DIFFERENCES_TOLD])
            more = f"; and {rest} more" if (rest := len(found) - DIFFERENCES_TOLD) > 0 else ""
            return WARNING, f"reconciled with {fact.broker}: {what}{more}"
        case e.ReconcileFailed():
            return ERROR, f"not reconciled with {fact.broker}: {fact.reason}"
        case _:
            return None


def _compliance(fact: e.Event) -> Worded | None:
    match fact:
        case e.SettlementWarned():
            return WARNING, f"{fact.client_order_id} sells {fact.symbol}: {fact.reason}"
        case e.SettlementViolated(violation=v):
            kind = v.kind.replace("_", " ")
            return ERROR, f"{kind} violation in {v.symbol}: {fact.count} in 12 months"
        case e.FintracFlagged(report=r):
            return INFO, f"internal flag for FINTRAC, {r.report_id}: {_reported(r)}"
        case e.FintracUpdated(report=r) if r.status is not FintracStatus.INCOMPLETE:
            return INFO, f"internal flag for FINTRAC, {r.report_id}, is now {_reported(r)}"
        case _:
            return None


def _reported(report: FintracReport) -> str:
    if report.status is FintracStatus.CORRECTED:
        return "replaced by a correction"
    if report.amount_cad is None:
        return "worth unknown, no rate in Canadian dollars"
    below = ", below the threshold" if report.status is FintracStatus.BELOW else ""
    again = f", corrects {report.corrects}" if report.corrects else ""
    return f"CA${report.amount_cad:,.2f}{below}{again}"


def _duration(ns: int) -> str:
    """In the largest unit of which there are two."""
    for name, unit in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if ns >= 2 * unit * NANOS:
            return f"{ns // (unit * NANOS)} {name}"
    return f"{ns // NANOS} s"


def _signed(amount: Decimal) -> str:
    return f"{amount:+,.2f}"
