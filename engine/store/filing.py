"""The FINTRAC reports that compliance has to remember."""

from collections.abc import Sequence

from msgspec.structs import asdict
from sqlalchemy import Connection, or_, select

from engine.core.compliance import YEAR
from engine.core.events import Event, FintracUpdated
from engine.core.model import FintracReport, FintracStatus
from engine.store import models
from engine.store.durable import reports_after
from engine.store.statements import upsert, values_of


def record_reports(connection: Connection, facts: Sequence[Event]) -> None:
    """Each report as its last fact leaves it."""
    updated = [f.report.report_id for f in facts if isinstance(f, FintracUpdated)]
    known = select(models.FintracReport).where(models.FintracReport.report_id.in_(updated))
    before = values_of(connection, known, FintracReport) if updated else ()
    after = reports_after({report.report_id: report for report in before}, facts)
    if after:
        statement = upsert(connection.dialect.name, models.FintracReport)
        connection.execute(statement, [asdict(report) for report in after.values()])


def reports_since(connection: Connection, ts: int) -> tuple[FintracReport, ...]:
    """What may still change: reports that end at `ts` or later, and what waits for a rate since a
    year before; oldest first."""
    table = models.FintracReport
    waits = (table.status == FintracStatus.INCOMPLETE) & (table.end_ts >= ts - YEAR)
    query = select(table).where(or_(table.end_ts >= ts, waits))
    ordered = query.order_by(table.flagged_ts, table.report_id)
    return tuple(values_of(connection, ordered, FintracReport))
