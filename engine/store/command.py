"""`tradebot audit` and `tradebot upgrade`: the database looked at, and brought up to date."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click
from msgspec.structs import asdict
from sqlalchemy import Connection, Select, select

from engine.core.model import utc
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import open_private
from engine.ops.lock import EngineLock
from engine.ops.options import END, START
from engine.ops.settings import Settings, load_settings
from engine.store.audit import RECORDED_HEAD, AuditHead, AuditRow, Finding, head_of, verify
from engine.store.database import read_database, upgrade_database
from engine.store.export import ascii_json, write_csv, write_jsonl
from engine.store.models import AuditLog
from engine.store.place import Place
from engine.store.witness import ORDERS, Witness, Witnessed

ACCEPT_WORD = "ACCEPT"
BROKEN = 1
FINDINGS_SHOWN = 100
PAGE = 1_000


@click.group(short_help="Verify and export the audit log.")
def audit() -> None:
    """The audit log: every fact of every session, each row chained to the one before by its hash.
    An engine that is running is not disturbed."""


# --- verify --------------------------------------------------------------------------------------


def _head(_: click.Context, option: click.Parameter, text: str | None) -> AuditHead | None:
    if text is None:
        return None
    number, _colon, digest = text.partition(":")
    if not (number.isdecimal() and number.isascii() and digest):
        raise click.BadParameter(f"{clean(text)!r} is not ID:HASH, as in the log.", param=option)
    return AuditHead(int(number), digest)


@audit.command("verify", short_help="Look for edited, missing and moved rows.")
@click.option(
    "--head",
    "witness",
    callback=_head,
    metavar="ID:HASH",
    help="A head that the log (`audit head ...`) or a notice told; finds a rewritten chain.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify_log(ctx: click.Context, witness: AuditHead | None, as_json: bool) -> None:
    """Look for rows that were edited, removed, moved, or cut off at the end, and name them.

    A chain that was rewritten as a whole is found by the head that is kept in DATA_DIR, outside of
    the database, or by the one that --head gives.

    Exit status: 0 the log is whole; 1 it is not; 2 it cannot be read.
    """
    head, findings = verified(load_settings(), witness)
    if as_json:
        found = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"whole": not found, "head": str(head), "findings": found}))
    elif findings:
        click.echo("\n".join(finding.message for finding in findings))
        click.echo(f"the audit log is broken, first at row {findings[0].row}")
    else:
        click.echo(f"the audit log is whole: {head.id} rows, head {head}")
    if findings:
        ctx.exit(BROKEN)


def verified(
    settings: Settings, witness: AuditHead | None = None
) -> tuple[AuditHead, list[Finding]]:
    """The head of the audit log, and what is wrong with the chain, seen from the head that is kept
    outside, or from `witness`."""
    seen = Witness(settings.head_path).read()  # before the database: it is never ahead of it
    witness = witness or (seen.head if seen else None)
    return read_database(Place.of(settings), partial(_verified, witness=witness))


def _verified(connection: Connection, witness: AuditHead | None) -> tuple[AuditHead, list[Finding]]:
    head = head_of(connection.scalar(RECORDED_HEAD))
    findings = verify(_rows(connection, select(AuditLog)), head, witness)
    return head, list(islice(findings, FINDINGS_SHOWN))


# --- accept --------------------------------------------------------------------------------------


@audit.command("accept", short_help="Say that the database is the right one.")
@click.option("--word", help="ACCEPT, instead of being asked for it.")
def accept(word: str | None) -> None:
    """Say that this database is the right one, though it is not the one that was used last: live
    trading asks for it. Look at what is missing first, and compare it with the broker's account."""
    settings = load_settings()
    place = Place.of(settings)
    with EngineLock(settings.lock_path):
        there = read_database(place, _there)
        click.echo(f"{place.name}: audit log up to row {there.head.id}, {there.orders} orders")
        if (word or click.prompt(f"type {ACCEPT_WORD}")) != ACCEPT_WORD:
            raise UserError(f"the word is {ACCEPT_WORD}", "nothing was changed")
        Witness(settings.head_path).write(there)
    click.echo("accepted")


def _there(connection: Connection) -> Witnessed:
    head = head_of(connection.scalar(RECORDED_HEAD))
    return Witnessed(head, connection.scalar(ORDERS) or 0)


# --- export --------------------------------------------------------------------------------------


@audit.command("export", short_help="Write the audit log as CSV or JSON lines.")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), required=True)
@START
@END
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A new file. Default: standard output.",
)
def export_log(kind: str, start: int | None, end: int | None, output: Path | None) -> None:
    """Write the facts of a span of market time, oldest first."""
    query = select(AuditLog)
    if start is not None:
        query = query.where(AuditLog.ts >= start)
    if end is not None:
        query = query.where(AuditLog.ts < end)
    with opened(output) as file:
        read_database(_place(), partial(_export, query=query, kind=kind, file=file))


def _export(connection: Connection, query: Select[Any], kind: str, file: IO[str]) -> None:
    rows = _rows(connection, query)
    if kind == "csv":
        columns = ("id", "session", "seq", "time", "kind", "cause", "payload", "previous", "hash")
        write_csv(file, columns, map(_cells, rows))
    else:
        write_jsonl(file, map(_record, rows))


def _cells(row: AuditRow) -> tuple[str | int, ...]:
    time = utc(row.ts).isoformat()
    place = (row.id, row.session, row.seq, time, row.kind, row.cause)
    return (*place, ascii_json(_fact(row)), row.previous, row.hash)


def _record(row: AuditRow) -> dict[str, Any]:
    return asdict(row) | {"time": utc(row.ts).isoformat(), "payload": _fact(row)}


def _fact(row: AuditRow) -> Any:
    """The text itself where an edited row holds no JSON."""
    try:
        return json.loads(row.payload)
    except ValueError:
        return row.payload


def opened(output: Path | None) -> AbstractContextManager[IO[str]]:
    """Raises UserError where the file is there or cannot be made."""
    if output is None:
        return nullcontext(sys.stdout)
    try:
        return open(output, "x", encoding="utf-8", newline="", opener=open_private)
    except OSError as error:
        raise UserError(
            f"cannot make {clean(str(output))} ({error.strerror})", "give the path of a new file"
        ) from error


# --- upgrade -------------------------------------------------------------------------------------


@click.command(short_help="Bring the database to this version.")
def upgrade() -> None:
    """Bring the database to the schema of this version of tradebot.

    A database in a file is copied to DATA_DIR/backups before. Of one on a server make a backup
    yourself.
    """
    settings = load_settings()
    place = Place.of(settings)
    if place.is_missing:
        raise UserError(
            f"there is no database {place.name} to bring up to date",
            "check MODE and DATA_DIR; an engine makes a new database by itself",
        )
    with EngineLock(settings.lock_path):
        asyncio.run(upgrade_database(place))
    click.echo(f"the database {place.name} is up to date")


# --- reading -------------------------------------------------------------------------------------


def _place() -> Place:
    return Place.of(load_settings())


def _rows(connection: Connection, query: Select[Any]) -> Iterator[AuditRow]:
    """Page by page: the log may be larger than memory."""
    columns = AuditLog.__table__.columns
    chosen = query.with_only_columns(*columns).order_by(AuditLog.id)
    for row in connection.execute(chosen, execution_options={"yield_per": PAGE}).mappings():
        yield AuditRow(**row)
