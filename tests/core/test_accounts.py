"""Accounts of several venues and currencies: each has its own cash, and what is added up is in the
base currency, by rates that are known."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.accounts import OLD_AFTER
from engine.core.compliance import ComplianceRules
from engine.core.events import (
    AccountStatement,
    AlertRaised,
    BrokerChanged,
    DataRefused,
    KillSwitchTriggered,
    LimitBreached,
    OrderSized,
    PositionChanged,
    RatePublished,
    RequestStatement,
    Restored,
    RiskChecked,
    SignalBlocked,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.model import DAY, NANOS, AccountType, Order, OrderPurpose, Side
from engine.core.risk import RiskLimits
from engine.core.sizing import Sizing, SizingRules

from .rig import ACME, BOUNDED, COIN, START, Rig

CASH = Decimal(100_000)
SHOP = replace(ACME, symbol="SHOP", currency="CAD", venue="maple")
TETHER = replace(COIN, currency="USDT", venue="beta")
LIMITS = RiskLimits(max_position_size_pct=Decimal(10), max_daily_loss=Decimal(10**6))


def rig(*more: Any, rate: str | None = "1.25", **config: Any) -> Rig:
    """Accounts in US and Canadian dollars, told in US dollars, of which one is worth `rate`."""
    given: dict[str, Any] = {"instruments": (ACME, SHOP), "limits": LIMITS}
    bench = Rig(*more, **(given | config))
    if rate is not None:
        publish(bench, rate)
    return bench


def publish(bench: Rig, rate: str, currency: str = "USD", age: int = 0) -> None:
    bench.send(RatePublished(currency, Decimal(rate), "test", bench.now - age))


def entries(bench: Rig) -> list[Order]:
    return bench.submits(OrderPurpose.ENTRY)


def checked(bench: Rig, check: str) -> list[tuple[float, float, bool]]:
    return [(f.used, f.limit, f.passed) for f in bench.facts(RiskChecked) if f.check == check]


def blocked(bench: Rig) -> list[str]:
    return [fact.check for fact in bench.facts(SignalBlocked)]


# --- the ledger ----------------------------------------------------------------------------------


def test_a_fill_changes_the_cash_of_its_own_account_alone() -> None:
    bench = rig()
    position = bench.hold_position(symbol="SHOP")
    paid = position.quantity * 100
    assert bench.machine.portfolio.cash == {"paper": CASH, "maple": CASH - paid}
    (fact,) = bench.facts(PositionChanged)
    assert (fact.fill.venue, fact.cash) == ("maple", CASH - paid)


def test_what_is_added_up_is_in_the_base_currency() -> None:
    bench = rig()
    portfolio = bench.machine.portfolio
    assert portfolio.equity() == CASH + CASH / Decimal("1.25") == 180_000
    held = bench.hold_position(symbol="SHOP")
    bench.quote(110, "SHOP")
    gain = held.quantity * 10 * Decimal("0.8")
    assert portfolio.equity() == 180_000 + gain
    assert portfolio.equity_estimate == pytest.approx(float(180_000 + gain))
    share = float(held.quantity * 110 * Decimal("0.8")) / float(180_000 + gain)
    assert portfolio.exposure_estimate() == pytest.approx(share)
    assert portfolio.account_equity("maple") == CASH + held.quantity * 10
    book = portfolio.book("puppet")
    assert book.equity == 180_000 + gain
    assert book.cash == portfolio.in_base(portfolio.cash)


def test_equity_is_unknown_while_a_rate_is_and_nothing_is_bought() -> None:
    """Neither 0 nor 1: not even in the account whose currency is the base."""
    bench = rig(rate=None)
    assert bench.machine.portfolio.equity() is None
    bench.signal(Side.BUY)
    assert blocked(bench) == ["size"]
    assert "a currency no rate" in bench.facts(SignalBlocked)[0].reason
    publish(bench, "1.25")
    bench.toggle("puppet", False)
    bench.toggle("puppet", True)
    bench.signal(Side.SELL)
    assert bench.buy()


def test_a_stablecoin_counts_as_the_currency_that_it_stands_for() -> None:
    coins = {"stablecoins": {"USDT": "USD"}}
    bench = rig(instruments=(ACME, TETHER), rate=None, **coins)
    assert bench.machine.portfolio.equity() == 2 * CASH
    in_cad = rig(instruments=(ACME, TETHER), currency="CAD", rate="1.5", **coins)
    assert in_cad.machine.portfolio.equity() == 3 * CASH
    unsaid = rig(instruments=(ACME, TETHER), rate="1.5")
    assert unsaid.machine.portfolio.equity() is None


def test_an_account_has_one_currency() -> None:
    config = MachineConfig((ACME, replace(SHOP, venue="paper")))
    with pytest.raises(ValueError, match=r"paper has one currency, not USD and CAD \(SHOP\)"):
        Machine(config, {})


@BOUNDED
@given(
    rate=st.decimals("0.000001", "100000", places=6),
    trades=st.lists(st.tuples(st.sampled_from(["ACME", "SHOP"]), st.integers(50, 150)), max_size=8),
)
def test_equity_is_the_sum_of_all_accounts_at_any_rate(
    rate: Decimal, trades: list[tuple[str, int]]
) -> None:
    """The laws of the rig hold at every step; and the estimate follows."""
    bench = rig(rate=str(rate), limits=replace(LIMITS, max_daily_loss_pct=Decimal(100)))
    for number, (symbol, price) in enumerate(trades):
        bench.signal(Side.BUY if number % 2 else Side.SELL, price, symbol=symbol)
        bench.quote(price, symbol)
        publish(bench, str(rate + number))
    portfolio = bench.machine.portfolio
    worth = {"ACME": Fraction(1), "SHOP": 1 / Fraction(rate + max(0, len(trades) - 1))}
    total = Fraction(portfolio.cash["paper"]) + Fraction(portfolio.cash["maple"]) * worth["SHOP"]
    for position in portfolio.positions.values():
        mark = portfolio.mark_price(position.symbol)
        if position.quantity and mark is not None:
            total += Fraction(position.quantity) * Fraction(mark) * worth[position.symbol]
    equity = portfolio.equity()
    assert equity is not None
    assert float(equity) == pytest.approx(float(total), rel=1e-12)
    assert portfolio.equity_estimate == pytest.approx(float(total), rel=1e-9)


# --- limits and sizes ----------------------------------------------------------------------------


def test_an_entry_is_sized_and_limited_in_the_base_currency() -> None:
    bench = rig()
    order = bench.buy(symbol="SHOP")
    # 10 % of 180,000 US dollars, with headroom, at a worst price of 101 Canadian ones.
    worst = order.reference_price * Decimal("0.8")
    assert order.quantity == (18_000 * Decimal("0.99") / worst).to_integral_value("ROUND_FLOOR")
    used, limit, _ = checked(bench, "position_size")[-1]
    assert used == pytest.approx(float(order.quantity * worst / 1_800))
    assert limit == 10


@pytest.mark.parametrize(
    ("method", "dollars"),
    [("fixed_notional:2000", 2_000), ("fixed_fraction:2", 3_600), ("percent_risk:0.1", 9_000)],
)
def test_every_sizing_is_told_in_the_base_currency(method: str, dollars: int) -> None:
    """Risk of 0.1 % of 180,000 to a stop that is 2 % away: 9,000 US dollars."""
    bench = rig(sizing=SizingRules(Sizing.parse(method)))
    order = bench.buy(symbol="SHOP", stop_price=98.0)
    (sized,) = bench.facts(OrderSized)
    assert float(sized.asked * order.reference_price) * 0.8 == pytest.approx(dollars, rel=0.35)
    assert float(order.quantity * 100) * 0.8 == pytest.approx(dollars, rel=0.35)


@pytest.mark.parametrize(
    ("limits", "check", "most"),
    [
        ({"max_order_notional": Decimal(5_000)}, "order_notional", 5_000),
        ({"max_position_notional": Decimal(5_000)}, "position_notional", 5_000),
    ],
)
def test_limits_in_money_are_in_the_base_currency(
    limits: dict[str, Any], check: str, most: int
) -> None:
    bench = rig(limits=replace(LIMITS, **limits))
    order = bench.buy(symbol="SHOP")
    value = float(order.quantity * order.reference_price) * 0.8
    assert value == pytest.approx(most, rel=0.02)
    assert checked(bench, check) == [(pytest.approx(value), most, True)]


def test_the_least_price_is_in_the_base_currency() -> None:
    """100 Canadian dollars are 80 US ones."""
    bench = rig(limits=replace(LIMITS, min_price=Decimal(81)))
    bench.signal(Side.BUY, symbol="SHOP")
    assert blocked(bench) == ["min_price"]
    assert checked(bench, "min_price") == [(80, 81, False)]
    bench.signal(Side.BUY, symbol="ACME")
    assert [order.symbol for order in entries(bench)] == ["ACME"]


# --- funds ---------------------------------------------------------------------------------------


def poor(paper: int, maple: int, **config: Any) -> Rig:
    cash = {"paper": Decimal(paper), "maple": Decimal(maple)}
    return rig(restored=Restored(cash), **config)


def test_an_entry_costs_no_more_than_its_own_account_has() -> None:
    """10 % of 201,000 would be wanted, and 1,000 Canadian dollars are there."""
    bench = poor(200_200, 1_000)
    order = bench.buy(symbol="SHOP")
    assert 900 < order.quantity * order.reference_price <= 1_000
    ((used, limit, passed),) = checked(bench, "funds")
    assert (limit, passed) == (1_000, True)
    assert used == pytest.approx(float(order.quantity * order.reference_price))


def test_the_money_of_another_account_buys_nothing_here() -> None:
    bench = poor(200_000, 50)
    bench.signal(Side.BUY, symbol="SHOP")
    assert entries(bench) == []
    assert blocked(bench) == ["size"]
    assert bench.buy(symbol="ACME")


def test_the_symbols_of_an_account_share_its_cash() -> None:
    bench = poor(200_000, 30_000, instruments=(ACME, SHOP, replace(SHOP, symbol="MINE")))
    bench.hold_position(symbol="SHOP")
    cash = bench.machine.portfolio.cash
    assert cash["maple"] < 10_000
    bench.signal(Side.BUY, symbol="MINE")
    sent = [o for o in entries(bench) if o.symbol == "MINE"]
    assert sum((o.quantity * o.reference_price for o in sent), Decimal(0)) <= cash["maple"]


def test_free_riding_is_told_by_the_cash_of_the_account() -> None:
    cash_account = ComplianceRules(account_type=AccountType.CASH)
    limits = replace(LIMITS, max_position_size_pct=Decimal(40))
    bench = poor(200_000, 30_000, compliance=cash_account, limits=limits)
    order = bench.buy(symbol="SHOP")
    cost = pytest.approx(float(order.quantity * order.reference_price))
    assert checked(bench, "free_riding") == [(cost, 30_000, True)]
    assert checked(bench, "settled_cash") == [(cost, 30_000, True)]


def test_money_of_a_sale_settles_in_its_own_account() -> None:
    bench = rig()
    bench.hold_position(symbol="SHOP")
    bench.signal(Side.SELL, symbol="SHOP")
    bench.quote(100, "SHOP")
    compliance, cash = bench.machine.compliance, bench.machine.portfolio.cash
    assert cash == {"paper": CASH, "maple": CASH}
    settled = compliance.settled_cash()
    assert settled["paper"] == CASH
    assert settled["maple"] < CASH


# --- rates ---------------------------------------------------------------------------------------


def test_a_rate_that_crosses_the_loss_limit_trips_in_its_event() -> None:
    """F93: from 180,000 to 171,429 by the Canadian dollar alone."""
    limits = replace(LIMITS, max_daily_loss=Decimal(5_000), max_daily_loss_pct=Decimal(100))
    bench = rig(limits=limits)
    bench.quote(100)
    publish(bench, "1.30")
    assert not bench.killed
    bench.now += NANOS
    publish(bench, "1.40")
    assert bench.killed
    (breach,) = bench.facts(LimitBreached)
    assert (breach.check, breach.used) == ("daily_loss", pytest.approx(8571.428571))
    assert bench.facts(KillSwitchTriggered)[0].ts == bench.now


def test_the_newest_rate_counts_whenever_it_is_told() -> None:
    bench = rig()
    portfolio = bench.machine.portfolio
    publish(bench, "5", age=DAY)
    assert portfolio.equity() == 180_000
    bench.now += NANOS
    publish(bench, "2")
    assert portfolio.equity() == 150_000


def test_a_rate_of_later_counts_from_then_on() -> None:
    """As in a recording, of which the file has the rates of every day."""
    bench = rig()
    publish(bench, "2", age=-3600 * NANOS)
    assert bench.machine.portfolio.equity() == 180_000
    bench.tick(3600)
    assert bench.machine.portfolio.equity() == 150_000


@pytest.mark.parametrize("rate", ["NaN", "0", "-1", "Infinity"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    bench = rig()
    publish(bench, rate)
    assert bench.machine.portfolio.equity() == 180_000
    assert [fact.symbol for fact in bench.facts(DataRefused)] == ["USD"]


def test_an_old_rate_is_told_of_once() -> None:
    bench = rig(rate=None)
    publish(bench, "1.25", age=OLD_AFTER - 10 * NANOS)
    bench.tick(9)
    assert not bench.facts(AlertRaised)
    for _ in range(3):
        bench.tick(9)
    (alert,) = bench.facts(AlertRaised)
    assert (alert.name, alert.text) == (
        "rate-CAD",
        "the rate of CAD in USD that is in use is of 2024-02-26",
    )
    publish(bench, "1.25")
    bench.tick(9)
    assert len(bench.facts(AlertRaised)) == 1


def test_where_all_is_in_the_base_currency_no_rate_is_needed_or_told_of() -> None:
    bench = rig(instruments=(ACME, replace(COIN, venue="beta")), rate=None)
    publish(bench, "1.25", age=2 * OLD_AFTER)
    bench.tick(60)
    assert bench.machine.portfolio.equity() == 2 * CASH
    assert not bench.facts(AlertRaised)


# --- the brokers' statements ---------------------------------------------------------------------


def test_each_accounts_cash_is_compared_with_its_brokers() -> None:
    bench = rig(reconcile_every=60 * NANOS, void=[RequestStatement])
    theirs = {"paper": CASH, "maple": CASH - 7, "elsewhere": Decimal(5)}
    bench.send(BrokerChanged("elsewhere", True))
    for _ in range(2):
        for venue, account in list(bench.machine.reconciler.accounts.items()):
            statement = AccountStatement(venue, account.asked_ts, (), (), {}, theirs[venue])
            bench.send(statement)
    known = {name: a.known for name, a in bench.machine.reconciler.accounts.items()}
    assert known == {"paper": {}, "maple": {"cash": "-7"}, "elsewhere": {}}


# --- a restart -----------------------------------------------------------------------------------


def test_a_restart_brings_every_account_back() -> None:
    bench = rig()
    bench.hold_position(symbol="SHOP")
    bench.hold_position(symbol="ACME")
    again = Machine(bench.config, bench.kinds)
    again.process(bench.durable())
    again.process(RatePublished("USD", Decimal("1.25"), "test", START, ts=bench.now))
    assert again.portfolio.cash == bench.machine.portfolio.cash
    assert again.portfolio.equity() == bench.machine.portfolio.equity()
    assert again.state()["compliance"] == bench.machine.state()["compliance"]
