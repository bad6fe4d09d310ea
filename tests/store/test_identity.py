"""Whose the books are: kept in the database, and refused to any other account."""

from decimal import Decimal

import pytest

from engine.core.model import OPENING, Fill
from engine.store.identity import AccountIdentity, Identities, OtherAccount
from engine.store.repository import Repository

from .conftest import Database, MakeFill, MakeOrder, Stamp
from .test_accounts import DOLLARS, record

HERE = AccountIdentity(simulated=True)
THERE = AccountIdentity(simulated=False)
ONE = AccountIdentity(False, "PA1")
OTHER = AccountIdentity(False, "PA2")

USD = {"paper": "USD"}


async def opens(store: Repository, identity: AccountIdentity, *fills: Fill) -> Identities:
    """What is known once a session has begun with that account."""
    await store.open_accounts(DOLLARS, USD, "USD", fills, {"paper": identity})
    return await store.identities()


@pytest.mark.parametrize(
    ("was", "now", "known"),
    [
        (HERE, HERE, HERE),
        (THERE, THERE, THERE),
        (THERE, ONE, ONE),
        (ONE, THERE, ONE),  # it is not connected yet: that it is another one shows later
        (ONE, ONE, ONE),
    ],
)
async def test_the_books_go_on_with_their_account(
    store: Repository, was: AccountIdentity, now: AccountIdentity, known: AccountIdentity
) -> None:
    assert await store.identities() == {}
    assert await opens(store, was) == {"paper": was}
    assert await opens(store, now) == {"paper": known}


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (HERE, THERE, "are of a simulated account, and it is an account at paper now"),
        (HERE, ONE, "are of a simulated account, and it is the account PA1 at paper now"),
        (ONE, HERE, "are of the account PA1 at paper, and it is a simulated account now"),
        (ONE, OTHER, "are of the account PA1 at paper, and it is the account PA2 at paper now"),
    ],
)
async def test_the_books_are_refused_to_any_other_and_stay_as_they_are(
    store: Repository, was: AccountIdentity, now: AccountIdentity, said: str
) -> None:
    await opens(store, was)
    with pytest.raises(OtherAccount, match=f"the books of paper {said}") as refused:
        await store.open_accounts(
            {"maple": Decimal(1)}, USD | {"maple": "CAD"}, "USD", (), {"paper": now, "maple": HERE}
        )
    assert "another DATA_DIR" in refused.value.remedy
    assert "DATABASE_URL" in refused.value.remedy
    assert await store.identities() == {"paper": was}
    assert await store.opened_accounts() == {"paper"}


async def test_an_account_that_is_not_traded_now_keeps_its_own(store: Repository) -> None:
    await opens(store, ONE)
    await store.open_accounts({"maple": Decimal(1)}, {"maple": "CAD"}, "USD", (), {"maple": HERE})
    assert await store.identities() == {"paper": ONE, "maple": HERE}


# --- books of a version that did not keep it -----------------------------------------------------


@pytest.mark.parametrize("identity", [HERE, THERE, ONE])
async def test_where_nothing_was_executed_the_account_of_now_is_taken(
    store: Repository, database: Database, identity: AccountIdentity
) -> None:
    await opens(store, HERE)
    database.edit("DELETE FROM bot_state WHERE key = 'identities'")
    assert await opens(store, identity) == {"paper": identity}


async def test_executions_at_a_broker_are_none_of_a_simulated_account(
    store: Repository, stamp: Stamp, make_order: MakeOrder, make_fill: MakeFill
) -> None:
    await store.open_accounts(DOLLARS, USD, "USD")
    await record(store, stamp, make_order, make_fill, "paper", "BTC-USD", Decimal("899.9"))
    with pytest.raises(OtherAccount, match="are of an account at paper, and it is a simulated"):
        await opens(store, HERE)
    assert await opens(store, ONE) == {"paper": ONE}


async def test_what_an_account_held_at_its_opening_is_none_of_a_simulated_one(
    store: Repository, make_fill: MakeFill
) -> None:
    await store.open_accounts(DOLLARS, USD, "USD", [make_fill(f"BTC-USD{OPENING}")])
    with pytest.raises(OtherAccount, match="are of an account at paper, and it is a simulated"):
        await opens(store, HERE)


async def test_simulated_executions_are_none_of_a_broker(
    store: Repository, database: Database, stamp: Stamp, make_order: MakeOrder, make_fill: MakeFill
) -> None:
    """The simulated exchange names them after their orders."""
    await store.open_accounts(DOLLARS, USD, "USD")
    await record(store, stamp, make_order, make_fill, "paper", "BTC-USD", Decimal("899.9"))
    database.edit("UPDATE trades SET execution_id = 'tb-paper-1'")
    with pytest.raises(OtherAccount, match="are of a simulated account, and it is the account PA1"):
        await opens(store, ONE)
    assert await opens(store, HERE) == {"paper": HERE}
