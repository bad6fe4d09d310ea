"""The FINTRAC reports that compliance has to remember."""

from collections.abc import Sequence

from msgspec.structs import asdict
from sqlalchemy import Connection, or_, select

from engine.core.compliance import YEAR
from engine.core.events import Event, FintracFlagged, FintracUpdated
from engine.core.model import FintracReport, FintracStatus
from engine.store import models
from engine.store.statements import upsert


def record_reports(connection: Connection, facts: Sequence[Event]) -> None:
    """Each report as its last fact has it."""
    flags = [f.report for f in facts if isinstance(f, FintracFlagged | FintracUpdated)]
    if flags:
        rows = [asdict(report) for report in {flag.report_id: flag for flag in flags}.values()]
        statement = upsert(connection.dialect.name, models.FintracReport)
        connection.execute(statement, rows)


def reports_since(connection: Connection, ts: int) -> tuple[FintracReport, ...]:
    """What may still change: reports that end at `ts` or later, and what waits for a rate since a
    year before; oldest first."""
    table = models.FintracReport
    waits = (table.status == FintracStatus.INCOMPLETE) & (table.end_ts >= ts - YEAR)
    query = select(table).where(or_(table.end_ts >= ts, waits))
    rows = connection.execute(query.order_by(table.flagged_ts, table.report_id))
    return tuple(FintracReport(**row) for row in rows.mappings())
