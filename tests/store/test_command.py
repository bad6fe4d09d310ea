"""`tradebot audit` and `tradebot upgrade`, beside an engine that runs and without one."""

# ruff: noqa: ASYNC240 - nothing else waits for these files

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.core.events import CommandRefused
from engine.core.model import DAY
from engine.ops.lock import EngineLock
from engine.ops.settings import load_settings
from engine.store.repository import Repository

from .conftest import Database
from .test_schema import OLD

FACTS = [
    CommandRefused("ToggleStrategy", reason, seq=number, ts=number * DAY)
    for number, reason in enumerate(["=1+1", "\x1b[31m\u202e", "Zürich", "last"])
]


@pytest.fixture
def database(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The settings name it."""
    if database.is_file:
        monkeypatch.setenv("DATA_DIR", str(database.place.file.parent))
    else:
        url = database.place.url.render_as_string(hide_password=False)
        monkeypatch.setenv("DATABASE_URL", url)
    return database


def tradebot(*arguments: str) -> Result:
    """A command has a loop of its own: so it runs on a thread of its own beside the test's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(CliRunner().invoke, main, arguments).result()


# --- verify --------------------------------------------------------------------------------------


async def test_a_whole_log_is_told_while_the_engine_runs(
    store: Repository, database: Database
) -> None:
    await store.record(FACTS)
    head = await store.audit_head()
    result = tradebot("audit", "verify")
    assert result.output == f"the audit log is whole: 4 rows, head {head}\n"
    assert result.exit_code == 0
    result = tradebot("audit", "verify", "--json", "--head", str(head))
    assert json.loads(result.output) == {"whole": True, "head": str(head), "findings": []}
    await store.record([CommandRefused("x", "the engine goes on", seq=9)])
    assert tradebot("audit", "verify").output.startswith("the audit log is whole: 5 rows")


async def test_a_log_whose_engine_is_gone_is_read_and_stays_private(
    store: Repository, database: Database
) -> None:
    await store.record(FACTS)
    await store.close()
    assert tradebot("audit", "verify").exit_code == 0
    if database.is_file:
        files = list(database.place.file.parent.iterdir())
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    other = await Repository.open(database.place)
    assert (await other.audit_head()).id == 4
    await other.close()


@pytest.mark.parametrize(
    ("statement", "row", "fault"),
    [
        ("UPDATE audit_log SET payload = '{}' WHERE id = 2", 2, "edited"),
        ("DELETE FROM audit_log WHERE id = 2", 2, "missing"),
        ("UPDATE audit_log SET id = 9 WHERE id = 2", 2, "missing"),
        ("DELETE FROM audit_log WHERE id > 2", 3, "cut"),
        ("DELETE FROM audit_log", 1, "cut"),
    ],
)
async def test_a_broken_log_is_told_with_its_row(
    store: Repository, database: Database, statement: str, row: int, fault: str
) -> None:
    await store.record(FACTS)
    database.edit(statement)
    result = tradebot("audit", "verify")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == f"the audit log is broken, first at row {row}"
    result = tradebot("audit", "verify", "--json")
    assert result.exit_code == 1
    finding = json.loads(result.output)["findings"][0]
    assert (finding["row"], finding["fault"]) == (row, fault)


async def test_a_head_that_was_kept_elsewhere_finds_a_rewritten_log(
    store: Repository, database: Database
) -> None:
    await store.record(FACTS)
    result = tradebot("audit", "verify", "--head", f"2:{'f' * 64}")
    assert result.exit_code == 1
    assert "row 2 is not the one that was witnessed" in result.output


@pytest.mark.parametrize("head", ["", "2", "x:y", "2:"])
def test_a_head_that_is_none_is_refused(head: str) -> None:
    result = tradebot("audit", "verify", "--head", head)
    assert result.exit_code == 2
    assert "is not ID:HASH" in result.output


@pytest.mark.parametrize("command", [("verify",), ("export", "--format", "csv")])
def test_a_log_that_cannot_be_read_is_told(database: Database, command: tuple[str, ...]) -> None:
    result = tradebot("audit", *command)
    assert result.exit_code == 2
    none = "there is none: no engine has run" if database.is_file else "it has no tables"
    assert f"cannot read the database {database.place.name} ({none}" in result.stderr
    assert not Path("var").exists()


# --- export --------------------------------------------------------------------------------------


async def test_the_log_as_csv_is_no_spreadsheet_with_formulas(
    store: Repository, database: Database
) -> None:
    await store.record(FACTS)
    database.edit("UPDATE audit_log SET kind = '=HYPERLINK()', payload = '=1' WHERE id = 3")
    result = tradebot("audit", "export", "--format", "csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader(result.output.splitlines()))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["time"] == "1970-01-01T00:00:00+00:00"
    assert json.loads(rows[1]["payload"])["reason"] == "\x1b[31m\u202e"
    assert rows[2]["kind"] == "'=HYPERLINK()"
    assert result.output.replace("\n", "").isprintable()


async def test_the_log_as_json_lines_has_each_fact(store: Repository, database: Database) -> None:
    await store.record(FACTS)
    result = tradebot("audit", "export", "--format", "jsonl")
    records = [json.loads(line) for line in result.output.splitlines()]
    assert [record["payload"]["reason"] for record in records] == [f.reason for f in FACTS]
    assert records[1]["previous"] == records[0]["hash"]
    assert result.output.isascii()


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--start", "1970-01-02"), [2, 3, 4]),
        (("--end", "1970-01-02"), [1, 2]),
        (("--start", "1970-01-02", "--end", "1970-01-03T00:00"), [2]),
        (("--start", "1980-01-01"), []),
    ],
)
async def test_a_span_of_market_time_is_chosen(
    store: Repository, database: Database, options: tuple[str, ...], ids: list[int]
) -> None:
    await store.record(FACTS)
    result = tradebot("audit", "export", "--format", "jsonl", *options)
    assert [json.loads(line)["id"] for line in result.output.splitlines()] == ids


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_file_is_made_anew_and_private(store: Repository, database: Database) -> None:
    await store.record(FACTS)
    command = ("audit", "export", "--format", "jsonl", "-o", "log.jsonl")
    assert (tradebot(*command).exit_code, tradebot(*command).exit_code) == (0, 2)
    assert len(Path("log.jsonl").read_text().splitlines()) == 4
    assert Path("log.jsonl").stat().st_mode & 0o777 == 0o600
    assert "cannot make log.jsonl (File exists)" in tradebot(*command).stderr


# --- upgrade -------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_older_database_is_upgraded_unless_an_engine_holds_it(database: Database) -> None:
    file = database.place.file
    file.parent.mkdir()
    shutil.copy(OLD, file)
    with EngineLock(load_settings().lock_path):
        held = tradebot("upgrade")
    assert held.exit_code == 2
    assert "another engine" in held.stderr
    assert tradebot("audit", "verify").exit_code == 2
    done = tradebot("upgrade")
    assert (done.exit_code, done.stdout) == (0, f"the database {file} is up to date\n")
    assert tradebot("audit", "verify").output.startswith("the audit log is whole: 10 rows")
    assert len(list(database.place.backups.iterdir())) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_database_is_made_where_there_is_none_to_upgrade(database: Database) -> None:
    refused = tradebot("upgrade")
    assert refused.exit_code == 2
    assert f"there is no database {database.place.file}" in refused.stderr
    assert not database.place.file.parent.exists()
