"""Starts an engine of its own for a console: a process that needs no terminal and outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import engine

_ROOT = Path(str(engine.__file__)).parents[1]


class EngineProcess:
    """`tradebot run`, in a session of its own: what happens to the console's terminal, to its group
    of processes or to itself does not reach it."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        # No pipe: the end of the console would break it.
        self._said = TemporaryFile()  # noqa: SIM115 - as long as the engine
        # -P: what lies in the folder of the data is not imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", "run"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """What it said on its errors."""
        self._said.seek(0)
        text = self._said.read().decode(errors="replace").strip()
        return text.removeprefix("error: ") or f"the engine ended ({self._process.poll()})"

    def stop(self, timeout: float) -> bool:
        """Have it stop in order, and wait; it is killed where it has not ended in `timeout` s, and
        the answer is False."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return False
        return True
