"""What of a snapshot is sent to a console that has the one before.

A field that is as before is left out. Of a field with rows (quotes, orders, log lines …) a row that
was there before is its number in the former tuple, and any other is the row itself; so the console
goes on with the objects that it has, and its panels find what changed by identity.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import Raw, msgpack, structs

from engine.control.protocol import WireError, decode
from engine.view.snapshot import Snapshot

Rows = tuple[object, ...]

_encoder = msgpack.Encoder()


def changes(before: Snapshot, after: Snapshot) -> dict[str, Raw]:
    """By the name of the field what changed."""
    found: dict[str, Raw] = {}
    for name, (_, has_rows) in _fields().items():
        old, new = getattr(before, name), getattr(after, name)
        if old is new or old == new:
            continue
        found[name] = Raw(_encoder.encode(_rows(old, new) if has_rows else new))
    return found


def _rows(old: Rows, new: Rows) -> list[object]:
    numbers = {id(row): number for number, row in enumerate(old)}
    sent: list[object] = []
    for number, row in enumerate(new):
        known = numbers.get(id(row))
        if known is None and number < len(old) and old[number] == row:
            known = number  # made anew, and as it was
        sent.append(row if known is None else known)
    return sent


def changed(before: Snapshot, fields: Mapping[str, Raw]) -> Snapshot:
    """The snapshot after it. Raises WireError where the changes are of another one."""
    known = _fields()
    values: dict[str, object] = {}
    try:
        for name, content in fields.items():
            kind, has_rows = known[name]
            value = decode(content, kind)
            if has_rows:
                old: Rows = getattr(before, name)
                value = tuple(old[each] if isinstance(each, int) else each for each in value)
            values[name] = value
    except (KeyError, IndexError) as error:
        raise WireError("changes of a snapshot that is not here") from error
    return structs.replace(before, **values)


@cache
def _fields() -> dict[str, tuple[Any, bool]]:
    """By name the type in which a field's change is sent, and whether it has rows."""
    return {field.name: _sent_as(field.type) for field in structs.fields(Snapshot)}


def _sent_as(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) is tuple:
        row = get_args(kind)[0]
        return tuple[int | row, ...], True
    return kind, False
