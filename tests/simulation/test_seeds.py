"""Sessions from seeds: the laws hold in each, and the same seed is the same session."""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.simulation.command import run_seeds, summary_of
from engine.simulation.session import Outcome, play
from engine.simulation.sometimes import LEAST, MANY, missing, pairs

SEEDS = range(300)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(run_seeds(SEEDS, 2))


def test_no_law_breaks(outcomes: Sequence[Outcome]) -> None:
    assert [(o.seed, o.law, o.what) for o in outcomes if o.law] == []
    assert [outcome.seed for outcome in outcomes] == list(SEEDS)


def test_no_law_breaks_in_a_seed_that_once_broke_one() -> None:
    kept = tomllib.loads((Path(__file__).parent / "seeds.toml").read_text())["seed"]
    assert all(entry["found"] for entry in kept)
    outcomes = run_seeds([entry["seed"] for entry in kept], 2)
    assert [(o.seed, o.law, o.what) for o in outcomes if o.law] == []


def test_each_fault_met_each_state(outcomes: Sequence[Outcome]) -> None:
    assert summary_of(outcomes, 1.0).missing == []


def test_a_pair_that_never_happened_is_missing() -> None:
    plenty = dict.fromkeys(pairs(), LEAST)
    assert missing(plenty, MANY) == []
    assert missing({**plenty, "crash while killed": LEAST - 1}, MANY) == ["crash while killed"]
    assert missing({**plenty, "crash while killed": 0}, 300) == ["crash while killed"]
    assert missing({**plenty, "crash while killed": 1}, 300) == []


def test_the_same_seed_is_the_same_session_and_another_is_another(
    outcomes: Sequence[Outcome],
) -> None:
    again = play(SEEDS[7])
    assert again.digest == outcomes[7].digest
    assert again.seen == outcomes[7].seen
    assert len({outcome.digest for outcome in outcomes}) == len(outcomes)


HASH_SEEDED = """
import sys
import tomllib
from engine.simulation.session import play
for seed in range(1000, 1050):
    print(seed, play(seed).digest)
"""


def test_fifty_seeds_are_the_same_in_two_processes_with_different_hash_seeds() -> None:
    """The digest is of every byte of every journal, and of the state it leads to."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", HASH_SEEDED],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONHASHSEED": seed},
        )
        for seed in ("0", "1")
    ]
    first, second = (process.communicate()[0] for process in running)
    assert first == second
    assert len(first.splitlines()) == 50
