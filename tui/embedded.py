"""The engine in this process, started behind the first frame of the console."""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.core.events import Command
from engine.ops.errors import UserError
from engine.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.host import EngineHost
    from engine.ops.settings import Settings

log = logging.getLogger(__name__)


class EmbeddedEngine:
    """A `tui.client.Client`. `start` returns at once: settings, database drivers and numbers take
    longer to import than the console takes to paint, so a thread does it."""

    def __init__(self, started: "Callable[[Settings], None]") -> None:
        """`started` is called, on the starting thread, once the settings are known."""
        self.settings: Settings | None = None
        self._started = started
        self._host: EngineHost | None = None
        self._waiting: list[Command] = []
        self._failure: str | None = None
        self._stopped = False
        self._guard = threading.Lock()
        self._starter = threading.Thread(target=self._start, name="engine-start", daemon=True)

    def start(self) -> None:
        with self._guard:
            if not self._stopped:
                self._starter.start()

    def stop(self, timeout: float) -> bool:
        """Have the engine stop in order, and wait; False where it has not ended in `timeout` s.

        A command that still waits for the engine, as a kill may, is given to it before."""
        with self._guard:
            self._stopped = True
            if self._waiting and self._starter.ident is None:
                self._starter.start()
        if self._starter.ident is not None:
            self._starter.join(timeout)
        if self._starter.is_alive():
            return False
        return self._host is None or self._host.stop(timeout)

    def latest(self) -> Snapshot | None:
        return self._host.latest() if self._host is not None else None

    def failure(self) -> str | None:
        return self._failure or (self._host.failure() if self._host is not None else None)

    def send(self, command: Command) -> None:
        """A command given before the engine is there is the first that it gets."""
        with self._guard:
            if self._host is None:
                self._waiting.append(command)
                return
        self._host.send(command)

    def _start(self) -> None:
        try:
            self._build()
        except UserError as error:
            self._failure = str(error)
        except Exception as error:
            log.critical("the engine could not start", exc_info=error)
            self._failure = f"the engine could not start: {type(error).__name__}; see the log"

    def _build(self) -> None:
        from engine.ops.logging import start_logging
        from engine.ops.settings import load_settings

        settings = load_settings()
        start_logging(settings)
        self.settings = settings
        self._started(settings)

        from engine.host import EngineHost

        host = EngineHost(settings)
        with self._guard:
            if self._stopped and not self._waiting:
                return
            for command in self._waiting:
                host.send(command)
            self._host = host
        host.start()
