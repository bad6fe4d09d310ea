"""Ring C: the shipped program as a real process, on real files, killed with -9 at random moments.

`tradebot run` trades a fast recording on paper. Each seed draws what befalls the process (see
`process_faults`) and the moment at which it is killed, during the start or later. The next seed's
engine goes on with what it left; at the end of an account one is let alone, must come to rest and
stops in order. After each death the laws are judged (see `process_laws`).

Moments are drawn from the seed, but what the engine is doing then is the machine's matter: a seed
that broke a law need not do so again. What it left is kept.
"""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from engine.core.events import KillSwitchTriggered
from engine.core.model import OrderState
from engine.ops.errors import UserError
from engine.simulation import process_faults as faults
from engine.simulation.laws import Violation, law
from engine.simulation.process_account import Account, database_of_its_own, write_market
from engine.simulation.process_laws import (
    UNSETTLED,
    Kept,
    head_now,
    judge,
    judge_intents,
    judge_rest,
    judge_restart,
    kept,
    replay,
)
from engine.store.audit import AuditHead

LANES = 2
"""Engines that run at once, each on an account of its own."""
DEATHS_AN_ACCOUNT = 20
DEATHS_WHILE_TRIPPED = 2
STARTING = 0.25
"""Share of the engines that are killed while they start."""
START_S, LIFE_S, AFTER_S = 1.5, 1.2, 0.3
PATIENCE_S = 60.0
CANNOT_START = 2
PROGRAM = (sys.executable, "-c", "from engine.cli.main import main; main()", "run")
NOTHING = Kept({}, {}, {}, [], AuditHead())


@dataclass
class Report:
    """What happened, and what was found: a line for each broken law in `broken`."""

    deaths: int = 0
    seen: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        yield f"killed {self.deaths} engines in {self.seconds:.0f} s"
        for what, count in sorted(self.seen.items()):
            yield f"  {what}: {count}"
        yield f"laws broken: {len(self.broken)}"
        yield from self.broken


def run(seeds: Sequence[int], database_url: str = "", say: Callable[[str], None] = print) -> Report:
    """Kill an engine for each seed: on files, or on databases that are made for it on the server
    of `database_url`. `say` gets a line for each death."""
    report = Report()
    started = time.monotonic()
    lane = _Lane(report, database_url, say)
    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lane.run, [seeds[number::LANES] for number in range(LANES)]))
    report.seconds = time.monotonic() - started
    return report


_guard = threading.Lock()


class _Lane:
    """A row of accounts, each with its row of engines; several threads may each run one."""

    def __init__(self, report: Report, database_url: str, say: Callable[[str], None]) -> None:
        self._report = report
        self._server = database_url
        self._say = say

    def run(self, seeds: Sequence[int]) -> None:
        waiting = list(seeds)
        while waiting:
            with self._account(waiting[0]) as account, suppress(Violation):
                row = _Row(account)
                while waiting and row.goes_on:
                    self._end(row, waiting.pop(0))
                self._judged(row, "the last engine", row.settle)
                self._count(row.now)

    @contextmanager
    def _account(self, seed: int) -> Generator[Account]:
        """A folder that stays where a law was broken."""
        folder = Path(mkdtemp(prefix="tradebot-simulation-"))
        broken = len(self._report.broken)
        write_market(folder / "market", Random(seed))
        with database_of_its_own(self._server) as url:
            yield Account(folder / "var", folder / "market", url)
        if len(self._report.broken) == broken:
            rmtree(folder)

    def _end(self, row: "_Row", seed: int) -> None:
        death = _Death.drawn(Random(seed))
        caught = self._judged(row, f"seed {seed}: {death}", lambda: row.end(death))
        with _guard:
            self._report.deaths += 1
            self._report.seen[f"fault {death.fault.__name__}"] += 1
            self._report.seen["killed while it started" if death.starting else "later"] += 1
            for state in caught or ():
                self._report.seen[f"orders {state} at a death"] += 1
        self._say(f"seed {seed}: {death}: {len(row.now.orders)} orders, {row.now.head.id} facts")

    def _judged(self, row: "_Row", what: str, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Violation as violation:
            folder = row.account.settings.data_dir
            with _guard:
                self._report.broken.append(f"{what}: {violation} (kept in {folder})")
            raise

    def _count(self, now: Kept) -> None:
        with _guard:
            self._report.seen["orders"] += len(now.orders)
            self._report.seen["executions"] += len(now.trades)
            self._report.seen["audit rows"] += len(now.audit)


@dataclass(frozen=True)
class _Death:
    """How an engine ends. Moments are in seconds, `after` from the end of the fault."""

    fault: faults.Fault
    starting: bool
    moment: float
    after: float

    @classmethod
    def drawn(cls, random: Random) -> "_Death":
        starting = random.random() < STARTING
        moment = random.uniform(0, START_S if starting else LIFE_S)
        return cls(faults.drawn(random), starting, moment, random.uniform(0, AFTER_S))

    def __str__(self) -> str:
        when = "after its exec" if self.starting else "after its start"
        return f"{self.fault.__name__} {self.moment:.3f} s {when}"


class _Row:
    """The engines of one account, one after the other. `now` is what the last one left."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.now = NOTHING
        self._sent: set[str] = set()
        self._journals: set[Path] = set()
        self._deaths = 0
        self._tripped_deaths = 0

    @property
    def goes_on(self) -> bool:
        """Whether another engine is to be killed on this account."""
        few = self._deaths < DEATHS_AN_ACCOUNT
        return few and self._tripped_deaths < DEATHS_WHILE_TRIPPED

    def end(self, death: _Death) -> list[OrderState]:
        """Start an engine and kill it; the states of the orders that nobody could be sure of."""
        with self._engine() as engine:
            if not death.starting:
                self._wait(engine, lambda: self._log().count("started: ") > self._starts)
            time.sleep(death.moment)
            with suppress(ProcessLookupError):
                death.fault(engine.pid, self.account.settings)
                if death.fault is not faults.nothing:
                    time.sleep(death.after)
            witness = self._witness()
            engine.kill()
            ended = engine.wait()
        self._deaths += 1
        allowed = {-signal.SIGKILL, *_SIGNALLED.get(death.fault, ())}
        if death.starting and death.fault in _IN_THE_WAY:
            allowed.add(CANNOT_START)
        law(ended in allowed, "it ended by itself", f"status {ended}: {self._log()[-2_000:]}")
        self._judge(witness)
        self._tripped_deaths += self.now.count(KillSwitchTriggered) > 0
        return [order.state for order in self.now.orders.values() if order.state in UNSETTLED]

    def settle(self) -> None:
        """Let an engine alone until all that it was left is settled, and stop it in order."""
        with self._engine() as engine:
            self._wait(engine, lambda: self._log().count("started: ") > self._starts)
            self._wait(engine, self._is_settled)
            engine.send_signal(signal.SIGTERM)
            law(engine.wait(PATIENCE_S) == 0, "an orderly stop", self._log()[-2_000:])
        self._judge(AuditHead())
        judge_rest(self.now)

    @contextmanager
    def _engine(self) -> Generator[subprocess.Popen[bytes]]:
        self._starts = self._log().count("started: ")
        with subprocess.Popen(
            PROGRAM,
            env=self.account.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as engine:
            try:
                yield engine
            finally:
                engine.kill()

    def _wait(self, engine: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            law(engine.poll() is None, "it ended by itself", self._log()[-2_000:])
            law(time.monotonic() < deadline, "I16: it does not get there", self._log()[-2_000:])
            time.sleep(0.02)

    def _log(self) -> str:
        path = self.account.settings.log_path
        return path.read_text() if path.exists() else ""

    def _witness(self) -> AuditHead:
        """What an onlooker saw last; nothing where there is no database yet."""
        try:
            return head_now(self.account.settings)
        except UserError:
            return AuditHead()

    def _is_settled(self) -> bool:
        now = kept(self.account.settings).orders
        return not any(now[key].state in UNSETTLED for key in self.now.open)

    def _judge(self, witness: AuditHead) -> None:
        settings = self.account.settings
        before = self.now
        try:
            self.now = judge(settings, before, witness)
        except UserError as error:  # it was killed before it had made its database
            law(before is NOTHING and not settings.database_path.exists(), "it is readable", error)
        journals = set(settings.journal_dir.glob("*.journal")) - self._journals
        self._journals |= journals
        for journal in journals:
            with suppress(UserError):  # not even its header was written
                session = replay(settings, journal)
                judge_restart(session, before, settings.starting_cash)
                judge_intents(session, self.now, self._sent)
                self._sent.update(session.sent)


_SIGNALLED: dict[faults.Fault, tuple[int, ...]] = {
    faults.stop: (0, -signal.SIGTERM),
    faults.hang_up: (-signal.SIGHUP,),
    faults.trip: (-signal.SIGUSR1,),
}
"""How a process may have ended before it was killed: in order, or before it took signals."""
_IN_THE_WAY = (faults.fill_disk, faults.lock, faults.cut_connections)
"""What an engine that starts may say that it cannot start for."""
