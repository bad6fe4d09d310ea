"""The process that travels: carries out requests, one after the other, and answers with moments."""

import ctypes
import os
from bisect import bisect_right
from mmap import mmap
from multiprocessing.connection import Connection
from time import monotonic
from typing import NoReturn

from msgspec import Raw

from engine.control.protocol import Answered, Ask
from engine.ops.errors import UserError
from engine.travel.checkpoints import Checkpoints
from engine.travel.messages import (
    TOLD,
    GoTo,
    GoToTime,
    Move,
    Place,
    Stay,
    Step,
    decode_request,
    encode,
)
from engine.travel.past import Past

FIRST = 1
"""What a session begins with is its first input; before it there is nothing true to show."""
SPREAD = 32
"""Copies that are kept over the whole length of a journal, where there is memory for them."""
SPREAD_BYTES = 512 * 1024**2
"""The memory for them, which is given out evenly over the way: each copy has what of the machine
has changed since the one before, and with 500 symbols that is soon most of it."""
MOST = 64
"""Copies that are kept at most: to those that are spread come some near a target."""
NEAREST = 64
"""Inputs; to take in fewer again takes no longer than making a copy."""
ASK_EVERY = 256
"""Inputs between two looks for another request."""
SHOW_EVERY_S = 0.25


class Course(ctypes.Structure):
    """Where to go, in memory that all copies share: the one that goes on may be another than the
    one that was asked. `left` inputs of those that changed `level` are still to go, 0 for no such
    count. With `finely` copies are made ever denser towards the target: who went far, or back, may
    step back from there."""

    _fields_ = (
        ("serial", ctypes.c_int64),
        ("target", ctypes.c_int64),
        ("level", ctypes.c_int64),
        ("left", ctypes.c_int64),
        ("finely", ctypes.c_int64),
    )
    serial: int
    target: int
    level: int
    left: int
    finely: int


class Journey:
    """Through one session. `connection` is the console's end; when it is closed, this ends."""

    def __init__(self, past: Past, connection: Connection) -> None:
        self._past = past
        self._connection = connection
        self._total = len(past.times)
        self._spacing = max(NEAREST, self._total // SPREAD)
        self._course = Course.from_buffer(mmap(-1, ctypes.sizeof(Course)))
        self._changed = mmap(-1, max(1, self._total))
        """What each input changed, shared by all copies: known as far as any of them went."""
        self._checkpoints = Checkpoints()

    def run(self) -> NoReturn:
        self._take_in(FIRST)
        self._keep()
        while True:
            moving = not self._arrive()
            self._answer(moving)
            self._listen(moving)

    def _keep(self) -> None:
        here, course = self._past.number, self._course
        self._checkpoints.keep(lambda: course.target >= here)

    # --- the way ---------------------------------------------------------------------------------

    def _arrive(self) -> bool:
        """Take inputs in up to the target; False where it is time for a picture of the way, or
        something else was asked for."""
        course, past = self._course, self._past
        until = monotonic() + SHOW_EVERY_S
        while past.number < course.target:
            self._take_in(min(course.target, past.number + ASK_EVERY, self._next_copy()))
            if past.number < course.target:
                if self._is_copied():
                    self._keep()
                    until = monotonic() + SHOW_EVERY_S  # this may be another process, much later
                if self._connection.poll() or monotonic() > until:
                    return False
        return True

    def _take_in(self, number: int) -> None:
        """Take inputs in up to `number`, or to where the steps that are left end."""
        course, past, changed = self._course, self._past, self._changed
        while past.number < number:
            here = past.number
            changed[here] = what = past.take_in()
            if course.left and what >= course.level:
                course.left -= 1
                if not course.left:
                    course.target = past.number
                    return

    def _next_copy(self) -> int:
        """The next number at which a copy is made: as the way is long, and where it is to be fine
        as far from the target as a power of four, so the denser the nearer."""
        here, ahead = self._past.number, self._course.target - self._past.number
        spread = (here // self._spacing + 1) * self._spacing
        if ahead <= NEAREST or not self._is_fine:
            return spread
        exponent = (ahead - 1).bit_length() - 1
        return min(spread, here + ahead - (1 << exponent - exponent % 2))

    def _is_copied(self) -> bool:
        here, ahead = self._past.number, self._course.target - self._past.number
        is_near = ahead >= NEAREST and ahead == 1 << ahead.bit_length() - 1
        if is_near and ahead.bit_length() % 2 and self._is_fine:
            return True
        return here % self._spacing == 0 and self._checkpoints.bytes <= self._memory_until(here)

    def _memory_until(self, number: int) -> int:
        return SPREAD_BYTES * number // self._total

    @property
    def _is_fine(self) -> bool:
        return bool(self._course.finely) and self._checkpoints.kept < MOST

    # --- requests and answers --------------------------------------------------------------------

    def _answer(self, moving: bool) -> None:
        past, course = self._past, self._course
        place = Place(
            course.serial,
            past.number,
            self._total,
            past.times[past.number] if past.number < self._total else None,
            moving,
            past.note,
            Raw(encode(past.snapshot())),
        )
        self._say(encode(place))

    def _say(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:
            os._exit(0)

    def _listen(self, moving: bool) -> None:
        """Answer questions, until there is another way to go; while it is `moving` none that come
        later. The end where nobody is there any more."""
        while not moving or self._connection.poll():
            try:
                request = decode_request(self._connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            if not isinstance(request, Ask):
                self._set_course(request)
                return
            self._say(encode(self._answered(request)))

    def _answered(self, asked: Ask) -> Answered:
        try:
            return Answered(asked.number, self._past.answer(asked.question))
        except UserError as error:
            return Answered(asked.number, None, error.message, error.remedy)

    def _set_course(self, request: Move) -> None:
        course, here = self._course, self._past.number
        course.level = course.left = 0
        course.serial, course.target = request.serial, self._target(request)
        back = course.target < here
        course.finely = back or course.target - here > self._spacing
        if back:
            self._checkpoints.give_up()

    def _target(self, request: Move) -> int:
        match request:
            case GoTo():
                return max(FIRST, min(request.number, self._total))
            case GoToTime():
                return max(FIRST, bisect_right(self._past.times, request.ts))
            case Stay():
                return self._past.number
            case Step(count=count, level=level) if count > 0:
                self._course.level, self._course.left = level, count
                return self._total
            case Step():
                return self._before(-request.count, request.level)

    def _before(self, count: int, level: int) -> int:
        """The number after the `count`th input before here of those that changed `level`; the first
        where there are not so many."""
        number = self._past.number
        signs = [bytes((what,)) for what in range(level, TOLD + 1)]
        for _ in range(min(count, number)):
            end = max(0, number - 1)
            number = 1 + max(self._changed.rfind(sign, 0, end) for sign in signs)
        return max(FIRST, number)
