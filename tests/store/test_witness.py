"""A database that is not the one that was used last is known by what was kept outside (F72, F109).

On the file that is real: its log is deleted, an older copy takes its place, its chain is rewritten.
"""

import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.events import CommandRefused
from engine.core.model import Mode
from engine.host.restoring import check_witness
from engine.ops.errors import UserError
from engine.ops.settings import load_settings
from engine.store.audit import AuditHead, AuditRow
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.witness import Witness, Witnessed

from .conftest import Database, MakeOrder, Stamp
from .test_audit import resealed, stored
from .test_command import database as database  # the settings name it
from .test_command import tradebot


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database) -> Witness:
    if not database.is_file:
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "state"))
    return Witness(load_settings().head_path)


async def work(store: Repository, stamp: Stamp, make_order: MakeOrder, rows: int = 3) -> None:
    for _ in range(rows):
        fact = stamp(CommandRefused("x", "y"))
        await store.commit_intent(make_order(f"tb-{fact.seq}"))
        await store.record([fact])


async def doubted(place: Place, witness: Witness, mode: Mode = Mode.PAPER) -> str:
    store = await Repository.open(place)
    try:
        return await check_witness(store, witness, mode)
    finally:
        await store.close()


async def test_a_database_that_went_on_is_not_doubted(
    store: Repository, stamp: Stamp, make_order: MakeOrder, place: Place, witness: Witness
) -> None:
    assert await check_witness(store, witness, Mode.LIVE) == ""
    await work(store, stamp, make_order)
    witness.write(await store.witnessed())
    assert witness.read() == Witnessed(await store.audit_head(), 3)
    assert witness.path.stat().st_mode & 0o777 == 0o600
    await work(store, stamp, make_order)
    await store.close()
    assert await doubted(place, witness, Mode.LIVE) == ""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_an_older_copy_in_its_place_is_found(
    store: Repository, stamp: Stamp, make_order: MakeOrder, place: Place, witness: Witness
) -> None:
    await work(store, stamp, make_order)
    await store.close()
    copy = place.file.with_name("copy.db")
    shutil.copy(place.file, copy)
    again = await Repository.open(place)
    await work(again, stamp, make_order)
    witness.write(await again.witnessed())
    await again.close()
    shutil.copy(copy, place.file)
    said = "the database is not the one that was used last: its audit log ends at row 3, and had"
    assert (await doubted(place, witness)).startswith(said)
    with pytest.raises(UserError, match=said) as refused:
        await doubted(place, witness, Mode.LIVE)
    assert "tradebot audit accept" in refused.value.remedy


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_log_that_was_deleted_is_found(
    store: Repository, stamp: Stamp, make_order: MakeOrder, place: Place, witness: Witness
) -> None:
    """As after a power cut on a disk that lies: what was in the log alone is gone."""
    await work(store, stamp, make_order)
    files = {end: Path(f"{place.file}{end}") for end in ("", "-wal")}
    assert files["-wal"].stat().st_size
    kept = files[""].read_bytes()
    witness.write(await store.witnessed())
    await store.close()
    files[""].write_bytes(kept)
    assert "ends at row 0, and had reached row 3" in await doubted(place, witness)


async def test_intents_that_are_gone_are_found(
    store: Repository, stamp: Stamp, make_order: MakeOrder, database: Database, witness: Witness
) -> None:
    await work(store, stamp, make_order)
    witness.write(await store.witnessed())
    database.edit("DELETE FROM orders WHERE client_order_id = 'tb-2'")
    doubt = await check_witness(store, witness, Mode.PAPER)
    assert doubt.endswith("it has 2 orders, and had 3")


async def rewrite(store: Repository, database: Database) -> list[AuditRow]:
    """Every hash of the chain anew, as someone with the database in hand would."""
    forged = resealed([replace(row, payload="{}") for row in stored(database)])
    for row in forged:
        values = f"payload = '{{}}', previous = '{row.previous}', hash = '{row.hash}'"
        database.edit(f"UPDATE audit_log SET {values} WHERE id = {row.id}")
    head = json.dumps({"id": forged[-1].id, "hash": forged[-1].hash})
    database.edit(f"UPDATE bot_state SET value = '{head}' WHERE key = 'audit_head'")
    return forged


async def test_a_chain_that_was_rewritten_is_found_by_the_head_outside(
    store: Repository, stamp: Stamp, make_order: MakeOrder, database: Database, witness: Witness
) -> None:
    await work(store, stamp, make_order)
    witness.write(await store.witnessed())
    assert tradebot("audit", "verify").exit_code == 0
    await rewrite(store, database)
    result = tradebot("audit", "verify")
    assert result.exit_code == 1
    assert "row 3 is not the one that was witnessed" in result.output
    assert (await check_witness(store, witness, Mode.PAPER)).endswith(
        "row 3 of its audit log is not the one that was recorded"
    )
    witness.path.unlink()
    assert tradebot("audit", "verify").exit_code == 0  # nothing else gives it away


@pytest.mark.parametrize("text", ["", "{", '{"head":1}'])
async def test_a_damaged_head_is_a_doubt(store: Repository, witness: Witness, text: str) -> None:
    witness.write(Witnessed())
    witness.path.write_text(text)
    assert "cannot be read" in await check_witness(store, witness, Mode.PAPER)
    with pytest.raises(UserError, match="cannot be read"):
        await check_witness(store, witness, Mode.LIVE)
    assert tradebot("audit", "verify").exit_code == 2


async def test_a_missing_head_is_a_doubt_for_live_alone(
    store: Repository, stamp: Stamp, make_order: MakeOrder, witness: Witness
) -> None:
    await work(store, stamp, make_order)
    assert await check_witness(store, witness, Mode.PAPER) == ""
    with pytest.raises(UserError, match=r"paper\.head is missing"):
        await check_witness(store, witness, Mode.LIVE)


async def test_a_person_accepts_by_a_word(
    store: Repository, stamp: Stamp, make_order: MakeOrder, witness: Witness
) -> None:
    await work(store, stamp, make_order)
    witness.write(Witnessed(AuditHead(9, "f" * 64), 9))
    refused = tradebot("audit", "accept", "--word", "accept")
    assert refused.exit_code == 2
    assert await check_witness(store, witness, Mode.PAPER)
    accepted = tradebot("audit", "accept", "--word", "ACCEPT")
    assert accepted.exit_code == 0
    assert "audit log up to row 3, 3 orders" in accepted.output
    assert await check_witness(store, witness, Mode.LIVE) == ""


def test_the_head_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(tmp_path / "paper.head")
    witness.write(Witnessed(AuditHead(1, "a"), 1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        witness.write(Witnessed(AuditHead(2, "b"), 2))
    assert witness.read() == Witnessed(AuditHead(1, "a"), 1)
    monkeypatch.undo()
    witness.write(Witnessed(AuditHead(2, "b"), 2))
    assert witness.read() == Witnessed(AuditHead(2, "b"), 2)
