"""What is sent of a snapshot makes it again, and keeps the rows that did not change."""

from collections.abc import Callable
from decimal import Decimal
from math import nan

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine.control.changes import changed, changes
from engine.control.protocol import Changed, ToConsole, WireError, decode, frame
from engine.core.model import NANOS
from engine.view.snapshot import LimitRow, LogLine, Snapshot
from tests.tui import scripted

SNAPSHOTS = (
    scripted.paper,
    scripted.live,
    scripted.killed,
    scripted.cancelling,
    scripted.stale,
    scripted.held_back,
    scripted.parts_killed,
    scripted.hostile,
    scripted.empty,
)


def sent(before: Snapshot, after: Snapshot) -> dict[str, Raw]:
    """The changes, over the wire."""
    message = decode(frame(Changed(changes(before, after)))[4:], ToConsole)
    assert isinstance(message, Changed)
    return message.fields


@pytest.mark.parametrize("before", SNAPSHOTS)
@pytest.mark.parametrize("after", SNAPSHOTS)
def test_the_changes_make_the_snapshot(
    before: Callable[[], Snapshot], after: Callable[[], Snapshot]
) -> None:
    first, second = before(), after()
    encode = msgspec.msgpack.encode
    assert encode(changed(first, sent(first, second))) == encode(second)


def test_rows_that_did_not_change_are_the_same_objects() -> None:
    before = scripted.paper()
    line = LogLine(999, before.ts, "info", "new")
    moved = replace(before.quotes[1], ts=before.ts)
    after = replace(
        before,
        log=(*before.log[1:], line),
        quotes=(before.quotes[0], moved, *before.quotes[2:]),
        limits=tuple(map(replace, before.limits)),
    )
    seen = changed(before, sent(before, after))
    assert [row is old for row, old in zip(seen.log, before.log[1:], strict=False)] == [
        True for _ in before.log[1:]
    ]
    assert seen.log[-1] == line
    assert [row is old for row, old in zip(seen.quotes, before.quotes, strict=True)] == [
        number != 1 for number in range(len(before.quotes))
    ]
    assert seen.orders is before.orders
    assert all(row is old for row, old in zip(seen.limits, before.limits, strict=True))


def test_only_what_changed_is_sent() -> None:
    before = scripted.paper()
    after = replace(before, seq=101, wall_ts=before.wall_ts + NANOS, cash=Decimal("1.10"))
    assert sorted(sent(before, after)) == ["cash", "seq", "wall_ts"]


def test_what_is_unknown_stays_unknown() -> None:
    before = scripted.paper()
    row = LimitRow("account", "drawdown", "", None, nan, "%")
    after = replace(before, limits=(row,), equity=None)
    seen = changed(before, sent(before, after))
    assert seen.equity is None
    assert seen.limits[0].limit != seen.limits[0].limit


def test_changes_of_another_snapshot_are_refused() -> None:
    before, empty = scripted.paper(), scripted.empty()
    after = replace(before, log=before.log[1:])
    with pytest.raises(WireError):
        changed(empty, sent(before, after))
    with pytest.raises(WireError):
        changed(before, {"no_such_field": Raw(b"\xc0")})
