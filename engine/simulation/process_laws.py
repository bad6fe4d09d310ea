"""What an engine that was killed must leave behind, read from its database and its journals.

Raises Violation, with the law's name, where something was lost or done twice.
"""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from engine.build import plugins
from engine.core.events import (
    Effect,
    Event,
    KillSwitchTriggered,
    LawBroken,
    Record,
    Restored,
    SubmitOrder,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.model import FINAL_STATES, Fill, Order, OrderPurpose, OrderState, Position
from engine.ops.settings import Settings
from engine.simulation.laws import Laws, law
from engine.store import models
from engine.store.audit import RECORDED_HEAD, AuditHead, AuditRow, head_of, verify
from engine.store.database import read_database
from engine.store.journal import JournalReader
from engine.store.place import Place
from engine.store.repository import Repository

UNSETTLED = {OrderState.INTENDED, OrderState.SUBMITTED, OrderState.IN_DOUBT}


class Kept(Struct, frozen=True):
    """What a database holds."""

    orders: dict[str, Order]
    trades: dict[tuple[str, str], Fill]
    positions: dict[tuple[str, str], Position]
    audit: list[AuditRow]
    head: AuditHead

    @property
    def open(self) -> dict[str, Order]:
        return {key: order for key, order in self.orders.items() if order.is_open}

    def count(self, *kinds: type[Event]) -> int:
        names = {kind.__name__ for kind in kinds}
        return sum(row.kind in names for row in self.audit)


class Session(Struct, frozen=True):
    """What one engine's journal tells: what it was given back, and what it put on the wire."""

    restored: Restored | None
    sent: list[str]
    state_hash: str


def head_now(settings: Settings) -> AuditHead:
    """The newest audit row that is durable at this moment, as another program sees it."""
    return read_database(Place.of(settings), lambda c: head_of(c.scalar(RECORDED_HEAD)))


def kept(settings: Settings) -> Kept:
    return read_database(Place.of(settings), _kept)


def _kept(connection: Connection) -> Kept:
    def rows(table: type[models.Base]) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(select(table.__table__)).mappings()]

    orders = [Order(**row) for row in rows(models.Order)]
    trades = [Fill(**row) for row in rows(models.Trade)]
    positions = [Position(**row) for row in rows(models.Position)]
    return Kept(
        {order.client_order_id: order for order in orders},
        {(fill.execution_id, fill.symbol): fill for fill in trades},
        {(position.strategy, position.symbol): position for position in positions},
        sorted((AuditRow(**row) for row in rows(models.AuditLog)), key=lambda row: row.id),
        head_of(connection.scalar(RECORDED_HEAD)),
    )


def judge(settings: Settings, before: Kept, witness: AuditHead) -> Kept:
    """What the database holds now.

    `before` is what it held when the engine was started, `witness` the newest audit row that was
    seen from outside while it ran.
    """
    now = kept(settings)
    findings = [finding.message for finding in verify(now.audit, now.head, witness)]
    law(not findings, "I12", findings)
    differences = asyncio.run(_ledger_check(settings))
    law(not differences, "I3 or I4", differences)
    law(before.trades.items() <= now.trades.items(), "I3: executions are gone", settings.data_dir)
    for key, order in before.orders.items():
        law(key in now.orders, "I15: an order is gone", order)
        if order.state in FINAL_STATES - {OrderState.ABANDONED}:
            law(now.orders[key].filled >= order.filled, "I7", now.orders[key])
            may_be_for_more = order.purpose is OrderPurpose.EXTERNAL
            law(now.orders[key].is_final or may_be_for_more, "I7", now.orders[key])
    judge_kill(now)
    return now


async def _ledger_check(settings: Settings) -> list[str]:
    repository = await Repository.open(Place.of(settings))
    try:
        return await repository.ledger_check()
    finally:
        await repository.close()


def judge_kill(now: Kept) -> None:
    """I5: what was sent after the kill switch tripped, in this engine or a later one."""
    tripped = False
    for row in now.audit:
        if row.kind == "KillSwitchTriggered":
            tripped = True
        elif row.kind == "KillSwitchRearmed":
            tripped = False
        elif row.kind == "OrderSubmitted":
            law(not tripped, "I5", row.payload)


def replay(settings: Settings, journal: Path) -> Session:
    """Take the journal in again, under all laws."""
    reader = JournalReader(journal)
    config = msgspec.msgpack.decode(reader.header.config, type=MachineConfig)
    machine, laws = Machine(config, plugins(settings).kinds), Laws(config)
    restored: Restored | None = None
    sent: list[str] = []
    for event in reader:
        effects = machine.process(event)
        laws.follow(event, effects, machine.state())
        sent += [
            effect.order.client_order_id for effect in effects if isinstance(effect, SubmitOrder)
        ]
        for fact in _facts(effects):
            law(not isinstance(fact, LawBroken), "a law of the engine's own", fact)
        if isinstance(event, Restored):
            restored = event
    return Session(restored, sent, machine.state_hash())


def _facts(effects: Iterable[Effect]) -> list[Event]:
    return [effect.fact for effect in effects if isinstance(effect, Record)]


def judge_restart(session: Session, before: Kept, cash: Decimal) -> None:
    """I8: an engine that starts is given just what the one before it left."""
    restored = session.restored
    if restored is None:  # it was killed before its journal was flushed
        return
    given = {order.client_order_id: order for order in restored.orders}
    law(given.keys() >= before.open.keys(), "I15: an open order is forgotten", before.open.keys())
    for key, order in given.items():
        law(order == before.orders[key], "I8", (order, before.orders[key]))
    held = {(p.strategy, p.symbol): p for p in restored.positions}
    law(held == before.positions, "I8", (held, before.positions))
    spent = sum((fill.cash_change for fill in before.trades.values()), cash)
    law(list(restored.cash.values()) == [spent], "I4", (restored.cash, spent))
    tripped = before.count(KillSwitchTriggered) > 0
    law(restored.kill.tripped == tripped, "I5: the kill switch is forgotten", restored.kill)


def judge_intents(session: Session, now: Kept, sent_before: set[str]) -> None:
    """I1 and I2: what was on the wire has its intent on the disk, and was there once."""
    for key in session.sent:
        law(key in now.orders, "I1", key)
        law(key not in sent_before, "I2", key)
    law(len(session.sent) == len(set(session.sent)), "I2", session.sent)


class Succession:
    """The engines that trade one account, one after the other, judged after the end of each.

    `now` is what the last one left, `sent` every order that one put on the wire. The database is
    there before the first.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._journals: set[Path] = set()
        self.sent: set[str] = set()
        self.now = kept(settings)

    def judge(self) -> None:
        before, self.now = self.now, judge(self._settings, self.now, AuditHead())
        journals = set(self._settings.journal_dir.glob("*.journal")) - self._journals
        self._journals |= journals
        for journal in journals:
            if not journal.stat().st_size:
                continue  # it ended before the header was written
            session = replay(self._settings, journal)
            judge_restart(session, before, self._settings.starting_cash)
            judge_intents(session, self.now, self.sent)
            self.sent.update(session.sent)


def judge_rest(now: Kept) -> None:
    """I16: nothing is left unsettled once the engine was let alone."""
    unsettled = [order for order in now.orders.values() if order.state in UNSETTLED]
    law(not unsettled, "I16", unsettled)
