"""The engine on a thread of its own, for a program that has a loop of its own."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

from engine.core.events import Command
from engine.host.health import apart_from_start
from engine.host.runtime import Parts, Runtime
from engine.ops.errors import UserError
from engine.ops.lock import EngineLock
from engine.ops.settings import Settings
from engine.view.answers import has_ended
from engine.view.questions import A, Question
from engine.view.snapshot import Snapshot

SWITCH_INTERVAL_S = 0.0005
"""How soon another thread gives way to the engine's: 2.3 ms late instead of 6 at the 99th
percentile."""

log = logging.getLogger(__name__)


def _nothing() -> None:
    pass


class EngineHost:
    """Holds an engine: `latest` is the newest picture of it, `send` gives it a command, `ask` a
    question.

    None of them ever waits: a program that hangs does not hold the engine up. `shown` is called on
    the engine's thread at each new picture, `ended` at its end, before it lets go of the lock:
    neither may wait.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts | None = None,
        shown: Callable[[], object] = _nothing,
        ended: Callable[[], object] = _nothing,
    ) -> None:
        self.settings = settings
        self.error: BaseException | None = None
        """What ended the engine, where it did not end in order."""
        self._lock = EngineLock(settings.lock_path)
        self._locked = False
        self._snapshot: Snapshot | None = None
        self._shown = shown
        self._at_end = ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self._runtime = Runtime(settings, self._show, parts)
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine")

    def lock(self) -> None:
        """Take the lock: what is done between this and `start` no other engine does meanwhile.
        Raises EngineLocked where another engine holds the database."""
        if not self._locked:
            self._lock.__enter__()
            self._locked = True

    def start(self) -> None:
        """Take the lock, if that is not done yet, and start. Raises as `lock`."""
        self.lock()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have the engine stop in order, without waiting for it."""
        self._call(self._runtime.stop)

    def stop(self, timeout: float) -> bool:
        """Have the engine stop in order, and wait; False where it has not ended in `timeout` s."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        return self._snapshot

    def failure(self) -> str | None:
        """Why the engine ended or could not start; None while it runs, or where it ended in
        order."""
        if self.error is None or isinstance(self.error, UserError):
            return str(self.error) if self.error else None
        return f"the engine ended with {type(self.error).__name__}; see the log"

    def send(self, command: Command) -> None:
        """Hand a command over; before the engine is there, it waits for it."""
        self._call(self._runtime.command, command)

    def ask(self, question: Question[A]) -> Future[A]:
        """The answer to come; its exception is a UserError that says why there is none."""
        answer: Future[A] = Future()
        if not self._call(self._runtime.ask, question, answer):
            answer.set_exception(has_ended())
        return answer

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Call a function of the runtime on the engine's loop, or at once where that is not there
        yet. False where the engine has ended."""
        with self._guard:
            if self._ended:
                return False
            if self._loop is None:
                function(*arguments)
            else:
                self._loop.call_soon_threadsafe(function, *arguments)
            return True

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._shown()

    async def _main(self) -> None:
        with self._guard:
            self._loop = asyncio.get_running_loop()
        try:
            with apart_from_start():
                await self._runtime.run()
        finally:
            with self._guard:
                self._ended = True  # what was called before still runs, before the loop is closed

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if not isinstance(error, UserError):
                log.critical("the engine ended", exc_info=error)
            self.error = error
        finally:
            self._at_end()
            self._lock.__exit__(None, None, None)
