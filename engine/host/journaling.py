"""The journal of a running session: opened, flushed, ended; the newest of former ones stay."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from engine.core.events import Event
from engine.core.model import utc
from engine.core.text import clean
from engine.ops.files import make_private_folder
from engine.store import StoreUnavailable
from engine.store.journal import JournalHeader, JournalWriter
from engine.view.snapshot import JournalStatus

JOURNALS_KEPT = 20
"""Sessions whose journals are kept, this one among them."""

log = logging.getLogger(__name__)


class JournalKeeper:
    """Writes the journal of this session into `folder`, `max_mb` megabytes at most. A disk that
    fails, or a journal that has reached its bound, stops nothing; `tell` is told, once. Raises
    UserError where the journal cannot be made."""

    def __init__(
        self, folder: Path, header: JournalHeader, max_mb: int, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._max_mb = max_mb
        self._problem = ""
        make_private_folder(folder)
        for old in sorted(folder.glob("*.journal"))[: -JOURNALS_KEPT + 1]:
            old.unlink()
        self._name = name = f"{utc(header.started_ts):%Y%m%dT%H%M%S.%f}-{os.getpid()}.journal"
        self._writer = JournalWriter(folder / name, header, max_mb)

    @property
    def status(self) -> JournalStatus:
        return JournalStatus(self._name, self._writer.mb, self._max_mb, self._problem)

    def append(self, event: Event) -> None:
        self._writer.append(event)

    def flush(self) -> None:
        try:
            self._writer.flush()
        except StoreUnavailable as error:
            self._report(clean(str(error)))
        else:
            self._problem = ""

    def close(self, state_hash: str) -> None:
        """End it with the state that the session came to."""
        self._writer.end(state_hash)
        try:
            self._writer.close()
        except StoreUnavailable as error:
            log.error("the journal is not whole: %s", clean(str(error)))

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log.error("%s", problem)
            self._tell(problem)
