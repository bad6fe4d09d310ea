"""The real command in a real terminal: how it starts, how it ends, what it leaves behind."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from tests.host.test_headless import holds_signals, states, wait_for
from tests.terminal import Terminal, engines_in
from tui.dialogs.dialog import GRACE
from tui.main import Options

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from tui.__main__ import main; sys.exit(main())"
COMMAND = [sys.executable, "-c", MAIN]
LEFT = b"\x1b[?1049l"
"""The alternate screen was left."""

Start = Callable[..., Terminal]


def environment(**settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **settings}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a terminal, in an empty folder."""
    running: list[Terminal] = []

    def run(*, code: str = MAIN, rows: int = 40, columns: int = 120, **settings: str) -> Terminal:
        terminal = Terminal(
            [sys.executable, "-c", code],
            environment(**settings),
            columns=columns,
            rows=rows,
            folder=tmp_path,
        )
        running.append(terminal)
        return terminal

    yield run
    for terminal in running:
        terminal.__exit__()


def log(folder: Path) -> str:
    return (folder / "var" / "tradebot.log").read_text()


# --- it does not start ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_without_a_terminal_it_says_so(name: str, tmp_path: Path) -> None:
    master, child = pty.openpty()
    streams: dict[str, int] = dict.fromkeys(("stdin", "stdout", "stderr"), child)
    streams[name] = subprocess.PIPE
    process = subprocess.Popen(
        COMMAND,
        env=environment(),
        cwd=tmp_path,
        stdin=streams["stdin"],
        stdout=streams["stdout"],
        stderr=streams["stderr"],
    )
    _, errors = process.communicate(timeout=30)
    said = errors if name == "stderr" else os.read(master, 65_536)
    os.close(child)
    os.close(master)
    assert process.returncode == 2
    assert f"{name} is no terminal".encode() in said
    assert b"`tradebot status --json`" in said
    assert LEFT not in said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_terminal(closed: str, tmp_path: Path) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]
    done = subprocess.run(
        shell, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_a_terminal_that_cannot_draw_is_refused(kind: str, start: Start) -> None:
    terminal = start(TERM=kind)
    assert terminal.wait() == 2
    assert "set TERM, for example to xterm-256color" in terminal.screen
    assert "`tradebot status --json`" in terminal.screen


@pytest.mark.parametrize(
    ("argument", "status", "text"),
    [
        ("--version", 0, "tradebot-tui 0."),
        ("--help", 0, "usage: tradebot-tui [--read-only] "),
        ("--nonsense", 2, "usage:"),
        ("--slow-link=yes", 2, "--slow-link takes no value"),
        ("--fps=99", 2, "--fps '99': give a number from 1 to 30"),
        ("--fps", 2, "--fps '': give a number from 1 to 30"),
    ],
)
def test_arguments(argument: str, status: int, text: str) -> None:
    done = subprocess.run(
        [*COMMAND, argument], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("setting", "value"), [("MAX_POSITION_SIZE_PCT", "abc"), ("STRATEGIES", "no_such_strategy")]
)
def test_a_wrong_setting_is_told_in_the_restored_terminal(
    setting: str, value: str, start: Start
) -> None:
    terminal = start(**{setting: value})
    assert terminal.wait() == 2
    said = bytes(terminal.received).partition(LEFT)[2].decode()
    assert value in said
    assert "Traceback" not in said


# --- it ends -------------------------------------------------------------------------------------


def test_quit_stops_the_engine_in_order(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.press("q")
    terminal.wait_for("The engine stops with this console")
    outlast(terminal, GRACE)
    terminal.press("y")
    assert terminal.wait() == 0
    assert LEFT in terminal.received
    assert "stopped" in log(tmp_path)


IMPATIENT = "import tui.main; tui.main.ENGINE_STOP_S = 0.2; " + MAIN


def test_an_engine_that_hangs_is_ended_by_force_and_that_is_told(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(code=IMPATIENT)
    terminal.wait_for("kill ready")
    (pid,) = engines_in(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    terminal.press("q")
    terminal.wait_for("The engine stops with this console")
    terminal.ends_with("y")
    assert terminal.wait() == 1
    assert "was ended by force" in terminal.screen
    assert "it asks the brokers first" in terminal.screen
    assert engines_in(tmp_path) == []


def outlast(terminal: Terminal, seconds: float) -> None:
    """A new dialog takes no answer for some time."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        terminal.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_the_engine_and_restore_the_terminal(
    number: int, start: Start, tmp_path: Path
) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.process.send_signal(number)
    assert terminal.wait() == 128 + number
    assert LEFT in terminal.received
    assert "stopped" in log(tmp_path)


def test_sigquit_restores_the_terminal_and_the_engine_goes_on(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.process.send_signal(signal.SIGQUIT)
    assert terminal.wait() == 128 + signal.SIGQUIT
    assert LEFT in terminal.received
    (pid,) = engines_in(tmp_path)
    assert f"the engine (pid {pid}) goes on without this console" in terminal.screen


def test_the_orders_that_a_stop_leaves_open_are_named_in_the_restored_terminal(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(REPLAY_SPEED="1200", ON_STOP="keep")
    terminal.wait_for("kill ready")
    wait_for(lambda: terminal.read() and "accepted" in states(tmp_path / "var").values())
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.wait() == 128 + signal.SIGTERM
    assert "still open at paper: " in bytes(terminal.received).rpartition(LEFT)[2].decode()


@pytest.mark.parametrize(
    "lose", [Terminal.hang_up, lambda it: it.process.send_signal(signal.SIGHUP)]
)
def test_a_lost_terminal_stops_the_engine_in_order_where_that_is_set(
    lose: Callable[[Terminal], None], start: Start, tmp_path: Path
) -> None:
    terminal = start(ON_TERMINAL_LOST="stop")
    terminal.wait_for("kill ready")
    lose(terminal)
    assert terminal.process.wait(20) == 128 + signal.SIGHUP
    assert "stopped" in log(tmp_path)
    assert not (tmp_path / "var" / "paper.kill_switch").exists()


def test_a_lost_terminal_trips_the_kill_switch_where_that_is_set(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(ON_TERMINAL_LOST="kill")
    terminal.wait_for("kill ready")
    terminal.hang_up()
    assert terminal.process.wait(20) == 128 + signal.SIGHUP
    assert (tmp_path / "var" / "paper.kill_switch").exists()


SLOW = """
import pathlib, sys, time
import tui.attached, tui.main
leave = tui.attached.AttachedEngine.leave
used = pathlib.Path("used")
def slow(self):
    before = time.process_time()
    time.sleep(2)
    if not used.exists():
        used.write_text(str(time.process_time() - before))
    leave(self)
tui.attached.AttachedEngine.leave = slow
sys.exit(tui.main.main())
"""


def test_without_a_terminal_it_does_not_spin(start: Start, tmp_path: Path) -> None:
    terminal = start(code=SLOW)
    terminal.wait_for("kill ready")
    terminal.hang_up()
    assert terminal.process.wait(20) == 128 + signal.SIGHUP
    assert float((tmp_path / "used").read_text()) < 1


def test_a_terminal_that_nobody_reads_does_not_keep_it_alive(start: Start, tmp_path: Path) -> None:
    terminal = start(FEED="synthetic", FPS="10", columns=200, rows=50)
    terminal.wait_for("kill ready")
    fill(terminal._master)
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(20) == 128 + signal.SIGTERM
    assert "stopped" in log(tmp_path)


def fill(master: int) -> None:
    """Wait until the terminal's buffer is full and what writes to it waits."""
    before, now = -1, 0
    while before != now:
        before = now
        select.select([], [], [], 0.5)
        now = struct.unpack("i", fcntl.ioctl(master, termios.FIONREAD, b"\0" * 4))[0]


# A console that is stopped by a signal amid a write, where a file asks for it.
STOPPED = """
import os, signal, sys
from textual.drivers._writer_thread import WriterThread
import tui.main
write = WriterThread.write
def stopped(self, text):
    if os.path.exists("stop"):
        os.unlink("stop")
        with self._queue.mutex:
            os.kill(os.getpid(), signal.SIGTSTP)
    write(self, text)
WriterThread.write = stopped
sys.exit(tui.main.main())
"""


def test_it_is_suspended_and_comes_back_while_the_engine_goes_on(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(code=STOPPED, FEED="synthetic")
    before = market_time(terminal.wait_for("kill ready"))
    (tmp_path / "stop").touch()
    terminal.wait_for(lambda _: state(terminal.process.pid) == "T")
    outlast(terminal, 2)
    assert LEFT in terminal.received
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for(lambda screen: market_time(screen) >= before + timedelta(seconds=2))


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_comes_back(tmp_path: Path) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, environment(), folder=tmp_path) as terminal:
        terminal.press(f"{sys.executable} -c '{MAIN}'\n")
        terminal.wait_for("kill ready")
        terminal.press("\x1a")
        terminal.wait_for("Stopped")
        terminal.press("fg\n")
        terminal.wait_for("kill ready")
        terminal.press("\x0b")
        terminal.wait_for("KILLED by console")


def test_ctrl_z_where_no_shell_could_bring_it_back_says_so(start: Start) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.press("\x1a")
    terminal.wait_for("no shell could bring the console back: d detaches")


def state(pid: int) -> str:
    """T where the process is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def market_time(screen: str) -> datetime:
    found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", screen)
    assert found is not None
    return datetime.fromisoformat(found[0]).replace(tzinfo=UTC)


def test_a_malformed_key_does_not_end_it(start: Start) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.press("\x1b[114:82;2;82u")
    terminal.press("\x0b")
    terminal.wait_for("KILLED by console")


def test_a_signal_trips_the_kill_switch(start: Start) -> None:
    terminal = start()
    terminal.wait_for("kill ready")
    terminal.process.send_signal(signal.SIGUSR1)
    terminal.wait_for(lambda screen: "KILLED by signal" in screen and "SIGUSR1" in screen)


def test_a_kill_while_the_program_is_still_loaded_is_not_lost(start: Start) -> None:
    terminal = start()
    wait_for(lambda: holds_signals(terminal.process.pid))
    terminal.process.send_signal(signal.SIGUSR1)
    terminal.wait_for(lambda screen: "KILLED by signal" in screen and "SIGUSR1" in screen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_it_ends_while_it_is_still_loaded_and_keeps_the_kill(
    number: int, start: Start, tmp_path: Path
) -> None:
    terminal = start()
    wait_for(lambda: holds_signals(terminal.process.pid))
    terminal.process.send_signal(number)
    terminal.process.send_signal(signal.SIGUSR1)
    assert terminal.wait() == 128 + number
    assert (tmp_path / "var" / "paper.kill_switch").exists()


def test_a_kill_before_the_engine_is_there_is_the_first_that_it_gets(start: Start) -> None:
    terminal = start()
    terminal.wait_for("waiting for the engine")
    terminal.press("\x0b")
    terminal.wait_for("KILLED by console")


FREEZING = """
import sys, threading
import tui.app, tui.main
tui.app.Console.action_help = lambda self: threading.Event().wait()
sys.exit(tui.main.main())
"""


def test_a_console_that_hangs_kills(start: Start, tmp_path: Path) -> None:
    terminal = start(code=FREEZING)
    terminal.wait_for("kill ready")
    terminal.press("?")
    terminal.press("\x0b")
    wait_for(lambda: (tmp_path / "var" / "paper.kill_switch").exists())


CRASHING = """
import sys
import tui.app, tui.main
def fail(self):
    secret = "hunter" + str(2)
    raise ValueError("broken")
tui.app.Console.action_help = fail
sys.exit(tui.main.main())
"""


def test_a_crash_of_the_console_shows_no_values_and_the_engine_goes_on(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(code=CRASHING)
    terminal.wait_for("kill ready")
    terminal.press("?")
    assert terminal.wait() == 1
    said = bytes(terminal.received).partition(LEFT)[2].decode()
    assert "the console failed (ValueError)" in said
    assert "tradebot.log" in said
    assert "goes on without this console" in said
    assert "Traceback" not in said
    logged = log(tmp_path)
    assert "ValueError: broken" in logged
    assert "stopped" not in logged
    assert engines_in(tmp_path)
    assert "hunter2" not in said + logged


# --- colours -------------------------------------------------------------------------------------


def colours(terminal: Terminal) -> set[str]:
    """The parameters of every change of style that was sent."""
    sent = re.findall(rb"\x1b\[([0-9;]*)m", bytes(terminal.received))
    return {number for style in sent for number in style.decode().split(";")}


def test_no_color_sends_no_colour(start: Start) -> None:
    terminal = start(NO_COLOR="1")
    terminal.wait_for("kill ready")
    assert colours(terminal) <= {"", "0", "1", "2", "3", "7", "39", "49"}


def test_sixteen_colours_are_enough(start: Start) -> None:
    terminal = start(TERM="xterm")
    terminal.wait_for("kill ready")
    assert not colours(terminal) & {"38", "48"}


def test_full_colours_are_sent_in_their_short_form(start: Start) -> None:
    terminal = start(COLORTERM="truecolor")
    terminal.wait_for("kill ready")
    assert b"38;5;" in terminal.received
    assert b"38;2;" not in terminal.received


def test_options_stand_for_settings() -> None:
    assert Options.of(["--fps", "12"]) == (False, {"FPS": "12"})
    assert Options.of(["--fps=2", "--read-only"]) == (True, {"FPS": "2"})
    assert Options.of(["--slow-link"]) == (False, {"SLOW_LINK": "true"})
    assert Options.of([]) == (False, {})


@pytest.mark.parametrize("value", ["0", "31", "x", "-1", "1.5", ""])
def test_a_rate_that_makes_no_sense_is_refused_with_what_does(value: str) -> None:
    with pytest.raises(ValueError, match=f"--fps '{value}': give a number from 1 to 30"):
        Options.of(["--fps", value])
