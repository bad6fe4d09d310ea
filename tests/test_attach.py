"""Consoles that attach to an engine and leave it, each in a real terminal."""

import getpass
import json
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES

from engine.control.client import RemoteEngine
from engine.control.protocol import Hello, version
from engine.control.status import pid_of
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.cli.test_cli import tradebot
from tests.host.test_headless import engine, logged, wait_for
from tests.session import rows
from tests.terminal import Terminal, engines_in
from tests.test_console import ROOT, environment, start
from tests.test_kill_sources import hung
from tests.tui.test_main import COMMAND, fill
from tui import format

DOWN = "\x1b[B"

SPIN_S = 2.0
"""Seconds over which a process is watched for spinning."""

Attach = Callable[..., Terminal]


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Attach]:
    """Starts consoles with the same settings."""
    consoles: list[Terminal] = []

    def run(**settings: str) -> Terminal:
        consoles.append(start(tmp_path, settings))
        return consoles[-1]

    yield run
    for console in consoles:
        console.__exit__()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[], RemoteEngine]]:
    """Looks at the engine as a console does."""
    watching: list[RemoteEngine] = []

    def run() -> RemoteEngine:
        path = tmp_path / "var" / "control" / "paper.sock"
        remote = RemoteEngine(path, Hello(version(), "test"), lambda: "")
        remote.start()
        watching.append(remote)
        wait_for(remote.latest)
        return remote

    yield run
    for remote in watching:
        remote.close()


Watch = Callable[[], RemoteEngine]


def latest(remote: RemoteEngine) -> Snapshot:
    snapshot = remote.latest()
    assert snapshot is not None
    return snapshot


def goes_on(remote: RemoteEngine) -> None:
    """The engine makes new snapshots."""
    before = latest(remote).wall_ts
    wait_for(lambda: latest(remote).wall_ts > before)
    assert remote.failure() is None


def test_d_detaches_and_the_next_console_attaches(
    attach: Attach, watch: Watch, tmp_path: Path
) -> None:
    console = attach()
    console.wait_for("filled: buy")
    console.press("d")
    assert console.wait() == 0
    said = bytes(console.received).decode()
    (pid,) = engines_in(tmp_path)
    assert f"the engine (pid {pid}) goes on without this console" in said
    summed_up = said.partition("session ")[2]
    assert "PAPER, account" in summed_up
    assert str((tmp_path / "var").resolve()) in summed_up
    goes_on(watch())
    again = attach()
    again.wait_for("filled: buy")
    assert "READ-ONLY" not in again.screen
    assert engines_in(tmp_path) == [pid]


def test_quitting_an_engine_that_another_started_leaves_it(
    attach: Attach, watch: Watch, tmp_path: Path
) -> None:
    with engine(tmp_path / "var") as process:
        wait_for(lambda: logged(tmp_path / "var", "started: "))
        console = attach()
        console.wait_for("kill ready")
        console.press("q")
        console.wait_for("The engine goes on")
        console.ends_with("y")
        assert console.process.returncode == 0
        goes_on(watch())
        again = attach()
        again.wait_for("kill ready")
        again.process.send_signal(signal.SIGTERM)
        assert again.wait() == 128 + signal.SIGTERM
        goes_on(watch())
        last = attach()
        last.wait_for("kill ready")
        last.press("q")
        last.wait_for("stops the engine in order")
        last.ends_with("s")
        assert last.process.returncode == 0
        assert process.wait(20) == 0
    assert logged(tmp_path / "var", "stopped: state")


def test_two_consoles_tell_the_same_and_one_commands(attach: Attach) -> None:
    one = attach()
    one.wait_for("filled: buy")
    two = attach()
    two.wait_for("READ-ONLY")
    two.press("R")
    two.wait_for("READ-ONLY: c asks ")
    two.press("p")
    two.press("c")
    one.wait_for("c keeps the command, else in")
    one.press("c")
    two.wait_for("keeps the command")
    one.press("d")
    assert one.wait() == 0
    two.wait_for("no console is in command (c takes it)")
    two.press("c")
    two.wait_for(lambda screen: "READ-ONLY" not in screen)
    two.wait_for("in command: console of")
    three = attach()
    three.wait_for("READ-ONLY")
    three.press("\x0b")  # anyone may stop
    for console in (two, three):
        console.wait_for("KILLED by console")
        console.wait_for("complete, no order open")


def test_two_consoles_and_the_command_line_tell_the_same(attach: Attach, tmp_path: Path) -> None:
    """The market stands still meanwhile."""
    one = attach()
    one.wait_for("filled: buy")
    one.press("p")
    two = attach()
    two.wait_for("READ-ONLY")
    for console in (one, two):
        console.wait_for("PAUSED")
    done = tradebot("status", "--json", DATA_DIR=str(tmp_path / "var"))
    told = json.loads(done.stdout)
    (held,) = [row for row in told["positions"] if row["symbol"] == "BTC-USD"]
    figures = [format.money(Decimal(told[name])) for name in ("equity", "day_pnl")]
    for console in (one, two):
        for text in (*figures, held["quantity"], "kill ready"):
            console.wait_for(text)
    two.press("\x0b")
    for console in (one, two):
        console.wait_for("KILLED by console")
    killed = json.loads(tradebot("status", "--json", DATA_DIR=str(tmp_path / "var")).stdout)
    assert killed["kill"]["tripped"] is True


def test_a_console_started_read_only_never_commands(attach: Attach, tmp_path: Path) -> None:
    with start(tmp_path, arguments=["--read-only"]) as console:
        console.wait_for("READ-ONLY: no console is in command")
        console.press("c")
        console.press("\x0b")
        console.wait_for("KILLED by console")


@pytest.mark.parametrize("end", [Terminal.kill, Terminal.hang_up], ids=["kill -9", "hang up"])
def test_a_console_that_dies_or_loses_its_terminal_changes_nothing(
    end: Callable[[Terminal], None], attach: Attach, watch: Watch, tmp_path: Path
) -> None:
    console = attach()
    console.wait_for("filled: buy")
    remote = watch()
    pid = pid_of(latest(remote))
    end(console)
    console.process.wait(10)
    goes_on(remote)
    assert engines_in(tmp_path) == [pid]
    assert not latest(remote).kill.tripped
    wait_for(lambda: not remote.standing().holder)
    again = attach()
    again.wait_for("unrealised")
    assert "READ-ONLY" not in again.screen
    assert pid_of(latest(remote)) == pid


def test_the_engine_does_not_spin_without_a_console(
    attach: Attach, watch: Watch, tmp_path: Path
) -> None:
    console = attach(REPLAY_SPEED="1")
    console.wait_for("kill ready")
    remote = watch()
    console.hang_up()
    assert console.process.wait(10) == 128 + signal.SIGHUP
    (pid,) = engines_in(tmp_path)
    remote.close()
    before = cpu_s(pid)
    time.sleep(SPIN_S)
    assert cpu_s(pid) - before < SPIN_S / 2


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_console_that_is_stopped_holds_nothing_up_and_comes_back(
    attach: Attach, watch: Watch
) -> None:
    console = attach()
    console.wait_for("filled: buy")
    remote = watch()
    console.process.send_signal(signal.SIGSTOP)
    gaps: list[int] = []
    end = time.monotonic() + 3
    before = latest(remote).wall_ts
    while time.monotonic() < end:
        wait_for(lambda: latest(remote).wall_ts > before)  # noqa: B023 - waited for here
        gaps.append(latest(remote).wall_ts - before)
        before = latest(remote).wall_ts
    assert len(gaps) > 6
    assert max(gaps) < 1_500_000_000
    console.process.send_signal(signal.SIGCONT)
    console.press("\x0b")
    console.wait_for("KILLED by console")
    wait_for(lambda: latest(remote).kill.tripped)


def test_a_terminal_that_nobody_reads_holds_nothing_up_and_comes_back(
    attach: Attach, watch: Watch
) -> None:
    console = attach(FPS="10")
    console.wait_for("filled: buy")
    remote = watch()
    fill(console._master)
    for _ in range(2 * MAX_QUEUED_WRITES):  # each draws something
        console.press(DOWN)
        time.sleep(0.02)
    goes_on(remote)
    console.press("\x0b")
    wait_for(lambda: latest(remote).kill.tripped)
    goes_on(remote)
    console.wait_for("complete, no order open")
    console.press("?")
    console.wait_for("Kill: stop trading now")


def test_an_engine_that_is_killed_is_told_within_seconds(attach: Attach, tmp_path: Path) -> None:
    console = attach()
    console.wait_for("filled: buy")
    (pid,) = engines_in(tmp_path)
    os.kill(pid, signal.SIGKILL)
    remedy = "ENGINE ENDED without a word: start tradebot-tui again, it asks the brokers first"
    console.wait_for(remedy, timeout=5)
    console.press("q")
    assert console.wait() == 1
    said = " ".join(console.received.decode(errors="replace").split())
    assert "(var/tradebot.log may say why)" in said.rpartition("tradebot-tui: the engine ended")[2]
    again = attach()
    again.wait_for("kill ready")
    again.wait_for("unrealised")


def test_a_console_of_another_version_says_how_to_get_on(tmp_path: Path, watch: Watch) -> None:
    other = "import engine, sys; engine.__version__ = '0.0'; from tui.main import main; main()"
    with engine(tmp_path / "var") as process:
        wait_for(lambda: logged(tmp_path / "var", "started: "))
        variables = environment(PYTHONPATH=str(ROOT))
        with Terminal([sys.executable, "-c", other], variables, folder=tmp_path) as console:
            console.wait()
            said = console.received.decode(errors="replace")
            assert "tradebot-tui: the engine is of tradebot" in said
            assert f"stop the engine (kill {process.pid} stops it in order)" in said
            goes_on(watch())


def test_nobody_else_gets_at_the_socket(attach: Attach, tmp_path: Path) -> None:
    attach().wait_for("kill ready")
    path = tmp_path / "var" / "control" / "paper.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_kill_while_the_engine_still_starts_is_kept_whatever_becomes_of_the_console(
    attach: Attach, tmp_path: Path
) -> None:
    console = attach()
    console.wait_for("waiting for the engine")
    console.press("\x0b")
    console.wait_for("KILL REQUESTED")
    console.hang_up()
    wait_for(lambda: (tmp_path / "var" / "paper.kill_switch").exists())


# A console whose disk takes no byte.
FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from tui.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("full", [False, True])
def test_a_kill_that_an_engine_does_not_answer_is_kept_or_signalled_and_told(
    full: bool, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", FULL_DISK] if full else COMMAND
    with (
        hung(tmp_path / "var") as process,
        Terminal(program, environment(PYTHONPATH=str(ROOT)), folder=tmp_path) as console,
    ):
        console.wait_for("waiting for the engine")
        console.press("\x0b")
        console.wait_for("KILL REQUESTED")
        console.press("q")
        console.wait_for("one that runs already goes on")
        console.ends_with("y")
        console.wait()
        told = console.screen.replace("\n", "")  # where a line is full a word goes on in the next
        assert "the kill was not answered" in told
        assert full or f"kill -9 {process.pid}" in told
        assert ("KILL_SWITCH=true" in told) == full
        assert (tmp_path / "var" / "paper.kill_switch").exists() != full
        if full:
            assert process.wait(10) == 0
        else:
            assert process.poll() is None


def test_who_commands_is_in_the_audit_log_by_user_terminal_and_where_they_come_from(
    attach: Attach, tmp_path: Path
) -> None:
    console = attach(SSH_CLIENT="192.0.2.7 51234 22")
    console.wait_for("kill ready")
    console.press("\x0b")
    console.wait_for("KILLED by console")
    settings = Settings(data_dir=tmp_path / "var")
    asked = "select payload from audit_log where kind = 'KillSwitchTriggered'"
    wait_for(lambda: rows(settings, asked))
    ((payload,),) = rows(settings, asked)
    assert re.search(
        rf'"author":"console of {getpass.getuser()} on pts/\d+ from 192\.0\.2\.7 \(pid \d+\)"',
        payload,
    )
