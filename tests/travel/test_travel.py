"""Any moment of a session again: as it was then, forwards and backwards, while the engine runs."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from zlib import crc32

import pytest
from msgspec.structs import replace
from sqlalchemy import URL

from engine.core.events import KillPart, QuoteUpdate, TripKillSwitch
from engine.core.model import MINUTE, Part, Scope
from engine.ops.settings import Settings
from engine.store.journal import JournalReader
from engine.travel.client import Moment, TimeTravel
from engine.travel.messages import END, SHOWN, TOLD
from engine.travel.past import Past
from engine.view.snapshot import FeedStatus, Snapshot
from tests.postgresql import done, run_on
from tests.session import CLOSES, OPEN, Session, journals, running, zigzag

PATIENCE_S = 60.0
SMALL = CLOSES[:30]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path, SMALL)


@pytest.fixture
async def session(settings: Settings) -> Session:
    return await recorded(settings)


async def recorded(settings: Settings) -> Session:
    """A session that traded, was killed, and ended in order."""
    async with running(settings) as session:
        await session.until(lambda s: len(s.orders) > 4)
        session.command(KillPart(part=Part(Scope.SYMBOL, "ACME"), source="key", author="me"))
        session.command(TripKillSwitch(source="key", author="me"))
        await session.until(lambda s: s.kill.phase == "complete" and s.feed.status == "ended")
    return session


@contextmanager
def travel(settings: Settings, journal: Path | None = None) -> Iterator[TimeTravel]:
    environment = {
        **os.environ,
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "STRATEGIES_DIR": str(settings.strategies_dir),
    }
    with closing(TimeTravel(journal or journals(settings)[0], environment)) as travel:
        yield travel


def arrived(travel: TimeTravel) -> Moment:
    """Where the journey is once it is where it was asked to go."""
    deadline = time.monotonic() + PATIENCE_S
    while travel.is_under_way:
        assert travel.failure() is None, travel.failure()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)
    moment = travel.latest()
    assert moment is not None
    return moment


def at(travel: TimeTravel, number: int) -> Moment:
    travel.go_to(number)
    return arrived(travel)


def refusal(travel: TimeTravel) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while (reason := travel.failure()) is None:
        assert time.monotonic() < deadline, "it was not refused"
        time.sleep(0.001)
    return reason


def afresh(settings: Settings, number: int) -> Snapshot:
    """What a new machine shows that took in `number` inputs."""
    past = Past(journals(settings)[0], settings, lambda _: None)
    for _ in range(number):
        past.take_in()
    return past.snapshot()


def reads(snapshot: Snapshot) -> str:
    """All of a snapshot, as text: what is not a number is equal to itself."""
    return repr(snapshot)


def as_recorded(snapshot: Snapshot, lines: set[str]) -> str:
    """What of it the journal has: not what only the host of the engine knew."""
    feed = FeedStatus(snapshot.feed.name, snapshot.feed.status, snapshot.feed.note, 1.0, False)
    log = tuple(line for line in snapshot.log if line.text in lines)
    kill = replace(snapshot.kill, durable=True)
    bare = replace(snapshot, ts=0, wall_ts=0, health=None, feed=feed, log=log, kill=kill)
    return reads(replace(bare, left_open=()))


# --- as it was then ------------------------------------------------------------------------------


def test_every_moment_is_as_the_engine_showed_it_then(session: Session, settings: Settings) -> None:
    check_every_moment(session, settings)


@pytest.fixture
def on_server(tmp_path: Path, postgresql: URL) -> Iterator[Settings]:
    address = postgresql.render_as_string(hide_password=False)
    yield zigzag(tmp_path, SMALL, database_url=address)
    drop = "DROP SCHEMA IF EXISTS paper CASCADE"
    done(run_on(postgresql, "SET client_min_messages TO error", drop))


async def test_so_it_is_where_the_database_is_on_a_server(on_server: Settings) -> None:
    session = await recorded(on_server)
    await asyncio.to_thread(check_every_moment, session, on_server)


def check_every_moment(session: Session, settings: Settings) -> None:
    shown = {snapshot.seq: snapshot for snapshot in session.snapshots}
    found = 0
    with travel(settings) as there:
        end = arrived(there).place.total
        told = {line.text for line in at(there, end).snapshot.log}
        for number in range(1, end + 1):
            snapshot = at(there, number).snapshot
            then = shown.get(snapshot.seq)
            if then is not None:
                assert as_recorded(snapshot, told) == as_recorded(
                    replace(then, feed=replace(then.feed, name=snapshot.feed.name)), told
                )
                found += 1
    assert found > 4


def test_forwards_and_backwards_lead_to_the_same_as_a_machine_from_the_beginning(
    session: Session, settings: Settings
) -> None:
    with travel(settings) as there:
        end = arrived(there).place.total
        for number in (end, 1, 2, end - 1, end // 2, end // 2 - 1, end // 3, end - 7, 3):
            moment = at(there, number)
            assert (moment.place.number, moment.place.total) == (number, end)
            assert reads(moment.snapshot) == reads(afresh(settings, number))


def test_steps_back_stop_where_the_steps_on_did(session: Session, settings: Settings) -> None:
    with travel(settings) as there:
        end = arrived(there).place.total
        for level in (SHOWN, TOLD):
            places = [at(there, 1)]
            while places[-1].place.number < end:
                there.step(1, level)
                places.append(arrived(there))
            assert 4 < len(places) <= end
            for before in reversed(places[:-1]):
                there.step(-1, level)
                now = arrived(there)
                assert now.place.number == before.place.number
                assert reads(now.snapshot) == reads(before.snapshot)


def test_each_step_changes_what_is_shown(session: Session, settings: Settings) -> None:
    kinds = [type(event) for event in JournalReader(journals(settings)[0])]
    with travel(settings) as there:
        arrived(there)
        before = at(there, 1)
        for _ in range(30):
            there.step(1, SHOWN)
            now = arrived(there)
            is_quote = kinds[now.place.number - 1] is QuoteUpdate
            assert is_quote or reads(replace(now.snapshot, seq=before.snapshot.seq)) != reads(
                before.snapshot
            )
            before = now
        before = at(there, 1)
        for _ in range(3):
            log = len(before.snapshot.log)
            there.step(1, TOLD)
            before = arrived(there)
            assert len(before.snapshot.log) > log


def test_a_time_is_gone_to_after_all_that_came_until_then(
    session: Session, settings: Settings
) -> None:
    begin = int(OPEN.timestamp()) * 1_000_000_000
    with travel(settings) as there:
        arrived(there)
        for minutes in (20, 3, 10):
            there.go_to_time(begin + minutes * MINUTE)
            moment = arrived(there)
            assert moment.snapshot.ts <= begin + minutes * MINUTE
            assert moment.place.next_ts is not None
            assert moment.place.next_ts > begin + minutes * MINUTE
            closes = [row.last for row in moment.snapshot.quotes]
            assert closes == [SMALL[minutes - 1]]
        there.go_to_time(0)
        assert arrived(there).place.number == 1
        there.go_to_time(2**62)
        assert arrived(there).place.next_ts is None


def test_what_is_asked_for_meanwhile_comes_about(session: Session, settings: Settings) -> None:
    """Steps that come while one is under way are added up; going somewhere else takes their
    place."""
    with travel(settings) as there:
        end = arrived(there).place.total
        numbers: list[int] = []
        for _ in range(6):
            there.step(-1, SHOWN)
            numbers.append(arrived(there).place.number)
        at(there, end)
        for _ in range(6):
            there.step(-1, SHOWN)
        assert arrived(there).place.number == numbers[-1]
        for _ in range(6):
            there.step(-1, SHOWN)
        there.go_to(7)
        assert arrived(there).place.number == 7
        there.go_to(END)
        there.stay()
        assert arrived(there).place.number <= end


def test_what_is_not_known_of_then_is_not_made_up(session: Session, settings: Settings) -> None:
    with travel(settings) as there:
        arrived(there)
        first, last = at(there, 0).snapshot, at(there, END).snapshot
    assert (first.health, first.wall_ts, first.feed.name) == (None, 0, "")
    assert (last.health, last.wall_ts) == (None, 0)
    assert (last.feed.name, last.feed.status, last.feed.recorded) == ("replay", "ended", False)


# --- while the engine trades ---------------------------------------------------------------------


async def test_the_session_that_runs_is_read_as_far_as_it_is_written(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(lambda s: len(s.orders) > 2)
        await session.until(lambda s: len(s.log) > 2)
        with travel(settings) as there:
            await session.until(lambda _: not there.is_under_way, PATIENCE_S)
            place, then = there.latest() or pytest.fail("no moment")
            assert 0 < place.number == place.total
            assert place.note == "" or "torn" in place.note
            later = await session.until(lambda s: s.seq > then.seq)
            there.go_to(0)
            await session.until(lambda _: not there.is_under_way, PATIENCE_S)
            assert session.snapshots[-1].seq >= later.seq
        assert reads(then) == reads(afresh(settings, place.number))


# --- what cannot be travelled --------------------------------------------------------------------


def test_a_torn_journal_ends_with_its_last_whole_input(
    session: Session, settings: Settings
) -> None:
    (journal,) = journals(settings)
    with travel(settings) as there:
        assert arrived(there).place.note == ""
        whole = arrived(there).place.total
    data = journal.read_bytes()
    journal.write_bytes(data[: len(data) - 200])
    with travel(settings) as there:
        place = arrived(there).place
        assert 0 < place.number == place.total < whole
        assert place.note.startswith("the journal is torn: cut at byte")
        assert at(there, 3).place.note == ""


def test_a_damaged_journal_can_be_seen_up_to_the_damage(
    session: Session, settings: Settings
) -> None:
    (journal,) = journals(settings)
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    with travel(settings) as there:
        place = arrived(there).place
        assert 0 < place.number == place.total
        assert "is damaged: the record at byte" in place.note


def test_a_session_that_comes_out_otherwise_now_is_said_to(
    session: Session, settings: Settings
) -> None:
    (journal,) = journals(settings)
    data = journal.read_bytes()
    with travel(settings) as there:
        equal = arrived(there)
        assert equal.place.note == ""
    state = JournalReader(journal)
    list(state)
    payload = data[data.rindex(b"\x82\xa4type\xaaJournalEnd") :]
    other = payload.replace(state.state_hash[:8].encode(), b"00000000")
    frame = len(other).to_bytes(4, "little") + crc32(other).to_bytes(4, "little")
    journal.write_bytes(data[: len(data) - len(payload) - 8] + frame + other)
    with travel(settings) as there:
        assert "DIFFERENT" in arrived(there).place.note
        assert at(there, 5).place.note == ""


def test_a_journal_that_cannot_be_travelled_is_refused_with_the_reason(
    session: Session, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "x.journal").write_text("hello")
    with travel(settings, tmp_path / "x.journal") as there:
        assert "is no journal" in refusal(there)
    with travel(settings, tmp_path / "y.journal") as there:
        assert "cannot read the journal" in refusal(there)
    file = tmp_path / "plugins" / "zigzag.py"
    file.write_text(file.read_text().replace("% 6", "% 8"))
    with travel(settings) as there:
        assert "zigzag is not what it was in that session" in refusal(there)
    file.unlink()
    with travel(settings) as there:
        assert "needs the strategy zigzag, which is not there" in refusal(there)


# --- processes -----------------------------------------------------------------------------------


def processes(journal: Path) -> list[int]:
    """Those that travel through `journal` now."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if b"engine.travel" in command and str(journal).encode() in command:
            found.append(int(folder.name))
    return sorted(found)


def gone(journal: Path) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while processes(journal):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_journey_that_is_closed_leaves_nothing(session: Session, settings: Settings) -> None:
    (journal,) = journals(settings)
    with travel(settings) as there:
        arrived(there)
        assert 2 < len(processes(journal)) < 70
    assert gone(journal)


def test_one_that_is_killed_is_told_and_leaves_nothing(
    session: Session, settings: Settings
) -> None:
    (journal,) = journals(settings)
    with travel(settings) as there:
        arrived(there)
        os.kill(processes(journal)[-1], 9)
        assert "has ended" in refusal(there)
        assert gone(journal)


TWO_COPIES = """
import os
from engine.travel.checkpoints import Checkpoints

checkpoints, much = Checkpoints(), bytearray(32 * 1024**2)
checkpoints.keep(lambda: True)
before = checkpoints.bytes
much[::4096] = bytes(len(much) // 4096)
checkpoints.keep(lambda: True)
grown = (checkpoints.bytes - before) / len(much)
os._exit(0 if checkpoints.kept == 2 and 1 <= grown < 2 else 1)
"""


def test_the_memory_of_the_copies_is_known() -> None:
    """By which no more of them are made than there is memory for."""
    done = subprocess.run([sys.executable, "-c", TWO_COPIES], timeout=PATIENCE_S, check=False)
    assert done.returncode == 0


def test_a_journal_without_inputs_shows_nothing(session: Session, settings: Settings) -> None:
    """Before its first input there is the configuration alone, which is nobody's account."""
    (journal,) = journals(settings)
    data = journal.read_bytes()
    journal.write_bytes(data[: 8 + int.from_bytes(data[:4], "little")])
    with travel(settings) as there:
        assert "has no input yet" in refusal(there)


def test_what_did_not_change_is_the_same_object(session: Session, settings: Settings) -> None:
    with travel(settings) as there:
        end = arrived(there).place.total
        before = at(there, end - 5).snapshot
        after = at(there, end - 4).snapshot
    assert before.orders
    assert before.log
    kept = {id(order) for order in before.orders}
    assert sum(id(order) in kept for order in after.orders) >= len(after.orders) - 1
    assert before.limits[0] is after.limits[0]
