"""Market data is refused at the edge where it is not sound, and its age and its holes are told."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    BarCorrected,
    BarGap,
    ClockTick,
    DataRefused,
    FeedRecovered,
    FeedStale,
    HistoryLoaded,
    QuoteUpdate,
)
from engine.core.model import MINUTE, NANOS, Bar, OrderPurpose, Quote, Side, Signal
from engine.core.strategy import Strategy
from tests.core.rig import ACME, COIN, START, Rig

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def rig() -> Rig:
    return Rig(instruments=(ACME, COIN))


def mark(rig: Rig, symbol: str = "ACME") -> float:
    return rig.machine.state()["marks"][symbol]


def send_quote(rig: Rig, bid: float, ask: float, symbol: str = "ACME") -> None:
    rig.now += NANOS
    rig.send(QuoteUpdate(Quote(symbol, rig.now, bid, ask, 100, 100)))


# --- prices --------------------------------------------------------------------------------------


def test_the_mark_is_the_mid_of_the_last_quote_or_the_close_of_a_later_bar(rig: Rig) -> None:
    rig.quote(100, spread=2)
    assert mark(rig) == 100
    rig.bar(101, 103, 99, 102)
    assert mark(rig) == 102
    rig.quote(50)
    assert mark(rig) == 50


@pytest.mark.parametrize(
    ("bid", "ask"), [(NAN, 101), (101, NAN), (INF, INF), (0, 101), (-5, 101), (101, 100), (1, 199)]
)
def test_an_unsound_quote_is_refused_and_counted(rig: Rig, bid: float, ask: float) -> None:
    rig.quote(100)
    send_quote(rig, bid, ask)
    assert mark(rig) == 100
    assert rig.machine.market.refused == 1
    (refused,) = rig.facts(DataRefused)
    assert refused.symbol == "ACME"
    assert refused.reason.startswith("no quote: ")


def test_a_run_of_refused_data_is_told_once_until_sound_data_come_again(rig: Rig) -> None:
    for _ in range(3):
        send_quote(rig, NAN, NAN)
    assert (len(rig.facts(DataRefused)), rig.machine.market.refused) == (1, 3)
    rig.quote(100)
    send_quote(rig, NAN, NAN)
    assert (len(rig.facts(DataRefused)), rig.machine.market.refused) == (2, 4)


@pytest.mark.parametrize(
    "ohlc", [(NAN, 1, 1, 1), (1, INF, 1, 1), (1, 1, 0, 1), (1, 1, -1, 1), (5, 4, 3, 4)]
)
def test_an_unsound_bar_is_refused_and_counted(
    rig: Rig, ohlc: tuple[float, float, float, float]
) -> None:
    rig.quote(100)
    rig.bar(*ohlc)
    assert mark(rig) == 100
    assert len(rig.facts(DataRefused)) == 1


def test_data_of_a_symbol_that_is_not_traded_is_refused_and_its_name_made_harmless(
    rig: Rig,
) -> None:
    send_quote(rig, 1, 2, symbol="EV\x1bIL")
    (refused,) = rig.facts(DataRefused)
    assert refused.symbol == "EV IL"


def test_refused_data_reaches_no_strategy_and_no_order(rig: Rig) -> None:
    rig.quote(100)
    rig.wish(Side.BUY)
    send_quote(rig, NAN, NAN)
    assert ("puppet", "ACME") in rig.wishes
    assert rig.orders == {}


# --- time ----------------------------------------------------------------------------------------


def test_a_quote_older_than_the_last_is_no_news(rig: Rig) -> None:
    rig.quote(100)
    old = Quote("ACME", rig.now - 1, 90, 90, 1, 1)
    rig.send(QuoteUpdate(old))
    assert mark(rig) == 100


class Follower(Strategy):
    """Buys at the second bar, and keeps what every bar's history was."""

    seen: ClassVar[list[list[float]]]

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        self.seen.append([one.close for one in history])
        return self.signal(Side.BUY, bar, {}) if len(history) == 2 else None


@pytest.fixture
def following() -> Rig:
    Follower.seen = []
    return Rig(kinds={"follower": Follower})


def test_a_corrected_bar_takes_the_place_of_the_one_that_is_kept(following: Rig) -> None:
    rig = following
    rig.bar(100)
    first = BarClosed(Bar("ACME", rig.now, 100, 100, 90, 90, 1))
    rig.bar(101)
    rig.bar(102)
    orders = list(rig.orders)
    rig.send(first)
    (fact,) = rig.facts(BarCorrected)
    assert (fact.was.close, fact.bar.close, fact.orders) == (100, 90, ())
    assert (mark(rig), list(rig.orders)) == (102, orders)
    rig.bar(103)
    assert Follower.seen[-2:] == [[100, 101, 102], [90, 101, 102, 103]]
    rig.send(first)
    assert len(rig.facts(BarCorrected)) == 1


def test_the_orders_that_came_of_a_corrected_bar_are_named(following: Rig) -> None:
    rig = following
    rig.bar(100)
    rig.bar(100)
    (order,) = rig.of(OrderPurpose.ENTRY)
    decided, shown = rig.now, len(Follower.seen)
    rig.bar(101)
    for close in (90.0, 95.0):  # it may be corrected more than once
        rig.send(BarClosed(Bar("ACME", decided, 100, 100, close, close, 1)))
    assert [fact.orders for fact in rig.facts(BarCorrected)] == [(order.client_order_id,)] * 2
    assert len(Follower.seen) == shown + 1
    assert len(rig.of(OrderPurpose.ENTRY)) == 1


def test_the_close_of_a_corrected_last_bar_is_the_price_where_nothing_came_after(
    following: Rig,
) -> None:
    rig = following
    for _ in range(3):
        rig.bar(100)
    equity = rig.machine.state()["equity"]
    rig.send(BarClosed(Bar("ACME", rig.now, 100, 100, 90, 90, 1)))
    assert mark(rig) == 90
    held = rig.position("follower").quantity
    assert held > 0
    assert rig.machine.state()["equity"] == pytest.approx(equity - 10 * float(held))
    rig.quote(91)
    rig.send(BarClosed(Bar("ACME", rig.now - NANOS, 100, 100, 80, 80, 1)))
    assert mark(rig) == 91


def test_a_bar_that_is_kept_no_more_is_not_corrected() -> None:
    rig = Rig(history=2)
    rig.bar(100)
    first = Bar("ACME", rig.now, 90, 90, 90, 90, 1)
    rig.bar(101)
    rig.bar(102)
    rig.send(BarClosed(first))
    between = Bar("ACME", rig.now - MINUTE // 2, 90, 90, 90, 90, 1)
    rig.send(BarClosed(between))
    assert rig.facts(BarCorrected) == []
    assert mark(rig) == 102


def test_an_input_from_the_past_is_handled_at_the_last_ones_time(rig: Rig) -> None:
    rig.quote(100)
    now = rig.machine.state()["now"]
    rig.send(ClockTick(ts=now - MINUTE))
    assert rig.machine.state()["now"] == now


# --- holes ---------------------------------------------------------------------------------------


def test_missing_bars_are_told_with_their_number(rig: Rig) -> None:
    rig.bar(100)
    rig.bar(100)
    assert rig.facts(BarGap) == []
    rig.now += 3 * MINUTE
    rig.bar(100)
    assert [(gap.symbol, gap.missing) for gap in rig.facts(BarGap)] == [("ACME", 3)]


def test_history_has_no_holes_to_tell_of(rig: Rig) -> None:
    rig.bar(100, live=False)
    rig.now += 5 * MINUTE
    rig.bar(100, live=False)
    assert rig.facts(BarGap) == []


# --- staleness -----------------------------------------------------------------------------------


def ages(rig: Rig) -> list[tuple[str, int]]:
    return [(fact.symbol, fact.age) for fact in rig.facts(FeedStale)]


def test_a_symbol_without_data_for_longer_than_the_limit_is_stale_once(rig: Rig) -> None:
    rig.quote(100)
    rig.tick(120)
    assert ages(rig) == []
    rig.tick(1)
    rig.tick(1)
    assert ages(rig) == [("ACME", 121 * NANOS)]


def test_one_mute_symbol_is_stale_alone(rig: Rig) -> None:
    rig.quote(100)
    for _ in range(5):
        rig.quote(50, "COIN")
        rig.tick(60)
    assert [symbol for symbol, _ in ages(rig)] == ["ACME"]


@pytest.mark.parametrize("event", ["quote", "bar"])
def test_the_first_data_after_that_recovers_it(rig: Rig, event: str) -> None:
    rig.quote(100)
    rig.tick(121)
    assert rig.facts(FeedRecovered) == []
    getattr(rig, event)(100)
    assert [fact.symbol for fact in rig.facts(FeedRecovered)] == ["ACME"]
    rig.tick(121)
    assert len(ages(rig)) == 2


def test_data_that_are_too_old_themselves_recover_nothing(rig: Rig) -> None:
    """The past that strategies are shown at a start, or a feed that is delayed by minutes: a symbol
    would be stale and recovered in turn, at each bar and tick."""
    rig.quote(100)
    rig.tick(600)
    for age in (400, 300, 200):
        rig.send(QuoteUpdate(Quote("ACME", rig.now - age * NANOS, 100, 100, 1, 1)))
        rig.tick(1)
    assert rig.facts(FeedRecovered) == []
    assert len(ages(rig)) == 1
    assert not rig.machine.market.is_fresh("ACME")


def test_a_symbol_that_never_had_data_is_not_fresh_and_not_told_to_be_stale(rig: Rig) -> None:
    rig.tick(1000)
    assert ages(rig) == []
    assert not rig.machine.market.is_fresh("ACME")


def test_data_from_the_future_does_not_stay_fresh(rig: Rig) -> None:
    ahead = Quote("ACME", START + 10**6 * NANOS, 100, 100, 1, 1)
    rig.send(QuoteUpdate(ahead))
    rig.tick(121)
    assert [symbol for symbol, _ in ages(rig)] == ["ACME"]


# --- the price that changes refer to ------------------------------------------------------------


def test_the_days_open_is_each_symbols_first_price_of_the_day(rig: Rig) -> None:
    rig.quote(100)
    rig.quote(50, "COIN")
    rig.quote(110)
    market = rig.machine.market.symbols
    assert market["ACME"].day_open == 100
    assert market["COIN"].day_open == 50
    rig.now += 24 * 60 * MINUTE
    rig.quote(120)
    assert market["ACME"].day_open == 120
    assert market["COIN"].day_open != market["COIN"].day_open, "no price today: not a number"
    rig.quote(55, "COIN")
    assert market["COIN"].day_open == 55


def test_a_day_that_goes_on_after_a_restart_has_its_first_price_of_the_bars_before(
    rig: Rig,
) -> None:
    """Whether those come before the first price, or after it."""
    hour = 60 * MINUTE
    for symbol in ("ACME", "COIN"):
        times = {START - 24 * hour: 90.0, START - 4 * hour: 95.0, START - hour: 99.0}
        bars = tuple(Bar(symbol, ts, p, p, p, p, 1, MINUTE) for ts, p in times.items())
        if symbol == "COIN":
            rig.quote(100, "COIN")
        rig.send(HistoryLoaded(symbol, bars))
        rig.quote(110, symbol)
    assert {s: m.day_open for s, m in rig.machine.market.symbols.items()} == {
        "ACME": 95,
        "COIN": 95,
    }


def test_a_price_of_yesterday_is_not_what_changes_of_today_refer_to(rig: Rig) -> None:
    old = Bar("COIN", START - 24 * 60 * MINUTE, 90, 90, 90, 90, 1, MINUTE)
    rig.send(HistoryLoaded("COIN", (old,)))
    assert rig.machine.market.symbols["COIN"].change_pct is None, "no day has begun"
    rig.quote(100)
    rig.send(HistoryLoaded("COIN", (replace(old, ts=old.ts + MINUTE),)))
    rig.quote(55, "COIN")
    assert rig.machine.market.symbols["COIN"].day_open == 55
