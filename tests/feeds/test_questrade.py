"""Questrade's market data, through httpx and websockets, from servers that speak its protocol."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.base import InDoubt, NotAuthenticated, NotConnected, NotPermitted, RateLimited
from engine.brokers.questrade import Login, QuestradeBroker, open_session, wire
from engine.brokers.questrade.session import Session
from engine.core.events import FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import DAY, MINUTE, NANOS, AssetClass, Bar, Idempotency, Instrument, Quote
from engine.feeds import live, questrade
from engine.feeds.questrade import MOST_SYMBOLS, QuestradeSource
from engine.ops.errors import UserError
from tests.feeds.listening import Clock, Heard, Listener
from tests.loopback.faults import Fault
from tests.loopback.questrade import FIRST_TOKEN, QuestradeServer
from tests.loopback.venue import Venue

SHOP = Instrument(
    "SHOP.TO", AssetClass.STOCK, Decimal("0.01"), Decimal(1), "CAD", calendar="XTSE",
    venue="questrade",
)  # fmt: skip
AAPL = replace(SHOP, symbol="AAPL", currency="USD", calendar="XNYS")
OURS = [replace(i, symbol=f"questrade:{i.symbol}") for i in (SHOP, AAPL)]
SHOP_ID, AAPL_ID = 8049, 8050
NOON = 1_718_640_000 * NANOS  # 2024-06-17T16:00:00Z
PRICES = {"open": 10, "high": 12.5, "low": 9, "close": 11, "volume": 100, "VWAP": 10.5}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[QuestradeServer]:
    made = QuestradeServer(Venue([SHOP, AAPL], Idempotency.NONE))
    await made.start()
    for symbol in ("SHOP.TO", "AAPL"):
        made.venue.quote(symbol, 99, 101, 3)
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def session(server: QuestradeServer, tmp_path: Path, clock: Clock) -> AsyncIterator[Session]:
    login = Login(SecretStr(FIRST_TOKEN), tmp_path / "t.json", url=server.login_url, timeout_s=4.0)
    made = open_session(login, clock)
    made.join()
    yield made
    await made.leave()


@pytest_asyncio.fixture
async def source(session: Session) -> AsyncIterator[QuestradeSource]:
    made = QuestradeSource(session, OURS)
    yield made
    await made.close()


def candle(start: int, interval: int = MINUTE, **changes: object) -> dict[str, Any]:
    return {"start": wire.iso(start), "end": wire.iso(start + interval)} | PRICES | changes


@asynccontextmanager
async def listening(source: QuestradeSource, server: QuestradeServer) -> AsyncGenerator[Listener]:
    """It has been told how all stands."""
    async with Listener(source, server.quote_streams) as listener:
        await listener.until(2 * len(OURS))
        yield listener


# --- how symbols trade ---------------------------------------------------------------------------


async def test_symbols_are_instruments_as_questrade_trades_them(
    server: QuestradeServer, session: Session
) -> None:
    server.details["AAPL"] = {
        "currency": "USD", "listingExchange": "NASDAQ",
        "minTicks": [{"pivot": 0, "minTick": 0.0001}, {"pivot": 1, "minTick": 0.01}],
    }  # fmt: skip
    found = await questrade.instruments(session, ["SHOP.TO", "AAPL"])
    assert found == [SHOP, AAPL]
    assert server.faults.requests["symbol"] == 3, "one for each number, one for all details"


@pytest.mark.parametrize(
    ("name", "details", "reason"),
    [
        ("NOSUCH", {}, "has no NOSUCH"),
        ("AAPL", {"isTradable": False}, "does not trade"),
        ("AAPL", {"isQuotable": False}, "does not trade"),
        ("AAPL", {"securityType": "Index"}, "does not trade"),
        ("AAPL", {"listingExchange": "L\x1b[2J"}, r"listed at L \(2J, whose hours"),
    ],
)
async def test_what_cannot_be_traded_is_refused(
    server: QuestradeServer, session: Session, name: str, details: dict[str, Any], reason: str
) -> None:
    server.details["AAPL"] = details
    with pytest.raises(UserError, match=reason):
        await questrade.instruments(session, [name])


async def test_more_symbols_than_bars_can_be_had_of_are_refused(session: Session) -> None:
    with pytest.raises(UserError, match="61 symbols"):
        await questrade.instruments(session, [f"S{n}" for n in range(MOST_SYMBOLS + 1)])


async def test_a_login_that_takes_a_person_says_so(
    server: QuestradeServer, session: Session
) -> None:
    server.refresh_token = "another"
    with pytest.raises(UserError, match="make a new token by hand"):
        await questrade.instruments(session, ["AAPL"])


# --- the stream ----------------------------------------------------------------------------------


async def test_a_stream_tells_how_it_stands_and_then_what_changes(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    async with listening(source, server) as listener:
        assert server.quoted == {"SHOP.TO", "AAPL"}
        quotes = [d for d in listener.heard if isinstance(d, Quote)]
        assert [(q.symbol, q.bid, q.ask) for q in quotes] == [(i.symbol, 99, 101) for i in OURS]
        halts = [d for d in listener.heard if isinstance(d, HaltChanged)]
        assert [halt.halted for halt in halts] == [False, False]
        listener.heard.clear()
        server.say_quote("AAPL", bidPrice=100.5, bidSize=7)
        server.say_quote("AAPL", isHalted=True, bidPrice=None, askPrice=None)
        server.say_quote("AAPL", isHalted=True)
        server.quote_streams.say('{"quotes": [{"symbolId": 1}]}')
        server.quote_streams.say("garbage")
        server.quote_streams.say('{"quotes": [{"symbolId": 8049, "bidPrice": "much"}]}')
        server.say_quote("AAPL", isHalted=False)
        first, halt, nothing, quote, resumption, last = await listener.until(6)
    assert isinstance(first, Quote)
    assert (first.symbol, first.bid, first.bid_size) == ("questrade:AAPL", 100.5, 7)
    assert isinstance(halt, HaltChanged)
    assert halt.halted
    assert isinstance(nothing, Quote)
    assert not nothing.is_sound
    assert isinstance(quote, Quote)
    assert isinstance(resumption, HaltChanged)
    assert not resumption.halted
    assert isinstance(last, Quote)
    assert last.is_sound


async def test_a_delayed_quote_is_no_price(
    server: QuestradeServer, source: QuestradeSource, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(source, server) as listener:
        listener.heard.clear()
        for delay in (15, True, 15):
            server.say_quote("AAPL", delay=delay, bidPrice=1)
        server.say_quote("AAPL", bidPrice=100)
        (quote,) = await listener.until(1)
    assert isinstance(quote, Quote)
    assert quote.bid == 100
    assert caplog.text.count("are delayed") == 1


async def test_where_all_quotes_are_delayed_it_is_told(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    server.quotes = {"delay": 15}
    stream = source.stream()
    assert not await anext(stream)
    with pytest.raises(NotPermitted, match="subscribe to a package of real-time data"):
        await anext(stream)
    assert await source.quotes() == []


async def test_what_is_asked_for_and_is_no_news_keeps_its_time(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    first = await source.quotes()
    assert await source.quotes() == first
    server.venue.quote("AAPL", 98, 101, 3)
    shop, apple = await source.quotes()
    assert shop == first[0]
    assert apple.ts > first[1].ts
    server.quotes = {"bidPrice": None}
    nothing = await source.quotes()
    assert not any(quote.is_sound for quote in nothing)
    assert await source.quotes() == nothing


async def test_the_broker_and_the_source_share_a_login_and_have_streams_of_their_own(
    server: QuestradeServer, session: Session, source: QuestradeSource, clock: Clock
) -> None:
    broker = QuestradeBroker(OURS, session)
    await broker.connect()
    notified = broker.stream_fills()
    waiting = asyncio.ensure_future(anext(notified))
    async with listening(source, server) as listener:
        await server.streams.has_joined()
        clock.ahead += 1800 * NANOS
        assert not await broker.get_positions()
        listener.heard.clear()
        server.say_quote("AAPL", bidPrice=100)
        assert len(await listener.until(1)) == 1
        assert (server.streams.count, server.quote_streams.count) == (1, 1)
        assert not waiting.done()
        assert server.logins == [FIRST_TOKEN, "refresh-canary-1"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await broker.disconnect()
    assert len(await source.quotes()) == 2, "the session stays open for it"


async def test_a_stream_that_is_lost_says_so(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    async with listening(source, server) as listener:
        await server.cut_quotes()
        with pytest.raises(NotConnected, match="Questrade's stream ends"):
            await listener.until(100)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.HANG, InDoubt),
        (Fault.RESET, InDoubt),
        (Fault.SERVER_ERROR, InDoubt),
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.GARBAGE, InDoubt),
        (Fault.TRUNCATED, InDoubt),
    ],
)
async def test_a_request_that_fails_is_made_once(
    server: QuestradeServer, source: QuestradeSource, fault: Fault, error: type[Exception]
) -> None:
    await source.quotes()
    server.faults.plan("quote", fault)
    with pytest.raises(error):
        await source.quotes()
    assert server.faults.requests["quote"] == 2


async def test_a_slow_answer_is_one(server: QuestradeServer, source: QuestradeSource) -> None:
    server.faults.plan("quote", Fault.SLOW)
    assert len(await source.quotes()) == 2


async def test_an_access_token_that_became_invalid_is_refreshed_while_it_streams(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    async with listening(source, server) as listener:
        server.access_tokens.clear()
        assert len(await source.quotes()) == 2
        assert len(server.logins) == 2
        listener.heard.clear()
        server.say_quote("AAPL", bidPrice=100)
        assert len(await listener.until(1)) == 1


async def test_one_that_stays_invalid_is_told_and_not_tried_for_ever(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    server.expired = True
    for _ in range(5):
        with pytest.raises(NotAuthenticated, match="QUESTRADE_REFRESH_TOKEN"):
            await anext(source.stream())
    assert server.faults.requests.total() == 4, "two logins, and the question twice"


async def test_a_stream_that_does_not_take_the_token_is_not_connected(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    server.quote_streams.refuses = True
    with pytest.raises(NotConnected):
        await anext(source.stream())


# --- the feed ------------------------------------------------------------------------------------


async def test_a_stream_that_is_lost_is_opened_again(
    server: QuestradeServer, session: Session, source: QuestradeSource
) -> None:
    session.join()  # the feed closes the source, and so does the fixture
    heard = Heard(source)
    await heard.hears(QuoteUpdate, 2)
    await server.cut_quotes()
    connected, lost, again = await heard.hears(FeedChanged, 3)
    await heard.close()
    assert [e.status for e in (connected, lost, again)] == [
        "connected", "disconnected", "connected",
    ]  # fmt: skip
    assert "Questrade's stream ends" in lost.reason


async def test_a_mute_stream_is_found_and_opened_anew(
    server: QuestradeServer,
    session: Session,
    source: QuestradeSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session.join()
    heard = Heard(source)
    await heard.hears(QuoteUpdate, 2)
    monkeypatch.setattr(live, "LOOK_S", 0.05)
    await server.faults.has_come("quote", 5)
    (connected,) = await heard.hears(FeedChanged, 1)
    assert connected.status == "connected", "a quiet market is no mute stream"
    server.venue.quote("AAPL", 98, 101, 3)
    lost = (await heard.hears(FeedChanged, 2))[1]
    await heard.close()
    assert lost.reason == "questrade: the stream is mute"


# --- bars ----------------------------------------------------------------------------------------


async def test_the_bar_of_each_minute_is_told_once(
    server: QuestradeServer,
    source: QuestradeSource,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one symbol at once, of the other one late; and of what lies around that minute nothing."""
    monkeypatch.setattr(questrade, "SETTLE_S", 0.05)
    monkeypatch.setattr(questrade, "AGAIN_S", 0.5)
    clock.set(NOON - NANOS // 2)
    server.candles = [candle(NOON - 2 * MINUTE), candle(NOON - MINUTE), candle(NOON, close=10)]
    server.late.add("AAPL")
    async with listening(source, server) as listener:
        listener.heard.clear()
        (first,) = await listener.until(1)
        await server.faults.has_come("bars", 2)
        server.late.clear()
        _, late = await listener.until(2)
        assert server.faults.requests["bars"] == 3
        clock.set(NOON + MINUTE - NANOS // 5)
        server.say_quote("AAPL", bidPrice=100)  # the minute that begins is waited for in real time
        await listener.until(3)
    assert first == Bar("questrade:SHOP.TO", NOON, 10, 12.5, 9, 11, 100)
    assert late == Bar("questrade:AAPL", NOON, 10, 12.5, 9, 11, 100)


async def test_bars_of_delayed_symbols_are_not_asked_for_and_a_failure_ends_no_stream(
    server: QuestradeServer,
    source: QuestradeSource,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questrade, "SETTLE_S", 0.05)
    monkeypatch.setattr(questrade, "AGAIN_S", 0.1)
    clock.set(NOON - NANOS // 2)
    server.candles = [candle(NOON - MINUTE)]
    server.faults.plan("bars", Fault.SERVER_ERROR)
    async with listening(source, server) as listener:
        server.say_quote("AAPL", delay=15)
        listener.heard.clear()
        (bar,) = await listener.until(1)
    assert isinstance(bar, Bar)
    assert bar.symbol == "questrade:SHOP.TO"
    assert server.faults.requests["bars"] == 2, "once more after the failure, of one symbol"


async def test_history_ends_where_it_is_asked_to(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    night = 3_000 * MINUTE  # more than an answer holds
    starts = [NOON - n * MINUTE for n in range(1, 4)]
    starts += [NOON - night - n * MINUTE for n in range(1, 4)]
    server.candles = [candle(start) for start in [*starts, NOON]]
    bars = await source.history("questrade:AAPL", 5, NOON + 30 * NANOS)
    assert [bar.start for bar in bars] == sorted(starts)[1:]
    assert bars[-1] == Bar("questrade:AAPL", NOON, 10, 12.5, 9, 11, 100)
    assert len(await source.history("questrade:AAPL", 100, NOON)) == 6


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE, 240 * MINUTE, DAY])
async def test_bars_of_a_span_come_page_by_page_and_whole(
    server: QuestradeServer, source: QuestradeSource, interval: int
) -> None:
    """What lies over an edge is told cut off: Toronto's days are none of UTC's."""
    first = NOON - NOON % DAY + 4 * 60 * MINUTE - 2_004 * interval
    starts = [first + n * interval for n in range(2_004)]
    server.candles = [candle(start, interval) for start in starts]
    span = first + interval - NANOS, starts[-1] + interval - 1  # the last one is still open
    pages = [page async for page in source.bars("questrade:AAPL", interval, *span)]
    assert [bar.start for page in pages for bar in page] == starts[1:-1]
    assert {bar.interval for page in pages for bar in page} == {interval}
    assert len(pages) == 2


async def test_bars_of_no_length_that_questrade_has_are_refused(source: QuestradeSource) -> None:
    with pytest.raises(UserError, match="no bars of such a length"):
        await anext(source.bars("questrade:AAPL", NANOS, 0, NOON))


async def test_prices_that_are_null_make_no_sound_bar(
    server: QuestradeServer, source: QuestradeSource
) -> None:
    server.candles = [candle(NOON - MINUTE, low=None)]
    (bar,) = await source.history("questrade:AAPL", 1, NOON)
    assert not bar.is_sound
