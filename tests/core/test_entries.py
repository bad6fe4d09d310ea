"""Limit entries: where they are placed, and what is done with one that does not fill."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    BrokerChanged,
    CircuitBreakerTripped,
    ReplaceOrder,
    SignalBlocked,
    SubmitOrder,
)
from engine.core.execution.rules import EntryTimeout, ExecutionRules, PartialRemainder
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    TIMES_IN_FORCE,
    AssetClass,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from engine.core.risk import RiskLimits
from tests.core.rig import ACME, COIN, Rig

S = OrderState
ENTRY, STOP = OrderPurpose.ENTRY, OrderPurpose.PROTECTIVE_STOP


def limited(rig: dict[str, Any] | None = None, **rules: Any) -> Rig:
    """A rig with limit entries."""
    return Rig(execution=ExecutionRules(**rules), **(rig or {}))


def buy(rig: Rig, price: float = 100, **how: Any) -> Order:
    """An entry at `price`, beside a touch that does not fill it."""
    order = rig.buy(price, **how)
    assert order.type is OrderType.LIMIT
    return order


def away(rig: Rig, price: float, seconds: float = 59) -> None:
    """The price goes where nothing fills, and time passes."""
    rig.quote(price, size=0.5)
    rig.tick(seconds)


# --- placing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "limit"), [(0, "100.01"), (10, "100.11"), (-20, "99.81")])
def test_an_entry_is_a_limit_at_the_ask_and_a_set_distance_from_it(offset: int, limit: str) -> None:
    rig = limited(entry_offset_bps=Decimal(offset))
    rig.wish(Side.BUY)
    rig.quote(100, spread=0.02)
    order = rig.last(ENTRY)
    assert (order.type, order.limit_price) == (OrderType.LIMIT, Decimal(limit))


def test_it_is_sized_and_counted_at_the_furthest_price_that_it_may_follow_to() -> None:
    order = buy(limited(entry_max_chase_bps=Decimal(100)))
    assert (order.limit_price, order.reference_price) == (100, 101)
    assert order.quantity == 4950 // 101
    order = buy(limited(entry_on_timeout=EntryTimeout.GIVE_UP))
    assert (order.limit_price, order.reference_price) == (100, 100)
    assert order.quantity == 49


def test_an_offset_beyond_the_chase_is_counted_as_it_is() -> None:
    order = buy(limited(entry_offset_bps=Decimal(80)))
    assert order.limit_price == order.reference_price == Decimal("100.80")


def test_the_time_in_force_is_the_settings() -> None:
    day = limited(entry_time_in_force=TimeInForce.DAY)
    able = replace(CAPABILITIES, times_in_force=TIMES_IN_FORCE)
    day.send(BrokerChanged("paper", True, capabilities=able))
    assert buy(day).time_in_force is TimeInForce.DAY


@pytest.mark.parametrize(
    "lacks",
    [
        {"order_types": (OrderType.MARKET, OrderType.STOP)},
        {"order_types": (OrderType.MARKET, OrderType.LIMIT)},
        {"times_in_force": (TimeInForce.DAY,)},
    ],
)
def test_what_the_venue_does_not_take_is_not_sent(lacks: dict[str, Any]) -> None:
    rig = limited()
    rig.send(BrokerChanged("paper", True, capabilities=replace(CAPABILITIES, **lacks)))
    rig.signal(Side.BUY)
    assert [fact.check for fact in rig.facts(SignalBlocked)] == ["order_type"]
    assert rig.orders == {}


def test_what_the_venue_does_not_take_of_one_asset_class_it_may_take_of_another() -> None:
    rig = limited({"instruments": (ACME, COIN)}, entry_time_in_force=TimeInForce.DAY)
    crypto = replace(CAPABILITIES, times_in_force=(TimeInForce.GTC,))
    both = replace(CAPABILITIES, by_class={AssetClass.CRYPTO: crypto})
    rig.send(BrokerChanged("paper", True, capabilities=both))
    rig.signal(Side.BUY, 100, symbol="COIN")
    (blocked,) = rig.facts(SignalBlocked)
    assert (blocked.signal.symbol, blocked.check) == ("COIN", "order_type")
    assert buy(rig).time_in_force is TimeInForce.DAY


def test_too_little_to_buy_is_blocked_with_the_numbers() -> None:
    rig = limited({"starting_cash": Decimal(190), "instruments": (COIN,)})
    rig.signal(Side.BUY, 100, symbol="COIN")
    (blocked,) = rig.facts(SignalBlocked)
    assert blocked.check == "size"
    assert blocked.reason == (
        "nothing can be bought within the position size limit: 9.5 may be held over all "
        "strategies, 0 is or is on order, and the smallest order is 10"
    )


# --- chasing -------------------------------------------------------------------------------------


def test_it_follows_the_ask_when_its_time_is_over() -> None:
    rig = limited()
    order = buy(rig)
    away(rig, 100.2, 58)
    assert rig.count(ReplaceOrder) == 0
    rig.tick(1)
    assert rig.now_of(order).limit_price == Decimal("100.20")
    rig.quote(100.2)
    assert rig.state_of(order) is S.FILLED
    assert len(rig.submits(ENTRY)) == 1


def test_it_follows_down_too() -> None:
    rig = limited(entry_offset_bps=Decimal(-50))
    order = buy(rig)
    away(rig, 99.8)
    assert rig.now_of(order).limit_price == Decimal("99.30")


def test_it_stays_where_the_ask_is() -> None:
    rig = limited()
    order = buy(rig)
    rig.void = {SubmitOrder}
    rig.tick(60)
    rig.quote(100, size=0.5)
    rig.tick(60)
    assert rig.count(ReplaceOrder) == 0
    assert rig.state_of(order) is S.ACCEPTED


def test_it_is_given_up_after_a_set_number_of_new_prices() -> None:
    rig = limited(entry_max_chases=2)
    order = buy(rig)
    for price in (100.1, 100.2):
        away(rig, price)
        assert rig.now_of(order).limit_price == Decimal(str(price))
    away(rig, 100.3)
    assert rig.state_of(order) is S.CANCELED
    assert rig.count(ReplaceOrder) == 2
    rig.quote(100)
    assert rig.position().quantity == 0


def test_it_is_given_up_where_the_price_went_too_far() -> None:
    rig = limited()
    order = buy(rig)
    away(rig, 100.51)
    assert rig.state_of(order) is S.CANCELED
    assert rig.count(ReplaceOrder) == 0


def test_give_up_cancels_it_at_its_time() -> None:
    rig = limited(entry_on_timeout=EntryTimeout.GIVE_UP)
    order = buy(rig)
    away(rig, 100.1, 58)
    assert rig.state_of(order) is S.ACCEPTED
    rig.tick(1)
    assert rig.state_of(order) is S.CANCELED


def test_where_the_venue_cannot_replace_it_is_given_up() -> None:
    rig = limited()
    order = buy(rig)
    rig.send(BrokerChanged("paper", True, capabilities=replace(CAPABILITIES, replace=False)))
    away(rig, 100.1)
    assert rig.state_of(order) is S.CANCELED


@pytest.mark.parametrize("how", ["breaker", "stale", "paused"])
def test_no_new_price_is_asked_for_where_no_entry_may_be_made(how: str) -> None:
    rig = limited()
    order = buy(rig)
    rig.quote(100.1, size=0.5)
    if how == "breaker":
        rig.machine.safety.trip_breaker("test")
        rig.tick(59)
        assert rig.facts(CircuitBreakerTripped)
    elif how == "paused":
        rig.machine.pauses.pause("ACME", "test")
        rig.tick(59)
    else:
        rig.tick(125)
    assert rig.state_of(order) is S.CANCELED
    assert rig.count(ReplaceOrder) == 0


def test_a_bar_is_a_clock_too() -> None:
    rig = limited(entry_max_chases=1)
    rig.bar(100)
    rig.wish(Side.BUY)
    rig.tick()
    order = rig.last(ENTRY)
    rig.bar(100.2)
    assert rig.now_of(order).limit_price == Decimal("100.20")
    rig.bar(100.3)
    assert rig.state_of(order) is S.CANCELED


def test_a_signal_to_sell_ends_the_chase() -> None:
    rig = limited()
    order = buy(rig)
    rig.wish(Side.SELL)
    rig.tick()
    away(rig, 100.1)
    assert rig.state_of(order) is S.CANCELED
    assert rig.count(ReplaceOrder) == 0


def test_no_limit_is_passed_by_a_chase() -> None:
    """The audit looks at every submit; this at what an entry costs after it followed the price."""
    rig = limited({"limits": RiskLimits(max_position_size_pct=Decimal(1))})
    order = buy(rig, 10)
    away(rig, 10.05)
    rig.quote(10.05)
    assert rig.state_of(order) is S.FILLED
    assert rig.position().cost <= 1000


# --- filled in part ------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", list(EntryTimeout))
def test_the_rest_of_what_was_filled_in_part_is_cancelled(timeout: EntryTimeout) -> None:
    rig = limited(entry_on_timeout=timeout)
    order = buy(rig)
    rig.quote(100, size=20)
    away(rig, 100.1)
    assert rig.state_of(order) is S.CANCELED
    assert rig.position().quantity == 20
    assert [(o.purpose, o.leaves) for o in rig.open] == [(STOP, 20)]


def test_the_rest_is_kept_where_it_is_by_setting() -> None:
    rig = limited(entry_on_timeout=EntryTimeout.GIVE_UP, partial_remainder=PartialRemainder.KEEP)
    order = buy(rig)
    rig.quote(100, size=20)
    away(rig, 100.1, 300)
    assert rig.state_of(order) is S.PARTIALLY_FILLED
    rig.quote(100)
    assert rig.state_of(order) is S.FILLED


def test_the_rest_that_is_kept_is_chased_as_the_whole_is() -> None:
    rig = limited(partial_remainder=PartialRemainder.KEEP)
    order = buy(rig)
    rig.quote(100, size=20)
    away(rig, 100.1)
    assert rig.now_of(order).limit_price == Decimal("100.10")
    assert rig.now_of(order).leaves == order.quantity - 20


# --- after a restart -----------------------------------------------------------------------------


def test_a_restart_goes_on_with_the_chase() -> None:
    rig = limited(entry_max_chases=1)
    order = buy(rig)
    away(rig, 100.1, 30)
    after = limited(
        {"restored": rig.durable(), "exchange": rig.exchange, "now": rig.now}, entry_max_chases=1
    )
    after.quote(100.1, size=0.5)
    after.tick(30)
    assert after.now_of(order).limit_price == Decimal("100.10")
    away(after, 100.2)
    assert after.state_of(order) is S.CANCELED


def test_what_is_looked_at_when_is_state() -> None:
    rig = limited()
    order = buy(rig)
    assert rig.machine.state()["desk"]["entries"] == {
        order.client_order_id: order.created_ts + 60 * 10**9
    }
    rig.quote(100)
    rig.tick(1)
    assert rig.machine.state()["desk"]["entries"] == {}


def test_symbols_are_not_mixed_up() -> None:
    rig = limited({"instruments": (ACME, COIN)})
    first = buy(rig)
    rig.tick(30)
    second = buy(rig, 50, symbol="COIN")
    rig.quote(100.1, size=0.5)
    rig.quote(50.1, "COIN", size=0.001)
    rig.tick(28)
    assert rig.now_of(first).limit_price == Decimal("100.10")
    assert rig.now_of(second).limit_price == 50
