"""Whatever a strategy does, the others go on, and what it may not say is not heard."""

import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from msgspec import Meta, json
from msgspec.structs import replace

from engine.core.events import (
    CommandRefused,
    HistoryLoaded,
    KillPart,
    OrderSized,
    PartKilled,
    ReloadStrategy,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StrategyFailed,
    StrategyFileChanged,
    StrategyLoaded,
    StrategyState,
    StrategyToggled,
)
from engine.core.model import (
    DAY,
    MINUTE,
    Bar,
    Fill,
    Order,
    OrderPurpose,
    Part,
    Quote,
    Scope,
    Side,
    Signal,
)
from engine.core.risk import RiskLimits
from engine.core.sessions import SessionTable
from engine.core.sizing import Sizing, SizingRules
from engine.core.strategy import (
    NOT_CONFIRMED,
    RELOADED,
    Strategy,
    StrategyParameters,
    make_parameters,
)
from tests.core.rig import ACME, COIN, START, Rig

CASH = Decimal(100_000)


class Recorder(Strategy):
    """Remembers what it was shown."""

    bars: ClassVar[list[tuple[Bar, int]]]
    fills: ClassVar[list[Fill]]

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        assert history[-1] is bar
        self.bars.append((bar, len(history)))

    def on_fill(self, fill: Fill) -> None:
        self.fills.append(fill)


@pytest.fixture
def recorder() -> type[Recorder]:
    return type("Fresh", (Recorder,), {"bars": [], "fills": []})


def answering(answer: Callable[[Strategy, Quote], Any]) -> type[Strategy]:
    """A strategy that answers every quote with `answer`."""

    class Answering(Strategy):
        def on_quote(self, quote: Quote) -> Any:
            return answer(self, quote)

    return Answering


def a_buy(strategy: Strategy, quote: Quote, /, **other: Any) -> Signal:
    return replace(Signal(strategy.name, strategy.symbol, Side.BUY, quote.ts, quote.ask), **other)


def said(rig: Rig, strategy: str = "puppet") -> list[Side]:
    """The sides that a strategy signalled."""
    signals = [fact.signal for fact in rig.facts(SignalGenerated)]
    return [signal.side for signal in signals if signal.strategy == strategy]


# --- signals -------------------------------------------------------------------------------------


def test_a_signal_is_published_with_what_it_rests_on() -> None:
    rig = Rig()
    rig.signal(Side.BUY, strength=0.5, indicators={"fast": 2.0, "slow": 1.0})
    (fact,) = rig.facts(SignalGenerated)
    assert fact.signal.indicators == {"fast": 2.0, "slow": 1.0}
    assert fact.signal.strength == 0.5


def test_the_same_side_twice_in_a_row_is_one_signal_for_each_symbol() -> None:
    rig = Rig(instruments=(ACME, COIN))
    for side in (Side.BUY, Side.BUY, Side.SELL, Side.SELL, Side.BUY):
        rig.signal(side)
    rig.signal(Side.BUY, symbol="COIN")
    assert said(rig) == [Side.BUY, Side.SELL, Side.BUY, Side.BUY]


def test_the_last_side_outlives_a_restart() -> None:
    state = StrategyState("puppet", True, last_signals={"ACME": Side.BUY, "GONE": Side.BUY})
    rig = Rig(restored=Restored({"paper": CASH}, strategies=(state,)))
    rig.signal(Side.BUY)
    assert said(rig) == []
    rig.signal(Side.SELL)
    assert said(rig) == [Side.SELL]


def test_a_signal_during_the_warm_up_is_not_heard() -> None:
    class Eager(Strategy):
        def required_history(self) -> int:
            return 3

        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            return self.signal(Side.BUY if len(history) % 2 else Side.SELL, bar, {})

    rig = Rig(kinds={"eager": Eager})
    for _ in range(2):
        rig.bar(100)
    assert said(rig, "eager") == []
    rig.bar(100)
    assert said(rig, "eager") == [Side.BUY]


def test_history_warms_a_strategy_up_and_makes_no_signal() -> None:
    class Eager(Strategy):
        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            return self.signal(Side.BUY, bar, {})

    rig = Rig(kinds={"eager": Eager}, started=False)
    rig.bar(100, live=False)
    assert said(rig, "eager") == []
    rig.start()
    rig.bar(100)
    assert said(rig, "eager") == [Side.BUY]


def test_each_hook_of_the_event_style_hears_what_is_its_own() -> None:
    heard: list[tuple[str, object]] = []

    class Listener(Strategy):
        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            heard.append(("bar", bar.close))
            return self.signal(Side.BUY, bar, {}, sizing="fixed_quantity:3")

        def on_quote(self, quote: Quote) -> Signal | None:
            heard.append(("quote", quote.ask))

        def on_fill(self, fill: Fill) -> None:
            heard.append(("fill", fill.quantity))

        def on_clock(self, now: int) -> Signal | None:
            heard.append(("clock", now))

    rig = Rig(kinds={"listener": Listener})
    rig.quote(99)
    rig.bar(100)
    rig.quote(101)
    rig.tick()
    assert heard == [
        ("quote", 99), ("bar", 100), ("fill", Decimal(3)), ("quote", 101), ("clock", rig.now)
    ]  # fmt: skip


def test_on_clock_may_signal_too() -> None:
    class Timer(Strategy):
        def on_clock(self, now: int) -> Signal | None:
            return Signal(self.name, self.symbol, Side.BUY, now, 100.0)

    rig = Rig(kinds={"timer": Timer})
    rig.tick()
    assert said(rig, "timer") == [Side.BUY]


def test_it_knows_the_trading_day_of_its_market() -> None:
    days: dict[str, list[str]] = {"ACME": [], "COIN": []}

    class Diarist(Strategy):
        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            if self.trading_day.roll(bar.ts - 1):
                days[self.symbol].append(self.trading_day.date)

    opens, close, hours = START, START + 390 * MINUTE, 240 * MINUTE  # a Monday, and the Tuesday
    table = SessionTable(
        "XNYS", "America/New_York", (opens, opens + DAY), (close, close + DAY), after=hours
    )
    acme = replace(ACME, calendar="XNYS")
    rig = Rig(kinds={"diarist": Diarist}, instruments=(acme, COIN), calendars=(table,))
    for _ in range(15):  # to 00:31 UTC and 19:31 in New York, a minute more for each
        rig.bar(100, interval=40 * MINUTE)
        rig.bar(100, symbol="COIN", interval=MINUTE)
    assert days == {"ACME": ["2024-03-04"], "COIN": ["2024-03-04", "2024-03-05"]}
    rig.bar(100, interval=90 * MINUTE)
    assert days["ACME"] == ["2024-03-04", "2024-03-05"]


# --- on and off ----------------------------------------------------------------------------------


def test_a_strategy_that_is_off_sees_every_bar_and_is_not_heard(recorder: type[Recorder]) -> None:
    rig = Rig("puppet", kinds={"recorder": recorder})
    rig.toggle("recorder", False)
    rig.toggle("puppet", False)
    rig.bar(100)
    rig.bar(101)
    assert [(bar.close, known) for bar, known in recorder.bars] == [(100, 1), (101, 2)]
    rig.signal(Side.BUY)
    assert said(rig) == []
    assert rig.orders == {}


def test_what_it_said_while_off_does_not_count_as_its_last_side() -> None:
    rig = Rig()
    rig.toggle(enabled=False)
    rig.signal(Side.BUY)
    rig.toggle()
    rig.signal(Side.BUY)
    assert said(rig) == [Side.BUY]


def test_a_strategy_is_off_until_it_is_switched_on() -> None:
    rig = Rig(restored=Restored({"paper": CASH}, strategies=(StrategyState("puppet", False),)))
    rig.signal(Side.BUY)
    assert said(rig) == []


class Counting(Strategy):
    """Signals at each bar, with how many closes it was shown since the oldest."""

    def initialize(self) -> None:
        self.closes: list[float] = []

    def required_history(self) -> int:
        return 4

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        self.closes.append(bar.close)
        side = Side.BUY if len(self.closes) % 2 else Side.SELL
        return self.signal(side, bar, {"first": self.closes[0], "shown": len(self.closes)})


def past_bar(minutes: int, price: float) -> Bar:
    return Bar("ACME", START + minutes * MINUTE, price, price, price, price, 1.0)


def test_history_is_shown_to_those_that_are_on_and_is_no_price_where_a_newer_one_came() -> None:
    rig = Rig(kinds={"counting": Counting})
    rig.quote(50.0)
    bars = tuple(past_bar(n - 10, 100.0 + n) for n in range(4))
    rig.send(HistoryLoaded("ACME", bars))
    assert rig.machine.market.symbols["ACME"].mark == 50.0
    assert not said(rig, "counting")
    rig.bar(60)
    (fact,) = rig.facts(SignalGenerated)
    assert fact.signal.indicators == {"first": 100.0, "shown": 5.0}


def test_one_that_is_switched_on_later_says_nothing_before_it_was_shown_its_past() -> None:
    off = Restored({"paper": CASH}, strategies=(StrategyState("counting", False),))
    rig = Rig(kinds={"counting": Counting}, restored=off)
    for n in range(6):
        rig.bar(100 + n)
    rig.toggle("counting")
    rig.bar(106)
    assert not said(rig, "counting"), "it saw one bar of the four that it requires"
    kept = rig.machine.market.symbols["ACME"].bars
    older = tuple(past_bar(n - 20, 90.0 + n) for n in range(2))
    rig.send(HistoryLoaded("ACME", (*older, kept[0]), "counting"))
    assert not said(rig, "counting"), "what is past makes no signal"
    rig.bar(107)
    (fact,) = rig.facts(SignalGenerated)
    assert fact.signal.indicators == {"first": 90.0, "shown": 10.0}


def test_switching_an_unknown_strategy_is_refused() -> None:
    rig = Rig()
    rig.toggle("no\x1b[such")
    (refused,) = rig.facts(CommandRefused)
    assert refused.reason == "no strategy no (such"


def test_it_hears_of_its_own_fills_alone(recorder: type[Recorder]) -> None:
    class Buyer(recorder):
        def on_quote(self, quote: Quote) -> Signal | None:
            return a_buy(self, quote)

    rig = Rig("puppet", kinds={"buyer": Buyer}, instruments=(ACME, COIN))
    rig.quote(100)
    rig.quote(100)
    assert [(f.strategy, f.quantity) for f in recorder.fills] == [("buyer", Decimal(49))]
    rig.toggle("buyer", False)
    rig.hold_position(symbol="COIN")
    assert rig.position(symbol="COIN").quantity > 0
    assert len(recorder.fills) == 1


# --- failures ------------------------------------------------------------------------------------


def raises(_: Strategy, __: Quote) -> None:
    raise RuntimeError("boom [red] \x1b[2J")


def leaves(_: Strategy, __: Quote) -> None:
    sys.exit(3)


GARBAGE: dict[str, Callable[[Strategy, Quote], Any]] = {
    "raises": raises,
    "sys.exit": leaves,
    "a text": lambda *_: "buy",
    "a number": lambda *_: 1,
    "another symbol": lambda s, q: a_buy(s, q, symbol="COIN"),
    "another strategy": lambda s, q: a_buy(s, q, strategy="puppet"),
    "no price": lambda s, q: a_buy(s, q, price=float("nan")),
    "endless price": lambda s, q: a_buy(s, q, price=float("inf")),
    "price 0": lambda s, q: a_buy(s, q, price=0.0),
    "price None": lambda s, q: a_buy(s, q, price=None),
    "price in words": lambda s, q: a_buy(s, q, price="a lot"),
    "strength 2": lambda s, q: a_buy(s, q, strength=2.0),
    "strength NaN": lambda s, q: a_buy(s, q, strength=float("nan")),
    "stop 0": lambda s, q: a_buy(s, q, stop_price=0.0),
    "stop NaN": lambda s, q: a_buy(s, q, stop_price=float("nan")),
    "stop in words": lambda s, q: a_buy(s, q, stop_price="low"),
    "no side": lambda s, q: a_buy(s, q, side="hold"),
    "no time": lambda s, q: a_buy(s, q, ts=None),
    "indicators": lambda s, q: a_buy(s, q, indicators={"fast": object()}),
    "a sizing in words": lambda s, q: a_buy(s, q, sizing="a lot"),
    "a sizing of nothing": lambda s, q: a_buy(s, q, sizing="fixed_notional:0"),
    "a sizing that is NaN": lambda s, q: a_buy(s, q, sizing="fixed_quantity:nan"),
    "a sizing that is a number": lambda s, q: a_buy(s, q, sizing=5),
    "no sizing": lambda s, q: a_buy(s, q, sizing=None),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_a_strategy_that_fails_is_switched_off_and_the_others_go_on(
    answer: Callable[[Strategy, Quote], Any],
) -> None:
    rig = Rig("puppet", kinds={"bad": answering(answer)}, instruments=(ACME, COIN))
    rig.signal(Side.BUY)
    rig.quote(100)
    (failed,) = rig.facts(StrategyFailed)
    assert failed.strategy == "bad"
    assert "\x1b" not in failed.reason
    assert not rig.machine.runner.is_on("bad")
    assert said(rig) == [Side.BUY]
    assert not rig.killed
    assert rig.position().quantity == 49


def test_a_failed_strategy_is_not_asked_again_until_it_is_switched_on() -> None:
    asked: list[int] = []

    def fail_once(_: Strategy, quote: Quote) -> None:
        asked.append(quote.ts)
        if len(asked) == 1:
            raise ValueError("once")

    rig = Rig(kinds={"bad": answering(fail_once)})
    rig.quote(100)
    rig.quote(100)
    assert len(asked) == 1
    rig.toggle("bad")
    rig.quote(100)
    assert len(asked) == 2
    assert rig.machine.runner.is_on("bad")


def test_a_strategy_that_fails_has_its_entries_cancelled_and_its_position_protected() -> None:
    rig = Rig()
    order = rig.buy()
    rig.quote(100, size=20)
    rig.wishes["puppet", "ACME"] = "garbage"
    rig.quote(100, size=0)
    assert rig.state_of(order) == "canceled"
    assert rig.position().quantity == 20
    assert [o.quantity for o in rig.open] == [Decimal(20)]
    assert rig.last(OrderPurpose.PROTECTIVE_STOP).state == "accepted"


def test_one_that_cannot_be_set_up_stays_off_and_says_why() -> None:
    class Broken(Strategy):
        def initialize(self) -> None:
            raise OSError("no such model file")

    rig = Rig("puppet", kinds={"broken": Broken})
    assert not rig.machine.runner.is_on("broken")
    assert [f.strategy for f in rig.facts(StrategyToggled)] == ["puppet"]
    (refused,) = rig.facts(CommandRefused)
    assert "no such model file" in refused.reason
    rig.signal(Side.BUY)
    assert said(rig) == [Side.BUY]


def test_numbers_of_numpy_become_plain_ones_that_can_be_recorded() -> None:
    def numpy_buy(strategy: Strategy, quote: Quote) -> Signal:
        price = np.float64(quote.ask)
        return a_buy(
            strategy,
            quote,
            ts=np.int64(quote.ts),
            price=price,
            strength=np.float32(0.75),
            stop_price=price * 0.9,
            indicators={"sma": np.float64(99.5)},
        )

    rig = Rig(kinds={"numpy": answering(numpy_buy)})
    rig.quote(100)
    (fact,) = rig.facts(SignalGenerated)
    assert json.decode(json.encode(fact), type=SignalGenerated).signal == fact.signal
    assert fact.signal.indicators == {"sma": 99.5}
    assert rig.last(OrderPurpose.ENTRY).stop_loss == Decimal("90.00")


# --- how much, and the last word -----------------------------------------------------------------


def sized(rig: Rig) -> OrderSized:
    return rig.facts(OrderSized)[-1]


@pytest.mark.parametrize(
    ("sizing", "quantity"),
    [("fixed_quantity:7", 7), ("fixed_notional:2010", 20), ("fixed_fraction:1", 9)],
)
def test_a_signal_may_say_how_its_entry_is_sized(sizing: str, quantity: int) -> None:
    rig = Rig(sizing=SizingRules(Sizing.parse("fixed_quantity:1")))
    order = rig.buy(sizing=sizing)
    assert order.quantity == quantity
    assert sized(rig).method == sizing.partition(":")[0]


def test_the_limits_cap_what_a_signal_asks_for() -> None:
    rig = Rig()
    assert rig.buy(sizing="fixed_quantity:1000").quantity == 49
    assert (sized(rig).asked, sized(rig).quantity) == (1000, 49)


def confirming(answer: Callable[[Order], Any]) -> type[Strategy]:
    """A strategy that buys at 100 and sells at 101, and answers to its entry with `answer`."""

    class Confirming(Strategy):
        def on_quote(self, quote: Quote) -> Signal | None:
            return a_buy(self, quote, side=Side.BUY if quote.ask == 100 else Side.SELL)

        def confirm_trade_entry(self, order: Order) -> bool | str:
            return answer(order)

    return Confirming


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("too \x1b[wide", "too  (wide"),
        (False, NOT_CONFIRMED),
        (np.bool_(False), NOT_CONFIRMED),
        (None, NOT_CONFIRMED),
    ],
)
def test_a_strategy_has_the_last_word_on_its_entry(answer: Any, reason: str) -> None:
    rig = Rig(kinds={"careful": confirming(lambda _: answer)})
    rig.quote(100)
    (blocked,) = rig.facts(SignalBlocked)
    assert (blocked.check, blocked.reason) == ("veto", reason)
    assert rig.orders == {}
    assert rig.machine.runner.is_on("careful")


@pytest.mark.parametrize("answer", [True, np.bool_(True), ""])
def test_an_entry_that_is_confirmed_is_made(answer: Any) -> None:
    rig = Rig(kinds={"careful": confirming(lambda _: answer)})
    rig.quote(100)
    assert rig.last(OrderPurpose.ENTRY).quantity == 49


def test_the_last_word_is_on_the_order_as_it_would_leave_and_never_on_an_exit() -> None:
    asked: list[Order] = []

    def remember(order: Order) -> bool:
        asked.append(order)
        return True

    rig = Rig(kinds={"careful": confirming(remember)})
    rig.quote(100)
    rig.quote(100)
    rig.quote(101)
    assert [order.client_order_id for order in asked] == [
        rig.last(OrderPurpose.ENTRY).client_order_id
    ]
    assert (asked[0].quantity, asked[0].stop_loss) == (Decimal(49), Decimal("98.00"))
    assert len(rig.of(OrderPurpose.EXIT)) == 1


def test_an_entry_that_a_limit_stops_is_not_asked_about() -> None:
    asked: list[Order] = []
    rig = Rig(kinds={"careful": confirming(asked.append)}, limits=RiskLimits(max_trades_per_day=0))
    rig.quote(100)
    assert [fact.check for fact in rig.facts(SignalBlocked)] == ["trades_per_day"]
    assert asked == []


@pytest.mark.parametrize("fault", [raises, leaves])
def test_one_that_fails_at_the_last_word_makes_no_entry_and_is_off(
    fault: Callable[[Strategy, Any], None],
) -> None:
    class Failing(confirming(lambda _: True)):
        def confirm_trade_entry(self, order: Order) -> bool | str:
            fault(self, order)
            return True

    rig = Rig("puppet", kinds={"bad": Failing})
    rig.quote(100)
    assert [fact.strategy for fact in rig.facts(StrategyFailed)] == ["bad"]
    assert [fact.check for fact in rig.facts(SignalBlocked)] == ["veto"]
    assert not rig.machine.runner.is_on("bad")
    assert rig.orders == {}
    assert rig.buy().quantity == 49


# --- parameters ----------------------------------------------------------------------------------


class Lengths(StrategyParameters, frozen=True):
    fast: Annotated[int, Meta(ge=1)] = 10
    name: str = ""


class Parametrised(Strategy):
    Parameters = Lengths


def test_parameters_are_converted_from_text_and_have_defaults() -> None:
    assert make_parameters(Parametrised, {"fast": "7"}) == Lengths(fast=7)
    assert make_parameters(Parametrised, {}) == Lengths()


@pytest.mark.parametrize(
    ("values", "said"), [({"fast": 0}, "fast"), ({"fast": "x"}, "fast"), ({"slow": 1}, "slow")]
)
def test_a_wrong_parameter_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_parameters(Parametrised, values)


# --- another file --------------------------------------------------------------------------------


def change(rig: Rig, name: str, kind: type[Strategy], fingerprint: str = "b" * 64) -> None:
    """The host found another file of a strategy, which makes `kind`."""
    rig.machine.kinds[name] = kind
    rig.send(StrategyFileChanged(name, fingerprint))


class Alternating(Strategy):
    """Needs three bars; says at every bar what it says at no other."""

    def required_history(self) -> int:
        return 3

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        assert history[-1] is bar
        return self.signal(Side.BUY if bar.close > 100 else Side.SELL, bar, {"n": len(history)})


class Edited(Alternating):
    pass


def changed() -> Rig:
    """One that bought, and whose file then was changed."""
    rig = Rig(kinds={"other": Alternating})
    rig.send(StrategyFileChanged("other", "a" * 64))
    for price in (100, 100, 100, 101):
        rig.bar(price)
    assert said(rig, "other")[-1] is Side.BUY
    change(rig, "other", Edited)
    return rig


def test_a_changed_strategy_is_off_until_it_is_switched_on_and_is_warm_then() -> None:
    rig = changed()
    before = len(said(rig, "other"))
    assert [fact.changed for fact in rig.facts(StrategyLoaded)] == [False, True]
    toggled = rig.facts(StrategyToggled)[-1]
    assert (toggled.enabled, toggled.author) == (False, "a change of its file")
    rig.bar(99)
    assert len(said(rig, "other")) == before
    rig.toggle("other")
    rig.bar(99)
    assert said(rig, "other")[before:] == [Side.SELL]
    assert rig.facts(SignalGenerated)[-1].signal.indicators == {"n": 6}


def test_a_changed_strategy_does_not_say_again_what_it_said_before() -> None:
    rig = changed()
    before = len(said(rig, "other"))
    rig.toggle("other")
    rig.bar(102)
    assert len(said(rig, "other")) == before


def test_a_reloaded_strategy_has_forgotten_what_it_kept_and_is_off() -> None:
    class Counting(Alternating):
        def initialize(self) -> None:
            self.seen_by_itself = 0

        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            self.seen_by_itself += 1
            side = Side.BUY if bar.close > 100 else Side.SELL
            return self.signal(side, bar, {"seen": self.seen_by_itself})

    rig = Rig(kinds={"other": Counting})
    rig.send(StrategyFileChanged("other", "a" * 64))
    for price in (100, 100, 100, 101):
        rig.bar(price)
    rig.send(ReloadStrategy(strategy="other", author="me"))
    toggled = rig.facts(StrategyToggled)[-1]
    assert (toggled.strategy, toggled.enabled, toggled.author) == ("other", False, "me")
    assert rig.facts(StrategyLoaded)[-1].author == "me"
    assert rig.machine.runner.runs["other"].note == RELOADED
    before = len(said(rig, "other"))
    rig.bar(99)
    assert len(said(rig, "other")) == before
    rig.toggle("other")
    rig.bar(102)  # it bought last: it does not say so again
    assert len(said(rig, "other")) == before
    rig.bar(99)
    assert said(rig, "other")[before:] == [Side.SELL]
    assert rig.facts(SignalGenerated)[-1].signal.indicators == {"seen": 7}


def test_a_strategy_that_failed_can_be_reloaded_and_switched_on() -> None:
    class Once(Alternating):
        def initialize(self) -> None:
            self.bars = 0

        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            self.bars += 1
            if self.live and bar.close == 13:
                raise RuntimeError("boom")
            return None

    rig = Rig(kinds={"other": Once})
    rig.bar(13)
    assert rig.machine.runner.runs["other"].failed
    rig.send(ReloadStrategy(strategy="other", author="me"))
    assert not rig.machine.runner.runs["other"].failed
    rig.toggle("other")
    assert rig.machine.runner.is_on("other")


def test_a_strategy_that_is_not_there_is_not_reloaded() -> None:
    rig = Rig("puppet")
    rig.send(ReloadStrategy(strategy="nope", author="me"))
    refused = rig.facts(CommandRefused)[-1]
    assert (refused.command, refused.reason) == ("ReloadStrategy", "no strategy nope")


def test_a_new_strategy_is_off_and_can_be_killed_by_itself() -> None:
    rig = Rig("puppet")
    change(rig, "newcomer", Alternating)
    assert not rig.machine.runner.is_on("newcomer")
    rig.toggle("newcomer")
    part = Part(Scope.STRATEGY, "newcomer")
    rig.send(KillPart(part=part, source="key", reason="test", author="me"))
    assert [fact.part for fact in rig.facts(PartKilled)] == [part]


def test_one_that_fails_over_the_bars_that_are_kept_is_off_and_the_others_go_on() -> None:
    class Raises(Alternating):
        def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
            raise RuntimeError("boom")

    rig = Rig("puppet", kinds={"other": Alternating})
    rig.send(StrategyFileChanged("other", "a" * 64))
    rig.bar(100)
    change(rig, "other", Raises)
    assert [(f.strategy, f.reason) for f in rig.facts(StrategyFailed)] == [
        ("other", "RuntimeError on ACME: boom")
    ]
    rig.signal(Side.BUY)
    assert said(rig) == [Side.BUY]
    assert not rig.killed
