"""An engine with accounts in two currencies: from the file of rates to the ledger of each, over a
restart."""

from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.build import make_feed
from engine.core.model import Instrument
from engine.feeds.base import Feed, Played
from engine.feeds.replay import ReplayFeed
from engine.host.runtime import Parts
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from tests.session import CLOSES, Session, journals, ledger_check, record, replayed, running, zigzag

RATES = "currency,rate,source,published\nUSD,1.25,Bank of Canada,2024-03-04T09:30-05:00\n"


def settings_of(folder: Path, rates: str = RATES, **other: Any) -> Settings:
    """ACME in US dollars at `paper`, SHOP in Canadian ones at `maple`."""
    folder.mkdir(exist_ok=True)
    record(folder / "data", "SHOP", CLOSES)
    (folder / "rates.csv").write_text(rates)
    given: dict[str, Any] = {"fx_rates": folder / "rates.csv", "on_stop": "keep"}
    return zigzag(folder, **(given | other))


def abroad(instrument: Instrument) -> Instrument:
    if instrument.symbol != "SHOP":
        return instrument
    return replace(instrument, venue="maple", currency="CAD")


async def feed(settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
    made = await make_feed(settings, resume, held)
    assert isinstance(made, ReplayFeed)
    made.instruments = tuple(map(abroad, made.instruments))
    return made


async def test_each_account_is_paid_from_and_comes_back_by_itself(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with running(settings, Parts(feed)) as session:
        first = await session.until(lambda s: s.accounts)
        assert [(a.venue, a.currency, a.worth) for a in first.accounts] == [
            ("paper", "USD", 1),
            ("maple", "CAD", Decimal("0.8")),
        ]
        await session.until(lambda s: {r.position.symbol for r in s.positions} == {"ACME", "SHOP"})
    machine = session.runtime.machine
    cash, equity = machine.portfolio.cash, machine.portfolio.equity()
    opening = {"paper": Decimal(50_000), "maple": Decimal(62_500)}
    fills = session.rows("SELECT venue, symbol, side, quantity, price, commission FROM trades")
    assert {f[:2] for f in fills} == {("paper", "ACME"), ("maple", "SHOP")}
    for venue, _, side, quantity, price, commission in fills:
        sign = 1 if side == "sell" else -1
        opening[venue] += sign * Decimal(quantity) * Decimal(price) - Decimal(commission)
    assert cash == opening
    assert await ledger_check(settings) == []
    (journal,) = journals(settings)
    assert replayed(settings, journal).state_hash() == machine.state_hash()
    again = Session(settings, parts=Parts(feed))
    again.start()
    snapshot = await again.until(lambda s: s.brokers and all(b.connected for b in s.brokers))
    assert again.runtime.machine.portfolio.cash.keys() == cash.keys()
    assert snapshot.equity is not None
    assert equity is not None
    assert abs(snapshot.equity - equity) < 100
    await again.stop()
    assert await ledger_check(settings) == []


async def test_a_currency_without_a_rate_stops_the_start_and_is_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, RATES.replace("USD", "EUR"))
    session = Session(settings, parts=Parts(feed))
    session.start()
    with pytest.raises(UserError, match="maple is traded in CAD") as refused:
        await session.until(lambda s: True)
    assert "FX_RATES" in refused.value.remedy


async def test_an_account_that_is_not_traded_any_more_is_no_loss(tmp_path: Path) -> None:
    """Its 50,000 are not there to trade with, and no drawdown of the rest."""
    settings = settings_of(tmp_path, strategies=())
    async with running(settings, Parts(feed)) as session:
        await session.until(lambda s: s.day_pnl is not None)
    assert session.runtime.machine.risk.peak_equity == 100_000
    alone = settings_of(tmp_path, strategies=(), symbols=("ACME",))
    async with running(alone, Parts(feed)) as session:
        snapshot = await session.until(lambda s: s.day_pnl is not None)
        assert (snapshot.equity, snapshot.day_pnl) == (50_000, 0)
        assert not snapshot.kill.tripped
    assert session.runtime.machine.risk.peak_equity == 50_000
