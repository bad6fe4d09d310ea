"""How the console asks the engine: nothing waits for an answer, it is looked for once a frame."""

from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from typing import Generic

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.view.questions import A, Question

EVERY = 2.0
"""Seconds between two times that the same is asked, where nothing else is said."""
ONCE = inf
"""Nothing is asked twice."""

Ask = Callable[[Question[A]], "Future[A]"]


class Asking(Generic[A]):
    """The newest answer to one question, which is asked `every` so many seconds while somebody
    looks."""

    def __init__(self, ask: Ask[A], every: float = EVERY) -> None:
        self._ask = ask
        self._every = every
        self._question: Question[A] | None = None
        self._asked = 0.0
        self._moment: int | None = None
        self._coming: Future[A] | None = None
        self.answer: A | None = None
        self.failure = ""
        """Why the last time that it was asked brought no answer; empty where it did."""

    def look(self, question: Question[A], now: float, moment: int | None = None) -> None:
        """Take what came, and ask where that is due; `now` is in monotonic seconds. Of another
        question than before nothing is known yet; at another `moment` of the past there is another
        answer."""
        if question != self._question:
            self._question, self._coming, self.answer, self.failure = question, None, None, ""
            self._send(question, now, moment)
        if self._coming is not None and self._coming.done():
            self._take(self._coming)
            self._coming = None
        is_due = now - self._asked >= self._every or moment != self._moment
        if self._coming is None and is_due:
            self._send(question, now, moment)

    def waited(self, now: float) -> float | None:
        """Seconds since a question that has no answer yet."""
        return None if self._coming is None else now - self._asked

    def _send(self, question: Question[A], now: float, moment: int | None) -> None:
        self._asked, self._moment = now, moment
        self._coming = self._ask(question)

    def _take(self, coming: "Future[A]") -> None:
        if coming.cancelled():
            self.failure = "no answer: the engine has ended"
        elif (error := coming.exception()) is None:
            self.answer, self.failure = coming.result(), ""
        else:
            known = isinstance(error, UserError)
            self.failure = clean(error.message if known else f"no answer: {type(error).__name__}")
