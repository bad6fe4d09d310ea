"""`tradebot run` as a process: its signals, its end, its exit status."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engine.ops.lock import EngineLock
from tests.bench.soak import unfinished_files

ROOT = Path(__file__).parents[2]
WITHIN_S = 30
STOPS_WITHIN_S = 10


SHIPPED = ("-m", "engine")


@contextmanager
def engine(
    folder: Path, program: Sequence[str] = SHIPPED, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    environment = {"DATA_DIR": str(folder), "REPLAY_SPEED": "3600", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *program, "run"],
        env=os.environ | environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def logged(folder: Path, text: str) -> bool:
    log = folder / "tradebot.log"
    return log.exists() and text in log.read_text()


def facts(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "paper.db")) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM audit_log ORDER BY id")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_when_asked(folder: Path, number: signal.Signals) -> None:
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 0
        assert process.communicate()[1] == ""
    assert logged(folder, "stopped: state")


MUTE = """
import asyncio, engine.build
from engine.brokers.paper import PaperBroker

class Mute(PaperBroker):
    async def submit_order(self, order):
        print(order.client_order_id, flush=True)
        if %r:
            return await super().submit_order(order)
        await asyncio.Event().wait()

engine.build.PaperBroker = Mute
from engine.__main__ import main
main()
"""
"""A venue that names each submit that it gets, and answers none, or all."""


def states(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "paper.db")) as connection:
        return dict(connection.execute("SELECT client_order_id, state FROM orders").fetchall())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("timeout", ["2", "60"], ids=["doubted before", "still waited for"])
def test_it_stops_in_time_while_a_submit_has_no_answer_and_it_is_not_sent_again(
    folder: Path, number: signal.Signals, timeout: str
) -> None:
    settings = {"SUBMIT_TIMEOUT_S": timeout, "ON_STOP": "keep"}
    with engine(folder, ("-c", MUTE % False), **settings) as process:
        assert process.stdout is not None
        sent = process.stdout.readline().strip()
        process.send_signal(number)
        asked = time.monotonic()
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 0
        assert time.monotonic() - asked < STOPS_WITHIN_S
        said, errors = process.communicate()
        assert errors == ""
        assert said.startswith("still open at paper: limit entry to buy ")
        assert sent in said
    assert states(folder)[sent] in ("submitted", "in_doubt")
    assert logged(folder, "engine.host.runtime audit head"), "all is on disk"
    assert not logged(folder, "CRITICAL")
    with engine(folder, ("-c", MUTE % True)) as process:
        wait_for(lambda: states(folder)[sent] not in ("submitted", "in_doubt"))
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 0
        assert sent not in process.communicate()[0].split()


def test_what_was_stopped_leaves_no_process_no_lock_and_no_unfinished_file(folder: Path) -> None:
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        assert unfinished_files(folder) != [], "a running one has a write-ahead log"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    assert unfinished_files(folder) == []
    with EngineLock(folder / "paper.lock"):
        pass


def test_a_lost_terminal_changes_nothing_and_the_kill_signal_trips(folder: Path) -> None:
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: logged(folder, "the terminal was lost"))
        process.send_signal(signal.SIGUSR1)
        wait_for((folder / "paper.kill_switch").exists)
        wait_for(lambda: "KillSwitchTriggered" in facts(folder))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0


def holds_signals(pid: int) -> bool:
    """Whether the process has just begun, and answers no signal yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    (held,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(held, 16) >> (signal.SIGUSR1 - 1) & 1)


def test_a_kill_while_the_program_is_still_loaded_is_not_lost(folder: Path) -> None:
    with engine(folder) as process:
        wait_for(lambda: holds_signals(process.pid))
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGHUP)
        wait_for((folder / "paper.kill_switch").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    assert facts(folder).count("KillSwitchTriggered") == 1
    assert "OrderSubmitted" not in facts(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_while_it_is_still_loaded_and_keeps_the_kill(
    folder: Path, number: signal.Signals
) -> None:
    with engine(folder) as process:
        wait_for(lambda: holds_signals(process.pid))
        process.send_signal(number)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(WITHIN_S) == 0
        assert process.communicate()[1] == ""
    assert logged(folder, "stopped: state")
    assert (folder / "paper.kill_switch").exists()
    assert "KillSwitchTriggered" in facts(folder)


def test_a_kill_of_an_engine_that_cannot_start_is_for_the_next_one(folder: Path) -> None:
    with engine(folder, SYMBOLS="NOPE") as process:
        wait_for(lambda: holds_signals(process.pid))
        process.send_signal(signal.SIGUSR1)
        assert process.wait(WITHIN_S) == 2
    assert (folder / "paper.kill_switch").read_text() == "signal: SIGUSR1\n"


@pytest.mark.parametrize("wrong", ["FPS", "MODE", "CIRCUIT_BRAKER_RESET"])
def test_a_kill_is_kept_where_the_settings_are_refused_and_say_where(
    folder: Path, wrong: str
) -> None:
    with engine(folder, **{wrong: "?"}) as process:
        wait_for(lambda: holds_signals(process.pid))
        process.send_signal(signal.SIGUSR1)
        assert process.wait(WITHIN_S) == 2
        assert wrong in process.communicate()[1]
    assert (folder / "paper.kill_switch").exists() == (wrong != "MODE")


def test_a_kill_of_a_second_one_trips_the_first(folder: Path) -> None:
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        with engine(folder) as second:
            wait_for(lambda: holds_signals(second.pid))
            second.send_signal(signal.SIGUSR1)
            assert second.wait(WITHIN_S) == 2
        wait_for(lambda: "KillSwitchTriggered" in facts(folder))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0


def test_a_second_one_is_refused_with_what_to_do(folder: Path) -> None:
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        with engine(folder) as second:
            assert second.wait(WITHIN_S) == 2
            said = second.communicate()[1]
        assert f"another engine (pid {process.pid}" in said
        assert "quit that one first" in said


def test_a_wrong_setting_is_named(folder: Path) -> None:
    with engine(folder, SYMBOLS="NOPE") as process:
        assert process.wait(WITHIN_S) == 2
        assert "NOPE" in process.communicate()[1]
