"""A whole engine at Alpaca: account and market data on loopback servers, and their faults."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.core.events import AdjustCash, ConfirmLive
from engine.core.live import LIVE_WORD
from engine.core.model import OrderState
from engine.ops.errors import UserError
from engine.view.snapshot import Snapshot
from tests.brokers.contract import COSTS
from tests.loopback.alpaca import ACCOUNT_ID
from tests.loopback.faults import Fault
from tests.session import Session, running
from tests.street import BTC, Street

PATIENCE_S = 30
ANN = "console of ann on pts/7 (pid 4242)"


@pytest_asyncio.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def real(tmp_path: Path) -> AsyncIterator[Street]:
    """With a real account."""
    made = Street(tmp_path, "AKREAL")
    made.server.account["account_number"] = "123456789"
    await made.start()
    yield made
    await made.stop()


def is_up(snapshot: Snapshot) -> bool:
    brokers = [broker.connected for broker in snapshot.brokers]
    return brokers == [True] and snapshot.feed.status == "connected"


def is_reconciled(snapshot: Snapshot) -> bool:
    """Before that no order leaves."""
    return is_up(snapshot) and any("reconciled with" in line.text for line in snapshot.log)


def held(snapshot: Snapshot) -> Decimal:
    return sum((row.position.quantity for row in snapshot.positions), Decimal(0))


async def buys(street: Street, session: Session) -> Snapshot:
    """The third bar buys; then the position and its stop are there, and both sides agree."""
    await session.until(is_reconciled, PATIENCE_S)
    await street.data.streams.has_joined()
    for _ in range(3):
        street.bar()
    await session.until(lambda s: s.orders, PATIENCE_S)
    await street.server.faults.has_come("submit", 1)
    return await session.until(lambda s: has_position_and_stop(street, s), PATIENCE_S)


def has_position_and_stop(street: Street, snapshot: Snapshot) -> bool:
    street.quote(100.0)
    stops = [o for o in snapshot.orders if o.purpose == "protective_stop" and o.is_open]
    accepted = [o for o in stops if o.state is OrderState.ACCEPTED]
    return held(snapshot) > 0 and len(accepted) == 1


@pytest.mark.parametrize("account", ["", ACCOUNT_ID], ids=["own", "of a firm's customer"])
async def test_a_strategy_trades_at_alpaca(street: Street, account: str) -> None:
    async with running(street.settings(alpaca_account_id=account)) as session:
        snapshot = await buys(street, session)
        assert held(snapshot) == street.venue.positions["BTC/USD"]
        assert [row.name for row in snapshot.brokers] == ["alpaca"]
        assert snapshot.feed.name == "alpaca"
        entries = [o for o in snapshot.orders if o.purpose == "entry"]
        assert len(entries) == street.server.faults.requests["submit"] - 1 == 1


async def test_an_order_leaves_at_the_time_when_its_intent_was_on_disk(street: Street) -> None:
    settings = street.settings(entry_order_type="market")
    async with running(settings) as session:
        await buys(street, session)
    with closing(sqlite3.connect(settings.database_path)) as database:
        told = "SELECT min(ts) FROM audit_log WHERE kind = ?"
        kinds = "OrderIntended", "OrderSubmitted", "OrderFilled"
        times = [ts for kind in kinds for (ts,) in database.execute(told, (kind,))]
    assert times == sorted(set(times)), "it took time to write, and the venue to answer"


async def test_a_submit_that_was_accepted_with_504_is_one_order(street: Street) -> None:
    street.server.faults.plan("submit", Fault.GATEWAY_TIMEOUT)
    async with running(street.settings()) as session:
        snapshot = await buys(street, session)
    assert held(snapshot) == street.venue.positions["BTC/USD"]
    ids = [placed.order.client_order_id for placed in street.venue.orders.values()]
    assert len(ids) == len(set(ids)) == street.server.faults.requests["submit"] == 2


async def test_the_streams_are_lost_and_come_back_by_themselves(street: Street) -> None:
    async with running(street.settings()) as session:
        await buys(street, session)
        await street.data.streams.close()
        await session.until(lambda s: s.feed.status == "disconnected", PATIENCE_S)
        await session.until(is_up, PATIENCE_S)
        await street.server.streams.close()
        await session.until(lambda s: not is_up(s), PATIENCE_S)
        snapshot = await session.until(is_up, PATIENCE_S)
        assert held(snapshot) == street.venue.positions["BTC/USD"]


async def test_what_a_silent_stream_does_not_tell_is_found_without_waiting_for_a_statement(
    street: Street,
) -> None:
    """The stream of the account is connected and answers pings; the next statement would be due in
    five minutes."""
    async with running(street.settings(reconcile_s=300, entry_order_type="market")) as session:
        await session.until(is_reconciled, PATIENCE_S)
        street.server.streams.mute = True
        await buys(street, session)


async def test_the_books_begin_with_what_the_account_has(street: Street) -> None:
    """Coins that were there before are nobody's here, and counted."""
    row = {"t": "2024-06-17T14:11:00Z", "bp": 100, "bs": 1, "ap": 100.01, "as": 1}
    street.data.quotes["BTC/USD"] = row
    street.venue.cash = Decimal("5000.25")
    street.venue.positions["BTC/USD"] = Decimal("2.5")
    async with running(street.settings()) as session:
        snapshot = await session.until(lambda s: is_up(s) and s.positions, PATIENCE_S)
        (row,) = snapshot.positions
        assert (row.position.strategy, row.position.quantity) == ("external", Decimal("2.5"))
        assert snapshot.cash == Decimal("5000.25")
        street.quote(110.0)
        snapshot = await session.until(lambda s: s.equity != snapshot.equity, PATIENCE_S)
        assert snapshot.equity == Decimal("5000.25") + Decimal("2.5") * Decimal("110.005")
        await session.until(
            lambda s: any(line.text == "reconciled with alpaca: all agrees" for line in s.log)
        )
    async with running(street.settings()) as session:
        snapshot = await session.until(is_up, PATIENCE_S)
        assert (snapshot.cash, held(snapshot)) == (Decimal("5000.25"), Decimal("2.5"))


async def test_a_fee_that_becomes_known_after_its_execution_is_booked_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account answers nothing for a while after the execution: the books are right once it
    does, and nothing is paused."""
    monkeypatch.setattr("tests.loopback.faults.RETRY_AFTER_S", 4)
    street = Street(tmp_path, rules=COSTS)
    street.server.gross = True
    async with street.open():
        async with running(street.settings(reconcile_s=300)) as session:
            await session.until(is_reconciled, PATIENCE_S)
            await street.data.streams.has_joined()
            street.server.faults.plan("positions", Fault.RATE_LIMITED)
            for _ in range(3):
                street.bar()
            snapshot = await session.until(held, PATIENCE_S)
            bought = held(snapshot)
            assert bought > street.venue.positions["BTC/USD"]
            snapshot = await session.until(lambda s: has_position_and_stop(street, s), PATIENCE_S)
            assert held(snapshot) == street.venue.positions["BTC/USD"]
            (stop,) = [o for o in snapshot.orders if o.is_open]
            assert 0 < held(snapshot) - stop.quantity < BTC.lot
            assert any("its fee became known" in line.text for line in snapshot.log)
            assert snapshot.paused == ()
        async with running(street.settings()) as session:
            snapshot = await session.until(is_reconciled, PATIENCE_S)
            assert held(snapshot) == street.venue.positions["BTC/USD"]
            assert snapshot.cash == street.venue.cash
            assert snapshot.paused == ()
            assert "reconciled with alpaca: all agrees" in [line.text for line in snapshot.log]


async def test_the_fee_of_the_first_purchase_of_an_account_that_held_coins_is_no_difference(
    tmp_path: Path,
) -> None:
    street = Street(tmp_path, rules=COSTS)
    street.server.gross = True
    street.quote(100.0)
    street.venue.positions["BTC/USD"] = Decimal("2.5")
    async with street.open(), running(street.settings()) as session:
        snapshot = await session.until(lambda s: is_reconciled(s) and s.positions, PATIENCE_S)
        assert held(snapshot) == Decimal("2.5")
        await street.data.streams.has_joined()
        for _ in range(3):
            street.bar()
        snapshot = await session.until(lambda s: len(s.positions) == 2, PATIENCE_S)
        snapshot = await session.until(lambda s: has_position_and_stop(street, s), PATIENCE_S)
        assert held(snapshot) == street.venue.positions["BTC/USD"]
        assert [line.text for line in snapshot.log if "fee became known" in line.text] == []
        assert snapshot.paused == ()


async def test_cash_that_changed_at_the_venue_is_taken_over_and_no_loss(tmp_path: Path) -> None:
    street = Street(tmp_path)
    async with street.open():
        async with running(street.settings(reconcile_s=1)) as session:
            before = await buys(street, session)
            loss = before.day_pnl
            street.venue.cash -= Decimal("1234.56")
            told = await session.until(lambda s: s.brokers[0].cash_difference, PATIENCE_S)
            amount = told.brokers[0].cash_difference
            assert amount is not None
            assert amount == Decimal("-1234.56")
            assert told.cash == before.cash
            session.command(
                AdjustCash(broker="alpaca", amount=amount, word="ADJUST", author="a test")
            )
            snapshot = await session.until(
                lambda s: s.cash == street.venue.cash and not s.brokers[0].cash_difference,
                PATIENCE_S,
            )
            assert snapshot.day_pnl is not None
            assert loss is not None
            assert abs(snapshot.day_pnl - loss) < 10
            assert not snapshot.kill.tripped
        async with running(street.settings()) as session:
            snapshot = await session.until(
                lambda s: is_reconciled(s) and s.day_pnl is not None, PATIENCE_S
            )
            assert (snapshot.cash, snapshot.currency) == (street.venue.cash, "USD")
            assert snapshot.brokers[0].cash_difference is None
            assert snapshot.day_pnl is not None
            assert abs(snapshot.day_pnl - loss) < 10


async def test_a_real_account_is_traded_once_a_person_has_confirmed_it(real: Street) -> None:
    settings = real.settings(mode="live", allow_live_trading=True)
    async with running(settings) as session:
        await session.until(is_up, PATIENCE_S)
        await real.data.streams.has_joined()
        for _ in range(3):
            real.bar()
        blocked = await session.until(lambda s: s.signals, PATIENCE_S)
        assert blocked.signals[0].outcome == "blocked"
        assert "not confirmed in this session" in blocked.signals[0].note
        assert real.venue.orders == {}
        session.command(ConfirmLive(word=LIVE_WORD, author=ANN))
        for _ in range(6):
            real.bar()
        snapshot = await session.until(lambda s: has_position_and_stop(real, s), PATIENCE_S)
        assert held(snapshot) == real.venue.positions["BTC/USD"]
    async with running(settings) as session:  # the confirmation was of that session
        snapshot = await session.until(is_up, PATIENCE_S)
        assert not all(condition.met for condition in snapshot.live_gate)
    with closing(sqlite3.connect(settings.database_path)) as database:
        asked = "SELECT payload FROM audit_log WHERE kind = 'LiveConfirmed'"
        ((payload,),) = database.execute(asked).fetchall()
    assert f'"author":"{ANN}"' in payload, "who confirmed, and at which terminal, is kept"


@pytest.mark.parametrize("given", [{"mode": "live"}, {"allow_live_trading": True}])
async def test_a_real_account_is_not_traded_by_one_setting_alone(
    real: Street, given: dict[str, Any]
) -> None:
    session = Session(real.settings(**given))
    session.start()
    if "mode" in given:
        await session.until(is_up, PATIENCE_S)
        session.command(ConfirmLive(word=LIVE_WORD, author="a test"))
        await real.data.streams.has_joined()
        for _ in range(3):
            real.bar()
        await session.until(lambda s: s.signals and s.signals[0].outcome == "blocked", PATIENCE_S)
        await session.stop()
    else:
        with pytest.raises(UserError, match="that of a real account"):
            await session.until(lambda _: False, PATIENCE_S)
    assert real.venue.orders == {}


async def test_a_start_while_the_venue_does_not_answer_goes_on_when_it_does(
    street: Street,
) -> None:
    """How its symbols trade it said the last time."""
    async with running(street.settings()) as session:
        await session.until(is_up, PATIENCE_S)
    await street.server.stop()
    async with running(street.settings()) as session:
        snapshot = await session.until(lambda s: s.brokers[0].note not in ("", "connecting"))
        assert [row.symbol for row in snapshot.quotes] == ["alpaca:BTC/USD"]
        assert not snapshot.brokers[0].connected
        await street.server.start()
        snapshot = await buys(street, session)
        assert held(snapshot) == street.venue.positions["BTC/USD"]


async def test_a_first_start_while_the_venue_does_not_answer_is_told(street: Street) -> None:
    await street.server.stop()
    session = Session(street.settings())
    session.start()
    with pytest.raises(UserError, match="alpaca does not say how it trades"):
        await session.until(lambda _: False, PATIENCE_S)


async def test_orders_stay_here_where_paper_accounts_are_simulated(street: Street) -> None:
    async with running(street.settings(paper_accounts="simulated")) as session:
        await session.until(is_up, PATIENCE_S)
        await street.data.streams.has_joined()
        for _ in range(3):
            street.bar()

        def is_filled(snapshot: Snapshot) -> bool:
            street.quote(100.0)
            return held(snapshot) > 0

        snapshot = await session.until(is_filled, PATIENCE_S)
    assert [row.name for row in snapshot.brokers] == ["alpaca"]
    assert street.venue.orders == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpaca_api_key": ""}, "there is no key"),
        ({"alpaca_api_key": "AKREAL"}, "that of a real account"),
        ({"mode": "live"}, "that of a paper account"),
        ({"symbols": ("nowhere:AAPL",)}, "SYMBOLS has nowhere:AAPL"),
        ({"symbols": ("alpaca:NONE",)}, "Alpaca has no NONE"),
    ],
)
async def test_settings_that_make_no_sense_are_told(
    street: Street, given: dict[str, Any], said: str
) -> None:
    session = Session(street.settings(**given))
    session.start()
    with pytest.raises(UserError, match=said):
        await session.until(lambda _: False, PATIENCE_S)
    assert street.venue.orders == {}


async def test_wrong_keys_are_told_and_nothing_is_traded(street: Street) -> None:
    settings = street.settings(alpaca_api_secret="not-the-secret")
    session = Session(settings)
    session.start()
    with pytest.raises(UserError, match="Alpaca does not take the key") as caught:
        await session.until(lambda _: False, PATIENCE_S)
    assert "not-the-secret" not in str(caught.value)
    assert street.venue.orders == {}
