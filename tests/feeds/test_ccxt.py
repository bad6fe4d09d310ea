"""The market data of crypto exchanges, through the real ccxt, from servers that speak their
protocols."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal, getcontext
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from engine.brokers.base import NotConnected, RateLimited
from engine.brokers.ccxt.venues import Access
from engine.core.events import BarClosed, FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import DAY, MINUTE, NANOS, AssetClass, Bar, Instrument, Quote
from engine.feeds.ccxt import HALTED, CcxtSource, instruments
from engine.ops.errors import UserError
from tests.feeds.listening import Heard, Listener
from tests.loopback.binance import Binance
from tests.loopback.coinbase import Coinbase
from tests.loopback.faults import Fault
from tests.loopback.kraken import KEPT, Kraken
from tests.loopback.serving import Server
from tests.loopback.venue import Venue

NOON = 1_718_633_460 * NANOS  # 2024-06-17T14:11:00Z
TIMEOUT_S = 1.0
MANY = 120
"""Requests for bars at once: more than any of them takes, however slow the machine is."""
SERVERS = {"binance": Binance, "kraken": Kraken, "coinbase": Coinbase}
LOT = Decimal("0.00001")


class Place:
    """An exchange whose clock reads `now`, as a server, and what listens to it. Its second pair
    carries the exchange's name in front of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = NOON + 30 * NANOS
        self.btc, self.eth = (
            ("BTC/USDT", "ETH/USDT") if name == "binance" else ("BTC/USD", "ETH/USD")
        )
        self.traded = [
            Instrument(symbol, AssetClass.CRYPTO, tick, LOT, venue=name, currency=symbol[4:])
            for symbol, tick in ((self.btc, Decimal("0.01")), (self.eth, Decimal("0.1")))
        ]
        self.traded[1] = replace(self.traded[1], min_quantity=10 * LOT)
        self.venue = Venue(self.traded, now=lambda: self.now)
        self.spoken: Any = SERVERS[name](self.venue)
        self.market, self.faults = self.spoken.market, self.spoken.faults
        self.server = Server(self.spoken.app, self.faults)
        self.ours = self.btc, f"{name}:{self.eth}"

    async def start(self) -> None:
        await self.server.start()
        self.access = Access(paper=False, url=self.server.url, timeout_s=TIMEOUT_S)
        listened = [
            replace(one, symbol=ours) for one, ours in zip(self.traded, self.ours, strict=True)
        ]
        self.source = CcxtSource(self.name, self.access, listened)

    async def stop(self) -> None:
        await self.source.close()
        await self.server.stop()

    def say(self, symbol: str, bid: float, ask: float, size: float = 2.0) -> None:
        self.spoken.tell_quote(Quote(symbol, self.now, bid, ask, size, size + 1))


@pytest_asyncio.fixture(params=SERVERS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    made = Place(request.param)
    await made.start()
    yield made
    await made.stop()


def at(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", names, indirect=True)


def listening(place: Place) -> Listener:
    return Listener(place.source, place.market.streams)


async def is_lost(listener: Listener) -> str:
    """Why."""
    with pytest.raises(NotConnected) as caught:
        await listener.until(sys.maxsize)
    return str(caught.value)


def bar(symbol: str, close: int = 1, price: float = 10.0, volume: float = 5.0) -> Bar:
    """The one that closes `close` minutes after noon."""
    ts = NOON + close * MINUTE
    return Bar(symbol, ts, price, price + 2, price - 1, price + 1, volume)


# --- how they trade ------------------------------------------------------------------------------


async def test_how_a_pair_trades_is_asked(place: Place) -> None:
    first, second = await instruments(place.name, place.access, [place.btc, place.eth])
    assert (first.symbol, first.venue, first.asset_class) == (place.btc, place.name, "crypto")
    assert (first.tick, first.lot) == (Decimal("0.01"), LOT)
    assert (second.tick, second.min_quantity) == (Decimal("0.1"), 10 * LOT)
    assert first.currency == place.btc[4:]
    assert first.calendar == "24/7"
    assert first.commission_in_base is (place.name == "binance")
    assert (first.min_notional > 0) is (place.name != "binance"), "as the server tells it"


async def test_what_is_not_there_is_named_with_what_is(place: Place) -> None:
    with pytest.raises(UserError, match=f"does not trade BTC/EUR\n.*{place.btc}"):
        await instruments(place.name, place.access, [place.eth, "BTC/EUR"])


async def test_what_is_halted_is_not_traded(place: Place) -> None:
    place.market.halted.add(place.eth)
    with pytest.raises(UserError, match=f"does not trade {place.eth}\n.*{place.btc}"):
        await instruments(place.name, place.access, [place.btc, place.eth])


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.RESET, Fault.SERVER_ERROR, Fault.GARBAGE])
async def test_an_exchange_that_does_not_tell_is_not_connected(place: Place, fault: Fault) -> None:
    place.faults.plan("markets", *[fault] * 3)
    with pytest.raises(NotConnected, match=place.name):
        await instruments(place.name, place.access, [place.btc])


@at("binance")
async def test_of_thousands_the_wanted_pairs_alone_are_asked_for(place: Place) -> None:
    await instruments(place.name, place.access, [place.btc])
    assert place.spoken.listed == 1
    assert place.faults.requests["markets"] == 1


async def test_without_the_library_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    monkeypatch.delitem(sys.modules, "engine.brokers.ccxt.client", raising=False)
    monkeypatch.delattr("engine.brokers.ccxt.client", raising=False)
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(UserError, match=r"pip install 'tradebot-tui\[ccxt\]'"):
        await place.source.quotes()


# --- the stream ----------------------------------------------------------------------------------


async def test_quotes_come_under_our_names(place: Place) -> None:
    async with listening(place) as listener:
        before = time.time_ns()
        place.say(place.btc, 100.5, 100.75)
        place.say(place.eth, 7.25, 7.5, size=0.5)
        first, second = await listener.until(2)
    assert isinstance(first, Quote)
    assert first == Quote(place.btc, first.ts, 100.5, 100.75, 2.0, 3.0)
    assert second == Quote(place.ours[1], second.ts, 7.25, 7.5, 0.5, 1.5)
    if place.name == "coinbase":
        assert first.ts == place.now, "as it was said"
    else:
        assert before <= first.ts <= time.time_ns(), "as it came"


async def test_a_halt_and_its_end_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.feeds.ccxt.HALTS_S", 0.05)
    btc, eth = place.ours
    async with listening(place) as listener:
        assert await listener.until(2) == [HaltChanged(btc, False), HaltChanged(eth, False)]
        place.market.halted.add(place.eth)
        assert (await listener.until(3))[-1] == HaltChanged(eth, True, HALTED)
        place.faults.plan("markets", Fault.SERVER_ERROR)
        place.market.halted.clear()
        assert (await listener.until(4))[-1] == HaltChanged(eth, False)


async def test_of_many_messages_none_is_left_out(place: Place) -> None:
    """ccxt's own reading keeps the last of those that come together."""
    async with listening(place) as listener:
        for number in range(1, 501):
            place.say(place.btc, number, number + 0.5)
        heard = await listener.until(500)
    assert [quote.bid for quote in heard if isinstance(quote, Quote)] == [*range(1, 501)]


@pytest.mark.parametrize("said", ["null", '"1e999x"', "true", '"\uff11"', '""'])
async def test_a_price_that_is_no_number_is_no_quote(
    place: Place, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say = place.market.streams.say

    def changed(message: str) -> None:
        say(re.sub(r'"?7777\.0+"?', said, message))

    monkeypatch.setattr(place.market.streams, "say", changed)
    async with listening(place) as listener:
        place.say(place.btc, 7777.0, 8888.0)
        (quote,) = await listener.until(1)
    assert isinstance(quote, Quote)
    assert not quote.is_sound
    assert quote.ask == 8888.0


async def test_the_rules_of_decimal_numbers_stay_as_they_were(place: Place) -> None:
    before = repr(getcontext())
    await instruments(place.name, place.access, [place.btc])
    place.market.add([bar(place.btc)])
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)
        await place.source.quotes()
        await place.source.history(place.btc, 5, NOON + 5 * MINUTE)
    assert repr(getcontext()) == before


def heard_bars(listener: Listener) -> list[Bar]:
    return [datum for datum in listener.heard if isinstance(datum, Bar)]


@at("binance", "kraken")
async def test_a_candle_is_told_once_and_when_it_is_closed(place: Place) -> None:
    forming = bar(place.btc, volume=4)
    closed, next_one = bar(place.btc), bar(place.btc, 2, 20)
    async with listening(place) as listener:
        place.spoken.tell_candle(bar(place.btc, 0), closed=False)
        for _ in range(3):
            place.spoken.tell_candle(forming, closed=False)
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)
        assert not heard_bars(listener)
        for _ in range(2):
            place.spoken.tell_candle(closed, closed=True)
        place.spoken.tell_candle(next_one, closed=False)
        await listener.until(2)
        place.spoken.tell_candle(next_one, closed=True)
        place.now = NOON + 3 * MINUTE
        place.spoken.tell_candle(bar(place.btc, 3), closed=False)
        await listener.until(3)
    assert heard_bars(listener) == [closed, next_one]


@at("binance", "kraken")
async def test_a_corrected_candle_is_told_again_with_its_time(place: Place) -> None:
    corrected = bar(place.btc, volume=6)
    async with listening(place) as listener:
        place.spoken.tell_candle(bar(place.btc), closed=True)
        place.spoken.tell_candle(bar(place.btc, 2), closed=False)
        place.spoken.tell_candle(corrected, closed=True)
        await listener.until(2)
    assert heard_bars(listener) == [bar(place.btc), corrected]


@at("kraken")
async def test_a_candle_is_closed_when_its_minute_is_over_though_nobody_says_so(
    place: Place,
) -> None:
    """The time is the exchange's: another pair tells it."""
    async with listening(place) as listener:
        place.now = NOON + MINUTE - 1
        place.spoken.tell_candle(bar(place.btc), closed=False)
        place.spoken.tell_candle(bar(place.eth), closed=False)
        place.say(place.eth, 7.25, 7.5)
        await listener.until(1)
        assert not heard_bars(listener)
        place.now = NOON + MINUTE + 2 * NANOS
        place.spoken.tell_candle(bar(place.eth, 2), closed=False)
        await listener.until(3)
    assert {one.symbol for one in heard_bars(listener)} == {*place.ours}


@at("kraken")
async def test_what_had_closed_before_is_not_told_as_new(place: Place) -> None:
    place.market.add([bar(place.btc, -1), bar(place.btc, 0), bar(place.btc)])
    async with listening(place) as listener:
        place.spoken.tell_candle(bar(place.btc, 2), closed=False)
        await listener.until(1)
    assert heard_bars(listener) == [bar(place.btc)]


async def test_whoever_gives_up_waiting_for_the_markets_ends_nobody_else(place: Place) -> None:
    place.faults.plan("markets", *[Fault.HANG] * 3)
    opening = asyncio.ensure_future(anext(place.source.stream()))
    await place.faults.has_come("markets", 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await place.source.quotes()
    with pytest.raises(NotConnected):
        await opening


@at("coinbase")
async def test_trades_make_bars(place: Place) -> None:
    """The minute in which it began to listen is asked for; those after it are heard whole."""
    first = replace(bar(place.btc), volume=40.0)
    place.market.add([first])
    start = NOON + MINUTE
    async with listening(place) as listener:
        known = (NOON + 20 * NANOS, 5.0, 1.0)
        place.spoken.tell_trades(place.btc, known, kind="snapshot")
        place.spoken.tell_trades(place.btc, (NOON + 40 * NANOS, 9.0, 2.0))
        place.now = start + 50 * NANOS
        seconds = ((5, 10.0, 1.0), (6, 12.5, 0.25), (7, 9.5, 2.0), (50, 11.0, 0.5))
        place.spoken.tell_trades(place.btc, *((start + s * NANOS, p, v) for s, p, v in seconds))
        await listener.until(1)
        assert listener.heard == [first], "as the exchange tells it, and not as a part was heard"
        place.now = start + MINUTE + 2 * NANOS
        place.say(place.eth, 7.25, 7.5)
        await listener.until(3)
    assert heard_bars(listener)[1:] == [Bar(place.btc, start + MINUTE, 10.0, 12.5, 9.5, 11.0, 3.75)]


@at("coinbase")
async def test_a_late_trade_corrects_its_bar(place: Place) -> None:
    start = NOON + MINUTE
    async with listening(place) as listener:
        place.say(place.eth, 7.25, 7.5)
        place.now = start + 61 * NANOS
        place.spoken.tell_trades(place.btc, (start + NANOS, 10.0, 1.0))
        place.spoken.tell_trades(place.btc, (start + 61 * NANOS, 12.0, 1.0))
        place.spoken.tell_trades(place.btc, (start + 59 * NANOS, 11.0, 1.0))
        await listener.until(3)
    first, corrected = heard_bars(listener)
    assert first == Bar(place.btc, start + MINUTE, 10.0, 10.0, 10.0, 10.0, 1.0)
    assert corrected == Bar(place.btc, start + MINUTE, 10.0, 11.0, 10.0, 11.0, 2.0)


@at("coinbase")
async def test_a_minute_with_a_lost_message_is_asked_for(place: Place) -> None:
    start = NOON + MINUTE
    whole = bar(place.btc, 2)
    place.market.add([whole])
    async with listening(place) as listener:
        place.say(place.eth, 7.25, 7.5)
        place.now = start + 10 * NANOS
        place.spoken.tell_trades(place.btc, (start + NANOS, 10.0, 1.0))
        place.spoken.skip()
        place.spoken.tell_trades(place.btc, (start + 9 * NANOS, 10.0, 1.0))
        place.now = start + MINUTE + 5 * NANOS
        place.say(place.eth, 7.25, 7.5)
        await listener.until(3)
    assert heard_bars(listener) == [whole]


@at("coinbase")
async def test_a_message_that_was_lost_around_the_end_of_a_minute_is_of_either(
    place: Place,
) -> None:
    start = NOON + MINUTE
    whole = [bar(place.btc, 2), bar(place.btc, 3, 20)]
    place.market.add(whole)
    async with listening(place) as listener:
        place.say(place.eth, 7.25, 7.5)
        place.now = start + 58 * NANOS
        place.spoken.tell_trades(place.btc, (start + 58 * NANOS, 10.0, 1.0))
        place.spoken.skip()
        place.now = start + 61 * NANOS
        place.spoken.tell_trades(place.btc, (start + 61 * NANOS, 11.0, 1.0))
        place.now = start + 2 * MINUTE + 5 * NANOS
        place.say(place.eth, 7.25, 7.5)
        await listener.until(4)
    assert heard_bars(listener) == whole


@at("coinbase")
async def test_what_the_snapshot_had_is_not_counted_again(place: Place) -> None:
    start = NOON + MINUTE
    async with listening(place) as listener:
        place.say(place.eth, 7.25, 7.5)
        place.now = start + NANOS
        trade = (start + NANOS, 10.0, 1.0)
        place.spoken.tell_trades(place.btc, trade, kind="snapshot")
        place.spoken.repeat()
        place.spoken.tell_trades(place.btc, (start + MINUTE, 10.0, 1.0))
        await listener.until(2)
    assert heard_bars(listener)[0].volume == 1.0


# --- what goes wrong -----------------------------------------------------------------------------


async def test_a_lost_connection_is_told(place: Place) -> None:
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)
        await place.market.streams.close()
        assert place.name in await is_lost(listener)
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)
    assert place.market.streams.count == 0


@pytest.mark.parametrize(
    "said", ['{"garbage', "{]}", "\x00\x1b]52;c;\x07", '{"channel": "ohlc"', "NaN"]
)
async def test_what_is_not_understood_ends_the_connection(place: Place, said: str) -> None:
    """In the library the reading would end, and nobody be told."""
    async with listening(place) as listener:
        place.market.streams.say(said)
        assert place.name in await is_lost(listener)


@pytest.mark.parametrize(
    "fault", [Fault.HANG, Fault.RESET, Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.FORBIDDEN]
)
async def test_a_stream_that_cannot_be_opened_is_not_connected(
    place: Place, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.feeds.ccxt.OPEN_S", 1.0)
    place.faults.plan("stream", fault)
    with pytest.raises(NotConnected, match=place.name):
        await anext(place.source.stream())
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)


async def test_a_listener_that_leaves_at_once_leaves_nothing_behind(place: Place) -> None:
    stream = place.source.stream()
    opening = asyncio.ensure_future(anext(stream))
    await place.faults.has_come("stream", 1)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        await listener.until(1)
        assert len(listener.heard) == 1


# --- the REST interface --------------------------------------------------------------------------


async def test_the_newest_quotes_are_asked_for(place: Place) -> None:
    place.say(place.btc, 100.5, 100.75)
    place.say(place.eth, 7.25, 7.5)
    quotes = {quote.symbol: quote for quote in await place.source.quotes()}
    assert {*quotes} == {*place.ours}
    assert (quotes[place.btc].bid, quotes[place.btc].ask) == (100.5, 100.75)
    if place.name == "coinbase":
        assert quotes[place.btc].ts == place.now, "of the last trade"
        assert place.faults.requests["quotes"] == 2
    else:
        assert (quotes[place.btc].bid_size, quotes[place.btc].ask_size) == (2.0, 3.0)
        assert place.faults.requests["quotes"] == 1


async def test_what_the_stream_told_is_no_news(place: Place) -> None:
    async with listening(place) as listener:
        place.say(place.btc, 100.5, 100.75)
        (told,) = await listener.until(1)
        (asked,) = await place.source.quotes()
        assert isinstance(told, Quote)
        assert asked.ts == told.ts
        place.market.streams.mute = True
        place.now += NANOS
        place.say(place.btc, 100.25, 100.5)
        (asked,) = await place.source.quotes()
        assert asked.ts > told.ts
        assert asked.bid == 100.25


async def test_a_book_without_prices_is_no_quote(place: Place) -> None:
    assert await place.source.quotes() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault.HANG,
        Fault.RESET,
        Fault.SERVER_ERROR,
        Fault.RATE_LIMITED,
        Fault.GARBAGE,
        Fault.TRUNCATED,
        Fault.EMPTY,
    ],
)
async def test_a_request_that_fails_is_made_once(place: Place, fault: Fault) -> None:
    place.say(place.btc, 100.5, 100.75)
    place.faults.plan("bars", fault)
    kind = RateLimited if fault is Fault.RATE_LIMITED else NotConnected
    with pytest.raises(kind):
        await place.source.history(place.btc, 5, NOON)
    assert place.faults.requests["bars"] == 1


async def test_history_ends_where_it_is_asked_to(place: Place) -> None:
    bars = [bar(place.eth, minute, 10.0 + minute) for minute in range(-30, 10)]
    place.market.add(bars)
    symbol = place.ours[1]
    told = await place.source.history(symbol, 5, NOON)
    assert told == [replace(one, symbol=symbol) for one in bars[26:31]]
    assert await place.source.history(place.btc, 5, NOON) == []


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE, 60 * MINUTE, DAY])
async def test_bars_of_a_span_come_page_by_page(place: Place, interval: int) -> None:
    count = {"binance": 1003, "kraken": KEPT - 1, "coinbase": 303}[place.name]
    end = NOON - NOON % interval
    bars = [
        replace(bar(place.btc), ts=end - number * interval, interval=interval)
        for number in range(-1, count)
    ][::-1]
    place.market.add(bars)
    span = bars[1].start, end + interval - 1  # the last one is still open at the end
    pages = [page async for page in place.source.bars(place.btc, interval, *span)]
    assert [one for page in pages for one in page] == bars[1:-1]
    assert len([page for page in pages if page]) == (1 if place.name == "kraken" else 2)


@at("coinbase")
async def test_a_time_without_trades_does_not_end_the_bars(place: Place) -> None:
    place.market.add([bar(place.btc, -1000), bar(place.btc, -1)])
    span = NOON - 1001 * MINUTE, NOON
    pages = [page async for page in place.source.bars(place.btc, MINUTE, *span)]
    assert [one.ts for page in pages for one in page] == [NOON - 1000 * MINUTE, NOON - MINUTE]


@at("kraken")
async def test_bars_that_kraken_does_not_keep_are_not_left_out_silently(place: Place) -> None:
    place.market.add(bar(place.btc, -minute) for minute in range(KEPT + 10))
    with pytest.raises(UserError, match="keeps no bars of that timeframe before 2024-06-17 02:11"):
        await anext(place.source.bars(place.btc, MINUTE, NOON - (KEPT + 5) * MINUTE, NOON))
    assert len(await place.source.history(place.btc, KEPT + 5, NOON)) == KEPT


@pytest.mark.parametrize(
    ("place", "interval"),
    [("kraken", NANOS), ("coinbase", NANOS), ("coinbase", 240 * MINUTE), ("binance", 7 * MINUTE)],
    indirect=["place"],
)
async def test_a_timeframe_that_is_not_there_is_refused(place: Place, interval: int) -> None:
    with pytest.raises(UserError, match=f"{place.name} has no bars of that timeframe\n.*1m"):
        await anext(place.source.bars(place.btc, interval, NOON, NOON + DAY))


async def test_more_than_the_exchange_takes_is_not_asked(place: Place) -> None:
    """And a cancel never waits for it: an account has a share of its own."""
    asking = [place.source.history(place.btc, 1, NOON) for _ in range(MANY)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert any(isinstance(answer, RateLimited) for answer in answers)
    assert place.faults.requests["bars"] < MANY


# --- all together --------------------------------------------------------------------------------


async def test_a_mute_stream_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.feeds.live.LOOK_S", 0.1)
    heard = Heard(place.source)
    try:
        await heard.hears(FeedChanged, check=lambda event: event.status == "connected")
        place.say(place.btc, 100.5, 100.75)
        await heard.hears(QuoteUpdate, check=lambda event: event.quote.bid == 100.5)
        place.market.streams.mute = True
        place.now += NANOS
        place.say(place.btc, 50.5, 50.75)
        await heard.hears(QuoteUpdate, check=lambda event: event.quote.bid == 50.5)
        await heard.hears(FeedChanged, check=lambda event: "mute" in event.reason)
        await place.market.streams.has_joined(2)
    finally:
        await heard.close()


async def test_one_exchange_that_is_down_stops_no_other() -> None:
    good, bad = Place("kraken"), Place("binance")
    await good.start()
    await bad.start()
    await bad.server.stop()
    heard = Heard(good.source, bad.source)
    try:
        await heard.hears(FeedChanged, check=lambda event: event.status == "degraded")
        good.say(good.btc, 100.5, 100.75)
        await heard.hears(QuoteUpdate, check=lambda event: event.quote.bid == 100.5)
        await bad.server.start()
        await heard.hears(FeedChanged, check=lambda event: event.status == "connected")
        bad.say(bad.btc, 99.5, 99.75)
        await heard.hears(QuoteUpdate, check=lambda event: event.quote.symbol == bad.btc)
        bad.spoken.tell_candle(bar(bad.btc), closed=True)
        await heard.hears(BarClosed, check=lambda event: event.bar == bar(bad.btc))
    finally:
        await heard.close()
        await good.stop()
        await bad.stop()
