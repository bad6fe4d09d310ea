"""The risk limits."""

from decimal import Decimal

from msgspec import Struct


class RiskLimits(Struct, frozen=True):
    """The limits, with their defaults. Percentages are of equity: 5 is 5 %."""

    max_position_size_pct: Decimal = Decimal(5)
    stop_loss_pct: Decimal = Decimal(2)
    stop_loss_required: bool = False
    max_trades_per_day: int = 20
    max_consecutive_losses: int = 3
    max_daily_loss: Decimal = Decimal(1000)
    max_daily_loss_pct: Decimal = Decimal(5)
    max_exposure_pct: Decimal = Decimal(80)
    max_drawdown_pct: Decimal = Decimal(15)
