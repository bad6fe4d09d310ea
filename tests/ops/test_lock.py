"""One engine a database, whatever happens to the first."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ops.errors import UserError
from engine.ops.lock import EngineLock, EngineLocked

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from engine.ops.lock import EngineLock
with EngineLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_second_engine_is_refused_and_told_of_the_first(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(EngineLocked) as raised, EngineLock(path):
        pass
    assert f"pid {holder.pid}, since 20" in raised.value.message
    assert str(path) in raised.value.message
    assert "DATA_DIR" in raised.value.remedy


def test_a_refused_engine_leaves_the_first_ones_lock_alone(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    open_files = len(list(Path("/dev/fd").iterdir()))
    for _ in range(2):
        with pytest.raises(EngineLocked, match=f"pid {holder.pid}"), EngineLock(path):
            pass
    assert len(list(Path("/dev/fd").iterdir())) == open_files


def test_an_engine_that_was_killed_holds_nothing(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with EngineLock(path):
        assert path.read_text().startswith(f"{os.getpid()} 20")


def test_an_engine_that_ended_holds_nothing(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.communicate()
    with EngineLock(path):
        assert path.read_text().startswith(f"{os.getpid()} 20")


def test_one_process_cannot_hold_it_twice(path: Path) -> None:
    with EngineLock(path):
        with pytest.raises(EngineLocked), EngineLock(path):
            pass
        with pytest.raises(EngineLocked), EngineLock(path):
            pass
    with EngineLock(path):
        pass


def test_nothing_of_an_earlier_holder_is_left_in_the_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("99999999 a longer text than that of the next holder, from an older version\n")
    with EngineLock(path):
        assert re.fullmatch(rf"{os.getpid()} 20\S+\+00:00\n", path.read_text())


def test_an_error_inside_lets_go(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), EngineLock(path):
        _ = 1 / 0
    with EngineLock(path):
        pass


def test_a_child_that_outlives_the_engine_does_not_keep_the_lock(path: Path) -> None:
    with EngineLock(path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with EngineLock(path):
            assert child.poll() is None
    finally:
        child.communicate()


@pytest.mark.parametrize("text", ["", "x\n", "\x1b[2J evil\n", "12"])
def test_a_holder_whose_text_says_nothing_is_still_the_holder(path: Path, text: str) -> None:
    with EngineLock(path):
        path.write_text(text)
        with pytest.raises(EngineLocked, match="pid unknown") as raised, EngineLock(path):
            pass
        assert "\x1b" not in str(raised.value)


def test_nobody_else_may_read_what_is_made(path: Path, umask: int) -> None:
    with EngineLock(path.parent / "deeper" / path.name) as lock:
        assert lock.path.stat().st_mode & 0o777 == 0o600
        assert lock.path.parent.stat().st_mode & 0o777 == 0o700
        assert lock.path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_exists_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o750)
    with EngineLock(path):
        assert path.parent.stat().st_mode & 0o777 == 0o750


def test_a_folder_that_is_a_file_is_told(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(UserError, match=r"cannot make the folder .*state \(") as raised:
        EngineLock(path).__enter__()
    assert "DATA_DIR" in raised.value.remedy


def test_a_lock_that_cannot_be_opened_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot lock .*paper.lock"):
        EngineLock(path).__enter__()
