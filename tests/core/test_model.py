"""Values: steps of prices and quantities, times, and what a fill does to cash."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.model import (
    FINAL_STATES,
    Bar,
    Fill,
    OrderState,
    Position,
    Quote,
    Side,
    nanos,
    utc,
)
from tests.core.rig import ACME, BOUNDED, COIN

NAN, INF = float("nan"), float("inf")


def test_a_time_goes_to_nanoseconds_and_back() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 123_456, tzinfo=UTC)
    assert nanos(moment) == 1_709_251_199_123_456_000
    assert utc(nanos(moment)) == moment
    assert nanos(moment.astimezone(timezone(timedelta(hours=9)))) == nanos(moment)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        nanos(datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("value", "price"),
    [(100.004, "100.00"), (100.006, "100.01"), (Decimal("0.015"), "0.02"), (7, "7")],
)
def test_a_price_goes_to_the_nearest_tick(value: float, price: str) -> None:
    assert ACME.price(value) == Decimal(price)


@pytest.mark.parametrize(
    ("value", "quantity"), [(49.99, "49"), (0.99, "0"), (Decimal("3.9"), "3"), (50, "50")]
)
def test_a_quantity_goes_down_to_the_lot(value: float, quantity: str) -> None:
    assert ACME.quantity(value) == Decimal(quantity)


@BOUNDED
@given(st.decimals(0, 10**9, places=18))
def test_a_quantity_is_a_multiple_of_the_lot_and_never_more(value: Decimal) -> None:
    quantity = COIN.quantity(value)
    assert quantity % COIN.lot == 0
    assert value - COIN.lot < quantity <= value


@pytest.mark.parametrize(
    ("bid", "ask"), [(NAN, 1), (1, NAN), (INF, INF), (1, INF), (0, 1), (-1, 1), (2, 1), (1, -1)]
)
def test_a_quote_without_two_prices_is_none(bid: float, ask: float) -> None:
    assert not Quote("ACME", 1, bid, ask, 1, 1).is_sound


def test_a_locked_quote_is_one() -> None:
    assert Quote("ACME", 1, 100, 100, 1, 1).is_sound


@pytest.mark.parametrize(
    ("ohlc", "volume"),
    [
        ((NAN, 2, 1, 1), 1),
        ((1, NAN, 1, 1), 1),
        ((1, 2, NAN, 1), 1),
        ((1, 2, 1, NAN), 1),
        ((1, INF, 1, 1), 1),
        ((1, 2, 0, 1), 1),
        ((1, 2, -1, 1), 1),
        ((3, 2, 1, 1), 1),
        ((1, 2, 1, 3), 1),
        ((1, 1, 2, 1), 1),
        ((1, 2, 1, 1), NAN),
        ((1, 2, 1, 1), -1),
        ((1, 2, 1, 1), INF),
    ],
)
def test_a_bar_whose_range_does_not_hold_its_prices_is_none(
    ohlc: tuple[float, float, float, float], volume: float
) -> None:
    assert not Bar("ACME", 60, *ohlc, volume=volume).is_sound


def test_a_bar_without_trades_is_one() -> None:
    assert Bar("ACME", 60, 1, 1, 1, 1, 0).is_sound


@pytest.mark.parametrize(("side", "cash"), [(Side.BUY, "-1000.35"), (Side.SELL, "999.65")])
def test_a_fill_changes_cash_by_its_notional_and_its_commission(side: Side, cash: str) -> None:
    fill = Fill("x", "o", "ACME", side, Decimal(10), Decimal("100.00"), Decimal("0.35"), 1)
    assert fill.cash_change == Decimal(cash)


def test_a_position_knows_its_average_price_and_what_it_gained() -> None:
    position = Position("s", "ACME", quantity=Decimal(10), cost=Decimal(1005))
    assert position.avg_price == Decimal("100.5")
    assert position.unrealised_pnl(Decimal(99)) == Decimal(-15)
    assert Position("s", "ACME").avg_price is None


def test_sides() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY


def test_the_final_states_are_those_that_an_order_ends_in() -> None:
    ends = {"filled", "canceled", "rejected", "expired", "abandoned"}
    assert {state.value for state in FINAL_STATES} == ends
    assert set(OrderState) > FINAL_STATES
