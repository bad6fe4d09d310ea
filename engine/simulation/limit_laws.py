"""I6 for the limits that need books of their own, with other arithmetic than the engine's."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from engine.core.events import (
    AccountStatement,
    ChangeLimit,
    Event,
    LimitChanged,
    OrderIntended,
    OrderPendingCancel,
    OrderPendingReplace,
    OrderSubmitted,
    PositionClosed,
    QuoteUpdate,
    Restored,
    SignalGenerated,
)
from engine.core.machine import MachineConfig
from engine.core.model import NANOS, AssetClass, Order, OrderPurpose, OrderType
from engine.core.risk import HIGH_WATER_MARK

Key = tuple[str, str]

NO_LIMIT_AT_0 = ("max_position_notional", "max_order_notional", "throttle_orders")
FLOORS = ("min_signal_strength", "cool_down_s", "min_price", "crypto_min_price", "throttle_seconds")
TIGHT = {"stop_loss_required": "true", "extended_hours": "false"}
"""The limits that are on or off, each with its tight value."""


class Violation(AssertionError):
    """A law does not hold; `law` is its name."""

    def __init__(self, law: str, what: object) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


class LimitLaws:
    """Follows the limits in force and what they count; `broken` names the first that an entry that
    left does not keep."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._instruments = {i.symbol: i for i in config.instruments}
        self.limits = config.limits
        self._messages: list[tuple[int, str]] = []
        self._decided: dict[Key, list[int]] = {}
        self._cooling: dict[Key, int] = {}
        self._strength: dict[int, float] = {}
        self._power: dict[str, tuple[int, Fraction]] = {}
        self._asks: dict[str, float] = {}
        self._asked_with = ""

    # --- following ------------------------------------------------------------------------------

    def take_in(self, event: Event) -> None:
        match event:
            case QuoteUpdate(quote=quote) if quote.is_sound and not quote.is_stub:
                self._asks[quote.symbol] = quote.ask
            case ChangeLimit():
                self._asked_with = event.word
            case Restored():
                for change in event.limits:
                    if change.setting == _text(getattr(self._config.limits, change.name)):
                        self._set(change.name, change.value)
            case AccountStatement(buying_power=None):
                self._power.pop(event.broker, None)
            case AccountStatement(buying_power=Decimal() as power):
                self._power[event.broker] = (event.asked_ts, Fraction(power))
            case _:
                pass

    def note(self, fact: Event) -> None:
        match fact:
            case LimitChanged() if fact.name != HIGH_WATER_MARK:
                self._may_change(fact)
                self._set(fact.name, fact.after)
            case SignalGenerated(signal=signal):
                self._strength[fact.seq] = signal.strength
            case OrderIntended(order=order):
                if order.purpose in (OrderPurpose.ENTRY, OrderPurpose.EXIT):
                    self._decided.setdefault(_key(order), []).append(fact.ts)
                if order.purpose is OrderPurpose.ENTRY:
                    self._may_be_decided(order)
            case PositionClosed(round_trip=trip) if trip.pnl < 0:
                self._cooling[trip.strategy, trip.symbol] = fact.ts
            case OrderSubmitted() | OrderPendingCancel() | OrderPendingReplace():
                venue = self._instruments[fact.order.symbol].venue
                self._messages.append((fact.ts, venue))
            case _:
                pass

    def _may_be_decided(self, order: Order) -> None:
        """What is asked of the decision, by the limits of its time: they may be tightened before
        the order leaves."""
        limits, key = self.limits, _key(order)
        strength = self._strength.get(order.cause)
        if strength is None:
            raise Violation("I6 an entry without a signal", order)
        if Fraction(repr(strength)) < Fraction(limits.min_signal_strength):
            raise Violation("I6 signal strength", order)
        since = self._cooling.get(key)
        if since is not None and order.created_ts - since < limits.cool_down_s * NANOS:
            raise Violation("I6 cool-down", order)

    def _may_change(self, fact: LimitChanged) -> None:
        """More is allowed only where the word was typed; of what has no limit, all is."""
        if self._loosens(fact) and self._asked_with != "LOOSEN":
            raise Violation("limits loosened", fact)

    def _loosens(self, fact: LimitChanged) -> bool:
        if fact.name in TIGHT:
            return fact.after != TIGHT[fact.name]
        before, after = Decimal(fact.before), Decimal(fact.after)
        if fact.name in NO_LIMIT_AT_0:
            before, after = (value or Decimal("Infinity") for value in (before, after))
        return after < before if fact.name in FLOORS else after > before

    def _set(self, name: str, text: str) -> None:
        value: Any = Decimal(text) if text[:1].isdigit() else text == "true"
        if isinstance(getattr(self.limits, name), int):
            value = int(value)
        self.limits = replace(self.limits, **{name: value})

    # --- checking -------------------------------------------------------------------------------

    def broken(
        self,
        order: Order,
        gross: dict[str, Fraction],
        equity: Fraction,
        marks: Iterable[float],
        open_orders: list[Order],
        held: set[str],
        worth: Fraction,
    ) -> str:
        """`gross` is the notional that each symbol may come to, `marks` are the last two prices of
        the order's symbol, `open_orders` all that may still fill, `order` among them; `held` are
        the symbols of which more than dust is held; `worth` is what the order's currency is worth
        in the base currency."""
        checks = [
            *self._position(order, gross[order.symbol], list(marks), worth),
            *self._strategy(order),
            *self._account(order, gross, equity, open_orders),
            ("open positions", self._count(open_orders, held) <= self.limits.max_open_positions),
        ]
        return next((name for name, holds in checks if not holds), "")

    def _position(
        self, order: Order, size: Fraction, marks: list[float], worth: Fraction
    ) -> Iterable[tuple[str, bool]]:
        limits, instrument = self.limits, self._instruments[order.symbol]
        if limits.max_position_notional:
            yield "position notional", size <= limits.max_position_notional
        if limits.max_order_notional:
            value = Fraction(order.quantity * order.reference_price) * worth
            yield "order notional", value <= limits.max_order_notional
        least = self.of(order, "min_price")
        yield "least price", Fraction(repr(marks[-1])) * worth >= least
        away = float(self.of(order, "price_collar_pct")) / 100 + 1e-9
        asked = [float(p) for p in (order.limit_price, order.stop_price) if p is not None]
        if order.type is OrderType.MARKET:  # what it pays is the ask, where a fresh one is known
            paid = (self._asks.get(order.symbol, marks[-1]), marks[-1])
            asked = [min(paid, key=lambda p: abs(p - marks[0]))]
        far = [p for p in asked for m in marks if m == m and not abs(p - m) <= away * m]
        yield "price collar", not far
        yield "short", order.side.sign > 0 or instrument.shortable

    def _strategy(self, order: Order) -> Iterable[tuple[str, bool]]:
        limits, key = self.limits, _key(order)
        if limits.throttle_orders:
            first = order.created_ts - limits.throttle_seconds * NANOS
            made = [ts for ts in self._decided.get(key, ()) if first < ts <= order.created_ts]
            yield "throttle", len(made) <= limits.throttle_orders

    def _account(
        self,
        order: Order,
        gross: dict[str, Fraction],
        equity: Fraction,
        open_orders: list[Order],
    ) -> Iterable[tuple[str, bool]]:
        limits = self.limits
        for asset_class in AssetClass:
            own = [
                notional
                for symbol, notional in gross.items()
                if self._instruments[symbol].asset_class is asset_class
            ]
            most = Fraction(limits.value(f"{asset_class}_max_exposure_pct"))
            yield f"{asset_class} exposure", sum(own, Fraction(0)) * 100 <= most * equity
        total = sum(gross.values(), Fraction(0))
        yield "leverage", total <= equity * Fraction(limits.max_leverage)
        venue = self._instruments[order.symbol].venue
        now = order.updated_ts
        sent = [ts for ts, to in self._messages if to == venue and ts > now - NANOS]
        yield "message rate", len(sent) < limits.max_messages_per_second
        if venue in self._power:
            asked, power = self._power[venue]
            since = [
                Fraction((o.quantity - o.filled) * o.reference_price)
                for o in open_orders
                if o.created_ts >= asked and self._instruments[o.symbol].venue == venue
            ]
            yield "buying power of the venue", sum(since, Fraction(0)) <= power

    def _count(self, open_orders: list[Order], held: set[str]) -> int:
        return len(held.union(order.symbol for order in open_orders))

    def of(self, order: Order, name: str) -> Decimal:
        """A limit of the order's asset class."""
        if self._instruments[order.symbol].asset_class is AssetClass.CRYPTO:
            return self.limits.value(f"crypto_{name}")
        return getattr(self.limits, name)


def _key(order: Order) -> Key:
    return order.strategy, order.symbol


def _text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value).lower()
