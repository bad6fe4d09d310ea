"""A session of the past on the screen: where one is in it, and how one moves. No Textual here."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engine.core.model import MINUTE, NANOS, nanos, utc
from engine.view.questions import A, Question
from tui import commands, format
from tui.frame import Frame, Past

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from engine.ops.settings import Settings
    from engine.travel.client import Moment
    from engine.travel.sessions import RecordedSession

SKIP_AFTER = 60 * MINUTE
"""A stretch of market time in which nothing came is skipped while it plays, as a replay does."""

_TIME = re.compile(r"(?:(\d{4}-\d{2}-\d{2})[ t]?)?(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_EXAMPLES = "an event such as 1234, a time such as 14:30:05 or 2024-03-04 14:30, start or end"


class Travel(Protocol):
    """A session that can be gone through. It cannot be sent a command, and no method may block."""

    def latest(self) -> "Moment | None": ...
    def failure(self) -> str | None: ...
    @property
    def inputs_read(self) -> int: ...
    @property
    def is_under_way(self) -> bool: ...
    def go_to(self, number: int) -> None: ...
    def go_to_time(self, ts: int) -> None: ...
    def stay(self) -> None: ...
    def step(self, count: int, level: int) -> None: ...
    def ask(self, question: "Question[A]") -> "Future[A]": ...
    def close(self) -> None: ...


class Journals(Protocol):
    """The sessions that were recorded. `sessions` reads files; `open` returns at once."""

    def sessions(self) -> "Sequence[RecordedSession]": ...
    def open(self, path: Path) -> Travel: ...


class RecordedJournals:
    """Those of DATA_DIR. What reads them is imported when it is first needed, on a thread."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    def sessions(self) -> "Sequence[RecordedSession]":
        from engine.travel.sessions import recorded_sessions

        return recorded_sessions(self._settings)

    def open(self, path: Path) -> Travel:
        from engine.travel.client import TimeTravel

        return TimeTravel(path)


class Destination(NamedTuple):
    """An event, counted from 1, or else a time (ns UTC)."""

    number: int | None = None
    ts: int = 0


def destination(text: str, total: int, ts: int) -> Destination:
    """Where `text` says to go, in a session of `total` events; a time without a day is of that of
    `ts`. Raises ValueError that says what can be typed."""
    text = text.strip().lower()
    if text in ("start", "end"):
        return Destination(1 if text == "start" else total)
    if text.isdecimal() and text.isascii():
        if not 1 <= int(text) <= total:
            raise ValueError(f"there is no event {text[:12]}: they go from 1 to {total:,}")
        return Destination(int(text))
    found = _TIME.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"type {_EXAMPLES}")
    day, hour, minute, second = found.groups()
    if not (day or ts):
        raise ValueError("no day is known here yet: type it too, such as 2024-03-04 14:30")
    try:
        date = datetime.fromisoformat(f"{day}T00:00+00:00") if day else utc(ts)
        at = date.replace(
            hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0), microsecond=0
        )
    except ValueError:
        raise ValueError(f"there is no time {text}") from None
    return Destination(ts=nanos(at))


class Journey:
    """Through the session called `name`. `clock` gives monotonic seconds, by which it plays."""

    def __init__(self, name: str, travel: Travel, clock: Callable[[], float]) -> None:
        self.name = name
        self._travel = travel
        self._clock = clock
        self.speed = commands.SPEEDS[2]
        self._from: tuple[float, int] | None = None
        """Since when it plays: the clock and the market's time then."""

    @property
    def playing(self) -> bool:
        return self._from is not None

    @property
    def moment(self) -> "Moment | None":
        return self._travel.latest()

    @property
    def failure(self) -> str | None:
        return self._travel.failure()

    @property
    def inputs_read(self) -> int:
        return self._travel.inputs_read

    def frame(self, engine: Frame) -> Frame:
        """What is to be drawn: the session as it was then; `engine` until there is something. What
        this console knows of now is no part of it."""
        moment = self.moment
        if moment is None:
            return engine
        place, moving = moment.place, self._travel.is_under_way
        pace = f"{'▶' if self.playing else '‖'} {format.speed(self.speed)}"
        pace = "… moving" if moving and not self.playing else pace
        note = format.first_line(self.failure or "") or place.note
        past = Past(self.name, place.number, place.total, pace, note, engine)
        then = engine._replace(snapshot=moment.snapshot, past=past, silence=0.0, failure=None)
        return then._replace(dropped=0, kill_wait=None, kill_delay=None, frozen=None)

    def ask(self, question: Question[A]) -> "Future[A]":
        """What was then."""
        return self._travel.ask(question)

    # --- moves ----------------------------------------------------------------------------------

    def go_to(self, where: Destination) -> None:
        self._from = None
        if where.number is None:
            self._travel.go_to_time(where.ts)
        else:
            self._travel.go_to(where.number)

    def step(self, count: int, *, leap: bool) -> None:
        """Go `count` events on or back, of those that changed what is shown; with `leap` of those
        that the log tells of."""
        from engine.travel.messages import SHOWN, TOLD

        self._from = None
        self._travel.step(count, TOLD if leap else SHOWN)

    def play(self) -> None:
        """Play, or stop where it is; a move under way is stopped too."""
        if self.playing or self._travel.is_under_way:
            self.stay()
        elif self.moment is not None:
            self._start(self.moment.snapshot.ts)

    def stay(self) -> None:
        """Play no more, and move no further."""
        self._from = None
        self._travel.stay()

    def change_speed(self, step: int) -> None:
        self.speed = commands.next_speed(self.speed, step)
        if self.playing and self.moment is not None:
            self._travel.stay()
            self._start(self.moment.snapshot.ts)

    def go_on(self) -> None:
        """Where it plays: go on to where it should be by now."""
        moment = self.moment
        if self._from is None or moment is None or self._travel.is_under_way:
            return
        next_ts = moment.place.next_ts
        if next_ts is None:
            self._from = None
            return
        if not self.speed:
            self._travel.go_to(moment.place.total)
            return
        since, ts = self._from
        due = ts + int((self._clock() - since) * self.speed * NANOS)
        if next_ts - moment.snapshot.ts > SKIP_AFTER:
            self._start(next_ts)
            due = next_ts
        if next_ts <= due:
            self._travel.go_to_time(due)

    def _start(self, ts: int) -> None:
        self._from = self._clock(), ts

    def close(self) -> None:
        self._travel.close()
