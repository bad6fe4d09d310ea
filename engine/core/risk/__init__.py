"""Limits in three tiers: position, strategy, account."""

from engine.core.risk.checks import HUNDRED, Risk
from engine.core.risk.limits import RiskLimits
from engine.core.risk.usage import Usage

__all__ = ["HUNDRED", "Risk", "RiskLimits", "Usage"]
