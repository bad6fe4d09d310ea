"""I22: nothing that an engine keeps grows without a bound; no session leaves anything behind."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from engine.brokers.paper import FILLS_KEPT
from engine.core.bus import TRACE_LENGTH
from engine.core.events import ExecutionReport, OrderAdopted, PositionChanged, QuoteUpdate
from engine.core.execution.protection import WITHDRAWN_KEPT
from engine.core.market import REFUSALS_KEPT
from engine.core.matching import ANSWERS_KEPT
from engine.core.model import OrderPurpose, OrderState, Quote, Side
from engine.core.orders import FINAL_ORDERS_KEPT
from engine.core.portfolio import ENTRIES_KEPT, EXECUTIONS_KEPT
from engine.core.risk.strategy import RECENT_KEPT
from engine.view.causes import FACTS_KEPT, STORIES_KEPT
from engine.view.view import FILLS_KEPT as SHOWN_FILLS
from engine.view.view import LINES_KEPT, SIGNALS_KEPT
from tests.bench.soak import open_files, unfinished_files
from tests.core.rig import Rig
from tests.session import running, zigzag
from tests.week import Week, sizes

QUOTES = 40_000
SYMBOLS = 5
POSITIONS = 2 * SYMBOLS
HISTORY = 500
A_MONTH = 1_000_000
"""Executions that a good month brings: more than that, and rule by count is due."""

OPEN = 4 * SYMBOLS
"""So many orders may be open more at one time than at another."""

BOUNDS = {
    "_answers": ANSWERS_KEPT,
    "_entries[]": ENTRIES_KEPT * POSITIONS,
    "_entries[][]": 2 * ENTRIES_KEPT * POSITIONS,
    "_executions": EXECUTIONS_KEPT,
    "_final": FINAL_ORDERS_KEPT,
    "_lines": LINES_KEPT,
    "_refusing": REFUSALS_KEPT,
    "_trace": TRACE_LENGTH,
    "_withdrawn": WITHDRAWN_KEPT,
    "bars": HISTORY * SYMBOLS,
    "broker._fills": FILLS_KEPT,
    "causes.orders": STORIES_KEPT,
    "causes.orders[].facts": STORIES_KEPT * FACTS_KEPT,
    "causes.signals": STORIES_KEPT,
    "causes.signals[].facts": STORIES_KEPT * FACTS_KEPT,
    "compliance._fills": A_MONTH,
    "fintrac._versions": A_MONTH,
    "fintrac._windows[]": A_MONTH,
    "fintrac.reports": A_MONTH,
    "fintrac.transactions": A_MONTH,
    "history": HISTORY * SYMBOLS,
    "orders": FINAL_ORDERS_KEPT + 1_000,
    "strategy.recent[]": RECENT_KEPT * POSITIONS,
    "view.executions": SHOWN_FILLS,
    "view.signals": SIGNALS_KEPT,
}
"""What may still grow after the first hour, by the end of its name, and how far."""


def test_only_what_has_a_bound_grows() -> None:
    week = Week(seed=1)
    parts = {
        "machine": week.machine,
        "view": week.view,
        "broker": week.broker,
        "causes": week.causes,
    }

    def counted() -> dict[str, int]:
        found: dict[str, int] = {}
        for name, part in parts.items():
            found |= sizes(part, name)
        return found

    week.run(QUOTES)
    before = counted()
    assert before
    week.run(2 * QUOTES)
    grown = {path: n for path, n in counted().items() if n > before.get(path, 0) + OPEN}
    assert week.sent > 100
    unbounded = [path for path in grown if not any(path.endswith(name) for name in BOUNDS)]
    assert unbounded == []
    assert any(path.endswith("_executions") for path in grown), "it does look"
    for path, size in grown.items():
        assert size <= min(bound for name, bound in BOUNDS.items() if path.endswith(name)), path


def test_names_that_nobody_knows_are_forgotten_again() -> None:
    rig = Rig(audited=False)
    for number in range(REFUSALS_KEPT + 100):
        rig.send(QuoteUpdate(Quote(f"NO{number}", rig.now, 1, 2, 1, 1)))
    kept = sizes(rig.machine.market, "market")
    assert kept["market._refusing"] == REFUSALS_KEPT
    assert rig.machine.market.refused == REFUSALS_KEPT + 100


def test_an_execution_is_known_when_its_order_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.core.order_moves.FINAL_ORDERS_KEPT", 1)
    rig = Rig("puppet")
    rig.hold_position()
    entry = rig.last(OrderPurpose.ENTRY)
    told = ExecutionReport(
        entry.client_order_id, OrderState.FILLED, fill=rig.facts(PositionChanged)[0].fill
    )
    rig.signal(Side.SELL)
    rig.quote(100)
    assert entry.client_order_id not in rig.orders
    before = rig.machine.state()["positions"]
    rig.send(told)
    assert rig.machine.state()["positions"] == before
    assert rig.facts(OrderAdopted) == []


async def test_a_session_leaves_no_task_no_thread_and_no_file(tmp_path: Path) -> None:
    settings = zigzag(tmp_path)

    async def one() -> tuple[int, int, int]:
        async with running(settings) as session:
            await session.until(lambda s: s.positions)
        gc.collect()
        return len(asyncio.all_tasks()), threading.active_count(), open_files()

    await one()  # the loop's own threads for blocking work stay
    first = await one()
    assert await one() == first
    assert unfinished_files(tmp_path) == []
