"""Settled cash to the cent by date, and what a cash account may do before its money is there."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.calendars import session_tables
from engine.core.compliance import ComplianceRules
from engine.core.events import (
    CashAdjusted,
    ClockTick,
    OrderIntended,
    PositionChanged,
    Restored,
    RiskChecked,
    SettlementViolated,
    SettlementWarned,
    SignalBlocked,
    TradeReversed,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.model import (
    DAY,
    NANOS,
    AccountType,
    AssetClass,
    CashAdjustment,
    Fill,
    Instrument,
    OrderPurpose,
    Position,
    Side,
    Violation,
    nanos,
)
from engine.core.sessions import Calendars
from engine.core.settlement import settlement_date

from .rig import Rig

EASTERN = ZoneInfo("America/New_York")
CENT = Decimal("0.01")
US = Instrument("US", AssetClass.STOCK, CENT, Decimal(1), calendar="XNYS")
CA = Instrument("CA", AssetClass.STOCK, CENT, Decimal(1), calendar="XTSE")
BARE = Instrument("BARE", AssetClass.STOCK, CENT, Decimal(1))
COIN = Instrument("COIN", AssetClass.CRYPTO, CENT, Decimal("0.00000001"))
INSTRUMENTS = (US, CA, BARE, COIN)
TABLES = session_tables(
    INSTRUMENTS, nanos(datetime(2018, 1, 1, tzinfo=UTC)), nanos(datetime(2026, 12, 1, tzinfo=UTC))
)
CALENDARS = Calendars(TABLES)
CASH_ACCOUNT = ComplianceRules(account_type=AccountType.CASH)
START = Decimal(10_000)


def at(day: str, hour: int = 12) -> int:
    return nanos(datetime.fromisoformat(day).replace(hour=hour, tzinfo=EASTERN))


def fill(side: Side, symbol: str, ts: int, quantity: object = 10, price: object = 100) -> Fill:
    numbers = (Decimal(str(quantity)), Decimal(str(price)), Decimal("0.07"))
    key = f"{symbol}-{ts}"
    return Fill(f"x-{key}", f"tb-{key}", symbol, side, *numbers, ts, "s", venue="paper")


def restored(*fills: Fill, opening: Decimal = START, **what: Any) -> Restored:
    """A session that begins after these executions, as the store gives it."""
    held: dict[str, Decimal] = {}
    for f in fills:
        held[f.symbol] = held.get(f.symbol, Decimal(0)) + f.side.sign * f.quantity
    return Restored(
        cash={"paper": opening + sum(f.cash_change for f in fills)},
        positions=tuple(Position("s", symbol, quantity) for symbol, quantity in held.items()),
        execution_ids=tuple(f.execution_id for f in fills),
        fills=fills,
        **what,
    )


def machine(
    rules: ComplianceRules = CASH_ACCOUNT, instruments: tuple[Instrument, ...] = INSTRUMENTS
) -> Machine:
    config = MachineConfig(instruments, starting_cash=START, calendars=TABLES, compliance=rules)
    return Machine(config, {})


def settled(account: Machine, ts: int) -> Decimal:
    account.process(ClockTick(ts=ts))
    return account.compliance.settled_cash()["paper"]


# --- the date ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calendar", "traded", "settles"),
    [
        ("XNYS", "2017-09-01", "2017-09-07"),  # T+3, over a weekend and Labor Day
        ("XNYS", "2017-09-05", "2017-09-07"),  # the first day of T+2
        ("XNYS", "2024-05-22", "2024-05-24"),
        ("XNYS", "2024-05-23", "2024-05-28"),  # Memorial Day on the 27th
        ("XNYS", "2024-05-24", "2024-05-29"),  # the last T+2 ...
        ("XNYS", "2024-05-28", "2024-05-29"),  # ... and the first T+1, on one day
        ("XTSE", "2024-05-24", "2024-05-28"),  # Canada: no holiday, and one day earlier
        ("XTSE", "2024-05-27", "2024-05-28"),
        ("XTSE", "2024-05-17", "2024-05-22"),  # Victoria Day
        ("XNYS", "2024-05-17", "2024-05-21"),
        ("XNYS", "2024-07-03", "2024-07-05"),
        ("XTSE", "2024-07-03", "2024-07-04"),
        ("XNYS", "2024-06-28", "2024-07-01"),
        ("XTSE", "2024-06-28", "2024-07-02"),
        ("XNYS", "2024-10-11", "2024-10-15"),  # Columbus Day: open, and no day of settlement
        ("XNYS", "2024-10-14", "2024-10-15"),
        ("XNYS", "2018-11-09", "2018-11-14"),  # Veterans Day of a Sunday, with T+2
        ("XNYS", "2024-11-08", "2024-11-12"),  # Veterans Day
        ("XTSE", "2024-11-08", "2024-11-11"),
        ("XNYS", "2024-12-24", "2024-12-26"),
        ("XTSE", "2024-12-24", "2024-12-27"),  # Boxing Day
        ("24/7", "2024-07-05", "2024-07-08"),  # no calendar: Monday to Friday
    ],
)
def test_a_trade_settles_so_many_business_days_after(
    calendar: str, traded: str, settles: str
) -> None:
    found = settlement_date(CALENDARS, calendar, date.fromisoformat(traded))
    assert found == date.fromisoformat(settles)


def test_money_is_there_at_the_midnight_of_the_market_and_not_before() -> None:
    account = machine()
    friday = at("2024-07-05", 15)
    account.process(restored(fill(Side.BUY, "US", friday - 1), fill(Side.SELL, "US", friday)))
    whole = START - Decimal("0.14")
    for day in ("2024-07-05", "2024-07-06", "2024-07-07"):
        assert settled(account, at(day, 23)) == whole - Decimal("999.93")
    midnight = at("2024-07-08", 0)
    assert settled(account, midnight - 1) == whole - Decimal("999.93")
    assert settled(account, midnight) == whole


def test_an_evening_trade_is_one_of_its_market_day() -> None:
    """It is the next day already in UTC."""
    account = machine()
    evening = at("2024-07-10", 19) + 1800 * NANOS
    assert datetime.fromtimestamp(evening / NANOS, UTC).hour == 23
    late = at("2024-07-10", 22)
    account.process(restored(fill(Side.SELL, "US", evening), fill(Side.SELL, "BARE", late)))
    assert settled(account, at("2024-07-11", 0) - 1) == START
    assert settled(account, at("2024-07-11", 0)) == START + 2 * Decimal("999.93")


def test_crypto_settles_at_once() -> None:
    account = machine()
    now = at("2024-07-05")
    account.process(restored(fill(Side.SELL, "COIN", now)))
    assert settled(account, now) == START + Decimal("999.93")


SESSIONS = {
    name: [d.date() for d in exchange_calendars.get_calendar(name, start="2024-01-01").sessions]
    for name in ("XNYS", "XTSE")
}
SWITCH = {"XNYS": date(2024, 5, 28), "XTSE": date(2024, 5, 27)}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([US, CA]),
            st.sampled_from(list(Side)),
            st.integers(0, 40),
            st.integers(1, 900),
        ),
        max_size=12,
    )
)
def test_settled_cash_by_date_is_what_its_sales_make_it(
    trades: list[tuple[Instrument, Side, int, int]],
) -> None:
    """Against exchange_calendars, over the weeks in which T+2 became T+1 in both countries."""
    fills: list[Fill] = []
    due: list[tuple[date, Decimal]] = []
    for number, (instrument, side, day, quantity) in enumerate(trades):
        sessions = SESSIONS[instrument.calendar]
        traded = [d for d in sessions if d >= date(2024, 5, 6)][day]
        ts = at(traded.isoformat(), 10) + number
        fills.append(fill(side, instrument.symbol, ts, quantity, "1.37"))
        cycle = 1 if traded >= SWITCH[instrument.calendar] else 2
        settles = sessions[sessions.index(traded) + cycle] if side is Side.SELL else traded
        due.append((settles, fills[-1].cash_change))
    fills.sort(key=lambda f: f.ts)
    account = machine(ComplianceRules())  # the same in a margin account
    for day in range(80):
        today = date(2024, 5, 6) + timedelta(day)
        while fills and fills[0].ts < at(today.isoformat(), 23):
            executed(account, fills.pop(0))
        there = sum((change for when, change in due if when <= today), START)
        assert settled(account, at(today.isoformat(), 23)) == there


def executed(account: Machine, *fills: Fill) -> None:
    """As the ledger tells of executions."""
    for f in fills:
        cash = account.portfolio.cash
        cash["paper"] += f.cash_change
        account.bus.deliver(PositionChanged(Position("s", f.symbol), f, cash["paper"], ts=f.ts))


# --- a cash account ------------------------------------------------------------------------------


def rig(day: str = "2024-07-10", rules: ComplianceRules = CASH_ACCOUNT, **how: Any) -> Rig:
    given: dict[str, Any] = {"instruments": INSTRUMENTS, "now": at(day, 10)}
    return Rig("puppet", calendars=TABLES, compliance=rules, **(given | how))


def numbers(account: Rig, check: str) -> list[tuple[float, float, bool]]:
    return [(f.used, f.limit, f.passed) for f in account.facts(RiskChecked) if f.check == check]


# 100,000 of cash, of which 96,000 came from a sale of the same morning.
SALE = fill(Side.SELL, "CA", at("2024-07-10", 9), 960, 100)
POOR = replace(restored(replace(SALE, commission=Decimal(0)), opening=Decimal(4_000)), positions=())


def test_an_entry_may_use_settled_money_alone() -> None:
    account = rig(restored=POOR)
    account.signal(Side.BUY, symbol="US")  # 5 % of equity are more than 4,000
    assert not account.submits()
    (used, limit, passed) = numbers(account, "settled_cash")[-1]
    assert used > limit == 4_000
    assert not passed
    assert [f.check for f in account.facts(SignalBlocked)] == ["settled_cash"]
    account = rig("2024-07-11", restored=POOR)
    account.signal(Side.BUY, symbol="US")
    assert [o.symbol for o in account.submits()] == ["US"]
    assert numbers(account, "settled_cash")[-1][1] == 100_000


def test_an_open_entry_counts_with_its_commission() -> None:
    """Two orders of 4,900: each is within 5,500, both are not."""
    sale = replace(SALE, quantity=Decimal(945), commission=Decimal(0))
    account = rig(
        rules=replace(CASH_ACCOUNT, commission_pct=Decimal(1)),
        restored=replace(restored(sale, opening=Decimal(5_500)), positions=()),
    )
    account.signal(Side.BUY, symbol="US")
    (order,) = account.submits()
    account.signal(Side.BUY, symbol="BARE")
    assert account.submits() == [order]
    first, second = (float(used) for used, _, _ in numbers(account, "settled_cash"))
    assert first == pytest.approx(1.01 * float(order.worst_notional))
    assert second == pytest.approx(2 * first)


def test_a_margin_account_has_no_such_limit() -> None:
    account = rig(rules=ComplianceRules(), restored=POOR)
    account.signal(Side.BUY, symbol="US")
    assert account.submits()
    assert not numbers(account, "settled_cash")


def test_with_violations_to_spare_unsettled_money_may_be_used_but_for_the_last() -> None:
    account = rig(rules=replace(CASH_ACCOUNT, max_violations=1), restored=POOR)
    account.hold_position(symbol="US")
    assert account.position(symbol="US").quantity > 0
    assert numbers(account, "good_faith_violations")[-1] == (1, 1, True)
    account.signal(Side.BUY, symbol="BARE")  # both could be sold before the money is there
    assert numbers(account, "good_faith_violations")[-1] == (2, 1, False)
    assert [o.symbol for o in account.submits(OrderPurpose.ENTRY)] == ["US"]
    assert not account.facts(SettlementViolated)


def test_never_more_is_bought_than_can_be_paid_for() -> None:
    lots = ComplianceRules(account_type=AccountType.CASH, max_violations=9)
    account = rig(
        rules=lots,
        restored=restored(fill(Side.BUY, "CA", at("2024-07-09"), 1_000, 99)),
        starting_cash=Decimal(99_000),
    )
    account.quote(99, "CA")
    account.signal(Side.BUY, symbol="US")
    assert [f.check for f in account.facts(SignalBlocked)][-1] in {"exposure", "free_riding"}
    used, limit, passed = numbers(account, "free_riding")[-1]
    assert used > limit == float(account.cash)
    assert not passed


def test_a_stop_that_violates_good_faith_is_warned_of_and_goes() -> None:
    account = rig(rules=replace(CASH_ACCOUNT, max_violations=1), restored=POOR)
    account.hold_position(symbol="US", stop_price=95.0)
    (warned,) = account.facts(SettlementWarned)
    stop = account.last(OrderPurpose.PROTECTIVE_STOP)
    assert warned.client_order_id == stop.client_order_id
    assert warned.reason == "the money that bought it settles on 2024-07-11"
    assert stop.client_order_id in {o.client_order_id for o in account.submits()}
    account.quote(94, "US")
    assert not account.position(symbol="US").quantity
    (fact,) = account.facts(SettlementViolated)
    assert (fact.count, fact.violation.kind, fact.violation.symbol) == (1, "good_faith", "US")
    assert fact.violation.client_order_id == stop.client_order_id
    account.signal(Side.BUY, symbol="BARE")
    assert numbers(account, "good_faith_violations")[-1] == (2, 1, False)


def test_the_next_day_it_is_no_violation() -> None:
    account = rig(rules=replace(CASH_ACCOUNT, max_violations=1), restored=POOR)
    account.hold_position(symbol="US", stop_price=95.0)
    account.now = at("2024-07-11", 10)
    account.quote(94, "US")
    assert not account.position(symbol="US").quantity
    assert not account.facts(SettlementViolated)


def run(*fills: Fill, rules: ComplianceRules = CASH_ACCOUNT, opening: Decimal = START) -> Machine:
    account = machine(rules)
    account.process(restored(*fills, opening=opening))
    account.process(ClockTick(ts=fills[-1].ts))
    return account


def kinds(account: Machine) -> list[tuple[str, str]]:
    return [(v.kind, v.symbol) for v in account.compliance.violations]


DAY1, DAY2 = at("2024-07-10"), at("2024-07-11")


def test_selling_what_unsettled_money_bought_is_a_violation_of_good_faith() -> None:
    held = fill(Side.BUY, "CA", at("2024-07-01"), 100, 100)
    fills = [
        held,
        fill(Side.SELL, "CA", DAY1, 100, 100),
        fill(Side.BUY, "US", DAY1 + 1, 50, 100),
        fill(Side.SELL, "US", DAY1 + 2, 20, 100),
    ]
    assert kinds(run(*fills, opening=Decimal("10000.07"))) == [("good_faith", "US")]
    another_day = [*fills[:3], replace(fills[3], ts=DAY2)]
    assert kinds(run(*another_day, opening=Decimal("10000.07"))) == []
    enough = run(*fills, opening=Decimal(20_000))  # settled money bought it
    assert kinds(enough) == []


def test_selling_what_was_never_paid_for_is_free_riding() -> None:
    fills = [fill(Side.BUY, "US", DAY1, 200, 100), fill(Side.SELL, "US", DAY2, 200, 101)]
    assert kinds(run(*fills)) == [("free_riding", "US")]


def test_what_was_held_before_is_sold_first() -> None:
    fills = [
        fill(Side.BUY, "US", at("2024-07-01"), 50, 100),
        fill(Side.SELL, "CA", DAY1, 50, 100),
        fill(Side.BUY, "US", DAY1 + 1, 90, 100),  # in part with unsettled money
        fill(Side.SELL, "US", DAY1 + 2, 50, 100),
    ]
    assert kinds(run(*fills)) == []
    assert kinds(run(*fills, fill(Side.SELL, "US", DAY1 + 3, 1, 100))) == [("good_faith", "US")]


def test_shares_that_cover_a_short_are_no_lot() -> None:
    fills = [
        fill(Side.SELL, "US", DAY1, 50, 100),
        fill(Side.BUY, "US", DAY1 + 1, 140, 100),  # 50 to cover, 90 to hold: 10 settle tomorrow
        fill(Side.SELL, "US", DAY1 + 2, 90, 100),
    ]
    account = run(*fills)
    assert kinds(account) == [("good_faith", "US")]
    assert account.state()["compliance"]["settlement"]["unpaid"] == {}


def test_the_executions_of_one_order_are_one_violation_and_told_once() -> None:
    fills = [
        fill(Side.SELL, "CA", DAY1, 200, 100),
        fill(Side.BUY, "US", DAY1 + 1, 250, 100),
        fill(Side.SELL, "US", DAY1 + 2, 20, 100),
        replace(fill(Side.SELL, "US", DAY1 + 3, 20, 100), client_order_id=f"tb-US-{DAY1 + 2}"),
        fill(Side.SELL, "US", DAY1 + 4, 20, 100),
    ]
    account = run(*fills)
    assert len(kinds(account)) == 2
    known = tuple(account.compliance.violations)
    again = machine()
    effects = again.process(restored(*fills, violations=known))
    assert again.compliance.violations == list(known)
    assert not [e for e in effects if "SettlementViolated" in repr(e)]


def test_a_violation_is_forgotten_after_twelve_months() -> None:
    old = (Violation("good_faith", "tb-1", "US", at("2023-07-09")),)
    account = machine()
    account.process(replace(restored(fill(Side.BUY, "US", DAY1)), violations=old))
    account.process(ClockTick(ts=at("2024-07-08")))
    assert account.compliance.recent_violations() == 1
    account.process(ClockTick(ts=at("2024-07-10", 13)))
    assert account.compliance.recent_violations() == 0


# --- over a restart, out of order, taken back ----------------------------------------------------


def test_a_restart_brings_back_what_has_not_settled() -> None:
    account = rig(rules=replace(CASH_ACCOUNT, max_violations=3), restored=POOR)
    account.hold_position(symbol="US")
    account.signal(Side.SELL, symbol="US")
    account.quote(100, "US")
    account.hold_position(symbol="BARE")
    before = account.machine
    other = Machine(account.config, account.kinds)
    other.process(account.durable())
    other.process(ClockTick(ts=account.now))
    assert other.state()["compliance"] == before.state()["compliance"]
    assert other.compliance.settled_cash() == before.compliance.settled_cash()
    assert other.compliance.settled_cash()["paper"] < 0
    assert len(other.compliance.violations) == 1


@given(st.permutations(range(5)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    fills = [
        fill(Side.SELL, "CA", DAY1, 200, 100),
        fill(Side.BUY, "US", DAY1 + 1, 250, 100),
        fill(Side.SELL, "US", DAY1 + 2, 20, 100),
        fill(Side.BUY, "CA", DAY2, 20, 100),
        fill(Side.SELL, "US", DAY2 + 2, 20, 100),
    ]
    whole = run(*fills)
    account = machine()
    account.process(Restored(cash={"paper": START}, ts=DAY2 + 2))
    executed(account, *(fills[number] for number in order))
    account.process(ClockTick(ts=DAY2 + 2))
    assert account.compliance.state()["settlement"] == whole.compliance.state()["settlement"]
    assert account.compliance.settled_cash() == whole.compliance.settled_cash()


def test_a_sale_that_was_taken_back_brings_nothing() -> None:
    sale = fill(Side.SELL, "CA", DAY1, 20, 100)
    account = machine()
    account.process(restored(sale))
    assert settled(account, DAY1) == START
    less = replace(sale, execution_id="x-2", price=Decimal(90))
    change = less.cash_change - sale.cash_change
    account.portfolio.cash["paper"] += change
    position = Position("s", "CA")
    account.bus.deliver(
        TradeReversed(sale, less, position, account.portfolio.cash["paper"], "corrected")
    )
    assert settled(account, DAY1) == START
    assert settled(account, DAY2) == START + less.cash_change


def adjusted(account: Machine, amount: int, ts: int) -> None:
    entry = CashAdjustment("paper", Decimal(amount), ts)
    account.process(ClockTick(ts=ts))
    cash = account.portfolio.cash["paper"] + amount
    account.bus.deliver(CashAdjusted(entry, cash, Decimal(amount), 1.0, "me", ts=ts))


def test_a_deposit_is_settled_cash() -> None:
    account = machine()
    sale = fill(Side.SELL, "CA", DAY1, 20, 100)
    account.process(restored(sale))
    adjusted(account, 500, DAY1 + 1)
    assert settled(account, DAY1 + 1) == START + 500
    assert settled(account, DAY2) == START + 500 + sale.cash_change


@pytest.mark.parametrize("restarts", [False, True])
def test_what_is_withdrawn_later_makes_no_purchase_unpaid(restarts: bool) -> None:
    bought, sold = fill(Side.BUY, "US", DAY1, 90), fill(Side.SELL, "US", DAY2, 90)
    account, later = machine(), DAY2 + 7 * DAY
    given = restored(bought, sold)
    if restarts:
        entry = CashAdjustment("paper", Decimal(-9_500), later)
        cash = {"paper": given.cash["paper"] + entry.amount}
        account.process(replace(given, cash=cash, adjustments=(entry,), ts=later))
    else:
        account.process(given)
        adjusted(account, -9_500, later)
    late = fill(Side.SELL, "COIN", DAY1 + 5, 1)
    executed(account, late)
    assert kinds(account) == []
    assert settled(account, later) == given.cash["paper"] - 9_500 + late.cash_change


def test_only_orders_that_close_are_warned_of() -> None:
    account = rig(rules=replace(CASH_ACCOUNT, max_violations=1), restored=POOR)
    account.buy(symbol="US")
    assert account.facts(OrderIntended)
    assert not account.facts(SettlementWarned)
