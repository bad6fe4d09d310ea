"""Deliberate defects: each is a patch against engine/, and the simulator must find it.

`python -m tests.simulation.planted` tries every one on 1,000 seeds and prints which seeds found it.
"""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.simulation.command import Summary

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Bug(Struct, frozen=True):
    """`law` is the one that must catch it, and `seed` the first of the seeds that a quick try runs;
    the patch is `<name>.patch`."""

    name: str
    law: str
    seed: int

    @property
    def patch(self) -> Path:
        return HERE / f"{self.name}.patch"


class Bugs(Struct, frozen=True):
    bug: list[Bug]


def bugs() -> list[Bug]:
    """All of them, as bugs.toml has them."""
    return msgspec.toml.decode((HERE / "bugs.toml").read_bytes(), type=Bugs).bug


def plant(bug: Bug | None, folder: Path) -> None:
    """A copy of the engine in `folder`, with the bug in it. Raises CalledProcessError where the
    patch no longer fits."""
    skip = shutil.ignore_patterns("__pycache__", "samples")
    shutil.copytree(ROOT / "engine", folder / "engine", ignore=skip)
    if bug is not None:
        command = ["git", "apply", "-C1", str(bug.patch)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def simulate(folder: Path, first: int, seeds: int, *more: str) -> Summary:
    """What `tradebot simulate` finds in the engine in `folder`; up to the first by default."""
    ran = subprocess.run(
        [sys.executable, "-c", "from engine.cli.main import main; main()", "simulate", "--json",
         "--jobs", "1", "--from", str(first), "--seeds", str(seeds), *(more or ("--stop",))],
        cwd=folder,
        capture_output=True,
        check=False,
        env={"PYTHONPATH": str(folder)},
    )  # fmt: skip
    if not ran.stdout:
        raise RuntimeError(ran.stderr.decode())
    return msgspec.json.decode(ran.stdout, type=Summary)


def caught(summary: Summary) -> list[tuple[int, str]]:
    """The seeds that found something, and the law that broke."""
    return [(outcome.seed, outcome.law) for outcome in summary.broken]


def laws_of(summary: Summary) -> str:
    counts = Counter(law for _, law in caught(summary))
    return ", ".join(f"{law} {count}" for law, count in counts.most_common(4))
