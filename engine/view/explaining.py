"""Tells from its facts how an order or a signal came about, and what would have let it pass.

Every number is one that a fact holds; what no fact holds is named as unknown.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from math import isfinite

from msgspec.structs import replace

from engine.core import events as e
from engine.core.model import (
    NANOS,
    Bar,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    Position,
    Quote,
    Signal,
    utc,
)
from engine.core.text import clean
from engine.view.questions import Chain, Number, Step
from engine.view.wording import as_told, worded

REMEDIES = {
    "stop": "no stop in force",
    "paused": "the symbol resumed",
    "position": "no position in the symbol, and no entry open, of this strategy",
    "flat": "a position to close",
    "stale": "a younger price",
    "stop_loss": "another stop-loss",
    "take_profit": "a target above what a buyer pays",
    "order_type": "an order that the venue takes",
    "size": "a size that can be bought",
    "veto": "the strategy's own consent (confirm_trade_entry)",
    "duplicate": "nothing: one signal makes one order",
}
"""What would have let a signal pass that no limit blocked, by what blocked it; the reason with its
numbers stands above."""

GUARDING = (OrderPurpose.PROTECTIVE_STOP, OrderPurpose.TAKE_PROFIT)
"""Orders that protect a position at the price that its entry came with."""


def order_chain(
    order: Order, facts: Sequence[e.Event], dropped: int = 0, guards: Sequence[Step] = ()
) -> Chain:
    """`facts` are those of the order, and those that it came from, oldest first, without so many
    that were `dropped`; other orders of the same signal may be among them. `guards` tell how the
    price of one that protects a position came about."""
    own = [fact for fact in facts if _is_of(fact, order)]
    title = f"{_purpose(order)} {order.side} {_text(order.quantity)} {clean(order.symbol)}"
    return Chain(
        f"{title} ({clean(order.client_order_id)})",
        _became(order),
        follows((*guards, *_steps(own))),
        unknown=(*_unknown(own, order), *_no_guard(order, guards), *_missing(dropped)),
    )


def signal_chain(facts: Sequence[e.Event], dropped: int = 0) -> Chain:
    """`facts` are the signal's, which is the first, and those of the orders made from it, without
    so many that were `dropped`."""
    generated = next(fact for fact in facts if isinstance(fact, e.SignalGenerated))
    signal = generated.signal
    title = f"{signal.side} signal of {clean(signal.strategy)} on {clean(signal.symbol)}"
    blocked = next((fact for fact in facts if isinstance(fact, e.SignalBlocked)), None)
    orders = [fact.order for fact in facts if isinstance(fact, e.OrderEvent)]
    outcome, remedies = "nothing came of it yet", ()
    if blocked is not None:
        outcome, remedies = f"blocked: {clean(blocked.reason)}", tuple(_remedies(blocked, facts))
    elif orders:
        outcome = f"order {clean(orders[-1].client_order_id)}, {_became(orders[-1])}"
    unknown = (*_no_basis(generated), *_missing(dropped))
    return Chain(title, outcome, _steps(facts), remedies, unknown)


def position_chain(
    position: Position, first: Chain, fills: Sequence[Fill], stops: Sequence[Order]
) -> Chain:
    """`first` is the chain of the order that opened it, `fills` are those of later orders, `stops`
    what protects it now."""
    what = f"{clean(position.strategy)} {clean(position.symbol)}"
    outcome = f"holds {_text(position.quantity)}"
    if position.avg_price is not None:
        outcome += f", bought at {position.avg_price:.10g} on average"
    steps = [*first.steps, *map(_later, fills), *map(_protects, stops)]
    if not stops:
        outcome += ", WITHOUT A STOP: none rests at its venue"
    return Chain(f"position {what}", outcome, follows(steps), first.remedies, first.unknown)


def follows(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps by their time, each with its delay after the one before."""
    ordered = sorted(steps, key=lambda step: step.ts)
    before = [None, *(step.ts for step in ordered)]
    return tuple(
        replace(step, delay=None if ts is None else step.ts - ts)
        for ts, step in zip(before, ordered, strict=False)
    )


# --- steps ---------------------------------------------------------------------------------------


def _steps(facts: Sequence[e.Event]) -> tuple[Step, ...]:
    told: list[Step] = []
    for is_check, group in groupby(facts, lambda fact: isinstance(fact, e.RiskChecked)):
        if is_check:
            told.append(_checks([fact for fact in group if isinstance(fact, e.RiskChecked)]))
        else:
            told += [step for fact in group for step in _step(fact)]
    return follows(told)


def _step(fact: e.Event) -> Iterator[Step]:
    match fact:
        case e.SignalGenerated(signal=signal):
            if fact.bar is not None:
                yield _bar(fact.bar, fact.ts)
            if fact.quote is not None:
                yield _quote(fact.quote, fact.ts)
            yield _signal(signal, fact.ts)
        case e.BarClosed(bar=bar):
            yield _bar(bar, fact.ts)
        case e.BarCorrected(bar=bar):
            yield _bar(bar, fact.ts, _title(fact))
        case e.QuoteUpdate(quote=quote):
            yield _quote(quote, fact.ts)
        case e.OrderSized():
            yield _size(fact)
            yield from _guarded(fact)
        case e.SignalBlocked():
            yield Step(fact.ts, None, "Blocked", clean(fact.reason))
        case e.OrderIntended():
            yield _order(fact)
        case e.OrderReplaced(order=order):
            text, id_ = clean(order.reason), order.client_order_id
            yield Step(fact.ts, None, _title(fact), text, _terms(order), id_)
        case e.OrderPartiallyFilled() | e.OrderFilled() | e.LateFill():
            yield _filled(fact, fact.order, fact.fill)
        case _:
            yield from _other(fact)


def _other(fact: e.Event) -> Iterator[Step]:
    """What has no numbers of its own, in words. An input that brought a fact about is told by that
    fact."""
    match fact:
        case e.OrderSubmitted():
            text = "its intent is on disk, and it leaves for the venue"
        case e.OrderAccepted(order=o):
            text = f"the venue has it{_as(o.venue_order_id)}"
        case e.OrderCancelRejected(reason=reason) | e.OrderReplaceRejected(reason=reason):
            text = clean(reason)
        case e.OrderEvent(order=o):
            text = clean(o.reason) or (told[1] if (told := worded(fact)) else "")
        case _:
            told = worded(fact)
            if told is None:
                return
            text = told[1]
    yield Step(fact.ts, None, _title(fact), text, order=_order_of(fact))


def _as(venue_order_id: str) -> str:
    return f" as {clean(venue_order_id)}" if venue_order_id else ""


def _bar(bar: Bar, ts: int, title: str = "Bar") -> Step:
    numbers = tuple(
        Number(name, getattr(bar, name)) for name in ("open", "high", "low", "close", "volume")
    )
    minutes = bar.interval / (60 * NANOS)
    text = f"{clean(bar.symbol)}, {minutes:g} min from {utc(bar.start):%Y-%m-%d %H:%M:%S} UTC"
    return Step(ts, None, title, text, numbers)


def _quote(quote: Quote, ts: int) -> Step:
    numbers = tuple(
        Number(name.replace("_", " "), getattr(quote, name))
        for name in ("bid", "ask", "bid_size", "ask_size")
    )
    return Step(ts, None, "Quote", f"{clean(quote.symbol)}, of {_clock(quote.ts)}", numbers)


def _signal(signal: Signal, ts: int) -> Step:
    wishes = {
        "price": signal.price,
        "strength": signal.strength,
        "stop-loss": signal.stop_price,
        "target": signal.take_profit,
        "trail": signal.trail,
    }
    given = {name: value for name, value in wishes.items() if value is not None}
    numbers = tuple(_number(name, value) for name, value in (given | signal.indicators).items())
    because = f": {clean(signal.reason)}" if signal.reason else ""
    text = f"{clean(signal.strategy)} wants to {signal.side} {clean(signal.symbol)}{because}"
    return Step(ts, None, "Signal", text, numbers)


def _size(fact: e.OrderSized) -> Step:
    text = (
        f"{fact.method} asks for {fact.asked:.6g}, the position limit leaves "
        f"{_text(fact.most)}: {_text(fact.quantity)}"
    )
    numbers = (
        Number("asked", fact.asked),
        Number("most", fact.most),
        Number("quantity", fact.quantity),
        *(_number(name, value) for name, value in fact.basis.items()),
    )
    return Step(fact.ts, None, "Size", text, numbers)


def guard(facts: Sequence[e.Event], entry: str) -> tuple[Step, ...]:
    """How the prices that protect the position of the order `entry` came about, as far as the
    `facts` of that tell."""
    sized = (f for f in facts if isinstance(f, e.OrderSized) and f.client_order_id == entry)
    return tuple(step for fact in sized for step in _guarded(fact))


def _guarded(fact: e.OrderSized) -> Iterator[Step]:
    """Nothing of what a version wrote that did not tell."""
    if fact.buying_price is None:
        return
    wishes = (
        ("stop_loss", "stop-loss at", "below", fact.stop_loss),
        ("take_profit", "target at", "above", fact.take_profit),
        ("trail", "trailing by", "of", fact.trail),
    )
    told: list[str] = []
    price = _text(fact.buying_price)
    numbers = [Number("buying price", fact.buying_price)]
    for name, words, where, value in wishes:
        if value is None:
            continue
        percent = fact.percents.get(name)
        origin = (
            "as the signal asked"
            if percent is None
            else f"{_text(percent)} % {where} the buying price of {price}, as set"
        )
        told.append(f"{words} {_text(value)}, {origin}")
        numbers.append(Number(name.replace("_", "-"), value))
    yield Step(fact.ts, None, "Protection", "; ".join(told), tuple(numbers))


def _checks(checks: Sequence[e.RiskChecked]) -> Step:
    failed = [check.check.replace("_", " ") for check in checks if not check.passed]
    text = f"{len(checks) - len(failed)} of {len(checks)} limits kept"
    text += f", not {', '.join(failed)}" if failed else ""
    return Step(checks[0].ts, None, "Risk checks", text, tuple(map(_check, checks)))


def _check(check: e.RiskChecked) -> Number:
    return Number(
        check.check.replace("_", " "),
        check.used if isfinite(check.used) else None,
        check.unit,
        check.bound,
        check.limit if isfinite(check.limit) else None,
        check.passed,
        check.setting,
    )


def _terms(order: Order) -> tuple[Number, ...]:
    prices = {
        "quantity": order.quantity,
        "limit": order.limit_price,
        "stop": order.stop_price,
        "counted at": order.reference_price,
        "stop-loss": order.stop_loss,
        "target": order.take_profit,
        "trail": order.trail,
    }
    return tuple(Number(name, value) for name, value in prices.items() if value is not None)


def _order(fact: e.OrderIntended) -> Step:
    order, id_ = fact.order, fact.order.client_order_id
    kind = order.type.replace("_", " ")
    text = f"{kind}, {order.time_in_force.upper()}, to {order.side} {_text(order.quantity)}"
    text = f"{_purpose(order)}: {text} {clean(order.symbol)} ({clean(id_)})"
    numbers = _terms(order)
    if fact.held is not None:
        whole = abs(fact.held) == order.quantity
        part = "the whole position" if whole else f"of {_text(abs(fact.held))} in the position"
        text = f"{text}: {part}"
        numbers = (Number("held", fact.held), *numbers)
    return Step(fact.ts, None, "Order", text, numbers, id_)


def _filled(fact: e.Event, order: Order, fill: Fill) -> Step:
    numbers = (*_fill_numbers(fill), Number("left", order.leaves))
    text = (
        f"{_purpose(order)}: {fill.side} {_text(fill.quantity)} at {_text(fill.price)}"
        f"{as_told(fill.liquidity)}, "
        f"by the venue's clock at {_clock(fill.ts)} ({clean(fill.execution_id)})"
    )
    return Step(fact.ts, None, _title(fact), text, numbers, order.client_order_id)


def _fill_numbers(fill: Fill) -> tuple[Number, ...]:
    return (
        Number("quantity", fill.quantity),
        Number("price", fill.price),
        Number("commission", fill.total_commission),
    )


def _later(fill: Fill) -> Step:
    how = f"at {_text(fill.price)}{as_told(fill.liquidity)}"
    text = f"{fill.side} {_text(fill.quantity)} {how} ({clean(fill.execution_id)})"
    return Step(fill.ts, None, "Filled", text, _fill_numbers(fill), fill.client_order_id)


def _protects(order: Order) -> Step:
    price = "" if order.stop_price is None else f" at {_text(order.stop_price)}"
    state = order.state.replace("_", " ")
    text = f"{_purpose(order)} of {_text(order.leaves)}{price}, {state}"
    return Step(order.updated_ts, None, "Protected", text, order=order.client_order_id)


# --- what would have let it pass -----------------------------------------------------------------


def _remedies(blocked: e.SignalBlocked, facts: Sequence[e.Event]) -> Iterator[str]:
    failed = [fact for fact in facts if isinstance(fact, e.RiskChecked) and not fact.passed]
    for check in failed:
        yield _wanted(check)
    if not failed:
        yield REMEDIES.get(blocked.check, clean(blocked.reason))


def _wanted(check: e.RiskChecked) -> str:
    name = check.check.replace("_", " ")
    if check.note:
        return f"{name}: {clean(check.note)}"
    setting = f" ({check.setting.upper()})" if check.setting else ""
    unit = f" {clean(check.unit)}" if check.unit else ""
    was = f"it would be {check.used:.6g}{unit}" if isfinite(check.used) else "it is not known"
    return f"{name} {check.bound or 'within'} {check.limit:.6g}{unit}{setting}: {was}"


# --- what is not known ---------------------------------------------------------------------------


def _unknown(facts: Sequence[e.Event], order: Order) -> Iterator[str]:
    kinds = {type(fact) for fact in facts}
    if e.OrderAdopted in kinds or order.purpose is OrderPurpose.EXTERNAL:
        yield "why it was made: it was made at the venue, by somebody else"
        return
    first = next((fact for fact in facts if isinstance(fact, e.OrderIntended)), None)
    if first is None:
        yield "how it was made: no record of that is left"
        return
    if facts[0] is first:
        yield "what it was made for: no record of that is left"
    if isinstance(facts[0], e.SignalGenerated):
        yield from _no_basis(facts[0])


def _missing(dropped: int) -> Iterator[str]:
    if dropped:
        yield f"{dropped} steps between the first and the last"


def _no_guard(order: Order, guards: Sequence[Step]) -> Iterator[str]:
    if order.purpose in GUARDING and not guards:
        yield "how its price came about: no record of that is left"


def _no_basis(generated: e.SignalGenerated) -> Iterator[str]:
    if generated.bar is None and generated.quote is None:
        yield "what the strategy was shown when it decided: neither a bar nor a quote is recorded"


# --- words ---------------------------------------------------------------------------------------


def _is_of(fact: e.Event, order: Order) -> bool:
    """Whether a fact is no other order's, or what this one came from."""
    return _order_of(fact) in ("", order.client_order_id) or fact.seq == order.cause


def _order_of(fact: e.Event) -> str:
    """The client order id of the order that a fact moves; empty where it moves none."""
    match fact:
        case e.OrderEvent(order=order):
            return order.client_order_id
        case e.SettlementWarned():
            return fact.client_order_id
        case _:
            return ""


def _became(order: Order) -> str:
    state = order.state.replace("_", " ")
    at = f" at {_text(order.avg_price)} on average" if order.avg_price is not None else ""
    done = ""
    if order.state is OrderState.FILLED:
        done = f" {_text(order.filled)}{at}"
    elif order.filled:
        done = f", {_text(order.filled)} of {_text(order.quantity)} filled{at}"
    because = f": {clean(order.reason)}" if order.reason else ""
    return f"{state}{done}{because}"


def _title(fact: e.Event) -> str:
    """The name of the fact in words, that of an order's without Order."""
    words = re.findall(r"[A-Z][a-z]+", type(fact).__name__.removeprefix("Order"))
    return " ".join(words).capitalize()


def _purpose(order: Order) -> str:
    return order.purpose.replace("_", " ")


def _number(name: str, value: float) -> Number:
    return Number(clean(name), value if isfinite(value) else None)


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _clock(ts: int) -> str:
    return f"{utc(ts):%H:%M:%S.%f}"[:-3] + " UTC"
