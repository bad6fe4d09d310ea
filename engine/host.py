"""The engine on a thread of its own, for a program that has a loop of its own."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from engine.core.events import Command
from engine.health import apart_from_start
from engine.ops.errors import UserError
from engine.ops.lock import EngineLock
from engine.ops.settings import Settings
from engine.runtime import Parts, Runtime
from engine.snapshot import Snapshot

SWITCH_INTERVAL_S = 0.0005
"""How soon the console's thread gives way to the engine's: 2.3 ms late instead of 6 at the 99th
percentile."""

log = logging.getLogger(__name__)


class EngineHost:
    """Holds an engine: `latest` is the newest picture of it, `send` gives it a command.

    Neither ever waits: a console that hangs does not hold the engine up.
    """

    def __init__(self, settings: Settings, parts: Parts | None = None) -> None:
        self.settings = settings
        self._lock = EngineLock(settings.lock_path)
        self._snapshot: Snapshot | None = None
        self._failure: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runtime = Runtime(settings, self._show, parts)
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine")

    def start(self) -> None:
        """Take the lock and start. Raises EngineLocked where another engine holds the database."""
        self._lock.__enter__()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Have the engine stop in order, and wait; False where it has not ended in `timeout` s."""
        self._call(self._runtime.stop)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        return self._snapshot

    def failure(self) -> str | None:
        """Why the engine ended or could not start; None while it runs."""
        return self._failure

    def send(self, command: Command) -> None:
        """Hand a command over; before the engine is there, it waits for it."""
        self._call(self._runtime.command, command)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function of the runtime on the engine's loop, or at once where that is not there
        yet."""
        with self._guard:
            if self._loop is None:
                function(*arguments)
            else:
                with suppress(RuntimeError):  # the engine has ended, and its loop with it
                    self._loop.call_soon_threadsafe(function, *arguments)

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def _main(self) -> None:
        with self._guard:
            self._loop = asyncio.get_running_loop()
        with apart_from_start():
            await self._runtime.run()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except UserError as error:
            self._failure = str(error)
        except BaseException as error:
            log.critical("the engine ended", exc_info=error)
            self._failure = f"the engine ended with {type(error).__name__}; see the log"
        finally:
            self._lock.__exit__(None, None, None)
