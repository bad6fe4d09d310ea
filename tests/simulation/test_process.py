"""Engines killed with -9 lose nothing, and a loss would be seen."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from msgspec.structs import replace

from engine.core.model import OrderState
from engine.ops.settings import Settings
from engine.simulation.laws import Violation
from engine.simulation.process import Report, run
from engine.simulation.process_account import Account, write_market
from engine.simulation.process_laws import (
    head_now,
    judge,
    judge_intents,
    judge_kill,
    judge_rest,
    judge_restart,
    kept,
    replay,
)
from engine.store.audit import AuditHead
from tests.postgresql import SERVER
from tests.session import journals, running

DEATHS = 10


def check(report: Report) -> None:
    assert report.broken == []
    assert report.deaths == DEATHS
    assert report.seen["executions"] > 20
    assert report.seen["killed while it started"] > 0


def test_killed_on_files_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    check(run(range(DEATHS)))
    assert capsys.readouterr().out.count("seed ") == DEATHS


@pytest.mark.usefixtures("postgresql")
def test_killed_on_a_server_nothing_is_lost() -> None:
    check(run(range(100, 100 + DEATHS), SERVER.render_as_string(hide_password=False)))


# --- a loss would be seen ------------------------------------------------------------------------


@pytest_asyncio.fixture
async def left(tmp_path: Path) -> Settings:
    """An account on which an engine has traded."""
    write_market(tmp_path / "market", Random(1))
    settings = Account(tmp_path / "var", tmp_path / "market").settings
    async with running(settings) as session:
        await session.until(lambda s: sum(order.filled > 0 for order in s.orders) > 5)
    return settings


@pytest.mark.parametrize(
    ("loss", "law"),
    [
        ("DELETE FROM trades WHERE ts = (SELECT max(ts) FROM trades)", "I3"),
        ("UPDATE bot_state SET value = '{\"paper\": \"1\"}' WHERE key = 'cash'", "I4"),
        ("UPDATE positions SET quantity = '1000000'", "I3"),
        ("DELETE FROM audit_log WHERE id = 3", "I12"),
        ("UPDATE audit_log SET payload = '{}' WHERE id = 4", "I12"),
        ("DELETE FROM orders WHERE filled = '0'", "I15"),
        ("UPDATE orders SET state = 'accepted' WHERE state = 'canceled'", "I7"),
    ],
)
def test_what_is_lost_or_changed_on_the_disk_is_seen(left: Settings, loss: str, law: str) -> None:
    before, witness = kept(left), head_now(left)
    assert judge(left, before, witness) == before
    with closing(sqlite3.connect(left.database_path)) as connection:
        assert connection.execute(loss).rowcount
        connection.commit()
    with pytest.raises(Violation, match=law):
        judge(left, before, witness)


def test_a_tail_that_an_onlooker_saw_and_is_gone_is_seen(left: Settings) -> None:
    before = kept(left)
    beyond = AuditHead(before.head.id + 1, "0" * 64)
    with pytest.raises(Violation, match="I12"):
        judge(left, before, beyond)


def test_a_submit_without_its_intent_and_one_that_is_repeated_are_seen(left: Settings) -> None:
    session = replay(left, journals(left)[0])
    now = kept(left)
    assert session.sent
    judge_intents(session, now, set())
    with pytest.raises(Violation, match="I2"):
        judge_intents(session, now, {session.sent[0]})
    with pytest.raises(Violation, match="I2"):
        judge_intents(replace(session, sent=[session.sent[0]] * 2), now, set())
    with pytest.raises(Violation, match="I1"):
        judge_intents(session, replace(now, orders={}), set())


def test_a_submit_after_the_kill_switch_is_seen(left: Settings) -> None:
    now = kept(left)
    judge_kill(now)
    first = next(row for row in now.audit if row.kind == "OrderSubmitted")
    trip = replace(first, kind="KillSwitchTriggered")
    with pytest.raises(Violation, match="I5"):
        judge_kill(replace(now, audit=[trip, *now.audit]))
    judge_kill(replace(now, audit=[trip, replace(first, kind="KillSwitchRearmed"), *now.audit]))


async def test_an_engine_that_is_not_given_back_what_was_there_is_seen(left: Settings) -> None:
    before = kept(left)
    async with running(left) as session:
        await session.until(lambda s: s.feed.status == "connected")
    given = replay(left, journals(left)[1])
    judge_restart(given, before, left.starting_cash)
    some = next(iter(before.orders.values()))
    forgotten = replace(some, client_order_id="tb-1", state=OrderState.ACCEPTED)
    orders = before.orders | {"tb-1": forgotten}
    with pytest.raises(Violation, match="I15"):
        judge_restart(given, replace(before, orders=orders), left.starting_cash)
    with pytest.raises(Violation, match="I4"):
        judge_restart(given, before, left.starting_cash + 1)
    with pytest.raises(Violation, match="I8"):
        judge_restart(given, replace(before, positions={}), left.starting_cash)
    trip = replace(before.audit[0], kind="KillSwitchTriggered")
    with pytest.raises(Violation, match="I5"):
        judge_restart(given, replace(before, audit=[trip]), left.starting_cash)
    with pytest.raises(Violation, match="I16"):
        judge_rest(replace(before, orders={"tb-1": replace(some, state=OrderState.IN_DOUBT)}))
