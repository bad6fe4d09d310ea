"""Every limit at its boundary and one step over it; limits that change while the engine runs."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.calendars import session_tables
from engine.core.events import (
    AccountStatement,
    BrokerChanged,
    ChangeLimit,
    CircuitBreakerTripped,
    CommandRefused,
    CommitIntent,
    KillSwitchTriggered,
    LimitChanged,
    QuoteUpdate,
    Restored,
    RiskChecked,
    SignalBlocked,
    StrategyState,
)
from engine.core.execution.rules import ExecutionRules
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    MINUTE,
    NANOS,
    AssetClass,
    Instrument,
    OrderPurpose,
    OrderType,
    Position,
    Quote,
    Side,
    TimeInForce,
    nanos,
)
from engine.core.risk import RiskLimits
from tests.core.rig import ACME, AT_MARKET, BOUNDED, COIN, START, Rig
from tests.core.test_risk import blocks, holding, limits, lose

B, S = Side.BUY, Side.SELL
DAY = 24 * 60 * MINUTE


def checked(rig: Rig, check: str) -> list[tuple[float, float, bool]]:
    return [(f.used, f.limit, f.passed) for f in rig.facts(RiskChecked) if f.check == check]


def reason(rig: Rig) -> str:
    return rig.facts(SignalBlocked)[-1].reason


# --- the position --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_position_notional", "max_order_notional"])
def test_an_entry_is_sized_within_the_absolute_limits(name: str) -> None:
    rig = Rig(limits=limits(**{name: Decimal(1005)}))
    assert rig.buy(100).quantity == 9, "99 % of 1,005, divided by 100.50"
    assert checked(rig, name.removeprefix("max_")) == [(904.5, 1005, True)]


@pytest.mark.parametrize(("most", "leave"), [("1809", 2), ("1808.99", 1)])
def test_the_absolute_size_holds_at_its_limit_and_not_a_cent_over(most: str, leave: int) -> None:
    # Two strategies' entries on their way, of 9 shares at 100.50 at their worst.
    both = limits(max_position_notional=Decimal(2010), max_order_notional=Decimal(1005))
    rig = Rig("puppet", "other", limits=both)
    rig.hold = {CommitIntent}
    rig.buy(100)
    rig.signal(B, 100, strategy="other")
    rig.send(ChangeLimit(name="max_position_notional", value=most))
    rig.release()
    assert [order.quantity for order in rig.submits(OrderPurpose.ENTRY)] == [9] * leave


@pytest.mark.parametrize(("price", "blocked"), [(5.0, []), (4.99, ["min_price"])])
def test_nothing_is_bought_below_the_least_price(price: float, blocked: list[str]) -> None:
    rig = Rig(limits=limits(min_price=Decimal(5)))
    rig.signal(B, price)
    assert blocks(rig) == blocked
    assert (
        not blocked or reason(rig) == "min price would be 4.99 $, must be at least 5 $ (MIN_PRICE)"
    )


@pytest.mark.parametrize(
    ("prices", "blocked"),
    [
        ([100, 105], []),
        ([100, 105.01], ["price_collar"]),
        ([100, 95], []),
        ([100, 94.99], ["price_collar"]),
        ([100, 1000], ["price_collar"]),  # a lone print ten times as high
        ([100, 1], ["price_collar"]),  # and a hundredth
        ([100, 1000, 1000], []),  # not alone
        ([1000], []),
    ],
)
def test_a_print_far_from_the_one_before_is_not_bought_on(
    prices: list[float], blocked: list[str]
) -> None:
    rig = Rig(limits=limits(price_collar_pct=5, max_position_size_pct=50))
    for price in prices[:-1]:
        rig.quote(price)
    rig.signal(B, prices[-1])
    assert blocks(rig) == blocked
    assert len(rig.submits(OrderPurpose.ENTRY)) == 1 - len(blocked)


@pytest.mark.parametrize(("ask", "blocked"), [(99.99, []), (100, ["self_trade"])])
def test_no_entry_trades_with_an_order_of_the_account(ask: float, blocked: list[str]) -> None:
    by_limit = replace(AT_MARKET, exit_order_type=OrderType.LIMIT)
    five = limits(max_position_size_pct=5)
    rig = Rig("puppet", "other", execution=by_limit, limits=five, restored=holding(10))
    rig.quote(100)
    rig.wish(Side.SELL)
    rig.quote(100, size=0.5)
    assert rig.last(OrderPurpose.EXIT).limit_price == 100
    rig.wish(Side.BUY, "other")
    rig.send(QuoteUpdate(Quote("ACME", rig.now, 99.98, ask, 0.5, 0.5)))
    assert [fact.check for fact in rig.facts(SignalBlocked)] == blocked


def test_a_bar_whose_close_is_far_from_its_open_is_a_lone_print_and_a_day_is_none() -> None:
    for interval, blocked in ((MINUTE, ["price_collar"]), (DAY, [])):
        rig = Rig(limits=limits(price_collar_pct=5))
        rig.bar(100, 1000, 100, 1000, interval=interval)
        rig.wish(B, price=1000.0)
        rig.tick()
        assert blocks(rig) == blocked


def test_a_spread_counts_as_distance() -> None:
    rig = Rig(limits=limits(price_collar_pct=2))
    rig.quote(100)
    rig.wish(B)
    rig.quote(100, spread=4.2)
    assert blocks(rig) == ["price_collar"]


# --- market hours --------------------------------------------------------------------------------

LISTED = Instrument("ACME", AssetClass.STOCK, ACME.tick, ACME.lot, calendar="XNYS")
TABLES = session_tables([LISTED], START, START)


def new_york(*when: int) -> int:
    """2024, UTC-5 in March before the 10th."""
    month, day, hour, minute = when
    return nanos(datetime(2024, month, day, hour, minute, tzinfo=UTC)) + 5 * 60 * MINUTE


@pytest.mark.parametrize(
    ("now", "extended", "blocked"),
    [
        (new_york(3, 4, 9, 29), False, True),
        (new_york(3, 4, 9, 30), False, False),
        (new_york(3, 4, 15, 59), False, False),
        (new_york(3, 4, 16, 0), False, True),
        (new_york(3, 4, 16, 0), True, False),
        (new_york(3, 4, 20, 0), True, True),
        (new_york(3, 2, 12, 0), True, True),
    ],
)
def test_entries_are_made_in_the_sessions_of_the_market(
    now: int, extended: bool, blocked: bool
) -> None:
    rig = Rig(
        instruments=[LISTED, COIN], now=now - NANOS, calendars=TABLES,
        limits=limits(extended_hours=extended, max_position_size_pct=5), execution=ExecutionRules(),
    )  # fmt: skip
    rig.signal(B, 100)
    assert blocks(rig) == ["market_hours"] * blocked
    rig.signal(B, 100, symbol="COIN")
    assert len(rig.submits(OrderPurpose.ENTRY)) == 2 - blocked, "crypto never closes"


AFTER_HOURS = new_york(3, 4, 16, 0)


def after_hours(**rules: Any) -> Rig:
    return Rig(
        instruments=[LISTED], now=AFTER_HOURS - NANOS, calendars=TABLES,
        limits=limits(extended_hours=True), execution=ExecutionRules(**rules),
    )  # fmt: skip


def test_outside_the_regular_session_an_entry_is_a_limit_order_of_the_day() -> None:
    rig = after_hours(entry_time_in_force=TimeInForce.GTC)
    assert rig.buy(100).time_in_force is TimeInForce.DAY
    rig = after_hours(entry_time_in_force=TimeInForce.GTC)
    rig.now -= NANOS
    assert rig.buy(100).time_in_force is TimeInForce.GTC


@pytest.mark.parametrize(
    ("rules", "can", "told"),
    [
        ({"entry_order_type": OrderType.MARKET}, {}, "ENTRY_ORDER_TYPE"),
        ({"entry_time_in_force": TimeInForce.IOC}, {}, "ENTRY_TIME_IN_FORCE"),
        ({}, {"extended_hours": False}, "paper works no order outside the regular session"),
    ],
)
def test_what_no_venue_works_outside_the_regular_session_is_not_sent(
    rules: dict[str, Any], can: dict[str, Any], told: str
) -> None:
    """It would wait there for the open, whatever the price is then."""
    rig = after_hours(**rules)
    rig.send(BrokerChanged("paper", True, capabilities=replace(CAPABILITIES, **can)))
    rig.signal(B, 100)
    assert blocks(rig) == ["market_hours"]
    assert told in rig.facts(SignalBlocked)[0].reason
    assert not rig.orders


def test_the_next_open_is_told() -> None:
    rig = Rig(instruments=[LISTED], now=new_york(3, 1, 16, 0), calendars=TABLES)
    rig.signal(B, 100)
    assert reason(rig) == "market hours: XNYS is closed, and opens at 2024-03-04 14:30 UTC"


def test_a_position_is_closed_outside_the_session_too() -> None:
    rig = Rig(instruments=[LISTED], now=new_york(3, 1, 15, 59), calendars=TABLES)
    rig.hold_position(100)
    rig.now = new_york(3, 1, 17, 0)
    rig.signal(S, 100)
    assert len(rig.submits(OrderPurpose.EXIT)) == 1


def test_what_is_decided_on_daily_bars_is_for_the_next_session() -> None:
    rig = Rig(instruments=[LISTED], now=new_york(3, 1, 16, 0) - DAY, calendars=TABLES)
    rig.bar(100, interval=DAY)
    rig.wish(B)
    rig.tick()
    assert blocks(rig) == []


# --- asset classes -------------------------------------------------------------------------------


def test_crypto_has_limits_of_its_own() -> None:
    own = RiskLimits(
        crypto_max_position_size_pct=Decimal(2), crypto_stop_loss_pct=Decimal(10),
        crypto_price_collar_pct=Decimal(20), crypto_min_price=Decimal(1),
    )  # fmt: skip
    rig = Rig(instruments=[ACME, COIN], limits=own)
    stock, coin = rig.buy(100), rig.buy(100, symbol="COIN")
    assert (stock.stop_loss, coin.stop_loss) == (Decimal("98.00"), Decimal("90.00"))
    sizes = [o.quantity * o.reference_price / 1000 for o in (stock, coin)]
    assert [round(size) for size in sizes] == [5, 2]
    assert [limit for _, limit, _ in checked(rig, "price_collar")] == [5, 20]


@pytest.mark.parametrize(("pct", "blocked"), [("4.95", []), ("4.9", ["crypto_exposure"])])
def test_exposure_is_limited_for_each_asset_class(pct: str, blocked: list[str]) -> None:
    rig = Rig(instruments=[ACME, COIN], limits=limits(crypto_max_exposure_pct=pct))
    rig.send(change("max_position_size_pct", "5"))
    rig.buy(100)
    rig.signal(B, 100, symbol="COIN")
    assert blocks(rig) == blocked


# --- the strategy --------------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "blocked"), [(0.7, []), (0.69, ["signal_strength"])])
def test_a_weak_signal_makes_no_entry(strength: float, blocked: list[str]) -> None:
    rig = Rig()
    rig.quote(100)
    rig.wish(B, strength=strength)
    rig.tick()
    assert blocks(rig) == blocked


def test_a_weak_signal_closes_all_the_same() -> None:
    rig = Rig()
    rig.hold_position(100)
    rig.wish(S, strength=0.1)
    rig.tick()
    assert len(rig.submits(OrderPurpose.EXIT)) == 1


def test_a_strategy_cools_down_after_an_entry_and_after_a_loss() -> None:
    rig = Rig(limits=limits(cool_down_s=Decimal(60)))
    lose(rig)
    lost = rig.now
    rig.signal(B, 99)
    assert blocks(rig) == ["cool_down"]
    assert "must be at least 60 s (COOL_DOWN_S)" in reason(rig)
    rig.signal(S, 99)
    rig.now = lost + 59 * NANOS
    rig.signal(B, 99)
    assert blocks(rig) == ["cool_down", "flat"], "a minute has passed"


def test_a_loss_starts_a_cool_down_of_its_own() -> None:
    rig = Rig(limits=limits(cool_down_s=Decimal(60)))
    rig.hold_position(100)
    rig.now += 61 * NANOS
    rig.signal(S, 99.5)
    rig.quote(99)
    rig.signal(B, 99)
    assert blocks(rig) == ["cool_down"]


def test_the_cool_down_outlives_a_restart() -> None:
    rig = Rig(limits=limits(cool_down_s=Decimal(60)))
    lose(rig)
    after = Rig(restored=rig.durable(), limits=rig.config.limits, now=rig.now)
    after.signal(B, 99)
    assert blocks(after) == ["cool_down"]


def flip(rig: Rig, times: int) -> None:
    """A strategy that changes its mind a thousand times a second."""
    for number in range(times):
        rig.now += NANOS // 1000
        side = B if number % 2 == 0 else S
        rig.wish(side)
        rig.tick(0)


def test_a_runaway_strategy_trips_the_circuit_breaker_which_latches() -> None:
    rig = Rig(limits=limits(throttle_orders=5))
    rig.quote(100)
    flip(rig, 1000)
    assert "made 6 orders of ACME within 10 s (THROTTLE_ORDERS)" in (
        rig.facts(CircuitBreakerTripped)[0].reason
    )
    assert len(rig.submits(OrderPurpose.ENTRY)) <= 5
    rig.now += DAY
    rig.quote(100)
    rig.signal(B)
    assert blocks(rig)[-1] == "stop", "until somebody resets it"
    after = Rig(restored=rig.durable(), limits=rig.config.limits, now=rig.now)
    after.signal(B, 100)
    assert blocks(after) == ["stop"]


def test_orders_at_the_pace_of_the_throttle_do_not_trip_it() -> None:
    rig = Rig(limits=limits(throttle_orders=5, throttle_seconds=Decimal(10)))
    rig.quote(100)
    for number in range(40):
        rig.now += 2 * NANOS
        rig.signal(B if number % 2 == 0 else S)
    assert rig.facts(CircuitBreakerTripped) == []
    assert len(rig.of(OrderPurpose.ENTRY)) == 20


def test_a_throttle_that_is_tightened_counts_the_orders_before() -> None:
    rig = Rig(limits=limits(throttle_orders=0))
    rig.quote(100)
    flip(rig, 10)
    rig.send(change("throttle_orders", "5"))
    assert rig.facts(CircuitBreakerTripped) == []
    flip(rig, 1)
    (fact,) = rig.facts(CircuitBreakerTripped)
    assert "made 6 orders of ACME" in fact.reason


# --- the account ---------------------------------------------------------------------------------


def test_open_positions_are_limited_and_one_on_its_way_is_one() -> None:
    rig = Rig(
        instruments=[ACME, COIN], limits=limits(max_open_positions=1, max_position_size_pct=5)
    )
    rig.hold = {CommitIntent}
    rig.signal(B, 100)
    rig.signal(B, 100, symbol="COIN")
    assert blocks(rig) == ["open_positions"]
    assert "would be 2, must be at most 1 (MAX_OPEN_POSITIONS)" in reason(rig)


@pytest.mark.parametrize(("leverage", "blocked"), [("0.0595", []), ("0.0592", ["leverage"])])
def test_leverage_is_limited(leverage: str, blocked: list[str]) -> None:
    rig = Rig(
        "other", "puppet", restored=holding(10),
        limits=limits(max_leverage=Decimal(leverage), max_position_size_pct=6),
    )  # fmt: skip
    rig.signal(B, 100, strategy="other")
    assert blocks(rig) == blocked


@pytest.mark.parametrize(
    ("power", "blocked"), [("4924.50", []), ("4924.49", ["venue_buying_power"])]
)
def test_the_buying_power_that_a_broker_says_is_kept(power: str, blocked: list[str]) -> None:
    rig = Rig(limits=limits(max_position_size_pct=5))
    rig.quote(100)
    rig.send(AccountStatement("paper", rig.now, (), (), {}, buying_power=Decimal(power)))
    rig.signal(B)
    assert blocks(rig) == blocked


def test_orders_since_the_brokers_word_are_taken_from_its_buying_power() -> None:
    rig = Rig(instruments=[ACME, COIN], limits=limits(max_position_size_pct=5))
    rig.quote(100)
    rig.send(AccountStatement("paper", rig.now, (), (), {}, buying_power=Decimal(6000)))
    rig.buy(100)
    rig.signal(B, 100, symbol="COIN")
    assert blocks(rig) == ["venue_buying_power"]


def test_above_the_message_rate_no_entry_leaves_and_exits_and_cancels_do() -> None:
    rig = Rig(instruments=[ACME, COIN], limits=limits(max_messages_per_second=2))
    rig.send(change("max_position_size_pct", "5"))
    rig.quote(100, "COIN")
    rig.hold_position(100)
    rig.now += NANOS
    rig.wish(S)
    rig.tick(0)  # the stop is cancelled, the exit goes: two messages
    assert len(rig.submits(OrderPurpose.EXIT)) == 1
    rig.wish(B, symbol="COIN")
    rig.tick(0.999)
    assert blocks(rig) == ["message_rate"]
    assert "would be 3 /s, must be at most 2 /s (MAX_MESSAGES_PER_SECOND)" in reason(rig)
    rig.wish(S, symbol="COIN")
    rig.tick(0)
    rig.wish(B, symbol="COIN")
    rig.tick(0.001)
    assert len(rig.submits(OrderPurpose.ENTRY)) == 2, "a second later it goes"


# --- limits that change --------------------------------------------------------------------------


def change(name: str, value: str, word: str = "") -> ChangeLimit:
    return ChangeLimit(name=name, value=value, word=word, author="me")


def refusals(rig: Rig) -> list[str]:
    return [fact.reason for fact in rig.facts(CommandRefused)]


def test_a_tightened_limit_holds_at_once_and_is_audited() -> None:
    rig = Rig()
    rig.send(change("MAX_POSITION_SIZE_PCT", " 1 "))
    assert rig.facts(LimitChanged)[0] == replace(
        LimitChanged("max_position_size_pct", "5", "1", False, "me", "5"),
        **{f: getattr(rig.facts(LimitChanged)[0], f) for f in ("ts", "seq", "cause")},
    )
    assert rig.buy(100).quantity == 9


def test_a_limit_that_is_tightened_past_the_loss_trips_in_that_event() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_daily_loss=1000))
    rig.quote(100)
    rig.quote(95)
    assert not rig.killed
    rig.send(change("max_daily_loss", "500"))
    assert rig.killed
    assert len(rig.facts(KillSwitchTriggered)) == 1


def test_loosening_needs_the_word() -> None:
    rig = Rig()
    rig.send(change("max_daily_loss", "2000"))
    rig.send(change("max_daily_loss", "2000", "loosen"))
    assert refusals(rig) == ["this loosens max_daily_loss from 1000 to 2000: type LOOSEN"] * 2
    assert rig.machine.risk.limits.max_daily_loss == 1000
    rig.send(change("max_daily_loss", "2000", "LOOSEN"))
    assert rig.machine.risk.limits.max_daily_loss == 2000
    assert rig.facts(LimitChanged)[0].loosened


@pytest.mark.parametrize(
    ("name", "value", "loosens"),
    [
        ("max_position_notional", "1000", False),  # 0 was no limit
        ("min_price", "3", False),
        ("min_signal_strength", "0.6", True),
        ("min_signal_strength", "0.8", False),
        ("cool_down_s", "5", False),
        ("throttle_orders", "0", True),
        ("throttle_seconds", "5", True),
        ("stop_loss_required", "true", False),
        ("extended_hours", "true", True),
        ("crypto_stop_loss_pct", "3", True),
        ("crypto_stop_loss_pct", "1", False),
        ("max_leverage", "2", True),
        ("max_messages_per_second", "10", False),
    ],
)
def test_each_limit_knows_which_way_is_tighter(name: str, value: str, loosens: bool) -> None:
    rig = Rig()
    rig.send(change(name, value))
    assert (refusals(rig) != []) is loosens
    assert len(rig.facts(LimitChanged)) == 1 - loosens


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_daily_los", "1", "there is no such limit: name one of cool_down_s"),
        ("max_daily_loss", "NaN", "max_daily_loss is a number"),
        ("max_daily_loss", "\uff11\uff12", "max_daily_loss is a number"),
        ("max_daily_loss", "0", "max_daily_loss is from 0.000001 to"),
        ("max_daily_loss", "-1", "max_daily_loss is from"),
        ("max_exposure_pct", "100.1", "max_exposure_pct is from 0.000001 to 100"),
        ("max_trades_per_day", "2.5", "max_trades_per_day is a whole number"),
        ("max_order_notional", "-1", "or 0 for no limit"),
        ("extended_hours", "yes", "extended_hours is true or false"),
        ("max_daily_loss", "1000", "max_daily_loss is 1000 already"),
        ("high_water_mark", "1", "high_water_mark is set to equity"),
    ],
)
def test_a_name_or_value_that_is_none_is_refused_with_the_rule(
    name: str, value: str, rule: str
) -> None:
    rig = Rig()
    rig.send(change(name, value, "LOOSEN"))
    (refusal,) = refusals(rig)
    assert rule in refusal
    assert rig.facts(LimitChanged) == []
    assert rig.machine.risk.limits == RiskLimits()


def test_a_change_outlives_restarts_until_the_setting_is_changed() -> None:
    rig = Rig()
    rig.send(change("max_daily_loss", "500"))
    rig.send(change("max_daily_loss", "600", "LOOSEN"))
    rig.send(change("extended_hours", "true", "LOOSEN"))
    after = Rig("puppet", restored=rig.durable())
    again = Rig("puppet", restored=after.durable())
    for one in (after, again):
        assert one.machine.risk.limits == rig.machine.risk.limits
    assert again.machine.risk.limits.max_daily_loss == 600
    other = Rig("puppet", restored=rig.durable(), limits=RiskLimits(max_daily_loss=Decimal(300)))
    assert other.machine.risk.limits.max_daily_loss == 300, "the newer word counts"
    assert other.machine.risk.limits.extended_hours


def test_the_drawdown_can_be_measured_anew_from_todays_equity() -> None:
    rig = Rig("puppet", restored=holding(100), limits=limits(max_drawdown_pct=10))
    rig.quote(200)
    rig.quote(200)
    rig.quote(90)
    assert rig.killed
    rig.send(change("high_water_mark", "equity"))
    assert refusals(rig) == ["this loosens high_water_mark from 110000 to 99000: type LOOSEN"]
    rig.send(change("high_water_mark", "equity", "LOOSEN"))
    assert rig.facts(LimitChanged)[-1].after == "99000"
    rig.rearm()
    rig.quote(90)
    assert not rig.killed
    rig.quote(1)
    assert not rig.killed, "90,100 is above 89,100"
    rig.now += NANOS
    assert rig.durable().peak_equity == 99_000


# --- at the boundary, everywhere -----------------------------------------------------------------


@BOUNDED
@given(
    cash=st.integers(-10_000, 200_000),
    held=st.integers(0, 800),
    price=st.integers(100, 20_000).map(lambda cents: cents / 100),
    pct=st.sampled_from(["1", "5", "50"]),
    extra=st.fixed_dictionaries(
        {},
        optional={
            "max_position_notional": st.integers(1, 20_000).map(Decimal),
            "max_order_notional": st.integers(1, 20_000).map(Decimal),
            "max_leverage": st.sampled_from([Decimal("0.1"), Decimal(1), Decimal(2)]),
            "stock_max_exposure_pct": st.integers(1, 100),
            "max_open_positions": st.integers(1, 2),
        },
    ),
)
def test_whatever_the_numbers_no_limit_is_passed(
    cash: int, held: int, price: float, pct: str, extra: dict[str, Any]
) -> None:
    """The audit measures every limit at every submit with arithmetic of its own."""
    position = Position("other", "ACME", quantity=Decimal(held), cost=Decimal(held) * 100)
    restored = Restored(
        {"paper": Decimal(cash)}, positions=(position,), marks={"ACME": price},
        strategies=(StrategyState("puppet", True), StrategyState("other", False)),
    )  # fmt: skip
    rig = Rig(
        "puppet", "other", instruments=[ACME, COIN], restored=restored,
        limits=limits(max_position_size_pct=pct, max_exposure_pct=100, **extra),
    )  # fmt: skip
    rig.quote(price)
    rig.signal(B, price)
    rig.signal(B, price, symbol="COIN")
    rig.quote(price)
    equity = cash + held * Decimal(repr(price))
    if equity <= 0:
        assert rig.submits(OrderPurpose.ENTRY) == []
    assert len(blocks(rig)) + len(rig.of(OrderPurpose.ENTRY)) == 2
