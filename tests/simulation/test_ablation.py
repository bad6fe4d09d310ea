"""Each safety net switched off in turn: the others hold, and nothing rests on one alone."""

import pytest

from engine.simulation.command import run_seeds
from engine.simulation.options import HEALING, Net
from engine.simulation.session import play

SEEDS = range(3000, 3040)


@pytest.mark.parametrize("net", Net)
def test_without_one_net_every_law_holds(net: Net) -> None:
    """Without queries or statements, those on the way; without the others, also at the end: the
    stream is not needed for the books to agree, nor is the latch for a kill to outlive a crash."""
    outcomes = list(run_seeds(SEEDS, 2, (net,)))
    assert [(o.seed, o.law, o.what) for o in outcomes if o.law] == []


def test_the_nets_are_really_off() -> None:
    with_all = play(SEEDS[0]).digest
    digests = {play(SEEDS[0], (net,)).digest for net in Net if net is not Net.LATCH}
    assert len(digests | {with_all}) == len(Net)
    assert set(Net) > HEALING
