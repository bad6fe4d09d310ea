"""The kill switch from outside the engine: its files, `tradebot kill`, and all sources together."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.events import RearmKillSwitch, ResetCircuitBreaker, TripKillSwitch
from engine.core.model import KillAction, Mode, OrderState, Part, Scope
from engine.ops.files import write_private
from engine.ops.latch import REFUSAL_KEPT_S, KillRequest, refusal_of
from engine.ops.lock import EngineLock
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.host.test_headless import engine, logged, wait_for
from tests.session import journals, replayed, rows, running, zigzag

REARM = RearmKillSwitch(word="REARM", author="me")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path)


def holds(snapshot: Snapshot) -> bool:
    return bool(snapshot.positions)


def said(snapshot: Snapshot, text: str) -> bool:
    return any(text in line.text for line in snapshot.log)


def ask(settings: Settings, name: str = "1", **what: Any) -> Path:
    """A request as `tradebot kill` leaves it."""
    path = settings.kill_files.requests / f"{name}{settings.kill_files.suffix}"
    write_private(path, msgspec.json.encode(KillRequest(**what)))
    return path


def trips(settings: Settings) -> list[dict[str, Any]]:
    found = rows(settings, "SELECT payload FROM audit_log WHERE kind = 'KillSwitchTriggered'")
    return [json.loads(payload) for (payload,) in found]


# --- the files -----------------------------------------------------------------------------------


async def test_the_file_that_is_made_by_hand_trips_and_has_to_be_removed_by_hand(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        settings.kill_files.by_hand.touch()
        snapshot = await session.until(lambda s: s.kill.phase == "complete")
        assert snapshot.kill.source == "file"
        session.command(REARM)
        await session.until(lambda s: said(s, f"remove {settings.kill_files.by_hand} first"))
        assert session.snapshots[-1].kill.tripped
        settings.kill_files.by_hand.unlink()
        await session.until(lambda _: not session.runtime.machine.safety.kill_file)
        assert session.snapshots[-1].kill.tripped
        session.command(REARM)
        await session.until(lambda s: not s.kill.tripped and s.kill.durable)
    (journal,) = journals(settings)
    assert replayed(settings, journal).state_hash() == session.runtime.machine.state_hash()


async def test_a_file_by_hand_before_the_start_trips_and_nothing_is_sent(
    settings: Settings,
) -> None:
    settings.kill_files.by_hand.parent.mkdir()
    settings.kill_files.by_hand.touch()
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert (snapshot.kill.tripped, snapshot.orders) == (True, ())


async def test_the_latch_of_the_other_mode_is_its_own(settings: Settings) -> None:
    other = settings.model_copy(update={"mode": Mode.LIVE})
    write_private(other.kill_files.latch, b"key: \n")
    async with running(settings) as session:
        await session.until(holds)
        assert not session.snapshots[-1].kill.tripped


async def test_a_request_trips_with_its_author_reason_and_action_and_is_taken_away(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        path = ask(settings, author="ann", reason="spike", action=KillAction.KEEP_STOPS)
        await session.until(lambda s: s.kill.tripped and s.kill.durable and not path.exists())
    (fact,) = trips(settings)
    assert (fact["source"], fact["author"], fact["reason"]) == ("tradebot kill", "ann", "spike")
    assert fact["action"] == "keep_stops"


async def test_a_request_kills_a_part_and_one_that_there_is_not_is_refused(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        strategy = session.snapshots[-1].strategies[0].name
        part = Part(Scope.STRATEGY, strategy)
        path = ask(settings, author="ann", part=part)
        snapshot = await session.until(lambda s: bool(s.killed_parts) and not path.exists())
        assert (snapshot.killed_parts[0].killed.part, snapshot.kill.tripped) == (part, False)
        wrong = ask(settings, part=Part(Scope.SYMBOL, "ACNE"))
        await session.until(lambda _: not wrong.exists())
        assert refusal_of(wrong).read_text().startswith("there is no symbol ACNE: name one of ")
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert [row.killed.part for row in snapshot.killed_parts] == [part]


async def test_a_wrong_name_that_was_left_before_the_start_is_an_alert_and_leaves_no_file(
    settings: Settings,
) -> None:
    wrong = ask(settings, author="ann", part=Part(Scope.STRATEGY, "puppit"))
    async with running(settings) as session:
        snapshot = await session.until(lambda s: bool(s.alerts) and not wrong.exists())
        (alert,) = snapshot.alerts
        assert (
            "ann asked to kill strategy puppit, and nothing was killed: there is no" in alert.text
        )
        assert (snapshot.killed_parts, snapshot.kill.tripped) == ((), False)
        minute_ago = time.time() - REFUSAL_KEPT_S - 1
        os.utime(refusal_of(wrong), (minute_ago, minute_ago))
        await session.until(lambda _: not refusal_of(wrong).exists())
    (journal,) = journals(settings)
    assert replayed(settings, journal).state_hash() == session.runtime.machine.state_hash()
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.alerts == ()


async def test_a_request_that_cannot_be_read_is_one_to_stop(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(holds)
        path = ask(settings)
        path.write_bytes(b'{"action": "dance"}')
        await session.until(lambda s: s.kill.tripped and not path.exists())


async def test_fifty_trips_from_everywhere_are_one_latch_and_one_cancel_an_order(
    tmp_path: Path,
) -> None:
    settings = zigzag(tmp_path, sells=False)
    async with running(settings) as session:
        await session.until(lambda s: any(o.state is OrderState.ACCEPTED for o in s.orders))
        for number in range(16):
            ask(settings, str(number), author=f"shell {number}")
        settings.kill_files.by_hand.touch()
        for number in range(16):
            session.command(TripKillSwitch(source="key", author=f"console {number}"))
            session.command(TripKillSwitch(source="signal", author=f"signal {number}"))
        await session.until(
            lambda _: (
                not list(settings.data_dir.glob("*.kill_request"))
                and session.runtime.machine.safety.kill_file
            )
        )
    told = trips(settings)
    assert {fact["source"] for fact in told} == {"key", "signal", "file", "tradebot kill"}
    assert len({fact["author"] for fact in told}) == 49
    pending = rows(
        settings,
        "SELECT count(*) FROM audit_log WHERE kind = 'OrderPendingCancel'"
        " GROUP BY json_extract(payload, '$.order.client_order_id')",
    )
    assert set(pending) == {(1,)}
    assert settings.kill_files.latch.read_text() == "key: \n"


# --- tradebot kill -------------------------------------------------------------------------------


TRADEBOT = (sys.executable, "-c", "from engine.cli.main import main; main()")


def tradebot_kill(
    folder: Path, *arguments: str, start: Sequence[str] = TRADEBOT, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*start, "kill", *arguments],
        env=os.environ | {"DATA_DIR": str(folder)} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_waits_until_the_engine_says_that_it_tripped(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        done = tradebot_kill(folder, "--json", "--action", "flatten", "--timeout", "20")
        assert (done.returncode, done.stderr) == (0, "")
        answer = json.loads(done.stdout)
        assert answer == {
            "mode": "paper",
            "tripped": True,
            "pid": process.pid,
            "durable": True,
            "part": None,
            "refused": None,
            "request": None,
        }
        wait_for((folder / "paper.kill_switch").exists)
        again = tradebot_kill(folder, "--timeout", "20")
        assert again.stdout == f"the kill switch is tripped (MODE=paper, pid {process.pid})\n"
        process.terminate()
        process.wait(30)
    kills = trips(Settings(data_dir=folder))
    assert [fact["source"] for fact in kills] == ["tradebot kill"] * 2
    assert [fact["action"] for fact in kills] == ["flatten"] * 2


@pytest.mark.parametrize("way", ["socket", "file"])
def test_a_part_is_killed_by_the_command_and_a_name_that_nothing_has_is_refused(
    way: str, tmp_path: Path
) -> None:
    folder = tmp_path / "var"
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        if way == "file":
            (folder / "control" / "paper.sock").unlink()
        done = tradebot_kill(folder, "--broker", "paper", "--timeout", "20")
        assert done.stdout == f"broker paper is killed (MODE=paper, pid {process.pid})\n"
        wrong = tradebot_kill(folder, "--broker", "papier", "--timeout", "20")
        assert (wrong.returncode, wrong.stdout) == (5, "")
        assert wrong.stderr == "there is no broker papier: name one of paper\n"
        process.terminate()
        process.wait(30)
    assert trips(Settings(data_dir=folder)) == []
    assert list(folder.glob("*.refused")) == []


def test_a_part_is_killed_over_the_socket_which_needs_no_disk(tmp_path: Path) -> None:
    folder, start = tmp_path / "var", (sys.executable, "-c", FULL_DISK)
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        killed = tradebot_kill(folder, "--symbol", "BTC-USD", "--action", "flatten", start=start)
        assert killed.stdout == f"symbol BTC-USD is killed (MODE=paper, pid {process.pid})\n"
        done = tradebot_kill(folder, "--symbol", "BTCUSD", "--json", start=start)
        assert (done.returncode, done.stderr) == (5, "")
        answer = json.loads(done.stdout)
        assert (answer["tripped"], answer["part"]) == (False, "symbol BTCUSD")
        assert answer["refused"].startswith("there is no symbol BTCUSD: name one of ")
        assert "killed      symbol BTC-USD\n" in tradebot_status(folder)


def test_two_parts_at_once_are_none(tmp_path: Path) -> None:
    done = tradebot_kill(tmp_path, "--broker", "paper", "--symbol", "ACME")
    assert done.returncode == 2
    assert "name one of --strategy, --symbol and --broker" in done.stderr
    assert list(tmp_path.glob("*kill_request")) == []


def test_a_part_without_a_name_is_none(tmp_path: Path) -> None:
    done = tradebot_kill(tmp_path, "--symbol", " ")
    assert done.returncode == 2
    assert "--symbol is empty: give a name" in done.stderr
    assert list(tmp_path.glob("*kill_request")) == []


def test_without_an_engine_it_says_where_and_what_the_next_one_does(tmp_path: Path) -> None:
    done = tradebot_kill(tmp_path, "--symbol", "ACME")
    assert done.returncode == 3
    assert f"no engine runs with MODE=paper in {tmp_path}: the next one kills symbol ACME" in (
        done.stderr
    )


def test_where_no_folder_can_be_made_nothing_was_killed() -> None:
    done = tradebot_kill(Path("/proc/none"), "--json")
    assert (done.returncode, done.stderr) == (2, "")
    said = json.loads(done.stdout)["error"]
    assert said.startswith("nothing was killed: no request can be left in ")
    assert "cannot make the folder" in said


def test_without_an_engine_the_next_one_starts_tripped(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    done = tradebot_kill(folder, "--reason", "before the open")
    assert done.returncode == 3
    assert "no engine runs with MODE=paper" in done.stderr
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        wait_for((folder / "paper.kill_switch").exists)
        process.terminate()
        process.wait(30)
    (fact,) = trips(Settings(data_dir=folder))
    assert fact["reason"] == "before the open"


def test_an_engine_that_does_not_answer_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with EngineLock(folder / "paper.lock"):
        done = tradebot_kill(folder, "--timeout", "0.2")
    assert done.returncode == 4
    assert f"kill -9 {os.getpid()}" in done.stderr
    assert len(list(folder.glob("*.paper.kill_request"))) == 1


def test_a_wrong_setting_hinders_no_kill(tmp_path: Path) -> None:
    done = tradebot_kill(tmp_path, MAX_DAILY_LOSS="much")
    assert done.returncode == 3
    assert "warning: MAX_DAILY_LOSS='much': " in done.stderr
    assert len(list(tmp_path.glob("*.paper.kill_request"))) == 1
    done = tradebot_kill(tmp_path, MODE="papr")
    assert done.returncode == 2
    assert "MODE='papr'" in done.stderr
    assert "kill -USR1 with the engine's pid" in done.stderr


NAMELESS = """
import os
from engine.ops.user import user_name
os.setuid(54321)
print(user_name())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_name_has_a_number() -> None:
    """As in a container; without one, nothing was killed."""
    named = ("LOGNAME", "USER", "LNAME", "USERNAME")
    bare = {name: value for name, value in os.environ.items() if name not in named}
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS], env=bare, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("uid 54321\n", "")


# A disk that takes no byte, for the process that runs in it.
FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from engine.cli.main import main; main()
"""

# Holds the lock as an engine does that hears no more than the signal.
HUNG = """
import signal, sys
from pathlib import Path
from engine.ops.lock import EngineLock
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
with EngineLock(Path(sys.argv[1])):
    print("locked", flush=True)
    signal.sigwait({signal.SIGUSR1})
"""


@contextmanager
def hung(folder: Path) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", HUNG, str(folder / "paper.lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_where_no_request_can_be_left_the_engine_gets_the_signal(tmp_path: Path) -> None:
    start = (sys.executable, "-c", FULL_DISK)
    with hung(tmp_path) as process:
        part = tradebot_kill(tmp_path, "--symbol", "ACME", start=start)
        assert part.returncode == 2
        assert "nothing was killed: no request can be left" in part.stderr
        assert process.poll() is None
        done = tradebot_kill(tmp_path, "--json", "--timeout", "1", start=start)
        assert (done.returncode, done.stderr) == (4, "")
        said = json.loads(done.stdout)["error"]
        assert f"kill -9 {process.pid}" in said
        assert "KILL_SWITCH=true" in said
        assert process.wait(10) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["paper.lock"]


def test_a_kill_that_the_disk_does_not_take_says_so_until_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with engine(folder) as process:
        wait_for(lambda: logged(folder, "started: "))
        no_limit = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, no_limit[1]))
        done = tradebot_kill(folder)
        assert done.returncode == 0
        assert "NOT ON DISK YET" in done.stdout
        assert "NOT ON DISK YET" in tradebot_status(folder)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, no_limit)
        wait_for((folder / "paper.kill_switch").exists)
        wait_for(lambda: "NOT ON DISK" not in tradebot_status(folder))


def tradebot_status(folder: Path) -> str:
    argv = [*TRADEBOT, "status"]
    return subprocess.check_output(argv, env=os.environ | {"DATA_DIR": str(folder)}, text=True)


# --- the circuit breaker at the start ------------------------------------------------------------


async def test_the_circuit_breaker_is_reset_at_the_start_where_that_is_set(tmp_path: Path) -> None:
    async with running(zigzag(tmp_path)) as session:
        await session.until(holds)
        session.runtime.machine.safety.trip_breaker("too fast")
        session.command(ResetCircuitBreaker(word="no", author="me"))
        await session.until(lambda s: said(s, "CIRCUIT BREAKER tripped"))
    async with running(zigzag(tmp_path)) as session:
        await session.until(lambda s: s.feed.status == "connected")
        assert session.runtime.machine.safety.breaker.state.tripped
    async with running(zigzag(tmp_path, circuit_breaker_reset=True)) as session:
        await session.until(lambda s: said(s, "circuit breaker reset by CIRCUIT_BREAKER_RESET"))
        assert not session.runtime.machine.safety.breaker.state.tripped


async def test_a_dry_run_says_so_and_sends_nothing(tmp_path: Path) -> None:
    async with running(zigzag(tmp_path, dry_run=True)) as session:
        snapshot = await session.until(lambda s: len(s.orders) >= 2)
        assert said(snapshot, "DRY RUN: no order is sent")
    assert {(o.state, o.reason) for o in session.snapshots[-1].orders} == {
        ("canceled", "not sent: dry run")
    }


async def test_nobody_there_trips_it_by_the_clock_on_the_wall(tmp_path: Path) -> None:
    async with running(zigzag(tmp_path, dead_man_s=0.5)) as session:
        snapshot = await session.until(lambda s: s.kill.tripped)
        assert snapshot.kill.source == "dead-man's switch"
        assert said(snapshot, "no sign of life")
