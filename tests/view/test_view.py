"""The picture shows what the machine holds: every order that is open, and no number it made up."""

from collections.abc import Sequence
from decimal import Decimal
from math import isnan
from typing import Any

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from engine.core.compliance import ComplianceRules
from engine.core.events import (
    AccountStatement,
    BrokerChanged,
    CancelOrder,
    CancelRejected,
    ChangeLimit,
    ClockTick,
    ConfirmLive,
    EngineStarted,
    FeedChanged,
    KillPart,
    Pause,
    RatePublished,
    RearmPart,
    Record,
    ReplaceOrder,
    Restored,
    ResumeSymbol,
    StoreChanged,
    StrategyState,
    SubmitOrder,
    TradeBusted,
    TripKillSwitch,
)
from engine.core.matching import CAPABILITIES, ExchangeRules
from engine.core.model import (
    MINUTE,
    NANOS,
    AccountType,
    Bar,
    DayTradeRule,
    Fill,
    KillAction,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Part,
    Position,
    Scope,
    Side,
)
from engine.core.risk import RiskLimits
from engine.core.safety import SafetyRules
from engine.core.sessions import SessionTable
from engine.core.strategy import Strategy
from engine.view.snapshot import (
    AccountRow,
    BreakerStatus,
    DeadManStatus,
    FeedStatus,
    FillRow,
    Health,
    LimitRow,
    PausedRow,
    PnlRow,
    Snapshot,
    StrategyRow,
)
from engine.view.view import (
    FILLS_SHOWN,
    LINES_KEPT,
    ORDERS_SHOWN,
    QUOTES_A_PIECE,
    SIGNALS_KEPT,
    View,
)
from tests.core.rig import ACME, AT_MARKET, COIN, START, Rig

CASH = Decimal(100_000)
FEED = FeedStatus("replay", "connected", "", 1.0, recorded=True)
HEALTH = Health(0.0, 0, 0, 0, 0, 0)


class Picture:
    """A rig, and the view of its machine."""

    def __init__(self, *strategies: str, **how: Any) -> None:
        self.rig = Rig(*strategies, **how)
        self.view = View(self.rig.machine)
        self._followed = 0

    def take(self, durable: bool = True) -> Snapshot:
        for effect in self.rig.effects[self._followed :]:
            if isinstance(effect, Record):
                self.view.follow(effect.fact)
        self._followed = len(self.rig.effects)
        return self.view.take(self.rig.now, 7, FEED, durable, HEALTH)


def limit(snapshot: Snapshot, name: str, scope: str = "") -> LimitRow:
    return next(row for row in snapshot.limits if (row.name, row.scope) == (name, scope))


def strategy(snapshot: Snapshot, name: str = "puppet") -> StrategyRow:
    return next(row for row in snapshot.strategies if row.name == name)


# --- money ---------------------------------------------------------------------------------------


def test_money_is_exact_and_what_is_not_known_is_none() -> None:
    picture = Picture()
    first = picture.take()
    assert (first.cash, first.equity, first.day_pnl) == (CASH, CASH, None)
    picture.rig.hold_position(100)
    picture.rig.quote(100.1)
    snapshot = picture.take()
    assert (snapshot.cash, snapshot.equity) == (CASH - 4900, CASH + Decimal("4.9"))
    assert snapshot.day_pnl == Decimal("4.9")
    (row,) = snapshot.positions
    assert (row.mark, row.mark_source, row.unrealised_pnl) == (
        Decimal("100.1"),
        "mid",
        Decimal("4.9"),
    )
    assert strategy(snapshot).pnl == Decimal("4.9")


def test_the_account_is_what_its_broker_calls_it_and_of_several_each_after_its_venue() -> None:
    picture = Picture()
    picture.rig.send(BrokerChanged("paper", True, account="PA3\x07TEST"))
    assert picture.take().account == "PA3 TEST"
    picture.rig.send(BrokerChanged("maple", False))
    assert picture.take().account == "paper PA3 TEST"
    picture.rig.send(BrokerChanged("maple", True, account="51"))
    assert picture.take().account == "paper PA3 TEST, maple 51"


def test_accounts_are_shown_in_their_currencies_and_sums_in_the_base() -> None:
    shop = replace(ACME, symbol="SHOP", currency="CAD", venue="maple")
    picture = Picture(instruments=(ACME, shop))
    unknown = picture.take()
    assert (unknown.equity, unknown.cash, unknown.settled_cash) == (None, None, None)
    published = picture.rig.now
    picture.rig.send(RatePublished("USD", Decimal("1.25"), "test", published))
    picture.rig.hold_position(100, symbol="SHOP")
    picture.rig.quote(110, "SHOP")
    snapshot = picture.take()
    (row,) = snapshot.positions
    held = row.position.quantity
    gain = held * 10 * Decimal("0.8")
    assert (row.mark, row.unrealised_pnl, row.value) == (110, gain, held * 110 * Decimal("0.8"))
    assert strategy(snapshot).pnl == snapshot.day_pnl == gain
    cash = CASH - held * 100
    assert snapshot.accounts == (
        AccountRow("paper", "USD", CASH, CASH, Decimal(1)),
        AccountRow("maple", "CAD", cash, cash, Decimal("0.8"), published),
    )
    assert snapshot.cash == CASH + cash * Decimal("0.8")
    assert (snapshot.worth("SHOP"), snapshot.worth("ACME")) == (Decimal("0.8"), 1)
    funds = limit(snapshot, "funds", "maple")
    assert (funds.used, funds.limit, funds.unit) == (held * 110, CASH + held * 10, "CAD")


def test_one_account_in_the_base_currency_is_told_by_the_sums() -> None:
    assert Picture().take().accounts == ()
    foreign = Picture(instruments=(replace(ACME, currency="USDT"),), stablecoins={"USDT": "USD"})
    (row,) = foreign.take().accounts
    assert (row.currency, row.cash, row.worth) == ("USDT", CASH, 1)


def test_a_position_without_a_price_is_worth_nobody_knows_what() -> None:
    held = Position("puppet", "ACME", quantity=Decimal(1), cost=Decimal(100))
    picture = Picture(restored=Restored({"paper": CASH}, positions=(held,)))
    snapshot = picture.take()
    assert (snapshot.cash, snapshot.equity, snapshot.day_pnl) == (CASH, None, None)
    (row,) = snapshot.positions
    assert (row.mark, row.unrealised_pnl) == (None, None)
    assert strategy(snapshot).pnl is None
    assert {row.used for row in snapshot.limits if row.unit in ("%", "$")} == {None}


def test_a_stop_that_is_smaller_than_its_position_does_not_look_whole() -> None:
    picture = Picture(execution=AT_MARKET)
    picture.rig.send(BrokerChanged("paper", True, capabilities=replace(CAPABILITIES, oco=False)))
    picture.rig.buy()
    picture.rig.quote(100, size=10)
    (row,) = picture.take().positions
    assert (row.stop_price, row.unprotected) == (98, 0)
    picture.rig.hold = {ReplaceOrder}
    picture.rig.quote(100, size=15)
    (row,) = picture.take().positions
    assert (row.position.quantity, row.stop_price, row.unprotected) == (25, 98, 15)
    picture.rig.release()
    (row,) = picture.take().positions
    assert (row.stop_price, row.unprotected) == (98, 0)


def test_what_is_too_little_to_sell_is_shown_as_that_and_does_not_hold_a_kill_up() -> None:
    coin = replace(COIN, lot=Decimal("0.1"), commission_in_base=True)
    costs = ExchangeRules(Decimal("0.1"), Decimal(0), Decimal(100))
    picture = Picture(instruments=[coin], rules=costs, execution=AT_MARKET)
    picture.rig.hold_position(symbol="COIN", sizing="fixed_quantity:10")
    (row,) = picture.take().positions
    assert not row.dust
    picture.rig.send(TripKillSwitch(source="key", action=KillAction.FLATTEN))
    picture.rig.quote(100, "COIN")
    snapshot = picture.take()
    (row,) = snapshot.positions
    assert row.dust
    assert (row.position.quantity, row.unrealised_pnl) == (Decimal("0.09"), 0)
    assert (row.unprotected, row.not_flat) == (0, "")
    assert (snapshot.kill.phase, snapshot.kill.open_positions) == ("complete", 0)
    assert (snapshot.cash, snapshot.equity) == (Decimal("99989.01"), Decimal("99998.01"))


def test_a_position_that_is_to_be_closed_and_is_not_says_why() -> None:
    picture = Picture(execution=AT_MARKET)
    picture.rig.hold_position()
    picture.rig.hold = {SubmitOrder}
    picture.rig.send(TripKillSwitch(source="key", action=KillAction.FLATTEN))
    (row,) = picture.take().positions
    assert (row.stop_price, row.unprotected) == (None, row.position.quantity)
    assert row.not_flat == "its exit is under way"


def test_the_pnl_of_a_strategy_is_after_commission_and_over_all_its_symbols() -> None:
    positions = (
        Position("puppet", "ACME", realised_pnl=Decimal(50), commission=Decimal(3)),
        Position("puppet", "COIN", quantity=Decimal(1), cost=Decimal(40), commission=Decimal(1)),
        Position("other", "ACME", realised_pnl=Decimal(-9)),
    )
    picture = Picture(
        "puppet",
        "other",
        instruments=(ACME, COIN),
        restored=Restored({"paper": CASH}, positions=positions, marks={"COIN": 45.0}),
    )
    snapshot = picture.take()
    assert strategy(snapshot).pnl == 51
    assert strategy(snapshot, "other").pnl == -9
    assert [row.position.symbol for row in snapshot.positions] == ["COIN"]
    assert snapshot.positions[0].mark_source == "last session"


# --- quotes --------------------------------------------------------------------------------------


def test_quotes_show_age_and_change_against_the_days_first_price() -> None:
    picture = Picture(instruments=(ACME, COIN))
    first = picture.take().quotes[0]
    assert (first.last, first.change_pct, first.volume, first.ts) == (None, None, None, 0)
    picture.rig.quote(100)
    picture.rig.bar(100, 104, 99, 103, volume=12)
    row = picture.take().quotes[0]
    assert (row.last, row.volume, row.ts) == (103, 12, picture.rig.now)
    assert row.change_pct == pytest.approx(3)
    picture.rig.tick(121)
    assert picture.take().quotes[0].stale
    assert picture.take().quotes[1].last is None


def test_a_quote_that_is_too_old_is_not_shown_beside_bars_that_go_on() -> None:
    """It would have the age of the newest bar; of a symbol that is mute the age is its own."""
    picture = Picture()
    picture.rig.quote(100)
    picture.rig.bar(101)
    assert picture.take().quotes[0].quote is not None
    picture.rig.bar(102)
    picture.rig.bar(103)
    row = picture.take().quotes[0]
    assert (row.last, row.quote, row.stale) == (103, None, False)
    picture.rig.quote(104)
    picture.rig.tick(121)
    row = picture.take().quotes[0]
    assert row.stale
    assert row.quote is not None


def test_a_symbol_that_is_mute_has_no_change_of_the_day_before() -> None:
    picture = Picture(instruments=(ACME, COIN))
    picture.rig.quote(50, "COIN")
    picture.rig.quote(55, "COIN")
    picture.rig.tick(121)
    assert picture.take().quotes[1].change_pct == pytest.approx(10)
    picture.rig.now += 24 * 60 * MINUTE
    picture.rig.quote(100)
    row = picture.take().quotes[1]
    assert (row.last, row.change_pct) == (55, None)


def test_quotes_name_the_time_zone_of_their_market() -> None:
    table = SessionTable("XNYS", "America/New_York", (START,), (START + MINUTE,))
    acme = replace(ACME, calendar="XNYS")
    picture = Picture(instruments=(acme, COIN), calendars=(table,))
    assert [row.zone for row in picture.take().quotes] == ["America/New_York", "UTC"]


def test_a_row_that_did_not_change_is_the_same_object() -> None:
    picture = Picture(instruments=(ACME, COIN))
    picture.rig.quote(100)
    picture.rig.quote(50, "COIN")
    before = picture.take().quotes
    picture.rig.quote(51, "COIN")
    after = picture.take().quotes
    assert after[0] is before[0]
    assert after[1] is not before[1]


# --- signals -------------------------------------------------------------------------------------


def test_a_signal_shows_what_became_of_it() -> None:
    picture = Picture()
    picture.rig.signal(Side.SELL)
    order = picture.rig.buy()
    rows = picture.take().signals
    assert [(row.outcome, row.note) for row in rows] == [
        ("blocked", "no position to close; short selling is off"),
        ("order", order.client_order_id),
    ]
    assert rows[0].seq < rows[1].seq


def test_an_exit_is_the_outcome_of_a_sell_signal_and_its_stop_is_not() -> None:
    picture = Picture()
    picture.rig.hold_position()
    picture.rig.signal(Side.SELL)
    notes = [row.note for row in picture.take().signals]
    assert notes == [
        picture.rig.last(OrderPurpose.ENTRY).client_order_id,
        picture.rig.last(OrderPurpose.EXIT).client_order_id,
    ]


def test_the_newest_signals_and_lines_are_kept() -> None:
    picture = Picture()
    for _ in range(SIGNALS_KEPT):
        picture.rig.signal(Side.SELL)
        picture.rig.signal(Side.BUY)
    snapshot = picture.take()
    assert (len(snapshot.signals), len(snapshot.log)) == (SIGNALS_KEPT, LINES_KEPT)
    assert snapshot.signals[-1].signal.ts == picture.rig.now


# --- orders --------------------------------------------------------------------------------------


def test_an_open_order_is_shown_however_many_came_after_it() -> None:
    def an_order(number: int, state: OrderState) -> Order:
        return Order(
            f"tb-{number}", "puppet", "ACME", Side.BUY, OrderType.MARKET, Decimal(1),
            OrderPurpose.ENTRY, number, number, Decimal(1), state=state,
        )  # fmt: skip

    orders = [an_order(0, OrderState.ACCEPTED), an_order(1, OrderState.CANCELED)]
    orders += [an_order(2 + n, OrderState.REJECTED) for n in range(ORDERS_SHOWN)]
    picture = Picture(restored=Restored({"paper": CASH}, orders=tuple(orders)))
    shown = picture.take().orders
    assert len(shown) == ORDERS_SHOWN + 1
    assert shown[0].client_order_id == "tb-0"
    assert "tb-1" not in {order.client_order_id for order in shown}


# --- safety --------------------------------------------------------------------------------------


def test_the_kill_switch_shows_how_far_it_is() -> None:
    picture = Picture()
    picture.rig.void = {CancelOrder}
    order = picture.rig.buy()
    assert (picture.take().kill.phase, picture.take().kill.tripped) == ("armed", False)
    picture.rig.kill()
    kill = picture.take(durable=False).kill
    assert (kill.phase, kill.open_orders, kill.durable) == ("cancelling", 1, False)
    assert (kill.source, kill.reason, kill.ts) == ("key", "test", picture.rig.now)
    picture.rig.send(CancelRejected(order.client_order_id, "already filled"))
    kill = picture.take().kill
    assert (kill.open_orders, kill.refused, kill.refusal) == (1, 1, "already filled")
    picture.rig.report(order, OrderState.CANCELED)
    kill = picture.take().kill
    assert (kill.phase, kill.open_orders, kill.refused) == ("complete", 0, 0)


@pytest.mark.parametrize(
    ("action", "phases"),
    [
        (KillAction.STOP, ["complete", "complete"]),
        (KillAction.KEEP_STOPS, ["cancelling", "complete"]),
        (KillAction.CANCEL, ["cancelling", "cancelling"]),
    ],
)
def test_what_a_kill_leaves_open_it_does_not_wait_for(
    action: KillAction, phases: list[str]
) -> None:
    picture = Picture("puppet", instruments=(ACME, COIN))
    picture.rig.hold_position(100, symbol="COIN")
    picture.rig.void = {CancelOrder}
    entry = picture.rig.buy()
    picture.rig.kill(action)
    first = picture.take().kill
    picture.rig.report(entry, OrderState.CANCELED)
    second = picture.take().kill
    assert [first.phase, second.phase] == phases
    assert (first.action, second.action) == (action, action)


def test_a_kill_that_flattens_is_complete_when_nothing_is_held() -> None:
    picture = Picture()
    picture.rig.hold_position(100)
    picture.rig.void = {SubmitOrder}
    picture.rig.kill(KillAction.FLATTEN)
    kill = picture.take().kill
    assert (kill.phase, kill.open_positions) == ("flattening", 1)


def test_what_the_kill_key_would_do_is_shown_before() -> None:
    rules = SafetyRules(kill_action=KillAction.KEEP_STOPS)
    assert Picture(safety=rules).take().kill.action is KillAction.KEEP_STOPS


def test_the_breaker_the_dry_run_and_the_dead_mans_switch_are_shown() -> None:
    rules = SafetyRules(breaker_failures=2, dead_man=60 * NANOS, dry_run=True)
    picture = Picture(safety=rules)
    picture.rig.machine.safety.breaker.fail("no margin")
    picture.rig.send(ClockTick(uptime=20 * NANOS))
    snapshot = picture.take()
    assert snapshot.breaker == BreakerStatus(False, "", 1, 2)
    assert snapshot.dead_man == DeadManStatus(40.0, 60.0)
    assert snapshot.dry_run
    picture.rig.machine.safety.breaker.fail("halted")
    assert picture.take().breaker.tripped
    plain = Picture().take()
    assert (plain.dead_man, plain.dry_run) == (None, False)


def test_the_live_gate_is_shown_as_it_is_met() -> None:
    picture = Picture(mode=Mode.LIVE, safety=SafetyRules(allow_live=True))
    assert [gate.met for gate in picture.take().live_gate] == [True, True, False, True, False]
    picture.rig.send(BrokerChanged("paper", True, live=True))
    picture.rig.send(ConfirmLive(word="LIVE", author="me"))
    assert all(gate.met for gate in picture.take().live_gate)


def test_a_paused_symbol_is_shown_until_it_is_resumed() -> None:
    pause = Pause("ACME", "positions differ")
    picture = Picture(restored=Restored({"paper": Decimal(100_000)}, pauses=(pause,)))
    assert picture.take().paused == (PausedRow("ACME", "positions differ", 0),)
    picture.rig.send(ResumeSymbol(symbol="ACME", author="me"))
    assert picture.take().paused == ()


def test_a_killed_part_is_shown_with_what_is_left_to_do() -> None:
    picture = Picture()
    picture.rig.hold_position()
    picture.rig.void = {CancelOrder}
    part = Part(Scope.STRATEGY, "puppet")
    picture.rig.send(KillPart(part=part, source="key", action=KillAction.FLATTEN))
    snapshot = picture.take()
    (row,) = snapshot.killed_parts
    assert (row.killed.part, row.open_orders, row.open_positions) == (part, 1, 1)
    assert [row.state for row in snapshot.strategies] == ["killed"]
    stop = picture.rig.last(OrderPurpose.PROTECTIVE_STOP)
    picture.rig.send(CancelRejected(stop.client_order_id, "auction"))
    (row,) = picture.take().killed_parts
    assert (row.refused, row.refusal) == (1, "auction")
    picture.rig.send(RearmPart(part=part, word="REARM"))
    assert picture.take().killed_parts == ()


def test_a_limit_names_its_setting_where_it_is_the_settings_own_value() -> None:
    snapshot = Picture().take()
    assert limit(snapshot, "daily_loss").setting == "max_daily_loss"
    assert limit(snapshot, "leverage").setting == "max_leverage"
    assert limit(snapshot, "buying_power").setting == ""


def test_the_limits_of_one_order_show_what_the_last_one_came_to() -> None:
    limits = RiskLimits(max_order_notional=Decimal(4000), min_price=Decimal(5))
    picture = Picture("puppet", limits=limits)
    before = [row for row in picture.take().limits if row.past]
    assert [(row.name, row.used, row.limit) for row in before] == [
        ("order_notional", None, 4000),
        ("price_collar", None, 5),
        ("min_price", None, 5),
        ("signal_strength", None, 0.7),
    ]
    picture.rig.quote(100)
    picture.rig.signal(Side.BUY, 101, strength=0.75)
    picture.rig.send(ChangeLimit(name="max_order_notional", value="3900"))
    after = {row.name: row for row in picture.take().limits if row.past}
    order = picture.rig.last(OrderPurpose.ENTRY)
    worst = order.quantity * order.reference_price
    assert (after["order_notional"].used, after["order_notional"].limit) == (float(worst), 3900)
    assert after["price_collar"].used == pytest.approx(1)
    assert (after["min_price"].used, after["min_price"].least) == (101, True)
    assert (after["signal_strength"].used, after["signal_strength"].scope) == (0.75, "puppet")


def test_how_often_a_strategy_made_orders_of_late_is_shown_against_the_throttle() -> None:
    picture = Picture(limits=RiskLimits(throttle_orders=4))
    assert limit(picture.take(), "repeated_orders", "puppet").used == 0
    picture.rig.buy()
    assert limit(picture.take(), "repeated_orders", "puppet") == LimitRow(
        "strategy", "repeated_orders", "puppet", 1, 4, "", "throttle_orders"
    )
    picture.rig.tick(10)
    assert limit(picture.take(), "repeated_orders", "puppet").used == 0
    none = Picture(limits=RiskLimits(throttle_orders=0)).take()
    assert "repeated_orders" not in {row.name for row in none.limits}


def test_buying_power_is_what_the_venue_says_less_what_was_taken_since() -> None:
    picture = Picture()
    unknown = limit(picture.take(), "venue_buying_power", "paper")
    assert (unknown.used, isnan(unknown.limit)) == (None, True)
    power = AccountStatement(
        "paper", picture.rig.now, (), (), {}, buying_power=Decimal(60_000), ts=picture.rig.now
    )
    picture.rig.send(power)
    order = picture.rig.buy()
    row = limit(picture.take(), "venue_buying_power", "paper")
    assert (row.used, row.limit) == (float(order.worst_notional), 60_000)
    later = AccountStatement("paper", picture.rig.now, (), (), {})
    picture.rig.send(later)
    assert limit(picture.take(), "venue_buying_power", "paper").used is None


def test_settled_cash_is_without_what_sales_brought_today() -> None:
    picture = Picture()
    picture.rig.hold_position(100)
    picture.rig.signal(Side.SELL)
    picture.rig.quote(100)
    snapshot = picture.take()
    assert (snapshot.cash, snapshot.settled_cash) == (CASH, CASH - 4900)


def test_messages_are_counted_from_the_first() -> None:
    assert limit(Picture().take(), "message_rate", "paper").used == 0


def test_store_and_feed_show_their_trouble() -> None:
    picture = Picture()
    picture.rig.send(StoreChanged(False, "disk full"))
    snapshot = picture.take()
    assert (snapshot.store.available, snapshot.store.note) == (False, "disk full")
    assert snapshot.store.since_ts == picture.rig.now
    assert snapshot.feed == FEED
    assert snapshot.log[-1].level == "error"


def test_limits_show_use_and_limit_of_account_strategies_and_symbols() -> None:
    picture = Picture(limits=RiskLimits(max_trades_per_day=7))
    picture.rig.void = {SubmitOrder}
    picture.rig.buy(100)
    snapshot = picture.take()
    assert (limit(snapshot, "trades_per_day", "puppet").used, 7) == (
        1,
        limit(snapshot, "trades_per_day", "puppet").limit,
    )
    size = limit(snapshot, "position_size", "ACME")
    assert (size.used, size.limit, size.unit) == (pytest.approx(4.9245), 5, "%")
    assert limit(snapshot, "exposure").used == pytest.approx(4.9245)
    assert limit(snapshot, "daily_loss").unit == "$"


def test_what_blocked_signals_is_counted_by_check_with_the_latest_and_anew_every_day() -> None:
    picture = Picture("puppet", "other", limits=RiskLimits(max_trades_per_day=1))
    picture.rig.hold_position(100)
    picture.rig.signal(Side.BUY, strategy="other", strength=0.1)
    picture.rig.signal(Side.SELL, strategy="other")
    picture.rig.signal(Side.BUY, strategy="other", strength=0.2)
    picture.rig.signal(Side.SELL, strategy="other", price=101)
    flat, weak = picture.take().blocked
    assert (flat.check, flat.count, flat.signal.price) == ("flat", 2, 101)
    assert "no position to close" in flat.reason
    assert (weak.check, weak.count, weak.signal.strength) == ("size", 2, 0.2)
    assert picture.take().blocked_since_ts < picture.rig.now
    picture.rig.tick(24 * 3600)
    snapshot = picture.take()
    assert snapshot.blocked == ()
    assert snapshot.blocked_since_ts == picture.rig.now


def test_a_session_that_goes_on_with_its_day_counts_what_it_blocked_from_its_start() -> None:
    picture = Picture(started=False)
    assert picture.take().blocked_since_ts == 0
    picture.rig.send(EngineStarted("abc"))
    assert picture.take().blocked_since_ts == picture.rig.now


def test_day_trades_are_a_limit_where_the_rule_holds_for_the_account() -> None:
    poor = Restored({"paper": Decimal(20_000)})
    picture = Picture(restored=poor)
    assert limit(picture.take(), "day_trades").used == 0
    picture.rig.hold_position(100)
    row = limit(picture.take(), "day_trades")
    assert (row.used, row.limit, row.unit) == (1, 3, "")  # it may be closed today
    assert "day_trades" not in {row.name for row in Picture().take().limits}  # rich enough
    off = ComplianceRules(pattern_day_trader=DayTradeRule.OFF)
    without = Picture(restored=poor, compliance=off).take()
    assert "day_trades" not in {row.name for row in without.limits}


def test_a_cash_account_shows_what_its_entries_take_of_settled_money() -> None:
    cash = ComplianceRules(account_type=AccountType.CASH)
    picture = Picture(compliance=cash)
    picture.rig.void = {SubmitOrder}
    picture.rig.buy(100)
    row = limit(picture.take(), "settled_cash")
    (order,) = picture.rig.machine.orders.open.values()
    assert (row.used, row.limit, row.unit) == (float(order.worst_notional), CASH, "$")
    assert "settled_cash" not in {row.name for row in Picture().take().limits}


def test_a_connection_shows_since_when_it_stands_and_how_often_it_was_lost() -> None:
    picture = Picture(started=False)
    (broker,) = picture.take().brokers
    assert (broker.connected, broker.since_ts, broker.losses) == (True, picture.rig.now, 0)
    picture.rig.tick()
    lost = picture.rig.now
    picture.rig.send(BrokerChanged("paper", False, "reset"))
    picture.rig.send(FeedChanged("replay", "disconnected"))
    picture.rig.tick()
    picture.rig.send(BrokerChanged("paper", False, "reset again"))
    snapshot = picture.take()
    (broker,) = snapshot.brokers
    assert (broker.since_ts, broker.losses, broker.note) == (lost, 1, "reset again")
    assert (snapshot.feed.since_ts, snapshot.feed.losses) == (lost, 0)  # it never was there
    picture.rig.send(BrokerChanged("paper", True))
    picture.rig.send(FeedChanged("replay", "connected"))
    picture.rig.send(FeedChanged("replay", "disconnected"))
    snapshot = picture.take()
    assert (snapshot.brokers[0].since_ts, snapshot.brokers[0].losses) == (picture.rig.now, 1)
    assert snapshot.feed.losses == 1


# --- strategies ----------------------------------------------------------------------------------


def test_pnl_by_strategy_is_of_all_positions_ever_and_names_who_is_gone() -> None:
    gone = Position("gone", "ACME", realised_pnl=Decimal(50), commission=Decimal(3))
    picture = Picture("puppet", restored=Restored({"paper": CASH}, positions=(gone,)))
    picture.rig.hold_position(100)
    picture.rig.quote(101)
    ours, former = picture.take().pnl
    held = picture.rig.position("puppet", "ACME").quantity
    assert ours == PnlRow("puppet", Decimal(0), held, Decimal(0), 1, 1)
    assert former == PnlRow("gone", Decimal(50), Decimal(0), Decimal(3), 0, 0)
    assert (ours.total, former.total) == (held, 47)


def test_pnl_that_is_not_known_is_none_and_what_is_known_is_told() -> None:
    held = Position("puppet", "ACME", Decimal(1), Decimal(100), realised_pnl=Decimal(5))
    picture = Picture(restored=Restored({"paper": CASH}, positions=(held,)))
    (row,) = picture.take().pnl
    assert (row.realised, row.unrealised, row.commission, row.total) == (5, None, 0, None)
    foreign = (replace(ACME, currency="CAD"),)
    picture = Picture(instruments=foreign, restored=Restored({"paper": CASH}, positions=(held,)))
    (row,) = picture.take().pnl
    assert (row.realised, row.unrealised, row.commission, row.total) == (None,) * 4


def test_a_strategy_shows_whether_it_is_on_and_why_not() -> None:
    picture = Picture("puppet", "other", limits=RiskLimits(max_consecutive_losses=1))
    assert strategy(picture.take()).state == "on"
    picture.rig.toggle("other", False)
    assert strategy(picture.take(), "other").state == "off"
    picture.rig.hold_position(100)
    picture.rig.signal(Side.SELL, 99)
    picture.rig.quote(99)
    row = strategy(picture.take())
    assert (row.state, row.note, row.consecutive_losses) == ("paused", "1 loss in a row", 1)
    assert (row.entries_today, row.last_signal) == (1, Side.SELL)
    picture.rig.wishes["puppet", "ACME"] = "garbage"
    picture.rig.quote(99)
    row = strategy(picture.take())
    assert row.state == "failed"
    assert "returned str" in row.note


def test_a_strategy_shows_how_warm_it_is() -> None:
    class Slow(Strategy):
        def required_history(self) -> int:
            return 3

        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> None:
            """Says nothing."""

    picture = Picture(kinds={"slow": Slow})
    for warm in (0, 1, 2, 3, 3):
        row = strategy(picture.take(), "slow")
        assert (row.warm, row.required) == (warm, 3)
        for _ in picture.view.ahead():
            """What is done ahead tells nothing old."""
        picture.rig.bar(100)
    off = Restored({"paper": CASH}, strategies=(StrategyState("slow", False),))
    picture = Picture(kinds={"slow": Slow}, restored=off)
    picture.rig.bar(100)
    assert strategy(picture.take(), "slow").warm == 1
    picture.rig.toggle("slow", True)
    assert strategy(picture.take(), "slow").warm == 0


def test_a_restored_strategy_shows_its_last_signal_and_its_losses() -> None:
    state = StrategyState("puppet", True, losses=2, last_signals={"ACME": Side.BUY})
    row = strategy(Picture(restored=Restored({"paper": CASH}, strategies=(state,))).take())
    assert (row.state, row.consecutive_losses, row.last_signal) == ("on", 2, Side.BUY)


def test_the_last_signal_of_a_strategy_is_the_newest_of_all_its_symbols() -> None:
    both = (ACME, COIN)
    picture = Picture(instruments=both)
    for symbol, side in (("ACME", Side.BUY), ("COIN", Side.BUY), ("ACME", Side.SELL)):
        picture.rig.signal(side, symbol=symbol)
    assert strategy(picture.take()).last_signal is Side.SELL
    state = StrategyState("puppet", True, last_signals={"COIN": Side.BUY, "ACME": Side.SELL})
    restored = Restored({"paper": CASH}, strategies=(state,))
    after = Picture(instruments=both, restored=restored)
    assert strategy(after.take()).last_signal is Side.SELL


# --- the picture ---------------------------------------------------------------------------------


def test_what_is_done_ahead_is_little_at_a_time_and_no_picture_is_older_for_it() -> None:
    instruments = [replace(ACME, symbol=f"S{number}") for number in range(5 * QUOTES_A_PIECE)]
    picture = Picture(instruments=instruments)
    first = picture.take()
    for instrument in instruments:
        picture.rig.quote(100, instrument.symbol)
    pieces = sum(1 for _ in picture.view.ahead())
    assert pieces == 5 + len(first.strategies)
    picture.rig.quote(101, "S7")
    second = picture.take()
    assert [row.last for row in second.quotes] == [100] * 7 + [101] + [100] * (len(instruments) - 8)
    third = picture.take()
    assert all(after is before for after, before in zip(third.quotes, second.quotes, strict=True))


def test_fills_are_shown_the_latest_at_the_end() -> None:
    picture = Picture()
    assert picture.take().fills == ()
    picture.rig.hold_position(100)
    picture.rig.signal(Side.SELL)
    picture.rig.quote(110)
    bought, sold = picture.take().fills
    assert [row.fill.side for row in (bought, sold)] == [Side.BUY, Side.SELL]
    assert (bought.fill.price, sold.fill.price) == (100, 110)
    assert not bought.is_reversed


def test_a_fill_that_the_venue_took_back_stays_and_says_so() -> None:
    picture = Picture()
    picture.rig.hold_position(100)
    (row,) = picture.take().fills
    fill = row.fill
    instead = replace(fill, quantity=Decimal(1))
    picture.rig.send(TradeBusted(fill.execution_id, fill.symbol, instead, "error"))
    back, correction = picture.take().fills
    assert back == FillRow(fill, is_reversed=True)
    assert (correction.fill.quantity, correction.is_reversed) == (1, False)
    assert picture.view.fills == (correction.fill,)


def test_of_many_fills_the_last_are_shown() -> None:
    fills = [
        Fill(f"x{n}", "o", "ACME", Side.BUY, Decimal(1), Decimal(100), Decimal(0), n)
        for n in range(FILLS_SHOWN + 5)
    ]
    view = View(Rig().machine, fills)
    shown = view.take(1, 7, FEED, True, HEALTH).fills
    assert [row.fill for row in shown] == fills[5:]


def test_a_snapshot_does_not_change_after_it_was_taken() -> None:
    picture = Picture()
    picture.rig.buy()
    before = picture.take()
    bytes_before = msgpack.encode(before)
    picture.rig.quote(100)
    picture.rig.kill()
    assert msgpack.encode(picture.take()) != bytes_before
    assert msgpack.encode(before) == bytes_before


def test_a_line_of_the_host_stands_at_the_machines_time() -> None:
    picture = Picture()
    picture.view.line("warning", "strategy file x.py is broken")
    line = picture.take().log[0]
    assert (line.level, line.text) == ("warning", "strategy file x.py is broken")
    assert line.ts == picture.rig.machine.bus.now


def test_what_the_session_did_is_counted_in_the_currencies_of_its_symbols() -> None:
    shop = replace(ACME, symbol="SHOP", currency="CAD", venue="maple")
    picture = Picture(instruments=(ACME, shop))
    picture.rig.send(RatePublished("USD", Decimal("1.25"), "test", picture.rig.now))
    before = picture.take().session
    assert (before.orders, before.executions, before.fees, before.closed) == (0, 0, (), ())
    picture.rig.hold_position(100, symbol="SHOP")
    picture.rig.signal(Side.SELL, symbol="SHOP")
    picture.rig.quote(110, "SHOP")
    snapshot = picture.take()
    done = snapshot.session
    assert (done.executions, done.rejected) == (2, 0)
    assert done.orders == len(snapshot.orders)
    ((currency, made),) = done.closed
    assert currency == "CAD"
    assert made > 0
    assert snapshot.day_pnl == made * Decimal("0.8")
