"""What a venue would refuse is denied here, with the numbers, and never sent."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import BrokerChanged, CommitIntent, OrderRejected, SubmitOrder
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    AssetClass,
    Capabilities,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
)
from engine.core.order_rules import order_fault, terms_fault
from tests.core.rig import BOUNDED, START, Rig

STEPS = ("1", "10", "0.01", "0.05", "0.00000001", "0.000000000000000001")
instruments = st.builds(
    lambda tick, lot, worth, least: Instrument(
        "ACME",
        AssetClass.CRYPTO,
        Decimal(tick),
        Decimal(lot),
        min_notional=Decimal(worth),
        min_quantity=Decimal(least),
    ),
    st.sampled_from(STEPS),
    st.sampled_from(STEPS),
    st.sampled_from(("0", "10", "1000")),
    st.sampled_from(("0", "0.5", "100")),
)
odd = st.sampled_from([Decimal(text) for text in (
    "NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1E+40", "1E-30", "0.000000000000000001",
)])  # fmt: skip
numbers = st.one_of(
    odd,
    st.decimals("0.01", "1000", places=2),
    st.decimals("0.00000001", "5", places=18),
    st.integers(1, 500).map(Decimal),
)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    kind = draw(st.sampled_from(list(OrderType)))
    limited = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    stopped = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    wrong = draw(st.booleans())
    return Order(
        f"tb-{draw(st.integers(0, 10**9))}",
        "puppet",
        "ACME",
        draw(st.sampled_from(list(Side))),
        kind,
        draw(numbers),
        OrderPurpose.ENTRY,
        START,
        START,
        Decimal(100),
        limit_price=draw(numbers) if limited != (wrong and draw(st.booleans())) else None,
        stop_price=draw(numbers) if stopped else None,
        time_in_force=draw(st.sampled_from(list(TimeInForce))),
        trail=draw(numbers) if kind is OrderType.TRAILING_STOP and not wrong else None,
    )


def is_multiple(value: Decimal, step: Decimal) -> bool:
    if not value.is_finite() or not 0 < value < 10**18:
        return False
    return (Fraction(value) / Fraction(step)).denominator == 1


@BOUNDED
@given(instruments, orders())
def test_what_leaves_keeps_every_rule_of_its_venue_and_the_rest_is_denied(
    instrument: Instrument, order: Order
) -> None:
    rig = Rig(instruments=[instrument], audited=False)
    book = rig.machine.orders
    book.gate = lambda order: ""
    book.intend(order)
    rig.tick()
    prices = [order.limit_price, order.stop_price, order.trail]
    sound = is_multiple(order.quantity, instrument.lot) and all(
        price is None or is_multiple(price, instrument.tick) for price in prices
    )
    if not sound:
        assert rig.submits() == []
    venue_rejects = [
        fact.order
        for fact in rig.facts(OrderRejected)
        if not fact.order.reason.startswith("not sent: ")
    ]
    assert venue_rejects == [], "nothing that left is refused by the venue"
    if rig.submits():
        assert order_fault(order, instrument, CAPABILITIES) == ""
        notional = order.quantity * (order.limit_price or order.stop_price or Decimal(100))
        assert notional >= instrument.min_notional
        assert order.quantity >= instrument.min_quantity
    else:
        (denied,) = rig.facts(OrderRejected)
        assert denied.order.state is OrderState.REJECTED
        assert not any(isinstance(effect, CommitIntent | SubmitOrder) for effect in rig.effects)


@BOUNDED
@given(orders())
def test_a_venue_of_which_nothing_is_known_gets_plain_orders_alone(order: Order) -> None:
    instrument = Instrument("ACME", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.01"))
    if not order_fault(order, instrument, Capabilities()):
        assert order.type in (OrderType.MARKET, OrderType.LIMIT)
        assert order.time_in_force is TimeInForce.GTC


@pytest.mark.parametrize(
    ("kind", "quantity", "leaves"),
    [
        (AssetClass.STOCK, "1.5", False),
        (AssetClass.STOCK, "2", True),
        (AssetClass.CRYPTO, "1.5", True),
    ],
)
def test_a_fraction_leaves_only_where_its_venue_trades_them(
    kind: AssetClass, quantity: str, leaves: bool
) -> None:
    """As at Alpaca: of crypto alone."""
    rig = at_alpaca(Instrument("ACME", kind, Decimal("0.01"), Decimal("0.5")))
    rig.machine.orders.intend(an_order(Side.BUY, quantity))
    rig.tick()
    assert bool(rig.submits()) is leaves
    if leaves:
        changed = OrderTerms(Decimal("2.5"), Decimal(100))
        told = rig.machine.orders.replace_objection("tb-1", changed)
        assert ("fractions" in told) is (kind is AssetClass.STOCK)
    else:
        (denied,) = rig.facts(OrderRejected)
        said = "not sent: quantity 1.5 is no whole number: the venue trades no fractions"
        assert denied.order.reason == said


@pytest.mark.parametrize("kind", [AssetClass.STOCK, AssetClass.CRYPTO])
def test_what_its_venue_does_not_sell_short_is_not_sold_short(kind: AssetClass) -> None:
    coin = Instrument("ACME", kind, Decimal("0.01"), Decimal("0.5"), shortable=True)
    rig = at_alpaca(coin)
    rig.quote(100.0)
    risk = rig.machine.risk
    usages = risk.position.usages(an_order(Side.SELL, "2"), risk.books(), rig.machine.bus.now)
    (short,) = (usage for usage in usages if usage.check == "short")
    assert short.within is (kind is AssetClass.STOCK)
    assert short.note == ("" if short.within else "paper sells nothing short")


def at_alpaca(instrument: Instrument) -> Rig:
    """A rig at a venue that can do as much."""
    rig = Rig(instruments=[instrument], audited=False)
    stocks = replace(CAPABILITIES, fractional=False)
    crypto = replace(CAPABILITIES, short=False)
    able = replace(stocks, by_class={AssetClass.CRYPTO: crypto})
    rig.send(BrokerChanged("paper", True, capabilities=able))
    rig.machine.orders.gate = lambda order: ""
    return rig


def an_order(side: Side, quantity: str) -> Order:
    return Order(
        "tb-1", "puppet", "ACME", side, OrderType.LIMIT, Decimal(quantity), OrderPurpose.ENTRY,
        START, START, Decimal(100), limit_price=Decimal(100),
    )  # fmt: skip


def test_a_denial_names_the_numbers() -> None:
    instrument = Instrument(
        "ACME", AssetClass.STOCK, Decimal("0.05"), Decimal(10), min_notional=Decimal(1000),
        min_quantity=Decimal("20.0"),
    )  # fmt: skip
    order = Order(
        "tb-1", "s", "ACME", Side.BUY, OrderType.LIMIT, Decimal(10), OrderPurpose.ENTRY,
        START, START, Decimal(10), limit_price=Decimal(10),
    )  # fmt: skip
    for quantity, limit, said in (
        ("5", "10", "quantity 5 is not a positive multiple of the lot 10"),
        ("20", "10.01", "limit price 10.01 is not a positive multiple of the tick 0.05"),
        ("10", "10", "quantity 10 is below the minimum 20"),
        ("20", "10", "notional 200 is below the minimum 1000"),
        ("NaN", "10", "quantity NaN is not a number below 1e+18"),
    ):
        terms = OrderTerms(Decimal(quantity), Decimal(limit))
        assert terms_fault(order, terms, instrument) == said
