"""`tradebot run` as a process: its signals, its end, its exit status."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHIN_S = 30


@contextmanager
def engine(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {"DATA_DIR": str(folder), "REPLAY_SPEED": "3600", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "engine", "run"],
        env=os.environ | environment | settings,
        stderr=subprocess.PIPE,
        text=True,
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
