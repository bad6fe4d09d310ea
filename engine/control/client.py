"""A console's side of the socket: the engine in another process, as if it were in this one."""

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, cast

from msgspec import structs

from engine.control import address
from engine.control.changes import changed
from engine.control.protocol import (
    LONGEST_TO_CONSOLE,
    Answered,
    Ask,
    AskForCommand,
    Changed,
    Ended,
    Frames,
    Hello,
    KeepCommand,
    Picture,
    Refused,
    Said,
    StopEngine,
    ToConsole,
    ToEngine,
    Welcome,
    WireError,
    decode,
    do,
    frame,
    is_stopping,
)
from engine.control.standing import Standing
from engine.core.events import Command
from engine.core.text import clean
from engine.ops.errors import ANOTHER_USER, UserError
from engine.view.questions import A, AnyQuestion, Question
from engine.view.snapshot import Snapshot

AGAIN_S = 0.1
READ_BYTES = 1 << 18
NOTES_KEPT = 20
STOPPED = "the engine was stopped"

log = logging.getLogger(__name__)


class RemoteEngine:
    """The engine at the socket `path`, from `start` to `close`.

    It attaches with `hello`, and again where the connection is lost while the engine runs on;
    `why_gone` answers why there is no engine to wait for, empty text while there may be one. Its
    methods may be called from any thread, and those without a timeout do not wait. What stops or
    lessens trading, and what is sent before the engine is there at first, waits for the connection;
    anything else that is sent without one is not done, and `notes` says so: it would be about
    another moment.
    """

    def __init__(self, path: Path, hello: Hello, why_gone: Callable[[], str]) -> None:
        self.stopped = False
        """Whether the engine has said that it ended in order."""
        self.gone = False
        """Whether there is no engine to attach to."""
        self._path = path
        self._hello = hello
        self._why_gone = why_gone
        self._snapshot: Snapshot | None = None
        self._standing = Standing()
        self._passes_at = 0.0
        self._failure: str | None = None
        self._notes: deque[str] = deque(maxlen=NOTES_KEPT)
        self._waiting: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._seen = False
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = count(1)
        self._loop = asyncio.new_event_loop()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine-link", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Leave; the engine goes on."""
        with suppress(RuntimeError):  # it is over already
            self._loop.call_soon_threadsafe(lambda: self._task.cancel())
        self._over.wait(1)

    def wait_for_end(self, timeout: float) -> bool:
        """Wait until the engine has ended, or the connection is over; False after `timeout` s."""
        return self._over.wait(timeout)

    # --- tui.client.Client -----------------------------------------------------------------------

    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        return self._snapshot

    def failure(self) -> str | None:
        """Why there is nothing more to come of the engine; None while there is."""
        return self._failure

    def standing(self) -> Standing:
        """Who may command."""
        standing = self._standing
        if not standing.asks:
            return standing
        return structs.replace(standing, passes_in=max(0.0, self._passes_at - monotonic()))

    def notes(self) -> list[str]:
        """What there is to tell the person at the console, once each."""
        found: list[str] = []
        while self._notes:
            found.append(self._notes.popleft())
        return found

    def send(self, command: Command) -> None:
        self._call(do(command), is_stopping(command))

    def ask(self, question: Question[A]) -> Future[A]:
        """The answer to come; its exception is a UserError that says why there is none."""
        answer: Future[A] = Future()
        try:
            self._loop.call_soon_threadsafe(self._ask, question, answer)
        except RuntimeError:
            answer.set_exception(_no_connection())
        return answer

    def ask_for_command(self) -> None:
        self._call(AskForCommand())

    def keep_command(self) -> None:
        self._call(KeepCommand())

    def stop_engine(self) -> None:
        """Have the engine stop in order; for the console in command."""
        self._call(StopEngine())

    # --- the connection, on the thread's loop ----------------------------------------------------

    def _call(self, message: ToEngine, waits: bool = False) -> None:
        with suppress(RuntimeError):  # it is over
            self._loop.call_soon_threadsafe(self._write, frame(message), waits)

    def _write(self, data: bytes, waits: bool) -> None:
        if self._writer is not None:
            self._writer.write(data)
        elif waits or not self._seen:
            self._waiting.append(data)
        else:
            self._notes.append("not sent: there is no connection to the engine")

    def _ask(self, question: Question[Any], answer: Future[Any]) -> None:
        if self._writer is None:
            answer.set_exception(_no_connection())
            return
        number = next(self._numbers)
        self._asked[number] = answer
        self._writer.write(frame(Ask(number, cast("AnyQuestion", question))))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._attach())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass  # closed
        except Exception as error:
            log.critical("the connection to the engine failed", exc_info=error)
            self._failure = f"no connection to the engine: {type(error).__name__}; see the log"
        finally:
            self._loop.close()
            self._over.set()

    async def _attach(self) -> None:
        while self._failure is None:
            try:
                await self._talk(address.connect(self._path))
            except PermissionError as error:
                self._failure = f"cannot attach to the engine: {clean(str(error))}\n{ANOTHER_USER}"
            except OSError:
                self._failure = self._why_gone() or None
                self.gone = self._failure is not None
            except WireError as error:
                self._failure = f"the engine sent {clean(str(error))}"
            if self._failure is None:
                await asyncio.sleep(AGAIN_S)

    async def _talk(self, connection: socket.socket) -> None:
        """Until the connection is lost. Raises OSError, or WireError where it is no engine's."""
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        frames = Frames(LONGEST_TO_CONSOLE)
        try:
            writer.write(frame(self._hello))
            while data := await reader.read(READ_BYTES):
                for content in frames.feed(data):
                    self._hear(decode(content, ToConsole), writer)
        finally:
            self._writer = None
            self._standing = Standing()
            for answer in self._asked.values():
                if answer.set_running_or_notify_cancel():
                    answer.set_exception(_no_connection())
            self._asked.clear()
            writer.close()

    def _hear(self, message: ToConsole, writer: asyncio.StreamWriter) -> None:
        match message:
            case Picture(snapshot=snapshot):
                self._snapshot = snapshot
            case Changed(fields=fields) if self._snapshot is not None:
                self._snapshot = changed(self._snapshot, fields)
            case Standing():
                self._passes_at = monotonic() + message.passes_in
                self._standing = message
            case Said(text=text):
                self._notes.append(text)
            case Welcome():
                self._writer, self._seen = writer, True
                for data in self._waiting:
                    writer.write(data)
                self._waiting.clear()
            case Refused(reason=reason, remedy=remedy):
                self._failure = f"{reason}\n{remedy}"
            case Answered(number=number, answer=answer, problem=problem, remedy=remedy):
                asked = self._asked.pop(number)
                if not asked.set_running_or_notify_cancel():
                    return
                if answer is None:
                    asked.set_exception(UserError(problem, remedy))
                else:
                    asked.set_result(answer)
            case Ended(reason=reason):
                self.stopped = not reason
                self._failure = reason or STOPPED
            case Changed():
                raise WireError("changes before the whole picture")


def _no_connection() -> UserError:
    return UserError("there is no connection to the engine", "ask again when there is one")
