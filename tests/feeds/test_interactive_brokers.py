"""Interactive Brokers' market data, through ib_async, from a server that speaks as TWS."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from msgspec.structs import replace

from engine.brokers.base import InDoubt, NotConnected, NotPermitted, RateLimited
from engine.brokers.interactive_brokers import Gateway, InteractiveBrokers
from engine.core.events import FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import (
    DAY,
    MINUTE,
    NANOS,
    AssetClass,
    Bar,
    Idempotency,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from engine.feeds import interactive_brokers, live
from engine.feeds.interactive_brokers import MOST_SYMBOLS, InteractiveBrokersSource
from engine.ops.errors import UserError
from tests.feeds.listening import ENOUGH_S, Clock, Heard, Listener
from tests.loopback.faults import Fault
from tests.loopback.ib import IbServer, Row
from tests.loopback.venue import Venue

AAPL = Instrument(
    "AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1), venue="interactive_brokers",
    calendar="XNYS",
)  # fmt: skip
SHOP = replace(AAPL, symbol="SHOP.TO", currency="CAD", calendar="XTSE")
OURS = [replace(i, symbol=f"interactive_brokers:{i.symbol}") for i in (AAPL, SHOP)]
APPLE, SHOPIFY = (i.symbol for i in OURS)
NOON = 1_718_640_000 * NANOS  # 2024-06-17T16:00:00Z


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def server(clock: Clock) -> AsyncIterator[IbServer]:
    made = IbServer(Venue([AAPL, SHOP], Idempotency.NONE, now=clock))
    await made.start()
    made.details["SHOP.TO"] = {"exchange": "TSE"}
    for symbol in ("AAPL", "SHOP.TO"):
        made.venue.quote(symbol, 99, 101, 3)
    yield made
    await made.stop()


def gateway(server: IbServer) -> Gateway:
    return Gateway(port=server.port, timeout_s=1.0)


@pytest_asyncio.fixture
async def source(server: IbServer, clock: Clock) -> AsyncIterator[InteractiveBrokersSource]:
    made = InteractiveBrokersSource(gateway(server), OURS, clock)
    yield made
    await made.close()


def row(start: int, close: float = 11) -> Row:
    return (start, 10, 12.5, 9, close, 100)


def bar(symbol: str, start: int, close: float = 11, interval: int = MINUTE) -> Bar:
    return Bar(symbol, start + interval, 10, 12.5, 9, close, 100, interval)


async def quoted(listener: Listener) -> None:
    """Until there is a whole quote of each symbol; all is forgotten."""
    whole: set[str] = set()
    while len(whole) < len(OURS):
        heard = await listener.until(len(listener.heard) + 1)
        whole = {d.symbol for d in heard if isinstance(d, Quote) and d.is_sound}
    listener.heard.clear()


# --- how symbols trade ---------------------------------------------------------------------------


async def test_symbols_are_instruments_as_they_trade(server: IbServer) -> None:
    server.details["AAPL"] = {"tick": "0.0001"}
    found = await interactive_brokers.instruments(gateway(server), ["AAPL", "SHOP.TO"])
    assert found == [AAPL, SHOP]


@pytest.mark.parametrize(
    ("name", "details", "reason"),
    [
        ("NOSUCH", {}, "has 0 stocks NOSUCH"),
        ("AAPL", {"count": 2}, "has 2 stocks AAPL"),
        ("AAPL", {"exchange": "L\x1b[2J"}, r"listed at L \(2J, whose hours"),
    ],
)
async def test_what_cannot_be_traded_is_refused(
    server: IbServer, name: str, details: dict[str, object], reason: str
) -> None:
    server.details["AAPL"] = details
    with pytest.raises(UserError, match=reason):
        await interactive_brokers.instruments(gateway(server), [name])


async def test_more_symbols_than_bars_can_be_had_of_are_refused(server: IbServer) -> None:
    names = [f"S{n}" for n in range(MOST_SYMBOLS + 1)]
    with pytest.raises(UserError, match="51 symbols"):
        await interactive_brokers.instruments(gateway(server), names)


async def test_without_a_tws_there_is_no_answer(server: IbServer) -> None:
    await server.stop()
    with pytest.raises(NotConnected, match="no TWS or IB Gateway"):
        await interactive_brokers.instruments(gateway(server), ["AAPL"])


# --- the stream ----------------------------------------------------------------------------------


async def test_quotes_and_halts_come_as_they_are(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    async with Listener(source) as listener:
        await quoted(listener)
        server.say_quote("AAPL", 100.5, 101, 7)
        quote = (await listener.until(1))[-1]
        halts: list[bool] = []
        for value, halted in ((0, False), (2, True), (1, True), (0, False)):
            listener.heard.clear()
            server.say_halted("AAPL", value)
            for datum in await listener.until(1):
                if isinstance(datum, HaltChanged):
                    assert (datum.symbol, datum.halted) == (APPLE, halted)
                    halts.append(datum.halted)
        listener.heard.clear()
        server.say_quote("SHOP.TO", 100.5, 101, 0)  # nobody bids, nobody offers
        nothing = (await listener.until(1))[-1]
    assert halts == [False, True, False]
    assert isinstance(quote, Quote)
    assert (quote.symbol, quote.bid, quote.ask, quote.bid_size) == (APPLE, 100.5, 101, 7)
    assert isinstance(nothing, Quote)
    assert nothing.symbol == SHOPIFY
    assert not nothing.is_sound
    assert {fields[2] for fields in server.sent if fields[0] == "71"} == {"2"}, "its own client id"


async def ended(source: InteractiveBrokersSource) -> None:
    """A stream in which nothing comes until it ends."""
    async with asyncio.timeout(ENOUGH_S):
        async for batch in source.stream():
            assert not batch


async def test_a_quote_is_told_once_it_has_both_sides(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    server.venue.quotes.clear()
    async with Listener(source) as listener:
        await server.faults.has_come("quote", 2)
        server.say_bid("AAPL", 99)
        server.say_halted("AAPL", 2)
        assert await listener.until(1) == [HaltChanged(APPLE, True)]
        server.say_quote("AAPL", 99, 101)
        quote = (await listener.until(2))[1]
    assert isinstance(quote, Quote)
    assert quote.is_sound


@pytest.mark.parametrize("kind", [2, 3, 4])
async def test_what_is_frozen_or_delayed_is_no_price(
    server: IbServer, source: InteractiveBrokersSource, kind: int
) -> None:
    server.data_type = kind
    with pytest.raises(NotPermitted, match="no live market data: it is frozen or delayed"):
        await ended(source)
    assert await source.quotes() == []


@pytest.mark.parametrize(
    ("code", "text"),
    [(354, "Requested market data is not subscribed."), (10197, "No market data during competing")],
)
async def test_market_data_that_are_refused_say_why(
    server: IbServer, source: InteractiveBrokersSource, code: int, text: str
) -> None:
    server.no_data = (code, f"{text} \x1b[2J")
    with pytest.raises(NotPermitted, match=text):
        await ended(source)


async def test_one_symbol_without_market_data_ends_no_other(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    async with Listener(source) as listener:
        await quoted(listener)
        server.say_ticker_error("AAPL", 10197, "No market data during competing live session")
        server.say_quote("SHOP.TO", 100, 101)
        assert {datum.symbol for datum in await listener.until(1)} == {SHOPIFY}


async def test_a_stream_that_is_lost_says_so(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    async with Listener(source) as listener:
        await quoted(listener)
        server.cut()
        with pytest.raises(NotConnected, match="the connection to TWS has ended"):
            await listener.until(100)


async def test_what_is_asked_for_and_is_no_news_keeps_its_time(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    first = await source.quotes()
    assert [(q.symbol, q.bid, q.ask, q.bid_size) for q in first] == [
        (APPLE, 99, 101, 3), (SHOPIFY, 99, 101, 3),
    ]  # fmt: skip
    assert await source.quotes() == first
    server.venue.quote("AAPL", 98, 101, 3)
    apple, shop = await source.quotes()
    assert shop == first[1]
    assert (apple.bid, apple.ts > first[0].ts) == (98, True)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.MUTE])
async def test_a_snapshot_that_does_not_come_is_none(
    server: IbServer,
    source: InteractiveBrokersSource,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interactive_brokers, "SNAPSHOT_S", 0.2)
    server.faults.plan("quote", fault)
    assert len(await source.quotes()) == 1


async def test_the_account_and_the_market_data_are_clients_of_one_tws(
    server: IbServer, source: InteractiveBrokersSource, clock: Clock
) -> None:
    broker = InteractiveBrokers(OURS, clock, gateway(server))
    async with Listener(source) as listener:
        await quoted(listener)
        await broker.connect()
        order = Order(
            "tb-1", "s", APPLE, Side.BUY, OrderType.LIMIT, Decimal(10), OrderPurpose.ENTRY,
            clock(), clock(), Decimal(100), limit_price=Decimal(90),
            time_in_force=TimeInForce.DAY,
        )  # fmt: skip
        assert (await broker.submit_order(order)).state is OrderState.ACCEPTED
        server.say_quote("AAPL", 100, 101)
        quote = (await listener.until(1))[-1]
        assert isinstance(quote, Quote)
        assert quote.bid == 100
        await broker.disconnect()
        server.say_quote("AAPL", 100.5, 101)
        assert len(await listener.until(2)) == 2, "the one ends without the other"


# --- the feed ------------------------------------------------------------------------------------


async def test_a_stream_that_is_lost_is_opened_again(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    heard = Heard(source)
    await heard.hears(QuoteUpdate, 2)
    server.cut()
    connected, lost, again = await heard.hears(FeedChanged, 3)
    await heard.close()
    assert [e.status for e in (connected, lost, again)] == [
        "connected", "disconnected", "connected",
    ]  # fmt: skip
    assert lost.reason == "interactive_brokers: the connection to TWS has ended"


async def test_a_tws_that_lost_its_own_connection_is_waited_for(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    heard = Heard(source)
    await heard.hears(QuoteUpdate, 2)
    server.say_error(1100, "Connectivity has been [b]lost")
    lost = (await heard.hears(FeedChanged, 2))[1]
    assert lost.reason == "interactive_brokers: Connectivity has been (b)lost"
    with pytest.raises(NotConnected, match="TWS is not connected"):
        await source.quotes()
    server.say_error(1101, "Connectivity has been restored - data lost")
    again = (await heard.hears(FeedChanged, 3))[2]
    await heard.close()
    assert again.status == "connected"
    assert server.streams.joined == 1, "on the same connection"


async def test_a_mute_stream_is_found_and_opened_anew(
    server: IbServer, source: InteractiveBrokersSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(source)
    await heard.hears(QuoteUpdate, 2)
    monkeypatch.setattr(live, "LOOK_S", 0.05)
    await server.faults.has_come("quote", server.faults.requests["quote"] + 4)
    (connected,) = await heard.hears(FeedChanged, 1)
    assert connected.status == "connected", "a quiet market is no mute stream"
    server.venue.quote("AAPL", 98, 101, 3)
    lost = (await heard.hears(FeedChanged, 2))[1]
    await heard.close()
    assert lost.reason == "interactive_brokers: the stream is mute"


# --- bars ----------------------------------------------------------------------------------------


async def test_the_bar_of_each_minute_is_told_once(
    server: IbServer,
    source: InteractiveBrokersSource,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one symbol when the next minute begins, of the other one when it has settled."""
    monkeypatch.setattr(interactive_brokers, "SETTLE_S", 0.3)
    clock.set(NOON - NANOS)
    for symbol in ("AAPL", "SHOP.TO"):
        server.bars[symbol] = [row(NOON - 3 * MINUTE), row(NOON - MINUTE, 10)]
    async with Listener(source) as listener:
        await server.faults.has_come("bars", 2)
        await quoted(listener)
        await source.history(APPLE, 1, NOON - MINUTE)  # answered after both subscriptions were
        server.say_bar("AAPL", row(NOON - MINUTE, 10.5))
        server.say_bar("SHOP.TO", row(NOON - MINUTE, 10.75))
        server.say_bar("AAPL", row(NOON, 12))
        first, settled = [d for d in await listener.until(2) if isinstance(d, Bar)]
        server.say_bar("SHOP.TO", row(NOON, 12))
        server.say_bar("AAPL", row(NOON, 11))
        server.say_bar("AAPL", row(NOON + MINUTE, 11))
        third = (await listener.until(3))[2]
    assert first == bar(APPLE, NOON - MINUTE, 10.5)
    assert settled == bar(SHOPIFY, NOON - MINUTE, 10.75)
    assert third == bar(APPLE, NOON, 11)


async def test_bars_that_cannot_be_followed_are_tried_again(
    server: IbServer,
    source: InteractiveBrokersSource,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interactive_brokers, "SETTLE_S", 0.2)
    clock.stop(NOON - NANOS // 5)
    server.bars["AAPL"] = [row(NOON - MINUTE)]
    async with Listener(source) as listener:
        await quoted(listener)
        await server.faults.has_come("bars", 2)
        await source.history(APPLE, 1, NOON)  # answered after both were, a third request
        clock.set(NOON)
        while not any(isinstance(datum, Bar) for datum in listener.heard):
            await listener.until(len(listener.heard) + 1)  # SHOP.TO had none
        await server.faults.has_come("bars", 4)
    assert listener.heard[-1] == bar(APPLE, NOON - MINUTE)


async def test_history_ends_where_it_is_asked_to(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    starts = [NOON - DAY - n * MINUTE for n in (3, 2, 1)] + [NOON - 2 * MINUTE, NOON - MINUTE]
    server.bars["AAPL"] = [row(start) for start in [*starts, NOON]]
    bars = await source.history(APPLE, 4, NOON + 30 * NANOS)
    assert bars == [bar(APPLE, start) for start in starts[1:]]
    assert len(await source.history(APPLE, 100, NOON)) == 5
    assert await source.history(SHOPIFY, 5, NOON) == []


@pytest.mark.parametrize(
    ("interval", "size", "duration"),
    [(NANOS, "1 secs", "1800 S"), (MINUTE, "1 min", "1 D"), (240 * MINUTE, "4 hours", "90 D")],
)
async def test_bars_of_a_span_come_page_by_page(
    server: IbServer,
    source: InteractiveBrokersSource,
    interval: int,
    size: str,
    duration: str,
) -> None:
    first = NOON - 2_000 * interval
    starts = [first + n * interval for n in range(2_000)]
    server.bars["AAPL"] = [row(start) for start in starts]
    span = starts[1] - 1, starts[-1] + interval - 1  # the last one is still open at the end
    pages = [page async for page in source.bars(APPLE, interval, *span)]
    assert [b.start for page in pages for b in page] == starts[1:-1]
    assert {b.interval for page in pages for b in page} == {interval}
    assert len(pages) > 1
    assert {(fields[2], fields[3]) for fields in server.asked} == {(size, duration)}


async def test_a_day_begins_at_midnight_in_new_york(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    midnight = NOON - 12 * 60 * MINUTE  # EDT: four hours behind
    server.bars["AAPL"] = [row(midnight)]
    pages = [page async for page in source.bars(APPLE, DAY, midnight - DAY, midnight + DAY)]
    assert [b for page in pages for b in page] == [bar(APPLE, midnight, interval=DAY)]


async def test_bars_of_no_length_that_there_is_are_refused(
    source: InteractiveBrokersSource,
) -> None:
    with pytest.raises(UserError, match="no bars of such a length"):
        await anext(source.bars(APPLE, 7 * MINUTE, 0, NOON))


async def test_the_same_question_is_not_asked_twice_in_a_row(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    server.bars["AAPL"] = [row(NOON - MINUTE)]
    assert await source.history(APPLE, 1, NOON) == await source.history(APPLE, 1, NOON)
    assert server.faults.requests["bars"] == 1
    await source.history(APPLE, 1, NOON - MINUTE)
    assert server.faults.requests["bars"] > 1


async def test_bars_of_seconds_keep_to_the_pace(
    server: IbServer, source: InteractiveBrokersSource
) -> None:
    with pytest.raises(RateLimited) as limited:
        async for _ in source.bars(APPLE, NANOS, NOON - 2 * DAY, NOON):
            pass
    assert server.faults.requests["bars"] == 60
    assert limited.value.wait_s > 5


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.MUTE, Fault.RESET, Fault.LOST])
async def test_history_that_does_not_come_is_in_doubt(
    server: IbServer,
    source: InteractiveBrokersSource,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interactive_brokers, "HISTORY_S", 0.3)
    server.bars["AAPL"] = [row(NOON - MINUTE)]
    server.faults.plan("bars", fault)
    with pytest.raises(InDoubt):
        await source.history(APPLE, 1, NOON)
    assert len(await source.history(APPLE, 1, NOON)) == 1


async def test_a_slow_answer_is_one(server: IbServer, source: InteractiveBrokersSource) -> None:
    server.bars["AAPL"] = [row(NOON - MINUTE)]
    for kind in ("symbol", "quote", "bars"):
        server.faults.plan(kind, Fault.SLOW)
    assert len(await source.quotes()) == 2
    assert len(await source.history(APPLE, 1, NOON)) == 1
