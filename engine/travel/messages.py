"""What the console and the process that travels say to each other."""

from typing import Any, get_args, get_origin

from msgspec import Raw, Struct, msgpack, structs

from engine.control.protocol import Answered, Ask
from engine.view.snapshot import Snapshot

END = 2**62
"""More inputs than any journal has."""

SHOWN, TOLD = 1, 2
"""What an input changed: something that is shown, or so much that the log tells of it. An input
that changed nothing, as most ticks of the clock, is neither."""


class GoTo(Struct, frozen=True, tag=True):
    """Be where the first `number` inputs of the journal led, one at least; at the end, where it
    has fewer."""

    serial: int
    number: int


class GoToTime(Struct, frozen=True, tag=True):
    """Be where the session was at the market's time `ts` (ns UTC): after the last input until
    then."""

    serial: int
    ts: int


class Step(Struct, frozen=True, tag=True):
    """Go on by `count` inputs, or back where it is negative, of those that changed `level`."""

    serial: int
    count: int
    level: int


class Stay(Struct, frozen=True, tag=True):
    """Go no further."""

    serial: int


Move = GoTo | GoToTime | Step | Stay
Request = Move | Ask
"""A question is answered of where the journey is, which is that of the Place before the answer."""


class Reading(Struct, frozen=True, tag=True):
    """The journal is being looked through: this many inputs were found so far."""

    inputs: int


class Place(Struct, frozen=True, tag=True):
    """After the first `number` of the `total` inputs that can be read; `snapshot` is of then.

    `serial` is that of the last request, 0 before the first, which is carried out unless it is
    `moving`. `next_ts` is the time (ns UTC) of the next input, None at the end. `note` says what is
    to be known of the journal: where it is torn, damaged, or of another version.
    """

    serial: int
    number: int
    total: int
    next_ts: int | None
    moving: bool
    note: str
    snapshot: Raw


class Refused(Struct, frozen=True, tag=True):
    """The session cannot be travelled to, or no further; the process ends."""

    reason: str


Answer = Reading | Place | Refused | Answered

encode = msgpack.Encoder().encode
decode_request = msgpack.Decoder(Request).decode
decode_answer = msgpack.Decoder(Answer).decode


def _row_type(field: structs.FieldInfo) -> type[Struct] | None:
    """Of a tuple of structs, the struct; else None."""
    if get_origin(field.type) is not tuple:
        return None
    kind = get_args(field.type)[0]
    return kind if isinstance(kind, type) and issubclass(kind, Struct) else None


_FIELDS = structs.fields(Snapshot)
_ROWS = {f.name: msgpack.Decoder(kind).decode for f in _FIELDS if (kind := _row_type(f))}
_OTHERS = {f.name: msgpack.Decoder(f.type).decode for f in _FIELDS if f.name not in _ROWS}
_decode_fields = msgpack.Decoder(dict[str, Raw]).decode
_decode_rows = msgpack.Decoder(list[Raw]).decode


class SnapshotReader:
    """Decodes snapshots that follow each other.

    A row that reads as it did in the one before is the same object, so that a panel finds what
    changed by identity, and is not decoded again. Rows are decoded one by one: all at once they
    would keep an engine in the same process from running for some milliseconds.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], Any] = {}

    def read(self, data: Raw) -> Snapshot:
        fields = _decode_fields(data)
        values = {name: decode(fields[name]) for name, decode in _OTHERS.items()}
        seen: dict[tuple[str, bytes], Any] = {}
        for name, decode in _ROWS.items():
            rows: list[Any] = []
            for raw in _decode_rows(fields[name]):
                key = name, bytes(raw)
                row = seen[key] = self._known.get(key) or decode(raw)
                rows.append(row)
            values[name] = tuple(rows)
        self._known = seen
        return Snapshot(**values)
