"""Limits: at them, one step over them, and where nobody knows."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    ClockTick,
    CommitIntent,
    KillSwitchTriggered,
    LimitBreached,
    OrderEvent,
    PositionChanged,
    Restored,
    RiskChecked,
    SignalBlocked,
    StrategyPaused,
    StrategyResumed,
    StrategyState,
    SubmitOrder,
    TradingDayStarted,
)
from engine.core.matching import ExchangeRules
from engine.core.model import MINUTE, OrderPurpose, OrderState, Position, Side
from engine.core.risk import RiskLimits, Usage
from engine.core.sizing import Sizing, SizingRules
from tests.core.rig import ACME, COIN, START, Rig, facts_of

CASH = Decimal(100_000)
DAY = 24 * 60 * MINUTE
WIDE = RiskLimits(
    max_position_size_pct=Decimal(100),
    max_trades_per_day=10**6,
    max_consecutive_losses=10**6,
    max_daily_loss=Decimal(10**9),
    max_daily_loss_pct=Decimal(100),
    max_exposure_pct=Decimal(10**6),
    max_drawdown_pct=Decimal(100),
    stop_loss_pct=Decimal(99),
    price_collar_pct=Decimal(100),
)


def limits(**fields: Any) -> RiskLimits:
    """Limits that hold nothing back but `fields`."""
    given = {
        name: Decimal(str(value)) if "pct" in name else value for name, value in fields.items()
    }
    return replace(WIDE, **given)


def usage(rig: Rig, check: str) -> Usage:
    standing = rig.machine.risk.standing(["puppet"])
    return next(usage for usage in standing if usage.check == check)


def blocks(rig: Rig) -> list[str]:
    return [fact.check for fact in rig.facts(SignalBlocked)]


def holding(quantity: object, price: float = 100.0) -> Restored:
    """A session that begins with `quantity` of ACME at `price`, and 100,000 in all."""
    cost = Decimal(str(quantity)) * Decimal(str(price))
    position = Position("puppet", "ACME", quantity=Decimal(str(quantity)), cost=cost)
    states = (StrategyState("puppet", True), StrategyState("other", True))
    marks = {"ACME": price}
    return Restored({"paper": CASH - cost}, positions=(position,), marks=marks, strategies=states)


# --- a limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "below", "within"),
    [
        (4, False, True),
        (5, False, True),
        (Decimal("5.000000001"), False, False),
        (None, False, False),
        (4, True, True),
        (5, True, False),
        (None, True, False),
    ],
)
def test_a_limit_holds_up_to_it_or_short_of_it_and_never_where_it_is_unknown(
    used: Decimal | None, below: bool, within: bool
) -> None:
    used = None if used is None else Decimal(used)
    assert Usage("account", "x", "", used, Decimal(5), "%", below).within is within


def test_a_limit_tells_its_numbers() -> None:
    assert (
        Usage("account", "x", "", Decimal("4.98765432"), Decimal(5), "%").numbers
        == "4.98765 of 5 %"
    )
    assert Usage("account", "x", "", None, Decimal(5), "").numbers == "unknown of 5"


# --- entries -------------------------------------------------------------------------------------


def test_every_check_of_an_entry_is_published_with_its_numbers() -> None:
    rig = Rig()
    rig.quote(100)
    effects = rig.signal(Side.BUY)
    checks = {fact.check: fact for fact in facts_of(effects, RiskChecked)}
    assert list(checks) == [
        "position_size",
        "price_collar",
        "trades_per_day",
        "consecutive_losses",
        "daily_loss",
        "daily_loss_pct",
        "drawdown",
        "exposure",
        "open_positions",
        "leverage",
        "buying_power",
        "stock_exposure",
        "crypto_exposure",
        "message_rate",
        "signal_strength",
    ]
    assert all(check.passed for check in checks.values())
    assert checks["position_size"].used == pytest.approx(49 * 100.5 / 1000)
    assert checks["position_size"].limit == 5
    assert checks["trades_per_day"].used == 1
    assert {check.client_order_id for check in checks.values()} == {
        rig.last(OrderPurpose.ENTRY).client_order_id
    }


def test_an_entry_is_sized_within_the_position_limit_at_its_worst_price() -> None:
    rig = Rig()
    order = rig.buy(100)
    assert order.reference_price == Decimal("100.50")
    assert order.quantity == 49, "99 % of 5,000, divided by 100.50"


def test_another_strategys_position_in_the_symbol_counts() -> None:
    rig = Rig("puppet", "other", restored=holding(30))
    order = rig.buy(strategy="other")
    assert order.quantity == 19, "99 % of 5,000 less 3,000 held"
    full = Rig("puppet", "other", restored=holding(50))
    full.signal(Side.BUY, strategy="other")
    assert blocks(full) == ["size"]


def test_an_entry_takes_the_room_that_another_strategys_open_entry_leaves() -> None:
    sizing = SizingRules(Sizing.parse("fixed_quantity:30"))
    rig = Rig("puppet", "other", "third", sizing=sizing)
    rig.hold = {CommitIntent}
    rig.quote(100)
    for strategy in ("puppet", "other", "third"):
        rig.signal(Side.BUY, strategy=strategy)
    rig.release()
    sizes = {o.strategy: o.quantity for o in rig.submits(OrderPurpose.ENTRY)}
    assert sizes == {"puppet": 30, "other": 19}, "99 % of 5,000, less 30 at 100.50"
    (blocked,) = rig.facts(SignalBlocked)
    assert (blocked.signal.strategy, blocked.check) == ("third", "size")
    assert "5000 may be held over all strategies, 4924.50 is or is on order" in blocked.reason


def test_the_most_of_one_order_is_not_taken_up_by_another_strategys() -> None:
    rig = Rig("puppet", "other", limits=limits(max_order_notional=Decimal(1005)))
    rig.hold = {CommitIntent}
    rig.quote(100)
    for strategy in ("puppet", "other"):
        rig.signal(Side.BUY, strategy=strategy)
    rig.release()
    assert [order.quantity for order in rig.submits(OrderPurpose.ENTRY)] == [9, 9]


@pytest.mark.parametrize(("pct", "blocked"), [("3.015", []), ("3.0149", ["exposure"])])
def test_exposure_holds_at_its_limit_and_not_one_step_over(pct: str, blocked: list[str]) -> None:
    # 10 shares at 100.50 at their worst, beside 2,010 of COIN: 3.015 % of 100,000 exactly.
    coin = Position("other", "COIN", quantity=Decimal(1), cost=Decimal(2010))
    restored = Restored(
        {"paper": CASH - 2010},
        positions=(coin,),
        marks={"COIN": 2010.0},
        strategies=(StrategyState("puppet", True), StrategyState("other", True)),
    )
    rig = Rig(
        "puppet",
        "other",
        instruments=(replace(ACME, lot=Decimal(10)), COIN),
        restored=restored,
        limits=limits(max_exposure_pct=pct, max_position_size_pct="1.99"),
    )
    rig.signal(Side.BUY)
    assert blocks(rig) == blocked
    assert len(rig.submits()) == 1 - len(blocked)


def test_open_orders_and_orders_in_doubt_count_at_their_worst() -> None:
    rig = Rig(instruments=(ACME, COIN), limits=limits(max_exposure_pct=7, max_position_size_pct=5))
    rig.void = {SubmitOrder}
    rig.quote(50, "COIN")
    doubted = rig.buy()
    rig.tick(5)
    assert rig.state_of(doubted) is OrderState.IN_DOUBT
    assert usage(rig, "exposure").used == doubted.quantity * doubted.reference_price / 1000
    rig.signal(Side.BUY, 50, symbol="COIN")
    assert blocks(rig) == ["exposure"]


def test_two_entries_on_their_way_at_once_do_not_pass_a_limit_together() -> None:
    rig = Rig(
        "puppet", "other", instruments=(ACME, COIN),
        limits=limits(max_exposure_pct=7, max_position_size_pct=5),
    )  # fmt: skip
    rig.hold = {CommitIntent}
    rig.quote(100)
    rig.signal(Side.BUY, 50, symbol="COIN")
    rig.signal(Side.BUY, strategy="other")
    assert blocks(rig) == ["exposure"]
    rig.release()
    assert len(rig.submits()) == 1


def test_an_entry_is_measured_again_when_it_leaves() -> None:
    rig = Rig(
        "puppet", "other", instruments=(ACME, COIN), restored=holding(60),
        limits=limits(max_exposure_pct="11.2", max_position_size_pct=5),
    )  # fmt: skip
    rig.hold = {CommitIntent}
    rig.quote(100)
    rig.signal(Side.BUY, 50, symbol="COIN")
    order = rig.last(OrderPurpose.ENTRY)
    rig.quote(110)  # what is held is worth more by now
    rig.release()
    assert rig.submits(OrderPurpose.ENTRY) == []
    assert rig.now_of(order).reason.startswith("not sent: exposure would be 11.")


def test_trades_of_a_day_are_limited_and_the_next_day_has_its_own() -> None:
    rig = Rig(limits=limits(max_trades_per_day=2))
    for _ in range(3):
        rig.signal(Side.BUY)
        rig.quote(100)
        rig.signal(Side.SELL)
        rig.quote(100)
    assert blocks(rig) == ["trades_per_day", "flat"]
    assert usage(rig, "trades_per_day").used == 2
    rig.now += DAY
    rig.signal(Side.BUY)
    assert len(rig.of(OrderPurpose.ENTRY)) == 3
    assert usage(rig, "trades_per_day").used == 1


def test_trades_of_the_day_outlive_a_restart() -> None:
    rig = Rig(limits=limits(max_trades_per_day=1))
    rig.hold_position()
    rig.signal(Side.SELL)
    rig.quote(100)
    after = Rig(restored=rig.durable(), limits=rig.config.limits)
    after.now = rig.now
    after.signal(Side.BUY)
    assert blocks(after) == ["trades_per_day"]


# --- losses in a row -----------------------------------------------------------------------------


def lose(rig: Rig, times: int = 1) -> None:
    for _ in range(times):
        rig.signal(Side.BUY, 100)
        rig.quote(100)
        rig.signal(Side.SELL, 99.5)
        rig.quote(99)


def test_losses_in_a_row_pause_a_strategy() -> None:
    rig = Rig("puppet", "other", limits=limits(max_consecutive_losses=2))
    lose(rig, 2)
    (paused,) = rig.facts(StrategyPaused)
    assert "2 losses in a row" in paused.reason
    rig.signal(Side.BUY)
    assert blocks(rig) == ["consecutive_losses"]
    rig.signal(Side.BUY, strategy="other")
    assert len(rig.of(OrderPurpose.ENTRY)) == 3, "the other strategy goes on"


def test_the_next_trading_day_ends_the_pause_and_says_so() -> None:
    rig = Rig(limits=limits(max_consecutive_losses=2))
    lose(rig, 2)
    rig.now += DAY
    rig.signal(Side.BUY)
    (resumed,) = rig.facts(StrategyResumed)
    assert resumed.strategy == "puppet"
    assert len(rig.of(OrderPurpose.ENTRY)) == 3


def test_a_gain_ends_the_row() -> None:
    rig = Rig(limits=limits(max_consecutive_losses=2))
    lose(rig)
    rig.hold_position(100)
    rig.signal(Side.SELL, 101)
    rig.quote(101)
    lose(rig)
    assert rig.facts(StrategyPaused) == []


def test_commission_makes_a_loss_of_a_trade_without_gain() -> None:
    rig = Rig(
        rules=ExchangeRules(Decimal("0.1"), Decimal(0), Decimal(100)),
        limits=limits(max_consecutive_losses=1),
    )
    rig.hold_position(100)
    rig.signal(Side.SELL, 100)
    rig.quote(100)
    assert len(rig.facts(StrategyPaused)) == 1


def test_the_pause_ends_with_the_trading_day() -> None:
    rig = Rig(limits=limits(max_consecutive_losses=1))
    lose(rig)
    (paused,) = rig.facts(StrategyPaused)
    assert paused.reason.startswith("1 loss in a row: ")
    rig.now += DAY
    rig.signal(Side.BUY)
    assert blocks(rig) == []


def test_the_pause_ends_when_the_strategy_is_switched_off_and_on() -> None:
    rig = Rig(limits=limits(max_consecutive_losses=1))
    lose(rig)
    rig.toggle(enabled=False)
    rig.toggle()
    rig.signal(Side.BUY)
    assert blocks(rig) == []


def test_the_pause_outlives_a_restart_within_the_day() -> None:
    rig = Rig(limits=limits(max_consecutive_losses=1))
    lose(rig)
    after = Rig(restored=rig.durable(), limits=rig.config.limits)
    after.now = rig.now
    after.signal(Side.BUY)
    assert blocks(after) == ["consecutive_losses"]


# --- equity that is not there --------------------------------------------------------------------


@pytest.mark.parametrize("cash", ["0", "-5000", "-5001"])
def test_equity_of_nothing_or_less_takes_no_new_risk(cash: str) -> None:
    rig = Rig(
        restored=Restored({"paper": Decimal(cash)}, strategies=(StrategyState("puppet", True),))
    )
    rig.signal(Side.BUY)
    assert blocks(rig) == ["size"]
    assert usage(rig, "exposure").used is None
    assert rig.submits() == []


def test_unknown_equity_takes_no_new_risk_and_starts_no_day() -> None:
    coin = Position("puppet", "COIN", quantity=Decimal(1), cost=Decimal(2000))
    restored = Restored(
        {"paper": CASH}, positions=(coin,), strategies=(StrategyState("puppet", True),)
    )
    rig = Rig(instruments=(ACME, COIN), restored=restored)
    rig.signal(Side.BUY)
    assert blocks(rig) == ["size"]
    assert {usage(rig, check).used for check in ("exposure", "daily_loss", "drawdown")} == {None}
    assert rig.facts(TradingDayStarted) == []
    rig.quote(2000, "COIN")
    assert [fact.equity for fact in rig.facts(TradingDayStarted)] == [102_000]
    rig.signal(Side.SELL)
    rig.signal(Side.BUY)
    assert len(rig.of(OrderPurpose.ENTRY)) == 1
    assert not rig.killed


def test_before_the_day_has_begun_nobody_knows_its_loss() -> None:
    rig = Rig()
    assert usage(rig, "daily_loss").used is None
    assert not usage(rig, "daily_loss").within


# --- losses of the account -----------------------------------------------------------------------


def breaches(rig: Rig) -> list[tuple[str, float, float]]:
    return [(fact.check, fact.used, fact.limit) for fact in rig.facts(LimitBreached)]


def test_the_daily_loss_trips_in_the_event_that_reaches_it_and_not_before() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_daily_loss=1000))
    rig.quote(100)
    rig.quote(90.01)
    assert not rig.killed
    effects = rig.quote(90)
    (trip,) = facts_of(effects, KillSwitchTriggered)
    assert trip.source == "risk limit"
    assert breaches(rig) == [("daily_loss", 1000, 1000)]


def test_the_loss_is_exact_where_floats_are_not() -> None:
    restored = Restored({"paper": Decimal("99871.13")}, strategies=(StrategyState("puppet", True),))
    narrow = limits(max_daily_loss=Decimal("0.9"), max_position_size_pct="0.1")
    rig = Rig(restored=restored, limits=narrow)
    assert rig.hold_position(10).quantity == 9
    rig.quote(9.91)
    assert not rig.killed
    rig.quote(9.9)
    assert rig.killed


def test_the_daily_loss_in_percent_trips_at_its_limit() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_daily_loss_pct=2))
    rig.quote(100)
    rig.quote(80.01)
    assert not rig.killed
    rig.bar(100, 100, 80, 80)
    assert breaches(rig) == [("daily_loss_pct", 2, 2)]


def test_the_drawdown_is_from_the_highest_equity_of_all_days() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_drawdown_pct=10))
    rig.quote(200)
    rig.quote(200)
    assert rig.machine.risk.peak_equity == 110_000
    rig.now += DAY
    rig.quote(100)
    rig.quote(90.01)
    assert not rig.killed
    rig.quote(90)
    assert breaches(rig) == [("drawdown", 10, 10)]


def test_a_lone_print_far_off_makes_no_peak_and_the_next_one_does() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_drawdown_pct=10))
    rig.quote(100)
    rig.quote(1000)
    rig.quote(100)
    assert rig.machine.risk.peak_equity == 100_000
    assert not rig.killed
    rig.quote(110)
    rig.quote(110)
    assert rig.machine.risk.peak_equity == 101_000


def test_a_lone_print_far_off_is_no_loss_and_the_next_one_is() -> None:
    narrow = limits(max_daily_loss=500, price_collar_pct=5)
    rig = Rig(instruments=(ACME, COIN), restored=holding(100), limits=narrow)
    for price in (100, 1, 100):
        rig.quote(price)
    assert breaches(rig) == []
    rig.quote(1)
    rig.quote(2000, "COIN")
    assert breaches(rig) == [], "a price of another symbol confirms nothing"
    rig.quote(1)
    assert breaches(rig) == [("daily_loss", 9_900, 500)]


def test_fees_count_at_once_where_a_lone_print_does_not() -> None:
    rules = ExchangeRules(Decimal(10), Decimal(0), Decimal(100))
    narrow = limits(
        max_daily_loss=200, price_collar_pct=5, crypto_max_position_size_pct=3, max_leverage=9
    )
    rig = Rig(instruments=(ACME, COIN), rules=rules, restored=holding(100), limits=narrow)
    rig.quote(100)
    rig.quote(2000, "COIN")
    rig.buy(2000, symbol="COIN")
    rig.quote(1)
    assert breaches(rig) == []
    rig.quote(2000, "COIN")
    (fill,) = (fact.fill for fact in rig.facts(PositionChanged))
    assert fill.commission > 200
    assert breaches(rig) == [("daily_loss", float(fill.commission), 200)]


def test_a_day_does_not_start_from_a_lone_print() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_daily_loss=500, price_collar_pct=5))
    rig.quote(1000)
    rig.quote(100)
    assert [fact.equity for fact in rig.facts(TradingDayStarted)] == [100_000]
    assert not rig.killed


def test_the_highest_equity_outlives_a_restart() -> None:
    rig = Rig(restored=holding(100), limits=limits(max_drawdown_pct=10))
    rig.quote(200)
    rig.quote(200)
    rig.quote(100)
    after = Rig("puppet", restored=rig.durable(), limits=rig.config.limits)
    after.now = rig.now + DAY
    after.quote(91)
    assert not after.killed
    after.quote(90)
    assert breaches(after) == [("drawdown", 10, 10)]


def test_a_fill_and_its_commission_can_reach_the_limit() -> None:
    rules = ExchangeRules(Decimal(10), Decimal(0), Decimal(100))
    rig = Rig(rules=rules, limits=limits(max_daily_loss=400, max_position_size_pct=5))
    rig.buy(100)
    assert not rig.killed
    rig.quote(100)
    assert rig.killed
    assert breaches(rig)[0][:2] == ("daily_loss", 490)


def test_a_fall_below_nothing_trips_too() -> None:
    rig = Rig(restored=holding(2000), limits=limits(max_daily_loss=1000))
    rig.quote(100)
    rig.quote(49)
    assert breaches(rig) == [("daily_loss", 102_000, 1000)]


def test_a_breach_is_said_once_and_a_rearmed_engine_takes_no_new_risk_that_day() -> None:
    rig = Rig("puppet", "other", restored=holding(100), limits=limits(max_daily_loss=1000))
    rig.quote(100)
    rig.quote(90)
    rig.quote(89)
    assert len(breaches(rig)) == 1
    rig.rearm()
    rig.quote(89)
    assert not rig.killed
    rig.signal(Side.BUY, 89, strategy="other")
    assert blocks(rig) == ["daily_loss"]
    rig.now += DAY
    rig.quote(89)
    rig.quote(79)
    assert len(breaches(rig)) == 2, "the next day watches anew"


# --- the trading day -----------------------------------------------------------------------------


def days(rig: Rig) -> list[tuple[str, float]]:
    return [(fact.day, fact.equity) for fact in rig.facts(TradingDayStarted)]


def test_a_day_starts_at_the_first_price_in_the_markets_zone() -> None:
    rig = Rig()
    rig.tick()
    assert days(rig) == []
    rig.quote(100)
    rig.quote(100)
    assert days(rig) == [("2024-03-04", 100_000)]


def test_a_tick_after_midnight_starts_the_next_day() -> None:
    rig = Rig(restored=holding(100))
    rig.quote(104)
    midnight = START + (14 * 60 + 30) * MINUTE
    rig.send(ClockTick(ts=midnight - 1))
    assert len(days(rig)) == 1
    rig.send(ClockTick(ts=midnight))
    assert days(rig)[1] == ("2024-03-05", 100_400)


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_that_ends() -> None:
    rig = Rig()
    rig.now = START + (14 * 60 + 29) * MINUTE
    rig.bar(100)
    assert days(rig) == [("2024-03-04", 100_000)]
    rig.bar(100)
    assert [day for day, _ in days(rig)] == ["2024-03-04", "2024-03-05"]


def test_a_restart_within_the_day_goes_on_with_its_first_equity() -> None:
    rig = Rig(restored=holding(100))
    rig.quote(100)
    rig.quote(95)
    after = Rig("puppet", restored=rig.durable())
    after.now = rig.now
    after.quote(95)
    assert days(after) == []
    assert usage(after, "daily_loss").used == 500


def test_a_restart_on_another_day_starts_that_day() -> None:
    rig = Rig(restored=holding(100))
    rig.quote(95)
    after = Rig("puppet", restored=rig.durable())
    after.now = rig.now + DAY
    after.quote(94)
    assert days(after) == [("2024-03-05", 99_400)]


def test_history_starts_no_day() -> None:
    rig = Rig(started=False)
    rig.bar(100, live=False)
    assert days(rig) == []


def test_only_entries_are_trades() -> None:
    rig = Rig()
    rig.hold_position()
    rig.signal(Side.SELL)
    rig.quote(100)
    purposes = {fact.order.purpose for fact in rig.facts(OrderEvent)}
    assert purposes == {OrderPurpose.ENTRY, OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP}
    assert usage(rig, "trades_per_day").used == 1
