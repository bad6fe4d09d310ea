"""What went in comes out, in order; what was damaged is cut or named, never guessed."""

import builtins
import errno
import os
import types
from collections import abc
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, msgpack, structs

from engine.core.events import (
    ClockTick,
    Event,
    ExecutionReport,
    Input,
    QuoteUpdate,
    Restored,
    TripKillSwitch,
)
from engine.core.model import Fill, OrderState, Quote, Side
from engine.ops.errors import UserError
from engine.store import StoreUnavailable
from engine.store.journal import (
    BACKLOG,
    BUFFER,
    JOURNAL_VERSION,
    JournalHeader,
    JournalReader,
    JournalWriter,
)
from tests.disk import full_disk

HEADER = JournalHeader(JOURNAL_VERSION, b"\x00config\xff", 1_700_000_000_000_000_001, "tradebot 1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.journal"


def sample() -> list[Event]:
    fill = Fill(
        "x-1", "tb-1", "AAPL", Side.BUY, Decimal("0.10"), Decimal("1E+3"), Decimal("-0.000"), 5
    )
    return [
        QuoteUpdate(Quote("AAPL", 1, 100.1, float("inf"), 0.1 + 0.2, 3.0), ts=1, seq=1),
        ExecutionReport("tb-1", OrderState.FILLED, "v", fill, "Ünïcode \u202e", ts=2, seq=2),
        TripKillSwitch("key", "panic", author="ann", ts=3, seq=7, cause=2),
    ]


def write(path: Path, events: list[Any]) -> list[int]:
    """Writes a journal and returns where each record begins, and where the last one ends."""
    writer = JournalWriter(path, HEADER)
    places: list[int] = []
    for event in events:
        writer.flush()
        places.append(path.stat().st_size)
        writer.append(event)
    writer.close()
    return [*places, path.stat().st_size]


def test_inputs_come_back_in_order(path: Path) -> None:
    write(path, sample())
    reader = JournalReader(path)
    assert reader.header == HEADER
    assert list(reader) == sample()
    assert list(reader) == sample()
    assert reader.torn == ""


def test_a_journal_without_inputs_has_a_header(path: Path) -> None:
    write(path, [])
    reader = JournalReader(path)
    assert (reader.header, list(reader), reader.torn) == (HEADER, [], "")


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type; for a Struct, which may hold others of its kind, one with every
    field drawn."""
    parts = [values(part) for part in get_args(kind) if part is not Ellipsis]
    match get_origin(kind) or kind:
        case types.UnionType:
            return st.one_of(parts)
        case builtins.tuple:
            return st.lists(parts[0], max_size=2).map(tuple)
        case builtins.dict | abc.Mapping:
            return st.dictionaries(*parts, max_size=2)
        case plain if plain in PLAIN:
            return PLAIN[plain]
        case enum if issubclass(enum, Enum):
            return st.sampled_from(enum)
        case struct:
            return st.deferred(lambda: built(struct))


def built(struct: type[Struct]) -> st.SearchStrategy[Struct]:
    return st.builds(struct, **{f.name: values(f.type) for f in structs.fields(struct)})


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    float: st.floats(allow_nan=False),
    int: st.integers(-(2**63), 2**64 - 1),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    Decimal: st.decimals(allow_nan=False),
    type(None): st.none(),
}
INPUTS = [values(kind) for kind in get_args(Input)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(INPUTS), max_size=4))
def test_every_kind_of_input_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "session.journal"
    write(path, events)
    assert list(JournalReader(path)) == events


# --- the writer ----------------------------------------------------------------------------------


def test_the_file_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        JournalWriter(path, HEADER).close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_is_never_written_over(path: Path) -> None:
    path.write_bytes(b"the last session")
    with pytest.raises(UserError, match=r"session\.journal"):
        JournalWriter(path, HEADER)
    assert path.read_bytes() == b"the last session"


def test_the_buffer_writes_itself_at_its_bound(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    event = TripKillSwitch("key", "x" * 1_000)
    for _ in range(BUFFER // 1_000):
        writer.append(event)
    assert path.stat().st_size >= BUFFER
    writer.append(event)
    assert path.stat().st_size < BUFFER + 2_000
    writer.close()


def test_what_was_flushed_can_be_read_before_the_end(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    writer.append(ClockTick(ts=1))
    assert path.stat().st_size == 0
    writer.flush()
    writer.sync()
    assert list(JournalReader(path)) == [ClockTick(ts=1)]
    writer.close()


def test_a_full_disk_is_told_and_loses_nothing_when_it_passes(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    events = [TripKillSwitch("key", "x" * 1_000, seq=number) for number in range(200)]
    with full_disk(100_500):
        for event in events:
            writer.append(event)
        with pytest.raises(StoreUnavailable, match=os.strerror(errno.EFBIG)):
            writer.flush()
        assert path.stat().st_size == 100_500
    assert JournalReader(path).header == HEADER
    writer.close()
    reader = JournalReader(path)
    assert list(reader) == events
    assert reader.torn == ""


def test_what_died_on_a_full_disk_is_a_true_beginning(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    events = [TripKillSwitch("key", "x" * 1_000, seq=number) for number in range(200)]
    with full_disk(100_500):
        for event in events:
            writer.append(event)
        with pytest.raises(StoreUnavailable):
            writer.close()
    reader = JournalReader(path)
    kept = list(reader)
    assert kept == events[: len(kept)]
    assert len(kept) > 90
    assert reader.torn


def test_a_disk_that_stays_full_bounds_the_memory_and_ends_the_journal(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    events = [TripKillSwitch("key", "x" * 100_000, seq=n) for n in range(BACKLOG // 100_000 + 50)]
    with full_disk(1_000):
        for event in events:
            writer.append(event)
    with pytest.raises(StoreUnavailable, match="bytes wait for the disk"):
        writer.flush()
    assert path.stat().st_size < BACKLOG + 200_000
    writer.append(ClockTick())
    with pytest.raises(StoreUnavailable, match="not complete"):
        writer.close()
    kept = list(JournalReader(path))
    assert kept == events[: len(kept)]
    assert len(kept) >= BACKLOG // 101_000


def test_an_input_that_cannot_be_encoded_ends_the_journal_and_raises_nothing(path: Path) -> None:
    writer = JournalWriter(path, HEADER)
    writer.append(ClockTick(ts=1))
    writer.append(ClockTick(ts=2**70))
    writer.append(ClockTick(ts=3))
    with pytest.raises(StoreUnavailable, match="ClockTick cannot be encoded"):
        writer.close()
    assert list(JournalReader(path)) == [ClockTick(ts=1)]


def test_a_journal_ends_at_its_bound_and_is_a_true_beginning(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.journal.MB", 5_000)
    writer = JournalWriter(path, HEADER, max_mb=2)
    events = [TripKillSwitch("key", "x" * 1_000, seq=number) for number in range(200)]
    for event in events:
        writer.append(event)
    writer.append(ClockTick())  # would fit, and does not follow
    writer.end("state")
    with pytest.raises(StoreUnavailable, match=r"bound of 2 MB \(JOURNAL_MAX_MB\)"):
        writer.close()
    assert path.stat().st_size <= 10_000
    reader = JournalReader(path)
    kept = list(reader)
    assert kept == events[: len(kept)]
    assert len(kept) >= 8
    assert (reader.torn, reader.state_hash) == ("", "")


# --- torn and damaged files ----------------------------------------------------------------------


def test_a_torn_last_record_is_cut_at_every_byte_and_said(path: Path) -> None:
    *_, start, end = write(path, sample())
    whole = path.read_bytes()
    for size in range(start + 1, end):
        path.write_bytes(whole[:size])
        reader = JournalReader(path)
        assert list(reader) == sample()[:-1]
        assert reader.torn == f"cut at byte {start}: the last record is incomplete"


def test_a_cut_between_two_records_is_not_torn(path: Path) -> None:
    *_, start, _ = write(path, sample())
    path.write_bytes(path.read_bytes()[:start])
    reader = JournalReader(path)
    assert (list(reader), reader.torn) == (sample()[:-1], "")


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 4096])
def test_zeros_after_the_end_are_cut_and_said(path: Path, zeros: int) -> None:
    end = write(path, sample())[-1]
    path.write_bytes(path.read_bytes() + bytes(zeros))
    reader = JournalReader(path)
    assert list(reader) == sample()
    assert reader.torn.startswith(f"cut at byte {end}:")


def test_a_record_whose_end_became_zeros_is_cut_at_every_byte(path: Path) -> None:
    """A crash of the system leaves blocks that were never written: zeros, up to some size."""
    *_, start, end = write(path, sample())
    whole = path.read_bytes()
    for size in range(start, end - 1):
        path.write_bytes(whole[:size] + bytes(end - size + 100))
        reader = JournalReader(path)
        assert list(reader) == sample()[:-1]
        assert reader.torn.startswith(f"cut at byte {start}:")


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_found_at_every_byte_of_a_middle_record(path: Path, bit: int) -> None:
    _, start, end, _ = write(path, sample())
    whole = path.read_bytes()
    for place in range(start, end):
        path.write_bytes(flipped(whole, place, bit))
        events: list[Event] = []
        with pytest.raises(UserError, match=f"record at byte {start} does not match its checksum"):
            events.extend(JournalReader(path))


def test_a_flipped_bit_before_a_torn_record_is_found(path: Path) -> None:
    _, start, end, size = write(path, sample())
    whole = path.read_bytes()[: size - 1]
    path.write_bytes(flipped(whole, end - 1, 0))
    with pytest.raises(UserError, match=f"record at byte {start} "):
        list(JournalReader(path))


def test_a_flipped_bit_in_the_last_record_cuts_it(path: Path) -> None:
    *_, start, end = write(path, sample())
    whole = path.read_bytes()
    for place in range(start, end):
        path.write_bytes(flipped(whole, place, 0))
        reader = JournalReader(path)
        assert list(reader) == sample()[:-1]
        assert reader.torn


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_a_damaged_header_is_refused_at_every_byte(path: Path) -> None:
    first = write(path, sample())[0]
    whole = path.read_bytes()
    for place in range(first):
        path.write_bytes(flipped(whole, place, 0))
        with pytest.raises(UserError, match=r"session\.journal"):
            JournalReader(path)


@pytest.mark.parametrize("content", [b"", b"\0", bytes(100), b"text that is no journal\n" * 10])
def test_what_is_no_journal_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is no journal|is damaged"):
        JournalReader(path)


def test_a_missing_journal_is_named(path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the journal .*session\.journal"):
        JournalReader(path)


def test_another_format_is_refused_with_the_version_that_wrote_it(path: Path) -> None:
    JournalWriter(path, JournalHeader(JOURNAL_VERSION + 1, b"", 1, "tradebot 9.0")).close()
    with pytest.raises(UserError, match=r"tradebot 9\.0"):
        JournalReader(path)


@pytest.mark.parametrize("record", [{"type": "FromTheFuture"}, {"type": "QuoteUpdate"}, 7])
def test_a_whole_record_that_is_no_input_is_named(path: Path, record: Any) -> None:
    place = write(path, [record])[0]
    assert msgpack.encode(record) in path.read_bytes()
    with pytest.raises(UserError, match=f"record at byte {place} .* is no input"):
        list(JournalReader(path))


def test_a_long_record_is_torn_without_a_long_search(path: Path) -> None:
    marks = {f"S{number}": number / 7 for number in range(5_000)}
    start, end = write(path, [Restored(cash={"paper": Decimal(1)}, marks=marks)])
    assert end - start > 50_000
    path.write_bytes(path.read_bytes()[:-1])
    reader = JournalReader(path)
    assert list(reader) == []
    assert reader.torn
