"""An engine with a probe in a process of its own, to which a console attaches."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.host.headless import run
from tests.bench.terminal import environment

SERVE = "tests.bench.served:main"
STARTS_S, STOPS_S = 60.0, 10.0


def main() -> None:
    """`tradebot run`, in the process that is probed."""
    run.main([], standalone_mode=False)


@contextmanager
def served(folder: Path, target: str = SERVE, **settings: object) -> Iterator[None]:
    """An engine that has its data in `folder`, probed there, under `settings`, until the block
    ends. Raises TimeoutError where it does not start."""
    argv = (sys.executable, "-m", "tests.bench.probed", str(folder), target)
    with subprocess.Popen(
        argv, env=environment(folder, settings), start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + STARTS_S
            while not (folder / "data" / "control" / "paper.sock").exists():
                if time.monotonic() > deadline or process.poll() is not None:
                    raise TimeoutError("the engine does not start")
                time.sleep(0.01)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOPS_S)
            except subprocess.TimeoutExpired:
                process.kill()
