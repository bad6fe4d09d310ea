"""The engine that the console looks at: the one that runs, or else one of its own.

Its own is a process too, `tradebot run` in a session of its own, to which the console attaches as
to any other. So there is one way to an engine, and nothing that happens to a console (kill -9, a
crash, SIGSTOP, a lost terminal, no memory) happens to the engine. A thread in the console's process
would die, stop and wait with it.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.control.standing import Standing
from engine.core.events import Command, RearmKillSwitch, TripKillSwitch
from engine.ops.errors import UserError
from engine.view.questions import A, Question
from engine.view.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.control.client import RemoteEngine
    from engine.control.launch import EngineProcess
    from engine.ops.settings import Settings

log = logging.getLogger(__name__)

LAST_PICTURE_S = 1.0


class AttachedEngine:
    """A `tui.client.Client`. `start` returns at once: settings take longer to import than the
    console takes to paint, so a thread does it. `started` is called, on that thread, once the
    settings are known. A console that is `read_only` never gets the command."""

    def __init__(self, started: "Callable[[Settings], None]", *, read_only: bool = False) -> None:
        self.settings: Settings | None = None
        self._started = started
        self._read_only = read_only
        self._own: EngineProcess | None = None
        self._remote: RemoteEngine | None = None
        self._waiting: list[Command] = []
        self._kill_asked = False
        self._kept_kill: bool | None = None
        """Whether a kill that nobody heard is on the disk; None where there is none."""
        self._failure: str | None = None
        self._left = False
        self._guard = threading.Lock()
        self._starter = threading.Thread(target=self._start, name="engine-start", daemon=True)

    def start(self) -> None:
        with self._guard:
            if not self._left:
                self._starter.start()

    # --- the client ------------------------------------------------------------------------------

    def latest(self) -> Snapshot | None:
        snapshot = self._remote.latest() if self._remote is not None else None
        if snapshot is not None and snapshot.kill.tripped:
            self._kill_asked = False  # the engine has heard it
        return snapshot

    def failure(self) -> str | None:
        return self._failure or (self._remote.failure() if self._remote is not None else None)

    def standing(self) -> Standing:
        return self._remote.standing() if self._remote is not None else Standing()

    def notes(self) -> list[str]:
        return self._remote.notes() if self._remote is not None else []

    def owned(self) -> bool:
        return self._own is not None and self._own.runs

    def send(self, command: Command) -> None:
        """A command given before the engine is there is the first that it gets."""
        if isinstance(command, TripKillSwitch):
            self._kill_asked = True
        elif isinstance(command, RearmKillSwitch):
            self._kill_asked = False
        with self._guard:
            if self._remote is None:
                self._waiting.append(command)
                return
        self._remote.send(command)

    def ask(self, question: Question[A]) -> Future[A]:
        if self._remote is not None:
            return self._remote.ask(question)
        answer: Future[A] = Future()
        answer.set_exception(UserError("the engine is starting", "ask again when it has started"))
        return answer

    def ask_for_command(self) -> None:
        if self._remote is not None:
            self._remote.ask_for_command()

    def keep_command(self) -> None:
        if self._remote is not None:
            self._remote.keep_command()

    def stopped(self) -> bool:
        """Whether the engine has said that it ended in order."""
        return self._remote is not None and self._remote.stopped

    # --- the end ---------------------------------------------------------------------------------

    def leave(self) -> None:
        """Detach: the engine goes on."""
        self._leave()
        if self._remote is not None:
            self._remote.close()

    def stop(self, timeout: float) -> bool:
        """Have the engine stop in order, and wait; False where it has not ended in `timeout` s."""
        self._leave()
        if self._remote is None:
            return True
        if self._own is None or not self._own.runs:
            self._remote.stop_engine()
            return self._remote.wait_for_end(timeout)
        stopped = self._own.stop(timeout)
        self._remote.wait_for_end(LAST_PICTURE_S)
        return stopped

    def _leave(self) -> None:
        """Nothing is started any more, and a kill that nobody heard is kept."""
        with self._guard:
            self._left = True
        if self._starter.ident is not None:
            self._starter.join()
        self.latest()
        if self._kill_asked:
            self._kept_kill = _keep_kill()

    def unheard(self) -> str:
        """What became of a kill that nobody had heard at the end; empty where there is none."""
        if self._kept_kill is None:
            return ""
        next_one = "the next one starts tripped"
        if not self._kept_kill:
            next_one = "no file takes the kill: start the next one with KILL_SWITCH=true"
        if not (pid := _pid_in(self.settings)):
            return f"the kill was not answered, and no engine runs: {next_one}"
        return (
            f"the kill was not answered: the engine (pid {pid}) trips when it goes on\n"
            f"else cancel at the broker, and end it with kill -9 {pid}: {next_one}"
        )

    # --- the start, on its thread ----------------------------------------------------------------

    def _start(self) -> None:
        try:
            self._attach()
        except UserError as error:
            self._failure = str(error)
        except Exception as error:
            log.critical("the engine could not start", exc_info=error)
            self._failure = f"the engine could not start: {type(error).__name__}; see the log"

    def _attach(self) -> None:
        from engine.ops.logging import start_logging
        from engine.ops.settings import load_settings

        settings = load_settings()
        start_logging(settings, follows=True)
        self.settings = settings
        self._started(settings)

        from engine.control.client import RemoteEngine
        from engine.control.launch import EngineProcess
        from engine.control.protocol import Hello, version
        from engine.ops.lock import holder

        hello = Hello(version(), _name(), commands=not self._read_only)
        remote = RemoteEngine(settings.socket_path, hello, self._why_gone)
        with self._guard:
            if self._left:
                return
            if holder(settings.lock_path) is None:
                self._own = EngineProcess()
            for command in self._waiting:
                remote.send(command)
            self._remote = remote
        remote.start()

    def _why_gone(self) -> str:
        """Why there is no engine to attach to; empty text while one may come."""
        from engine.ops.lock import holder

        if self.owned():
            return ""
        assert self.settings is not None  # noqa: S101 - for the type checker
        if holder(self.settings.lock_path) is not None:
            return ""
        if self._own is not None and self.latest() is None:
            return self._own.last_words
        return (
            "the engine ended without a word: start tradebot-tui again, it asks the brokers first "
            f"({self.settings.log_path} may say why)"
        )


def _name() -> str:
    """Who is at this console, for the other consoles and the audit log."""
    from engine.ops.user import user_name

    terminal, client = "", ""
    with suppress(OSError):  # a terminal without a name
        terminal = f" on {os.ttyname(0).removeprefix('/dev/')}"
    if ssh := os.environ.get("SSH_CLIENT", "").split():
        client = f" from {ssh[0]}"
    return f"console of {user_name()}{terminal}{client}"


def _keep_kill() -> bool:
    """Leave the kill for the engine that runs, and did not answer, or the next one; False where no
    file takes it: then the engine is sent the signal, which needs none."""
    from engine.ops.files import write_private
    from engine.ops.settings import settings_to_find

    settings = settings_to_find()
    if settings is None:
        return False
    try:
        write_private(settings.kill_files.latch, b"console: the kill was not answered\n")
    except (OSError, UserError) as error:
        log.error("the kill is not kept: %s", error)
        if pid := _pid_in(settings):
            with suppress(OSError):
                os.kill(pid, signal.SIGUSR1)
        return False
    return True


def _pid_in(settings: "Settings | None") -> int | None:
    """The pid of the engine that runs; 0 or None where none is known."""
    from engine.ops.lock import holder

    return holder(settings.lock_path) if settings else None
