"""The laws I1 to I7 and I9 of the design, each on real parts.

The rig checks every law after every event (`engine/simulation/laws.py`); a test here says what it
does to the machine, and what must come of it. Those with a real engine use real files.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from msgspec.structs import replace

import engine.build
from engine.brokers.paper import PaperBroker
from engine.core.events import (
    CancelOrder,
    CancelRejected,
    CommitIntent,
    ExecutionReport,
    IntentCommitted,
    IntentFailed,
    KillSwitchTriggered,
    LawBroken,
    OrderNotFound,
    QueryOrder,
    RearmKillSwitch,
    ReplaceOrder,
    Restored,
    SignalBlocked,
    StrategyState,
    SubmitFailed,
    SubmitOrder,
    TripKillSwitch,
)
from engine.core.matching import ExchangeRules
from engine.core.model import MINUTE, Order, OrderPurpose, OrderState, OrderType, Position, Side
from engine.core.risk import RiskLimits
from engine.ops.settings import Settings
from tests.core.rig import ACME, BOUNDED, COIN, START, Rig, effects_of, facts_of
from tests.session import journals, replayed, rows, running, zigzag

ROOT = Path(__file__).parents[1]
S = OrderState
CASH = Decimal(100_000)
REQUESTS = (CommitIntent, SubmitOrder, CancelOrder, QueryOrder)
VENUE = {SubmitOrder, CancelOrder, QueryOrder}


# --- I1: no order reaches a broker before its intent is committed ---------------------------------


def test_i1_nothing_leaves_before_the_intent_is_committed() -> None:
    rig = Rig()
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.quote(100)
    rig.tick(60)
    assert rig.count(SubmitOrder) == 0
    effects = rig.send(IntentCommitted(order.client_order_id))
    assert [e.order.client_order_id for e in effects_of(effects, SubmitOrder)] == [
        order.client_order_id
    ]


@pytest.mark.parametrize("duplicate", [False, True])
def test_i1_nothing_leaves_whose_intent_could_not_be_committed(duplicate: bool) -> None:
    rig = Rig()
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.send(IntentFailed(order.client_order_id, "disk full", duplicate=duplicate))
    rig.send(IntentCommitted(order.client_order_id))
    rig.tick(60)
    assert rig.count(SubmitOrder) == 0


async def test_i1_the_row_is_in_the_file_when_the_broker_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = zigzag(tmp_path)
    found: dict[str, list[tuple[Any, ...]]] = {}

    class Watched(PaperBroker):
        async def submit_order(self, order: Order) -> ExecutionReport:
            key = order.client_order_id
            query = f"SELECT symbol, side, quantity FROM orders WHERE client_order_id = '{key}'"
            found[key] = rows(settings, query)
            return await super().submit_order(order)

    monkeypatch.setattr(engine.build, "PaperBroker", Watched)
    async with running(settings) as session:
        await session.until(lambda _: len(found) >= 4)
    orders = {order.client_order_id: order for order in session.snapshots[-1].orders}
    assert found == {
        key: [(orders[key].symbol, orders[key].side, str(orders[key].quantity))] for key in found
    }


# --- I2: a broker never holds two accepted orders for one intent ----------------------------------


def times_out(rig: Rig, order: Order) -> None:
    rig.tick(5)


def loses_the_answer(rig: Rig, order: Order) -> None:
    rig.send(SubmitFailed(order.client_order_id, True, "connection reset"))


def is_committed_again(rig: Rig, order: Order) -> None:
    rig.send(IntentCommitted(order.client_order_id))


def is_reported_twice(rig: Rig, order: Order) -> None:
    for _ in range(2):
        rig.report(order, S.ACCEPTED)


def is_not_found(rig: Rig, order: Order) -> None:
    for _ in range(3):
        rig.tick(20)
        rig.send(OrderNotFound(order.client_order_id))


def is_rejected(rig: Rig, order: Order) -> None:
    rig.report(order, S.REJECTED, reason="halted")


@pytest.mark.parametrize(
    "happens",
    [times_out, loses_the_answer, is_committed_again, is_reported_twice, is_not_found, is_rejected],
)
def test_i2_an_order_is_sent_once_whatever_happens_to_it(
    happens: Callable[[Rig, Order], None],
) -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    happens(rig, order)
    for _ in range(20):
        rig.tick(7)
        rig.quote(100)
    assert [sent.client_order_id for sent in rig.submits()] == [order.client_order_id]


def test_i2_an_order_that_is_never_found_is_abandoned_after_the_lag_and_not_sent_again() -> None:
    rig = Rig()
    rig.void = {SubmitOrder}
    order = rig.buy()
    rig.tick(5)
    assert rig.state_of(order) is S.IN_DOUBT
    rig.tick(29)
    assert rig.state_of(order) is S.IN_DOUBT
    rig.tick(2)
    assert rig.state_of(order) is S.ABANDONED
    assert len(rig.submits()) == 1


def test_i2_the_same_signal_after_a_restart_makes_no_second_order() -> None:
    rig = Rig()
    order = rig.buy()
    decided = rig.now
    rig.request_cancel(order)
    after = Rig(restored=rig.durable(), exchange=rig.exchange, now=rig.now)
    after.wish(Side.BUY, ts=decided)
    after.quote(100)
    assert [fact.check for fact in after.facts(SignalBlocked)] == ["duplicate"]
    assert after.submits() == []


# --- I3: each execution counts once, less what its commission took of it --------------------------


@BOUNDED
@given(st.data())
def test_i3_the_position_is_the_sum_of_the_executions_in_any_order_and_over_a_restart(
    data: st.DataObject,
) -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    sizes = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=6))
    filled = (sum(sizes[: number + 1]) for number in range(len(sizes)))
    told = [(s, f"x{n}") for n, (s, f) in enumerate(zip(sizes, filled, strict=True)) if f <= 49]
    part = data.draw(st.sampled_from((Decimal(0), Decimal("0.001"))))
    again = data.draw(st.lists(st.sampled_from(told), max_size=6)) if told else []
    sequence = data.draw(st.permutations([*told, *again]))
    restart_at = data.draw(st.integers(0, len(sequence)))
    for number, (size, execution_id) in enumerate(sequence):
        if number == restart_at:
            rig = Rig(restored=rig.durable(), void=VENUE, now=rig.now)
        rig.fill(order, size, 100 + size, execution_id, commission_quantity=size * part)
    whole = sum(size for size, _ in told)
    assert rig.position().quantity == whole - whole * part
    assert rig.cash == CASH - sum(size * (100 + size) for size, _ in told)
    assert rig.now_of(order).filled == whole


# --- I4: cash is conserved to the last decimal ----------------------------------------------------

wishes = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.sampled_from([OrderType.MARKET, OrderType.LIMIT, OrderType.STOP]),
        st.decimals("0.00000001", 20, places=8),
        st.integers(9_500, 10_500),
    ),
    min_size=1,
    max_size=8,
)
market = st.lists(
    st.tuples(st.sampled_from(["quote", "bar", "cancel"]), st.integers(9_400, 10_600)), max_size=20
)


@BOUNDED
@given(wishes, market, st.decimals(0, 1, places=3), st.decimals(0, 100, places=1), st.booleans())
def test_i4_cash_is_the_start_and_every_execution_of_the_exchange(
    wishes: Sequence[tuple[Side, OrderType, Decimal, int]],
    market: Sequence[tuple[str, int]],
    commission: Decimal,
    slippage: Decimal,
    in_base: bool,
) -> None:
    """Orders of all kinds on an exchange with all costs, in money or in what is bought; the sum is
    made here, in fractions."""
    orders = tuple(
        Order(
            f"tb-{number}", "puppet", "COIN", side, kind, quantity, OrderPurpose.ENTRY,
            START, START, Decimal(100), state=S.ACCEPTED,
            limit_price=Decimal(cents) / 100 if kind is OrderType.LIMIT else None,
            stop_price=Decimal(cents) / 100 if kind is OrderType.STOP else None,
        )
        for number, (side, kind, quantity, cents) in enumerate(wishes)
    )  # fmt: skip
    rig = Rig(
        instruments=(replace(COIN, commission_in_base=in_base),),
        restored=Restored({"paper": CASH}, orders=orders),
        rules=ExchangeRules(commission, slippage, Decimal(10)),
        void=(CommitIntent, QueryOrder),
    )
    cash, held = Fraction(CASH), Fraction(0)
    for number, (what, cents) in enumerate(market):
        price = cents / 100
        if what == "cancel":
            rig.request_cancel(orders[number % len(orders)])
        elif what == "quote":
            rig.quote(price, "COIN", spread=0.02, size=7.5)
        else:
            rig.bar(price, price + 1, price - 1, price, symbol="COIN", volume=40.5)
    for event in rig.inputs:
        if isinstance(event, ExecutionReport) and (fill := event.fill) is not None:
            signed = fill.side.sign * Fraction(fill.quantity)
            cash -= signed * Fraction(fill.price) + Fraction(fill.commission)
            held += signed - Fraction(fill.commission_quantity)
    assert Fraction(rig.cash) == cash
    assert Fraction(rig.position(symbol="COIN").quantity) == held


# --- I5: after the kill switch nothing leaves and everything is cancelled -------------------------


def step_by_step(kill_after: int) -> tuple[Rig, int, bool]:
    """A signal, its order on its way in single steps, two partial fills and the stops; with a kill
    after `kill_after` of the steps. Answers the rig, the number of submits at the kill, and
    whether the kill came at all."""
    rig = Rig()
    rig.hold = set(REQUESTS)
    sent, tripped = 0, False

    def maybe_kill(step: int) -> None:
        nonlocal sent, tripped
        if step == kill_after:
            sent, tripped = rig.count(SubmitOrder), True
            rig.kill()

    steps: list[Callable[[], object]] = [
        lambda: rig.quote(100),
        lambda: rig.signal(Side.BUY, 100),
        rig.step,  # the intent is committed
        rig.step,  # the submit is accepted
        lambda: rig.quote(100, size=20),
        rig.step,  # the stop's intent
        rig.step,  # the stop's submit
        lambda: rig.quote(100, size=1e6),
        rig.step,  # the replace of the stop that is too small
        lambda: rig.quote(100),
        lambda: rig.signal(Side.SELL, 100),
        rig.step,  # the cancel of the stop
        rig.step,  # the intent of the exit
        rig.step,  # the submit of the exit
    ]
    for number, step in enumerate(steps):
        maybe_kill(number)
        if step != rig.step or rig.held:
            step()
    maybe_kill(len(steps))
    return rig, sent, tripped


@pytest.mark.parametrize("kill_after", range(15))
def test_i5_a_kill_at_every_step_from_the_signal_to_the_exit(kill_after: int) -> None:
    rig, sent, tripped = step_by_step(kill_after)
    assert tripped
    rig.release()
    for _ in range(10):
        rig.tick(1)
        rig.quote(100)
    assert rig.count(SubmitOrder) == sent, "nothing leaves after the trip"
    assert rig.open == [], "what was on its way was cancelled when it became known"
    for order in rig.submits():
        found = rig.exchange.find(order.client_order_id)
        assert found is not None
        assert found.state in (S.CANCELED, S.FILLED)
    assert rig.killed


def test_i5_the_steps_are_those_that_they_are_said_to_be() -> None:
    rig, _, tripped = step_by_step(99)
    assert not tripped
    assert [order.purpose for order in rig.submits()] == [
        OrderPurpose.ENTRY,
        OrderPurpose.PROTECTIVE_STOP,
        OrderPurpose.EXIT,
    ]
    assert rig.count(ReplaceOrder) == 1


def test_i5_an_order_in_flight_is_cancelled_in_the_event_in_which_it_becomes_known() -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    assert len(effects_of(rig.kill(), CancelOrder)) == 1
    rig.send(CancelRejected(order.client_order_id, "unknown order"))
    effects = rig.report(order, S.ACCEPTED)
    assert [e.order.client_order_id for e in effects_of(effects, CancelOrder)] == [
        order.client_order_id
    ]


def test_i5_an_order_in_doubt_is_cancelled_in_the_event_in_which_it_becomes_known() -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    rig.tick(5)
    assert len(effects_of(rig.kill(), CancelOrder)) == 1
    assert len(effects_of(rig.report(order, S.ACCEPTED), CancelOrder)) == 1


def test_i5_an_order_that_turns_up_after_it_was_given_up_is_cancelled_too() -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    rig.tick(5)
    rig.kill()
    rig.tick(30)
    rig.send(OrderNotFound(order.client_order_id))
    assert rig.state_of(order) is S.ABANDONED
    assert len(effects_of(rig.fill(order, 10), CancelOrder)) == 1


async def test_i5_it_stays_tripped_over_restarts_until_the_word_is_given(tmp_path: Path) -> None:
    settings = zigzag(tmp_path)

    def made() -> int:
        return rows(settings, "SELECT count(*) FROM orders")[0][0]

    async with running(settings) as session:
        await session.until(lambda s: s.positions)
        session.command(TripKillSwitch(source="key"))
        await session.until(lambda s: s.kill.phase == "complete")
    orders, resumed = made(), session.snapshots[-1].ts
    for minutes, word in ((8, "yes"), (16, "")):
        later = resumed + minutes * MINUTE
        async with running(settings) as session:
            await session.until(lambda s: s.feed.status == "connected")
            session.command(RearmKillSwitch(word=word))
            await session.until(lambda s, later=later: s.ts > later)
            assert session.snapshots[-1].kill.tripped
    assert made() == orders
    async with running(settings) as session:
        session.command(RearmKillSwitch(word="REARM"))
        await session.until(lambda s: not s.kill.tripped)
        await session.until(lambda _: made() > orders)


# --- I6: every limit holds at every submit --------------------------------------------------------


def leaves(rig: Rig) -> bool:
    """Whether a buy signal makes an order that leaves."""
    before = rig.count(SubmitOrder)
    rig.signal(Side.BUY)
    return rig.count(SubmitOrder) > before


@pytest.mark.parametrize(("price", "sent"), [(8.5, 1), (8.49, 1), (8.489, 0)])
def test_i6_the_position_size_at_its_limit_and_one_step_over(price: float, sent: int) -> None:
    """49 at 100.50, the worst price, are 5 % of 98,490: what is left when the other falls to 8.49
    while the intent is on its way to the disk."""
    held = Position("other", "COIN", quantity=Decimal(1000), cost=Decimal(10_000))
    rig = Rig(
        "puppet", "other", instruments=(ACME, COIN),
        restored=Restored({"paper": CASH - 10_000}, positions=(held,), marks={"COIN": 10.0}),
        limits=RiskLimits(max_daily_loss=Decimal(10**9)),
    )  # fmt: skip
    rig.quote(10, "COIN")
    rig.hold = {CommitIntent}
    rig.signal(Side.BUY)
    assert rig.last(OrderPurpose.ENTRY).quantity == 49
    rig.quote(price, "COIN")
    rig.release()
    assert len(rig.submits(OrderPurpose.ENTRY)) == sent


@pytest.mark.parametrize("cash", ["0", "-1", "-100000"])
def test_i6_nothing_is_bought_without_equity(cash: str) -> None:
    states = (StrategyState("puppet", True),)
    rig = Rig(restored=Restored({"paper": Decimal(cash)}, strategies=states))
    assert not leaves(rig)


def test_i6_nothing_is_bought_while_equity_is_unknown() -> None:
    held = Position("puppet", "COIN", quantity=Decimal(1), cost=Decimal(100))
    states = (StrategyState("puppet", True),)
    rig = Rig(
        instruments=(ACME, COIN),
        restored=Restored({"paper": CASH}, positions=(held,), strategies=states),
    )
    assert not leaves(rig)


@pytest.mark.parametrize(("loss", "trips"), [("999.99", False), ("1000", True), ("1000.01", True)])
def test_i6_the_daily_loss_trips_in_the_event_that_reaches_it(loss: str, trips: bool) -> None:
    held = Position("puppet", "ACME", quantity=Decimal(400), cost=Decimal(40_000))
    rig = Rig(restored=Restored({"paper": CASH - 40_000}, positions=(held,), marks={"ACME": 100.0}))
    rig.quote(100)
    effects = rig.quote(float(100 - Decimal(loss) / 400))
    assert bool(facts_of(effects, KillSwitchTriggered)) is trips


@pytest.mark.parametrize(("price", "trips"), [(85.01, False), (85.0, True), (84.99, True)])
def test_i6_the_drawdown_trips_in_the_event_that_reaches_it(price: float, trips: bool) -> None:
    held = Position("puppet", "ACME", quantity=Decimal(1000), cost=Decimal(100_000))
    wide = Decimal(100)
    limits = RiskLimits(
        max_daily_loss=Decimal(10**9), max_daily_loss_pct=wide, price_collar_pct=wide
    )
    rig = Rig(
        restored=Restored({"paper": Decimal(0)}, positions=(held,), marks={"ACME": 100.0}),
        limits=limits,
    )
    rig.quote(100)
    assert bool(facts_of(rig.quote(price), KillSwitchTriggered)) is trips


# --- I7: orders move only along the graph ---------------------------------------------------------

anything = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.sampled_from(list(S))),
        st.tuples(st.just("fill"), st.integers(-1, 60), st.sampled_from(list(S)),
                  st.sampled_from(["a", "b", "c", "d", "e"])),
        st.tuples(st.just("failure"), st.integers(0, 4)),
        st.tuples(st.just("tick"), st.integers(1, 20)),
        st.tuples(st.just("cancel")),
        st.tuples(st.just("kill")),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)  # fmt: skip


@tried(BOUNDED, max_examples=300)
@given(anything)
def test_i7_whatever_a_venue_says_an_order_stays_on_the_graph(
    events: Sequence[tuple[Any, ...]],
) -> None:
    rig = Rig(void=VENUE)
    order = rig.buy()
    key = order.client_order_id
    failures = [
        SubmitFailed(key, True, "reset"),
        SubmitFailed(key, False, "refused"),
        CancelRejected(key, "too late"),
        OrderNotFound(key),
        IntentCommitted(key),
    ]
    for what, *how in events:
        match what:
            case "report":
                rig.report(order, how[0])
            case "fill":
                rig.fill(order, how[0], execution_id=how[2], state=how[1])
            case "failure":
                rig.send(replace(failures[how[0]]))
            case "tick":
                rig.tick(how[0])
            case "cancel":
                rig.request_cancel(order)
            case "kill":
                rig.kill()
            case _:
                rig = Rig(restored=rig.durable(), void=VENUE, now=rig.now)
        assert rig.facts(LawBroken) == []
        assert rig.machine.error is None


@pytest.mark.parametrize("state", list(S))
def test_i7_a_report_of_any_state_before_the_order_has_left(state: S) -> None:
    rig = Rig(void=VENUE)
    rig.hold = {CommitIntent}
    order = rig.buy()
    rig.report(order, state)
    rig.release()
    rig.tick(5)
    assert rig.machine.error is None
    assert len(rig.submits()) <= 1


def test_i7_a_broken_law_trips_the_kill_switch_and_nothing_leaves() -> None:
    rig = Rig(audited=False)
    rig.hold = {CommitIntent}
    order = rig.buy()
    effects = rig.fill(order, 10)  # of an order that has not left: it cannot be
    assert [fact.law for fact in facts_of(effects, LawBroken)] == ["I7"]
    assert rig.killed
    rig.release()
    assert rig.submits() == []


# --- I9: the journal leads to the same state ------------------------------------------------------

REPLAY = """
import sys
from pathlib import Path
from engine.ops.settings import load_settings
from tests.session import replayed
print(replayed(load_settings(), Path(sys.argv[1])).state_hash())
"""


def replayed_elsewhere(journal: Path, hash_seed: str) -> str:
    """The state hash that another process comes to."""
    ran = subprocess.run(
        [sys.executable, "-c", REPLAY, str(journal)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
    )
    return ran.stdout.strip()


async def test_i9_the_journal_of_a_day_leads_any_process_to_the_same_state(tmp_path: Path) -> None:
    """Recorded bitcoin and ether, as fast as possible, with a kill and a rearm on the way."""
    settings = Settings(data_dir=tmp_path / "var", replay_speed=0, symbols=("BTC-USD", "ETH-USD"))
    async with running(settings) as session:
        await session.until(lambda s: len(s.orders) > 2)
        session.command(TripKillSwitch(source="key"))
        session.command(RearmKillSwitch(word="REARM"))
        end = (await session.until(lambda s: s.kill.phase == "armed")).ts + 4 * 60 * MINUTE
        await session.until(lambda s: s.ts > end or s.feed.status == "ended")
    expected = session.runtime.machine.state_hash()
    (journal,) = journals(settings)
    assert len(session.runtime.machine.portfolio.positions) > 0
    assert replayed(settings, journal).state_hash() == expected
    for seed in ("0", "1"):
        assert replayed_elsewhere(journal, seed) == expected
