"""Sizing: each method on cases computed by hand, and what holds for all of them."""

from decimal import Decimal
from math import exp, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import OrderSized, Restored, SignalBlocked, TradeRecord
from engine.core.machine import Machine
from engine.core.model import MINUTE, Bar, OrderPurpose, RoundTrip, Side, SizingMethod
from engine.core.records import TRIPS_KEPT
from engine.core.risk import RiskLimits
from engine.core.sizing import (
    FEWEST_TRIPS,
    YEAR,
    Circumstances,
    Sizing,
    SizingRules,
    fixed_fraction,
    kelly_fraction,
    percent_risk,
    return_of,
    sized,
    smallest_order,
    target_fraction,
    turbulence,
    volatility,
)
from tests.core.rig import ACME, BOUNDED, COIN, Rig

M = SizingMethod
EVENS = [1.0] * 6 + [-1.0] * 4
"""A coin that comes up six times of ten, for even money: Kelly bets 2p - 1 = 0.2."""


def rules(text: str, **more: object) -> SizingRules:
    return SizingRules(Sizing.parse(text), **more)  # type: ignore[arg-type]


def circumstances(**what: object) -> Circumstances:
    given = {
        "instrument": ACME,
        "price": Decimal(100),
        "stop": Decimal(98),
        "equity": Decimal(100_000),
        "returns": (),
        "bars": (),
        "now": 0,
    } | what
    return Circumstances(**given)  # type: ignore[arg-type]


def bars(*closes: float) -> list[Bar]:
    return [
        Bar("ACME", MINUTE * number, close, close, close, close, 1.0)
        for number, close in enumerate(closes, 1)
    ]


def zigzag(count: int, step: float, start: int = 0) -> list[float]:
    return [100 * exp(step * ((start + n) % 2)) for n in range(count)]


# --- each method by hand -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizing", "asked"),
    [
        ("fixed_quantity:7", 7),
        ("fixed_notional:2500", 25),
        ("fixed_fraction", 1000),
        ("fixed_fraction:3", 30),
        ("percent_risk:1", 500),
        ("percent_risk", 500),
        ("percent_risk:0.25", 125),
    ],
)
def test_what_a_method_asks_for(sizing: str, asked: int) -> None:
    size = sized(rules(sizing), "any", circumstances(), Decimal(10**6))
    assert (size.asked, size.quantity) == (asked, asked)


def test_percent_risk_loses_its_percent_at_the_stop() -> None:
    quantity = percent_risk(Decimal(50_000), Decimal(2), Decimal("20.50"), Decimal("20.10"))
    assert quantity == 2500
    assert quantity * (Decimal("20.50") - Decimal("20.10")) == 1000
    assert percent_risk(Decimal(50_000), Decimal(2), Decimal(20), Decimal(20)) == 0


def test_kelly_bets_the_edge_over_the_odds() -> None:
    assert kelly_fraction(EVENS, 0) == pytest.approx(0.2, abs=1e-9)
    assert kelly_fraction([2.0] * 4 + [-1.0] * 6, 0) == pytest.approx(0.4 - 0.6 / 2, abs=1e-9)
    assert kelly_fraction([0.01] * 5, 0) == pytest.approx(1.0)
    assert kelly_fraction([-0.01, 0.01], 0) == 0
    assert kelly_fraction([], 10) == 0


def test_kelly_shrinks_the_mean_toward_no_edge() -> None:
    """Ten round trips of mean 0.2 with ten of weight on 0 have 0.1: of the returns 0.9 and -1.1
    six and four times, the root of 5.4 (1 - 1.1 f) = 4.4 (1 + 0.9 f) is 1 / 9.9."""
    assert kelly_fraction(EVENS, 10) == pytest.approx(1 / 9.9, abs=1e-9)


def test_kelly_takes_its_part_of_equity() -> None:
    record = tuple(EVENS * 2)
    c = circumstances(returns=record, equity=Decimal(100_500))
    size = sized(rules("kelly:0.5", kelly_prior=0), "any", c, Decimal(999))
    assert size.quantity == 100  # half of 0.2 of the equity, which is 100.5
    assert size.basis["kelly"] == pytest.approx(0.2)
    assert size.basis["trips"] == len(record) == FEWEST_TRIPS


def test_kelly_makes_a_record_with_the_smallest_orders_first() -> None:
    few = tuple(EVENS * 2)[:-1]
    for instrument, price, least in ((ACME, "100", "1"), (COIN, "3", "3.33333334")):
        assert smallest_order(instrument, Decimal(price)) == Decimal(least)
        c = circumstances(instrument=instrument, price=Decimal(price), returns=few)
        assert sized(rules("kelly"), "any", c, Decimal(999)).quantity == Decimal(least)


def test_the_smallest_quantity_of_a_venue_is_kept() -> None:
    """Where it is no whole number of lots, by the next lot."""
    coin = replace(COIN, lot=Decimal("0.01"), min_quantity=Decimal("0.105"))
    assert smallest_order(coin, Decimal(1000)) == Decimal("0.11")
    assert smallest_order(coin, Decimal(10)) == Decimal(1), "by its notional"
    for budget, quantity in ((100, "0"), (150, "0.14")):
        found = fixed_fraction(coin, Decimal(1000), Decimal(budget), Decimal(0))
        assert found == Decimal(quantity)


def test_the_target_is_reached_with_the_greatest_probability() -> None:
    """At half of the target z = 0, and the fraction phi(0) / (0.5 x 0.4 x 2): Browne 1999."""
    assert target_fraction(50, 100, 0.4, 4) == pytest.approx(0.3989422804 / 0.4)
    assert target_fraction(100, 100, 0.4, 4) == target_fraction(50, 100, 0.4, 0) == 0
    assert target_fraction(50, 100, 0, 4) == target_fraction(0, 100, 0.4, 4) == 0


def test_the_target_uses_the_bars_volatility_and_the_time_that_is_left() -> None:
    some = bars(*zigzag(31, 0.001))
    deadline = some[-1].ts + int(YEAR) // 4
    c = circumstances(bars=some, now=some[-1].ts)
    size = sized(rules("target_utility:200000", deadline=deadline), "any", c, Decimal(10**9))
    sigma = 0.001 * sqrt(float(YEAR) / MINUTE)
    assert size.basis["volatility"] == pytest.approx(sigma)
    assert float(size.asked) == pytest.approx(1000 * 0.3989422804 / (0.5 * sigma * 0.5))
    assert volatility(some[:20]) == 0


def test_hybrid_goes_by_the_regime() -> None:
    by_regime = SizingRules(
        Sizing.parse("hybrid"), calm=Sizing(M.FIXED_QUANTITY, Decimal(9)),
        turbulent=Sizing(M.FIXED_QUANTITY, Decimal(2)), turbulence=1.5,
    )  # fmt: skip
    calm, wild = zigzag(100, 0.001), zigzag(80, 0.001) + zigzag(20, 0.01)
    sizes: list[tuple[Decimal, bool]] = []
    for closes in (calm, wild, calm[:30]):
        size = sized(by_regime, "any", circumstances(bars=bars(*closes)), Decimal(99))
        sizes.append((size.quantity, "turbulence" in size.basis))
    assert sizes == [(9, True), (2, True), (2, False)]
    assert turbulence(bars(*calm)) == pytest.approx(1)


# --- for all of them -----------------------------------------------------------------------------


@BOUNDED
@given(
    st.sampled_from(
        ["fixed_quantity:50", "fixed_notional:3000", "fixed_fraction:40", "percent_risk:3",
         "kelly:1", "target_utility:150000", "hybrid"]
    ),
    st.decimals(-10_000, 10**6, places=2),
    st.decimals(0, 1000, places=2),
    st.decimals(0, 1000, places=2),
    st.lists(st.floats(-1.5, 2), max_size=60),
    st.lists(st.floats(1, 1000), max_size=60),
    st.decimals(0, 500, places=8),
)  # fmt: skip
def test_no_size_is_negative_or_above_the_cap(
    text: str,
    equity: Decimal,
    price: Decimal,
    stop: Decimal,
    returns: list[float],
    closes: list[float],
    most: Decimal,
) -> None:
    for instrument in (ACME, COIN):
        c = circumstances(
            instrument=instrument, equity=equity, price=price, stop=stop, returns=returns,
            bars=bars(*closes),
        )  # fmt: skip
        size = sized(rules(text, deadline=int(YEAR)), "any", c, most)
        assert 0 <= size.quantity <= min(size.asked, most)
        assert size.quantity % instrument.lot == 0
        assert not size.quantity or size.quantity * price >= instrument.min_notional


@BOUNDED
@given(st.lists(st.floats(-0.9, 2), min_size=1, max_size=50), st.integers(0, 100))
def test_kelly_grows_with_the_edge_and_shrinks_with_the_prior(
    returns: list[float], prior: int
) -> None:
    fraction = kelly_fraction(returns, prior)
    assert 0 <= fraction <= 1
    assert kelly_fraction(returns, prior + 1) <= fraction + 1e-9
    assert kelly_fraction([r + 0.05 for r in returns], prior) >= fraction - 1e-9


@BOUNDED
@given(st.floats(1, 99), st.floats(0.01, 3), st.floats(0.01, 10), st.floats(0, 1), st.floats(0, 1))
def test_a_target_that_is_nearer_or_later_asks_for_less(
    wealth: float, sigma: float, years: float, nearer: float, later: float
) -> None:
    fraction = target_fraction(wealth, 100, sigma, years)
    assert target_fraction(wealth + nearer * (99.5 - wealth), 100, sigma, years) <= fraction + 1e-9
    assert target_fraction(wealth, 100, sigma, years + later) <= fraction


@BOUNDED
@given(st.decimals(1, 10**6, places=2), st.decimals("0.01", 50, places=2))
def test_percent_risk_grows_with_equity_and_falls_with_the_distance(
    equity: Decimal, distance: Decimal
) -> None:
    price, one = Decimal(100), Decimal(1)
    quantity = percent_risk(equity, one, price, price - distance)
    assert percent_risk(equity + 1, one, price, price - distance) > quantity > 0
    assert percent_risk(equity, one, price, price - distance - 1) < quantity


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("half", "half is none of fixed_quantity, "),
        ("", "nothing is none of "),
        ("fixed_quantity", "fixed_quantity needs a number, the units of the symbol: write fixed"),
        ("kelly:much", "much is no number, the part of the Kelly fraction"),
        ("kelly:1.1", "the part of the Kelly fraction must be above 0 and at most 1"),
        ("percent_risk:nan", "must be above 0 and at most 100"),
        ("fixed_notional:-5", "must be above 0"),
        ("hybrid:2", "hybrid takes no number"),
    ],
)
def test_a_sizing_that_is_none_is_refused_with_the_rule(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sizing.parse(text)


# --- in the machine ------------------------------------------------------------------------------


def record(*returns: float) -> Restored:
    return Restored({"paper": Decimal(100_000)}, records=(TradeRecord("puppet", returns),))


def test_an_entry_has_the_size_of_its_strategys_method_and_says_why() -> None:
    own = {"second": Sizing(M.FIXED_QUANTITY, Decimal(3))}
    rig = Rig("first", "second", sizing=SizingRules(Sizing.parse("percent_risk:0.02"), own))
    assert rig.buy(100, strategy="first").quantity == 8  # 20 at risk, 2.50 from 100.50 to the stop
    assert rig.buy(100, strategy="second").quantity == 3
    told = rig.facts(OrderSized)
    assert [(t.strategy, t.method, t.quantity) for t in told] == [
        ("first", M.PERCENT_RISK, 8),
        ("second", M.FIXED_QUANTITY, 3),
    ]
    assert told[0].basis == {"price": 100.5, "equity": 100_000, "risk_pct": 0.02, "stop": 98}
    chain = rig.machine.bus.why(told[0].seq)
    assert [type(event).__name__ for event in chain] == [
        "QuoteUpdate", "SignalGenerated", "OrderSized",
    ]  # fmt: skip
    assert told[0].client_order_id == rig.of(OrderPurpose.ENTRY)[0].client_order_id


def test_the_limits_cap_what_a_method_asks_for() -> None:
    limits = RiskLimits(max_position_size_pct=Decimal(1))
    rig = Rig(sizing=rules("fixed_quantity:10000"), limits=limits)
    assert rig.buy(100).quantity == 9
    (told,) = rig.facts(OrderSized)
    assert (told.asked, told.most, told.quantity) == (10_000, 9, 9)


def test_no_edge_makes_no_order_and_says_so() -> None:
    rig = Rig(sizing=rules("kelly"), restored=record(*[0.01, -0.02] * 10))
    rig.signal(Side.BUY)
    (blocked,) = rig.facts(SignalBlocked)
    assert blocked.check == "size"
    assert blocked.reason.startswith("kelly asks for nothing, less than the smallest order: ")
    assert "trips=20" in blocked.reason
    assert rig.facts(OrderSized) == []


def test_round_trips_are_recorded_and_outlive_a_restart() -> None:
    rig = Rig(sizing=rules("fixed_quantity:10"))
    rig.hold_position(100)
    rig.signal(Side.SELL, 101)
    rig.quote(101)
    kept = rig.durable()
    assert kept.records == (TradeRecord("puppet", (0.01,)),)
    after = Rig(sizing=rules("kelly"), restored=kept)
    assert after.machine.state()["records"] == kept.records
    again = Machine(after.config, after.kinds)
    for event in after.inputs:
        again.process(event)
    assert again.state_hash() == after.machine.state_hash()


def test_only_the_last_round_trips_are_kept() -> None:
    rig = Rig(sizing=rules("fixed_quantity:10"), restored=record(*[0.5] * TRIPS_KEPT))
    rig.hold_position(100)
    rig.signal(Side.SELL, 101)
    rig.quote(101)
    ((_, returns),) = [(r.strategy, r.returns) for r in rig.durable().records]
    assert (len(returns), returns[-2:]) == (TRIPS_KEPT, (0.5, 0.01))


def test_a_return_is_after_commission() -> None:
    ten, pnl, paid = Decimal(10), Decimal(18), Decimal(2)
    trip = RoundTrip("a", "ACME", Side.BUY, ten, Decimal(100), Decimal(102), 1, 2, pnl, paid)
    assert return_of(trip) == 0.018
