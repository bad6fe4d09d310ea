"""Backtests in a process of their own, at a low priority, and the reports that are kept.

The engine that trades knows nothing of them: they are `tradebot backtest`, as one would type it.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from msgspec import Struct

from engine.core.text import clean

MOST_REPORTS = 100
"""The newest are shown."""

_COMMAND = "import os; os.nice(15); from engine.__main__ import main; main()"
_LINES_KEPT = 20
_GRACE = 2.0
"""Seconds that a run that is cancelled has to end by itself."""


class Request(NamedTuple):
    """What was typed into the form; empty is the command's default."""

    strategy: str = ""
    symbols: str = ""
    start: str = ""
    end: str = ""
    parameters: str = ""
    cash: str = ""

    @property
    def arguments(self) -> list[str]:
        """The options of `tradebot backtest`, each with its value in one word, so that no text is
        taken for an option."""
        named = {
            "strategy": self.strategy,
            "symbol": self.symbols,
            "start": self.start,
            "end": self.end,
            "cash": self.cash,
        }
        given = [f"--{name}={value.strip()}" for name, value in named.items() if value.strip()]
        return [*given, *(f"--param={pair}" for pair in self.parameters.replace(",", " ").split())]

    def __str__(self) -> str:
        return clean(" ".join(part for part in self if part))


class Run:
    """One backtest. `state` is starting, running, done, failed or cancelled; `why` says why it
    failed; `kept` is the name of its report's file."""

    def __init__(self, request: Request) -> None:
        self.request = request
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

    async def carry_out(self) -> None:
        """Run it to its end, whatever that is."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMMAND, "backtest", "--keep", "--progress", "--json"),
                *self.request.arguments,
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
                process.terminate()
            await self._listen(process, cast("asyncio.StreamReader", process.stderr))
        finally:
            if process.returncode is None:
                process.kill()

    def cancel(self) -> None:
        """Have it end without a report."""
        if self.is_over:
            return
        self.state = "cancelled"
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            asyncio.get_running_loop().call_later(_GRACE, _make_sure, process)

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
                    self.state = "running"
            case ["kept", *_]:
                self.kept = Path(line.removeprefix("kept ").strip()).name
            case _:
                text = clean(line).strip().removeprefix("error: ").removeprefix("Error: ")
                if text and not text.startswith(("Usage:", "Try '")):
                    self._said.append(text)


async def _line(stream: asyncio.StreamReader) -> str:
    """The next line, without what is too long of it; empty at the end."""
    try:
        return (await stream.readline()).decode(errors="replace")
    except ValueError:
        return "...\n"


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


# --- reports -------------------------------------------------------------------------------------


class Drawdown(Struct, frozen=True):
    depth: float


class Trips(Struct, frozen=True):
    count: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None


class Figures(Struct, frozen=True):
    final_equity: float
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    drawdown: Drawdown
    exposure_time: float
    fills: int
    round_trips: Trips
    commission: str
    slippage: str


class Point(Struct, frozen=True):
    time: str
    equity: float


class Document(Struct, frozen=True):
    """The part of a report (`engine.research.report.to_json`) that is shown."""

    strategy: str
    parameters: dict[str, object]
    symbols: list[str]
    currency: str
    start: str
    end: str
    bars: int
    starting_equity: float
    statistics: Figures
    stops: list[str]
    equity_curve: list[Point]


class Report(Struct, frozen=True):
    """A report that is kept: `name` is that of its file. Without a `document`, `fault` says why it
    cannot be read."""

    name: str
    document: Document | None
    fault: str = ""


def load(folder: Path) -> tuple[Report, ...]:
    """The reports in `folder`, the newest first."""
    try:
        names = sorted((file.name for file in folder.glob("*.json")), reverse=True)
    except OSError:
        return ()
    return tuple(_report(folder / name) for name in names[:MOST_REPORTS])


def _report(path: Path) -> Report:
    try:
        return Report(path.name, msgspec.json.decode(path.read_bytes(), type=Document))
    except OSError as error:
        return Report(path.name, None, f"cannot be read: {error.strerror}")
    except msgspec.MsgspecError:
        return Report(path.name, None, "not a report")
