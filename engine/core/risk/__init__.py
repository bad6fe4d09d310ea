"""Limits in three tiers: position, strategy, account."""

from engine.core.risk.checks import Risk
from engine.core.risk.limits import HIGH_WATER_MARK, RiskLimits, shown
from engine.core.risk.usage import Usage

__all__ = ["HIGH_WATER_MARK", "Risk", "RiskLimits", "Usage", "shown"]
