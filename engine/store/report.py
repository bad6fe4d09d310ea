"""`tradebot report`: what compliance flagged, listed and exported."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins
from sqlalchemy import Connection, select

from engine.core.model import FintracReport, utc
from engine.core.text import clean
from engine.ops.options import END, START
from engine.ops.settings import load_settings
from engine.store import models
from engine.store.command import opened
from engine.store.database import read_database
from engine.store.export import Value, ascii_json, write_csv
from engine.store.place import Place

NOTICE = "internal flags for the account holder; no reports to FINTRAC, and no legal advice"
COLUMNS = (
    *("report_id", "rule", "status", "conductor", "start", "end", "flagged", "amount_cad"),
    *("corrects", "client_order_id", "side", "symbol", "quantity", "amount", "currency"),
    *("rate", "rate_source", "rate_published", "transaction_cad", "first_execution"),
)


@click.group(short_help="List and export what compliance flagged.")
def report() -> None:
    """What compliance flagged. An engine that is running is not disturbed."""


@report.command("fintrac", short_help="Large transactions in virtual currency.")
@START
@END
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path),
    help="Write a new CSV file: a line for each transaction of each report.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a report a line.")
def fintrac(start: int | None, end: int | None, file: Path | None, as_json: bool) -> None:
    """Transactions in virtual currency worth CA$10,000 or more, each alone or together within a
    24-hour window, by the time of the first. They are internal flags, and no legal advice."""
    place = Place.of(load_settings())
    reports = read_database(place, partial(_reports, start=start, end=end))
    if file is not None:
        with opened(file) as output:
            rows = [row for found in reports for row in _cells(found)]
            write_csv(output, COLUMNS, rows)
        click.echo(f"{len(reports)} reports written to {clean(str(file))} ({NOTICE})", err=as_json)
    if as_json:
        for found in reports:
            click.echo(ascii_json(_record(found)))
    elif file is None:
        _print(reports)


def _reports(connection: Connection, start: int | None, end: int | None) -> list[FintracReport]:
    table = models.FintracReport
    query = select(*table.__table__.columns).order_by(table.start_ts, table.report_id)
    if start is not None:
        query = query.where(table.start_ts >= start)
    if end is not None:
        query = query.where(table.start_ts < end)
    return [FintracReport(**row) for row in connection.execute(query).mappings()]


def _print(reports: Sequence[FintracReport]) -> None:
    if not reports:
        click.echo("no transaction in virtual currency was flagged")
        return
    for found in reports:
        amount = "unknown" if found.amount_cad is None else f"CA${found.amount_cad:,.2f}"
        count = len(found.transactions)
        click.echo(
            f"{utc(found.start_ts):%Y-%m-%d %H:%M} UTC  {found.rule:<8}  {found.status:<10}  "
            f"{amount:>16}  {count} transaction{'s' * (count != 1)}  {clean(found.report_id)}"
        )
    click.echo(NOTICE)


def _record(found: FintracReport) -> dict[str, Any]:
    times = {name: _time(getattr(found, f"{name}_ts")) for name in ("start", "end", "flagged")}
    return to_builtins(found) | times | {"notice": NOTICE}


def _cells(found: FintracReport) -> list[tuple[Value, ...]]:
    times = (_time(found.start_ts), _time(found.end_ts), _time(found.flagged_ts))
    head = (found.report_id, found.rule, found.status, found.conductor, *times)
    amounts = (found.amount_cad, found.corrects)
    return [
        (
            *(*head, *amounts, t.client_order_id, t.side, t.symbol),
            *(t.quantity, t.amount, t.currency, t.rate),
            *(t.rate_source, _time(t.rate_ts) if t.rate_ts else None),
            *(t.amount_cad, _time(t.first_ts)),
        )
        for t in found.transactions
    ]


def _time(ts: int) -> str:
    return utc(ts).isoformat()
