"""A table of which the snapshot has the newest rows, and the database all that were before."""

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from msgspec.structs import replace

from engine.view.questions import FillPage, OrderPage, Question
from engine.view.snapshot import Snapshot
from tui import format
from tui.asking import ONCE, Asking
from tui.frame import Frame
from tui.widgets.line_table import LineTable
from tui.widgets.table_keys import Row

PAGE = 100
"""Rows that are asked for at a time."""

MOST_KEPT = 5_000

FAR = 100
"""Events of a session of the past. Who goes further at once has missed rows that no page brings."""

P = TypeVar("P", bound=OrderPage | FillPage)
"""A page of the history."""


def words_of(*kinds: type[Enum]) -> tuple[str, ...]:
    """Words of a row that the database does not look for among its texts."""
    return tuple(
        word for kind in kinds for value in kind for word in format.words(value.value).split()
    )


def looked_for(words: str, vocabulary: tuple[str, ...]) -> str:
    """Which of the `words` that an operator looks for the database looks for; the table leaves out
    what has not all."""
    found = (word for word in words.casefold().split() if not _is_of(vocabulary, word))
    return next(found, "")


def _is_of(vocabulary: tuple[str, ...], word: str) -> bool:
    return len(word) > 2 and any(known.startswith(word) for known in vocabulary)


class History(LineTable[Row], Generic[Row, P]):
    """Rows of former times are asked for where one looks for words, or comes to the end. What was
    once shown stays; of two that tell of one thing the newer one counts."""

    vocabulary: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._kept: dict[Hashable, Row] = {}
        self._seen: Sequence[Row] = ()
        self._next: Question[P] | None = None
        """What brings the rows before those that are known."""
        self._coming: Asking[P] | None = None
        self._asked = False
        self._moment: int | None = None

    # --- what a subclass says --------------------------------------------------------------------

    def newest(self, snapshot: Snapshot) -> Sequence[Row]:
        """The rows that the snapshot has."""
        raise NotImplementedError

    def first_question(self, word: str) -> Question[P]:
        """What asks for the newest rows that have `word`, or for the newest of all."""
        raise NotImplementedError

    def rows_of(self, page: P) -> Sequence[Row]:
        """The rows of a page of the history."""
        raise NotImplementedError

    def is_newer(self, row: Row, known: Row) -> bool:
        """Whether `row` takes the place of what is `known` of the same."""
        raise NotImplementedError

    # --- the history -----------------------------------------------------------------------------

    def searched(self) -> None:
        """Ask for the newest rows that are looked for."""
        word = looked_for(self._choice.words, self.vocabulary)
        self._next, self._coming = self.first_question(word), None
        self.more()

    def more(self) -> None:
        """Ask for older ones, if there are any."""
        if self._next is not None and self._coming is None:
            self._coming = Asking(self.ask, ONCE)
            self._coming.look(self._next, 0.0)
            self.redraw()

    def _look(self) -> None:
        """Take the page that was asked for, once it is there."""
        coming, asked = self._coming, self._next
        if coming is None or asked is None:
            return
        coming.look(asked, 0.0)
        if (page := coming.answer) is not None:
            self._coming = None
            self._next = replace(asked, before=page.before) if page.before else None
            self._keep(self.rows_of(page))
            self.redraw()
            if len(self._rows) < self._page:
                self.more()
        elif coming.failure:
            self._coming = None
            self.say(coming.failure, "warn")
            self.redraw()

    def _keep(self, rows: Iterable[Row]) -> None:
        if len(self._kept) > MOST_KEPT:
            self._kept = {self.row_id(row): row for row in self._seen}
        for row in rows:
            known = self._kept.get(self.row_id(row))
            if known is None or self.is_newer(row, known):
                self._kept[self.row_id(row)] = row

    def forget(self) -> None:
        self._kept, self._seen, self._next = {}, (), None
        self._coming, self._asked = None, False

    # --- rows ------------------------------------------------------------------------------------

    def show(self, frame: Frame) -> None:
        before, self._moment = self._moment, frame.moment
        if before is not None and self._moment is not None and self._moment - before > FAR:
            self.forget()
        super().show(frame)
        if frame.snapshot is not None and not self._asked:
            self._asked = True
            self.searched()
        self._look()

    def known(self, snapshot: Snapshot) -> Iterable[Row]:
        """All that is known by now."""
        if (newest := self.newest(snapshot)) is not self._seen:
            self._seen = newest
            self._keep(newest)
        return self._kept.values()

    @property
    def history(self) -> str:
        """How much of the history is shown."""
        state = "asking" if self._coming else "older ones at the end" if self._next else "whole"
        return f"history: {state}"
