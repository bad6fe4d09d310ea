"""Which fault must have met which state, what must have been sent, and what must have stood in the
way: what never happened was not tested."""

from collections.abc import Mapping

from engine.core.model import SizingMethod
from engine.simulation.options import Fault

MANY = 10_000
"""With this many seeds each pair must have happened `LEAST` times; with fewer, the common ones
once."""
LEAST = 20

STATES = (
    "submitted",
    "accepted",
    "partially_filled",
    "in_doubt",
    "pending_cancel",
    "pending_replace",
    "killed",
)

PURPOSES = ("entry", "exit", "protective_stop", "take_profit")
CHECKS = (
    "consecutive_losses",
    "cool_down",
    "daily_loss",
    "crypto_exposure",
    "day_trades",
    "exposure",
    "flat",
    "good_faith_violations",
    "leverage",
    "market_hours",
    "message_rate",
    "min_price",
    "open_positions",
    "order_type",
    "paused",
    "position",
    "price_collar",
    "settled_cash",
    "signal_strength",
    "size",
    "stale",
    "stock_exposure",
    "stop",
    "stop_loss",
    "trades_per_day",
    "venue_buying_power",
)


MOMENTS = (
    "submit in live mode",
    "live confirmed",
    "ConfirmLive refused",
    "limit tightened",
    "limit loosened",
    "ChangeLimit refused",
    "not sent in a dry run",
    "settlement violated",
    "not flat, as the market is closed",
    "killed by dead-man's switch",
    "turned up after it was given up",
    "flagged for FINTRAC",
    "submit in another currency",
    "limit breached by a rate",
    "commission taken of what was bought",
    "less than a lot left",
    *(f"sized by {method}" for method in SizingMethod if method is not SizingMethod.HYBRID),
)


def missing(seen: Mapping[str, int], seeds: int) -> list[str]:
    """What did not happen often enough in `seeds` seeds."""
    if seeds >= MANY:
        return [pair for pair in pairs() if seen.get(pair, 0) < LEAST]
    return [pair for pair in pairs() if not is_rare(pair) and not seen.get(pair)]


def pairs() -> list[str]:
    met = [f"{fault} while {state}" for fault in Fault for state in STATES]
    return [
        *met,
        *(f"submit {purpose}" for purpose in PURPOSES),
        *map("blocked by {}".format, CHECKS),
        *MOMENTS,
    ]


def is_rare(pair: str) -> bool:
    """Whether a few hundred seeds need not show a pair."""
    return pair in RARE or pair.endswith(("partially_filled", "pending_replace"))


RARE = frozenset(
    {
        "rejected while killed",
        "rejected after it was accepted while killed",
        "canceled by the venue while killed",
        "blocked by daily_loss",
        "blocked by message_rate",
        "settlement violated",
        "blocked by market_hours",
        "blocked by day_trades",
        "blocked by good_faith_violations",
        "blocked by venue_buying_power",
        "sized by target_utility",
        "limit breached by a rate",
        "not flat, as the market is closed",
    }
)
