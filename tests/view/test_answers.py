"""Questions to a real engine: what is in memory, what is in the database, and what there is not."""

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.model import NANOS, Side
from engine.host.thread import EngineHost
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.view.questions import (
    MOST_WAITING,
    A,
    AnyAnswer,
    AnyQuestion,
    Bars,
    Chart,
    Equity,
    FillPage,
    Fills,
    Orders,
    Question,
)
from engine.view.snapshot import Snapshot
from tests.session import Session, running, zigzag


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path)


def has_traded(snapshot: Snapshot) -> bool:
    return sum(order.filled > 0 for order in snapshot.orders) >= 4


def asked(session: Session, question: Question[A]) -> "asyncio.Future[A]":
    answer: Future[A] = Future()
    session.runtime.ask(question, answer)
    return asyncio.wrap_future(answer)


async def test_a_chart_has_the_bars_and_what_was_done_in_them(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        chart = await asked(session, Bars("ACME", 500))
        market = session.runtime.machine.market.symbols["ACME"]
        assert chart.symbol == "ACME"
        assert chart.bars == tuple(market.bars)[: len(chart.bars)]
        assert [fill.side for fill in chart.fills[:2]] == [Side.BUY, Side.SELL]
        assert {row.signal.side for row in chart.signals} == {Side.BUY, Side.SELL}


async def test_a_chart_is_no_longer_than_was_asked_for(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        chart = await asked(session, Bars("ACME", 2))
        assert len(chart.bars) == 2
        assert all(fill.ts >= chart.bars[0].start for fill in chart.fills)
        assert len(chart.fills) < 4
        assert (await asked(session, Bars("ACME", -1))).bars == ()


async def test_a_chart_has_the_fills_of_before_a_restart(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
    before = [row[0] for row in session.rows("select execution_id from trades order by ts")]
    async with running(settings) as again:
        await again.until(lambda snapshot: snapshot.feed.status == "connected")
        chart = await asked(again, Bars("ACME", 500))
        assert [fill.execution_id for fill in chart.fills[: len(before)]] == before


async def test_a_symbol_that_is_not_there_is_named(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        with pytest.raises(UserError, match="no symbol NOPE"):
            await asked(session, Bars("NOPE\x1b", 5))


async def test_the_history_is_the_databases(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        page = await asked(session, Orders(count=3))
        assert len(page.orders) == 3
        assert page.before is not None
        await session.until(lambda _: session.rows("select ts from trades"))
        told = await asked(session, Fills())
        assert told.fills
        await session.until(lambda s: set(told.fills) <= set(s.fills))
        await session.until(lambda _: session.rows("select ts from equity_curve"))
        curve = await asked(session, Equity(points=100))
        assert curve.points
        assert curve.currency == "USD"


async def test_a_database_that_cannot_be_read_is_said_and_nothing_else_suffers(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        hidden = settings.database_path.rename(settings.database_path.with_name("away.db"))
        with pytest.raises(UserError, match="cannot read the database"):
            await asked(session, Orders())
        hidden.rename(settings.database_path)
        assert (await asked(session, Orders())).orders
        assert (await asked(session, Bars("ACME", 1))).bars


async def test_more_questions_than_can_wait_are_refused_at_once(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        answers = [asked(session, Orders()) for _ in range(MOST_WAITING + 1)]
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert [isinstance(answer, UserError) for answer in found] == [
            *[False] * MOST_WAITING,
            True,
        ]


async def test_an_answer_that_nobody_wants_any_more_is_not_looked_for(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
        answer: Future[Chart] = Future()
        answer.cancel()
        session.runtime.ask(Bars("ACME", 1), answer)
        assert answer.cancelled()


def test_nobody_waits_for_an_engine_that_is_not_there(settings: Settings) -> None:
    host = EngineHost(settings)
    with pytest.raises(UserError, match="is starting"):
        host.ask(Bars("ACME", 1)).result(1)
    host.start()
    waiting: list[Future[Any]] = [host.ask(Orders()) for _ in range(4)]
    assert host.stop(20)
    for answer in waiting:
        assert isinstance(answer.exception(1), UserError)
    with pytest.raises(UserError, match="has ended"):
        host.ask(Bars("ACME", 1)).result(1)


def test_questions_and_answers_travel_as_they_are() -> None:
    questions: list[AnyQuestion] = [Bars("A", 3), Equity(7, 5 * NANOS), Orders(before=(1, "a"))]
    questions.append(Fills("x", (1, "a", "A")))
    for question in questions:
        sent = msgspec.msgpack.encode(question)
        assert msgspec.msgpack.decode(sent, type=AnyQuestion) == question
    page = FillPage((), (1, "x", "A"))
    assert msgspec.json.decode(msgspec.json.encode(page), type=AnyAnswer) == page
    answer = Chart("A", (), (), ())
    assert msgspec.json.decode(msgspec.json.encode(answer), type=AnyAnswer) == answer
