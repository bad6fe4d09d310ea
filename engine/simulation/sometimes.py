"""Which fault must have met which state: a pair that never happened tested nothing."""

from collections.abc import Mapping

from engine.simulation.options import Fault

MANY = 10_000
"""With this many seeds each pair must have happened `LEAST` times; with fewer, the common ones
once."""
LEAST = 20

STATES = ("submitted", "accepted", "partially_filled", "in_doubt", "pending_cancel", "killed")


def missing(seen: Mapping[str, int], seeds: int) -> list[str]:
    """The pairs that did not happen often enough in `seeds` seeds."""
    if seeds >= MANY:
        return [pair for pair in pairs() if seen.get(pair, 0) < LEAST]
    return [pair for pair in pairs() if pair not in RARE and not seen.get(pair)]


def pairs() -> list[str]:
    return [f"{fault} while {state}" for fault in Fault for state in STATES]


RARE = frozenset(
    {
        "rejected while killed",
        "rejected after it was accepted while killed",
        "canceled by the venue while killed",
        "kill while partially_filled",
        "bad bar while partially_filled",
        "database down while partially_filled",
        "spike while partially_filled",
        "feed silent while partially_filled",
        "venue down while partially_filled",
    }
)
"""What a few hundred seeds need not show."""
