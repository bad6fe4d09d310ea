"""A whole engine at Questrade: its login shared by the account and the market data."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.brokers.peer_questrade import make_server
from tests.loopback.questrade import FIRST_TOKEN, QuestradeServer
from tests.session import Session, running

PATIENCE_S = 30


@pytest_asyncio.fixture
async def server() -> AsyncIterator[QuestradeServer]:
    made = make_server()
    made.venue.quote("SHOP.TO", 100.0, 100.02, 500)
    await made.start()
    yield made
    await made.stop()


def settings_of(server: QuestradeServer, folder: Path, **given: Any) -> Settings:
    usual: dict[str, Any] = {
        "currency": "CAD",
        "data_dir": folder / "var",
        "symbols": ("questrade:SHOP.TO",),
        "questrade_refresh_token": FIRST_TOKEN,
        "questrade_practice": True,
        "questrade_url": server.login_url,
        "submit_timeout_s": 2,
    }
    return Settings(**(usual | given))


def is_up(snapshot: Snapshot) -> bool:
    brokers = [broker.connected for broker in snapshot.brokers]
    quoted = [row.quote is not None for row in snapshot.quotes]
    return brokers == [True] and snapshot.feed.status == "connected" and quoted == [True]


@pytest.mark.parametrize("practice", [True, False])
async def test_one_login_serves_the_account_and_the_market_data(
    server: QuestradeServer, tmp_path: Path, practice: bool
) -> None:
    """A token of a real account gives its market data alone in MODE=paper."""
    settings = settings_of(server, tmp_path, questrade_practice=practice)
    async with running(settings) as session:
        snapshot = await session.until(is_up, PATIENCE_S)
        (row,) = snapshot.quotes
        assert row.symbol == "questrade:SHOP.TO"
        assert snapshot.instruments[row.symbol].venue == "questrade"
        assert row.quote is not None
        assert row.quote.bid == 100.0
        assert [broker.name for broker in snapshot.brokers] == ["questrade"]
        assert bool(server.faults.requests["orders"]) is practice
    assert (settings.data_dir / "questrade.json").stat().st_mode & 0o777 == 0o600
    async with running(settings) as session:  # the token of the settings was used up
        await session.until(is_up, PATIENCE_S)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"questrade_refresh_token": "spent"}, "needs a new login"),
        ({"questrade_refresh_token": ""}, "login"),
        ({"symbols": ("questrade:NONE",)}, "Questrade has no NONE"),
    ],
)
async def test_settings_that_make_no_sense_are_told(
    server: QuestradeServer, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    session = Session(settings_of(server, tmp_path, **given))
    session.start()
    with pytest.raises(UserError, match=said):
        await session.until(lambda _: False, PATIENCE_S)
