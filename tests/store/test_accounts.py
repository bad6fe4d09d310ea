"""The accounts in the database: opened once, each with its cash and currency; equity of other
accounts is not measured by the peak of these."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import OrderFilled, PositionChanged, TradingDayStarted
from engine.core.model import EXTERNAL, OPENING, Position
from engine.ops.errors import UserError
from engine.store.repository import Repository

from .conftest import Database, MakeFill, MakeOrder, Stamp, begun

DOLLARS = {"paper": Decimal(1_000)}
BOTH = {"paper": Decimal(1_000), "maple": Decimal("500.10")}
CURRENCIES = {"paper": "USD", "maple": "CAD"}


async def record(
    store: Repository,
    stamp: Stamp,
    make_order: MakeOrder,
    make_fill: MakeFill,
    venue: str,
    symbol: str,
    cash: Decimal,
) -> None:
    """A coin bought at 100, with a commission of 0.1."""
    order = make_order(f"tb-{venue}", symbol=symbol, quantity=Decimal(1))
    await store.commit_intent(order)
    fill = make_fill(
        f"x-{venue}", client_order_id=f"tb-{venue}", symbol=symbol, venue=venue, strategy=EXTERNAL
    )
    held = Position(
        EXTERNAL, symbol, Decimal(1), cost=Decimal(100), commission=Decimal("0.1"), opened_ts=1
    )
    filled = replace(order, filled=Decimal(1))
    facts = [OrderFilled(filled, fill), PositionChanged(held, fill, cash)]
    await store.record([stamp(fact) for fact in facts])


async def test_each_account_has_the_cash_of_its_own_executions(
    store: Repository, stamp: Stamp, make_order: MakeOrder, make_fill: MakeFill
) -> None:
    await store.open_accounts(BOTH, CURRENCIES, "USD")
    make = (stamp, make_order, make_fill)
    await record(store, *make, "paper", "BTC-USD", Decimal("899.9"))
    await record(store, *make, "maple", "SHOP", Decimal("400.00"))
    restored = await store.restore(None)
    assert restored.cash == {"paper": Decimal("899.9"), "maple": Decimal("400.00")}
    assert restored.venues == {"BTC-USD": "paper", "SHOP": "maple"}
    assert {fill.symbol: fill.venue for fill in restored.fills} == restored.venues
    assert await store.ledger_check() == []


async def test_cash_of_the_wrong_account_is_found(
    store: Repository,
    database: Database,
    stamp: Stamp,
    make_order: MakeOrder,
    make_fill: MakeFill,
) -> None:
    await store.open_accounts(BOTH, CURRENCIES, "USD")
    await record(store, stamp, make_order, make_fill, "paper", "BTC-USD", Decimal("899.9"))
    database.edit("UPDATE trades SET venue = 'maple'")
    assert await store.ledger_check() == ["cash at maple is None, its entries make it 400.00"]
    database.edit("UPDATE trades SET venue = 'nobody'")
    assert "executions at nobody, where no account was opened" in await store.ledger_check()


async def test_an_account_is_opened_once_and_others_later(store: Repository) -> None:
    await store.open_accounts(DOLLARS, {"paper": "USD"}, "USD")
    assert (await store.restore(None)).cash == DOLLARS
    later = {"paper": Decimal(7), "maple": Decimal("500.10")}
    await store.open_accounts(later, CURRENCIES, "USD")
    assert (await store.restore(None)).cash == BOTH


async def test_an_account_does_not_change_its_currency(store: Repository) -> None:
    await store.open_accounts(BOTH, CURRENCIES, "USD")
    with pytest.raises(UserError, match="account at maple was in CAD and would be in USD now"):
        await store.open_accounts(BOTH, {"paper": "USD", "maple": "USD"}, "USD")


@pytest.mark.parametrize(
    ("venues", "base", "is_same"),
    [
        (("paper", "maple"), "USD", True),
        (("paper",), "USD", False),  # an account less: that is no loss
        (("paper", "maple"), "CAD", False),
    ],
)
async def test_the_peak_of_other_equity_is_forgotten(
    store: Repository, stamp: Stamp, venues: tuple[str, ...], base: str, is_same: bool
) -> None:
    assert await store.open_accounts(BOTH, CURRENCIES, "USD")
    await store.save_equity(1, Decimal(1_500), Decimal(1_500), "USD", 1_600.0)
    await store.record([stamp(TradingDayStarted("2024-07-10", 1_550.0), ts=5)])
    opening = {venue: BOTH[venue] for venue in venues}
    currencies = {venue: CURRENCIES[venue] for venue in venues}
    assert await store.open_accounts(opening, currencies, base) is is_same
    restored = await store.restore(None)
    known = (restored.peak_equity, restored.day, restored.day_equity)
    assert known == ((1_600.0, "2024-07-10", 1_550.0) if is_same else (None, "", None))
    assert await store.open_accounts(opening, currencies, base)


async def test_a_new_database_begins_with_what_it_is_given(store: Repository) -> None:
    assert (await begun(store, BOTH)).cash == BOTH


async def test_what_an_account_held_at_its_opening_is_to_be_recorded_until_it_is(
    store: Repository, stamp: Stamp, make_order: MakeOrder, make_fill: MakeFill
) -> None:
    """However often the engine dies before."""
    fill = make_fill(f"BTC-USD{OPENING}", client_order_id="tb-opening", strategy=EXTERNAL)
    assert await store.opened_accounts() == frozenset()
    for _ in range(2):
        await store.open_accounts(DOLLARS, {"paper": "USD"}, "USD", [fill])
        assert await store.opened_accounts() == {"paper"}
        assert list(await store.unrecorded_openings()) == [fill]
    order = make_order("tb-opening", strategy=EXTERNAL, quantity=fill.quantity)
    await store.commit_intent(order)
    held = Position(EXTERNAL, fill.symbol, fill.quantity)
    facts = (
        OrderFilled(replace(order, filled=fill.quantity), fill),
        PositionChanged(held, fill, Decimal(0)),
    )
    await store.record([stamp(fact) for fact in facts])
    assert list(await store.unrecorded_openings()) == []
