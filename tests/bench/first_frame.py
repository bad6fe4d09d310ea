"""From exec to the first full frame, beside an empty Textual app in the same kind of terminal.

The clock starts before the process is made. The first frame is there when every row of the screen
has been drawn, for the console also with the title of a panel; the first quote, when a price stands
in the panel of quotes. Both start in an empty folder, in turn, with warm file caches.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench import empty_app
from tests.bench.measure import Figure
from tests.bench.terminal import CONSOLE, Screen, TimedTerminal, is_painted

SIZE = (120, 40)
RUNS = 7
WATCH_S, COLD_S = 4.0, 10.0
"""The first run of each compiles its modules."""
LIMIT = 1.3
EMPTY = (sys.executable, empty_app.__file__)
PANEL = re.compile(r"─ quotes ─")
QUOTE = re.compile(r"│(AAPL|SPY|BTC-USD|ETH-USD|BTC-PERP) +[\d,]+\.\d")

Seen = Callable[[Screen], bool]


def measure() -> Iterator[Figure]:
    empties: list[float] = []
    frames: list[float] = []
    quotes: list[float] = []
    for run in range(RUNS + 1):
        within = WATCH_S if run else COLD_S
        (empty,) = milliseconds_to(within, EMPTY, is_painted)
        frame, quote = milliseconds_to(
            within, CONSOLE, has_first_frame, lambda screen: has(screen, QUOTE)
        )
        if run:  # the first one warms the caches
            empties.append(empty)
            frames.append(frame)
            quotes.append(quote)
    yield Figure(
        "first frame of the console, median",
        median(frames),
        "ms",
        "empty Textual app",
        median(empties),
        f"≤ {LIMIT} × an empty app",
        median(frames) <= LIMIT * median(empties),
        f"{RUNS} runs of each; the fastest {min(frames):.0f} and {min(empties):.0f} ms",
    )
    yield Figure("first quote on the screen, median", median(quotes), "ms")


def milliseconds_to(within: float, argv: Sequence[str], *seen: Seen) -> list[float]:
    """Milliseconds from the start of `argv` until its screen fulfilled each of `seen`.

    Raises TimeoutError where it does not `within` so many seconds.
    """
    with (
        TemporaryDirectory() as folder,
        TimedTerminal(argv, Path(folder), SIZE) as terminal,
    ):
        terminal.read_for(within)
    times = [terminal.first(each) for each in seen]
    if None in times:
        raise TimeoutError(f"{argv[-1]} did not show all of it in {within:g} s")
    return [(came - terminal.started) * 1000 for came in times if came is not None]


def has_first_frame(screen: Screen) -> bool:
    return is_painted(screen) and has(screen, PANEL)


def has(screen: Screen, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(line) for line in screen.display)
