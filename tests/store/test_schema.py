"""The schema: stamped, upgraded after a backup, refused where it is newer or of another mode.

`schema-1.db` was written by the last version of tradebot that had schema 1: two sessions, a buy in
each.
"""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from engine.core.events import CommandRefused
from engine.core.model import Mode, OrderState
from engine.ops.errors import UserError
from engine.store import migrations, models
from engine.store.audit import verify
from engine.store.database import open_database, read_database, upgrade_database
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import Database, begun
from .test_audit import stored

OLD = Path(__file__).with_name("schema-1.db")


@pytest.fixture
def old(file: Place) -> Database:
    file.file.parent.mkdir()
    shutil.copy(OLD, file.file)
    return Database(file)


def version_of(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT value FROM bot_state WHERE key = 'schema_version'"
        ).fetchall()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, models.Base.metadata))


async def the_schema_is_that_of_the_models(place: Place) -> bool:
    return await asyncio.to_thread(read_database, place, differences) == []


def test_the_newest_migration_makes_the_version_of_the_models() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == str(models.SCHEMA_VERSION)
    revisions = [int(script.revision) for script in scripts.walk_revisions()]
    assert revisions == list(range(models.SCHEMA_VERSION, 0, -1))


async def test_a_new_database_is_stamped_and_is_that_of_the_models(
    store: Repository, database: Database
) -> None:
    assert database.rows("SELECT version_num FROM alembic_version") == [
        (str(models.SCHEMA_VERSION),)
    ]
    assert database.rows("SELECT value FROM bot_state WHERE key = 'mode'") == [('"paper"',)]
    assert await the_schema_is_that_of_the_models(database.place)


async def test_an_older_file_is_upgraded_and_keeps_what_it_held(old: Database) -> None:
    store = await Repository.open(old.place)
    assert await store.ledger_check() == []
    restored = await begun(store, Decimal(1), 0)
    orders = [(o.client_order_id, o.state) for o in restored.orders]
    assert orders == [("tb-1", OrderState.FILLED), ("tb-2", OrderState.FILLED)]
    assert (restored.cash, restored.peak_equity) == ({"paper": Decimal("13492.58")}, 100_000.1)
    rows = stored(old)
    assert [(row.id, row.session, row.seq) for row in rows] == [
        *((id, 1, seq) for id, seq in enumerate((1, 2, 3, 7, 8), 1)),
        *((id, 2, seq) for id, seq in enumerate((1, 2, 3, 7, 8), 6)),
    ]
    assert list(verify(rows, await store.audit_head())) == []
    await store.record([CommandRefused("x", "y", seq=1)])
    assert list(verify(stored(old), await store.audit_head())) == []
    await store.close()
    assert await the_schema_is_that_of_the_models(old.place)


@pytest.mark.parametrize(("broker", "venue"), [(None, "paper"), ("alpaca", "alpaca")])
async def test_what_an_older_file_held_is_the_account_at_its_last_broker(
    old: Database, broker: str | None, venue: str
) -> None:
    """There was one account, and the ledger did not say where."""
    row = (3, 1, 1, "BrokerStatusChanged", 0, f'{{"type":"x","broker":"{broker}"}}')
    if broker is not None:
        with closing(sqlite3.connect(old.place.file)) as connection:
            connection.execute("INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.commit()
    store = await Repository.open(old.place)
    restored = await store.restore(0)
    assert restored.cash == {venue: Decimal("13492.58")}
    assert {fill.venue for fill in restored.fills} == {venue}
    assert await store.ledger_check() == []
    assert await store.open_accounts({venue: Decimal(7)}, {venue: "USD"}, "USD")
    assert (await store.restore(0)).cash == restored.cash
    assert (await store.restore(0)).peak_equity == 100_000.1
    await store.close()


async def test_the_file_as_it_was_is_kept_beside(old: Database) -> None:
    await (await open_database(old.place)).dispose()
    (copy,) = old.place.backups.iterdir()
    assert copy.name.startswith("paper-schema1-")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert version_of(copy) == [("1",)]
    assert version_of(old.place.file) == []
    await (await open_database(old.place)).dispose()
    assert list(old.place.backups.iterdir()) == [copy]


async def test_what_a_crash_left_in_the_log_is_upgraded_and_kept_too(
    file: Place, tmp_path: Path
) -> None:
    file.file.parent.mkdir()
    running = tmp_path / "running.db"
    shutil.copy(OLD, running)
    with closing(sqlite3.connect(running)) as connection:
        connection.execute("UPDATE bot_state SET value = '7.5' WHERE key = 'peak_equity'")
        connection.commit()
        for end in ("", "-wal"):
            shutil.copy(f"{running}{end}", f"{file.file}{end}")
    store = await Repository.open(file)
    assert (await begun(store, Decimal(1), 0)).peak_equity == 7.5
    await store.close()
    (copy,) = file.backups.iterdir()
    with closing(sqlite3.connect(copy)) as connection:
        kept = connection.execute("SELECT value FROM bot_state WHERE key = 'peak_equity'")
        assert kept.fetchall() == [("7.5",)]


async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old: Database) -> None:
    with closing(sqlite3.connect(old.place.file)) as connection:
        connection.execute("CREATE TABLE audit_log_1 (in_the_way TEXT)")
    with pytest.raises(UserError, match="there is already another table"):
        await open_database(old.place)
    assert len(old.rows("SELECT * FROM audit_log")) == 10
    assert version_of(old.place.file) == [("1",)]
    with closing(sqlite3.connect(old.place.file)) as connection:
        connection.execute("DROP TABLE audit_log_1")
    await (await open_database(old.place)).dispose()
    assert version_of(old.place.file) == []


async def test_without_a_backup_there_is_no_upgrade(old: Database) -> None:
    old.place.backups.write_text("in the way")
    with pytest.raises(UserError, match="backups"):
        await open_database(old.place)
    assert version_of(old.place.file) == [("1",)]


async def test_an_older_file_is_not_read_before_it_is_upgraded(old: Database) -> None:
    with pytest.raises(UserError, match="its schema is 1, and `tradebot upgrade` is due"):
        read_database(old.place, differences)
    await upgrade_database(old.place)
    assert read_database(old.place, differences) == []


# --- on both -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            f"UPDATE alembic_version SET version_num = '{models.SCHEMA_VERSION + 1}'",
            f"has schema {models.SCHEMA_VERSION + 1}, this version reads {models.SCHEMA_VERSION}",
        ),
        ("UPDATE bot_state SET value = '\"live\"' WHERE key = 'mode'", "is the one of MODE=live"),
    ],
)
async def test_a_newer_one_and_that_of_another_mode_are_refused(
    store: Repository, database: Database, statement: str, said: str
) -> None:
    await store.close()
    database.edit(statement)
    for refused in (open_database(database.place), upgrade_database(database.place)):
        with pytest.raises(UserError, match=said):
            await refused
    with pytest.raises(UserError, match=said):
        await asyncio.to_thread(read_database, database.place, differences)


# --- on a server ---------------------------------------------------------------------------------

AS_IT_WAS = (
    "DROP TABLE alembic_version, audit_log, market_data, fintrac_report, equity_hour",
    "CREATE TABLE audit_log (session bigint, seq bigint, ts bigint NOT NULL, kind text NOT NULL,"
    " cause bigint NOT NULL, payload text NOT NULL, PRIMARY KEY (session, seq))",
    "INSERT INTO audit_log VALUES (1, 2, 30, 'B', 1, '{}'), (1, 1, 20, 'A', 0, '{}')",
    "ALTER TABLE orders DROP take_profit, DROP trail, DROP oco_group, DROP pending_quantity,"
    " DROP pending_limit_price, DROP pending_stop_price",
    "ALTER TABLE trades DROP commission_quantity, DROP venue, DROP liquidity",
    "ALTER TABLE equity_curve DROP currency",
    "INSERT INTO bot_state VALUES ('schema_version', '1')",
    "DELETE FROM bot_state WHERE key IN ('mode', 'audit_head') RETURNING 1",
)


async def test_an_older_schema_on_a_server_is_upgraded_when_the_operator_says_so(
    server: Place,
) -> None:
    database = Database(server)
    await (await open_database(server)).dispose()
    for statement in AS_IT_WAS:
        database.rows(statement)
    with pytest.raises(UserError) as refused:
        await open_database(server)
    assert f"has schema 1, this version needs {models.SCHEMA_VERSION}" in refused.value.message
    assert refused.value.remedy == (
        "make a backup (pg_dump --schema=paper DATABASE), then run: tradebot upgrade"
    )
    assert database.rows("SELECT value FROM bot_state WHERE key = 'schema_version'") == [("1",)]
    await upgrade_database(server)
    store = await Repository.open(server)
    rows = stored(database)
    assert [(row.id, row.seq, row.kind) for row in rows] == [(1, 1, "A"), (2, 2, "B")]
    assert list(verify(rows, await store.audit_head())) == []
    await store.close()
    assert await the_schema_is_that_of_the_models(server)


async def test_paper_and_live_are_apart_in_one_database(server: Place) -> None:
    live = Place(server.url, Mode.LIVE, server.backups)
    one, other = await Repository.open(server), await Repository.open(live)
    await begun(one, Decimal(1))
    await begun(other, Decimal(2))
    assert (await begun(one, Decimal(3))).cash == {"paper": 1}
    await one.close()
    await other.close()


async def test_the_tables_of_another_program_are_refused(server: Place) -> None:
    Database(server).rows("CREATE SCHEMA paper CREATE TABLE songs (title text)")
    with pytest.raises(UserError, match="it has other tables"):
        await open_database(server)
    assert Database(server).rows("SELECT * FROM songs") == []
