"""What SYMBOLS names at each venue."""

import pytest

from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.venues import by_venue


@pytest.mark.parametrize(
    ("symbols", "named"),
    [
        ((), {}),
        (("AAPL", "BTC-USD"), {}),
        (("alpaca:AAPL", "MSFT"), {"alpaca": ["AAPL", "MSFT"]}),
        (("BTC/USDT", "binance:ETH/USDT"), {"binance": ["BTC/USDT", "ETH/USDT"]}),
        (("alpaca:AAPL", "AAPL"), {"alpaca": ["AAPL"]}),
        (("alpaca:AAPL", "binance:BTC/USDT"), {"alpaca": ["AAPL"], "binance": ["BTC/USDT"]}),
    ],
    ids=["none", "recorded", "one venue", "named later", "twice", "two venues"],
)
def test_a_symbol_without_a_venue_is_of_the_only_one(
    symbols: tuple[str, ...], named: dict[str, list[str]]
) -> None:
    assert by_venue(Settings(symbols=symbols)) == named


@pytest.mark.parametrize(
    ("symbols", "told"),
    [
        (("alpaca:AAPL", "binance:BTC/USDT", "MSFT"), "SYMBOLS has MSFT"),
        (("nowhere:AAPL", "MSFT"), "SYMBOLS has nowhere:AAPL"),
        (("alpaca:",), "SYMBOLS has alpaca:"),
    ],
    ids=["of which of two", "an unknown venue", "no name"],
)
def test_what_may_be_of_several_is_told(symbols: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        by_venue(Settings(symbols=symbols))
