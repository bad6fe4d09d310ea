"""The risk limits: their values, their rules, and what tightens each."""

from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.core.model import HUNDRED, ZERO, AssetClass

HIGH_WATER_MARK = "high_water_mark"
"""Under this name the equity that the drawdown is measured from is reset."""
_UNBOUNDED = Decimal(10**12)


class PositionLimits(Struct, frozen=True):
    """What holds for the instruments of one asset class; fields as in `RiskLimits`."""

    max_position_size_pct: Decimal
    stop_loss_pct: Decimal
    price_collar_pct: Decimal
    min_price: Decimal
    max_exposure_pct: Decimal


class RiskLimits(Struct, frozen=True):
    """The limits, with their defaults. Percentages are of equity: 5 is 5 %; those of the stop-loss,
    the target and the trailing stop are of the price. Times are in seconds, money in the account's
    currency. 0 is no limit for the notional values, the cool-down and the throttle, and no target
    or trailing stop. What has `crypto_` or `stock_` in front is for that asset class alone; None is
    the limit without it."""

    max_position_size_pct: Decimal = Decimal(5)
    max_position_notional: Decimal = ZERO
    max_order_notional: Decimal = ZERO
    min_price: Decimal = ZERO
    price_collar_pct: Decimal = Decimal(5)
    stop_loss_pct: Decimal = Decimal(2)
    stop_loss_required: bool = False
    extended_hours: bool = False
    crypto_max_position_size_pct: Decimal | None = None
    crypto_min_price: Decimal | None = None
    crypto_price_collar_pct: Decimal | None = None
    crypto_stop_loss_pct: Decimal | None = None
    min_signal_strength: Decimal = Decimal("0.7")
    take_profit_pct: Decimal = Decimal(0)
    trailing_stop_pct: Decimal = Decimal(0)
    max_trades_per_day: int = 20
    max_consecutive_losses: int = 3
    cool_down_s: Decimal = ZERO
    throttle_orders: int = 10
    throttle_seconds: Decimal = Decimal(10)
    max_daily_loss: Decimal = Decimal(1000)
    max_daily_loss_pct: Decimal = Decimal(5)
    max_exposure_pct: Decimal = Decimal(80)
    stock_max_exposure_pct: Decimal | None = None
    crypto_max_exposure_pct: Decimal | None = None
    max_open_positions: int = 20
    max_leverage: Decimal = Decimal(1)
    max_messages_per_second: int = 50
    max_drawdown_pct: Decimal = Decimal(15)

    def of(self, asset_class: AssetClass) -> PositionLimits:
        """The limits of positions in `asset_class`."""
        return PositionLimits(
            *(
                self.value(f"{asset_class}_{name}")
                if hasattr(self, f"{asset_class}_{name}")
                else self.value(name)
                for name in PositionLimits.__struct_fields__
            )
        )

    def value(self, name: str) -> Any:
        """The limit `name`; where it is None, the limit without its asset class."""
        own = getattr(self, name)
        return getattr(self, name.partition("_")[2]) if own is None else own


class _Rule(Struct, frozen=True):
    """A number's range, and whether less of it is tighter. `none` says that 0 is no limit."""

    least: Decimal
    most: Decimal
    whole: bool = False
    less_is_tighter: bool = True
    none: bool = False

    def fault(self, value: Decimal) -> str:
        if not value.is_finite() or (self.whole and value != int(value)):
            return "a whole number" if self.whole else "a number"
        if (self.none and not value) or self.least <= value <= self.most:
            return ""
        more = ", or 0 for no limit" if self.none else ""
        return f"from {self.least} to {self.most:f}{more}"

    def looseness(self, value: Decimal) -> Decimal:
        if self.none and not value:
            return Decimal("Infinity")
        return value if self.less_is_tighter else -value


_SMALLEST = Decimal("0.000001")
_PERCENT = _Rule(_SMALLEST, HUNDRED)
_MONEY = _Rule(_SMALLEST, _UNBOUNDED)
_OPTIONAL = _Rule(_SMALLEST, _UNBOUNDED, none=True)
_FLOOR = _Rule(ZERO, _UNBOUNDED, less_is_tighter=False)
_COUNT = _Rule(Decimal(1), _UNBOUNDED, whole=True)
_FLAGS = {"stop_loss_required": True, "extended_hours": False}
"""The limits that are on or off, each with its tight value."""

_TWINS = [n for n in RiskLimits.__struct_fields__ if n.startswith(("crypto_", "stock_"))]
_COMMON: dict[str, _Rule] = {
    "max_position_size_pct": _PERCENT,
    "max_position_notional": _OPTIONAL,
    "max_order_notional": _OPTIONAL,
    "min_price": _FLOOR,
    "price_collar_pct": _PERCENT,
    "stop_loss_pct": _PERCENT,
    "min_signal_strength": _Rule(ZERO, Decimal(1), less_is_tighter=False),
    "max_trades_per_day": _COUNT,
    "max_consecutive_losses": _COUNT,
    "cool_down_s": _Rule(ZERO, Decimal(86_400), less_is_tighter=False),
    "throttle_orders": _Rule(Decimal(1), _UNBOUNDED, whole=True, none=True),
    "throttle_seconds": _Rule(_SMALLEST, Decimal(86_400), less_is_tighter=False),
    "max_daily_loss": _MONEY,
    "max_daily_loss_pct": _PERCENT,
    "max_exposure_pct": _PERCENT,
    "max_open_positions": _COUNT,
    "max_leverage": _Rule(_SMALLEST, HUNDRED),
    "max_messages_per_second": _COUNT,
    "max_drawdown_pct": _PERCENT,
}
_RULES = _COMMON | {name: _COMMON[name.partition("_")[2]] for name in _TWINS}


def shown(value: object) -> str:
    """A limit's value as it is written in the settings."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value).lower()


def changed(limits: RiskLimits, name: str, text: str) -> tuple[RiskLimits, bool]:
    """`limits` with the limit `name` set to `text`, and whether that loosens it.

    Raises ValueError, with the rule and what to do, for a name or a value that is none.
    """
    if name in _FLAGS:
        if text not in ("true", "false"):
            raise ValueError(f"{name} is true or false")
        value: Any = text == "true"
        loosened = value is not _FLAGS[name]
    elif name in _RULES:
        rule = _RULES[name]
        value = _number(text)
        if fault := rule.fault(value):
            raise ValueError(f"{name} is {fault}")
        loosened = rule.looseness(value) > rule.looseness(Decimal(limits.value(name)))
        value = int(value) if rule.whole else value
    else:
        names = ", ".join(sorted([*_RULES, *_FLAGS]))
        raise ValueError(f"there is no such limit: name one of {names}")
    return replace(limits, **{name: value}), loosened


def _number(text: str) -> Decimal:
    """`text` in ASCII as a number; NaN where it is none: full-width digits are damage."""
    try:
        return Decimal(text) if text.isascii() else Decimal("NaN")
    except InvalidOperation:
        return Decimal("NaN")
