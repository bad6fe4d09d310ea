"""`python -m tests.bench.probed FOLDER MODULE:FUNCTION`: calls the function, and writes down in
FOLDER what the engine and the threads of the process do.

Each line is a word, a time (perf_counter seconds, which all processes share) and numbers:

    late    when an input was sent to the engine's loop; how many ms later the loop took it
    cpu     CPU seconds so far of the console's threads, and of the whole process
    submit  the broker was asked to submit an order
    cancel  the broker was asked to cancel an order

The inputs of `late` come through a pipe from the process that measures: a timer of the loop's own
would be late by up to the millisecond to which asyncio rounds.
"""

import asyncio
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from engine.brokers.paper import PaperBroker
from engine.host.runtime import Runtime
from tests.bench.engine import tapped

PERIOD_S = 0.005
REPORT_S = 0.25
MOMENT = struct.Struct("d")


# --- in the process that is measured -------------------------------------------------------------


class Probe:
    """Writes the file."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "marks", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._pings = os.open(folder / "pings", os.O_RDONLY | os.O_NONBLOCK)
        self._late: list[str] = []

    def on_run(self, runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pings, self._on_ping)
        self._report(loop)

    def on_submit(self, *_: object) -> None:
        self._write(f"submit {time.perf_counter()}")

    def on_cancel(self, *_: object) -> None:
        self._write(f"cancel {time.perf_counter()}")

    def _on_ping(self) -> None:
        now = time.perf_counter()
        for (sent,) in MOMENT.iter_unpack(os.read(self._pings, 512 * MOMENT.size)):
            self._late.append(f"late {sent} {(now - sent) * 1000}")

    def _report(self, loop: asyncio.AbstractEventLoop) -> None:
        late, self._late = self._late, []
        cpu = f"cpu {time.perf_counter()} {console_cpu()} {time.process_time()}"
        self._write("\n".join([*late, cpu]))
        loop.call_later(REPORT_S, self._report, loop)

    def _write(self, text: str) -> None:
        os.write(self._file, f"{text}\n".encode())


def console_cpu() -> float:
    """CPU seconds of the threads that paint: the main one and Textual's."""
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
        and (thread is threading.main_thread() or thread.name.startswith("textual"))
    )


def main() -> int | None:
    folder, target = sys.argv[1:]
    sys.argv = [target]
    module, function = target.split(":")
    probe = Probe(Path(folder))
    with (
        tapped(Runtime, "run", probe.on_run),
        tapped(PaperBroker, "submit_order", probe.on_submit),
        tapped(PaperBroker, "cancel_order", probe.on_cancel),
    ):
        return getattr(import_module(module), function)()


# --- in the process that measures ----------------------------------------------------------------


class Mark(NamedTuple):
    """A line of the file."""

    word: str
    time: float
    values: tuple[float, ...]


class Readings:
    """Sends the inputs, and reads the file, of a probed process."""

    def __init__(self, folder: Path) -> None:
        self._marks = folder / "marks"
        os.mkfifo(folder / "pings")
        # Open for reading too, so that opening waits for nobody and writing breaks on nobody's end.
        self._pings = os.open(folder / "pings", os.O_RDWR | os.O_NONBLOCK)
        self._ended = threading.Event()
        pipe = self._ended, self._pings
        self._thread = threading.Thread(target=send_until, args=pipe, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._pings)

    def marks(self, word: str, start: float = 0.0, end: float = float("inf")) -> Iterator[Mark]:
        """What is written by now, with times between two."""
        if not self._marks.exists():
            return
        for line in self._marks.read_text().split("\n")[:-1]:
            kind, *numbers = line.split()
            moment, *values = map(float, numbers)
            if kind == word and start <= moment < end:
                yield Mark(kind, moment, tuple(values))

    def late(self, start: float, end: float) -> list[float]:
        """By how many ms the engine's loop was late for each input."""
        return [mark.values[0] for mark in self.marks("late", start, end)]

    def console_cpu(self, start: float, end: float) -> float:
        """Percent of a core that the console's threads took."""
        known = list(self.marks("cpu", start, end))
        first, last = known[0], known[-1]
        return (last.values[0] - first.values[0]) / (last.time - first.time) * 100


def send_until(ended: threading.Event, pipe: int) -> None:
    """Send the time, every `PERIOD_S`."""
    while not ended.wait(PERIOD_S):
        with suppress(BlockingIOError):  # nobody reads yet
            os.write(pipe, MOMENT.pack(time.perf_counter()))


async def lateness_of_nothing(seconds: float) -> list[float]:
    """By how many ms this process's own loop is late for such inputs, with nothing else to do."""
    late: list[float] = []
    reads, writes = os.pipe()
    ended = threading.Event()

    def on_ping() -> None:
        (sent,) = MOMENT.unpack(os.read(reads, MOMENT.size))
        late.append((time.perf_counter() - sent) * 1000)

    loop = asyncio.get_running_loop()
    loop.add_reader(reads, on_ping)
    sending = loop.run_in_executor(None, send_until, ended, writes)
    await asyncio.sleep(seconds)
    ended.set()
    await sending
    loop.remove_reader(reads)
    os.close(reads)
    os.close(writes)
    return late


if __name__ == "__main__":
    sys.exit(main())
