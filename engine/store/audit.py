"""The audit log's hash chain (I12): each row holds the hash of the row before and its own.

A row's hash is the SHA-256, in hexadecimal, of the JSON array (UTF-8, no blanks) of the previous
hash and the row's session, seq, ts, kind, cause and payload. The first row's previous hash is
GENESIS. Rows are numbered from 1 without a gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from msgspec import Struct, json
from sqlalchemy import select

from engine.core.events import Event
from engine.store.models import BotState

GENESIS = "0" * 64

HEAD_KEY = "audit_head"
RECORDED_HEAD = select(BotState.value).where(BotState.key == HEAD_KEY)
"""The newest row as the last record left it: taken from the log itself, a tail that was cut off
would be grown over unnoticed. `head_of` reads it."""


class AuditHead(Struct, frozen=True):
    """The newest row: its number and hash. Kept outside, it gives a rewritten chain away."""

    id: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.id}:{self.hash}"


class AuditRow(Struct, frozen=True):
    """A fact in the audit log; `payload` is the fact as JSON."""

    id: int
    session: int
    seq: int
    ts: int
    kind: str
    cause: int
    payload: str
    previous: str
    hash: str

    @property
    def head(self) -> AuditHead:
        return AuditHead(self.id, self.hash)


class Finding(Struct, frozen=True):
    """What is wrong at a row: `fault` is edited, missing, moved, cut or rewritten."""

    row: int
    fault: str
    message: str


def head_of(recorded: str | None) -> AuditHead:
    return json.decode(recorded, type=AuditHead) if recorded else AuditHead()


def hash_of(
    previous: str, session: int, seq: int, ts: int, kind: str, cause: int, payload: str
) -> str:
    return sha256(json.encode((previous, session, seq, ts, kind, cause, payload))).hexdigest()


def chained(head: AuditHead, session: int, facts: Sequence[Event]) -> list[AuditRow]:
    """The rows of `facts` that follow `head`."""
    rows: list[AuditRow] = []
    for fact in facts:
        kind, payload = type(fact).__name__, json.encode(fact).decode()
        content = (session, fact.seq, fact.ts, kind, fact.cause, payload)
        digest = hash_of(head.hash, *content)
        rows.append(AuditRow(head.id + 1, *content, head.hash, digest))
        head = rows[-1].head
    return rows


def verify(
    rows: Iterable[AuditRow], head: AuditHead, witness: AuditHead | None = None
) -> Iterator[Finding]:
    """What is wrong with `rows`, which are all there are, by number; the first finding first.

    `head` is the newest row as the database recorded it, `witness` one that was kept elsewhere.
    """
    last = AuditHead()
    for row in rows:
        yield from _gap(last, row)
        own = (row.session, row.seq, row.ts, row.kind, row.cause, row.payload)
        if row.hash != hash_of(row.previous, *own):
            yield Finding(row.id, "edited", f"row {row.id} was edited: its hash does not fit it")
        if witness and row.id == witness.id and row.hash != witness.hash:
            yield Finding(row.id, "rewritten", f"row {row.id} is not the one that was witnessed")
        last = row.head
    yield from _end(last, head, witness)


def _gap(last: AuditHead, row: AuditRow) -> Iterator[Finding]:
    """What is wrong between two rows."""
    first = last.id + 1
    if row.id > first:
        missing = f"row {first} is" if row.id == first + 1 else f"rows {first} to {row.id - 1} are"
        yield Finding(first, "missing", f"{missing} missing")
    elif row.id < first:
        yield Finding(row.id, "moved", f"row {row.id} stands before the first")
    elif row.previous != last.hash:
        before = f"row {last.id}" if last.id else "the beginning"
        yield Finding(
            row.id,
            "moved",
            f"row {row.id} does not continue {before}: one of them was moved or replaced",
        )


def _end(last: AuditHead, head: AuditHead, witness: AuditHead | None) -> Iterator[Finding]:
    """What is wrong at the newest row."""
    newest = max(head.id, witness.id if witness else 0)
    if last.id < newest:
        message = f"the end is cut off: after row {last.id} came rows up to {newest}"
        yield Finding(last.id + 1, "cut", message)
    elif last != head:
        yield Finding(last.id, "rewritten", f"row {last.id} is not the one that was recorded last")
