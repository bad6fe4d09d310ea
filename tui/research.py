"""Backtests, searches and walk-forwards in a process of their own, at a low priority.

The engine that trades knows nothing of them: they are `tradebot backtest`, `search` and
`walk-forward`, as one would type them.
"""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple, cast

from engine.core.text import clean

_RANGE = ("strategy", "symbols", "start", "end")
_SEARCHED = (*_RANGE, "grid", "parameters", "by")
FIELDS = {
    "backtest": (*_RANGE, "parameters", "cash"),
    "search": (*_SEARCHED, "cash"),
    "walk-forward": (*_SEARCHED, "windows", "in_sample", "cash"),
}
"""What can be run, and what is asked for each."""

_OPTIONS = {"symbols": "symbol", "parameters": "param", "in_sample": "in-sample"}
"""The options that are not named as their fields."""


def _option(field: str) -> str:
    return _OPTIONS.get(field, field)


def label(field: str) -> str:
    """How the form names the field."""
    return field.replace("_", "-")


_LABELS = {_option(name): label(name) for name in FIELDS["walk-forward"]}
"""The fields by their options: that form has all there are."""
_NAMES = "|".join(_LABELS)
_OPTION = re.compile(rf"Invalid value for '--({_NAMES})'|(?<!')--({_NAMES})\b")


def in_fields(text: str) -> str:
    """What the command says of its options, told of the fields of the form."""
    return _OPTION.sub(lambda o: _LABELS[o[1]] if o[1] else f'"{_LABELS[o[2]]}"', text)


_FIELD = re.compile(r'^({0}): |"({0})"'.format("|".join(_LABELS.values())), re.MULTILINE)


def field_of(text: str) -> str:
    """The first field that `text`, told by `in_fields`, names; empty where it names none."""
    found = _FIELD.search(text)
    return (found[1] or found[2]).replace("-", "_") if found else ""


_COMMAND = "import os; os.nice(15); from engine.__main__ import main; main()"
_LINES_KEPT = 20
_GRACE = 2.0
"""Seconds that a run that is cancelled has to end by itself."""


class Request(NamedTuple):
    """What was typed into the form of its `kind`; empty is the command's default."""

    strategy: str = ""
    symbols: str = ""
    start: str = ""
    end: str = ""
    parameters: str = ""
    cash: str = ""
    grid: str = ""
    by: str = ""
    windows: str = ""
    in_sample: str = ""
    kind: str = "backtest"

    @property
    def arguments(self) -> list[str]:
        """The command and its options, each with its value in one word, so that no text is taken
        for an option."""
        typed = {name: getattr(self, name).strip() for name in FIELDS[self.kind]}
        parameters = typed.pop("parameters").replace(",", " ").split()
        grid = typed.pop("grid", "").replace(", ", ",").split()
        return [
            self.kind,
            *(f"--{_option(name)}={text}" for name, text in typed.items() if text),
            *(f"--param={pair}" for pair in parameters),
            *(f"--grid={pair}" for pair in grid),
        ]

    def __str__(self) -> str:
        typed = (getattr(self, name) for name in FIELDS[self.kind])
        return clean(" ".join((self.kind, *filter(None, typed))))


class Run:
    """One run; `clock` gives monotonic seconds. `state` is starting, running, done, failed or
    cancelled; `why` says why it failed; `kept` is the name of its report's file."""

    def __init__(self, request: Request, clock: Callable[[], float] = monotonic) -> None:
        self.request = request
        self._clock = clock
        self._began = 0.0
        self.state = "starting"
        self.done, self.total = 0, 0
        self.why = ""
        self.kept = ""
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._process: Process | None = None

    @property
    def is_over(self) -> bool:
        return self.state not in ("starting", "running")

    @property
    def pid(self) -> int | None:
        """Its process, once that is there."""
        return self._process.pid if self._process is not None else None

    def remaining(self, now: float) -> float | None:
        """Seconds until it is done, at the pace so far; None where nothing is done yet."""
        if not self.done:
            return None
        return (now - self._began) * (self.total - self.done) / self.done

    async def carry_out(self) -> None:
        """Run it to its end, whatever that is."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMMAND),
                *(*self.request.arguments, "--keep", "--progress", "--json"),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self.state, self.why = "failed", f"it cannot be started: {clean(str(error))}"
            return
        self._process = process
        try:
            if self.is_over:
                _terminate(process)
            await self._listen(process, cast("asyncio.StreamReader", process.stderr))
        finally:
            await _ended(process)

    def cancel(self) -> None:
        """Have it end without a report."""
        if self.is_over:
            return
        self.state = "cancelled"
        process = self._process
        if process is not None and process.returncode is None:
            _terminate(process)

    async def _listen(self, process: Process, stream: asyncio.StreamReader) -> None:
        while line := await _line(stream):
            self._hear(line)
        code = await process.wait()
        if self.state == "cancelled":
            return
        if code == 0 and self.kept:
            self.state = "done"
            return
        self.state = "failed"
        self.why = _signal(code) if code < 0 else "\n".join(self._said) or f"exit status {code}"

    def _hear(self, line: str) -> None:
        match line.split():
            case ["progress", done, total] if done.isdecimal() and total.isdecimal():
                self.done, self.total = int(done), int(total)
                if self.state == "starting":
                    self.state, self._began = "running", self._clock()
            case ["kept", *_]:
                self.kept = Path(line.removeprefix("kept ").strip()).name
            case _:
                text = clean(line).strip().removeprefix("error: ").removeprefix("Error: ")
                if text and not text.startswith(("Usage:", "Try '")):
                    self._said.append(in_fields(text))


async def _line(stream: asyncio.StreamReader) -> str:
    """The next line, without what is too long of it; empty at the end."""
    try:
        return (await stream.readline()).decode(errors="replace")
    except ValueError:
        return "...\n"


async def _ended(process: Process) -> None:
    """Have it end, and wait for it and for its last word however often that is cancelled: asyncio
    complains to the user of a process that outlives its loop."""
    if process.returncode is not None:
        return
    sure = _terminate(process)
    is_waited_for = False
    while not is_waited_for:
        with suppress(asyncio.CancelledError):
            await process.communicate()
            is_waited_for = True
    sure.cancel()


def _terminate(process: Process) -> asyncio.TimerHandle:
    """Ask it to end, and end it where it does not; the handle calls that off."""
    process.terminate()
    return asyncio.get_running_loop().call_later(_GRACE, _make_sure, process)


def _make_sure(process: Process) -> None:
    if process.returncode is None:
        process.kill()


def _signal(code: int) -> str:
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    reason = ": the machine may be out of memory" if name == "SIGKILL" else ""
    return f"it was ended from outside by {name}{reason}"
