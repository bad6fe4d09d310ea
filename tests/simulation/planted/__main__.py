"""Try every planted bug on many seeds, and print which found it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.planted import Bug, bugs, caught, laws_of, plant, simulate

SEEDS = 1000


def row(bug: Bug) -> tuple[bool, str]:
    with TemporaryDirectory() as folder:
        plant(bug, Path(folder))
        summary = simulate(Path(folder), 0, SEEDS, "--ring", "machine")
    found = caught(summary)
    first = str(found[0][0]) if found else "never"
    return bool(found), f"{bug.name:<44} {len(found):>5} {first:>6}  {laws_of(summary)}"


def main() -> int:
    print(f"{'planted bug':<44} seeds  first  laws")
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(row, bugs()))
    for _, line in rows:
        print(line)
    return 0 if all(found for found, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
