"""Where orders go to an account at the venue, and where they stay here, by the settings alone."""

from pathlib import Path
from typing import Any

import pytest

from engine.core.model import Mode
from engine.ops.settings import Settings
from engine.venues import chosen

ALPACA = {"symbols": ("alpaca:AAPL",), "alpaca_api_key": "PK1", "alpaca_api_secret": "s"}
BINANCE = {"symbols": ("binance:BTC/USDT",)}
BINANCE_KEYS = BINANCE | {"binance_api_key": "k", "binance_api_secret": "s"}
KRAKEN_KEYS = {
    "symbols": ("kraken:BTC/USD",), "kraken_api_key": "k", "kraken_api_secret": "c2VjcmV0",
}  # fmt: skip
QUESTRADE = {"symbols": ("questrade:SHOP.TO",), "questrade_refresh_token": "token"}
IB = {"symbols": ("interactive_brokers:AAPL",)}
SIMULATED = {"paper_accounts": "simulated"}
REAL = {"questrade_practice": False}
LIVE = {"mode": Mode.LIVE}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ALPACA, True),
        (ALPACA | SIMULATED, False),
        (ALPACA | LIVE | {"alpaca_api_key": "AK1"}, True),
        (BINANCE, False),
        (BINANCE_KEYS, True),  # of its test network
        (BINANCE_KEYS | SIMULATED, False),
        (BINANCE_KEYS | LIVE, True),
        (KRAKEN_KEYS, False),  # they are of a real account: it has no other
        (KRAKEN_KEYS | LIVE, True),
        (QUESTRADE | {"questrade_practice": True}, True),
        (QUESTRADE | {"questrade_practice": True} | SIMULATED, False),
        (QUESTRADE | REAL, False),
        (QUESTRADE | REAL | LIVE, True),
        (IB, True),
        (IB | SIMULATED, False),
        (IB | LIVE | SIMULATED, True),
    ],
)
def test_paper_trading_reaches_no_real_account(
    given: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    (venue,) = chosen(Settings(data_dir=tmp_path, **given)).values()
    assert venue.has_account is expected
