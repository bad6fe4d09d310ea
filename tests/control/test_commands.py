"""`tradebot status`, `logs`, `flatten` and `kill` against a real engine, and without one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.control.status import new_lines
from engine.ops.lock import EngineLock
from engine.view.snapshot import LogLine
from tests.host.test_headless import ROOT, engine, facts, logged, wait_for
from tests.terminal import Terminal

TRADEBOT = [sys.executable, "-c", "from engine.cli.main import main; main()"]


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)}


def tradebot(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRADEBOT, *arguments],
        env=environment(folder) | settings,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var"


@contextmanager
def holding(folder: Path, speed: str) -> Iterator[subprocess.Popen[str]]:
    """An engine that holds a position, for an hour of the replay."""
    with engine(folder, REPLAY_SPEED=speed) as process:
        wait_for(lambda: "PositionChanged" in (facts(folder) if logged(folder, "started") else ()))
        yield process


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with holding(folder, "600") as process:
        yield process


Running = subprocess.Popen[str]


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    done = tradebot(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_status_tells_what_runs(folder: Path, running: Running) -> None:
    said = told(folder, "status", "--json")
    assert said["pid"] == running.pid
    assert said["mode"] == "paper"
    assert said["kill"]["tripped"] is False
    assert said["positions"][0]["quantity"].replace(".", "").isdigit()
    (broker,) = said["brokers"]
    assert (broker["name"], broker["connected"], broker["note"]) == ("paper", True, "")
    assert (broker["live"], broker["losses"]) == (False, 0)
    assert said["in_command"] is None
    text = tradebot(folder, "status").stdout
    assert f"pid {running.pid}, PAPER" in text
    assert "kill switch ready" in text
    assert "broker      paper connected" in text


def test_a_kill_over_the_socket_is_quick_and_seen_by_status(folder: Path, running: Running) -> None:
    done = tradebot(folder, "kill", "--reason", "drill")
    assert done.returncode == 0
    kill = told(folder, "status", "--json")["kill"]
    assert (kill["tripped"], kill["source"], kill["reason"]) == (True, "tradebot kill", "drill")
    assert "TRIPPED by tradebot kill: drill" in tradebot(folder, "status").stdout
    assert list(folder.glob("*.kill_request")) == []


def test_a_strategy_that_was_killed_is_not_left_out_of_those_on(
    folder: Path, running: Running
) -> None:
    rows = told(folder, "status", "--json")["strategies"]
    (name,) = (row["name"] for row in rows if row["state"] == "on")
    assert f"strategies  {name} on\n" in tradebot(folder, "status").stdout
    assert tradebot(folder, "kill", "--strategy", name).returncode == 0
    assert f"strategies  none on; {name} killed\n" in tradebot(folder, "status").stdout


def test_a_kill_is_heard_without_the_socket(folder: Path, running: Running) -> None:
    (folder / "control" / "paper.sock").unlink()
    assert tradebot(folder, "kill", "--timeout", "20").returncode == 0
    assert "KillSwitchTriggered" in facts(folder)


def test_flatten_closes_all_and_waits_for_it(folder: Path, running: Running) -> None:
    said = told(folder, "flatten", "--yes", "--json", "--timeout", "50")
    assert said == {
        "pid": running.pid,
        "flat": True,
        "phase": "complete",
        "open_orders": 0,
        "open_positions": 0,
    }
    status = told(folder, "status", "--json")
    assert status["positions"] == []
    assert status["orders"] == []
    assert status["kill"]["source"] == "tradebot flatten"
    assert "TRIPPED by tradebot flatten (complete)" in tradebot(folder, "status").stdout


def test_flatten_asks_for_the_word_and_says_what_it_does(folder: Path) -> None:
    with holding(folder, "150"):
        for word, expected in (("yes", 2), ("FLATTEN", 0)):
            with Terminal([*TRADEBOT, "flatten"], environment(folder)) as terminal:
                terminal.wait_for("Type FLATTEN to do it")
                assert "PAPER account" in terminal.screen
                assert "sells" in terminal.screen
                assert told(folder, "status", "--json")["kill"]["tripped"] is False
                terminal.press(f"{word}\n")
                assert terminal.wait(60) == expected
        assert "no position is held" in terminal.screen


def test_flatten_that_nobody_can_confirm_does_nothing(folder: Path, running: Running) -> None:
    for arguments in ((), ("--json",)):
        done = tradebot(folder, "flatten", *arguments)
        assert done.returncode == 2
        assert "--yes" in done.stderr
    assert told(folder, "status", "--json")["kill"]["tripped"] is False


def test_logs_are_printed_and_followed_to_the_end(folder: Path, running: Running) -> None:
    lines = tradebot(folder, "logs", "-n", "3").stdout.splitlines()
    assert len(lines) == 3
    row = json.loads(tradebot(folder, "logs", "-n", "1", "--json").stdout)
    assert sorted(row) == ["level", "seq", "text", "time"]
    with subprocess.Popen(
        [*TRADEBOT, "logs", "-f", "-n", "0"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        wait_for(lambda: (folder / "tradebot.log").read_text().count("is attached") == 3)
        tradebot(folder, "kill", "--reason", "followed")
        running.send_signal(signal.SIGTERM)
        assert following.stdout is not None
        said = following.stdout.read()
        assert following.wait(30) == 0
    told_once = [line for line in said.splitlines() if "KILL SWITCH tripped" in line]
    assert len(told_once) == 1
    assert "followed" in told_once[0]


def test_lines_that_were_told_are_not_told_again() -> None:
    """After a lost connection the lines are sent anew."""
    a, b, c = (LogLine(n, n, "info", "filled") for n in range(3))
    seen = (a, b, b)
    anew = tuple(msgspec.structs.replace(line) for line in seen)
    assert new_lines(seen, anew) == ()
    assert new_lines(seen, (*anew, b, c)) == (b, c)
    assert new_lines(seen, (anew[-1], c)) == (c,)
    assert new_lines(seen, (c,)) == (c,)
    assert new_lines((), anew) == seen


@pytest.mark.parametrize("command", [("status",), ("logs", "-f"), ("flatten", "--yes")])
def test_without_an_engine_it_says_so(command: tuple[str, ...], folder: Path) -> None:
    done = tradebot(folder, *command)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no engine runs with MODE=paper" in done.stderr
    said = tradebot(folder, *command, "--json")
    assert said.returncode == 3
    assert "no engine runs" in json.loads(said.stdout)["error"]


def test_a_wrong_setting_hinders_nobody_from_looking_or_closing(
    folder: Path, running: Running
) -> None:
    for command in (("status",), ("logs",), ("flatten", "--yes")):
        done = tradebot(folder, *command, MAX_DAILY_LOSS="much")
        assert done.stderr.startswith("warning: MAX_DAILY_LOSS='much': ")
        assert done.returncode == 0
        assert done.stdout


@pytest.mark.parametrize("command", [("status",), ("logs",), ("flatten", "--yes")])
def test_without_the_mode_the_engine_is_not_found(command: tuple[str, ...], folder: Path) -> None:
    done = tradebot(folder, *command, MODE="papr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: MODE='papr'" in done.stderr


def test_an_engine_that_does_not_answer_is_told(folder: Path) -> None:
    with EngineLock(folder / "paper.lock"):
        done = tradebot(folder, "status")
    assert done.returncode == 4
    assert f"the engine (pid {os.getpid()}) does not answer" in done.stderr
    assert f"kill -9 {os.getpid()}" in done.stderr


def test_a_killed_engine_leaves_nothing_in_the_way_of_the_next(
    folder: Path, running: Running
) -> None:
    running.kill()
    running.wait()
    assert (folder / "control" / "paper.sock").exists()
    assert tradebot(folder, "status").returncode == 3
    with engine(folder) as again:
        wait_for(lambda: tradebot(folder, "status").returncode == 0)
        assert told(folder, "status", "--json")["pid"] == again.pid
        again.send_signal(signal.SIGTERM)
        assert again.wait(30) == 0
    assert not (folder / "control" / "paper.sock").exists()
