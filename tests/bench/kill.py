"""Kill → last cancel on the wire: 100 open orders, 10,000 quotes/s over 500 symbols flowing.

A strategy holds 100 symbols, so 100 protective stops are open at the paper broker. The clock stops
when the broker is asked for the last of their cancels. It starts with the command, given to the
engine alone; and with the press of ctrl+k in the console's terminal, where the console paints too.
After each run the kill switch is re-armed, which places the 100 stops again.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.brokers.paper import PaperBroker
from engine.core.events import RearmKillSwitch, TripKillSwitch
from engine.host import EngineHost
from engine.snapshot import Snapshot
from tests.bench.engine import HELD, HOLDING, running, tapped, wait_for
from tests.bench.measure import Figure, percentile
from tests.bench.probed import Readings
from tests.bench.terminal import TimedTerminal

RUNS = 30
TIMEOUT_S = 60.0
LIMIT_MS = 50.0
SIZE = (120, 40)
CTRL_K = "\x0b"
GRACE_S = 0.6
"""The dialog takes no answer sooner, and the kill key is not repeated sooner."""
TYPING_S = 0.1


def measure() -> Iterator[Figure]:
    commands, keys = command_delays(), key_delays()
    for name, delays in (("kill command", commands), ("kill key in the console", keys)):
        p99 = percentile(delays, 99)
        yield Figure(
            f"{name} → last of {HELD} cancels, p99",
            p99,
            "ms",
            goal=f"p99 ≤ {LIMIT_MS:g} ms",
            met=p99 <= LIMIT_MS,
            note=f"{len(delays)} runs, p50 {percentile(delays, 50):.1f} ms",
        )


# --- the engine alone ----------------------------------------------------------------------------


def command_delays() -> list[float]:
    cancels: list[float] = []
    with (
        tapped(PaperBroker, "cancel_order", lambda *_: cancels.append(time.perf_counter())),
        running(**HOLDING) as host,
    ):
        return [one_command(host, cancels) for _ in range(RUNS)]


def one_command(host: EngineHost, cancels: list[float]) -> float:
    """Milliseconds from the command to the last cancel."""
    wait_for(host, all_accepted)
    cancels.clear()
    start = time.perf_counter()
    host.send(TripKillSwitch(source="bench", author="bench"))
    wait_for(host, lambda snapshot: snapshot.kill.phase == "complete")
    delay = (last_of(cancels) - start) * 1000
    host.send(RearmKillSwitch(word="REARM", author="bench"))
    wait_for(host, lambda snapshot: not snapshot.kill.tripped)
    return delay


def all_accepted(snapshot: Snapshot) -> bool:
    states = [order.state for order in snapshot.orders if order.is_open]
    return len(states) == HELD and set(states) == {"accepted"}


def last_of(cancels: list[float]) -> float:
    """The time of the last cancel. Raises RuntimeError where there were not as many as orders."""
    if len(cancels) != HELD:
        raise RuntimeError(f"{len(cancels)} cancels for {HELD} orders")
    return cancels[-1]


# --- the key in the console ----------------------------------------------------------------------


def key_delays() -> list[float]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        readings = Readings(folder)
        argv = (sys.executable, "-m", "tests.bench.probed", name, "tui.main:main")
        with TimedTerminal(argv, folder, SIZE, **HOLDING) as terminal:
            delays = list(each_key(terminal, readings))
        readings.close()
    return delays


def each_key(terminal: TimedTerminal, readings: Readings) -> Iterator[float]:
    """Milliseconds from each press of the kill key to the last cancel."""
    submits = 2 * HELD  # at first each stop has an entry before it
    for _ in range(RUNS):
        read_until(terminal, readings, "submit", submits)
        terminal.read_for(GRACE_S)
        start = time.perf_counter()
        terminal.press(CTRL_K)
        read_until(terminal, readings, "cancel", HELD, start)
        yield (last_of([mark.time for mark in readings.marks("cancel", start)]) - start) * 1000
        rearm(terminal)
        submits += HELD


def rearm(terminal: TimedTerminal) -> None:
    """Through the dialog, at the pace of a hand."""
    terminal.read_for(GRACE_S)
    terminal.press("R")
    terminal.read_for(GRACE_S)
    for letter in "REARM\r":
        terminal.press(letter)
        terminal.read_for(TYPING_S)


def read_until(
    terminal: TimedTerminal, readings: Readings, word: str, times: int, start: float = 0.0
) -> None:
    """Read until the probe has written `word` so many times since `start`.

    Raises TimeoutError where it does not.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while sum(1 for _ in readings.marks(word, start)) < times:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the console did not {word} {times} orders")
        terminal.read_for(0.05)
