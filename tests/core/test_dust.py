"""What a commission leaves that is taken of what is bought: it is held, and too little to sell."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.core.events import (
    OrderIntended,
    PositionClosed,
    PositionNotFlat,
    PositionUnprotected,
    SignalBlocked,
)
from engine.core.execution.rules import ExecutionRules, StopRefused
from engine.core.matching import ExchangeRules
from engine.core.model import KillAction, OrderPurpose, OrderState, Position, Side
from engine.core.risk import RiskLimits
from tests.core.rig import ACME, AT_MARKET, COIN, Rig

ENTRY, EXIT, STOP = OrderPurpose.ENTRY, OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP
TENTHS = replace(COIN, lot=Decimal("0.1"), min_notional=Decimal(0), commission_in_base=True)
COSTS = ExchangeRules(Decimal("0.1"), Decimal(0), Decimal(100))
DUST = Decimal("0.09")


def rig(instrument: Any = TENTHS, **config: Any) -> Rig:
    return Rig(instruments=[ACME, instrument], rules=COSTS, **config)


def hold(rig: Rig, quantity: str = "10", price: float = 100.0) -> Position:
    """Buy so much; a thousandth of it is taken."""
    return rig.hold_position(price, symbol="COIN", sizing=f"fixed_quantity:{quantity}")


def sell(rig: Rig, price: float = 100.0) -> Position:
    rig.signal(Side.SELL, price, symbol="COIN")
    rig.quote(price, "COIN")
    return rig.position(symbol="COIN")


def left_with_dust(**config: Any) -> Rig:
    it = rig(**config)
    hold(it)
    assert sell(it).quantity == DUST
    return it


def restarted(before: Rig) -> Rig:
    return rig(restored=before.durable(), now=before.now)


def at_work(rig: Rig) -> list[tuple[OrderPurpose, Decimal]]:
    return [(order.purpose, order.leaves) for order in rig.open if order.symbol == "COIN"]


def time_passes(rig: Rig, seconds: int = 700) -> int:
    """How many orders are made while prices and time go on, beyond every time to try again."""
    before = len(rig.facts(OrderIntended))
    for _ in range(seconds // 10):
        rig.quote(100, "COIN")
        rig.tick(9)
    return len(rig.facts(OrderIntended)) - before


def test_a_stop_is_of_what_is_held_in_lots() -> None:
    it = rig()
    assert hold(it).quantity == Decimal("9.99")
    assert at_work(it) == [(STOP, Decimal("9.9"))]
    assert it.machine.desk.unprotected() == {}


def test_a_stop_grows_with_what_is_held_as_an_entry_fills_part_by_part() -> None:
    it = rig()
    it.buy(symbol="COIN", sizing="fixed_quantity:10")
    it.quote(100, "COIN", size=4.0)
    assert it.position(symbol="COIN").quantity == Decimal("3.996")
    assert (STOP, Decimal("3.9")) in at_work(it)
    it.quote(100, "COIN")
    assert at_work(it) == [(STOP, Decimal("9.9"))]


def test_an_exit_sells_the_lots_and_leaves_the_rest_alone() -> None:
    it = left_with_dust()
    assert [order.quantity for order in it.submits(EXIT)] == [Decimal("9.9")]
    assert at_work(it) == []
    assert time_passes(it) == 0
    assert it.machine.desk.unprotected() == {}
    assert it.facts(PositionUnprotected) == []


def test_the_round_trip_is_over_and_counts_as_a_loss() -> None:
    it = left_with_dust(limits=RiskLimits(max_consecutive_losses=1))
    (fact,) = it.facts(PositionClosed)
    assert fact.round_trip.quantity == Decimal("9.9")
    assert fact.round_trip.pnl == Decimal("-1.99")
    it.signal(Side.BUY, symbol="COIN")
    assert it.facts(SignalBlocked)[-1].check == "consecutive_losses"


def test_a_kill_that_flattens_is_complete_with_dust() -> None:
    it = rig()
    hold(it)
    it.kill(KillAction.FLATTEN)
    it.quote(100, "COIN")
    assert it.position(symbol="COIN").quantity == DUST
    assert it.machine.desk.not_flat() == []
    it.kill(KillAction.FLATTEN)
    assert time_passes(it) == 0
    assert it.facts(PositionNotFlat) == []


def test_a_sale_of_dust_says_why_there_is_none() -> None:
    it = restarted(left_with_dust())
    it.signal(Side.SELL, symbol="COIN")
    blocked = it.facts(SignalBlocked)[-1]
    assert blocked.check == "flat"
    assert blocked.reason == "no position to close; 0.09 is too little to sell"


def test_a_later_buy_adds_to_it_and_the_next_exit_sells_both() -> None:
    it = left_with_dust()
    assert hold(it).quantity == Decimal("10.08")
    assert at_work(it) == [(STOP, Decimal("10.0"))]
    assert sell(it).quantity == Decimal("0.08")
    assert [order.quantity for order in it.submits(EXIT)] == [Decimal("9.9"), Decimal("10.0")]
    assert len(it.facts(PositionClosed)) == 2


def test_dust_takes_no_place_among_the_open_positions_and_counts_in_all_else() -> None:
    it = left_with_dust(limits=RiskLimits(max_open_positions=1))
    books = it.machine.risk.books()
    assert (books.open_positions(), books.notional("COIN")) == (0, 9)
    assert books.equity == it.cash + 9
    it.buy(90)
    it.quote(90)
    assert it.position().quantity
    assert it.machine.risk.books().open_positions() == 1
    it.signal(Side.BUY, symbol="COIN")
    assert it.facts(SignalBlocked)[-1].check == "open_positions"


def test_a_strategy_is_told_of_no_position_in_dust() -> None:
    it = left_with_dust()
    assert it.machine.portfolio.book("puppet").positions == {}


def test_dust_is_the_same_after_a_restart() -> None:
    it = restarted(left_with_dust())
    assert time_passes(it) == 0
    assert it.position(symbol="COIN").quantity == DUST
    assert hold(it).quantity == Decimal("10.08")
    assert at_work(it) == [(STOP, Decimal("10.0"))]


def partly_sold(rules: ExecutionRules = AT_MARKET) -> Rig:
    """An exit that its venue ended with 0.39 left, of which 0.3 could be sold if they were worth
    the smallest order."""
    it = rig(replace(TENTHS, min_notional=Decimal(50)), execution=rules)
    hold(it)
    it.signal(Side.SELL, symbol="COIN")
    it.quote(100, "COIN", size=9.6)
    it.request_cancel(it.last(EXIT))
    assert it.position(symbol="COIN").quantity == Decimal("0.39")
    return it


def test_less_than_the_smallest_order_is_dust() -> None:
    it = partly_sold()
    assert at_work(it) == []
    assert time_passes(it) == 0
    assert it.facts(PositionUnprotected) == []
    assert hold(it).quantity == Decimal("10.38")
    assert at_work(it) == [(STOP, Decimal("10.3"))]


def test_less_than_the_smallest_quantity_is_dust_at_any_price() -> None:
    it = rig(replace(TENTHS, min_quantity=Decimal("0.5")), execution=replace(AT_MARKET))
    hold(it)
    it.signal(Side.SELL, symbol="COIN")
    it.quote(100, "COIN", size=9.6)
    it.request_cancel(it.last(EXIT))
    it.quote(1_000_000, "COIN")
    assert it.position(symbol="COIN").quantity == Decimal("0.39")
    assert at_work(it) == []


def test_a_better_price_makes_a_position_of_it_again() -> None:
    it = partly_sold(replace(AT_MARKET, on_stop_refused=StopRefused.EXIT))
    for _ in range(3):
        it.quote(180, "COIN")
        it.tick()
    assert it.facts(PositionUnprotected)  # a stop at 95 would be worth less than the smallest order
    it.quote(180, "COIN")
    assert it.position(symbol="COIN").quantity == DUST


def test_what_rests_at_the_venue_for_dust_stays_there() -> None:
    it = rig(replace(TENTHS, min_notional=Decimal(50)))
    hold(it)
    (stop,) = it.of(STOP)
    it.fill(stop, "9.6", 95)
    it.signal(Side.SELL, symbol="COIN")
    assert time_passes(it) == 0
    assert at_work(it) == [(STOP, Decimal("0.3"))]
    it.fill(it.now_of(stop), "0.3", 95, state=OrderState.FILLED)
    assert it.position(symbol="COIN").quantity == DUST
    assert at_work(it) == []
