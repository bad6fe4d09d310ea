"""The policy style: it sees its own book and its markets, and its orders go the way of signals."""

from collections.abc import Iterable
from decimal import Decimal
from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import (
    LawBroken,
    OrderSized,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StrategyFailed,
    StrategyState,
)
from engine.core.model import Book, Order, OrderPurpose, Side, SizingMethod
from engine.core.risk import RiskLimits
from engine.core.sizing import Sizing, SizingRules
from engine.styles.policy import DecisionContext, Policy, PolicyOrder
from tests.core.rig import ACME, BOUNDED, COIN, Rig

CASH = Decimal(100_000)
BUY = PolicyOrder("ACME", Side.BUY)
SELL = PolicyOrder("ACME", Side.SELL)

Decision = tuple[Book, Any, DecisionContext]


def deciding(*answers: Any, history: int = 1) -> tuple[type[Policy], list[Decision]]:
    """A policy that gives these answers, one a bar and then none; and what it was asked."""
    asked: list[Decision] = []

    class Deciding(Policy):
        def required_history(self) -> int:
            return history

        def decide(self, portfolio: Book, snapshot: Any, context: DecisionContext) -> Any:
            asked.append((portfolio, snapshot, context))
            return answers[len(asked) - 1] if len(asked) <= len(answers) else None

    return Deciding, asked


def rigged(*answers: Any, **config: Any) -> tuple[Rig, list[Decision]]:
    """A rig whose policy gives these answers, with room for two symbols."""
    kind, asked = deciding(*answers)
    return Rig(kinds={"policy": kind}, instruments=(ACME, COIN), **config), asked


def said(rig: Rig) -> list[tuple[str, Side]]:
    signals = [fact.signal for fact in rig.facts(SignalGenerated)]
    return [(signal.symbol, signal.side) for signal in signals if signal.strategy == "policy"]


# --- what it sees --------------------------------------------------------------------------------


def test_it_is_asked_at_each_bar_of_its_symbols_and_sees_them_all() -> None:
    rig, asked = rigged()
    rig.quote(50, "COIN")
    rig.bar(100)
    rig.bar(51, symbol="COIN")
    first, second = asked
    (_, snapshot, context) = first
    assert (context.now, context.bar.close) == (context.bar.ts, 100)
    assert (snapshot["ACME"].bar, snapshot["ACME"].price) == (context.bar, 100)
    assert (snapshot["COIN"].bar, snapshot["COIN"].quote.ask, snapshot["COIN"].price) == (
        None, 50, 50
    )  # fmt: skip
    assert second[1]["COIN"].price == 51
    assert second[1]["ACME"].bar.ts < second[2].now


def test_its_history_is_as_long_as_it_requires() -> None:
    kind, asked = deciding(history=2)
    rig = Rig(kinds={"policy": kind}, instruments=(ACME, COIN))
    for price in (100, 101, 102):
        rig.bar(price)
    closes = [[bar.close for bar in context.history["ACME"]] for _, _, context in asked]
    assert closes == [[100], [100, 101], [101, 102]]
    assert asked[-1][2].history["COIN"] == []


def test_there_is_one_for_all_symbols() -> None:
    made: list[str] = []

    class One(Policy):
        def initialize(self) -> None:
            made.append(self.symbol)

        def decide(self, *_: Any, **__: Any) -> Iterable[PolicyOrder]:
            return ()

    rig = Rig(kinds={"one": One}, instruments=(ACME, COIN))
    rig.bar(100)
    rig.bar(50, symbol="COIN")
    assert made == ["ACME"]


def test_its_book_is_its_own_and_the_money_is_the_accounts() -> None:
    kind, asked = deciding((), [PolicyOrder("ACME", Side.BUY, quantity=10)])
    rig = Rig("puppet", kinds={"policy": kind}, instruments=(ACME, COIN))
    rig.hold_position(50, symbol="COIN")
    for _ in range(3):
        rig.bar(100)
    rig.bar(101)
    (before, *_), (after, *_) = asked[1], asked[-1]
    assert (before.positions, before.equity) == ({}, CASH)
    assert before.cash == rig.cash + 1000
    assert list(after.positions) == ["ACME"]
    assert (after.quantity("ACME"), after.quantity("COIN")) == (10, 0)
    assert after.equity == CASH + 10  # ten units, each one dearer


def test_it_is_not_asked_about_the_past_nor_while_it_is_off() -> None:
    kind, asked = deciding()
    rig = Rig(kinds={"policy": kind}, started=False)
    rig.bar(100, live=False)
    rig.start()
    rig.toggle("policy", False)
    rig.bar(100)
    assert asked == []
    rig.toggle("policy")
    rig.bar(100)
    assert len(asked) == 1


# --- what it orders ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "quantity", "method"),
    [
        (PolicyOrder("ACME", Side.BUY, quantity=7), 7, SizingMethod.FIXED_QUANTITY),
        (PolicyOrder("ACME", Side.BUY, quantity=Decimal(7)), 7, SizingMethod.FIXED_QUANTITY),
        (PolicyOrder("ACME", Side.BUY, quantity=np.float64(7)), 7, SizingMethod.FIXED_QUANTITY),
        (PolicyOrder("ACME", Side.BUY, weight=0.0201), 20, SizingMethod.FIXED_FRACTION),
        (PolicyOrder("ACME", Side.BUY, weight=1), 49, SizingMethod.FIXED_FRACTION),
        (PolicyOrder("ACME", Side.BUY, quantity=1e9), 49, SizingMethod.FIXED_QUANTITY),
        (PolicyOrder("ACME", Side.BUY), 5, SizingMethod.FIXED_QUANTITY),
    ],
    ids=str,
)
def test_a_buy_is_as_large_as_it_asks_within_the_limits(
    order: PolicyOrder, quantity: int, method: SizingMethod
) -> None:
    rig, _ = rigged([order], sizing=SizingRules(Sizing.parse("fixed_quantity:5")))
    rig.bar(100)
    assert rig.last(OrderPurpose.ENTRY).quantity == quantity
    assert [fact.method for fact in rig.facts(OrderSized)] == [method]


def test_an_order_becomes_a_signal_with_all_that_it_says() -> None:
    order = PolicyOrder(
        "ACME", Side.BUY, strength=0.9, indicators={"rise": 0.5}, stop_price=97.0,
        take_profit=110.0, trail=2.0, reason="it rose",
    )  # fmt: skip
    rig, _ = rigged([order])
    rig.bar(100)
    (fact,) = rig.facts(SignalGenerated)
    signal = fact.signal
    assert (signal.ts, signal.price, signal.strength) == (rig.now, 100, 0.9)
    assert (signal.indicators, signal.reason) == ({"rise": 0.5}, "it rose")
    entry = rig.last(OrderPurpose.ENTRY)
    assert (entry.stop_loss, entry.take_profit, entry.trail) == (97, 110, 2)


def test_a_position_gets_its_stop_and_a_sell_closes_all_of_it() -> None:
    rig, asked = rigged([BUY], (), [SELL])
    rig.bar(100)
    rig.bar(100)
    assert rig.position("policy").quantity == 49
    assert rig.last(OrderPurpose.PROTECTIVE_STOP).stop_price == 98
    rig.bar(100)
    rig.bar(100)
    assert rig.position("policy").quantity == 0
    assert rig.open == []
    assert (asked[2][0].quantity("ACME"), asked[3][0].positions) == (49, {})


def test_orders_of_several_symbols_are_made_in_their_order() -> None:
    rig, _ = rigged((), (o for o in (PolicyOrder("COIN", Side.BUY), BUY)))
    rig.bar(50, symbol="COIN")
    rig.bar(100)
    assert said(rig) == [("COIN", Side.BUY), ("ACME", Side.BUY)]
    assert [o.symbol for o in rig.of(OrderPurpose.ENTRY)] == ["COIN", "ACME"]


def test_the_same_order_twice_in_a_row_is_one_also_over_a_restart() -> None:
    rig, _ = rigged([BUY, BUY], [BUY], [SELL], [SELL], [BUY])
    for _ in range(5):
        rig.bar(100)
    assert said(rig) == [("ACME", Side.BUY), ("ACME", Side.SELL), ("ACME", Side.BUY)]
    state = StrategyState("policy", True, last_signals={"ACME": Side.BUY})
    again, _ = rigged([BUY], [SELL], restored=Restored({"paper": CASH}, strategies=(state,)))
    for _ in range(2):
        again.bar(100)
    assert said(again) == [("ACME", Side.SELL)]


def test_an_order_of_a_symbol_without_a_price_or_its_history_is_not_heard() -> None:
    kind, _ = deciding(*[[BUY, PolicyOrder("COIN", Side.BUY)]] * 3, history=2)
    rig = Rig(kinds={"policy": kind}, instruments=(ACME, COIN))
    rig.bar(100)
    assert said(rig) == []
    rig.quote(50, "COIN")
    rig.bar(100)
    assert said(rig) == [("ACME", Side.BUY)]


# --- what stands in its way ----------------------------------------------------------------------


def blocked(rig: Rig) -> list[tuple[str, str]]:
    return [(fact.signal.symbol, fact.check) for fact in rig.facts(SignalBlocked)]


def test_an_order_that_breaks_a_rule_is_told_with_the_reason_and_the_others_are_made() -> None:
    rig, _ = rigged(
        [SELL, PolicyOrder("ACME", Side.BUY, strength=0.1)], [SELL, BUY],
        limits=RiskLimits(max_trades_per_day=1),
    )  # fmt: skip
    rig.bar(100)
    assert blocked(rig) == [("ACME", "flat"), ("ACME", "signal_strength")]
    rig.bar(100)
    assert blocked(rig)[2:] == [("ACME", "flat")]
    assert len(rig.of(OrderPurpose.ENTRY)) == 1


def test_the_kill_switch_is_obeyed() -> None:
    rig, _ = rigged([BUY])
    rig.kill()
    rig.bar(100)
    assert blocked(rig) == [("ACME", "stop")]
    assert rig.submits() == []


def test_it_has_the_last_word_on_its_entries() -> None:
    class Careful(Policy):
        def decide(self, *_: Any, **__: Any) -> list[PolicyOrder]:
            return [BUY]

        def confirm_trade_entry(self, order: Order) -> bool | str:
            return "not today"

    rig = Rig(kinds={"policy": Careful})
    rig.bar(100)
    assert [(fact.check, fact.reason) for fact in rig.facts(SignalBlocked)] == [
        ("veto", "not today")
    ]
    assert rig.orders == {}


orders = st.builds(
    PolicyOrder,
    st.sampled_from(["ACME", "COIN"]),
    st.just(Side.BUY),
    quantity=st.none() | st.integers(1, 2000),
    strength=st.sampled_from([0.5, 0.7, 1.0]),
    stop_price=st.none() | st.floats(80, 120),
    take_profit=st.none() | st.floats(80, 120),
)
answers = st.lists(orders | st.sampled_from([SELL, PolicyOrder("COIN", Side.SELL)]), max_size=4)
bars = st.tuples(st.sampled_from(["ACME", "COIN"]), st.integers(90, 110))


@BOUNDED
@given(st.lists(st.tuples(answers, bars), min_size=5, max_size=30))
def test_whatever_it_orders_every_law_holds(played: list[tuple[Any, tuple[str, int]]]) -> None:
    """The rig checks the laws after every event."""
    rig, _ = rigged(*(answer for answer, _ in played))
    for _, (symbol, price) in played:
        rig.bar(price, symbol=symbol)
    assert rig.machine.error is None
    assert rig.facts(StrategyFailed) == []
    assert rig.facts(LawBroken) == []


# --- nonsense ------------------------------------------------------------------------------------


def buying(**how: Any) -> PolicyOrder:
    return PolicyOrder("ACME", Side.BUY, **how)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (5, "'int' object is not iterable"),
        (BUY, "'PolicyOrder' object is not iterable"),
        (["buy"], "decide returned str, not a PolicyOrder"),
        ([PolicyOrder("GONE", Side.BUY)], "an order of GONE, which it does not trade"),
        ([PolicyOrder("ACME", "hold")], "'hold' is not a valid Side"),  # type: ignore[arg-type]
        ([buying(quantity=-1)], "above 0"),
        ([buying(quantity=nan)], "above 0"),
        ([buying(quantity="many")], "many is no number"),
        ([buying(weight=0)], "above 0"),
        ([buying(weight=1.5)], "at most 100"),
        ([buying(weight=0.1, quantity=1)], "a quantity or a weight, not both"),
        ([PolicyOrder("ACME", Side.SELL, quantity=1)], "a sell closes the whole position"),
        ([buying(strength=2)], "a strength outside 0 to 1"),
        ([buying(stop_price=-1)], "a stop price that is none"),
    ],
    ids=str,
)
def test_nonsense_switches_it_off_makes_no_order_and_the_others_go_on(
    answer: Any, reason: str
) -> None:
    sound: list[Any] = [PolicyOrder("COIN", Side.BUY)]
    kind, _ = deciding((), sound + answer if isinstance(answer, list) else answer)
    rig = Rig("puppet", kinds={"policy": kind}, instruments=(ACME, COIN))
    rig.bar(50, symbol="COIN")
    rig.bar(100)
    (failed,) = rig.facts(StrategyFailed)
    assert reason in failed.reason
    assert said(rig) == []
    assert rig.buy().quantity == 49
    assert not rig.killed


def test_one_that_decides_nothing_says_so() -> None:
    rig = Rig(kinds={"policy": Policy})
    rig.bar(100)
    assert "write decide" in rig.facts(StrategyFailed)[0].reason
