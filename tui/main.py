"""The command `tradebot-tui`: a console on the engine that runs, or on one that it starts.

The console may hang on a terminal that nobody reads, lose it, or crash; the engine is a process of
its own (`tui.attached`). This supervisor takes the signals, stops the engine or lets it go on, ends
the console, and ends the process by force where that hangs.
"""

import gc
import logging
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from engine import __version__
from engine.core.events import TripKillSwitch
from engine.core.text import clean
from engine.ops import signals
from engine.view.snapshot import Snapshot
from tui.attached import AttachedEngine

if TYPE_CHECKING:
    from engine.ops.settings import Settings

log = logging.getLogger(__name__)

CRASHED, CANNOT_START, SIGNALLED = 1, 2, 128
AUTHOR = "supervisor"
MOST_FPS = 30
"""As of the setting."""
SWITCH_INTERVAL_S = 0.0005
"""How soon the thread that paints gives way to those that read keys and write to the terminal; of
itself Python has them wait for 5 ms."""
STANDARD = (0, 1, 2)
"""Input, output and errors: Textual puts objects of its own in place of Python's names for them."""

ENGINE_STOP_S = 10.0
"""An orderly stop is shorter, whatever brokers and disk do."""
CONSOLE_STOP_S = 2.0
RESTORE_MS = 300
KILL_S = 10.0
"""Seconds for the cancels where a lost terminal trips the kill switch."""

USAGE = """usage: tradebot-tui [--read-only] [--fps N] [--slow-link] [--version] [--help]

The operator's console of tradebot: of the engine that runs with these settings, or else of one that
it starts. With --read-only it looks on, and can only stop. With --fps N it draws N frames a second,
1 to 30 (as FPS=N does); with --slow-link 2 at the most, in 16 colours (as SLOW_LINK=true does). Its
settings come from the environment and from .env; `tradebot settings` prints them."""

WITHOUT = "`tradebot status --json` says without one how the engine is"

GOES_ON = """the engine (pid {pid}) goes on without this console
tradebot-tui attaches to it again, tradebot status shows it, tradebot kill stops its trading"""

FORCED = (
    f"the engine did not stop within {ENGINE_STOP_S:g} s and was ended by force\n"
    "start tradebot-tui again: it asks the brokers first"
)
LATE = (
    f"the engine did not stop within {ENGINE_STOP_S:g} s\ntradebot status shows whether it goes on"
)

# What Textual's driver switched on: keyboard protocol, alternate screen, mouse, paste, focus, and
# what it switched off: cursor and line wrap.
RESTORE = (
    b"\x1b[<u\x1b[?1049l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
    b"\x1b[?2004l\x1b[?1004l\x1b[?2048l\x1b[?25h\x1b[?7h\x1b[0m"
)


def main() -> int:
    """The exit status: 0, 1 after a failure, 2 where it cannot start, 128 + n after signal n."""
    known = {"--version": f"tradebot-tui {__version__}", "--help": USAGE, "-h": USAGE}
    for argument in sys.argv[1:]:
        if text := known.get(argument):
            _print(text, sys.stdout)
            return 0
    try:
        options = Options.of(sys.argv[1:])
    except ValueError as error:
        _print(f"tradebot-tui: {error}\n{USAGE}", sys.stderr)
        return CANNOT_START
    os.environ.update(options.settings)
    if problem := terminal_problem(os.environ):
        _say(f"tradebot-tui: {problem}", sys.stderr)
        return CANNOT_START
    prepare_environment()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logging.lastResort = None
    return Supervisor(read_only=options.read_only).run()


class Options(NamedTuple):
    """What the command line asks for: `settings` are those of the environment that it stands for,
    for this console and an engine that it starts."""

    read_only: bool
    settings: dict[str, str]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Options":
        """ValueError says what is wrong with the `arguments`."""
        read_only, settings, left = False, dict[str, str](), list(arguments)
        while left:
            argument, _, value = left.pop(0).partition("=")
            if value and argument in ("--read-only", "--slow-link"):
                raise ValueError(f"{argument} takes no value")
            if argument == "--read-only":
                read_only = True
            elif argument == "--slow-link":
                settings["SLOW_LINK"] = "true"
            elif argument == "--fps":
                value = value or (left.pop(0) if left else "")
                if not (value.isdecimal() and 1 <= int(value) <= MOST_FPS):
                    raise ValueError(f"--fps '{clean(value)}': give a number from 1 to {MOST_FPS}")
                settings["FPS"] = value
            else:
                raise ValueError(f"there is no option '{clean(argument)}'")
        return cls(read_only, settings)


def terminal_problem(environment: Mapping[str, str]) -> str:
    """Why the console cannot be drawn here, and what to do; empty where it can."""
    for name in ("stdin", "stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None or not stream.isatty():  # None where it was closed
            return f"{name} is no terminal\nrun it in one; over ssh with `ssh -t`\n{WITHOUT}"
    kind = environment.get("TERM", "")
    if kind in ("", "dumb"):
        return (
            f"TERM='{kind}' cannot draw a console\n"
            f"set TERM, for example to xterm-256color\n{WITHOUT}"
        )
    return ""


def prepare_environment() -> None:
    """Set what Textual reads while it is imported.

    Frames are paced by the console's own tick, so Textual's limit of frames would only add to the
    delay of keys. The console's colours are all of xterm's 256: sent as such they are half as long.
    In the keyboard protocol of kitty ctrl+k is another key on a keyboard that is not latin, and a
    malformed key ends the console; every key of ours is in the older one.
    """
    values = {
        "TEXTUAL_FPS": "120",
        "TEXTUAL_ANIMATIONS": "none",
        "TEXTUAL_SMOOTH_SCROLL": "0",
        "TEXTUAL_DISABLE_KITTY_KEY": "1",
    }
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        values["TEXTUAL_COLOR_SYSTEM"] = "256"
    for name, value in values.items():
        os.environ.setdefault(name, value)


class Supervisor:
    """Owns the console, and the way to the engine, from the start to the end of the process."""

    def __init__(self, *, read_only: bool = False) -> None:
        from tui.app import Console

        self.engine = AttachedEngine(self._settings_are_known, read_only=read_only)
        self.console = Console(self.engine, ready=self._first_frame_is_there)
        self._attributes = termios.tcgetattr(STANDARD[0])
        self._status = 0
        self._left_running = False
        self._late = ""
        self._ending = threading.Lock()
        self._parted = threading.Event()
        self._console_ended = threading.Event()

    def run(self) -> int:
        threading.excepthook = _log_uncaught
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_end_signal)
        signal.signal(signal.SIGUSR1, self._on_kill_signal)
        if signals.take(signal.SIGUSR1):  # before a signal that ends all
            self._kill("signal", "SIGUSR1")
        signals.release()
        threading.Thread(target=self._watch_terminal, name="terminal", daemon=True).start()
        try:
            self.console.run()
        except Exception as error:
            self.console.crash = self.console.crash or error
        self._console_ended.set()
        if self._ending.acquire(blocking=False):
            self._part(stops=self._stops())
        else:
            self._parted.wait()
        self._tell()
        return self._status

    def _stops(self) -> bool:
        """Whether the engine stops with the console, which has ended by itself."""
        if self.console.crash is not None:
            return False
        return self.console.ending == "stop" or (
            self.console.ending != "detach" and self.engine.owned()
        )

    def _part(self, stops: bool) -> None:
        """Have the engine stop, or go on without this console."""
        self._left_running = not stops
        late = FORCED if self.engine.owned() else LATE
        try:
            if not stops:
                self.engine.leave()
            elif not self.engine.stop(ENGINE_STOP_S):
                self._status = self._status or CRASHED
                self._late = late
                log.error(late)
        finally:
            self._parted.set()

    def _first_frame_is_there(self) -> None:
        gc.freeze()
        gc.enable()
        self.engine.start()

    def _settings_are_known(self, settings: "Settings") -> None:
        from tui import preferences

        remembered = preferences.Preferences.load(settings.data_dir / preferences.NAME)
        self.console.call_later(self.console.configure, settings, remembered)

    # --- signals: Python runs these on the main thread, even while Textual's loop is blocked; what
    # --- they do takes locks that this thread may hold, so it is done on another.

    def _on_end_signal(self, number: int, frame: object) -> None:
        self._on_a_thread(self._end, number)

    def _on_kill_signal(self, number: int, frame: object) -> None:
        self._on_a_thread(self._kill, "signal", "SIGUSR1")

    def _on_a_thread(self, function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, name="supervisor", daemon=True).start()

    def _kill(self, source: str, reason: str) -> None:
        self.engine.send(TripKillSwitch(source=source, reason=reason, author=AUTHOR))

    def _watch_terminal(self) -> None:
        """Wait for the terminal to be hung up, which no signal tells under nohup."""
        poll = select.poll()
        poll.register(STANDARD[0], 0)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
            self._end(signal.SIGHUP)

    # --- the end ---------------------------------------------------------------------------------

    def _end(self, number: int) -> None:
        """At the signal `number`: the engine first, then the console, then the process, whatever
        hangs."""
        if not self._ending.acquire(blocking=False):
            return
        self._status = SIGNALLED + number
        try:
            self._part(stops=self._stops_at(number))
            self.console.call_later(self.console.exit)
            self._console_ended.wait(CONSOLE_STOP_S)
        finally:
            if not self._console_ended.is_set():
                restore_terminal(self._attributes)
                os._exit(self._status)

    def _stops_at(self, number: int) -> bool:
        """Whether the engine stops at the signal `number` too."""
        if number == signal.SIGHUP:
            return self._stops_without_terminal()
        return number != signal.SIGQUIT and self.engine.owned()

    def _stops_without_terminal(self) -> bool:
        """Let go of the terminal; whether the engine is to stop then, as the settings of its own
        console, or of the one in command, say. What kills, kills first."""
        self._let_go_of_terminal()
        settings = self.engine.settings
        wanted = settings.on_terminal_lost if settings is not None else "detach"
        if wanted == "detach" or not (self.engine.owned() or self.engine.standing().mine):
            return False
        if wanted == "kill":
            self._kill("terminal", "the terminal was lost")
            self._await_cancels()
        return True

    def _let_go_of_terminal(self) -> None:
        """Read and write nothing any more."""
        restore_terminal(self._attributes)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in STANDARD:
            os.dup2(null, descriptor)

    def _await_cancels(self) -> None:
        deadline = monotonic() + KILL_S
        while monotonic() < deadline and self.engine.failure() is None:
            snapshot = self.engine.latest()
            if snapshot is not None and snapshot.kill.phase == "complete":
                return
            self._console_ended.wait(0.1)

    def _tell(self) -> None:
        """Say on the terminal, which is ours again, what was done, what goes on, what is still
        open, and what went wrong."""
        last, failure = self.engine.latest(), self.engine.failure()
        if crash := self.console.crash:
            _say(
                f"tradebot-tui: the console failed ({type(crash).__name__}); see "
                f"{self._log_crash(crash)}",
                sys.stderr,
            )
            self._status = self._status or CRASHED
        if last is not None:
            self._sum_up(last)
        if self._left_running and failure is None and last is not None:
            pid = last.health.pid if last.health else "?"
            _say(GOES_ON.format(pid=pid), sys.stdout)
        elif last is not None:
            _say("\n".join(last.left_open), sys.stdout)
        if unheard := self.engine.unheard():
            _say(unheard, sys.stderr)
        if self._late:
            _say(f"tradebot-tui: {self._late}", sys.stderr)
        elif failure is not None and not self.engine.stopped():
            _say(f"tradebot-tui: {failure}", sys.stderr)
            self._status = self._status or (CRASHED if last is not None else CANNOT_START)

    def _sum_up(self, last: Snapshot) -> None:
        from tui.signs import to_ascii
        from tui.summary import summary

        settings = self.engine.settings
        text = "\n".join(summary(last, settings.data_dir.resolve() if settings else None))
        _say(to_ascii(text) if self.console.ascii else text, sys.stdout)

    def _log_crash(self, crash: Exception) -> Path:
        settings = self.engine.settings
        if settings is None:
            from engine.ops.logging import start_logging
            from engine.ops.settings import load_settings

            settings = load_settings()
            start_logging(settings, follows=True)
        log.critical("the console failed", exc_info=crash)
        return settings.log_path


def restore_terminal(attributes: list[Any]) -> None:
    """Undo what Textual did to the terminal, without waiting long, and if it is still there."""
    with suppress(OSError, termios.error):
        termios.tcsetattr(STANDARD[0], termios.TCSANOW, attributes)
        # Opened anew, so that not to block is no one else's setting.
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            room = select.poll()  # what Textual wrote last may still fill the terminal's buffer
            room.register(terminal, select.POLLOUT)
            room.poll(RESTORE_MS)
            os.write(terminal, RESTORE)
        finally:
            os.close(terminal)


def _log_uncaught(arguments: threading.ExceptHookArgs) -> None:
    """A thread failed: the log is told, never the terminal."""
    log.error(
        "thread %s failed",
        arguments.thread.name if arguments.thread else "?",
        exc_info=arguments.exc_value,
    )


def _say(text: str, stream: TextIO | None) -> None:
    _print("\n".join(clean(line) for line in text.splitlines()), stream)


def _print(text: str, stream: TextIO | None) -> None:
    """Write a text of ours; nothing where nobody reads, or the stream was closed."""
    if stream is not None:
        with suppress(OSError):
            stream.write(f"{text}\n")
            stream.flush()
