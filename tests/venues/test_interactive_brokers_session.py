"""A whole engine at Interactive Brokers: a connection for the account, and one for market data."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.core.model import AssetClass, Idempotency, Instrument
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.loopback.ib import IbServer
from tests.loopback.venue import Venue
from tests.session import Session, running

PATIENCE_S = 30
AAPL = Instrument("AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[IbServer]:
    made = IbServer(Venue([AAPL], Idempotency.NONE))
    await made.start()
    yield made
    await made.stop()


def settings_of(server: IbServer, folder: Path, **given: Any) -> Settings:
    usual: dict[str, Any] = {
        "data_dir": folder / "var",
        "symbols": ("interactive_brokers:AAPL",),
        "ib_port": server.port,
        "submit_timeout_s": 2,
    }
    return Settings(**(usual | given))


@pytest.mark.parametrize("paper_accounts", ["venue", "simulated"])
async def test_the_account_and_the_market_data_come_through_one_gateway(
    server: IbServer, tmp_path: Path, paper_accounts: str
) -> None:
    settings = settings_of(server, tmp_path, paper_accounts=paper_accounts)
    async with running(settings) as session:

        def is_up(snapshot: Snapshot) -> bool:
            if snapshot.feed.status == "connected":
                server.say_quote("AAPL", 100.0, 100.02)
            connected = [broker.connected for broker in snapshot.brokers] == [True]
            return connected and any(row.quote is not None for row in snapshot.quotes)

        snapshot = await session.until(is_up, PATIENCE_S)
        (row,) = snapshot.quotes
        assert row.symbol == "interactive_brokers:AAPL"
        assert row.quote is not None
        assert (row.quote.bid, row.quote.ask) == (100.0, 100.02)
        assert [broker.name for broker in snapshot.brokers] == ["interactive_brokers"]
        assert bool(server.faults.requests["fills"]) is (paper_accounts == "venue")


async def test_no_gateway_is_told(server: IbServer, tmp_path: Path) -> None:
    await server.stop()
    session = Session(settings_of(server, tmp_path))
    session.start()
    with pytest.raises(UserError, match="no TWS or IB Gateway"):
        await session.until(lambda _: False, PATIENCE_S)


async def test_a_symbol_that_is_not_there_is_told(server: IbServer, tmp_path: Path) -> None:
    session = Session(settings_of(server, tmp_path, symbols=("interactive_brokers:NONE",)))
    session.start()
    with pytest.raises(UserError, match="has 0 stocks NONE"):
        await session.until(lambda _: False, PATIENCE_S)
