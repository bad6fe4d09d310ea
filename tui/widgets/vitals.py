"""The engine panel: how well the engine, its database and this console do."""

from collections.abc import Iterator, Sequence

from engine.view.snapshot import Health, Snapshot
from tui import format
from tui.frame import Frame
from tui.widgets.connections import FAR_MS, offset_text
from tui.widgets.facts import Fact, Facts

LATE_MS = 50.0
LONG_QUEUE = 1_000
NOT_KNOWN = Fact("engine", format.DASH, "what was measured of it then is in no journal", "dim")


class Vitals(Facts):
    """Lateness, load and queue of the engine; database and journal; data; and this console. Of the
    past only what a journal tells is known."""

    def facts(self, frame: Frame) -> Sequence[Fact]:
        snapshot = frame.snapshot
        if snapshot is None:
            return ()
        health = snapshot.health
        return [
            *(_engine(snapshot, health) if health else (NOT_KNOWN,)),
            _database(snapshot),
            *(_disk(health) if health else ()),
            _data(snapshot),
            *((_console(frame),) if health else ()),
        ]

    def note(self, frame: Frame) -> str:
        health = frame.snapshot.health if frame.snapshot else None
        return f"pid {health.pid} on {health.host}" if health else ""


def _engine(snapshot: Snapshot, health: Health) -> Iterator[Fact]:
    up = format.age(snapshot.wall_ts - health.started_wall_ts)
    started = f"since {format.date_and_clock(health.started_wall_ts)}"
    yield Fact("engine up", up, started, "good")
    late = "warn" if health.lateness_ms >= LATE_MS else "good"
    worst = f"99 of 100 turns of its loop; the worst {format.number(health.worst_ms, 1)} ms"
    yield Fact("lateness", f"{format.number(health.lateness_ms, 1)} ms", worst, late)
    rate = format.DASH if health.events_per_s is None else f"{health.events_per_s:,.0f}/s"
    yield Fact("events", rate, f"{health.events:,} in all")
    queue = "warn" if health.queue >= LONG_QUEUE else "text"
    under_way = f"{health.queue - health.unwritten:,} intents and requests under way"
    yield Fact("queue", f"{health.queue:,}", under_way, queue)
    conflated = "warn" if health.conflated else "dim"
    yield Fact("conflated", f"{health.conflated:,}", "quotes left out for newer ones", conflated)
    offset = health.clock_offset_ms
    far = offset is not None and abs(offset) >= FAR_MS
    told = "a replay's time is not now" if offset is None else "ahead of market time"
    yield Fact("clock", offset_text(offset), told, "warn" if far else "text")


def _database(snapshot: Snapshot) -> Fact:
    if snapshot.store.available:
        return Fact("database", "● in reach", style="good")
    return Fact("database", "✗ OUT OF REACH", snapshot.store.note, "alarm")


def _disk(health: Health) -> Iterator[Fact]:
    waiting = "warn" if health.unwritten >= LONG_QUEUE else "text"
    yield Fact("writer", f"{health.unwritten:,}", "facts that are not on disk yet", waiting)
    journal = health.journal
    if journal is None:
        return
    size = f"{journal.mb:,.1f}/{journal.most_mb:,} MB"
    style = "warn" if journal.problem else "text"
    yield Fact("journal", size, journal.problem or journal.name, style)


def _data(snapshot: Snapshot) -> Fact:
    newest = max((row.ts for row in snapshot.quotes), default=0)
    stale, count = sum(row.stale for row in snapshot.quotes), len(snapshot.quotes)
    age = format.since(newest, snapshot.ts)
    style = "warn" if stale else "text"
    return Fact("newest data", f"{age} ago" if newest else age, f"{stale} of {count} STALE", style)


def _console(frame: Frame) -> Fact:
    silence = f"last heard of the engine {format.seconds(frame.silence)} ago"
    style = "warn" if frame.dropped else "text"
    return Fact("console", f"{frame.dropped} dropped", f"frames; {silence}", style)
