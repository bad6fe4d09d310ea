"""Simulated time: what fills, at which price, how much, and never on what was known before."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import CancelRejected, ExecutionReport
from engine.core.matching import ANSWERS_KEPT, ExchangeRules, SimulatedExchange
from engine.core.model import (
    MINUTE,
    Bar,
    Fill,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from tests.core.rig import ACME, BOUNDED, COIN, FREE

S = OrderState
NOON = 720 * MINUTE
NAN, INF = float("nan"), float("inf")

MARKET, LIMIT, STOP, STOP_LIMIT = (
    OrderType.MARKET,
    OrderType.LIMIT,
    OrderType.STOP,
    OrderType.STOP_LIMIT,
)


def exchange(**rules: Any) -> SimulatedExchange:
    given = {name: Decimal(str(value)) for name, value in rules.items()}
    free = {name: getattr(FREE, name) for name in FREE.__struct_fields__}
    return SimulatedExchange((ACME, COIN), ExchangeRules(**(free | given)))


def order(
    side: Side = Side.BUY,
    kind: OrderType = MARKET,
    quantity: object = 10,
    *,
    limit: object = None,
    stop: object = None,
    key: str = "tb-1",
    **fields: Any,
) -> Order:
    return Order(
        key,
        "s",
        fields.pop("symbol", "ACME"),
        side,
        kind,
        Decimal(str(quantity)),
        OrderPurpose.ENTRY,
        NOON,
        NOON,
        Decimal(100),
        limit_price=None if limit is None else Decimal(str(limit)),
        stop_price=None if stop is None else Decimal(str(stop)),
        **fields,
    )


def bar(
    open_: float, high: float, low: float, close: float, volume: float = 1e6, minute: int = 1
) -> Bar:
    """The bar that begins at noon, or `minute` - 1 minutes after."""
    return Bar("ACME", NOON + minute * MINUTE, open_, high, low, close, volume)


def quote(bid: float, ask: float, bid_size: float = 1e6, ask_size: float = 1e6) -> Quote:
    return Quote("ACME", NOON + 1, bid, ask, bid_size, ask_size)


def fills(reports: list[ExecutionReport]) -> list[Fill]:
    return [report.fill for report in reports if report.fill is not None]


def prices(reports: list[ExecutionReport]) -> list[Decimal]:
    return [fill.price for fill in fills(reports)]


def test_an_order_that_rests_is_known_however_many_came_after_it() -> None:
    venue = exchange()
    venue.submit(order(kind=STOP, stop=200, key="tb-rests"), NOON)
    for number in range(ANSWERS_KEPT + 10):
        venue.submit(order(symbol="NOPE", key=f"tb-{number}"), NOON)
    answer = venue.find("tb-rests")
    assert answer is not None
    assert answer.state is S.ACCEPTED
    assert venue.submit(order(kind=STOP, stop=200, key="tb-rests"), NOON) == answer
    assert len(venue.open_orders()) == 1
    assert venue.find("tb-0") is None


# --- market --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "100.01"), (Side.SELL, "99.99")])
def test_a_market_order_fills_at_the_next_open_plus_slippage(side: Side, price: str) -> None:
    venue = exchange(slippage_bps=1)
    venue.submit(order(side), NOON)
    (report,) = venue.on_bar(bar(100, 110, 90, 105))
    assert report.state is S.FILLED
    assert prices([report]) == [Decimal(price)]
    assert fills([report])[0].ts == NOON + MINUTE, "a bar is known at its close"


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 101), (Side.SELL, 99)])
def test_a_market_order_fills_at_the_touch_of_the_next_quote(side: Side, price: int) -> None:
    venue = exchange()
    venue.submit(order(side), NOON)
    assert prices(venue.on_quote(quote(99, 101))) == [Decimal(price)]


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "33.34"), (Side.SELL, "33.32")])
def test_slippage_goes_to_the_next_worse_tick(side: Side, price: str) -> None:
    venue = exchange(slippage_bps=1)  # 0.003333
    venue.submit(order(side), NOON)
    assert prices(venue.on_bar(bar(33.33, 34, 33, 33))) == [Decimal(price)]
    assert venue.slippage_paid == Decimal("0.10")


def test_slippage_never_makes_a_price_of_nothing() -> None:
    venue = exchange(slippage_bps=10_000)
    venue.submit(order(Side.SELL), NOON)
    assert prices(venue.on_bar(bar(1, 1, 1, 1))) == [Decimal("0.01")]


# --- never on what was before --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MARKET, LIMIT, STOP])
def test_a_bar_that_had_begun_before_the_order_fills_nothing(kind: OrderType) -> None:
    venue = exchange()
    limit, stop = (105 if kind is LIMIT else None), (95 if kind is STOP else None)
    venue.submit(order(kind=kind, limit=limit, stop=stop), NOON + 1)
    assert venue.on_bar(bar(100, 110, 90, 100)) == []
    assert len(venue.on_bar(bar(100, 110, 90, 100, minute=2))) == 1


def test_a_quote_from_before_the_order_fills_nothing() -> None:
    venue = exchange()
    venue.submit(order(), NOON + 2)
    assert venue.on_quote(quote(99, 101)) == []
    assert len(venue.on_quote(Quote("ACME", NOON + 2, 99, 101, 10, 10))) == 1


def test_an_order_of_the_bars_close_fills_in_the_next_bar() -> None:
    venue = exchange()
    first = bar(100, 100, 100, 100)
    venue.on_bar(first)
    venue.submit(order(), first.ts)
    assert prices(venue.on_bar(bar(107, 108, 106, 107, minute=2))) == [Decimal(107)]


def test_an_order_that_waits_for_size_at_quotes_does_not_fill_at_a_past_open() -> None:
    venue = exchange()
    venue.submit(order(quantity=10), NOON)
    assert fills(venue.on_quote(quote(99, 101, ask_size=4)))[0].quantity == 4
    assert venue.on_bar(bar(80, 120, 80, 101)) == []
    assert fills(venue.on_quote(quote(101, 103)))[0].price == 103


# --- limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "limit", "ohlc", "price"),
    [
        (Side.BUY, 99, (100, 101, 98, 100), 99),
        (Side.BUY, 99, (100, 101, 99, 100), None),
        (Side.BUY, 99, (97, 101, 96, 100), 97),
        (Side.BUY, 99, (99, 101, 99, 100), None),
        (Side.SELL, 101, (100, 102, 99, 100), 101),
        (Side.SELL, 101, (100, 101, 99, 100), None),
        (Side.SELL, 101, (103, 104, 99, 100), 103),
    ],
    ids=["through", "touched", "better open", "open at it", "through", "touched", "better open"],
)
def test_a_limit_order_fills_where_the_bar_trades_through_it(
    side: Side, limit: int, ohlc: tuple[float, float, float, float], price: int | None
) -> None:
    venue = exchange(slippage_bps=50)
    venue.submit(order(side, LIMIT, limit=limit), NOON)
    assert prices(venue.on_bar(bar(*ohlc))) == ([] if price is None else [Decimal(price)])


@pytest.mark.parametrize(
    ("side", "limit", "price"),
    [(Side.BUY, 101, 101), (Side.BUY, 105, 101), (Side.BUY, 100, None),
     (Side.SELL, 99, 99), (Side.SELL, 95, 99), (Side.SELL, 100, None)],
)  # fmt: skip
def test_a_limit_order_fills_at_a_quote_that_crosses_it(
    side: Side, limit: int, price: int | None
) -> None:
    venue = exchange(slippage_bps=50)
    venue.submit(order(side, LIMIT, limit=limit), NOON)
    assert prices(venue.on_quote(quote(99, 101))) == ([] if price is None else [Decimal(price)])


@pytest.mark.parametrize(
    ("limit", "asks", "liquidity"),
    [
        (101, (101,), Liquidity.TAKER),
        (101, (102, 101), Liquidity.MAKER),
        (101, (101, 101), Liquidity.TAKER),
        (None, (101,), Liquidity.TAKER),
    ],
    ids=["crosses", "waits", "crosses at once", "market"],
)
def test_a_limit_order_that_rests_before_it_fills_is_a_maker(
    limit: int | None, asks: tuple[float, ...], liquidity: Liquidity
) -> None:
    """The order comes before the last of the quotes."""
    venue = exchange()
    for ask in asks[:-1]:
        venue.on_quote(quote(99, ask))
    venue.submit(order(Side.BUY, LIMIT if limit else MARKET, limit=limit), NOON)
    (fill,) = fills(venue.on_quote(quote(99, asks[-1])))
    assert fill.liquidity is liquidity


def test_what_is_left_of_an_order_that_crossed_rests() -> None:
    venue = exchange()
    venue.submit(order(Side.BUY, LIMIT, 10, limit=101), NOON)
    reports = [*venue.on_quote(quote(99, 101, 1, 4)), *venue.on_quote(quote(99, 101, 1, 6))]
    assert [f.liquidity for f in fills(reports)] == [Liquidity.TAKER, Liquidity.MAKER]


@pytest.mark.parametrize(
    ("kind", "opens", "liquidity"),
    [
        (LIMIT, (98,), Liquidity.TAKER),
        (LIMIT, (100,), Liquidity.MAKER),
        (LIMIT, (101, 98), Liquidity.MAKER),
        (STOP_LIMIT, (98.5,), Liquidity.TAKER),
    ],
    ids=["at the open", "within", "at a later open", "a stop that is touched"],
)
def test_a_limit_order_that_a_bar_reaches_is_a_maker(
    kind: OrderType, opens: tuple[float, ...], liquidity: Liquidity
) -> None:
    venue = exchange()
    stop = 98 if kind is STOP_LIMIT else None
    venue.submit(order(Side.BUY, kind, stop=stop, limit=99), NOON)
    told: list[ExecutionReport] = []
    for minute, opened in enumerate(opens, start=1):
        told += venue.on_bar(bar(opened, opened, opened - 1.5, opened, minute=minute))
    (fill,) = fills(told)
    assert fill.liquidity is liquidity


# --- stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop", "ohlc", "price"),
    [
        (Side.SELL, 98, (100, 101, 98, 99), "97.51"),
        (Side.SELL, 98, (100, 101, 98.01, 99), None),
        (Side.SELL, 98, (90, 95, 85, 92), "89.55"),
        (Side.BUY, 102, (100, 102, 99, 101), "102.51"),
        (Side.BUY, 102, (100, 101.99, 99, 101), None),
        (Side.BUY, 102, (110, 111, 108, 109), "110.55"),
    ],
    ids=["touched", "missed", "gapped", "touched", "missed", "gapped"],
)
def test_a_stop_fills_where_it_is_touched_or_at_the_open_of_a_gap_with_slippage(
    side: Side, stop: int, ohlc: tuple[float, float, float, float], price: str | None
) -> None:
    venue = exchange(slippage_bps=50)
    venue.submit(order(side, STOP, stop=stop), NOON)
    assert prices(venue.on_bar(bar(*ohlc))) == ([] if price is None else [Decimal(price)])


@pytest.mark.parametrize(("bid", "price"), [(98.01, None), (98, 98), (90, 90)])
def test_a_stop_is_triggered_by_a_quote_and_fills_at_its_touch(
    bid: float, price: int | None
) -> None:
    venue = exchange()
    venue.submit(order(Side.SELL, STOP, stop=98), NOON)
    assert prices(venue.on_quote(quote(bid, 99))) == ([] if price is None else [Decimal(price)])


def test_a_stop_once_touched_stays_a_market_order() -> None:
    venue = exchange(max_volume_share_pct=10)
    venue.submit(order(Side.SELL, STOP, stop=98), NOON)
    assert prices(venue.on_bar(bar(100, 101, 97, 99, volume=40))) == [Decimal(98)]
    assert prices(venue.on_bar(bar(105, 106, 104, 105, minute=2))) == [Decimal(105)]


# --- stop-limit ----------------------------------------------------------------------------------


def test_a_stop_limit_becomes_a_limit_where_it_is_touched() -> None:
    venue = exchange()
    venue.submit(order(Side.BUY, STOP_LIMIT, stop=102, limit=103), NOON)
    assert venue.on_bar(bar(100, 101, 99, 100)) == []
    assert prices(venue.on_bar(bar(101, 104, 100, 104, minute=2))) == [Decimal(102)]


def test_a_stop_limit_that_gaps_past_its_limit_waits_there() -> None:
    venue = exchange()
    venue.submit(order(Side.BUY, STOP_LIMIT, stop=102, limit=103), NOON)
    assert venue.on_bar(bar(105, 106, 101, 104)) == [], "the low may be from before the touch"
    assert prices(venue.on_bar(bar(104, 105, 102, 104, minute=2))) == [Decimal(103)]


def test_a_stop_limit_at_quotes() -> None:
    venue = exchange()
    venue.submit(order(Side.SELL, STOP_LIMIT, stop=98, limit=97), NOON)
    assert venue.on_quote(quote(99, 100)) == []
    assert venue.on_quote(quote(96, 100)) == []
    assert prices(venue.on_quote(quote(97.5, 100))) == [Decimal("97.5")]


# --- size ----------------------------------------------------------------------------------------


def test_no_more_than_the_share_of_the_volume_fills_and_the_rest_waits() -> None:
    venue = exchange(max_volume_share_pct=10)
    venue.submit(order(quantity=25), NOON)
    got: list[tuple[OrderState, Decimal]] = []
    for minute in (1, 2, 3):
        (report,) = venue.on_bar(bar(100, 100, 100, 100, volume=109, minute=minute))
        got.append((report.state, fills([report])[0].quantity))
    assert got == [(S.PARTIALLY_FILLED, 10), (S.PARTIALLY_FILLED, 10), (S.FILLED, 5)]


def test_orders_share_the_volume_of_a_bar_in_the_order_of_their_arrival() -> None:
    venue = exchange(max_volume_share_pct=10)
    venue.submit(order(quantity=7), NOON)
    venue.submit(order(quantity=7, key="tb-2"), NOON)
    reports = venue.on_bar(bar(100, 100, 100, 100, volume=100))
    assert [(r.client_order_id, f.quantity) for r, f in zip(reports, fills(reports), strict=True)] \
        == [("tb-1", 7), ("tb-2", 3)]  # fmt: skip


def test_orders_of_one_side_share_the_size_of_a_quote() -> None:
    venue = exchange()
    for key, side in (("tb-1", Side.BUY), ("tb-2", Side.BUY), ("tb-3", Side.SELL)):
        venue.submit(order(side, quantity=7, key=key), NOON)
    got = {r.client_order_id: r.fill.quantity for r in venue.on_quote(quote(99, 101, 5, 10))
           if r.fill}  # fmt: skip
    assert got == {"tb-1": 7, "tb-2": 3, "tb-3": 5}


def test_less_than_a_lot_fills_nothing() -> None:
    venue = exchange(max_volume_share_pct=10)
    venue.submit(order(), NOON)
    assert venue.on_bar(bar(100, 100, 100, 100, volume=9)) == []
    assert venue.on_bar(bar(100, 100, 100, 100, volume=0, minute=2)) == []


@pytest.mark.parametrize("size", [NAN, 0.0, -5.0])
def test_a_quote_without_size_fills_nothing(size: float) -> None:
    venue = exchange()
    venue.submit(order(), NOON)
    assert venue.on_quote(quote(99, 101, size, size)) == []


@pytest.mark.parametrize("size", [INF, 1e300])
def test_a_size_beyond_measure_fills_the_order_and_no_more(size: float) -> None:
    venue = exchange()
    venue.submit(order(), NOON)
    assert fills(venue.on_quote(quote(99, 101, size, size)))[0].quantity == 10


@pytest.mark.parametrize(
    ("bid", "ask"), [(NAN, NAN), (INF, INF), (0, 0), (-1, 1), (101, 99), (1, 199)]
)
def test_an_unsound_quote_fills_nothing(bid: float, ask: float) -> None:
    venue = exchange()
    venue.submit(order(), NOON)
    venue.submit(order(Side.SELL, key="tb-2"), NOON)
    assert venue.on_quote(quote(bid, ask)) == []


@pytest.mark.parametrize("ohlc", [(NAN, 1, 1, 1), (INF, INF, 1, 1), (0, 1, 0, 1), (5, 4, 3, 4)])
def test_an_unsound_bar_fills_nothing(ohlc: tuple[float, float, float, float]) -> None:
    venue = exchange()
    venue.submit(order(), NOON)
    assert venue.on_bar(bar(*ohlc)) == []


# --- costs ---------------------------------------------------------------------------------------


def test_a_buy_pays_in_what_it_buys_where_the_instrument_says_so() -> None:
    coin = replace(COIN, lot=Decimal("0.001"), commission_in_base=True)
    rules = ExchangeRules(Decimal("0.1"), Decimal(0), Decimal(100))
    venue = SimulatedExchange((coin,), rules)
    told: list[Fill] = []
    for side in Side:
        venue.submit(order(side, quantity="1.234", key=f"tb-{side}", symbol="COIN"), 1)
        reports = venue.on_quote(Quote("COIN", 2, 100, 100, 10, 10))
        told += [report.fill for report in reports if report.fill is not None]
    bought, sold = told
    assert (bought.commission, bought.commission_quantity) == (0, Decimal("0.001234"))
    assert (sold.commission, sold.commission_quantity) == (Decimal("0.1234"), 0)


def test_commission_is_a_percentage_of_the_notional() -> None:
    venue = exchange(commission_pct="0.1")
    venue.submit(order(quantity=7), NOON)
    (fill,) = fills(venue.on_bar(bar(33.33, 34, 33, 33)))
    assert fill.commission == Decimal("0.23331")


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"symbol": "NOPE"}, "unknown symbol"),
        ({"quantity": "0.5"}, "lot"),
        ({"quantity": 0}, "lot"),
        ({"quantity": -1}, "lot"),
        ({"kind": LIMIT, "limit": "100.001"}, "tick"),
        ({"kind": STOP, "stop": "99.999"}, "tick"),
        ({"kind": STOP, "stop": 0}, "tick"),
        ({"kind": LIMIT, "limit": -1}, "tick"),
        ({"kind": STOP, "stop": 90, "time_in_force": TimeInForce.IOC}, "ioc"),
        ({"kind": LIMIT}, "limit price"),
        ({"limit": 99}, "limit price"),
        ({"kind": STOP}, "stop price"),
        ({"kind": OrderType.TRAILING_STOP}, "trail"),
        ({"kind": OrderType.TRAILING_STOP, "trail": Decimal("0.001")}, "tick"),
        ({"symbol": "COIN", "quantity": "0.0999"}, "notional 9.99 is below the minimum 10"),
        ({"quantity": "1e40"}, "quantity"),
        ({"quantity": "NaN"}, "quantity"),
    ],
)
def test_an_order_that_the_venue_does_not_take_is_rejected_with_the_rule(
    wrong: dict[str, Any], said: str
) -> None:
    venue = exchange()
    report = venue.submit(order(**wrong), NOON)
    assert report.state is S.REJECTED
    assert said in report.reason
    assert venue.on_bar(bar(100, 101, 90, 100)) == []


def test_the_same_client_order_id_is_one_order() -> None:
    venue = exchange()
    first = venue.submit(order(), NOON)
    assert venue.submit(order(), NOON) == first
    (fill,) = fills(venue.on_bar(bar(100, 100, 100, 100)))
    assert fill.quantity == 10
    assert venue.submit(order(), NOON).state is S.FILLED
    assert venue.on_bar(bar(100, 100, 100, 100, minute=2)) == []


def test_a_cancel_is_confirmed_or_comes_too_late() -> None:
    venue = exchange()
    venue.submit(order(), NOON)
    canceled = venue.cancel("tb-1", NOON)
    assert isinstance(canceled, ExecutionReport)
    assert canceled.state is S.CANCELED
    assert venue.on_bar(bar(100, 100, 100, 100)) == []
    again = venue.cancel("tb-1", NOON)
    assert isinstance(again, CancelRejected)
    assert again.reason == "too late"
    unknown = venue.cancel("tb-9", NOON)
    assert isinstance(unknown, CancelRejected)
    assert unknown.reason == "unknown order"


def test_it_finds_an_order_by_its_client_order_id() -> None:
    venue = exchange()
    assert venue.find("tb-1") is None
    venue.submit(order(), NOON)
    found = venue.find("tb-1")
    assert found is not None
    assert found.state is S.ACCEPTED
    venue.on_bar(bar(100, 100, 100, 100))
    found = venue.find("tb-1")
    assert found is not None
    assert found.state is S.FILLED


def test_a_restored_order_goes_on_where_it_was() -> None:
    venue = exchange()
    venue.restore([order(filled=Decimal(4), state=S.PARTIALLY_FILLED)], NOON)
    (fill,) = fills(venue.on_bar(bar(100, 100, 100, 100)))
    assert fill.quantity == 6
    assert fill.execution_id == "tb-1-10"


# --- whatever comes ------------------------------------------------------------------------------


@BOUNDED
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Side)),
            st.sampled_from([MARKET, LIMIT, STOP, STOP_LIMIT]),
            st.integers(1, 50),
            st.integers(90, 110),
            st.integers(90, 110),
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(
        st.tuples(st.integers(90, 110), st.integers(0, 5), st.integers(0, 5), st.integers(0, 400)),
        max_size=15,
    ),
)
def test_fills_stay_within_the_order_the_limit_the_range_and_the_volume(
    wanted: list[tuple[Side, OrderType, int, int, int]], market: list[tuple[int, int, int, int]]
) -> None:
    venue = exchange(max_volume_share_pct=10)
    orders: dict[str, Order] = {}
    for number, (side, kind, quantity, limit, stop) in enumerate(wanted):
        key = f"tb-{number}"
        limited, stopped = kind in (LIMIT, STOP_LIMIT), kind in (STOP, STOP_LIMIT)
        orders[key] = order(
            side, kind, quantity, key=key,
            limit=limit if limited else None, stop=stop if stopped else None,
        )  # fmt: skip
        venue.submit(orders[key], NOON)
    done: dict[str, Decimal] = {}
    for minute, (open_, up, down, volume) in enumerate(market, 1):
        candle = bar(open_, open_ + up, open_ - down, open_, float(volume), minute)
        executed = fills(venue.on_bar(candle))
        assert sum(fill.quantity for fill in executed) <= Decimal(volume) / 10
        for fill in executed:
            wish = orders[fill.client_order_id]
            assert candle.low <= fill.price <= candle.high
            if wish.limit_price is not None:
                assert wish.side.sign * (fill.price - wish.limit_price) <= 0
            done[wish.client_order_id] = done.get(wish.client_order_id, Decimal(0)) + fill.quantity
            assert done[wish.client_order_id] <= wish.quantity
