"""What was acknowledged is there after a restart, whatever ended the session before."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from engine.core.accounts import Accounts, Rates
from engine.core.bus import Bus
from engine.core.events import (
    Bracket,
    BracketChanged,
    CashAdjusted,
    ChangedLimit,
    CircuitBreakerCounted,
    CircuitBreakerReset,
    CircuitBreakerState,
    CircuitBreakerTripped,
    CommandRefused,
    ConfigUsed,
    DataRefused,
    Event,
    FillQuarantined,
    KilledPart,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    LimitChanged,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderIntended,
    OrderSubmitted,
    PartKilled,
    PartRearmed,
    Pause,
    PositionChanged,
    PositionClosed,
    Restored,
    RiskChecked,
    SignalGenerated,
    StrategyFailed,
    StrategyPaused,
    StrategyResumed,
    StrategyState,
    StrategyToggled,
    SymbolPaused,
    SymbolResumed,
    TradeRecord,
    TradeReversed,
    TradingDayStarted,
)
from engine.core.market import Market
from engine.core.model import (
    FINAL_STATES,
    AssetClass,
    CashAdjustment,
    Fill,
    Instrument,
    KillAction,
    Liquidity,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Part,
    Position,
    RoundTrip,
    Scope,
    Side,
    Signal,
)
from engine.core.portfolio import Portfolio
from engine.ops.errors import UserError
from engine.store import DuplicateIntent, StoreUnavailable
from engine.store.durable import market_at
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.restoring import EXECUTION_IDS_KEPT

from .conftest import Database, MakeFill, MakeOrder, Stamp, begun

ROOT = Path(__file__).parents[2]
CASH = Decimal(100_000)
BITCOIN = Instrument("BTC-USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.00000001"))


async def record(store: Repository, stamp: Stamp, facts: Iterable[Event], together: bool) -> None:
    stamped = [stamp(fact) for fact in facts]
    for batch in [stamped] if together else [[fact] for fact in stamped]:
        await store.record(batch)


async def restart(store: Repository, place: Place, day_start_ts: int | None = None) -> Restored:
    """What the session after that of `store` gets."""
    await store.close()
    return await restored_from(place, day_start_ts)


async def restored_from(place: Place, day_start_ts: int | None = None) -> Restored:
    store = await Repository.open(place)
    try:
        return await begun(store, CASH, day_start_ts)
    finally:
        await store.close()


async def check(place: Place) -> list[str]:
    store = await Repository.open(place)
    try:
        return await store.ledger_check()
    finally:
        await store.close()


def bought(stamp: Stamp, order: Order, fill: Fill, cash: Decimal) -> list[Event]:
    """An entry that filled at once, and the position that it made."""
    position = Position(
        fill.strategy,
        fill.symbol,
        quantity=fill.quantity,
        cost=fill.quantity * fill.price,
        commission=fill.commission,
    )
    filled = replace(order, state=OrderState.FILLED, filled=fill.quantity, avg_price=fill.price)
    return [
        stamp(OrderFilled(filled, fill)),
        stamp(PositionChanged(position, fill, cash + fill.cash_change)),
    ]


# --- intents -------------------------------------------------------------------------------------


async def test_a_new_account_has_its_starting_cash_and_nothing_else(store: Repository) -> None:
    assert await begun(store, CASH) == Restored(cash={"paper": CASH})
    assert await store.last_market() is None
    assert await store.first_start() is None
    assert await store.ledger_check() == []


async def test_an_intent_comes_back_as_it_was(
    store: Repository, place: Place, make_order: MakeOrder
) -> None:
    plain = make_order("tb-1")
    full = make_order(
        "tb-2",
        created_ts=1_700_000_000_000_000_001,
        quantity=Decimal("0.000000010"),
        limit_price=Decimal("1E+3"),
        stop_price=Decimal("0.1000"),
        avg_price=Decimal("12345678901234567890.123456789012"),
        reason="O'Brien; DROP TABLE orders; %_",
        state=OrderState.IN_DOUBT,
    )
    await store.commit_intent(plain)
    await store.commit_intent(full)
    restored = (await restart(store, place)).orders
    assert restored == (plain, full)
    assert await store.orders(1) == [full]


async def test_the_same_intent_twice_is_refused_and_changes_nothing(
    store: Repository, make_order: MakeOrder
) -> None:
    await store.commit_intent(make_order())
    with pytest.raises(DuplicateIntent, match="tb-1"):
        await store.commit_intent(make_order(quantity=Decimal(99)))
    assert await store.orders(10) == [make_order()]


async def test_of_two_that_commit_the_same_intent_at_once_one_is_refused(
    store: Repository, make_order: MakeOrder
) -> None:
    outcomes = await asyncio.gather(
        *(store.commit_intent(make_order()) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(outcome, DuplicateIntent) for outcome in outcomes) == 4
    assert outcomes.count(None) == 1


async def test_a_commit_that_is_cancelled_at_any_step_leaves_the_store_usable(
    store: Repository, make_order: MakeOrder
) -> None:
    for steps in range(60):
        task = asyncio.create_task(store.commit_intent(make_order(f"tb-{steps}")))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.commit_intent(make_order("tb-last"))
    assert "tb-last" in {order.client_order_id for order in await store.orders(100)}


# --- facts ---------------------------------------------------------------------------------------


async def test_an_order_is_restored_as_its_last_fact_has_it(
    store: Repository, place: Place, make_order: MakeOrder, stamp: Stamp
) -> None:
    order = make_order()
    await store.commit_intent(order)
    partly = replace(
        order,
        state=OrderState.PARTIALLY_FILLED,
        filled=Decimal("0.5"),
        avg_price=Decimal("100.25"),
        venue_order_id="V-7",
        reason="half",
        updated_ts=5_000,
    )
    sent = replace(order, state=OrderState.SUBMITTED, updated_ts=2_000)
    await store.record([stamp(OrderSubmitted(sent)), stamp(OrderAccepted(partly))])
    assert (await restart(store, place)).orders == (partly,)


async def test_a_recorded_decision_does_not_pass_for_a_committed_intent(
    store: Repository, make_order: MakeOrder, stamp: Stamp
) -> None:
    """The fact may be recorded before the intent is committed: the intent must then go through."""
    await store.record([stamp(OrderIntended(make_order()))])
    await store.commit_intent(make_order())
    await store.record([stamp(OrderIntended(make_order(state=OrderState.REJECTED)))])
    assert await store.orders(10) == [make_order()]


async def test_an_order_whose_intent_failed_is_kept_with_its_end(
    store: Repository, make_order: MakeOrder, stamp: Stamp
) -> None:
    canceled = make_order(state=OrderState.CANCELED, reason="not sent: disk full")
    await store.record([stamp(OrderCanceled(canceled))])
    assert await store.orders(10) == [canceled]
    with pytest.raises(DuplicateIntent):
        await store.commit_intent(make_order())


async def test_a_fill_is_counted_once(
    store: Repository, place: Place, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    await begun(store, CASH)
    order, fill = make_order(quantity=Decimal(1)), make_fill()
    await store.commit_intent(order)
    facts = bought(stamp, order, fill, CASH)
    await store.record(facts)
    await store.record(facts)
    await store.record([stamp(facts[1])])
    assert await store.trades(10) == [fill]
    assert await store.ledger_check() == []
    restored = await restart(store, place)
    assert restored.cash == {"paper": Decimal("99899.9")}
    assert restored.execution_ids == ("x-1",)


@pytest.mark.parametrize("corrected", [None, Decimal(90)])
async def test_an_execution_that_was_taken_back_gets_a_reversing_entry(
    store: Repository,
    place: Place,
    make_order: MakeOrder,
    make_fill: MakeFill,
    stamp: Stamp,
    corrected: Decimal | None,
) -> None:
    await begun(store, CASH)
    order, fill = make_order(quantity=Decimal(1)), make_fill()
    await store.commit_intent(order)
    facts = bought(stamp, order, fill, CASH)
    await store.record(facts)
    correction = make_fill("x-2", price=corrected) if corrected else None
    position = Position(order.strategy, order.symbol)
    cash = CASH
    if correction is not None:
        (_, change) = bought(stamp, order, correction, CASH)
        assert isinstance(change, PositionChanged)
        position, cash = change.position, change.cash
    await store.record([stamp(TradeReversed(fill, correction, position, cash, "error"))])
    assert await store.ledger_check() == []
    restored = await restart(store, place)
    assert restored.cash == {"paper": cash}
    assert restored.positions == (position,)
    assert "x-1:reversed" in restored.execution_ids


async def test_cash_that_was_taken_over_is_an_entry_in_the_ledger(
    store: Repository,
    place: Place,
    make_order: MakeOrder,
    make_fill: MakeFill,
    stamp: Stamp,
) -> None:
    await begun(store, CASH)
    order = make_order(quantity=Decimal(1))
    await store.commit_intent(order)
    facts = bought(stamp, order, make_fill(), CASH)
    started = stamp(TradingDayStarted("2024-03-04", 1_000.0))
    await store.record([started, *facts])
    await store.save_equity(1, Decimal(1_000), Decimal(1_000), "USD", 1_200.0)
    change = next(fact for fact in facts if isinstance(fact, PositionChanged))
    entry = CashAdjustment("paper", Decimal("-25.5"), 7)
    cash = change.cash + entry.amount
    await store.record([stamp(CashAdjusted(entry, cash, entry.amount, 1_174.5, "me"))])
    assert await store.ledger_check() == []
    restored = await restart(store, place)
    assert restored.cash == {"paper": cash}
    assert restored.adjustments == (entry,)
    assert (restored.day_equity, restored.peak_equity) == (974.5, 1_174.5)


async def test_an_execution_stays_as_it_was_first_recorded(
    store: Repository, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    """The copy that is not passed over is found by the ledger check."""
    await begun(store, CASH)
    order = make_order(quantity=Decimal(1))
    await store.record(bought(stamp, order, make_fill(), CASH))
    await store.record(bought(stamp, order, make_fill(price=Decimal(90)), CASH))
    assert await store.trades(10) == [make_fill()]
    assert "cash at paper is 99909.9, its entries make it 99899.9" in await store.ledger_check()


async def test_a_fact_given_twice_is_recorded_once(store: Repository, stamp: Stamp) -> None:
    """A caller that was interrupted does not know whether its batch was kept, and gives it again,
    with what came since."""
    first = stamp(closed(-1))
    await store.record([first])
    await store.record([first, stamp(closed(-1))])
    assert (await begun(store, CASH)).strategies == (StrategyState("sma", enabled=True, losses=2),)


async def test_the_numbers_of_a_new_session_are_not_those_of_the_last(
    database: Database, place: Place
) -> None:
    """Sequence numbers begin anew: the facts of both sessions are kept."""
    for session in (1, 2):
        store = await Repository.open(place)
        await store.record([CommandRefused("ToggleStrategy", f"session {session}", seq=1)])
        await store.close()
    rows = database.rows("SELECT session, seq, payload FROM audit_log ORDER BY id")
    assert [(s, n, json.decode(p)["reason"]) for s, n, p in rows] == [
        (1, 1, "session 1"),
        (2, 1, "session 2"),
    ]


async def test_a_batch_that_cannot_be_recorded_leaves_nothing_behind(
    store: Repository, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    facts = bought(stamp, make_order(), make_fill(), CASH)
    with pytest.raises(Exception, match="is not a finite number"):
        await store.record([*facts, stamp(OrderAccepted(make_order(filled=Decimal("NaN"))))])
    assert await store.orders(10) == []
    assert await store.trades(10) == []
    await store.record(facts)
    assert len(await store.trades(10)) == 1


async def test_every_fact_is_in_the_audit_log_with_its_cause(
    store: Repository, database: Database, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    facts = [
        stamp(RiskChecked("tb-1", "account", "exposure", 0.5, 0.8, True)),
        replace(stamp(OrderIntended(make_order(quantity=Decimal("0.10")))), cause=1),
        stamp(FillQuarantined(make_fill(price=Decimal("NaN")), "no price")),
        stamp(DataRefused("BTC-USD", "crossed")),
    ]
    await store.record(facts)
    rows = database.rows("SELECT seq, ts, kind, cause, payload FROM audit_log ORDER BY id")
    assert [row[:4] for row in rows] == [
        (1, 1, "RiskChecked", 0),
        (2, 2, "OrderIntended", 1),
        (3, 3, "FillQuarantined", 0),
    ]
    assert json.decode(rows[0][4])["limit"] == 0.8
    assert json.decode(rows[1][4], type=OrderIntended) == facts[1]
    assert json.decode(rows[2][4])["fill"]["price"] == "NaN"


async def test_recording_nothing_is_no_error(store: Repository) -> None:
    await store.record([])
    assert await begun(store, CASH) == Restored(cash={"paper": CASH})


# --- strategies, kill switch, day ----------------------------------------------------------------


def signal(symbol: str, side: Side) -> SignalGenerated:
    return SignalGenerated(Signal("sma", symbol, side, 1, 100.0))


def closed(pnl: int) -> PositionClosed:
    one = Decimal(1)
    trip = RoundTrip("sma", "X", Side.BUY, one, one, one, 1, 2, Decimal(pnl), Decimal(0))
    return PositionClosed(trip)


async def test_the_returns_of_round_trips_are_kept(store: Repository, stamp: Stamp) -> None:
    await store.record([stamp(closed(-1)), stamp(closed(2))])
    restored = await begun(store, CASH)
    assert restored.records == (TradeRecord("sma", (-1.0, 2.0)),)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ([StrategyToggled("sma", True, "ann")], StrategyState("sma", True)),
        ([StrategyToggled("sma", False, "ann")], StrategyState("sma", False)),
        (
            [signal("X", Side.BUY), signal("Y", Side.BUY), signal("X", Side.SELL)],
            StrategyState("sma", True, last_signals={"Y": Side.BUY, "X": Side.SELL}),
        ),
        ([closed(-1), closed(-1)], StrategyState("sma", True, losses=2)),
        ([closed(-1), closed(0)], StrategyState("sma", True)),
        (
            [closed(-1), StrategyPaused("sma", "3 losses in a row")],
            StrategyState("sma", True, "3 losses in a row", 1),
        ),
        (
            [closed(-1), StrategyPaused("sma", "3 losses in a row"), StrategyResumed("sma")],
            StrategyState("sma", True),
        ),
        ([StrategyFailed("sma", "ValueError")], StrategyState("sma", False, "ValueError")),
        (
            [closed(-1), StrategyFailed("sma", "oops"), StrategyToggled("sma", True, "ann")],
            StrategyState("sma", True),
        ),
        (
            [closed(-1), StrategyToggled("sma", False, "ann"), signal("X", Side.BUY)],
            StrategyState("sma", False, losses=1, last_signals={"X": Side.BUY}),
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
async def test_a_strategy_is_restored_as_its_facts_left_it(
    store: Repository, stamp: Stamp, facts: list[Event], state: StrategyState, together: bool
) -> None:
    await record(store, stamp, facts, together)
    (restored,) = (await begun(store, CASH)).strategies
    assert restored == state
    assert [*restored.last_signals] == [*state.last_signals]


TRIPPED = KillSwitchState(True, "key", "panic", 1)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ([KillSwitchTriggered("key", "panic")], TRIPPED),
        ([KillSwitchTriggered("key", "panic"), KillSwitchTriggered("file", "again")], TRIPPED),
        ([KillSwitchTriggered("key", "panic"), KillSwitchRearmed("ann")], KillSwitchState()),
        (
            [KillSwitchTriggered("a", ""), KillSwitchRearmed("ann"), KillSwitchTriggered("b", "")],
            KillSwitchState(True, "b", "", 3),
        ),
        (
            [
                KillSwitchTriggered("key", "panic"),
                KillSwitchTriggered("cli", "all out", action=KillAction.FLATTEN),
            ],
            replace(TRIPPED, action=KillAction.FLATTEN, flatten_ts=2),
        ),
        (
            [
                KillSwitchTriggered("key", "panic", action=KillAction.FLATTEN),
                KillSwitchTriggered("key", "again", action=KillAction.FLATTEN),
            ],
            replace(TRIPPED, action=KillAction.FLATTEN, flatten_ts=2),
        ),
        ([CircuitBreakerCounted(2, 5, "no margin")], CircuitBreakerState(2)),
        (
            [CircuitBreakerCounted(2, 5, "no margin"), CircuitBreakerCounted(0, 5, "")],
            CircuitBreakerState(),
        ),
        (
            [CircuitBreakerCounted(5, 5, "halted"), CircuitBreakerTripped("5 failures")],
            CircuitBreakerState(5, True, "5 failures", 2),
        ),
        ([CircuitBreakerTripped("too fast"), CircuitBreakerReset("ann")], CircuitBreakerState()),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
async def test_the_kill_switch_and_the_circuit_breaker_stay_as_they_were(
    store: Repository,
    place: Place,
    stamp: Stamp,
    facts: list[Event],
    state: KillSwitchState | CircuitBreakerState,
    together: bool,
) -> None:
    await record(store, stamp, facts, together)
    restored = await restart(store, place)
    assert state in (restored.kill, restored.breaker)


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
async def test_the_parts_that_are_killed_stay_so_each_as_it_was_killed_first(
    store: Repository, place: Place, stamp: Stamp, together: bool
) -> None:
    symbol, broker = Part(Scope.SYMBOL, "ACME"), Part(Scope.BROKER, "paper")
    facts = [
        PartKilled(symbol, "key", "panic", "ann", KillAction.STOP),
        PartKilled(broker, "key", "panic", "ann"),
        PartKilled(symbol, "tradebot kill", "all out", "bob", KillAction.FLATTEN),
        PartRearmed(broker, "ann"),
    ]
    await record(store, stamp, facts, together)
    killed = KilledPart(symbol, "key", "panic", 1, KillAction.FLATTEN)
    assert (await restart(store, place)).killed_parts == (killed,)


async def test_limits_that_were_changed_stay_so(
    store: Repository, place: Place, stamp: Stamp
) -> None:
    changes = [
        LimitChanged("max_daily_loss", "1000", "500", False, "ann", "1000"),
        LimitChanged("max_daily_loss", "500", "600", True, "ann", "1000"),
        LimitChanged("extended_hours", "false", "true", True, "ann", "false"),
        LimitChanged("high_water_mark", "110000", "99000.5", True, "ann"),
    ]
    await store.save_equity(1, Decimal(100_000), Decimal(100_000), "USD", 110_000.0)
    await store.record([stamp(fact) for fact in changes[:1]])
    await store.record([stamp(fact) for fact in changes[1:]])
    restored = await restart(store, place)
    assert restored.limits == (
        ChangedLimit("max_daily_loss", "600", "1000"),
        ChangedLimit("extended_hours", "true", "false"),
    )
    assert restored.peak_equity == 99_000.5


BTC_PAUSE = Pause("BTC-USD", "rejected", 9_000)
BTC_HALT = Pause("BTC-USD", "halted: news", halted=True)
ETH_PAUSE = Pause("ETH-USD", "a split")


def paused(pause: Pause) -> SymbolPaused:
    return SymbolPaused(pause.symbol, pause.reason, pause.until, pause.halted)


@pytest.mark.parametrize(
    ("facts", "pauses"),
    [
        ([paused(BTC_PAUSE)], (BTC_PAUSE,)),
        ([paused(BTC_PAUSE), paused(ETH_PAUSE)], (BTC_PAUSE, ETH_PAUSE)),
        ([paused(BTC_PAUSE), paused(replace(BTC_PAUSE, until=0))], (replace(BTC_PAUSE, until=0),)),
        ([paused(BTC_PAUSE), paused(BTC_HALT)], (BTC_PAUSE, BTC_HALT)),
        ([paused(BTC_PAUSE), paused(BTC_HALT), SymbolResumed("BTC-USD")], (BTC_HALT,)),
        (
            [paused(BTC_PAUSE), paused(BTC_HALT), SymbolResumed("BTC-USD", halted=True)],
            (BTC_PAUSE,),
        ),
        ([paused(BTC_PAUSE), SymbolResumed("ETH-USD", "ann")], (BTC_PAUSE,)),
        ([paused(BTC_PAUSE), SymbolResumed("BTC-USD", "ann")], ()),
    ],
)
async def test_pauses_and_halts_stay_until_they_end(
    store: Repository,
    place: Place,
    stamp: Stamp,
    facts: list[Event],
    pauses: tuple[Pause, ...],
) -> None:
    stamped = [stamp(fact) for fact in facts]
    await store.record(stamped[:1])
    await store.record(stamped[1:])
    assert (await restart(store, place)).pauses == pauses


BTC_BRACKET = Bracket("a", "BTC-USD", Decimal("41000.50"), Decimal("52000"), Decimal("1500.25"))
ETH_BRACKET = Bracket("a", "ETH-USD", None, Decimal("4000.000000001"))
OTHERS_BRACKET = Bracket("b", "BTC-USD", Decimal(1), None, Decimal(2))
MOVED = replace(BTC_BRACKET, stop_price=Decimal("43000.75"))


@pytest.mark.parametrize(
    ("brackets", "left"),
    [
        ([BTC_BRACKET], (BTC_BRACKET,)),
        ([BTC_BRACKET, MOVED], (MOVED,)),
        ([BTC_BRACKET, ETH_BRACKET, OTHERS_BRACKET], (BTC_BRACKET, ETH_BRACKET, OTHERS_BRACKET)),
        ([BTC_BRACKET, OTHERS_BRACKET, Bracket("a", "BTC-USD")], (OTHERS_BRACKET,)),
        ([BTC_BRACKET, Bracket("a", "BTC-USD"), MOVED], (MOVED,)),
        ([Bracket("a", "BTC-USD")], ()),
    ],
)
async def test_brackets_stay_as_long_as_their_positions(
    store: Repository,
    place: Place,
    stamp: Stamp,
    brackets: list[Bracket],
    left: tuple[Bracket, ...],
) -> None:
    """To the last digit: a stop that followed the price is where it was."""
    stamped = [stamp(BracketChanged(bracket)) for bracket in brackets]
    await store.record(stamped[:1])
    await store.record(stamped[1:])
    assert (await restart(store, place)).brackets == left


async def test_what_a_batch_that_failed_said_of_pauses_and_brackets_is_not_kept(
    store: Repository, place: Place, database: Database, stamp: Stamp
) -> None:
    await store.record([stamp(paused(BTC_PAUSE)), stamp(BracketChanged(BTC_BRACKET))])
    async with database.locked():
        with pytest.raises(StoreUnavailable):
            await store.record([stamp(SymbolResumed("BTC-USD")), stamp(BracketChanged(MOVED))])
    restored = await restart(store, place)
    assert (restored.pauses, restored.brackets) == ((BTC_PAUSE,), (BTC_BRACKET,))


async def test_a_pause_that_cannot_be_read_is_the_users_to_mend(
    store: Repository, place: Place, database: Database, stamp: Stamp
) -> None:
    await store.record([stamp(paused(BTC_PAUSE))])
    await store.close()
    database.edit("UPDATE bot_state SET value = '[1]' WHERE key = 'pauses'")
    with pytest.raises(UserError, match="holds a value that cannot be read"):
        await restored_from(place)


async def test_the_trading_day_the_peak_and_the_marks_are_restored(
    store: Repository, place: Place, stamp: Stamp
) -> None:
    await store.record([stamp(TradingDayStarted("2022-01-03", 100_250.5), ts=7_000)])
    await store.save_equity(8_000, Decimal("100300.10"), Decimal(50_000), "USD", 101_000.25)
    await store.save_market_time(9_000, {"BTC-USD": 43_210.55, "AAPL": 0.1 + 0.2})
    restored = await restart(store, place)
    assert (restored.day, restored.day_equity) == ("2022-01-03", 100_250.5)
    assert restored.peak_equity == 101_000.25
    assert restored.marks == {"BTC-USD": 43_210.55, "AAPL": 0.1 + 0.2}
    assert await store.last_market() == market_at(9_000, restored.marks)


async def test_what_stands_is_kept_with_an_intent_and_its_facts_or_none_of_it(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    order = make_order()
    there, later = market_at(9_000, {"X": 1.0}, 3), market_at(9_500, {"X": 2.0}, 1)
    facts = [stamp(ConfigUsed("a"), ts=8_000)]
    await store.commit_intents([order], facts, {"market": there, "peak_equity": 7.0})
    broken = [stamp(OrderAccepted(make_order(filled=Decimal("NaN"))))]
    with pytest.raises(Exception, match="finite"):
        await store.commit_intents([make_order("tb-2")], broken, {"market": later})
    restored = await restart(store, place)
    assert [each.client_order_id for each in restored.orders] == [order.client_order_id]
    assert restored.peak_equity == 7.0
    assert await store.last_market() == there
    await store.record([stamp(ConfigUsed("b"), ts=9_700)], {"market": later})
    assert await store.last_market() == later
    assert await store.first_start() == 8_000


async def test_what_is_no_number_does_not_keep_the_next_session_from_starting(
    store: Repository, place: Place, stamp: Stamp
) -> None:
    nan, infinity = float("nan"), float("inf")
    await store.record([stamp(TradingDayStarted("2022-01-03", nan))])
    await store.save_equity(8_000, Decimal(1), Decimal(1), "USD", nan)
    await store.save_market_time(9_000, {"X": nan, "Y": infinity, "Z": 1.0})
    restored = await restart(store, place)
    assert (restored.day, restored.day_equity, restored.peak_equity) == ("", None, None)
    assert restored.marks == {"Z": 1.0}


async def test_the_equity_curve_has_one_point_a_time(store: Repository, database: Database) -> None:
    await store.save_equity(1, Decimal("10.0"), Decimal("4.50"), "USD", 10.0)
    await store.save_equity(2, Decimal("11.0"), Decimal("4.50"), "USD", 11.0)
    await store.save_equity(2, Decimal("12.0"), Decimal("4.50"), "USD", 12.0)
    rows = database.rows("SELECT ts, equity, cash, currency FROM equity_curve ORDER BY ts")
    assert [tuple(map(str, row)) for row in rows] == [
        ("1", "10.0", "4.50", "USD"),
        ("2", "12.0", "4.50", "USD"),
    ]


# --- restoring -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", OrderState)
async def test_open_orders_and_those_of_the_day_are_restored(
    store: Repository, place: Place, make_order: MakeOrder, state: OrderState
) -> None:
    yesterday = make_order("tb-old", created_ts=10, state=state)
    today = make_order("tb-new", created_ts=20, state=state)
    await store.commit_intent(today)
    await store.commit_intent(yesterday)
    expected = (today,) if state in FINAL_STATES else (yesterday, today)
    assert (await restart(store, place, day_start_ts=20)).orders == expected
    open_ones = () if state in FINAL_STATES else (yesterday, today)
    assert (await restart(store, place)).orders == open_ones


async def test_the_day_begins_where_the_last_one_was_recorded(
    store: Repository, place: Place, make_order: MakeOrder, stamp: Stamp
) -> None:
    await store.commit_intent(make_order("tb-old", created_ts=10, state=OrderState.FILLED))
    await store.commit_intent(make_order("tb-new", created_ts=20, state=OrderState.FILLED))
    await store.record([stamp(TradingDayStarted("2022-01-03", 1.0), ts=20)])
    assert [o.client_order_id for o in (await restart(store, place)).orders] == ["tb-new"]


async def test_old_executions_are_restored_with_their_order_only(
    store: Repository, place: Place, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    """All of them count in the ledger; the ids are kept to know a late copy by."""
    await begun(store, CASH)
    now = EXECUTION_IDS_KEPT * 2
    final = make_order("tb-final", created_ts=1, state=OrderState.FILLED)
    alive = make_order("tb-open", created_ts=1, state=OrderState.PARTIALLY_FILLED)
    times = {"x-old": 1, "x-open": 2, "x-edge": now - EXECUTION_IDS_KEPT, "x-new": now}
    for name, ts in times.items():
        order = alive if name == "x-open" else final
        fill = make_fill(name, client_order_id=order.client_order_id, ts=ts)
        await store.record(bought(stamp, order, fill, CASH)[1:])
    for order in (final, alive):
        await store.commit_intent(order)
    restored = await restart(store, place)
    assert restored.execution_ids == ("x-open", "x-edge", "x-new")
    assert restored.cash == {"paper": CASH - 4 * Decimal("100.1")}


async def test_later_starting_cash_does_not_rewrite_history(
    store: Repository, place: Place
) -> None:
    await begun(store, Decimal("500.10"))
    assert (await restart(store, place)).cash == {"paper": Decimal("500.10")}


async def test_what_a_commission_took_of_the_instrument_is_kept(
    store: Repository, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    await begun(store, CASH)
    order = make_order(quantity=Decimal(1))
    fill = make_fill(commission_quantity=Decimal("0.001"), liquidity=Liquidity.MAKER)
    await store.commit_intent(order)
    await store.record(bought(stamp, order, fill, CASH))
    assert await store.trades(10) == [fill]
    assert (await begun(store, CASH)).fills == (fill,)


async def test_trades_are_read_newest_first(
    store: Repository, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    fills = [make_fill(f"x-{ts}", ts=ts) for ts in (3, 1, 2)]
    for fill in fills:
        await store.record(bought(stamp, make_order(), fill, CASH))
    assert [fill.ts for fill in await store.trades(2)] == [3, 2]


# The fixtures of a test are shared by its examples; each makes a database of its own.
UNHURRIED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
quantities = st.decimals("0.00000001", "5", places=8)
prices = st.decimals("0.01", "99999.99", places=2)
executions = st.tuples(
    st.sampled_from(["sma", "rsi"]), st.sampled_from(Side), quantities, prices, prices
)


@settings(max_examples=25, deadline=None, suppress_health_check=UNHURRIED)
@given(st.lists(executions, min_size=1, max_size=30))
async def test_the_ledger_of_the_next_session_is_the_portfolio_of_the_last(
    tmp_path_factory: pytest.TempPathFactory, given_executions: list[Any]
) -> None:
    place = Place.in_file(tmp_path_factory.mktemp("ledger") / "paper.db", Mode.PAPER)
    portfolio, facts = _trade(given_executions)
    store = await Repository.open(place)
    await begun(store, CASH)
    await store.record(facts)
    assert await store.ledger_check() == []
    await store.close()
    restored = await restart(store, place)
    assert restored.cash == portfolio.cash
    assert {(p.strategy, p.symbol): p for p in restored.positions} == portfolio.positions


def _trade(given_executions: list[Any]) -> tuple[Portfolio, list[Event]]:
    """A portfolio after the executions, each of an order of its own, and the facts of it."""
    bus, facts = Bus(), list[Event]()
    bus.record_with(facts.append)
    accounts = Accounts([BITCOIN], "USD", {}, Rates(), lambda name, texts: None)
    portfolio = Portfolio(bus, Market(bus, [BITCOIN], 10, 1), accounts, {"paper": CASH})
    bus.subscribe(OrderFilled, portfolio.on_fill)
    for number, (strategy, side, quantity, price, commission) in enumerate(given_executions):
        name = f"tb-{number}"
        fill = Fill(
            f"x-{number}", name, "BTC-USD", side, quantity, price, commission, number, strategy,
            venue="paper",
        )  # fmt: skip
        order = Order(
            name,
            strategy,
            "BTC-USD",
            side,
            OrderType.MARKET,
            quantity,
            OrderPurpose.ENTRY,
            created_ts=number,
            updated_ts=number,
            reference_price=price,
            state=OrderState.FILLED,
            filled=quantity,
        )
        bus.publish(OrderFilled(order, fill))
        bus.deliver(Event())
    return portfolio, facts


# --- edited databases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE trades SET quantity = '2'", "position sma_crossover BTC-USD: quantity is 1"),
        (
            "UPDATE trades SET price = '100.01'",
            "cash at paper is 99899.9, its entries make it 99899.89",
        ),
        (
            "UPDATE trades SET commission = '0'",
            "cash at paper is 99899.9, its entries make it 99900",
        ),
        (
            "UPDATE trades SET commission_quantity = '0.25'",
            "position sma_crossover BTC-USD: quantity is 1, its executions make it 0.75",
        ),
        ("UPDATE trades SET side = 'sell'", "quantity is 1, its executions make it -1"),
        ("UPDATE trades SET client_order_id = 'tb-9'", "order tb-9 has executions and no intent"),
        ("UPDATE positions SET quantity = '1.00000001'", "quantity is 1.00000001"),
        ("UPDATE positions SET cost = '99.99'", "realised less invested"),
        ("UPDATE orders SET filled = '0.5'", "order tb-1: filled is 0.5, its executions make it 1"),
        (
            "UPDATE bot_state SET value = '{\"paper\": \"1\"}' WHERE key = 'cash'",
            "cash at paper is 1, its entries",
        ),
        ("DELETE FROM trades", "order tb-1: filled is 1, its executions make it 0"),
        ("DELETE FROM positions", "quantity is 0, its executions make it 1"),
        ("DELETE FROM orders", "order tb-1 has executions and no intent"),
    ],
)
async def test_the_ledger_check_finds_an_edited_row(
    store: Repository,
    database: Database,
    make_order: MakeOrder,
    make_fill: MakeFill,
    stamp: Stamp,
    statement: str,
    said: str,
) -> None:
    await begun(store, CASH)
    order = make_order(quantity=Decimal(1))
    await store.commit_intent(order)
    await store.record(bought(stamp, order, make_fill(), CASH))
    assert await store.ledger_check() == []
    database.edit(statement)
    assert any(said in difference for difference in await store.ledger_check())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET side = 'hold'",
        "UPDATE bot_state SET value = '{' WHERE key = 'opening_cash'",
    ],
)
async def test_a_value_that_cannot_be_read_is_the_users_to_mend(
    store: Repository, database: Database, make_order: MakeOrder, statement: str
) -> None:
    await begun(store, CASH)
    await store.commit_intent(make_order())
    database.edit(statement)
    with pytest.raises(UserError, match="holds a value that cannot be read"):
        await begun(store, CASH)


# --- a database out of reach ---------------------------------------------------------------------


@asynccontextmanager
async def full(store: Repository, make_order: MakeOrder) -> AsyncIterator[None]:
    """The disk takes nothing more. Returns when that is felt: the last page has room left."""
    async with store._database.begin() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with suppress(StoreUnavailable):
        for number in range(1_000):
            await store.commit_intent(make_order(f"tb-fill-{number}"))
    yield
    async with store._database.begin() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")


async def test_a_locked_database_is_out_of_reach_for_a_while(
    store: Repository, database: Database, make_order: MakeOrder, stamp: Stamp
) -> None:
    loop = asyncio.get_running_loop()
    refused = "database is locked|canceling statement due to lock timeout"
    async with database.locked():
        before = loop.time()
        with pytest.raises(StoreUnavailable, match=refused):
            await store.commit_intent(make_order())
        assert 0.9 < loop.time() - before < 2
        with pytest.raises(StoreUnavailable, match=refused):
            await store.record([stamp(CommandRefused("ToggleStrategy", "no"))])
        assert await store.orders(10) == []
    await store.commit_intent(make_order())
    assert await store.orders(10) == [make_order()]


async def test_no_call_waits_long_for_its_turn(
    store: Repository, database: Database, make_order: MakeOrder
) -> None:
    """Ten intents at a locked database are all told within two seconds, not in ten."""
    loop = asyncio.get_running_loop()
    async with database.locked():
        before = loop.time()
        outcomes = await asyncio.gather(
            *(store.commit_intent(make_order(f"tb-{n}")) for n in range(10)),
            return_exceptions=True,
        )
        assert loop.time() - before < 3
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert "calls before this one still wait for the database" in map(str, outcomes)
    await store.commit_intent(make_order())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_full_disk_keeps_nothing_of_the_call_and_passes(
    store: Repository, make_order: MakeOrder, make_fill: MakeFill, stamp: Stamp
) -> None:
    facts = bought(stamp, make_order(), make_fill(), CASH)
    notes = [stamp(CommandRefused("ToggleStrategy", "x" * 300)) for _ in range(50)]
    async with full(store, make_order):
        kept = await store.orders(2_000)
        with pytest.raises(StoreUnavailable, match="database or disk is full"):
            await store.record([*facts, *notes])
        assert await store.orders(2_000) == kept
        assert await store.trades(10) == []
    await store.record([*facts, *notes])
    assert await store.trades(10) == [make_fill()]


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from engine.core.events import CommandRefused
from engine.core.model import Mode
from engine.store import StoreUnavailable
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.restoring import EXECUTION_IDS_KEPT

async def main():
    store = await Repository.open(Place.in_file(Path(sys.argv[1]), Mode.PAPER))
    await store.record([CommandRefused("first", "", seq=1)])
    limit = Path(sys.argv[1] + "-wal").stat().st_size + 10_000
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    big = CommandRefused("big", "x" * 100_000, seq=2)
    try:
        await store.record([big])
    except StoreUnavailable as error:
        print("refused:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.record([big, CommandRefused("last", "", seq=3)])
    await store.close()

asyncio.run(main())
"""


def test_a_write_that_the_system_refuses_passes_when_it_takes_them_again(path: Path) -> None:
    done = run_python(FULL_DISK, str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("refused: ")
    with closing(sqlite3.connect(path)) as connection:
        seqs = connection.execute("SELECT seq FROM audit_log ORDER BY id").fetchall()
    assert seqs == [(1,), (2,), (3,)]


# --- sudden death --------------------------------------------------------------------------------


WRITER = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
from engine.core.events import OrderFilled, PositionChanged
from engine.core.model import *
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.restoring import EXECUTION_IDS_KEPT
from sqlalchemy import make_url

async def main():
    store = await Repository.open(Place(make_url(sys.argv[1]), Mode.PAPER, Path("backups")))
    cash, one = Decimal(100_000), Decimal(1)
    await store.open_accounts({"paper": cash}, {"paper": "USD"}, "USD")
    for number in range(100_000):
        name = f"tb-{number}"
        order = Order(name, "s", "X", Side.BUY, OrderType.MARKET, one, OrderPurpose.ENTRY,
                      number, number, one, state=OrderState.INTENDED)
        await store.commit_intent(order)
        print("intent", name, flush=True)
        fill = Fill(f"x-{number}", name, "X", Side.BUY, one, Decimal(3), Decimal("0.1"), number,
                    "s", venue="paper")
        cash += fill.cash_change
        held = Position("s", "X", one + number, Decimal(3) * (one + number),
                        commission=Decimal("0.1") * (one + number))
        done = Order(name, "s", "X", Side.BUY, OrderType.MARKET, one, OrderPurpose.ENTRY,
                     number, number, one, state=OrderState.FILLED, filled=one)
        await store.record([OrderFilled(done, fill, seq=2 * number + 1),
                            PositionChanged(held, fill, cash, seq=2 * number + 2)])
        print("fill", f"x-{number}", flush=True)

asyncio.run(main())
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("acknowledged", [1, 2, 7, 50, 131])
def test_what_was_acknowledged_outlives_a_kill(place: Place, acknowledged: int) -> None:
    """The process dies right after some acknowledgement, in the middle of the next call."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, place.url.render_as_string(hide_password=False)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(acknowledged)]
        process.kill()
        lines += [line.split() for line in process.stdout]
    restored = asyncio.run(restored_from(place, day_start_ts=0))
    intents = {name for kind, name in lines if kind == "intent"}
    fills = {name for kind, name in lines if kind == "fill"}
    assert len(lines) >= acknowledged
    assert intents <= {order.client_order_id for order in restored.orders}
    assert fills <= set(restored.execution_ids)
    assert restored.cash == {"paper": CASH - len(restored.execution_ids) * Decimal("3.1")}
    assert asyncio.run(check(place)) == []
