"""Questions to the past: it answers what the engine answered then."""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import URL

from engine.core.events import ControlFeed
from engine.core.model import MINUTE, OrderState
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.travel.client import TimeTravel
from engine.travel.messages import END
from engine.travel.past import Past
from engine.view.questions import (
    MOST_WAITING,
    Bars,
    Equity,
    Fills,
    Orders,
    Question,
    WhyFill,
    WhyOrder,
    WhyPosition,
    WhySignal,
)
from engine.view.snapshot import Snapshot
from tests.postgresql import done, run_on
from tests.session import CLOSES, Session, health_of, journals, running, zigzag
from tests.travel.test_travel import PATIENCE_S, arrived, as_recorded, at, travel

FILLED = (OrderState.FILLED,)


class Asked(NamedTuple):
    """A moment of a session that ran: what was shown, and what was answered to all questions."""

    snapshot: Snapshot
    answers: dict[Question[Any], Any]


async def recorded(settings: Settings, moments: int) -> list[Asked]:
    """A session that is asked at random moments, and ends with its recording."""
    chance = random.Random(7)
    found: list[Asked] = []
    async with running(settings) as session:
        await session.until(lambda s: s.orders and s.feed.status == "connected")
        for _ in range(moments):
            found.append(await at_rest(session))
            then = found[-1].snapshot.ts + chance.randrange(1, 8) * MINUTE
            await session.until(lambda s, then=then: s.ts >= then)
    return found


async def at_rest(session: Session) -> Asked:
    """All answers while nothing happens: the recording is stopped, and all is on disk."""
    session.command(ControlFeed(action="pause", speed=1200.0, author="me"))
    await session.until(lambda s: s.feed.status == "paused" and not health_of(s).queue)
    while not (curve := await answer(session, Equity(4))).points or (
        session.snapshots[-1].ts - curve.points[-1].ts >= MINUTE
    ):
        await session.until(lambda s, last=session.snapshots[-1]: s is not last)
    snapshot = session.snapshots[-1]
    asked = await questions(snapshot, session)
    answers = {question: await answer(session, question) for question in asked}
    assert session.runtime.machine.bus.now == snapshot.ts
    session.command(ControlFeed(action="resume", speed=1200.0, author="me"))
    return Asked(snapshot, answers)


async def questions(snapshot: Snapshot, session: Session) -> list[Question[Any]]:
    """All that a console can ask then, of what is there and of what was in former sessions."""
    every = (await answer(session, Orders(count=500))).orders
    orders = (*every[-3:], *every[len(every) // 2 :][:3], *snapshot.orders[-3:])
    fills = (await answer(session, Bars("ACME", 500))).fills
    return [
        *(Bars("ACME", 500), Bars("ACME", 7), Equity(1_000), Equity(5)),
        *(Orders(), Orders(count=2), Orders(text="ZIGzag", states=FILLED), Orders(symbol="X")),
        *(Fills(), Fills(text="ACme", count=500)),
        *(WhySignal(row.seq) for row in snapshot.signals[-5:]),
        *map(WhyOrder, sorted({order.client_order_id for order in orders})),
        *(WhyPosition(r.position.strategy, r.position.symbol) for r in snapshot.positions),
        *(WhyFill(fill.execution_id, fill.symbol) for fill in fills[-3:]),
    ]


async def answer(session: Session, question: Question[Any]) -> Any:
    future: Future[Any] = Future()
    session.runtime.ask(question, future)
    return await asyncio.wrap_future(future)


def told(there: TimeTravel, question: Question[Any]) -> Any:
    """On a busy machine the database may need another try."""
    answer = there.ask(question)
    slow = "took longer than" in str(answer.exception(PATIENCE_S))
    return (there.ask(question) if slow else answer).result(PATIENCE_S)


def check(settings: Settings, journal: Path, moments: list[Asked]) -> None:
    """Whatever the database has by now: it went on since."""
    numbers = places(settings, journal)
    with travel(settings, journal) as there:
        arrived(there)
        lines = {line.text for line in at(there, END).snapshot.log}
        for then in random.Random(3).sample(moments, len(moments)):
            snapshot = at(there, numbers[then.snapshot.seq]).snapshot
            assert as_recorded(snapshot, lines) == as_recorded(then.snapshot, lines)
            for question, said in then.answers.items():
                assert told(there, question) == said, question


def places(settings: Settings, journal: Path) -> dict[int, int]:
    """After how many inputs of the journal the newest fact had which number."""
    past = Past(journal, settings, lambda _: None)
    found: dict[int, int] = {}
    for _ in past.times:
        past.take_in()
        found[past.machine.bus.seq] = past.number
    return found


async def check_two_sessions(settings: Settings, moments: int) -> None:
    first = await recorded(settings, moments)
    second = await recorded(settings, moments)
    curves = {len(said.answers[Equity(1_000)].points) for said in (*first, *second)}
    assert len(curves) > 2
    for journal, asked in zip(journals(settings), (first, second), strict=True):
        await asyncio.to_thread(check, settings, journal, asked)


async def test_every_answer_is_what_it_was_then(tmp_path: Path) -> None:
    await check_two_sessions(zigzag(tmp_path), moments=4)


@pytest.fixture
def on_server(tmp_path: Path, postgresql: URL) -> Iterator[Settings]:
    address = postgresql.render_as_string(hide_password=False)
    yield zigzag(tmp_path, database_url=address)
    drop = "DROP SCHEMA IF EXISTS paper CASCADE"
    done(run_on(postgresql, "SET client_min_messages TO error", drop))


async def test_so_it_is_where_the_database_is_on_a_server(on_server: Settings) -> None:
    await check_two_sessions(on_server, moments=2)


async def test_what_was_not_there_yet_is_not_known(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, CLOSES[:40])
    (then,) = await recorded(settings, moments=1)
    (journal,) = journals(settings)
    numbers = places(settings, journal)
    with travel(settings) as there:
        arrived(there)
        known = {order.client_order_id for order in then.snapshot.orders}
        later = [o for o in at(there, END).snapshot.orders if o.client_order_id not in known]
        assert later
        at(there, numbers[then.snapshot.seq])
        for order in later:
            with pytest.raises(UserError, match="no order"):
                told(there, WhyOrder(order.client_order_id))
        with pytest.raises(UserError, match="nothing is known of signal"):
            told(there, WhySignal(2**40))
        shown = told(there, Orders(count=500)).orders
        assert {order.client_order_id for order in shown} == known


async def test_questions_are_answered_on_the_way(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, CLOSES[:40])
    await recorded(settings, moments=1)
    with travel(settings) as there:
        end = arrived(there).place.total
        for number in (2, end, end // 2, 3):
            there.go_to(number)
            chart = there.ask(Bars("ACME", 500))
            there.go_to(end - number)
            later = there.ask(Bars("ACME", 500))
            assert chart.result(PATIENCE_S).symbol == later.result(PATIENCE_S).symbol == "ACME"
            assert arrived(there).place.number == max(1, end - number)


async def test_where_there_is_no_answer_it_says_why(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, CLOSES[:40])
    await recorded(settings, moments=1)
    settings.database_path.rename(settings.database_path.with_name("away.db"))
    with travel(settings) as there:
        arrived(there)
        with pytest.raises(UserError, match="cannot read the database"):
            told(there, Equity(100))
        assert told(there, Bars("ACME", 5)).bars
        waiting = [there.ask(Bars("ACME", 500)) for _ in range(10 * MOST_WAITING)]
        refused = [answer.exception(PATIENCE_S) for answer in waiting]
        assert any("too many questions" in str(error) for error in refused)
        assert None in refused
        waiting = [there.ask(Bars("ACME", 500)) for _ in range(MOST_WAITING)]
    for answer in waiting:
        error = answer.exception(PATIENCE_S)
        assert error is None or "is not shown any more" in str(error)
    with pytest.raises(UserError, match="is not shown any more"):
        told(there, Bars("ACME", 5))
