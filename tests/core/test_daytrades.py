"""Day trades over five business days, and when the rule on them holds."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.compliance import ComplianceRules
from engine.core.events import (
    AccountStatement,
    ClockTick,
    PositionChanged,
    RiskChecked,
    SignalBlocked,
)
from engine.core.machine import Machine
from engine.core.model import OPENING, DayTradeRule, Fill, Instrument, OrderPurpose, Position, Side

from .rig import Rig
from .test_settlement import CA, INSTRUMENTS, TABLES, at, fill, machine, restored

B, S = Side.BUY, Side.SELL
POOR = Decimal(24_999)


def counted(
    *trades: tuple[Side, int, str],
    day: str = "2024-07-10",
    symbol: str = "US",
    instruments: tuple[Instrument, ...] = INSTRUMENTS,
) -> int:
    """How many day trades on `day`: of executions at hours of the day, one after the other."""
    account = machine(ComplianceRules(), instruments)
    fills = [
        replace(fill(side, symbol, at(when, 10) + n, quantity), execution_id=str(n))
        for n, (side, quantity, when) in enumerate(trades)
    ]
    account.process(restored(*fills))
    account.process(ClockTick(ts=at(day, 15)))
    return account.compliance.accounts["paper"].day_trades.used(symbol, at(day, 15))


def on(day: str, *trades: tuple[Side, int]) -> list[tuple[Side, int, str]]:
    return [(side, quantity, day) for side, quantity in trades]


TODAY, YESTERDAY = "2024-07-10", "2024-07-09"


@pytest.mark.parametrize(
    ("trades", "count"),
    [
        (on(TODAY, (B, 10)), 0),
        (on(TODAY, (B, 10), (S, 10)), 1),
        (on(TODAY, (B, 10), (S, 4), (S, 6)), 1),
        (on(TODAY, (B, 4), (B, 6), (S, 10)), 1),
        (on(TODAY, (B, 10), (S, 10), (B, 10), (S, 10)), 2),
        (on(TODAY, (B, 10), (S, 4), (B, 4), (S, 10)), 2),
        (on(TODAY, (S, 10), (B, 10)), 1),  # sold short and bought back
        (on(YESTERDAY, (B, 10)) + on(TODAY, (S, 10)), 0),
        (on(YESTERDAY, (B, 10)) + on(TODAY, (S, 10), (B, 10)), 0),
        (on(YESTERDAY, (B, 10)) + on(TODAY, (B, 10), (S, 10)), 1),
        (on(YESTERDAY, (B, 10)) + on(TODAY, (S, 15), (B, 5)), 1),  # through zero and back
    ],
)
def test_what_was_opened_today_and_is_closed_today_is_a_day_trade(
    trades: Sequence[tuple[Side, int, str]], count: int
) -> None:
    assert counted(*trades) == count


@pytest.mark.parametrize(("day", "count"), [("2024-07-09", 1), ("2024-07-10", 0)])
def test_five_business_days_count_over_a_weekend_and_a_holiday(day: str, count: int) -> None:
    """2 July is the first of 2, 3, 5, 8 and 9: the 4th is none."""
    assert counted(*on("2024-07-02", (B, 10), (S, 10)), day=day) == count


def test_crypto_and_canadian_dollars_are_not_subject() -> None:
    for symbol, count in (("US", 1), ("COIN", 0)):
        assert counted(*on(TODAY, (B, 10), (S, 10)), symbol=symbol) == count
    for currency, count in (("USD", 1), ("CAD", 0)):
        canadian = (replace(CA, currency=currency),)
        assert counted(*on(TODAY, (B, 10), (S, 10)), symbol="CA", instruments=canadian) == count


# --- the check -----------------------------------------------------------------------------------


def three_of(day: str) -> list[Fill]:
    trades = [(B, 10), (S, 10)] * 3
    return [fill(side, "BARE", at(day, 10) + n, 10) for n, (side, _) in enumerate(trades)]


def rig(
    day: str, rule: DayTradeRule = DayTradeRule.AUTO, opening: Decimal = POOR, trades: int = 3
) -> Rig:
    rules = ComplianceRules(pattern_day_trader=rule)
    fills = three_of(day)[: 2 * trades]
    return Rig(
        "puppet",
        instruments=INSTRUMENTS,
        calendars=TABLES,
        compliance=rules,
        now=at(day, 11),
        restored=restored(*fills, opening=opening),
    )


def checks(account: Rig) -> list[tuple[float, float, bool]]:
    found = [f for f in account.facts(RiskChecked) if f.check == "day_trades"]
    return [(f.used, f.limit, f.passed) for f in found]


BEFORE, AFTER = "2024-07-10", "2026-06-04"


@pytest.mark.parametrize(
    ("day", "rule", "opening", "said", "limited"),
    [
        (BEFORE, DayTradeRule.AUTO, POOR, None, True),
        ("2026-06-03", DayTradeRule.AUTO, POOR, None, True),
        (AFTER, DayTradeRule.AUTO, POOR, None, False),
        (AFTER, DayTradeRule.ON, POOR, None, True),
        (BEFORE, DayTradeRule.OFF, POOR, None, False),
        (AFTER, DayTradeRule.AUTO, POOR, True, True),
        (BEFORE, DayTradeRule.AUTO, POOR, False, False),
        (BEFORE, DayTradeRule.ON, POOR, False, True),
        (BEFORE, DayTradeRule.AUTO, Decimal(25_100), None, False),
        (AFTER, DayTradeRule.ON, Decimal(25_100), None, False),
    ],
)
def test_the_rule_holds_by_date_by_setting_and_by_broker(
    day: str, rule: DayTradeRule, opening: Decimal, said: bool | None, limited: bool
) -> None:
    account = rig(day, rule, opening)
    account.send(AccountStatement("paper", account.now, (), (), {}, day_trade_rule=said))
    account.signal(B, symbol="US")
    assert checks(account) == ([(4, 3, False)] if limited else [])
    assert bool(account.submits()) is not limited
    assert [f.check for f in account.facts(SignalBlocked)] == ["day_trades"] * limited


def test_what_was_opened_today_may_become_one_and_counts() -> None:
    account = rig(BEFORE, trades=2)
    account.hold_position(symbol="US")
    account.signal(B, symbol="BARE")
    assert checks(account) == [(3, 3, True), (4, 3, False)]


def test_an_order_that_closes_is_not_held_back() -> None:
    account = rig(BEFORE, trades=2)
    account.hold_position(symbol="US")
    account.signal(S, symbol="US")
    assert account.submits(OrderPurpose.EXIT)
    account.quote(100, "US")
    assert not account.position(symbol="US").quantity


def test_the_brokers_count_is_taken_where_it_is_higher_and_absent_is_not_zero() -> None:
    account = machine(ComplianceRules())
    account.process(restored(*three_of(BEFORE)))
    now = at(BEFORE, 12)
    for said, used in ((None, 3), (0, 3), (5, 5), (None, 3)):
        account.process(AccountStatement("paper", now, (), (), {}, day_trades=said, ts=now))
        assert account.compliance.accounts["paper"].day_trades.used("US", now) == used


def test_the_count_comes_back_after_a_restart() -> None:
    account = rig(BEFORE, trades=1)
    account.hold_position(symbol="US")
    account.signal(S, symbol="US")
    account.quote(100, "US")
    other = Machine(account.config, account.kinds)
    other.process(account.durable())
    assert other.compliance.accounts["paper"].day_trades.used("US", account.now) == 2
    assert other.state()["compliance"] == account.machine.state()["compliance"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_an_account_held_at_its_opening_was_not_bought_that_day(restarted: bool) -> None:
    opening = replace(fill(B, "US", at(TODAY, 10), 10), execution_id=f"US{OPENING}")
    sold = replace(fill(S, "US", at(TODAY, 11), 10), execution_id="sold")
    account = machine(ComplianceRules(), INSTRUMENTS)
    account.process(restored(*([opening, sold] if restarted else [])))
    if not restarted:
        for number, one in enumerate((opening, sold)):
            held = Position("s", "US", Decimal(10 - 10 * number))
            account.process(PositionChanged(held, one, Decimal(0), ts=one.ts))
    account.process(ClockTick(ts=at(TODAY, 15)))
    assert account.compliance.accounts["paper"].day_trades.used("US", at(TODAY, 15)) == 0
