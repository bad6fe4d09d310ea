"""The shipped program in a real terminal: started, watched, stopped and killed as a person does."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.core.model import Mode
from engine.store.place import Place
from engine.store.repository import Repository
from tests.terminal import Terminal, engines_in

PROGRAM = Path(sys.executable).with_name("tradebot-tui")
KILL = "\x0b"
ROOT = Path(__file__).parent.parent


def environment(**settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **kept, **settings}


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Terminal]:
    """The console on the shipped recording, ten times as fast as it is by default."""
    with start(tmp_path) as terminal:
        yield terminal


def start(
    folder: Path,
    settings: dict[str, str] | None = None,
    size: tuple[int, int] = (120, 40),
    arguments: Sequence[str] = (),
) -> Terminal:
    variables = environment(**{"REPLAY_SPEED": "600"} | (settings or {}))
    argv = [str(PROGRAM), *arguments]
    return Terminal(argv, variables, columns=size[0], rows=size[1], folder=folder)


def rows_of(database: Path, table: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return sorted(connection.execute(f"select * from {table}"), key=repr)


def differences(database: Path) -> list[str]:
    async def check() -> list[str]:
        repository = await Repository.open(Place.in_file(database, Mode.PAPER))
        try:
            return await repository.ledger_check()
        finally:
            await repository.close()

    return asyncio.run(check())


def test_a_strategy_trades_is_killed_and_stays_killed_over_kill_9_of_console_and_engine(
    console: Terminal, tmp_path: Path
) -> None:
    console.wait_for("PAPER")
    console.wait_for("buy signal on BTC-USD")
    console.wait_for("filled: buy")
    console.wait_for("unrealised +")
    console.press(KILL)
    console.wait_for("KILLED by console")
    console.wait_for("complete, no order open")
    console.kill()
    (engine,) = engines_in(tmp_path)
    os.kill(engine, signal.SIGKILL)

    database = tmp_path / "var" / "paper.db"
    before = {table: rows_of(database, table) for table in ("orders", "trades", "positions")}
    assert before["trades"]
    assert differences(database) == []

    with start(tmp_path) as again:
        again.wait_for("KILLED")
        again.wait_for("unrealised")
        again.wait_for("engine")
        again.kill()
    after = {table: rows_of(database, table) for table in before}
    assert after == before
    assert differences(database) == []


def test_quitting_says_what_happens_and_ends_with_0(console: Terminal) -> None:
    console.wait_for("filled: buy")
    console.press("q")
    console.wait_for("Open orders stay in the database")
    for _ in range(10):
        console.press("\r ")  # neither enter nor space confirms, however often
        console.read()
    console.wait_for("Open orders stay in the database")
    console.ends_with("y")
    assert console.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(console: Terminal, tmp_path: Path, number: int) -> None:
    console.wait_for("filled: buy")
    console.process.send_signal(number)
    assert console.wait() == 128 + number
    assert "stopped: state" in (tmp_path / "var" / "tradebot.log").read_text()


def test_sigusr1_trips_the_kill_switch(console: Terminal) -> None:
    console.wait_for("filled: buy")
    console.process.send_signal(signal.SIGUSR1)
    console.wait_for("KILLED")


def test_the_file_trips_the_kill_switch(console: Terminal, tmp_path: Path) -> None:
    console.wait_for("filled: buy")
    (tmp_path / "var" / ".kill_switch").touch()
    console.wait_for("KILLED")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_it_works_at(size: tuple[int, int], tmp_path: Path) -> None:
    with start(tmp_path, size=size) as console:
        screen = console.wait_for("BTC-USD")
        for word in ("PAPER", "equity", "quotes", "positions", "orders", "risk"):
            assert word in screen
        console.press("?")
        console.wait_for("Kill: stop trading now")


def test_a_terminal_of_40x10_says_so_and_can_still_kill(tmp_path: Path) -> None:
    with start(tmp_path, size=(40, 10)) as console:
        console.wait_for("80x24")
        console.wait_for("PAPER")
        console.press(KILL)
        console.wait_for("KILLED")


def test_without_colour_and_with_16_colours(tmp_path: Path) -> None:
    for settings in ({"NO_COLOR": "1"}, {"TEXTUAL_COLOR_SYSTEM": "standard"}):
        with start(tmp_path, settings) as console:
            console.wait_for("PAPER")
            console.wait_for("BTC-USD")


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    with start(tmp_path, {"MAX_POSITION_SIZE_PCT": "abc"}) as console:
        assert console.wait() == 2
        assert "MAX_POSITION_SIZE_PCT='abc'" in console.screen
        assert "Traceback" not in console.screen


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STRATEGIES": "nonsense"}, "nonsense"),
        ({"SYMBOLS": "NOPE"}, "NOPE"),
        ({"REPLAY_DIR": "/nowhere"}, "/nowhere"),
        ({"DATA_DIR": "/dev/null/x"}, "/dev/null/x"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with start(tmp_path, settings) as console:
        assert console.wait() == 2
        assert said in console.screen
        assert "Traceback" not in console.screen


def test_an_unreadable_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "XYZ-2020-bars-1m.csv.gz").write_bytes(b"no gzip at all")
    with start(tmp_path, {"REPLAY_DIR": "data"}) as console:
        assert console.wait() == 2
        assert "XYZ-2020-bars-1m.csv.gz" in console.screen
        assert "Traceback" not in console.screen


def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    limited = (
        "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    argv = [sys.executable, "-c", limited, sys.executable, str(PROGRAM)]
    with Terminal(argv, environment(), folder=tmp_path) as console:
        assert console.wait() == 2
        assert "disk" in console.screen or "full" in console.screen
        assert "Traceback" not in console.screen


def test_without_a_terminal_it_refuses(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert "terminal" in done.stderr
