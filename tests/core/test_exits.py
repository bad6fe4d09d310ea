"""Exits: everything closed when the kill switch says so, and exits with a limit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.calendars import session_tables
from engine.core.events import (
    BrokerChanged,
    CancelOrder,
    CommitIntent,
    HaltChanged,
    PositionChanged,
    PositionNotFlat,
    Restored,
    StoreChanged,
    StrategyFailed,
    StrategyState,
    SubmitOrder,
    TradeBusted,
)
from engine.core.execution.rules import StrategyOff
from engine.core.matching import CAPABILITIES
from engine.core.model import (
    EXTERNAL,
    NANOS,
    AssetClass,
    Instrument,
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Position,
    Side,
    nanos,
)
from tests.core.rig import ACME, AT_MARKET, COIN, Rig

S = OrderState
ENTRY, EXIT = OrderPurpose.ENTRY, OrderPurpose.EXIT
STOP, TARGET = OrderPurpose.PROTECTIVE_STOP, OrderPurpose.TAKE_PROFIT

LISTED = Instrument("ACME", AssetClass.STOCK, ACME.tick, ACME.lot, calendar="XNYS")


def new_york(day: int, hour: int, minute: int = 0) -> int:
    """In March 2024, before summer time; the 1st is a Friday."""
    return nanos(datetime(2024, 3, day, hour, minute, tzinfo=UTC) + timedelta(hours=5))


TABLES = session_tables([LISTED], new_york(1, 12), new_york(7, 12))


def listed(now: int, **config: Any) -> Rig:
    """A rig whose only symbol trades on the New York Stock Exchange."""
    at_open = config.pop("at_open", False)
    rules = replace(AT_MARKET, flatten_at_open=at_open)
    given: dict[str, Any] = {"execution": rules, "calendars": TABLES}
    return Rig(instruments=[LISTED], now=now, **(given | config))


def held_over_the_close(**config: Any) -> Rig:
    """A position of Friday, and it is Friday evening."""
    rig = listed(new_york(1, 15), **config)
    rig.hold_position()
    rig.now = new_york(1, 17)
    return rig


def restarted(rig: Rig, **config: Any) -> Rig:
    """The next session, after a sudden end: the exchange is the same."""
    given: dict[str, Any] = {"restored": rig.durable(), "exchange": rig.exchange, "now": rig.now}
    return listed(**(given | config))


def at(rig: Rig, when: int) -> None:
    """Time passes to `when`, and the clock ticks."""
    rig.tick((when - rig.now) / NANOS)


def not_flat(rig: Rig) -> list[tuple[Decimal, str]]:
    """What is to be flat and is not yet, as the operator is shown it."""
    return [(n.position.quantity, n.reason) for n in rig.machine.desk.not_flat()]


def reasons(rig: Rig) -> list[str]:
    """Why a position that is to be flat was not, as it was told."""
    return [fact.reason for fact in rig.facts(PositionNotFlat)]


def exits(rig: Rig) -> list[Decimal]:
    """The quantities of the exits that left."""
    return [order.quantity for order in rig.submits(EXIT)]


def at_work(rig: Rig) -> list[tuple[OrderPurpose, Decimal]]:
    """The open orders in ACME, and how much is left of each."""
    return [(order.purpose, order.leaves) for order in rig.open if order.symbol == "ACME"]


def flatten(rig: Rig) -> None:
    rig.kill(KillAction.FLATTEN)


def off(rule: StrategyOff, how: str) -> tuple[Rig, Order]:
    """A strategy with an entry that is filled in part is off; another has a position."""
    rig = Rig(
        "puppet",
        "other",
        instruments=(ACME, COIN),
        execution=replace(AT_MARKET, on_strategy_off=rule),
    )
    rig.hold_position(50, strategy="other", symbol="COIN")
    entry = rig.buy()
    rig.quote(100, size=20)
    if how == "off":
        rig.toggle(enabled=False)
    else:
        rig.wishes["puppet", "ACME"] = "no signal"
        rig.tick()
        assert rig.facts(StrategyFailed)
    return rig, entry


# --- flat ----------------------------------------------------------------------------------------


def test_flatten_closes_every_position_once_its_stop_is_gone() -> None:
    rig = Rig(instruments=(ACME, COIN))
    rig.hold_position()
    rig.hold_position(50, symbol="COIN")
    rig.void = {CancelOrder}
    flatten(rig)
    assert exits(rig) == [], "two orders that both sell would sell twice"
    assert [reason for _, reason in not_flat(rig)] == ["test", "test"]
    for stop in rig.of(STOP):
        rig.report(stop, S.CANCELED)
    assert [order.type for order in rig.submits(EXIT)] == [OrderType.MARKET] * 2
    rig.quote(100)
    rig.quote(50, "COIN")
    assert (rig.open, not_flat(rig)) == ([], [])
    assert {p.quantity for p in rig.machine.portfolio.positions.values()} == {0}


def test_an_exit_that_is_filled_in_part_is_followed_by_one_of_the_rest() -> None:
    rig = Rig()
    rig.hold_position()
    flatten(rig)
    first = rig.last(EXIT)
    rig.fill(first, 9)
    rig.tick(60)
    assert exits(rig) == [49], "the first is still at work"
    assert not_flat(rig) == [(40, "its exit is under way")]
    rig.report(first, S.CANCELED, reason="auction")
    assert not_flat(rig) == [(40, "auction")]
    rig.tick(4)
    assert exits(rig) == [49]
    rig.tick(1)
    assert exits(rig) == [49, 40]
    rig.quote(100)
    assert (rig.position().quantity, rig.open, not_flat(rig)) == (0, [], [])


def test_an_execution_after_its_end_leaves_less_for_the_next() -> None:
    rig = Rig()
    rig.hold_position()
    flatten(rig)
    first = rig.last(EXIT)
    rig.report(first, S.EXPIRED)
    assert reasons(rig) == ["its exit is expired"]
    rig.fill(first, 30)
    rig.tick(5)
    assert exits(rig) == [49, 19]


def test_a_rejected_exit_is_told_and_asked_for_again_every_five_minutes() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {SubmitOrder}
    flatten(rig)
    for attempt in range(1, 4):
        rig.report(rig.last(EXIT), S.REJECTED, reason="auction")
        assert not_flat(rig) == [(49, "auction")]
        rig.tick(299)
        assert len(exits(rig)) == attempt
        rig.tick(1)
        assert len(exits(rig)) == attempt + 1
    assert len({order.client_order_id for order in rig.submits(EXIT)}) == 4
    assert reasons(rig) == ["auction"] * 3


def test_asked_for_again_a_rejected_exit_leaves_at_once() -> None:
    rig = Rig()
    rig.hold_position()
    flatten(rig)
    rig.report(rig.last(EXIT), S.REJECTED, reason="auction")
    flatten(rig)
    assert exits(rig) == [49, 49]


def test_an_exit_in_doubt_is_waited_for_and_made_anew_when_it_was_not_there() -> None:
    rig = Rig()
    rig.hold_position()
    rig.void = {SubmitOrder}
    flatten(rig)
    rig.tick(6)
    assert rig.state_of(rig.last(EXIT)) is S.IN_DOUBT
    flatten(rig)
    assert exits(rig) == [49], "nothing is sold twice"
    rig.tick(31)
    assert rig.state_of(rig.last(EXIT)) is S.ABANDONED
    rig.void.clear()
    rig.tick(5)
    assert exits(rig) == [49, 49]


@pytest.mark.parametrize("instrument", [ACME, COIN], ids=["a stock", "with a smallest order"])
def test_without_a_price_it_leaves_all_the_same(instrument: Instrument) -> None:
    held = Position(
        "puppet", instrument.symbol, Decimal(1), Decimal(100), stop_price=Decimal(90), opened_ts=1
    )
    rig = Rig(instruments=[instrument], restored=Restored({"paper": Decimal(0)}, positions=(held,)))
    assert rig.machine.portfolio.mark_price(instrument.symbol) is None
    flatten(rig)
    assert exits(rig) == [1]
    assert (rig.last(EXIT).type, rig.last(EXIT).reference_price) == (OrderType.MARKET, 0)


def test_an_old_price_keeps_no_exit_back() -> None:
    rig = Rig()
    rig.hold_position()
    rig.tick(3600)
    flatten(rig)
    assert exits(rig) == [49]


@pytest.mark.parametrize("how", ["halt", "database", "broker"])
def test_what_stands_in_the_way_is_told_once_and_it_leaves_after(how: str) -> None:
    rig = Rig()
    rig.hold_position()
    away, back, reason = {
        "halt": (
            HaltChanged(symbol="ACME", halted=True, reason="news"),
            HaltChanged(symbol="ACME", halted=False),
            "ACME is paused: halted: news",
        ),
        "database": (StoreChanged(False), StoreChanged(True), "the database is out of reach"),
        "broker": (
            BrokerChanged("paper", False),
            BrokerChanged("paper", True),
            "paper is not connected",
        ),
    }[how]
    rig.send(away)
    for _ in range(3):
        flatten(rig)
        rig.quote(100)
        rig.tick(10)
    assert (exits(rig), reasons(rig), not_flat(rig)) == ([], [reason], [(49, reason)])
    rig.send(back)
    assert exits(rig) == [49]


def test_an_exit_that_was_decided_does_not_leave_into_a_halt() -> None:
    rig = Rig()
    rig.hold_position()
    rig.hold = {CommitIntent}
    flatten(rig)
    rig.send(HaltChanged(symbol="ACME", halted=True, reason="news"))
    rig.release()
    assert exits(rig) == []
    assert rig.last(EXIT).reason == "not sent: ACME is paused: halted: news"
    rig.tick(5)
    assert (exits(rig), not_flat(rig)) == ([], [(49, "ACME is paused: halted: news")])
    rig.send(HaltChanged(symbol="ACME", halted=False))
    assert exits(rig) == [49]


# --- while its market is closed ------------------------------------------------------------------


def test_while_its_market_is_closed_it_waits_and_says_so() -> None:
    rig = held_over_the_close()
    for _ in range(3):
        flatten(rig)
        rig.tick(3600)
    assert exits(rig) == []
    assert reasons(rig) == ["XNYS is closed: flatten again at the open"]
    assert not_flat(rig) == [(49, "XNYS is closed: flatten again at the open")]


def test_an_exit_that_was_decided_does_not_leave_by_force_into_a_closed_market() -> None:
    rig = listed(new_york(1, 15))
    rig.hold_position()
    rig.hold = {CommitIntent}
    rig.signal(Side.SELL, 100)
    rig.now = new_york(1, 17)
    flatten(rig)
    rig.release()
    assert exits(rig) == []
    assert rig.last(EXIT).reason == "not sent: XNYS is closed"
    rig.tick(300)
    assert not_flat(rig) == [(49, "XNYS is closed: flatten again at the open")]


def test_another_market_that_is_open_is_flat_meanwhile() -> None:
    rig = Rig(instruments=[LISTED, COIN], now=new_york(1, 15), calendars=TABLES)
    rig.hold_position()
    rig.hold_position(50, symbol="COIN")
    rig.now = new_york(1, 17)
    flatten(rig)
    assert [order.symbol for order in rig.submits(EXIT)] == ["COIN"]


def test_at_the_open_it_leaves_where_that_is_set() -> None:
    rig = held_over_the_close(at_open=True)
    flatten(rig)
    assert not_flat(rig) == [(49, "XNYS is closed: leaves at the open")]
    at(rig, new_york(4, 9, 30) - NANOS)
    assert exits(rig) == []
    at(rig, new_york(4, 9, 30))
    assert exits(rig) == [49]
    rig.quote(100)
    assert (rig.position().quantity, not_flat(rig)) == (0, [])


def test_at_the_open_it_waits_to_be_asked_again_where_that_is_not_set() -> None:
    rig = held_over_the_close()
    flatten(rig)
    for hour in (10, 12, 15):
        at(rig, new_york(4, hour))
        rig.quote(100)
    assert exits(rig) == []
    flatten(rig)
    assert exits(rig) == [49]


@pytest.mark.parametrize(("at_open", "then"), [(False, []), (True, [9])])
def test_the_close_comes_before_all_is_sold(at_open: bool, then: list[int]) -> None:
    rig = listed(new_york(1, 15), at_open=at_open)
    rig.hold_position()
    at(rig, new_york(1, 15, 59))
    flatten(rig)
    rig.fill(rig.last(EXIT), 40)
    at(rig, new_york(1, 16))
    rig.report(rig.last(EXIT), S.EXPIRED)
    at(rig, new_york(1, 17))
    at(rig, new_york(4, 10))
    assert exits(rig) == [49, *then]


@pytest.mark.parametrize(("at_open", "then"), [(False, []), (True, [49])])
def test_a_restart_after_the_open_asks_for_nothing_that_was_not_to_leave(
    at_open: bool, then: list[int]
) -> None:
    rig = held_over_the_close(at_open=at_open)
    flatten(rig)
    after = restarted(rig, now=new_york(4, 10), at_open=at_open)
    assert exits(after) == then
    if not at_open:
        assert not_flat(after) == [(49, "XNYS was closed since: flatten again")]
        after.tick(600)
        assert exits(after) == []
        flatten(after)
        assert exits(after) == [49]


def test_a_restart_before_the_open_waits_for_it_where_that_is_set() -> None:
    rig = held_over_the_close(at_open=True)
    flatten(rig)
    after = restarted(rig, at_open=True)
    assert (exits(after), not_flat(after)) == ([], [(49, "XNYS is closed: leaves at the open")])
    at(after, new_york(4, 9, 30))
    assert exits(after) == [49]


def test_a_restart_in_the_same_session_goes_on() -> None:
    rig = listed(new_york(1, 10))
    rig.hold_position()
    rig.kill()
    at(rig, new_york(4, 10))
    rig.void = {SubmitOrder}
    flatten(rig)
    rig.report(rig.last(EXIT), S.CANCELED)
    after = restarted(rig, now=new_york(4, 11))
    assert exits(after) == [49]
    after.quote(100)
    assert (after.position().quantity, not_flat(after)) == (0, [])


def test_a_restart_waits_for_an_exit_that_was_at_work_and_sells_nothing_twice() -> None:
    rig = listed(new_york(1, 10))
    rig.hold_position()
    flatten(rig)
    rig.quote(100, size=9)
    after = restarted(rig)
    after.tick(60)
    assert exits(after) == []
    after.quote(100)
    assert (after.position().quantity, after.open, not_flat(after)) == (0, [], [])


def test_re_armed_a_position_that_waits_to_be_asked_for_is_the_strategys_again() -> None:
    rig = held_over_the_close()
    flatten(rig)
    at(rig, new_york(4, 10))
    rig.rearm()
    assert not_flat(rig) == []
    assert [(o.purpose, o.leaves) for o in rig.open] == [(STOP, 49)]
    rig.signal(Side.SELL)
    rig.quote(100)
    assert rig.position().quantity == 0


# --- of a strategy that is off -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["off", "failed"])
def test_keep_leaves_entries_and_stops_where_they_are(how: str) -> None:
    rig, entry = off(StrategyOff.KEEP, how)
    assert rig.state_of(entry) is S.PARTIALLY_FILLED
    assert at_work(rig) == [(ENTRY, 29), (STOP, 20)]
    rig.quote(100)
    assert at_work(rig) == [(STOP, 49)]


@pytest.mark.parametrize("how", ["off", "failed"])
def test_cancel_entries_leaves_the_stop(how: str) -> None:
    rig, entry = off(StrategyOff.CANCEL_ENTRIES, how)
    assert rig.state_of(entry) is S.CANCELED
    assert at_work(rig) == [(STOP, 20)]


@pytest.mark.parametrize("how", ["off", "failed"])
def test_flatten_closes_what_the_strategy_holds(how: str) -> None:
    rig, entry = off(StrategyOff.FLATTEN, how)
    assert rig.state_of(entry) is S.CANCELED
    assert (exits(rig), not_flat(rig)) == ([20], [(20, "its exit is under way")])
    assert rig.position("other", "COIN").quantity, "another strategy's positions are its own"
    rig.quote(100)
    assert (rig.position().quantity, not_flat(rig)) == (0, [])


def test_an_entry_that_was_decided_does_not_leave_whatever_is_kept() -> None:
    rig = Rig(execution=replace(AT_MARKET, on_strategy_off=StrategyOff.KEEP))
    rig.hold = {CommitIntent}
    entry = rig.buy()
    rig.toggle(enabled=False)
    rig.release()
    assert rig.submits() == []
    assert rig.now_of(entry).reason == "not sent: the strategy is off"


def test_flatten_leaves_what_others_hold() -> None:
    rig = Rig(execution=replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN))
    rig.fill(replace(rig.buy(), client_order_id="hand"), 5)
    rig.tick()
    assert rig.position(EXTERNAL).quantity == 5
    assert exits(rig) == []


def test_flatten_is_carried_out_when_orders_may_leave() -> None:
    rig = Rig(execution=replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN))
    rig.hold_position()
    rig.kill(KillAction.KEEP_STOPS)
    rig.toggle(enabled=False)
    assert (exits(rig), not_flat(rig)) == ([], [(49, "kill switch (key)")])
    rig.rearm()
    assert exits(rig) == [49]


def test_flatten_goes_on_after_a_restart() -> None:
    rules = replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN)
    rig = Rig(execution=rules)
    rig.hold_position()
    rig.void = {CancelOrder}
    rig.toggle(enabled=False)
    after = Rig(execution=rules, restored=rig.durable(), exchange=rig.exchange, now=rig.now)
    assert [order.quantity for order in after.submits(EXIT)] == [49]


def test_what_waits_for_the_open_is_kept_when_its_strategy_is_on_again() -> None:
    rules = replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN)
    rig = held_over_the_close(execution=rules)
    rig.toggle(enabled=False)
    assert not_flat(rig) == [(49, "XNYS is closed: flatten again at the open")]
    rig.toggle()
    assert not_flat(rig) == []
    assert at_work(rig) == [(STOP, 49)]
    at(rig, new_york(4, 10))
    rig.toggle(enabled=False)
    assert exits(rig) == [49]


def test_and_it_leaves_when_it_is_asked_for_again() -> None:
    rules = replace(AT_MARKET, on_strategy_off=StrategyOff.FLATTEN)
    rig = held_over_the_close(execution=rules)
    rig.toggle(enabled=False)
    at(rig, new_york(4, 10))
    assert exits(rig) == []
    rig.toggle(enabled=False)
    assert exits(rig) == [49]


# --- with a limit --------------------------------------------------------------------------------


def limited(**how: Any) -> Rig:
    """A rig whose exits have a limit."""
    config = {
        name: how.pop(name) for name in ("restored", "exchange", "now", "void") if name in how
    }
    return Rig(execution=replace(AT_MARKET, exit_order_type=OrderType.LIMIT, **how), **config)


def sell(rig: Rig, price: float = 100, **how: Any) -> Order:
    """A sell signal at a quote that fills nothing; answers the exit."""
    rig.wish(Side.SELL)
    rig.quote(price, size=0.5, **how)
    return rig.last(EXIT)


def rejected(rig: Rig, exit_: Callable[[], object]) -> None:
    """The venue rejects the exit that `exit_` leads to."""
    rig.void = {SubmitOrder}
    exit_()
    rig.void = set()
    rig.report(rig.last(EXIT), S.REJECTED, reason="collar")


@pytest.mark.parametrize(("offset", "limit"), [(0, "99.99"), (10, "99.89"), (-20, "100.19")])
def test_it_is_a_limit_at_the_bid_and_a_set_distance_from_it(offset: int, limit: str) -> None:
    rig = limited(entry_offset_bps=Decimal(offset))
    rig.hold_position()
    order = sell(rig, spread=0.02)
    assert (order.type, order.side, order.quantity) == (OrderType.LIMIT, Side.SELL, 49)
    assert order.limit_price == order.reference_price == Decimal(limit)
    assert [o.purpose for o in rig.open] == [EXIT]
    rig.quote(101)
    assert (rig.position().quantity, rig.open) == (0, [])


def test_a_limit_is_never_below_the_tick() -> None:
    rig = limited(entry_offset_bps=Decimal("9999.9"))
    rig.hold_position()
    assert sell(rig).limit_price == ACME.tick


def test_what_is_not_filled_in_time_leaves_at_the_market() -> None:
    rig = limited()
    rig.hold_position()
    first = sell(rig)
    rig.fill(first, 9)
    rig.quote(99.5, size=0.5)
    rig.tick(58)
    assert exits(rig) == [49]
    rig.tick(1)
    assert rig.state_of(first) is S.CANCELED
    assert [(o.type, o.quantity) for o in rig.submits(EXIT)[1:]] == [(OrderType.MARKET, 40)]
    rig.quote(99.5)
    assert (rig.position().quantity, rig.open) == (0, [])


def test_one_that_fills_while_it_makes_way_leaves_nothing_to_sell() -> None:
    rig = limited()
    rig.hold_position()
    first = sell(rig)
    rig.void = {CancelOrder}
    rig.quote(99.5, size=0.5)
    rig.tick(59)
    rig.tick(60)
    assert exits(rig) == [49]
    rig.fill(first, 49, state=S.FILLED)
    rig.tick(60)
    assert (exits(rig), rig.position().quantity) == ([49], 0)


def test_one_that_ends_by_itself_puts_the_position_back_under_its_stop() -> None:
    rig = limited()
    rig.hold_position()
    rig.report(sell(rig), S.CANCELED)
    assert [(o.purpose, o.leaves) for o in rig.open] == [(STOP, 49)]
    rig.tick(120)
    assert exits(rig) == [49]


def test_one_that_is_rejected_is_the_markets_after_five_minutes() -> None:
    rig = limited()
    rig.hold_position()
    rig.report(sell(rig), S.REJECTED, reason="collar")
    assert [(o.purpose, o.leaves) for o in rig.open] == [(STOP, 49)]
    rig.tick(300)
    assert [o.type for o in rig.submits(EXIT)] == [OrderType.LIMIT, OrderType.MARKET]


def test_a_strategy_that_wants_to_be_long_again_ends_an_exit_that_waits() -> None:
    rig = limited()
    rig.hold_position()
    rejected(rig, lambda: rig.signal(Side.SELL))
    rig.signal(Side.BUY)
    rig.tick(300)
    assert rig.position().quantity == 49
    assert len(exits(rig)) == 1


def test_but_none_that_is_to_be_flat_whatever_it_wants() -> None:
    rig = Rig()
    rig.hold_position()
    rejected(rig, lambda: flatten(rig))
    rig.signal(Side.BUY)
    rig.tick(298)
    assert exits(rig) == [49]
    rig.tick(1)
    assert exits(rig) == [49, 49]


def test_an_exit_that_waits_does_not_leave_because_it_is_signalled_again() -> None:
    rig = Rig()
    rig.hold_position()
    rejected(rig, lambda: rig.signal(Side.SELL))
    assert (reasons(rig), not_flat(rig)) == ([], []), "its strategy's, and under its stop"
    rig.signal(Side.SELL)
    assert exits(rig) == [49]
    assert at_work(rig) == [(STOP, 49)]


def test_an_exit_at_work_when_all_is_to_be_flat_is_followed_as_one_of_those() -> None:
    rig = Rig()
    rig.hold_position()
    rig.signal(Side.SELL)
    assert not_flat(rig) == []
    flatten(rig)
    assert not_flat(rig) == [(49, "test")]
    rig.report(rig.last(EXIT), S.CANCELED)
    assert exits(rig) == [49]
    rig.tick(5)
    assert exits(rig) == [49, 49]


def test_what_is_bought_after_an_exit_is_kept() -> None:
    rig = Rig()
    rig.hold_position()
    rig.signal(Side.SELL)
    rig.quote(100)
    assert rig.position().quantity == 0
    rig.hold_position()
    rig.tick(60)
    rig.tick(300)
    assert at_work(rig) == [(STOP, 49)]


def test_a_limit_stays_when_its_strategy_is_switched_off() -> None:
    rig = limited()
    rig.hold_position()
    order = sell(rig)
    rig.toggle(enabled=False)
    assert rig.open == [order]


# --- after a restart -----------------------------------------------------------------------------


def signalled(rig: Rig, side: Side) -> Rig:
    """The next session; the last that the strategy signalled is `side`."""
    state = StrategyState("puppet", True, last_signals={"ACME": side})
    restored = replace(rig.durable(), strategies=(state,))
    return Rig(restored=restored, exchange=rig.exchange, now=rig.now)


def test_an_exit_that_was_signalled_is_made_and_an_entry_is_no_exit() -> None:
    rig = Rig()
    rig.hold_position()
    bought = signalled(rig, Side.BUY)
    assert at_work(bought) == [(STOP, 49)]
    sold = signalled(bought, Side.SELL)
    assert at_work(sold) == [(EXIT, 49)]
    sold.quote(100)
    again = signalled(sold, Side.SELL)
    again.hold_position()
    assert at_work(again) == [(STOP, 49)], "the exit of a position that is closed is carried out"


def test_the_same_exit_as_before_a_restart_is_made_five_minutes_later() -> None:
    rig = Rig()
    rig.hold_position()
    first = signalled(rig, Side.SELL)
    first.report(first.last(EXIT), S.CANCELED)
    again = signalled(first, Side.SELL)
    assert at_work(again) == [(STOP, 49)]
    again.tick(299)
    assert exits(again) == []
    again.tick(1)
    assert exits(again) == [49]


def test_an_exit_that_still_makes_way_after_a_restart_is_followed_by_one_at_the_market() -> None:
    rig = limited()
    rig.hold_position()
    first = sell(rig)
    rig.void = {CancelOrder}
    rig.tick(60)
    wanted = StrategyState("puppet", True, last_signals={"ACME": Side.SELL})
    restored = replace(rig.durable(), strategies=(wanted,))
    after = limited(restored=restored, exchange=rig.exchange, now=rig.now, void={CancelOrder})
    assert after.state_of(first) is S.PENDING_CANCEL
    after.void = set()
    after.tick()
    assert after.state_of(first) is S.CANCELED
    assert [(o.type, o.quantity) for o in after.submits(EXIT)] == [(OrderType.MARKET, 49)]


def test_each_limit_exit_that_a_restart_finds_is_followed_by_one_of_its_own() -> None:
    rig = limited()
    for _ in range(2):
        rig.hold_position()
        sell(rig)
        rig = limited(restored=rig.durable(), exchange=rig.exchange, now=rig.now)
        rig.tick(61)
        assert [order.type for order in rig.submits(EXIT)] == [OrderType.MARKET]
        rig.quote(100)
        assert rig.position().quantity == 0


# --- shorts --------------------------------------------------------------------------------------


def oversold() -> Rig:
    """A short of 5: a stop filled after its confirmed cancel. Nothing gets to the venue."""
    rig = Rig()
    rig.hold_position()
    stop = rig.last(STOP)
    rig.report(stop, S.CANCELED)
    rig.signal(Side.SELL)
    rig.quote(100)
    assert rig.position().quantity == 0
    rig.void = {SubmitOrder}
    rig.fill(stop, 5, 98)
    return rig


def test_a_short_is_bought_back_and_where_that_is_rejected_five_minutes_later() -> None:
    rig = oversold()
    back = rig.last(EXIT)
    assert (back.side, back.quantity) == (Side.BUY, 5)
    rig.report(back, S.REJECTED, reason="not now")
    rig.tick(299)
    assert rig.open == []
    rig.tick(1)
    assert [(order.side, order.quantity) for order in rig.open] == [(Side.BUY, 5)]


def test_a_short_that_is_a_long_position_again_is_kept() -> None:
    rig = oversold()
    back = rig.last(EXIT)
    sold = rig.facts(PositionChanged)[1].fill
    rig.send(TradeBusted(sold.execution_id, "ACME", None, "erroneous"))
    assert rig.position().quantity == 44
    rig.fill(back, 5, state=S.FILLED)
    assert at_work(rig) == [(STOP, 49)]


def test_a_short_is_bought_back_while_everything_is_to_be_flat() -> None:
    rig = Rig()
    rig.hold_position()
    stop = rig.last(STOP)
    rig.report(stop, S.CANCELED)
    flatten(rig)
    rig.quote(100)
    assert rig.position().quantity == 0
    rig.fill(stop, 5, 98)
    assert [(order.side, order.quantity) for order in rig.open] == [(Side.BUY, 5)]
    rig.quote(100)
    assert rig.position().quantity == 0


@pytest.mark.parametrize(
    ("held", "mark", "protected_at"),
    [(-5, 100.0, 98), (-5, 0.01, 0.01), (-5, None, None), (5, 100.0, None)],
)
def test_what_is_bought_back_too_far_has_a_stop(
    held: int, mark: float | None, protected_at: float | None
) -> None:
    position = Position("puppet", "ACME", Decimal(held), Decimal(100 * held), opened_ts=1)
    marks = {} if mark is None else {"ACME": mark}
    rig = Rig(restored=Restored({"paper": Decimal(100_000)}, positions=(position,), marks=marks))
    flatten(rig)
    exit_ = rig.last(EXIT)
    assert exit_.side is (Side.BUY if held < 0 else Side.SELL)
    assert exit_.stop_loss == (None if protected_at is None else Decimal(str(protected_at)))


def test_without_a_fresh_price_it_is_the_markets_at_once() -> None:
    rig = limited()
    rig.hold_position()
    rig.tick(121)
    rig.wish(Side.SELL)
    rig.tick()
    assert rig.last(EXIT).type is OrderType.MARKET


@pytest.mark.parametrize("at_work", [False, True])
def test_everything_flat_waits_for_no_price(at_work: bool) -> None:
    rig = limited()
    rig.hold_position()
    limits = [sell(rig)] if at_work else []
    flatten(rig)
    assert all(rig.state_of(order) is S.CANCELED for order in limits)
    assert [o.type for o in rig.open] == [OrderType.MARKET]
    rig.quote(100)
    assert rig.position().quantity == 0


def test_a_target_that_is_watched_here_leaves_at_the_market() -> None:
    rig = limited()
    rig.send(BrokerChanged("paper", True, capabilities=replace(CAPABILITIES, oco=False)))
    rig.hold_position(take_profit=110)
    for _ in range(3):
        rig.quote(110, size=0.5)
    assert [order.type for order in rig.submits(TARGET)] == [OrderType.MARKET]
    rig.quote(110)
    assert rig.position().quantity == 0


@pytest.mark.parametrize("lost", [set[type[Any]](), {CancelOrder}], ids=["waits", "makes way"])
def test_a_restart_goes_on_with_a_limit_exit(lost: set[type[Any]]) -> None:
    rig = limited()
    rig.hold_position()
    first = sell(rig)
    rig.void = lost
    rig.tick(60 if lost else 30)
    wanted = StrategyState("puppet", True, last_signals={"ACME": Side.SELL})
    restored = replace(rig.durable(), strategies=(wanted,))
    after = limited(restored=restored, exchange=rig.exchange, now=rig.now)
    after.quote(99.5, size=0.5)
    after.tick(30)
    assert after.state_of(first) is S.CANCELED
    assert [(o.type, o.quantity) for o in after.submits(EXIT)] == [(OrderType.MARKET, 49)]
    after.quote(99.5)
    assert (after.position().quantity, after.open) == (0, [])
