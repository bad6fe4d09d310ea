"""A session's machine, fed from its journal up to any of its inputs."""

import asyncio
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from engine import __version__
from engine.build import plugins
from engine.core.events import (
    BarClosed,
    FeedStatusChanged,
    HistoryLoaded,
    QuoteUpdate,
    Record,
    Restored,
)
from engine.core.strategy import Strategy
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.store.audited import Until
from engine.store.place import Place
from engine.travel.messages import SHOWN, TOLD
from engine.travel.replay import check_file, open_session
from engine.view.answers import Answers
from engine.view.causes import Causes
from engine.view.questions import AnyAnswer, AnyQuestion, Question
from engine.view.snapshot import FeedStatus, Snapshot
from engine.view.view import View

TELL_EVERY = 20_000
"""Inputs that are looked through between two words of it."""


class Past:
    """The machine after the first `number` inputs; `times` are those of all inputs that can be read
    (ns UTC, as the machine takes them: never backwards).

    The journal of a session that still runs is read as far as it was written when it was opened.
    What a machine does not keep is in the database of the account, which `settings` name.

    Raises UserError where the journal, its strategies or its version are not what is needed.
    """

    def __init__(self, path: Path, settings: Settings, tell: Callable[[int], None]) -> None:
        kinds = plugins(settings).kinds
        self._reader, self.machine = open_session(path, kinds)
        first = next(iter(self._reader), None)
        self._began = 0 if first is None else first.ts
        self._view = View(self.machine, first.fills if isinstance(first, Restored) else ())
        self._causes = Causes(self.machine.bus)
        place = Place.of(settings.model_copy(update={"mode": self.machine.config.mode}))
        self._answers = Answers(self.machine, self._view, self._causes, place, self._until)
        self._feed = FeedStatus("", "connecting", "", 1.0, recorded=False)
        self.times = array("q")
        self._problem = self._look_through(kinds, tell)
        if not self.times:
            raise UserError(
                self._problem or f"the journal {clean(str(path))} has no input yet",
                "open another, or this one again later",
            )
        self._inputs = iter(self._reader)
        self.number = 0

    def _look_through(
        self, kinds: Mapping[str, type[Strategy]], tell: Callable[[int], None]
    ) -> str:
        """Find out how far the journal can be read; why no further, empty where that is its end."""
        now = 0
        try:
            for event in self._reader:
                check_file(event, len(self.times), kinds)
                now = max(now, event.ts)
                self.times.append(now)
                if len(self.times) % TELL_EVERY == 0:
                    tell(len(self.times))
        except UserError as error:
            return clean(str(error.message))
        return f"the journal is torn: {self._reader.torn}" if self._reader.torn else ""

    def take_in(self) -> int:
        """Give the machine the next input; SHOWN, TOLD, or 0 where it changed nothing."""
        event = next(self._inputs)
        effects = self.machine.process(event)
        self.number += 1
        changed = (
            SHOWN if effects or isinstance(event, QuoteUpdate | BarClosed | HistoryLoaded) else 0
        )
        for effect in effects:
            if isinstance(effect, Record):
                fact = effect.fact
                self._causes.follow(fact)
                if self._view.follow(fact):
                    changed = TOLD
                if isinstance(fact, FeedStatusChanged):
                    self._feed = FeedStatus(fact.feed, fact.status, fact.reason, 1.0, False)
        return changed

    @property
    def note(self) -> str:
        """What is to be known of the journal, and at its end of the state that it led to."""
        written_by = self._reader.header.product
        notes: list[str] = []
        if written_by != f"tradebot {__version__}":
            notes.append(f"recorded by {clean(written_by)}: here it may come out otherwise")
        if self.number == len(self.times):
            state = self._reader.state_hash
            if self._problem:
                notes.append(self._problem)
            elif state and state != self.machine.state_hash():
                notes.append("DIFFERENT: the session itself ended in another state")
        return " · ".join(notes)

    def answer(self, question: AnyQuestion) -> AnyAnswer:
        """What the engine would have answered then. Raises UserError that says why there is no
        answer."""
        return asyncio.run(self._answers.find(cast("Question[Any]", question)))

    def _until(self) -> Until:
        bus = self.machine.bus
        return Until(bus.now, bus.seq, self._began)

    def snapshot(self) -> Snapshot:
        """The picture of then. What only the host of the engine knew is not in the journal, and not
        in it: health, a replay's speed, whether the kill switch was on disk, the host's own lines
        of the log."""
        return self._view.take(0, 0, self._feed, True, None)
