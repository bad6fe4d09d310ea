"""As `bench_hold`, with ten times the symbols."""

from typing import Annotated

from msgspec import Meta

from tests.bench.strategies.bench_hold import Hold, HoldParameters


class HoldManyParameters(HoldParameters, frozen=True):
    symbols: Annotated[int, Meta(ge=1)] = 1_000


class HoldMany(Hold):
    Parameters = HoldManyParameters


STRATEGY_NAME = "bench_hold_many"
STRATEGY_CLASS = HoldMany
