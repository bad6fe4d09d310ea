"""The books compared with a broker's: at the start, after a reconnect, every few minutes."""

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import (
    AccountStatement,
    AdjustCash,
    AlertRaised,
    BrokerChanged,
    CancelOrder,
    CashAdjusted,
    CommandRefused,
    Effect,
    EngineStopping,
    ExecutionReport,
    FillQuarantined,
    OrderAdopted,
    OrderFilled,
    OrderNotFound,
    PositionChanged,
    QueryOrder,
    Reconciled,
    ReconcileFailed,
    ReplaceOrder,
    RequestReplace,
    RequestStatement,
    Restored,
    ResumeSymbol,
    SignalBlocked,
    StatementDue,
    StatementFailed,
    SubmitOrder,
    SymbolPaused,
    TradeBusted,
    VenueOrder,
)
from engine.core.matching import CAPABILITIES, SimulatedExchange
from engine.core.model import (
    EXTERNAL,
    NANOS,
    ORDER_TYPES,
    Fill,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Position,
    Quote,
    Side,
    StopAction,
)
from engine.core.orders import client_order_id
from engine.core.risk.books import measure
from engine.core.safety import SafetyRules
from tests.core.rig import ACME, COIN, FREE, PLENTY, START, Rig

S = OrderState
EVERY = 300 * NANOS

HAND_MADE = Order(
    "",
    "",
    "ACME",
    Side.SELL,
    OrderType.LIMIT,
    Decimal(3),
    OrderPurpose.EXTERNAL,
    START,
    START,
    Decimal(120),
    limit_price=Decimal(120),
    venue_order_id="V-7",
)


class Broker:
    """A venue with books of its own: what it holds follows from its executions alone."""

    def __init__(self, **held: int) -> None:
        self.exchange = SimulatedExchange((ACME, COIN), FREE)
        self.fills: list[Fill] = []
        self.positions = {symbol: Decimal(quantity) for symbol, quantity in held.items()}
        self.cash: Decimal | None = None
        self.foreign: list[Order] = []

    def book(self, fill: Fill) -> Fill:
        self.fills.append(fill)
        held = self.positions.get(fill.symbol, Decimal(0))
        self.positions[fill.symbol] = held + fill.side.sign * fill.quantity
        return fill

    def statement(self, asked: RequestStatement) -> AccountStatement:
        foreign = [VenueOrder(order, S.ACCEPTED) for order in self.foreign]
        return AccountStatement(
            "paper",
            asked.asked_ts,
            (*self.exchange.open_orders(), *foreign),
            tuple(fill for fill in self.fills if fill.ts >= asked.since),
            {symbol: quantity for symbol, quantity in self.positions.items() if quantity},
            self.cash,
        )


class Bench(Rig):
    """A rig whose broker answers when it is asked for a statement."""

    def __init__(self, broker: Broker | None = None, *names: str, **config: Any) -> None:
        self.broker = broker or Broker()
        super().__init__(*names, exchange=self.broker.exchange, reconcile_every=EVERY, **config)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, RequestStatement):
            self._process(replace(self.broker.statement(effect), ts=self.now))
        else:
            super()._carry_out(effect)

    def deliver(self, report: ExecutionReport) -> None:
        if report.fill is not None:
            self.broker.book(report.fill)
        super().deliver(report)

    def fill_unheard(self, price: float) -> None:
        """The venue fills at `price`, and nobody tells the engine."""
        self.now += NANOS
        for report in self.exchange.on_quote(Quote("ACME", self.now, price, price, PLENTY, PLENTY)):
            if report.fill is not None:
                self.broker.book(report.fill)

    def compare(self) -> Reconciled:
        """The next statement's outcome."""
        self.tick(EVERY / NANOS)
        return self.facts(Reconciled)[-1]

    def reconnect(self) -> None:
        self.send(BrokerChanged("paper", False, "closed"))
        self.send(BrokerChanged("paper", True))

    @property
    def asked(self) -> list[RequestStatement]:
        return [effect for effect in self.effects if isinstance(effect, RequestStatement)]

    @property
    def reconciled(self) -> int:
        return len(self.facts(Reconciled))

    def paused(self) -> list[str]:
        return [fact.symbol for fact in self.facts(SymbolPaused)]

    def assert_same_books(self) -> None:
        """I8."""
        theirs = {o.order.client_order_id: o.order.filled for o in self.exchange.open_orders()}
        assert {o.client_order_id: o.filled for o in self.open} == theirs
        held: dict[str, Decimal] = {}
        for position in self.machine.state()["positions"]:
            held[position.symbol] = held.get(position.symbol, Decimal(0)) + position.quantity
        assert {s: q for s, q in held.items() if q} == {
            s: q for s, q in self.broker.positions.items() if q
        }


def kinds(fact: Reconciled) -> list[tuple[str, str, str, str]]:
    return [(d.kind, d.symbol, d.ours, d.theirs) for d in fact.differences]


# --- when ----------------------------------------------------------------------------------------


def test_no_order_leaves_before_the_books_were_compared() -> None:
    rig = Bench(None, "early", "late", void=[RequestStatement])
    rig.signal(Side.BUY, strategy="early")
    (blocked,) = rig.facts(SignalBlocked)
    assert (blocked.check, blocked.reason) == ("stop", "not reconciled with paper yet")
    rig.void.clear()
    rig.send(rig.broker.statement(rig.asked[-1]))
    rig.signal(Side.BUY, strategy="late")
    assert rig.count(SubmitOrder) == 1


def test_a_broker_without_a_statement_is_asked_again_and_not_traded_with() -> None:
    rig = Bench(None, "early", "late", started=False)
    rig.hold.add(RequestStatement)
    rig.reconnect()
    for pause in (5, 10, 20, 40, 40):
        rig.send(StatementFailed("paper", rig.asked[-1].asked_ts, "503"))
        before = len(rig.asked)
        rig.tick(pause - 1)
        assert len(rig.asked) == before
        rig.tick(1)
        assert len(rig.asked) == before + 1
    rig.start()
    rig.signal(Side.BUY, strategy="early")
    assert rig.count(SubmitOrder) == 0
    assert [fact.reason for fact in rig.facts(ReconcileFailed)] == ["503"]  # told once
    rig.release()
    rig.signal(Side.BUY, strategy="late")
    assert rig.count(SubmitOrder) == 1


def test_after_an_answer_the_next_that_fails_is_asked_for_again_soon() -> None:
    rig = Bench()
    for _ in range(2):
        rig.hold.add(RequestStatement)
        rig.reconnect()
        rig.send(StatementFailed("paper", rig.asked[-1].asked_ts, "503"))
        before = len(rig.asked)
        rig.tick(5)
        assert len(rig.asked) == before + 1
        rig.release()


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.reconnect()
    before = len(rig.asked)
    rig.tick(59)
    assert len(rig.asked) == before
    rig.tick(1)
    assert len(rig.asked) == before + 1


def test_the_books_are_compared_every_few_minutes_and_after_a_reconnect() -> None:
    rig = Bench()
    rig.tick(299)
    assert rig.reconciled == 1
    rig.tick(1)
    assert rig.reconciled == 2
    rig.reconnect()
    assert rig.reconciled == 3
    assert all(fact.differences == () for fact in rig.facts(Reconciled))


def test_a_fill_that_nobody_told_is_known_and_protected_before_the_engine_has_stopped() -> None:
    rig = Bench()
    order = rig.buy()
    rig.fill_unheard(100)
    rig.send(EngineStopping(StopAction.CANCEL_ENTRIES))
    assert rig.state_of(order) is S.FILLED
    assert rig.position().quantity == order.quantity
    assert rig.of(OrderPurpose.PROTECTIVE_STOP)
    rig.assert_same_books()


def test_where_the_broker_lists_an_order_otherwise_the_statement_is_due_at_once() -> None:
    rig = Bench()
    order = rig.buy()
    rig.fill_unheard(100)
    rig.send(StatementDue("paper"))
    rig.tick(1)
    assert rig.state_of(order) is S.FILLED
    assert rig.of(OrderPurpose.PROTECTIVE_STOP)
    rig.assert_same_books()


def test_a_fill_of_which_an_execution_is_missing_makes_the_statement_due_at_once() -> None:
    rig = Bench()
    order = rig.buy()
    rig.fill_unheard(100)
    rig.report(order, S.FILLED)
    assert rig.state_of(order) is S.IN_DOUBT
    rig.tick(1)
    assert rig.state_of(order) is S.FILLED
    rig.assert_same_books()


def test_after_a_rejected_order_the_account_is_read_anew() -> None:
    """What there is to buy with is not what it was when the last statement was asked for."""
    rig = Bench(None, "first", "second", instruments=(ACME, COIN))
    rig.hold.add(SubmitOrder)
    first = rig.buy(strategy="first")
    before = len(rig.asked)
    rig.report(first, S.REJECTED, reason="insufficient buying power")
    rig.tick(4)
    assert len(rig.asked) == before + 1
    second = rig.buy(strategy="second", symbol="COIN")
    rig.report(second, S.REJECTED, reason="insufficient buying power")
    rig.tick(0.5)
    assert len(rig.asked) == before + 1
    rig.tick(5)
    assert len(rig.asked) == before + 2


def test_a_statement_that_is_due_comes_after_the_one_under_way_and_not_amid_failures() -> None:
    rig = Bench(void=[RequestStatement])
    rig.send(StatementDue("paper"))
    rig.tick(5)
    (asked,) = rig.asked
    rig.void.clear()
    rig.send(replace(rig.broker.statement(asked), ts=rig.now))
    rig.tick(2)
    assert len(rig.asked) == 2, "the first was asked for before it was due"
    rig.tick(30)
    assert len(rig.asked) == 2
    rig.void.add(RequestStatement)
    rig.tick(300)
    for seconds in (5, 10, 20):
        failed = len(rig.asked)
        rig.send(StatementFailed("paper", rig.asked[-1].asked_ts, "closed"))
        rig.send(StatementDue("paper"))
        rig.tick(seconds - 1)
        assert len(rig.asked) == failed
        rig.tick(1)
        assert len(rig.asked) == failed + 1


def test_of_a_broker_that_is_away_or_unknown_no_statement_is_due() -> None:
    rig = Bench()
    rig.send(BrokerChanged("paper", False, "closed"))
    before = len(rig.asked)
    rig.send(StatementDue("paper"))
    rig.send(StatementDue("elsewhere"))
    rig.tick(10)
    assert len(rig.asked) == before


def test_a_broker_that_is_away_is_not_asked_when_the_engine_stops() -> None:
    rig = Bench()
    rig.send(BrokerChanged("paper", False, "closed"))
    before = len(rig.asked)
    rig.send(EngineStopping(StopAction.KEEP))
    assert len(rig.asked) == before


def test_protection_and_exits_wait_for_the_comparison_and_follow_it() -> None:
    rig = Bench()
    rig.hold_position()
    rig.hold.add(RequestStatement)
    rig.reconnect()
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.exchange.cancel(stop.client_order_id, rig.now)
    rig.report(stop, S.CANCELED)
    assert len(rig.of(OrderPurpose.PROTECTIVE_STOP)) == 1
    rig.release()
    assert rig.state_of(rig.last(OrderPurpose.PROTECTIVE_STOP)) is S.ACCEPTED
    assert len(rig.of(OrderPurpose.PROTECTIVE_STOP)) == 2


def test_a_broker_that_is_away_is_not_asked() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.tick(300)
    before = len(rig.asked)
    rig.send(BrokerChanged("paper", False, "closed"))
    rig.tick(400)
    assert len(rig.asked) == before


def test_an_answer_to_what_was_asked_before_a_reconnect_is_not_compared() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.tick(300)
    first = rig.broker.statement(rig.asked[-1])
    rig.tick()
    rig.reconnect()
    second = rig.broker.statement(rig.asked[-1])
    assert first.asked_ts < second.asked_ts
    before = rig.reconciled
    rig.send(StatementFailed("paper", first.asked_ts, "closed"))
    rig.send(StatementFailed("nobody", second.asked_ts, "closed"))
    rig.send(replace(first, positions={"ACME": Decimal(777)}))
    assert rig.reconciled == before
    assert rig.facts(ReconcileFailed) == []
    rig.send(second)
    assert rig.reconciled == before + 1
    assert rig.facts(Reconciled)[-1].differences == ()


def test_a_statement_that_brings_news_is_followed_by_another_before_it_is_compared() -> None:
    rig = Bench()
    rig.buy()
    rig.fill_unheard(100)
    before = len(rig.asked)
    rig.compare()
    assert len(rig.asked) == before + 2


def test_of_differences_that_are_never_the_same_the_third_is_believed() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.tick(300)
    before = rig.reconciled
    for off in (10, 20, 30):
        assert rig.reconciled == before
        rig.broker.cash = rig.cash - off
        rig.send(rig.broker.statement(rig.asked[-1]))
    assert rig.reconciled == before + 1
    assert kinds(rig.facts(Reconciled)[-1]) == [("cash", "", "100000", "99970")]


def test_a_venue_with_ever_more_news_is_asked_three_times_in_a_row_and_then_later() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.tick(300)
    before = len(rig.asked)
    for number in range(3):
        rig.broker.book(
            Fill(
                f"x-{number}", "hand", "ACME", Side.BUY, Decimal(1), Decimal(9), Decimal(0), rig.now
            )
        )
        rig.send(rig.broker.statement(rig.asked[-1]))
    assert len(rig.asked) == before + 2
    rig.tick()
    assert len(rig.asked) == before + 2
    rig.tick()
    assert len(rig.asked) == before + 3


# --- executions ----------------------------------------------------------------------------------


def test_an_execution_is_of_ours_by_the_venues_id_alone() -> None:
    rig = Bench()
    order = rig.buy()
    rig.report(order, S.ACCEPTED)
    rig.exchange.cancel(order.client_order_id, rig.now)
    rig.broker.book(
        Fill("x-1", "", "ACME", Side.BUY, order.quantity, Decimal(100), Decimal(0), rig.now,
             venue_order_id=rig.now_of(order).venue_order_id)
    )  # fmt: skip
    rig.compare()
    assert rig.state_of(order) is S.FILLED
    assert rig.facts(OrderAdopted) == []


def test_an_execution_of_ours_does_not_wait_for_an_answer_about_another() -> None:
    rig = Bench(None, "one", "two", void=[QueryOrder])
    entry = rig.buy(strategy="one", stop_price=50.0)
    rig.quote(100, size=20)
    rig.request_cancel(entry)
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.lost.add(SubmitOrder)
    other = rig.buy(strategy="two", stop_price=50.0)
    rig.tick(5)
    assert rig.state_of(other) is S.IN_DOUBT
    rig.broker.book(
        Fill("x-1", stop.client_order_id, "ACME", Side.SELL, Decimal(5), Decimal(50), Decimal(0),
             rig.now)
    )  # fmt: skip
    rig.compare()
    assert rig.now_of(stop).filled == 5


@pytest.mark.parametrize(("quantity", "symbol"), [(-1, "ACME"), (5, "OTHER")])
def test_an_execution_that_cannot_be_taken_in_is_news_once_at_most(
    quantity: int, symbol: str
) -> None:
    rig = Bench()
    fill = Fill("x-1", "h", symbol, Side.BUY, Decimal(quantity), Decimal(9), Decimal(0), rig.now)
    rig.broker.fills.append(fill)
    known = symbol == "ACME"
    rig.compare()
    rig.compare()
    assert len(rig.facts(FillQuarantined)) == known
    assert len(rig.asked) == 3 + known
    assert rig.reconciled == 3


def test_an_execution_that_was_refused_is_taken_in_once_its_order_is_known_to_have_grown() -> None:
    """As after a death before a replace was durable: the order's quantity is the former one."""
    rig = Bench(void=[CancelOrder, QueryOrder])
    order = rig.buy()
    rig.report(order, S.ACCEPTED)
    larger = order.quantity + 10
    rig.broker.book(replace(part_of(order, "x-1"), quantity=larger))
    rig.compare()
    assert len(rig.facts(FillQuarantined)) == 1
    assert not rig.position().quantity
    rig.report(order, S.ACCEPTED, terms=replace(order.terms, quantity=larger))
    rig.compare()
    assert rig.state_of(order) is S.FILLED
    assert rig.position().quantity == larger
    assert len(rig.facts(FillQuarantined)) == 1


def test_an_execution_that_nobody_told_is_applied_once_by_whatever_way_it_comes() -> None:
    rig = Bench()
    order = rig.buy()
    rig.fill_unheard(100)
    assert not rig.position().quantity
    assert rig.compare().differences == ()
    assert rig.state_of(order) is S.FILLED
    assert rig.position().quantity == order.quantity
    (fill,) = rig.broker.fills
    rig.report(order, S.FILLED, fill=fill)
    rig.compare()
    assert len(rig.facts(PositionChanged)) == 1
    assert rig.of(OrderPurpose.PROTECTIVE_STOP)
    rig.assert_same_books()
    assert rig.paused() == []


@pytest.mark.parametrize("ours", [True, False])
def test_an_execution_that_a_statement_lists_twice_is_applied_once(ours: bool) -> None:
    rig = Bench()
    fill = part_of(rig.buy(), "x1")
    rig.broker.book(fill if ours else replace(fill, client_order_id="theirs"))
    rig.broker.fills *= 2
    rig.compare()
    assert rig.position("puppet" if ours else EXTERNAL).quantity == 10
    assert len(rig.facts(PositionChanged)) == 1
    assert rig.paused() == []


def test_a_stop_that_filled_in_parts_unheard_is_never_asked_to_close_more_than_is_held() -> None:
    rig = Bench()
    held = rig.hold_position().quantity
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    for name in ("x1", "x2", "x3"):
        rig.broker.book(part_of(stop, name))
    rig.compare()
    assert rig.position().quantity == held - 30
    assert rig.now_of(stop).leaves == held - 30
    assert rig.count(ReplaceOrder) == 0
    assert rig.of(OrderPurpose.PROTECTIVE_STOP) == [rig.now_of(stop)]


def test_what_was_bought_and_what_a_hand_sold_unheard_are_protected_together() -> None:
    rig = Bench()
    entry = rig.buy()
    rig.deliver(
        ExecutionReport(entry.client_order_id, S.PARTIALLY_FILLED, fill=part_of(entry, "x1"))
    )
    assert [(o.purpose, o.leaves) for o in rig.open[1:]] == [(OrderPurpose.PROTECTIVE_STOP, 10)]
    rig.broker.book(part_of(entry, "x2"))
    sold = replace(part_of(entry, "x3"), client_order_id="theirs", side=Side.SELL)
    rig.broker.book(sold)
    rig.compare()
    assert (rig.position().quantity, rig.position(EXTERNAL).quantity) == (20, -10)
    assert rig.count(ReplaceOrder) == 0


def part_of(order: Order, execution_id: str) -> Fill:
    """An execution of a part of `order`."""
    return Fill(
        execution_id,
        order.client_order_id,
        order.symbol,
        order.side,
        Decimal(10),
        Decimal(100),
        Decimal(0),
        order.updated_ts + NANOS,
    )


def test_an_execution_that_is_not_ours_counts_and_is_nobodys() -> None:
    rig = Bench()
    rig.hold_position()
    rig.broker.book(
        Fill("x-9", "hand-1", "ACME", Side.BUY, Decimal(5), Decimal(99), Decimal(0), rig.now)
    )
    assert rig.compare().differences == ()
    assert rig.position(EXTERNAL).quantity == 5
    assert rig.facts(OrderAdopted)[-1].order.client_order_id == "hand-1"
    rig.assert_same_books()


def test_an_order_that_is_not_ours_and_was_known_by_an_execution_is_for_more_than_that() -> None:
    """A hand-made order is left alone, and never cancelled for what we did not know of it."""
    rig = Bench()
    part = Fill(
        "x-9", "", "ACME", Side.SELL, Decimal(1), Decimal(120), Decimal(0), rig.now,
        venue_order_id="V-7",
    )  # fmt: skip
    rig.send(ExecutionReport("", S.PARTIALLY_FILLED, "V-7", rig.broker.book(part)))
    (known,) = rig.facts(OrderFilled)
    assert known.order.quantity == 1
    rig.broker.foreign = [replace(HAND_MADE, filled=Decimal(1))]
    assert "not ours, and open at paper: sell 3 ACME at 120" in rig.compare().differences[0].what
    (order,) = rig.machine.orders.open.values()
    assert (order.quantity, order.filled, order.state) == (3, 1, S.PARTIALLY_FILLED)
    assert rig.compare().differences == ()
    assert rig.count(CancelOrder) == 0
    rest = replace(part, execution_id="x-10", quantity=Decimal(2))
    rig.send(ExecutionReport("", S.FILLED, "V-7", rig.broker.book(rest)))
    assert rig.position(EXTERNAL).quantity == -3
    assert not rig.machine.orders.open


def test_an_old_statement_is_not_compared_but_its_executions_count() -> None:
    rig = Bench()
    rig.buy()
    old = rig.broker.statement(rig.asked[-1])
    rig.fill_unheard(100)
    late = rig.broker.statement(RequestStatement("paper", old.asked_ts, 0))
    rig.send(replace(late, positions={"ACME": Decimal(777)}))
    assert rig.position().quantity == rig.last(OrderPurpose.ENTRY).quantity
    assert rig.reconciled == 1


def test_executions_are_asked_for_from_before_the_last_comparison() -> None:
    rig = Bench()
    assert rig.asked[0].since == START - 24 * 3600 * NANOS
    rig.compare()
    assert rig.asked[-1].since == rig.asked[0].asked_ts - 600 * NANOS


# --- orders --------------------------------------------------------------------------------------


def test_an_order_that_is_not_ours_is_adopted_and_its_symbol_paused() -> None:
    rig = Bench()
    rig.broker.foreign.append(HAND_MADE)
    fact = rig.compare()
    assert kinds(fact) == [("order", "ACME", "", "sell 3 ACME at 120")]
    (adopted,) = rig.facts(OrderAdopted)
    assert (adopted.order.venue_order_id, adopted.order.leaves) == ("V-7", 3)
    assert adopted.order.client_order_id.startswith("tb-"), "it has a name of ours"
    assert rig.paused() == ["ACME"]
    assert rig.compare().differences == ()
    assert len(rig.facts(OrderAdopted)) == 1


def test_what_somebody_made_at_the_market_counts_at_the_last_price() -> None:
    rig = Bench()
    at_market = {"type": OrderType.MARKET, "limit_price": None, "reference_price": Decimal(0)}
    rig.broker.foreign.append(replace(HAND_MADE, **at_market))
    rig.compare()
    assert measure(rig.machine.portfolio, rig.open).held["ACME"] is None, "nobody knows"
    rig.quote(100)
    assert measure(rig.machine.portfolio, rig.open).entries == {"ACME": Decimal(300)}


@pytest.mark.parametrize(("filled", "state"), [(0, S.ACCEPTED), (1, S.PARTIALLY_FILLED)])
def test_it_is_adopted_as_far_as_it_is_filled(filled: int, state: OrderState) -> None:
    rig = Bench(Broker(ACME=filled), audited=False)  # the laws know no execution of it
    rig.broker.foreign.append(replace(HAND_MADE, filled=Decimal(filled)))
    rig.compare()
    assert [fact.order.state for fact in rig.facts(OrderAdopted)] == [state]


def test_an_order_of_ours_is_known_by_the_venues_id_alone() -> None:
    rig = Bench()
    rig.hold_position()
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.report(stop, S.ACCEPTED)
    rig.exchange.cancel(stop.client_order_id, rig.now)
    rig.broker.foreign.append(replace(rig.now_of(stop), client_order_id=""))
    assert rig.compare().differences == ()


def test_an_order_without_any_id_is_none_of_ours() -> None:
    rig = Bench(instruments=(ACME, COIN))
    rig.hold.add(SubmitOrder)
    assert rig.buy(symbol="COIN").venue_order_id == ""
    rig.broker.foreign.append(replace(HAND_MADE, venue_order_id=""))
    assert [kind for kind, *_ in kinds(rig.compare())] == ["order"]
    assert len(rig.facts(OrderAdopted)) == 1


def test_a_broker_is_not_asked_of_what_is_at_another() -> None:
    rig = Bench(
        instruments=(ACME, replace(COIN, venue="kraken")), void=[RequestStatement], started=False
    )
    for asked in rig.asked:
        rig.send(AccountStatement(asked.broker, asked.asked_ts, (), (), {}))
    rig.start()
    rig.hold_position(50, symbol="COIN")
    for _ in range(2):
        rig.tick(300)
        paper = next(asked for asked in reversed(rig.asked) if asked.broker == "paper")
        cash = Decimal(100_000)  # what was paid at the other is not missing here
        rig.send(AccountStatement("paper", paper.asked_ts, (), (), {}, cash))
    assert [(f.broker, f.differences) for f in rig.facts(Reconciled)] == [
        ("paper", ()),
        ("kraken", ()),
        ("paper", ()),
        ("paper", ()),
    ]


def test_an_order_of_a_symbol_that_is_not_known_is_told_and_not_adopted() -> None:
    rig = Bench()
    rig.broker.foreign.append(replace(HAND_MADE, symbol="\x1b[31mEVIL"))
    fact = rig.compare()
    (difference,) = fact.differences
    assert difference.theirs.endswith("EVIL at 120")
    assert "\x1b" not in difference.symbol + difference.theirs + difference.what
    assert rig.facts(OrderAdopted) == []
    assert rig.paused() == []


def test_one_statement_alone_adopts_nothing() -> None:
    rig = Bench()
    rig.hold.add(RequestStatement)
    rig.tick(300)
    asked = rig.asked[-1]
    rig.broker.foreign.append(HAND_MADE)
    rig.send(rig.broker.statement(asked))
    rig.broker.foreign.clear()
    rig.release()
    assert rig.facts(Reconciled)[-1].differences == ()
    assert rig.facts(OrderAdopted) == []


def test_an_order_that_ended_unheard_is_asked_about_and_ends_here() -> None:
    rig = Bench()
    rig.hold_position()
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.exchange.cancel(stop.client_order_id, rig.now)
    fact = rig.compare()
    assert kinds(fact) == [("order", "ACME", "accepted", "")]
    assert rig.state_of(stop) is S.CANCELED
    assert rig.paused() == []
    assert rig.state_of(rig.last(OrderPurpose.PROTECTIVE_STOP)) is S.ACCEPTED
    rig.assert_same_books()


def test_an_order_that_ended_here_and_works_there_is_cancelled_there() -> None:
    rig = Bench(void=[CancelOrder])
    order = rig.buy()
    rig.request_cancel(order)
    rig.report(order, S.CANCELED)
    rig.void.clear()
    assert kinds(rig.compare()) == [("order", "ACME", "canceled", "open")]
    assert rig.exchange.open_orders() == []
    assert rig.paused() == ["ACME"]
    rig.assert_same_books()


def test_an_order_that_was_given_up_and_works_there_is_taken_on_and_cancelled() -> None:
    rig = Bench(void=[QueryOrder])
    rig.lost.add(SubmitOrder)
    order = rig.buy()
    rig.tick(5)
    rig.tick(40)
    rig.send(OrderNotFound(order.client_order_id))
    assert rig.state_of(order) is S.ABANDONED
    rig.void.add(CancelOrder)
    rig.compare()
    assert rig.state_of(order) is S.PENDING_CANCEL, "its cancel is asked for until it is confirmed"
    rig.void.clear()
    rig.tick()
    assert rig.state_of(order) is S.CANCELED
    assert rig.exchange.open_orders() == []


def test_more_that_is_filled_without_an_execution_is_asked_about() -> None:
    rig = Bench()
    order = rig.buy()
    rig.exchange.cancel(order.client_order_id, rig.now)
    rig.broker.foreign.append(replace(rig.now_of(order), filled=Decimal(9)))
    before = rig.count(QueryOrder)
    (difference,) = rig.compare().differences
    assert (difference.kind, difference.ours, difference.theirs) == ("fill", "0", "9")
    assert rig.count(QueryOrder) == before + 1
    assert rig.paused() == ["ACME"]


def test_terms_that_were_changed_by_hand_are_asked_about() -> None:
    rig = Bench()
    rig.hold_position()
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.exchange.replace(stop.client_order_id, replace(stop.terms, stop_price=Decimal(90)), rig.now)
    (difference,) = rig.compare().differences
    assert (difference.kind, difference.theirs) == ("order", f"sell {stop.quantity} ACME at 90")
    assert rig.now_of(stop).stop_price == 90
    assert rig.paused() == ["ACME"]


def test_where_a_trailing_stop_has_got_to_is_no_difference() -> None:
    rig = Bench()
    can = replace(CAPABILITIES, order_types=ORDER_TYPES)
    rig.send(BrokerChanged("paper", True, capabilities=can))
    rig.hold_position(trail=2)
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    assert stop.type is OrderType.TRAILING_STOP
    rig.exchange.cancel(stop.client_order_id, rig.now)
    rig.broker.foreign.append(replace(rig.now_of(stop), stop_price=Decimal("99.5")))
    assert rig.compare().differences == ()
    rig.broker.foreign[-1] = replace(rig.broker.foreign[-1], quantity=Decimal(1))
    (difference,) = rig.compare().differences
    assert difference.kind == "order"


# --- positions and cash --------------------------------------------------------------------------


def test_a_split_is_told_pauses_the_symbol_once_and_is_no_trade() -> None:
    rig = Bench()
    held = rig.hold_position().quantity
    rig.broker.positions["ACME"] = 2 * held
    before = len(rig.facts(PositionChanged))
    assert kinds(rig.compare()) == [("position", "ACME", str(held), str(2 * held))]
    assert rig.paused() == ["ACME"]
    assert kinds(rig.compare()) == [("position", "ACME", str(held), str(2 * held))]
    rig.send(ResumeSymbol(symbol="ACME", author="me"))
    rig.compare()
    assert rig.paused() == ["ACME"]  # known: a person who resumed it is not asked again
    rig.broker.positions["ACME"] = 3 * held
    rig.compare()
    assert rig.paused() == ["ACME", "ACME"]
    assert rig.position().quantity == held
    assert len(rig.facts(PositionChanged)) == before


def test_what_the_account_has_not_is_not_sold_until_it_has_it_again() -> None:
    rig = Bench()
    held = rig.hold_position().quantity
    stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
    rig.broker.positions["ACME"] = Decimal(0)  # its shares go by another name
    rig.compare()
    rig.signal(Side.SELL)
    assert rig.of(OrderPurpose.EXIT) == []
    assert rig.open == [stop]  # the statement may be wrong
    rig.broker.positions["ACME"] = held
    rig.compare()
    assert [order.quantity for order in rig.of(OrderPurpose.EXIT)] == [held]


def test_of_what_the_account_has_less_than_the_books_no_more_is_sold() -> None:
    rig = Bench()
    held = rig.hold_position().quantity
    rig.broker.positions["ACME"] = held - 9
    rig.compare()
    assert [order.leaves for order in rig.open] == [held - 9]
    rig.signal(Side.SELL)
    rig.quote(99)
    assert [order.filled for order in rig.of(OrderPurpose.EXIT)] == [held - 9]
    assert rig.open == []
    assert rig.broker.positions["ACME"] == 0


def test_a_position_of_a_symbol_that_is_not_known_is_told() -> None:
    rig = Bench(Broker(OTHER=7))
    assert kinds(rig.facts(Reconciled)[-1]) == [("position", "OTHER", "0", "7")]
    assert rig.paused() == []


def test_cash_that_differs_by_more_than_a_cent_is_told_and_pauses_nothing() -> None:
    rig = Bench()
    rig.broker.cash = rig.cash + Decimal("0.01")
    assert rig.compare().differences == ()
    rig.broker.cash = rig.cash - 25
    assert kinds(rig.compare()) == [("cash", "", "100000", "99975")]
    assert rig.paused() == []


# --- cash that moved without a trade -------------------------------------------------------------


def adjust(rig: Bench, amount: object, word: str = "ADJUST", broker: str = "paper") -> list[str]:
    """Why it was refused, each time that one was."""
    command = AdjustCash(
        broker=broker, amount=Decimal(str(amount)), word=word, author="me\x9b", ts=rig.now
    )
    rig.send(command)
    return [fact.reason for fact in rig.facts(CommandRefused)]


def moved_cash(amount: int, **config: Any) -> Bench:
    """A rig that holds a position at a loss, and is told of another cash."""
    rig = Bench(**config)
    rig.hold_position(100)
    rig.quote(99)
    rig.broker.cash = rig.cash + amount
    rig.tick(EVERY / NANOS)
    return rig


@pytest.mark.parametrize("amount", [-500, 20_000])
def test_cash_that_moved_is_taken_over_and_is_neither_gain_nor_loss(amount: int) -> None:
    rig = moved_cash(amount)
    risk, portfolio = rig.machine.risk, rig.machine.portfolio
    day, peak, equity = risk.day_equity, risk.peak_equity, portfolio.equity()
    assert day is not None
    assert equity is not None
    lost = risk.watch.losses(equity)[0].used
    assert lost == 49
    assert kinds(rig.facts(Reconciled)[-1])[0][0] == "cash"
    assert adjust(rig, amount) == []
    (fact,) = rig.facts(CashAdjusted)
    assert (fact.adjustment.venue, fact.adjustment.amount) == ("paper", amount)
    assert (fact.cash, fact.worth, fact.author) == (rig.broker.cash, amount, "me ")
    assert rig.cash == rig.broker.cash
    assert portfolio.equity() == equity + amount
    assert portfolio.equity_estimate == pytest.approx(float(equity + amount))
    assert (risk.day_equity, risk.peak_equity) == (day + amount, peak + amount)
    assert risk.watch.losses(equity + amount)[0].used == lost
    assert not rig.killed
    assert rig.facts(Reconciled)[-1].differences == ()
    assert rig.machine.reconciler.cash_difference("paper") is None
    after = Bench(rig.broker, restored=rig.durable())
    assert after.cash == rig.broker.cash
    assert (after.machine.risk.day_equity, after.machine.risk.peak_equity) == (
        day + amount,
        peak + amount,
    )
    assert after.compare().differences == ()


def test_losses_are_watched_from_the_new_equity_on() -> None:
    rig = moved_cash(-50_000)
    before = rig.machine.risk.watch.losses(rig.machine.portfolio.equity())
    adjust(rig, -50_000)
    after = rig.machine.risk.watch.losses(rig.machine.portfolio.equity())
    assert after[0].used == before[0].used == 49
    share = Decimal(49) / Decimal(repr(rig.machine.risk.day_equity)) * 100
    assert after[1].used == share


@pytest.mark.parametrize(
    ("amount", "word", "broker", "reason"),
    [
        ("-25", "adjust", "paper", "type ADJUST to adjust cash"),
        ("-24", "ADJUST", "paper", "the difference in cash at paper is -25 now"),
        ("25", "ADJUST", "paper", "the difference in cash at paper is -25 now"),
        ("-25", "ADJUST", "other", "no difference in cash at other is known"),
        ("NaN", "ADJUST", "paper", "the difference in cash at paper is -25 now"),
    ],
)
def test_cash_is_taken_over_as_it_was_seen_alone(
    amount: str, word: str, broker: str, reason: str
) -> None:
    rig = moved_cash(-25)
    cash = rig.cash
    assert adjust(rig, amount, word, broker) == [reason]
    assert rig.facts(CashAdjusted) == []
    assert rig.cash == cash


def test_what_agrees_or_was_taken_over_cannot_be_again() -> None:
    rig = moved_cash(0)
    assert adjust(rig, 5) == ["no difference in cash at paper is known"]
    rig = moved_cash(-25)
    rig.void = {RequestStatement}
    assert adjust(rig, -25) == []
    assert adjust(rig, -25) == ["no difference in cash at paper is known"]
    assert len(rig.facts(CashAdjusted)) == 1


def test_cash_of_a_broker_that_is_away_is_not_taken_over() -> None:
    rig = moved_cash(-25)
    rig.send(BrokerChanged("paper", False, "closed"))
    assert adjust(rig, -25) == ["not reconciled with paper yet"]


def test_a_difference_that_changed_since_it_was_seen_is_not_taken_over() -> None:
    rig = moved_cash(-25)
    rig.broker.cash = rig.cash - 40
    rig.tick(EVERY / NANOS)
    assert adjust(rig, -25) == ["the difference in cash at paper is -40 now"]
    assert adjust(rig, -40)[1:] == []


def test_cash_is_not_compared_while_an_order_moves() -> None:
    rig = Bench(void=[QueryOrder])
    rig.lost.add(SubmitOrder)
    order = rig.buy()
    rig.tick(5)
    rig.exchange.cancel(order.client_order_id, rig.now)
    rig.broker.foreign.append(replace(order, client_order_id="", venue_order_id="V-1"))
    rig.broker.cash = rig.cash - 4_900
    assert rig.compare().differences == ()


@pytest.mark.parametrize("what", ["cash", "position"])
def test_a_difference_that_stays_while_both_sides_move_is_the_same(what: str) -> None:
    rig = Bench()
    rig.buy()
    rig.broker.positions["ACME"] = Decimal(5 if what == "position" else 0)
    off = Decimal(-25 if what == "cash" else 0)
    rig.tick(295)
    rig.hold.add(RequestStatement)
    rig.tick(5)
    before = rig.reconciled
    for filled in (False, True):
        if filled:
            rig.quote(100)
            rig.tick(60)
        asked = rig.asked[-1]
        rig.broker.cash = rig.cash + off
        rig.send(rig.broker.statement(asked))
    assert rig.reconciled == before + 1, "two that say the same are believed"
    assert [kind for kind, *_ in kinds(rig.facts(Reconciled)[-1])] == [what]


# --- races ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["fill", "submit", "cancel", "stop"])
def test_what_happens_while_a_statement_is_on_its_way_is_no_difference(what: str) -> None:
    rig = Bench()
    order = rig.buy()
    if what == "stop":
        rig.quote(100)
    rig.hold.add(RequestStatement)
    rig.tick(300)
    answer = rig.broker.statement(rig.asked[-1])
    match what:
        case "fill" | "stop":
            rig.quote(100 if what == "fill" else 90)
        case "submit":
            rig.request_cancel(order)
            rig.tick()
            rig.buy(101)
        case _:
            rig.request_cancel(order)
    rig.send(answer)
    rig.release()
    rig.tick(5)
    assert [fact.differences for fact in rig.facts(Reconciled)] == [()] * rig.reconciled
    assert rig.reconciled > 1
    assert rig.paused() == []
    rig.assert_same_books()


@pytest.mark.parametrize("what", ["fill", "cancel", "submit"])
def test_a_busy_account_that_moves_under_every_statement_is_no_difference(what: str) -> None:
    """Something else moves each time, so even what is believed after three looks has to leave it
    out."""
    names = ("a", "b", "c")
    rig = Bench(None, *names)
    rig.tick(295)
    rig.hold.add(RequestStatement)
    for number, name in enumerate(names):
        order = None if what == "submit" else rig.buy(strategy=name)
        rig.tick(5)
        answer = rig.broker.statement(rig.asked[-1])
        rig.tick()
        if order is None:
            rig.buy(100 - number, strategy=name)
        elif what == "fill":
            rig.quote(100)
        else:
            rig.request_cancel(order)
        rig.send(answer)
    assert rig.reconciled > 1
    assert [fact.differences for fact in rig.facts(Reconciled)] == [()] * rig.reconciled
    assert rig.paused() == []


def lagging(rig: Bench, seconds: int) -> None:
    """The venue's positions are as old as that."""
    able = replace(CAPABILITIES, visibility_lag=seconds * NANOS)
    rig.send(BrokerChanged("paper", True, capabilities=able))


@pytest.mark.parametrize(("after", "told"), [(29, []), (30, ["position"])])
def test_a_position_that_may_not_show_yet_is_no_difference(after: int, told: list[str]) -> None:
    rig = Bench()
    lagging(rig, 30)
    rig.buy()
    rig.hold.add(RequestStatement)
    rig.tick(298 - after)
    rig.quote(100)
    rig.tick(after)
    for _ in range(3):
        rig.send(replace(rig.broker.statement(rig.asked[-1]), positions={}))
    assert [kind for kind, *_ in kinds(rig.facts(Reconciled)[-1])] == told


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_fee_that_becomes_known_beside_a_statement_is_no_difference(when: str) -> None:
    """Which has what is held after it; the correction comes in before it, or before the next."""
    rig = Bench()
    rig.hold_position(100)
    (fill,) = rig.broker.fills
    rig.broker.positions["ACME"] -= 2
    rig.now += 10 * NANOS
    taxed = replace(fill, execution_id="with-fee", commission_quantity=Decimal(2))
    correction = TradeBusted(fill.execution_id, "ACME", taxed, "its fee became known")
    if when == "before":
        rig.send(correction)
        assert rig.compare().differences == ()
        assert rig.paused() == []
        return
    rig.void = {RequestStatement}
    rig.tick(EVERY / NANOS)
    for _ in range(2):
        rig.send(rig.broker.statement(rig.asked[-1]))
        rig.send(correction)
    assert rig.facts(Reconciled)[-1].differences == ()
    assert rig.paused() == []


def test_an_execution_that_the_venues_clock_dates_back_is_no_difference() -> None:
    """It is told after the statement was made, with a time before it was asked for."""
    names = ("a", "b", "c")
    rig = Bench(None, *names)
    rig.hold.add(RequestStatement)
    rig.tick(300)
    for name in names:
        order = rig.buy(strategy=name, stop_price=50.0)
        answer = replace(rig.broker.statement(rig.asked[-1]), orders=())
        rig.exchange.cancel(order.client_order_id, rig.now)
        fill = Fill(name, order.client_order_id, "ACME", Side.BUY, order.quantity, Decimal(100),
                    Decimal(0), rig.now - 60 * NANOS)  # fmt: skip
        rig.report(order, S.FILLED, fill=rig.broker.book(fill))
        rig.send(answer)
    assert rig.reconciled > 1
    assert [fact.differences for fact in rig.facts(Reconciled)] == [()] * rig.reconciled


@pytest.mark.parametrize("what", ["ended", "new", "nothing"])
def test_what_is_left_out_is_looked_at_again_soon(what: str) -> None:
    rig = Bench()
    order = rig.buy() if what == "ended" else None
    rig.tick(295)
    rig.hold.add(RequestStatement)
    rig.tick(5)
    answer = rig.broker.statement(rig.asked[-1])
    rig.tick()
    if order is not None:
        rig.request_cancel(order)
    elif what == "new":
        rig.buy()
    before = len(rig.asked)
    rig.send(answer)
    assert rig.facts(Reconciled)[-1].differences == ()
    rig.tick(2)
    assert len(rig.asked) == before + (what != "nothing")


@pytest.mark.parametrize("held", [SubmitOrder, CancelOrder, ReplaceOrder])
def test_requests_that_are_under_way_are_no_difference(held: type[Effect]) -> None:
    rig = Bench()
    if held is CancelOrder:
        order = rig.buy()
        rig.hold.add(held)
        rig.request_cancel(order)
    elif held is ReplaceOrder:
        rig.hold_position()
        stop = rig.last(OrderPurpose.PROTECTIVE_STOP)
        rig.lost.add(held)  # the venue has it
        terms = replace(stop.terms, stop_price=Decimal(90))
        rig.send(RequestReplace(client_order_id=stop.client_order_id, terms=terms))
        rig.void.add(QueryOrder)
    else:
        rig.hold.add(held)
        rig.buy()
    rig.compare()
    rig.void.clear()
    rig.release()
    rig.tick(5)
    assert [fact.differences for fact in rig.facts(Reconciled)] == [()] * rig.reconciled
    rig.assert_same_books()


def test_an_order_without_an_answer_is_not_taken_for_somebody_elses() -> None:
    """The venue lists it without the client order id that it was sent with."""
    rig = Bench(void=[QueryOrder])
    rig.lost.add(SubmitOrder)
    order = rig.buy()
    rig.tick(5)
    assert rig.state_of(order) is S.IN_DOUBT
    nameless = replace(order, client_order_id="", venue_order_id="V-1")
    rig.exchange.cancel(order.client_order_id, rig.now)
    rig.broker.foreign.append(nameless)
    rig.compare()
    assert rig.facts(OrderAdopted) == []


def test_an_execution_without_a_known_order_waits_while_one_of_ours_has_no_answer() -> None:
    """It may be that order's, told without the id that it was sent with; so may be the position."""
    rig = Bench(void=[QueryOrder])
    rig.lost.add(SubmitOrder)
    order = rig.buy()
    rig.exchange.cancel(order.client_order_id, rig.now)
    rig.tick(5)
    rig.broker.book(
        Fill("x-1", "hand-9", "ACME", Side.BUY, order.quantity, Decimal(100), Decimal(0), rig.now)
    )
    assert rig.compare().differences == ()
    assert rig.facts(OrderAdopted) == []
    assert rig.position(EXTERNAL).quantity == 0
    rig.report(order, S.CANCELED)
    rig.tick(5)
    assert rig.position(EXTERNAL).quantity == order.quantity


def test_the_id_of_a_venue_is_of_one_symbol_alone() -> None:
    """Binance counts the orders of each symbol by itself: an order, and an execution, of another
    one with the same number are not ours."""
    # The laws know orders by our id alone.
    rig = Bench(instruments=(ACME, COIN), audited=False)
    order = rig.buy()
    number = rig.now_of(order).venue_order_id
    assert number
    coin = Fill("x-1", "", "COIN", Side.BUY, Decimal(1), Decimal(100), Decimal(0), rig.now)
    rig.broker.book(replace(coin, venue_order_id=number))
    rig.broker.foreign = [replace(HAND_MADE, symbol="COIN", venue_order_id=number)]
    rig.tick(5)
    rig.compare()
    rig.tick(5)
    adopted = [fact.order for fact in rig.facts(OrderAdopted)]
    assert {one.symbol for one in adopted} == {"COIN"}
    assert rig.now_of(order).filled == 0
    assert rig.position(EXTERNAL, "COIN").quantity == 1


# --- a restart -----------------------------------------------------------------------------------

ENTRY = replace(
    HAND_MADE,
    client_order_id="tb-entry",
    strategy="puppet",
    side=Side.BUY,
    purpose=OrderPurpose.ENTRY,
    quantity=Decimal(10),
    limit_price=Decimal(95),
    reference_price=Decimal(95),
    stop_loss=Decimal(90),
    venue_order_id="",
)
BEFORE = [S.INTENDED, S.SUBMITTED, S.IN_DOUBT, S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL]
MEANWHILE = ["nothing", "filled", "part filled", "canceled", "never had it"]


@pytest.mark.parametrize(("state", "meanwhile"), product(BEFORE, MEANWHILE))
def test_a_restart_agrees_with_the_broker_before_the_first_signal(
    state: OrderState, meanwhile: str
) -> None:
    """F76: whatever the order was, and whatever became of it while no engine ran."""
    filled = Decimal(4 if state is S.PARTIALLY_FILLED else 0)
    order = replace(ENTRY, state=state, filled=filled, avg_price=Decimal(95) if filled else None)
    broker = Broker(ACME=int(filled))
    if meanwhile != "never had it":
        broker.exchange.restore([order], START - 60 * NANOS)
    size = {"filled": PLENTY, "part filled": 3}.get(meanwhile, 0)
    quote = Quote("ACME", START - 30 * NANOS, 94, 94, size, size)
    for report in broker.exchange.on_quote(quote):
        assert report.fill is not None
        broker.book(report.fill)
    if meanwhile == "canceled":
        broker.exchange.cancel(order.client_order_id, START - 30 * NANOS)
    restored = Restored(
        {"paper": Decimal(100_000) - filled * 95},
        orders=(order,),
        positions=(Position("puppet", "ACME", filled, cost=filled * 95),) if filled else (),
        ts=START - 60 * NANOS,
    )
    rig = Bench(broker, restored=restored, started=False)
    assert rig.facts(SignalBlocked) == []
    for _ in range(40):  # past the visibility lag, where the venue never had it
        rig.tick()
    rig.compare()
    rig.assert_same_books()
    assert rig.count(SubmitOrder) == 0
    assert rig.paused() == []


# --- a database that is an older copy ------------------------------------------------------------

OURS = client_order_id("puppet", "ACME", "buy", 1)


def older_copy(**config: Any) -> Bench:
    """F72: the broker has an open order and an execution of ours, the database neither."""
    broker = Broker()
    broker.foreign = [replace(HAND_MADE, client_order_id=OURS)]
    other = client_order_id("puppet", "ACME", "buy", 2)
    fill = Fill("x-9", other, "ACME", Side.BUY, Decimal(2), Decimal(100), Decimal(0), START - 1)
    broker.book(replace(fill, venue_order_id="V-9"))
    return Bench(broker, **config)


def unknown(rig: Bench) -> list[str]:
    return [fact.text for fact in rig.facts(AlertRaised) if fact.name == "unknown-orders"]


def test_orders_made_here_that_the_database_lacks_wait_for_a_person_in_live_mode() -> None:
    rig = older_copy(mode=Mode.LIVE, safety=SafetyRules(allow_live=True))
    execution, order = unknown(rig)
    assert "filled at paper, is not in this database" in execution
    what = f"open at paper: sell 3 ACME at 120 ({OURS})"
    assert order == f"made here, and not in this database, and {what}"
    assert rig.machine.safety.alerts.objection.endswith("acknowledged: unknown-orders")


def test_on_paper_they_are_told_and_entries_of_other_symbols_go() -> None:
    rig = older_copy(instruments=(ACME, COIN))
    assert len(unknown(rig)) == 2
    rig.quote(100)
    rig.signal(Side.BUY, symbol="COIN")
    assert rig.count(SubmitOrder) == 1


def test_only_the_first_statement_of_a_session_raises_an_alert_of_what_differs() -> None:
    rig = Bench(Broker(ACME=5))
    assert [fact.name for fact in rig.facts(AlertRaised)] == ["reconciliation-paper"]
    rig = Bench()
    rig.broker.positions["ACME"] = Decimal(5)
    assert rig.compare().differences
    assert rig.facts(AlertRaised) == []
