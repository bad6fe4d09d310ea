"""An engine whose account is another one than it was does not start, and says which is which."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import URL

from engine.core.model import Mode
from engine.ops.errors import UserError
from engine.store.identity import AccountIdentity, Identities, OtherAccount
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.postgresql import done, run_on
from tests.session import Session, rows, running
from tests.street import Street

PATIENCE_S = 30
KEPT = "SELECT value FROM bot_state WHERE key = 'identities'"


@pytest_asyncio.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    made.venue.cash = Decimal("5000.25")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def kept_in(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Settings for a database of either kind."""
    if request.param == "sqlite":
        yield {}
        return
    url: URL = request.getfixturevalue("postgresql")
    yield {"database_url": url.render_as_string(hide_password=False)}
    drop = "DROP SCHEMA IF EXISTS paper CASCADE"
    done(run_on(url, "SET client_min_messages TO error", drop))


def is_up(snapshot: Snapshot) -> bool:
    return bool(snapshot.brokers) and all(broker.connected for broker in snapshot.brokers)


async def trades(street: Street, **given: Any) -> Snapshot:
    """A session from its start to its stop, and what it showed between."""
    async with running(street.settings(**given)) as session:
        return await session.until(is_up, PATIENCE_S)


async def refusal(street: Street, **given: Any) -> UserError:
    session = Session(street.settings(**given))
    session.start()
    with pytest.raises(OtherAccount) as refused:
        await session.until(lambda _: False, PATIENCE_S)
    return refused.value


async def known(street: Street, **given: Any) -> Identities:
    repository = await Repository.open(Place.of(street.settings(**given)))
    try:
        return await repository.identities()
    finally:
        await repository.close()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("simulated", "venue", "are of a simulated account, and it is an account at alpaca now"),
        (
            "venue",
            "simulated",
            "are of the account PA3TEST at alpaca, and it is a simulated account now",
        ),
    ],
)
async def test_a_simulated_account_and_one_at_a_broker_have_no_books_in_common(
    street: Street, kept_in: dict[str, Any], first: str, second: str, said: str
) -> None:
    """100,000 are not there to trade with where the broker has 5,000.25."""
    cash = {"simulated": Decimal(100_000), "venue": Decimal("5000.25")}
    begun = await trades(street, paper_accounts=first, **kept_in)
    assert begun.cash == cash[first]
    error = await refusal(street, paper_accounts=second, **kept_in)
    assert error.message == f"the books of alpaca {said}"
    assert "PAPER_ACCOUNTS" in error.remedy
    again = await trades(street, paper_accounts=first, **kept_in)
    assert again.cash == cash[first]
    assert street.venue.orders == {}


async def test_another_account_at_the_same_broker_is_refused(
    street: Street, kept_in: dict[str, Any]
) -> None:
    await trades(street, **kept_in)
    street.server.account["account_number"] = "PA9OTHER"
    error = await refusal(street, **kept_in)
    assert error.message == (
        "the books of alpaca are of the account PA3TEST at alpaca, and it is the account PA9OTHER "
        "at alpaca now"
    )
    assert await known(street, **kept_in) == {"alpaca": AccountIdentity(False, "PA3TEST")}
    assert street.venue.orders == {}


async def test_an_account_that_turns_out_later_to_be_another_is_not_traded_with(
    street: Street,
) -> None:
    """At the start the broker does not answer: then nobody can know."""
    await trades(street)
    street.server.account["account_number"] = "PA9OTHER"
    await street.server.stop()
    async with running(street.settings()) as session:
        await session.until(lambda s: s.brokers[0].note not in ("", "connecting"), PATIENCE_S)
        await street.server.start()
        snapshot = await session.until(lambda s: "PA9OTHER" in s.brokers[0].note, PATIENCE_S)
        assert not snapshot.brokers[0].connected
        await street.data.streams.has_joined()
        for _ in range(3):
            street.bar()
        await session.until(lambda s: s.signals, PATIENCE_S)
    assert street.venue.orders == {}
    assert await known(street) == {"alpaca": AccountIdentity(False, "PA3TEST")}


async def test_what_a_hostile_number_holds_reaches_no_terminal(street: Street) -> None:
    await trades(street)
    street.server.account["account_number"] = "PA\x1b[2J\u202e"
    assert not set(str(await refusal(street))) & set("\x1b\u202e")


async def test_books_without_the_mark_take_that_of_their_next_start(street: Street) -> None:
    await trades(street)
    with closing(sqlite3.connect(street.settings().database_path)) as connection:
        connection.execute("DELETE FROM bot_state WHERE key = 'identities'")
        connection.commit()
    assert (await trades(street)).cash == Decimal("5000.25")
    assert rows(street.settings(), KEPT) == [('{"alpaca":{"simulated":false,"number":"PA3TEST"}}',)]


async def test_paper_and_real_money_have_no_books_in_common(street: Street, tmp_path: Path) -> None:
    assert (await trades(street, paper_accounts="simulated")).cash == Decimal(100_000)
    real = Street(tmp_path, "AKREAL")
    real.server.account["account_number"] = "123456789"
    real.venue.cash = Decimal("777.5")
    await real.start()
    live = {"mode": Mode.LIVE, "allow_live_trading": True}
    assert (await trades(real, **live)).cash == Decimal("777.5")
    assert await known(real, **live) == {"alpaca": AccountIdentity(False, "123456789")}
    assert await known(street) == {"alpaca": AccountIdentity(True)}
    await real.stop()
