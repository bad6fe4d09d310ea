"""Which sessions there are to travel to."""

from pathlib import Path

from msgspec import Struct

from engine.core.model import NANOS, Mode
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.store.journal import JournalReader
from engine.travel.replay import config_of


class RecordedSession(Struct, frozen=True):
    """A session whose journal is there. It `started_ts`, its journal was written to until
    `until_ts` (ns UTC, the computer's clock), and has `size` bytes. `problem` says why it cannot be
    opened, with what else is not known then; empty where it can."""

    path: Path
    started_ts: int
    until_ts: int
    size: int
    mode: Mode | None = None
    symbols: tuple[str, ...] = ()
    problem: str = ""


def recorded_sessions(settings: Settings) -> list[RecordedSession]:
    """The sessions of this DATA_DIR, of paper and of live, the newest first. Reads files."""
    found = [_session(path) for path in settings.data_dir.glob("journal/*/*.journal")]
    return sorted((one for one in found if one is not None), key=_started, reverse=True)


def _started(session: RecordedSession) -> int:
    return session.started_ts


def _session(path: Path) -> RecordedSession | None:
    """None where the journal was just deleted, as the oldest are when a session starts."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    until = int(stat.st_mtime * NANOS)
    try:
        header = JournalReader(path).header
        config = config_of(header, path)
    except UserError as error:
        problem = clean(error.message.replace(str(path), path.name))
        return RecordedSession(path, until, until, stat.st_size, problem=problem)
    return RecordedSession(
        path,
        header.started_ts,
        until,
        stat.st_size,
        config.mode,
        tuple(clean(instrument.symbol) for instrument in config.instruments),
    )
