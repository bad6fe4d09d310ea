"""Every planted bug is caught. A patch that no longer fits fails here too: mend it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulation.planted import Bug, bugs, caught, plant, simulate

MANY = 1000
QUICK = 5
"""Seeds that a quick try runs; where the seed has drifted, all of them are tried, up to the first
that catches the bug."""


def found_by(bug: Bug) -> list[tuple[int, str]]:
    with TemporaryDirectory() as folder:
        plant(bug, Path(folder))
        quick = caught(simulate(Path(folder), bug.seed, QUICK))
        return quick or caught(simulate(Path(folder), 0, MANY))


@pytest.fixture(scope="module")
def found() -> dict[str, list[tuple[int, str]]]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip([bug.name for bug in bugs()], pool.map(found_by, bugs()), strict=True))


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug, found: dict[str, list[tuple[int, str]]]) -> None:
    seeds = [seed for seed, _ in found[bug.name]]
    assert seeds, "no seed caught it"
    assert min(seeds) < MANY


def test_there_are_twenty_and_one_behind_each_of_the_first_ten_laws() -> None:
    planted = bugs()
    assert len(planted) >= 20
    assert len({bug.name for bug in planted}) == len(planted)
    laws = {bug.law for bug in planted}
    assert laws >= {f"I{number}" for number in range(1, 11)}


def test_without_a_bug_nothing_is_caught(tmp_path: Path) -> None:
    plant(None, tmp_path)
    assert caught(simulate(tmp_path, 0, QUICK)) == []
