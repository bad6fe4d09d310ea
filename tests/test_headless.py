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
        [sys.executable, "-c", "from engine.cli import main; main()", "run"],
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
