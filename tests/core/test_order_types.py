"""Trailing stops, times in force, one-cancels-other and replace at the simulated exchange."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import ExecutionReport, OrderReplaced, ReplaceRejected
from engine.core.matching import ExchangeRules, SimulatedExchange
from engine.core.model import (
    MINUTE,
    Bar,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from tests.core.rig import ACME, BOUNDED, COIN, FREE, START, Rig

S = OrderState
TRAILING = OrderType.TRAILING_STOP
LIMIT, STOP, MARKET = OrderType.LIMIT, OrderType.STOP, OrderType.MARKET
CLOSE = START + 390 * MINUTE
BUY, SELL = Side.BUY, Side.SELL


class OneSession:
    """Every session ends at CLOSE."""

    def session_end(self, calendar: str, ts: int) -> int:
        return CLOSE if ts < CLOSE else CLOSE + 24 * 60 * MINUTE


def exchange(share: object = 100) -> SimulatedExchange:
    rules = ExchangeRules(FREE.commission_pct, FREE.slippage_bps, Decimal(str(share)))
    return SimulatedExchange((ACME, COIN), rules, OneSession())  # type: ignore[arg-type]


def order(kind: OrderType, side: Side = SELL, quantity: int = 10, **fields: Any) -> Order:
    key = fields.pop("key", "tb-1")
    for name in ("limit_price", "stop_price", "trail"):
        if fields.get(name) is not None:
            fields[name] = Decimal(str(fields[name]))
    return Order(
        key, "s", fields.pop("symbol", "ACME"), side, kind, Decimal(quantity),
        OrderPurpose.PROTECTIVE_STOP, START, START, Decimal(100), **fields,
    )  # fmt: skip


def bar(*ohlc: float, minute: int = 1, volume: float = 1e6) -> Bar:
    return Bar("ACME", START + minute * MINUTE, *ohlc, volume=volume)


def quote(bid: float, ask: float = 0.0, size: float = 1e6, ts: int = START + 1) -> Quote:
    return Quote("ACME", ts, bid, ask or bid, size, size)


def fills(reports: list[ExecutionReport]) -> list[Fill]:
    return [report.fill for report in reports if report.fill is not None]


def prices(reports: list[ExecutionReport]) -> list[Decimal]:
    return [fill.price for fill in fills(reports)]


def states(reports: list[ExecutionReport]) -> dict[str, OrderState]:
    return {report.client_order_id: report.state for report in reports}


# --- trailing stop -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "path", "price"),
    [
        (SELL, [100, 96, 95], 95),
        (SELL, [100, 95.01], None),
        (SELL, [100, 110, 105.01], None),
        (SELL, [100, 110, 105], 105),
        (SELL, [100, 110, 103], 103),
        (SELL, [110, 100], 100),
        (BUY, [100, 104.99], None),
        (BUY, [100, 90, 94.99], None),
        (BUY, [100, 90, 95], 95),
    ],
)
def test_a_trailing_stop_follows_the_best_quote(
    side: Side, path: list[float], price: float | None
) -> None:
    venue = exchange()
    venue.submit(order(TRAILING, side, trail=5), START)
    reports = [report for at in path for report in venue.on_quote(quote(at))]
    assert prices(reports) == ([] if price is None else [Decimal(price)])


def test_a_trailing_stop_may_start_from_a_stop_of_its_own() -> None:
    venue = exchange()
    venue.submit(order(TRAILING, trail=5, stop_price=98), START)
    assert venue.on_quote(quote(99)) == []
    assert prices(venue.on_quote(quote(98))) == [98]


@pytest.mark.parametrize(
    ("side", "ohlc", "price"),
    [
        (SELL, (100, 101, 95.01, 99), "95.01"),
        (SELL, (100, 104, 99.5, 103), None),
        (SELL, (100, 110, 95, 109), 95),
        (SELL, (106, 110, 104, 109), 104),
        (SELL, (107, 110, 106, 109), None),
        (BUY, (100, 101, 96.01, 97), None),
        (BUY, (100, 101, 95, 96), 101),
        (BUY, (100, 105, 90, 91), 105),
    ],
    ids=[
        "the low could be 5 below a price before it",
        "nothing within 5 below the high",
        "the stop of the open is touched: the high may have come after",
        "the worst that a trail can give, not 105",
        "never 5 below the high",
        "never 5 above the low",
        "the worst that a trail can give, not 100",
        "the stop of the open is touched",
    ],
)
def test_within_a_bar_a_trailing_stop_gets_the_worst_that_can_have_been(
    side: Side, ohlc: tuple[float, ...], price: object
) -> None:
    venue = exchange()
    venue.submit(order(TRAILING, side, trail=5), START)
    got = prices(venue.on_bar(bar(*ohlc)))
    assert got == ([] if price is None else [Decimal(str(price))])


def test_a_trailing_stop_follows_from_bar_to_bar_and_gaps() -> None:
    venue = exchange()
    venue.submit(order(TRAILING, trail=5), START)
    assert venue.on_bar(bar(104, 108, 104, 107)) == []
    assert prices(venue.on_bar(bar(102, 103, 101, 102, minute=2))) == [102]


@BOUNDED
@given(st.lists(st.tuples(*[st.integers(90, 110)] * 4), min_size=1, max_size=12), st.integers(1, 9))
def test_no_path_of_prices_within_its_bars_gives_a_trailing_stop_less(
    ohlcs: list[tuple[int, int, int, int]], trail: int
) -> None:
    """Whatever came first within a bar, low or high, a real path would have given as much."""
    venue = exchange()
    venue.submit(order(TRAILING, trail=trail), START)
    best = 0
    for minute, (open_, a, b, close) in enumerate(ohlcs, 1):
        high, low = max(open_, a, b, close), min(open_, a, b, close)
        got = prices(venue.on_bar(bar(open_, high, low, close, minute=minute)))
        for path in ((open_, low, high, close), (open_, high, low, close)):
            stop = best - trail if best else 0
            for at in path:
                if at <= stop:
                    assert got
                    assert got[0] <= min(stop, open_ if open_ <= stop else stop), path
                    break
                stop = max(stop, at - trail)
        best = max(best, high)
        if got:
            assert low <= got[0] <= high
            return


# --- time in force -------------------------------------------------------------------------------


def test_a_day_order_expires_at_the_close_of_its_session() -> None:
    venue = exchange()
    day = order(LIMIT, BUY, limit_price=90, time_in_force=TimeInForce.DAY)
    venue.submit(day, START)
    assert venue.on_quote(quote(100, ts=CLOSE - 1)) == []
    assert states(venue.on_quote(quote(80, ts=CLOSE))) == {"tb-1": S.EXPIRED}
    assert venue.on_quote(quote(80, ts=CLOSE + 1)) == []


def test_a_day_order_still_fills_in_the_last_bar_of_its_session() -> None:
    venue = exchange()
    for key, limit in (("tb-1", 90), ("tb-2", 70)):
        day = order(LIMIT, BUY, limit_price=limit, time_in_force=TimeInForce.DAY, key=key)
        venue.submit(day, START)
    coin = Bar("COIN", CLOSE, 1, 1, 1, 1, 1)
    assert venue.on_bar(coin) == [], "the last bar of ACME is still to come"
    reports = venue.on_bar(bar(100, 100, 80, 80, minute=390))
    assert states(reports) == {"tb-1": S.FILLED, "tb-2": S.EXPIRED}


def test_the_market_of_another_symbol_shows_that_the_session_is_over() -> None:
    venue = exchange()
    venue.submit(order(LIMIT, BUY, limit_price=90, time_in_force=TimeInForce.DAY), START)
    assert states(venue.on_quote(Quote("COIN", CLOSE, 1, 1, 1, 1))) == {"tb-1": S.EXPIRED}
    venue.submit(order(LIMIT, BUY, limit_price=90, time_in_force=TimeInForce.GTC, key="k"), START)
    assert venue.expire(CLOSE * 2) == []


@pytest.mark.parametrize(
    ("tif", "size", "got"),
    [
        (TimeInForce.IOC, 4, [(S.PARTIALLY_FILLED, 4), (S.CANCELED, None)]),
        (TimeInForce.IOC, 10, [(S.FILLED, 10)]),
        (TimeInForce.IOC, 0, [(S.CANCELED, None)]),
        (TimeInForce.FOK, 4, [(S.CANCELED, None)]),
        (TimeInForce.FOK, 10, [(S.FILLED, 10)]),
    ],
)
@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("kind", [MARKET, LIMIT])
def test_at_once_or_not_at_all(
    kind: OrderType, tif: TimeInForce, size: int, got: list[Any], bars: bool
) -> None:
    venue = exchange()
    limit = 100 if kind is LIMIT else None
    venue.submit(order(kind, BUY, limit_price=limit, time_in_force=tif), START)
    if bars:
        reports = venue.on_bar(bar(100, 100, 90, 95, volume=size))
    else:
        reports = venue.on_quote(quote(100, size=size))
    assert [(r.state, r.fill and r.fill.quantity) for r in reports] == got
    assert venue.on_bar(bar(90, 90, 90, 90, minute=2)) == []


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_what_is_not_at_the_limit_at_once_is_cancelled(tif: TimeInForce) -> None:
    venue = exchange()
    venue.submit(order(LIMIT, BUY, limit_price=99, time_in_force=tif), START)
    (report,) = venue.on_bar(bar(100, 101, 90, 95))
    assert (report.state, report.reason) == (S.CANCELED, f"{tif}: 10 did not fill at once")
    venue.submit(order(LIMIT, BUY, limit_price=99, time_in_force=tif, key="tb-2"), START)
    assert states(venue.on_quote(quote(100))) == {"tb-2": S.CANCELED}


# --- one cancels other ---------------------------------------------------------------------------


def bracket(venue: SimulatedExchange, quantity: int = 10) -> None:
    """A target at 110 and a stop at 90, the target first."""
    venue.submit(order(LIMIT, quantity=quantity, limit_price=110, oco_group="g", key="tb-t"), START)
    venue.submit(order(STOP, quantity=quantity, stop_price=90, oco_group="g", key="tb-s"), START)


@pytest.mark.parametrize(
    ("price", "filled", "other"), [(110, "tb-t", "tb-s"), (90, "tb-s", "tb-t")]
)
def test_one_that_fills_whole_cancels_the_others(price: float, filled: str, other: str) -> None:
    venue = exchange()
    bracket(venue)
    reports = venue.on_quote(quote(price))
    assert states(reports) == {filled: S.FILLED, other: S.CANCELED}
    assert reports[1].reason == f"one cancels other: {filled} filled"
    assert venue.on_quote(quote(90)) + venue.on_quote(quote(110)) == []


def test_one_that_fills_in_part_takes_as_much_from_the_others() -> None:
    venue = exchange()
    bracket(venue)
    first, second = venue.on_quote(quote(110, size=4))
    assert (first.client_order_id, first.state) == ("tb-t", S.PARTIALLY_FILLED)
    assert (second.client_order_id, second.state) == ("tb-s", S.ACCEPTED)
    assert second.terms == OrderTerms(Decimal(6), stop_price=Decimal(90))
    reports = venue.on_quote(quote(90))
    assert [fill.quantity for fill in fills(reports)] == [6]
    assert states(reports) == {"tb-s": S.FILLED, "tb-t": S.CANCELED}


@pytest.mark.parametrize(
    ("ohlc", "price"),
    [((100, 111, 89, 100), 90), ((112, 113, 89, 100), 112), ((88, 113, 80, 100), 88)],
    ids=["both: the worse", "the target at the open", "the stop at the open"],
)
def test_a_bar_that_fills_both_fills_the_worse(ohlc: tuple[float, ...], price: float) -> None:
    venue = exchange()
    bracket(venue)
    assert prices(venue.on_bar(bar(*ohlc))) == [price]


def test_the_cancel_of_one_leaves_the_other() -> None:
    venue = exchange()
    bracket(venue)
    venue.cancel("tb-t", START)
    assert states(venue.on_quote(quote(90))) == {"tb-s": S.FILLED}


@BOUNDED
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from([90, 100, 110]), st.integers(0, 9)), max_size=20),
)
def test_a_group_never_fills_more_than_one_order_asks_for(
    quantity: int, market: list[tuple[int, int]]
) -> None:
    venue = exchange()
    bracket(venue, quantity)
    done = [f for price, size in market for f in fills(venue.on_quote(quote(price, size=size)))]
    assert sum(fill.quantity for fill in done) <= quantity


def test_the_engine_follows_what_a_group_takes_from_its_others() -> None:
    rig = Rig()
    rig.hold_position(100)
    (stop,) = rig.of(OrderPurpose.PROTECTIVE_STOP)
    less = OrderTerms(Decimal(30), stop_price=stop.stop_price)
    rig.report(stop, S.ACCEPTED, terms=less)
    fact = rig.facts(OrderReplaced)[0]
    assert (fact.order.client_order_id, fact.order.quantity) == (stop.client_order_id, 30)


# --- replace -------------------------------------------------------------------------------------


def replaced(venue: SimulatedExchange, quantity: object, **prices: Any) -> ExecutionReport:
    answer = venue.replace("tb-1", OrderTerms(Decimal(str(quantity)), **prices), START + MINUTE)
    assert isinstance(answer, ExecutionReport)
    return answer


def test_a_replaced_order_asks_for_its_new_terms() -> None:
    venue = exchange()
    first = venue.submit(order(LIMIT, BUY, limit_price=90), START)
    answer = replaced(venue, 7, limit_price=Decimal(95))
    assert answer.terms == OrderTerms(Decimal(7), Decimal(95))
    assert answer.transact_ts > first.transact_ts
    assert venue.find("tb-1") == answer
    assert venue.on_bar(bar(100, 100, 80, 80)) == [], "the bar had begun before the replace"
    (fill,) = fills(venue.on_bar(bar(100, 100, 80, 80, minute=2)))
    assert (fill.quantity, fill.price) == (7, 95)


def test_a_smaller_quantity_keeps_its_place_and_anything_else_loses_it() -> None:
    for terms, first in (((5, 100), "tb-1"), ((15, 100), "tb-2"), ((5, 101), "tb-2")):
        venue = exchange()
        for key in ("tb-1", "tb-2"):
            venue.submit(order(LIMIT, BUY, limit_price=100, key=key), START)
        venue.replace("tb-1", OrderTerms(Decimal(terms[0]), Decimal(terms[1])), START)
        assert fills(venue.on_quote(quote(100, size=4)))[0].client_order_id == first


def test_a_replace_to_what_is_filled_ends_the_order() -> None:
    venue = exchange()
    venue.submit(order(MARKET, BUY), START)
    venue.on_quote(quote(100, size=4))
    answer = replaced(venue, 3)
    assert (answer.state, answer.terms) == (S.FILLED, OrderTerms(Decimal(4)))
    assert venue.on_quote(quote(100)) == []


@pytest.mark.parametrize(
    ("quantity", "limit", "why"),
    [("0.5", 90, "lot"), (5, "90.001", "tick"), (5, None, "limit price")],
)
def test_a_replace_that_breaks_a_rule_is_refused(quantity: object, limit: Any, why: str) -> None:
    venue = exchange()
    venue.submit(order(LIMIT, BUY, limit_price=95), START)
    terms = OrderTerms(Decimal(str(quantity)), None if limit is None else Decimal(str(limit)))
    answer = venue.replace("tb-1", terms, START)
    assert isinstance(answer, ReplaceRejected)
    assert why in answer.reason
    assert fills(venue.on_quote(quote(95)))[0].quantity == 10


@pytest.mark.parametrize(("key", "why"), [("tb-1", "too late"), ("tb-9", "unknown order")])
def test_a_replace_may_come_too_late(key: str, why: str) -> None:
    venue = exchange()
    venue.submit(order(MARKET, BUY), START)
    venue.on_quote(quote(100))
    answer = venue.replace(key, OrderTerms(Decimal(5)), START)
    assert answer == ReplaceRejected(key, why, ts=START)


def test_a_trailing_stop_that_shrinks_keeps_what_it_has_trailed() -> None:
    venue = exchange()
    venue.submit(order(TRAILING, trail=5), START)
    venue.on_quote(quote(110))
    replaced(venue, 7)
    reports = venue.on_quote(quote(105, ts=START + 2 * MINUTE))
    assert [(f.price, f.quantity) for f in fills(reports)] == [(105, 7)]
