"""Alpaca's market data, through alpaca-py, from a server that speaks its protocol."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.alpaca import Login
from engine.brokers.base import InDoubt, NotAuthenticated, NotConnected, RateLimited
from engine.core.events import HaltChanged
from engine.core.model import DAY, MINUTE, NANOS, AssetClass, Bar, Instrument, Quote, utc
from engine.feeds.alpaca import AlpacaSource, instruments
from engine.ops.errors import UserError
from tests.feeds.listening import ENOUGH_S, Listener
from tests.loopback.alpaca_data import KEY, SECRET, AlpacaData
from tests.loopback.faults import GARBAGE, Fault
from tests.loopback.serving import serving

NOON = 1_718_633_460 * NANOS  # 2024-06-17T14:11:00Z
STOCKS = [
    Instrument(symbol, AssetClass.STOCK, Decimal("0.01"), Decimal(1), venue="alpaca")
    for symbol in ("AAPL", "alpaca:SPIP")
]
QUOTE = {
    "T": "q", "S": "SPIP", "bx": "V", "bp": 25.41, "bs": 35, "ax": "V", "ap": 25.43, "as": 30,
    "c": ["R"], "z": "B", "t": NOON + 5,
}  # fmt: skip
BAR = {
    "T": "b", "S": "AAPL", "o": 177.94, "c": 178.005, "h": 178.01, "l": 177.9, "v": 8547,
    "t": NOON, "n": 66, "vw": 177.987562,
}  # fmt: skip


@pytest_asyncio.fixture
async def server() -> AsyncIterator[AlpacaData]:
    made = AlpacaData()
    async with serving(made):
        yield made


def login(server: AlpacaData, secret: str = SECRET) -> Login:
    keys = SecretStr(KEY), SecretStr(secret)
    return Login(*keys, data_url=server.url, data_stream_url=server.stream_url)


@pytest_asyncio.fixture
async def source(server: AlpacaData) -> AsyncIterator[AlpacaSource]:
    made = AlpacaSource(login(server), STOCKS)
    yield made
    await made.close()


async def test_quotes_bars_corrections_and_halts_come_as_what_they_are(
    server: AlpacaData, source: AlpacaSource
) -> None:
    status = {"T": "s", "S": "AAPL", "z": "C", "t": NOON, "rc": "T1", "rm": "[b]News\x1b[2J"}
    async with Listener(source, server.streams) as listener:
        assert set(server.subscribed["quotes"]) == {"AAPL", "SPIP"}
        assert set(server.subscribed) >= {"bars", "updatedBars", "statuses"}
        server.say(QUOTE, BAR, BAR | {"T": "u", "v": 9000})
        server.say(status | {"sc": "H", "sm": "Trading Halt"}, status | {"sc": "Q"})
        server.say(status | {"sc": "T", "sm": "Trading Resumption"}, {"T": "o", "S": "AAPL"})
        server.say(QUOTE | {"S": "OTHER"}, QUOTE | {"bp": None, "ap": "1e999x"})
        quote, bar, corrected, halt, resumption, nothing = await listener.until(6)
    assert quote == Quote("alpaca:SPIP", NOON + 5, 25.41, 25.43, 35, 30)
    assert bar == Bar("AAPL", NOON + MINUTE, 177.94, 178.01, 177.9, 178.005, 8547)
    assert isinstance(corrected, Bar)
    assert (corrected.ts, corrected.volume) == (NOON + MINUTE, 9000)
    assert isinstance(halt, HaltChanged)
    assert halt.halted
    assert "\x1b" not in halt.reason
    assert "News" in halt.reason
    assert isinstance(resumption, HaltChanged)
    assert not resumption.halted
    assert isinstance(nothing, Quote)
    assert not nothing.is_sound


async def test_a_halt_that_ended_while_nobody_listened_is_over_with_the_next_bar(
    server: AlpacaData, source: AlpacaSource
) -> None:
    """Not with one of trades before it listened, nor in a halt that it heard of."""
    later = time.time_ns() + MINUTE
    halt = {"T": "s", "S": "SPIP", "t": NOON, "sc": "H", "sm": "Trading Halt", "rc": "", "rm": ""}
    for _ in range(2):
        async with Listener(source, server.streams) as listener:
            server.say(BAR, BAR | {"t": later}, BAR | {"t": later + MINUTE})
            server.say(halt, BAR | {"S": "SPIP", "t": later})
            old, resumption, *bars, halted, last = await listener.until(6)
        assert resumption == HaltChanged("AAPL", False)
        assert isinstance(halted, HaltChanged)
        assert halted.halted
        assert all(isinstance(bar, Bar) for bar in (old, *bars, last))


async def test_a_part_of_a_message_is_none_and_ends_the_stream_which_can_be_opened_again(
    server: AlpacaData, source: AlpacaSource
) -> None:
    """MessagePack that is cut, at every byte, or no such thing."""
    with server.streams.withheld() as said:
        server.say(QUOTE, BAR)
    (whole,) = said
    assert isinstance(whole, bytes)
    for part in (*(whole[:length] for length in range(len(whole))), GARBAGE):
        async with Listener(source, server.streams) as listener:
            server.streams.say(part)
            with pytest.raises(NotConnected):
                await listener.until(1)
            assert not listener.heard
    async with Listener(source, server.streams) as listener:
        server.streams.say(whole)
        assert len(await listener.until(2)) == 2


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engine.brokers.alpaca.stream", raising=False)
    monkeypatch.setitem(sys.modules, "alpaca.trading.stream", None)
    with pytest.raises(UserError, match=r"pip install 'tradebot-tui\[alpaca\]'"):
        instruments(Login(SecretStr(KEY), SecretStr(SECRET)), ["AAPL"])


@pytest.mark.parametrize("feed", ["iex", "sip"])
async def test_stocks_come_from_the_feed_that_is_asked_for(server: AlpacaData, feed: str) -> None:
    source = AlpacaSource(replace(login(server), feed=feed), STOCKS)
    async with Listener(source, server.streams):
        await source.quotes()
        await source.history("AAPL", 1, NOON)
    await source.close()
    assert server.feeds == [feed] * 3


async def test_a_stock_at_a_price_band_is_halted_until_it_leaves_it(
    server: AlpacaData, source: AlpacaSource
) -> None:
    band = {"T": "l", "S": "SPIP", "u": 26.0, "d": 24.0, "i": "B", "t": NOON, "z": "C"}
    resumed = {"T": "s", "S": "SPIP", "t": NOON, "sc": "T", "sm": "Trading Resumption"}
    async with Listener(source, server.streams) as listener:
        assert set(server.subscribed["lulds"]) == {"AAPL", "SPIP"}
        server.say(QUOTE | {"bp": 26.0, "ap": 0}, band, QUOTE, QUOTE | {"bp": 26.0, "ap": 0})
        server.say(QUOTE | {"bp": 26.01, "ap": 0}, QUOTE, QUOTE | {"bp": 0, "ap": 24.0})
        server.say(resumed, QUOTE | {"bp": 0, "ap": 24.0}, band | {"u": "x", "d": None}, QUOTE)
        heard = await listener.until(12)
    halts = {n: (h.halted, h.reason) for n, h in enumerate(heard) if isinstance(h, HaltChanged)}
    assert halts == {
        2: (True, "limit up: the bid is at the upper price band 26"),  # before its quote
        5: (False, ""),
        7: (True, "limit down: the ask is at the lower price band 24"),
        9: (False, "Trading Resumption"),  # its bands are new ones, and are not told yet
    }


async def test_an_error_that_the_stream_is_told_ends_it_with_its_words(
    server: AlpacaData, source: AlpacaSource
) -> None:
    """The library would log it alone, and nothing would ever come."""
    async with Listener(source, server.streams) as listener:
        server.say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
        with pytest.raises(NotConnected, match="Alpaca's stream: symbol limit exceeded"):
            await listener.until(1)


async def test_crypto_speaks_the_same(server: AlpacaData) -> None:
    coin = Instrument("BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"))
    source = AlpacaSource(login(server), [coin], crypto=True)
    server.quotes["BTC/USD"] = {"bp": 1, "ap": 2, "bs": 3, "as": 4, "t": "2024-06-17T14:11:00Z"}
    async with Listener(source, server.streams) as listener:
        assert not server.subscribed.keys() & {"statuses", "lulds"}
        server.say(QUOTE | {"S": "BTC/USD"})
        assert len(await listener.until(1)) == 1
    assert await source.quotes() == [Quote("BTC/USD", NOON, 1, 2, 3, 4)]
    await source.close()


async def test_a_stream_that_is_lost_says_so(server: AlpacaData, source: AlpacaSource) -> None:
    async with Listener(source, server.streams) as listener:
        server.say(QUOTE)
        await listener.until(1)
        await server.streams.close()
        with pytest.raises(NotConnected, match="Alpaca's stream"):
            await listener.until(2)
        assert len(listener.heard) == 1


async def test_it_ends_at_once_in_the_middle_of_a_flood(
    server: AlpacaData, source: AlpacaSource
) -> None:
    async def flood() -> None:
        while True:
            server.say(*[QUOTE] * 10)
            await asyncio.sleep(0.001)

    flooding = asyncio.create_task(flood())
    for _ in range(10):
        async with asyncio.timeout(ENOUGH_S), Listener(source, server.streams) as listener:
            await listener.until(100)
    flooding.cancel()


async def test_wrong_keys_are_told_without_the_keys(
    server: AlpacaData, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = AlpacaSource(login(server, "hunter2"), STOCKS)
    with pytest.raises(NotAuthenticated) as caught:
        await anext(source.stream())
    await source.close()
    assert str(caught.value) == "Alpaca's stream: auth failed"
    assert "hunter2" not in caplog.text


async def test_a_server_that_takes_no_stream_is_not_connected(
    server: AlpacaData, source: AlpacaSource
) -> None:
    server.streams.refuses = True
    with pytest.raises(NotConnected):
        await anext(source.stream())


async def test_the_newest_quotes_are_asked_for(server: AlpacaData, source: AlpacaSource) -> None:
    row = {"t": "2024-06-17T14:11:00.123456789Z", "ap": 161.11, "as": 13, "bp": 161.1, "bs": 2}
    server.quotes = {"AAPL": row, "SPIP": row | {"bp": 0}}
    apple, other = await source.quotes()
    assert apple == Quote("AAPL", NOON + 123_456_789, 161.1, 161.11, 2, 13)
    assert other.symbol == "alpaca:SPIP"
    assert not other.is_sound
    assert server.faults.requests["quotes"] == 1


@pytest.mark.parametrize(
    ("fault", "meant"),
    [
        (Fault.RESET, InDoubt),
        (Fault.SERVER_ERROR, InDoubt),
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.UNAUTHORIZED, NotAuthenticated),
        (Fault.GARBAGE, InDoubt),
        (Fault.TRUNCATED, InDoubt),
    ],
)
async def test_a_request_that_fails_is_made_once_and_told_as_what_it_is(
    server: AlpacaData, source: AlpacaSource, fault: Fault, meant: type[Exception]
) -> None:
    server.quotes = {"AAPL": {"t": "2024-06-17T14:11:00Z", "ap": 2, "as": 1, "bp": 1, "bs": 1}}
    server.faults.plan("quotes", fault)
    with pytest.raises(meant):
        await source.quotes()
    assert server.faults.requests["quotes"] == 1
    assert len(await source.quotes()) == 1


async def test_history_ends_where_it_is_asked_to(server: AlpacaData, source: AlpacaSource) -> None:
    times = [f"2024-06-17T14:{minute:02}:00Z" for minute in range(1, 30)]
    row: dict[str, Any] = {"o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100}
    server.bars["SPIP"] = [row | {"t": time} for time in times]
    bars = await source.history("alpaca:SPIP", 5, NOON)
    assert [bar.ts for bar in bars] == [NOON - minute * MINUTE for minute in (4, 3, 2, 1, 0)]
    assert bars[0] == Bar("alpaca:SPIP", NOON - 4 * MINUTE, 10, 11, 9, 10.5, 100)
    assert await source.history("AAPL", 5, NOON) == []


@pytest.mark.parametrize(
    ("interval", "frame"), [(5 * MINUTE, "5Min"), (240 * MINUTE, "4Hour"), (DAY, "1Day")]
)
async def test_bars_of_a_span_come_page_by_page(
    server: AlpacaData,
    source: AlpacaSource,
    interval: int,
    frame: str,
) -> None:
    first = NOON - 10_004 * interval
    starts = [first + number * interval for number in range(10_004)]
    row: dict[str, Any] = {"o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100}
    server.bars["SPIP"] = [row | {"t": utc(ts).isoformat()[:19] + "Z"} for ts in starts]
    span = starts[1], starts[-1] + interval - 1  # the last one is still open at the end
    pages = [page async for page in source.bars("alpaca:SPIP", interval, *span)]
    assert [bar.start for page in pages for bar in page] == starts[1:-1]
    assert {bar.interval for page in pages for bar in page} == {interval}
    assert [len(page) for page in pages] == [10_000, 2]
    assert server.timeframes == {frame}


async def test_bars_of_a_second_are_refused(source: AlpacaSource) -> None:
    with pytest.raises(UserError, match="less than a minute"):
        await anext(source.bars("AAPL", NANOS, 0, NOON))
