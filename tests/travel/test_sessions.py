"""Which sessions there are to travel to: all whose journal is there, whatever state it is in."""

import sys
from asyncio import create_subprocess_exec
from pathlib import Path

from engine.core.model import NANOS, Mode
from engine.travel.sessions import recorded_sessions
from tests.session import health_of, journals, running, zigzag

AT_ONCE = """
import sys
from pathlib import Path
from threading import Barrier, Thread

from engine.store.journal import JournalReader
from engine.travel.replay import config_of

path = Path(sys.argv[1])
header = JournalReader(path).header
sys.setswitchinterval(1e-6)
together = Barrier(8)

def read():
    together.wait()
    config_of(header, path)

threads = [Thread(target=read) for _ in range(together.parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
"""The first readings of a process, by several threads at the same time."""


async def test_the_sessions_are_listed_newest_first_each_with_what_is_known_of_it(
    tmp_path: Path,
) -> None:
    settings = zigzag(tmp_path, [100.0, 101.0])
    assert recorded_sessions(settings) == []
    started = 0
    for _ in range(2):
        async with running(settings) as session:
            await session.until(lambda s: s.seq > 0)
        started = health_of(session.snapshots[-1]).started_wall_ts
    old, new = journals(settings)
    found = recorded_sessions(settings)
    assert [session.path for session in found] == [new, old]
    last = found[0]
    assert last.started_ts == started
    assert last.until_ts >= last.started_ts - NANOS
    assert last.size == new.stat().st_size
    assert (last.mode, last.symbols) == (Mode.PAPER, ("ACME",))
    assert last.problem == ""


async def test_one_that_cannot_be_opened_is_listed_with_the_reason(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, [100.0, 101.0])
    async with running(settings) as session:
        await session.until(lambda s: s.seq > 0)
    live = settings.data_dir / "journal" / "live"
    live.mkdir()
    (live / "x.journal").write_bytes(b"")
    journals(settings)[0].rename(live / "y.journal")
    found = {session.path.name: session for session in recorded_sessions(settings)}
    assert "is no journal" in found["x.journal"].problem
    assert found["x.journal"].mode is None
    assert found["y.journal"].problem == ""


async def test_threads_that_read_sessions_at_once_do_not_crash(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, [100.0, 101.0])
    async with running(settings) as session:
        await session.until(lambda s: s.seq > 0)
    (path,) = journals(settings)
    for _ in range(8):
        process = await create_subprocess_exec(sys.executable, "-c", AT_ONCE, str(path))
        assert await process.wait() == 0
