"""The console's end of a journey: requests out, the newest moment in. Nothing here waits."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from engine.control.protocol import Answered, Ask
from engine.ops.errors import UserError
from engine.travel.messages import (
    END,
    Answer,
    GoTo,
    GoToTime,
    Move,
    Place,
    Reading,
    Refused,
    SnapshotReader,
    Stay,
    Step,
    decode_answer,
    encode,
)
from engine.view.questions import MOST_WAITING, A, AnyQuestion, Question
from engine.view.snapshot import Snapshot

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A process that is copied has no other threads."""


class Moment(NamedTuple):
    """Where the journey is, and what was to be seen there."""

    place: Place
    snapshot: Snapshot


class TimeTravel:
    """Travels through the session of the journal at `path`, from its end on, in a process of its
    own. It can ask that process for moments and what was then, and nothing else: no command can be
    sent from here.
    """

    def __init__(self, path: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self.inputs_read = 0
        """How far the journal was looked through, before the first moment."""
        self._connection, self._theirs = Pipe()
        self._environment = {**environment, **ONE_THREAD}
        self._moment: Moment | None = None
        self._failure: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._serial = 0
        self._next: Step | None = None
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = count(1)
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="travel", daemon=True)
        self._go(GoTo(0, END))
        self._thread.start()

    # --- what came ------------------------------------------------------------------------------

    def latest(self) -> Moment | None:
        """The newest moment; None before the first."""
        return self._moment

    def failure(self) -> str | None:
        """Why it came to nothing, or goes no further; None while it goes on."""
        return self._failure

    @property
    def is_under_way(self) -> bool:
        """Whether what was asked for last is not reached yet."""
        moment = self._moment
        return moment is None or moment.place.moving or moment.place.serial != self._serial

    # --- requests -------------------------------------------------------------------------------

    def go_to(self, number: int) -> None:
        """Go to where the first `number` inputs led; at once, whatever is under way."""
        self._go(GoTo(0, number))

    def go_to_time(self, ts: int) -> None:
        """Go to where the session was at the market's time `ts` (ns UTC); at once."""
        self._go(GoToTime(0, ts))

    def stay(self) -> None:
        """Stay where it is now."""
        self._go(Stay(0))

    def step(self, count: int, level: int) -> None:
        """Go on by `count` inputs of those that changed `level`, back where it is negative. Steps
        are counted from where the last request leads: those that come while it is under way are
        added up."""
        with self._guard:
            if not self.is_under_way:
                self._send(Step(0, count, level))
                return
            waiting = self._next
            if isinstance(waiting, Step) and waiting.level == level:
                count += waiting.count
            self._next = Step(0, count, level)

    # --- questions ------------------------------------------------------------------------------

    def ask(self, question: Question[A]) -> Future[A]:
        """What the engine would have answered at the moment that is the newest when the answer
        comes; its exception is a UserError that says why there is none."""
        answer: Future[A] = Future()
        with self._guard:
            if self._closed or self._failure is not None:
                answer.set_exception(_is_over())
            elif len(self._asked) >= MOST_WAITING:
                busy = "there are too many questions to answer"
                answer.set_exception(UserError(busy, "ask again in a moment"))
            else:
                number = next(self._numbers)
                self._asked[number] = answer
                with suppress(OSError):
                    self._connection.send_bytes(encode(Ask(number, cast("AnyQuestion", question))))
        return answer

    def _hear(self, answered: Answered) -> None:
        with self._guard:
            asked = self._asked.pop(answered.number)
        if not asked.set_running_or_notify_cancel():
            return
        if answered.answer is None:
            asked.set_exception(UserError(answered.problem, answered.remedy))
        else:
            asked.set_result(answered.answer)

    def _leave_unanswered(self) -> None:
        with self._guard:
            asked, self._asked = self._asked, {}
        for answer in asked.values():
            if answer.set_running_or_notify_cancel():
                answer.set_exception(_is_over())

    def close(self) -> None:
        """End the process, and the copies of it: nothing in them is worth keeping."""
        with self._guard:
            self._closed = True
            if self._process is not None:
                _end_all(self._process)

    def _go(self, request: GoTo | GoToTime | Stay) -> None:
        with self._guard:
            self._next = None
            self._send(request)

    def _send(self, request: Move) -> None:
        self._serial += 1
        with suppress(OSError):
            self._connection.send_bytes(encode(replace(request, serial=self._serial)))

    # --- the process ----------------------------------------------------------------------------

    def _run(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._process = process = self._start()
        with suppress(EOFError, OSError):
            self._listen()
        _end_all(process)
        code = process.wait()
        self._connection.close()
        with self._guard:
            if not self._closed and self._failure is None:
                self._failure = f"what reads the journal has ended (status {code})\nopen it again"
        self._leave_unanswered()

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.travel", str(descriptor), str(self.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,
            env=self._environment,
        )
        self._theirs.close()
        return process

    def _listen(self) -> None:
        snapshots = SnapshotReader()
        while True:
            answer: Answer = decode_answer(self._connection.recv_bytes())
            match answer:
                case Place():
                    self._moment = Moment(answer, snapshots.read(answer.snapshot))
                    self._go_on()
                case Reading():
                    self.inputs_read = answer.inputs
                case Answered():
                    self._hear(answer)
                case Refused():
                    self._failure = answer.reason
                    return

    def _go_on(self) -> None:
        """Ask for the steps that wait, once what was asked for before is reached."""
        with self._guard:
            if self._next is not None and not self.is_under_way:
                request, self._next = self._next, None
                self._send(request)


def _is_over() -> UserError:
    return UserError("the past is not shown any more", "open the session again")


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """The process leads a group of its own: its copies are in it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
