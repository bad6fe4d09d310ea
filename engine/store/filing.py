"""The FINTRAC reports that compliance has to remember."""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import asdict
from sqlalchemy import Connection, or_, select

from engine.core.compliance import YEAR
from engine.core.events import Event, FintracFlagged, FintracUpdated
from engine.core.model import FintracReport, FintracStatus
from engine.store import models
from engine.store.durable import reports_after
from engine.store.statements import upsert, values_of

Reports = Mapping[str, FintracReport]


def record_reports(connection: Connection, known: Reports, facts: Sequence[Event]) -> Reports:
    """Each report as its last fact leaves it. Those that are `known` are not read again: one of a
    busy day is long. Returns what is known then of those that may still change."""
    told = [f.report for f in facts if isinstance(f, FintracFlagged | FintracUpdated)]
    if not told:
        return known
    changed = {f.report.report_id for f in facts if isinstance(f, FintracUpdated)}
    before = {**known, **_read(connection, changed - known.keys())}
    after = reports_after(before, facts)
    statement = upsert(connection.dialect.name, models.FintracReport)
    connection.execute(statement, [asdict(report) for report in after.values()])
    newest = max(report.start_ts for report in told)
    return {name: one for name, one in {**before, **after}.items() if one.end_ts >= newest}


def _read(connection: Connection, ids: Collection[str]) -> Reports:
    if not ids:
        return {}
    query = select(models.FintracReport).where(models.FintracReport.report_id.in_(ids))
    return {report.report_id: report for report in values_of(connection, query, FintracReport)}


def reports_since(connection: Connection, ts: int) -> tuple[FintracReport, ...]:
    """What may still change: reports that end at `ts` or later, and what waits for a rate since a
    year before; oldest first."""
    table = models.FintracReport
    waits = (table.status == FintracStatus.INCOMPLETE) & (table.end_ts >= ts - YEAR)
    query = select(table).where(or_(table.end_ts >= ts, waits))
    ordered = query.order_by(table.flagged_ts, table.report_id)
    return tuple(values_of(connection, ordered, FintracReport))
