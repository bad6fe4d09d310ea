"""The hash chain (I12): what was edited, removed, moved or cut off is found, its row named."""

import json
from decimal import Decimal
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import (
    CommandRefused,
    DataRefused,
    OrderAccepted,
    TradingDayStarted,
)
from engine.store.audit import GENESIS, AuditHead, AuditRow, Finding, chained, hash_of, verify
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import Database, MakeOrder, Stamp

FACTS = [CommandRefused("ToggleStrategy", f"reason {n}", seq=n, ts=n * 10) for n in range(1, 11)]


@pytest.fixture
def rows() -> list[AuditRow]:
    return chained(AuditHead(), 1, FACTS)


def findings(
    rows: list[AuditRow], head: AuditHead, witness: AuditHead | None = None
) -> list[Finding]:
    return list(verify(rows, head, witness))


def resealed(rows: list[AuditRow], head: AuditHead | None = None) -> list[AuditRow]:
    """The rows with numbers and hashes that fit: what who knows the rule can do."""
    head, sealed = head or AuditHead(), list[AuditRow]()
    for row in rows:
        content = (row.session, row.seq, row.ts, row.kind, row.cause, row.payload)
        digest = hash_of(head.hash, *content)
        sealed.append(replace(row, id=head.id + 1, previous=head.hash, hash=digest))
        head = sealed[-1].head
    return sealed


def test_the_hash_is_that_of_the_document(rows: list[AuditRow]) -> None:
    first, second = rows[:2]
    assert (first.id, first.previous, second.previous) == (1, GENESIS, first.hash)
    array = [first.hash, 1, 2, 20, "CommandRefused", 0, second.payload]
    text = json.dumps(array, separators=(",", ":"), ensure_ascii=False)
    assert second.hash == sha256(text.encode()).hexdigest()


def test_a_whole_chain_has_no_finding(rows: list[AuditRow]) -> None:
    assert findings(rows, rows[-1].head) == []
    assert findings(rows, rows[-1].head, rows[4].head) == []
    assert findings([], AuditHead()) == []


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize(
    "change",
    [
        {"session": 2},
        {"seq": 99},
        {"ts": 99},
        {"kind": "OrderFilled"},
        {"cause": 1},
        {"payload": "{}"},
        {"hash": "f" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_edited_row_is_named(
    rows: list[AuditRow], place: int, change: dict[str, object]
) -> None:
    head = rows[-1].head
    rows[place] = replace(rows[place], **change)
    first = findings(rows, head)[0]
    assert (first.row, first.fault) == (place + 1, "edited")
    assert f"row {place + 1} was edited" in first.message


@pytest.mark.parametrize("place", range(9))
def test_a_row_that_was_edited_and_sealed_anew_does_not_fit_the_next(
    rows: list[AuditRow], place: int
) -> None:
    head = rows[-1].head
    edited = replace(rows[place], payload="{}")
    rows[place] = resealed([*rows[:place], edited])[-1]
    (finding,) = findings(rows, head)
    assert (finding.row, finding.fault) == (place + 2, "moved")


def test_the_last_row_edited_and_sealed_anew_is_not_the_recorded_one(rows: list[AuditRow]) -> None:
    changed = resealed([*rows[:-1], replace(rows[-1], payload="{}")])
    (finding,) = findings(changed, rows[-1].head)
    assert (finding.row, finding.fault) == (10, "rewritten")


@pytest.mark.parametrize(
    ("first", "end", "message"),
    [(0, 1, "row 1 is missing"), (3, 4, "row 4 is missing"), (2, 6, "rows 3 to 6 are missing")],
)
def test_missing_rows_are_named(rows: list[AuditRow], first: int, end: int, message: str) -> None:
    (finding,) = findings(rows[:first] + rows[end:], rows[-1].head)
    assert finding == Finding(first + 1, "missing", message)


@pytest.mark.parametrize("place", range(9))
def test_a_missing_row_whose_gap_was_closed_is_found_where_the_next_begins(
    rows: list[AuditRow], place: int
) -> None:
    head = rows[-1].head
    rest = [replace(row, id=row.id - 1) for row in rows[place + 1 :]]
    first = findings(rows[:place] + rest, head)[0]
    assert (first.row, first.fault) == (place + 1, "moved")


def test_rows_that_changed_places_are_named(rows: list[AuditRow]) -> None:
    head = rows[-1].head
    rows[3], rows[4] = replace(rows[4], id=4), replace(rows[3], id=5)
    assert [(f.row, f.fault) for f in findings(rows, head)] == [
        (4, "moved"),
        (5, "moved"),
        (6, "moved"),
    ]


@pytest.mark.parametrize("kept", [0, 1, 9])
def test_a_cut_tail_is_named(rows: list[AuditRow], kept: int) -> None:
    (finding,) = findings(rows[:kept], rows[-1].head)
    assert (finding.row, finding.fault) == (kept + 1, "cut")
    assert finding.message.endswith(f"after row {kept} came rows up to 10")


def test_a_rewritten_chain_is_found_by_the_head_that_was_kept_elsewhere(
    rows: list[AuditRow],
) -> None:
    witness = rows[6].head
    forged = resealed([replace(row, payload="{}") for row in rows])
    assert findings(forged, forged[-1].head) == []
    (finding,) = findings(forged, forged[-1].head, witness)
    assert (finding.row, finding.fault) == (7, "rewritten")
    shorter = forged[:5]
    (finding,) = findings(shorter, shorter[-1].head, witness)
    assert (finding.row, finding.fault) == (6, "cut")


def test_a_row_before_the_first_is_named(rows: list[AuditRow]) -> None:
    found = findings([replace(rows[0], id=0), *rows], rows[-1].head)
    assert (found[0].row, found[0].fault) == (0, "moved")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_text_can_be_chained(reasons: list[str]) -> None:
    rows = chained(AuditHead(), 1, [CommandRefused("x", reason) for reason in reasons])
    assert findings(rows, rows[-1].head if rows else AuditHead()) == []


# --- in the database -----------------------------------------------------------------------------


def stored(database: Database) -> list[AuditRow]:
    columns = "id, session, seq, ts, kind, cause, payload, previous, hash"
    return [AuditRow(*row) for row in database.rows(f"SELECT {columns} FROM audit_log ORDER BY id")]


async def test_facts_are_chained_over_batches_and_sessions(
    store: Repository, database: Database, place: Place
) -> None:
    assert await store.audit_head() == AuditHead()
    await store.record(FACTS[:3])
    await store.record(FACTS[:5])  # the first three are there
    await store.record([DataRefused("X", "crossed", seq=6)])  # makes no row
    await store.close()
    other = await Repository.open(place)
    await other.record(FACTS[:2])
    head = await other.audit_head()
    await other.close()
    rows = stored(database)
    assert [(row.id, row.session, row.seq) for row in rows] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 1, 4),
        (5, 1, 5),
        (6, 2, 1),
        (7, 2, 2),
    ]
    assert findings(rows, head) == []
    assert head == rows[-1].head


async def test_a_batch_that_fails_leaves_the_chain_as_it_was(
    store: Repository, database: Database, stamp: Stamp, make_order: MakeOrder
) -> None:
    await store.record([stamp(FACTS[0])])
    head = await store.audit_head()
    with pytest.raises(Exception, match="is not a finite number"):
        await store.record([stamp(OrderAccepted(make_order(filled=Decimal("NaN"))))])
    assert await store.audit_head() == head
    await store.record([stamp(FACTS[1])])
    assert findings(stored(database), await store.audit_head()) == []


async def test_the_head_is_told_once_a_trading_day(
    store: Repository, stamp: Stamp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="engine.store.repository")
    await store.record([stamp(FACTS[0])])
    assert caplog.messages == []
    await store.record([stamp(TradingDayStarted("2022-01-03", 1.0))])
    assert caplog.messages == [f"audit head {await store.audit_head()}"]


async def test_a_tail_that_was_cut_off_is_not_grown_over(
    store: Repository, database: Database
) -> None:
    await store.record(FACTS[:5])
    database.edit("DELETE FROM audit_log WHERE id > 3")
    await store.record(FACTS[5:])
    (finding,) = findings(stored(database), await store.audit_head())
    assert finding.message == "rows 4 to 5 are missing"
