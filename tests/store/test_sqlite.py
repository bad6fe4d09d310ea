"""The file: private, made whole or not at all, and never written over where it is not ours."""

# ruff: noqa: ASYNC240 - nothing else waits for these files

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.core.model import Mode
from engine.ops.errors import UserError
from engine.store import models
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import Database, MakeOrder

VERSION = "UPDATE alembic_version SET version_num"
NEWER = models.SCHEMA_VERSION + 1


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def database(file: Place) -> Database:
    return Database(file)


async def open_file(path: Path) -> Repository:
    return await Repository.open(Place.in_file(path, Mode.PAPER))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


async def test_files_are_private_whatever_the_umask(
    umask: int, path: Path, make_order: MakeOrder
) -> None:
    store = await open_file(path)
    await store.commit_intent(make_order())
    files = {file.name: mode(file) for file in path.parent.iterdir()}
    await store.close()
    assert files == {"paper.db": 0o600, "paper.db-wal": 0o600, "paper.db-shm": 0o600}
    assert mode(path.parent) == 0o700


async def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    store = await open_file(folder / "paper.db")
    await store.close()
    assert mode(folder) == 0o755


async def test_a_database_that_others_could_read_becomes_private(path: Path) -> None:
    await (await open_file(path)).close()
    path.chmod(0o644)
    await (await open_file(path)).close()
    assert mode(path) == 0o600


async def test_commits_are_power_safe(store: Repository) -> None:
    async with store._database.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1000]  # 2 is FULL


async def test_closing_folds_the_log_into_the_file(
    store: Repository, path: Path, make_order: MakeOrder
) -> None:
    await store.commit_intent(make_order())
    await store.close()
    assert list(contents(path.parent)) == ["paper.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT client_order_id FROM orders").fetchall() == [("tb-1",)]


async def test_a_draft_that_a_crash_left_behind_is_in_nobodys_way(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("paper.db.new").write_bytes(b"half a database")
    store = await open_file(path)
    assert await store.orders(1) == []
    await store.close()
    assert list(contents(path.parent)) == ["paper.db"]


# --- what is refused -----------------------------------------------------------------------------


async def refusal(path: Path) -> str:
    """What `open` says of the file, which it must leave as it is, without anything beside it."""
    before, modes = contents(path.parent), mode(path)
    with pytest.raises(UserError) as raised:
        await open_file(path)
    assert contents(path.parent) == before
    assert mode(path) == modes
    assert raised.value.remedy
    return raised.value.message


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"not a database, but some text\n" * 300, bytes(8192), b"SQLite format 3\0" * 512],
    ids=["empty", "one byte", "text", "zeros", "false header"],
)
async def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o644)
    assert "is no sound database" in await refusal(path)


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    assert "it has other tables" in await refusal(path)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"{VERSION} = '{NEWER}'", f"has schema {NEWER}, this version reads {NEWER - 1}"),
        (f"{VERSION} = '0'", "has schema 0"),
        (f"{VERSION} = 'x'", "no sound database"),
        ("DELETE FROM alembic_version", "it has no schema version"),
        ("UPDATE bot_state SET value = '\"live\"' WHERE key = 'mode'", "the one of MODE=live"),
    ],
)
async def test_another_schema_is_refused(path: Path, statement: str, said: str) -> None:
    await (await open_file(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    assert said in await refusal(path)


async def test_another_schema_that_is_still_in_the_log_is_refused(path: Path) -> None:
    await (await open_file(path)).close()
    crashed = path.with_name("crashed.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"{VERSION} = '{NEWER}'")
        connection.commit()
        for end in ("", "-wal"):
            Path(f"{crashed}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    with pytest.raises(UserError, match=f"has schema {NEWER}"):
        await open_file(crashed)


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?mode=rw.db", "#1.db", "bücher.db"])
async def test_a_path_may_have_any_name(tmp_path: Path, make_order: MakeOrder, name: str) -> None:
    for expected in ([], [make_order()]):
        store = await open_file(tmp_path / name)
        assert await store.orders(10) == expected
        if not expected:
            await store.commit_intent(make_order())
        await store.close()
    assert list(contents(tmp_path)) == [name]


async def test_a_damaged_database_is_refused(path: Path, make_order: MakeOrder) -> None:
    store = await open_file(path)
    for number in range(200):
        await store.commit_intent(make_order(f"tb-{number}"))
    await store.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 8 : 4096 * 9] = os.urandom(4096)
    path.write_bytes(damaged)
    assert "is no sound database" in await refusal(path)


async def test_a_truncated_database_is_refused(path: Path, make_order: MakeOrder) -> None:
    store = await open_file(path)
    await store.commit_intent(make_order())
    await store.close()
    path.write_bytes(path.read_bytes()[: 4096 * 3])
    assert "is no sound database" in await refusal(path)


async def test_a_log_without_its_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    log = Path(f"{path}-wal")
    log.write_bytes(b"what was committed last")
    with pytest.raises(UserError, match="its write-ahead log is still there"):
        await open_file(path)
    assert contents(path.parent) == {log.name: b"what was committed last"}


async def test_a_folder_in_the_databases_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(UserError, match=f"cannot open the database {path}"):
        await open_file(path)


async def test_a_file_in_the_folders_place_is_refused(path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(UserError, match="state"):
        await open_file(path)


async def test_an_empty_log_without_its_database_is_in_nobodys_way(path: Path) -> None:
    path.parent.mkdir()
    Path(f"{path}-wal").touch()
    await (await open_file(path)).close()
    assert list(contents(path.parent)) == ["paper.db"]


async def test_a_log_that_a_crash_left_behind_is_read(path: Path, make_order: MakeOrder) -> None:
    store = await open_file(path)
    await store.commit_intent(make_order())
    crashed = path.with_name("crashed.db")
    for end in ("", "-wal"):
        Path(f"{crashed}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    await store.close()
    recovered = await open_file(crashed)
    assert await recovered.orders(10) == [make_order()]
    await recovered.close()


async def test_a_database_that_another_program_holds_is_refused(path: Path) -> None:
    await (await open_file(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="database is locked"):
            await open_file(path)
