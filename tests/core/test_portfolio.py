"""The ledger: exact, each execution once, and never a number that is not known."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.accounts import Accounts, Rates
from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    Event,
    OrderFilled,
    PositionChanged,
    PositionClosed,
    QuoteUpdate,
    Restored,
)
from engine.core.market import Market
from engine.core.model import (
    MINUTE,
    NANOS,
    Bar,
    Fill,
    Order,
    OrderPurpose,
    OrderType,
    Position,
    Quote,
    Side,
)
from engine.core.portfolio import Portfolio
from engine.core.risk.books import measure
from tests.core.rig import ACME, BOUNDED, COIN, Rig

CASH = Decimal(100_000)


class Books:
    """A ledger with its bus and market; `facts` are what it published."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.market = Market(self.bus, (ACME, COIN), 10, 120 * NANOS)
        accounts = Accounts((ACME, COIN), "USD", {}, Rates(), lambda name, texts: None)
        self.ledger = Portfolio(self.bus, self.market, accounts, {"paper": CASH})
        self.facts: list[Event] = []
        self.bus.record_with(self.facts.append)
        for part in (self.market, self.ledger):
            self.bus.subscribe(QuoteUpdate, part.on_quote)
            self.bus.subscribe(BarClosed, part.on_bar)
        self.bus.subscribe(OrderFilled, self.ledger.on_fill)
        self.bus.subscribe(Restored, self.ledger.on_restored)

    def fill(
        self,
        side: Side,
        quantity: object,
        price: object,
        commission: object = 0,
        symbol: str = "ACME",
        strategy: str = "s",
        taken: object = 0,
    ) -> Position:
        """`taken` is the commission that was taken in the instrument itself."""
        quantity, price, commission = (Decimal(str(x)) for x in (quantity, price, commission))
        ts = self.bus.seq + 1
        key = f"x{ts}"
        order = Order(
            key, strategy, symbol, side, OrderType.MARKET, quantity, OrderPurpose.ENTRY, ts, ts,
            price, stop_loss=Decimal(1),
        )  # fmt: skip
        fill = Fill(
            key, key, symbol, side, quantity, price, commission, ts, strategy,
            commission_quantity=Decimal(str(taken)), venue="paper",
        )  # fmt: skip
        self.bus.publish(OrderFilled(order, fill))
        self.bus.drain()
        return self.ledger.position(strategy, symbol)

    def quote(self, price: float, symbol: str = "ACME") -> None:
        ts = self.bus.now + 1
        self.bus.deliver(QuoteUpdate(Quote(symbol, ts, price, price, 1, 1), ts=ts))

    def closed(self) -> list[PositionClosed]:
        return [fact for fact in self.facts if isinstance(fact, PositionClosed)]


@pytest.fixture
def books() -> Books:
    return Books()


# --- positions -----------------------------------------------------------------------------------


def test_buying_more_averages_the_price(books: Books) -> None:
    books.fill(Side.BUY, 10, 100, "0.5")
    position = books.fill(Side.BUY, 30, 104, "0.7")
    assert (position.quantity, position.avg_price) == (40, 103)
    assert (position.realised_pnl, position.commission) == (0, Decimal("1.2"))
    assert books.ledger.cash["paper"] == CASH - 1000 - 3120 - Decimal("1.2")


def test_selling_a_part_realises_against_the_average_price(books: Books) -> None:
    books.fill(Side.BUY, 40, 103)
    position = books.fill(Side.SELL, 10, 110)
    assert (position.quantity, position.avg_price, position.realised_pnl) == (30, 103, 70)
    assert books.closed() == []


def test_a_position_from_flat_to_flat_is_a_round_trip_after_commission(books: Books) -> None:
    books.fill(Side.BUY, 10, 100, 1)
    books.fill(Side.BUY, 10, 102, 1)
    books.fill(Side.SELL, 5, 104, 1)
    position = books.fill(Side.SELL, 15, 96, 2)
    assert (position.quantity, position.cost) == (0, 0)
    (fact,) = books.closed()
    trip = fact.round_trip
    assert (trip.side, trip.quantity, trip.entry_price, trip.exit_price) == (Side.BUY, 20, 101, 98)
    assert (trip.pnl, trip.commission) == (-65, 5)
    assert trip.entry_ts < trip.exit_ts


def test_the_next_round_trip_starts_anew_and_the_position_keeps_its_life(books: Books) -> None:
    books.fill(Side.BUY, 10, 100, 1)
    books.fill(Side.SELL, 10, 110, 1)
    books.fill(Side.BUY, 1, 200, 1)
    position = books.fill(Side.SELL, 1, 190, 1)
    assert [fact.round_trip.pnl for fact in books.closed()] == [98, -12]
    assert (position.realised_pnl, position.commission) == (90, 4)


def test_a_fill_through_zero_closes_with_one_part_and_opens_with_the_rest(books: Books) -> None:
    books.fill(Side.BUY, 10, 100)
    position = books.fill(Side.SELL, 15, 110, 3)
    (fact,) = books.closed()
    assert (fact.round_trip.pnl, fact.round_trip.quantity) == (97, 10)
    assert (position.quantity, position.avg_price, position.opened_quantity) == (-5, 110, 5)
    position = books.fill(Side.BUY, 5, 100)
    assert books.closed()[1].round_trip.side is Side.SELL
    assert books.closed()[1].round_trip.pnl == 50
    assert books.closed()[1].round_trip.exit_price == 100


def test_positions_are_of_one_strategy_and_the_account_has_their_sum(books: Books) -> None:
    books.fill(Side.BUY, 10, 100, strategy="a")
    books.fill(Side.BUY, 5, 100, strategy="b")
    assert books.ledger.position("a", "ACME").quantity == 10
    books.quote(100)
    assert measure(books.ledger, ()).held == {"ACME": 1500}
    assert books.ledger.position("c", "ACME") == Position("c", "ACME")


def test_a_change_is_published_with_its_fill_and_the_cash_after_it(books: Books) -> None:
    books.fill(Side.BUY, 10, 100, 1)
    (fact,) = [fact for fact in books.facts if isinstance(fact, PositionChanged)]
    assert fact.position == books.ledger.position("s", "ACME")
    assert (fact.fill.quantity, fact.cash) == (10, CASH - 1001)


def test_a_commission_in_the_instrument_itself_makes_the_position_smaller_and_costs_its_value(
    books: Books,
) -> None:
    position = books.fill(Side.BUY, 1, 20_000, symbol="COIN", taken="0.001")
    assert books.ledger.cash["paper"] == CASH - 20_000
    assert (position.quantity, position.avg_price) == (Decimal("0.999"), 20_000)
    assert (position.cost, position.commission) == (19_980, 20)
    books.quote(20_000, "COIN")
    assert books.ledger.equity() == CASH - 20
    books.fill(Side.SELL, "0.999", 21_000, 21, symbol="COIN")
    (fact,) = books.closed()
    trip = fact.round_trip
    assert (trip.quantity, trip.entry_price, trip.exit_price) == (Decimal("0.999"), 20_000, 21_000)
    assert (trip.pnl, trip.commission) == (books.ledger.cash["paper"] - CASH, 41)


def test_a_sale_may_pay_in_the_instrument_too(books: Books) -> None:
    books.fill(Side.BUY, 10, 100)
    position = books.fill(Side.SELL, 4, 110, taken=1)
    assert (position.quantity, position.realised_pnl, position.commission) == (5, 50, 110)
    assert books.ledger.cash["paper"] == CASH - 1000 + 440


def test_a_round_trip_ends_where_less_than_a_lot_is_left_which_is_of_the_next_one(
    books: Books,
) -> None:
    books.fill(Side.BUY, 10, 100, taken="0.25")
    left = books.fill(Side.SELL, 9, 110)
    (first,) = [fact.round_trip for fact in books.closed()]
    assert (first.quantity, first.entry_price, first.exit_price) == (9, 100, 110)
    assert (first.pnl, first.commission) == (90 - 25, 25)
    assert (left.quantity, left.cost, left.opened_ts) == (Decimal("0.75"), 75, 0)
    held = books.fill(Side.BUY, 10, 120, taken="0.25")
    assert (held.quantity, held.opened_quantity) == (Decimal("10.5"), Decimal("10.5"))
    assert held.opened_ts
    books.fill(Side.SELL, 10, 100)
    second = books.closed()[1].round_trip
    assert second.quantity == 10
    position = books.fill(Side.SELL, "0.5", 100)
    third = books.closed()[2].round_trip
    assert (position.quantity, third.quantity) == (0, Decimal("0.5"))
    earned = first.pnl + second.pnl + third.pnl
    assert abs(earned - (books.ledger.cash["paper"] - CASH)) < Decimal("1e-12")


def test_an_entry_brings_the_stop_of_its_position(books: Books) -> None:
    assert books.fill(Side.BUY, 10, 100).stop_price == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.decimals("0.00000001", 1000, places=8),
        st.decimals("0.01", 100_000, places=2),
        st.decimals(0, 10, places=8),
        st.sampled_from(("0", "0.001", "0.3")),
    ),
    max_size=25,
)


@BOUNDED
@given(steps)
def test_cash_and_quantity_are_exact_and_the_money_is_all_there(
    fills: Sequence[tuple[Side, Decimal, Decimal, Decimal, str]],
) -> None:
    """Whatever part of a quantity its commission is."""
    books = Books()
    cash, quantity, paid = Fraction(CASH), Fraction(0), Fraction(0)
    for side, size, price, commission, part in fills:
        taken = size * Decimal(part)
        position = books.fill(side, size, price, commission, taken=taken)
        cash -= side.sign * Fraction(size) * Fraction(price) + Fraction(commission)
        quantity += side.sign * Fraction(size) - Fraction(taken)
        paid += Fraction(commission) + Fraction(taken) * Fraction(price)
        assert Fraction(position.commission) == paid
        assert Fraction(books.ledger.cash["paper"]) == cash
        assert Fraction(position.quantity) == quantity
        earned = position.realised_pnl - position.commission - position.cost
        assert abs(Fraction(earned) - (cash - Fraction(CASH))) < Fraction(1, 10**12)
        assert (position.cost == 0) or position.quantity
    whole = sum(fact.round_trip.pnl for fact in books.closed())
    if quantity == 0:
        assert abs(Fraction(whole) - (cash - Fraction(CASH))) < Fraction(1, 10**12)


# --- what it is worth ----------------------------------------------------------------------------


def test_equity_is_cash_and_positions_at_their_marks(books: Books) -> None:
    books.quote(100)
    books.fill(Side.BUY, 10, 100)
    books.quote(107.5)
    assert books.ledger.equity() == CASH + 75
    assert books.ledger.equity_estimate == 100_075
    assert measure(books.ledger, ()).exposure(["ACME"]) == 1075
    assert measure(books.ledger, ()).notional("ACME") == 1075


def test_the_estimate_follows_every_price_of_what_is_held(books: Books) -> None:
    books.quote(100)
    books.quote(50, "COIN")
    books.fill(Side.BUY, 10, 100)
    books.fill(Side.BUY, 2, 50, symbol="COIN")
    for price in (101.25, 99.5, 100.75):
        books.quote(price)
        books.quote(price / 2, "COIN")
        equity = books.ledger.equity()
        assert equity is not None
        assert books.ledger.equity_estimate == pytest.approx(float(equity), rel=1e-12)
    bar = Bar("ACME", MINUTE, 90, 90, 90, 90, 1)
    books.bus.deliver(BarClosed(bar, ts=MINUTE))
    assert books.ledger.equity_estimate == pytest.approx(float(CASH) - 100 + 0.75)


def test_a_held_symbol_without_a_price_is_unknown_and_never_worth_nothing(books: Books) -> None:
    books.fill(Side.BUY, 10, 100)
    assert books.ledger.equity() is None
    assert measure(books.ledger, ()).exposure(["ACME"]) is None
    assert measure(books.ledger, ()).notional("ACME") is None
    assert isnan(books.ledger.equity_estimate)
    books.quote(100)
    assert books.ledger.equity() == CASH
    assert books.ledger.equity_estimate == float(CASH)


def test_a_held_symbol_that_the_feed_does_not_have_is_unknown_too(books: Books) -> None:
    gone = Position("s", "GONE", quantity=Decimal(1), cost=Decimal(5))
    books.bus.deliver(Restored({"paper": CASH}, positions=(gone,), marks={"GONE": 5.0}))
    assert books.ledger.equity() is None
    assert isnan(books.ledger.equity_estimate)


def test_what_is_not_held_is_worth_nothing_whatever_its_price(books: Books) -> None:
    assert measure(books.ledger, ()).notional("COIN") == 0
    assert measure(books.ledger, ()).held == {}
    assert books.ledger.equity() == CASH


def test_long_and_short_of_two_strategies_both_count_as_exposure(books: Books) -> None:
    books.quote(100)
    books.fill(Side.BUY, 10, 100, strategy="a")
    books.fill(Side.SELL, 4, 100, strategy="b")
    assert measure(books.ledger, ()).notional("ACME") == 1400
    assert books.ledger.equity() == CASH


# --- restart -------------------------------------------------------------------------------------


def test_a_restart_gives_back_cash_positions_marks_and_executions() -> None:
    rig = Rig()
    rig.hold_position()
    after = Rig(restored=rig.durable(), started=False)
    assert after.cash == rig.cash
    assert after.position() == rig.position()
    assert after.machine.portfolio.equity() == rig.machine.portfolio.equity()
    entry = rig.of(OrderPurpose.ENTRY)[0]
    after.fill(entry, 49, execution_id=rig.execution_ids()[0])
    assert after.position().quantity == 49


def test_the_mark_of_the_last_session_gives_way_to_news(books: Books) -> None:
    books.bus.deliver(Restored({"paper": CASH}, marks={"ACME": 90.0, "GONE": 1.0}))
    assert books.ledger.mark_price("ACME") == 90
    assert books.ledger.mark_price("GONE") is None
    books.quote(100)
    assert books.ledger.mark_price("ACME") == 100
