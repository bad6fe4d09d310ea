"""How an order came about, found in the audit log of a file and of a server."""

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from engine.core.events import (
    BarCorrected,
    CommandRefused,
    Event,
    OrderAccepted,
    OrderCanceled,
    OrderIntended,
    RiskChecked,
    SignalGenerated,
)
from engine.core.model import Bar, OrderState, Side, Signal
from engine.ops.errors import UserError
from engine.store import audited
from engine.store.audited import Told
from engine.store.database import read_database
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import MakeOrder, Stamp

BAR = Bar("BTC-USD", 100, 1.0, 2.0, 0.5, 1.5, 10.0)
SIGNAL = Signal("sma_crossover", "BTC-USD", Side.BUY, 100, 1.5, indicators={"fast": 2.0})


async def story(place: Place, client_order_id: str, most: int = audited.MOST_READ) -> Told:
    work = partial(audited.story, client_order_id=client_order_id, most=most)
    return await asyncio.to_thread(read_database, place, work)


async def noise(store: Repository, stamp: Stamp, ts: int, count: int) -> None:
    await store.record([stamp(CommandRefused("x", "y"), ts) for _ in range(count)])


async def told(
    store: Repository, stamp: Stamp, make_order: MakeOrder, between: int = 0
) -> list[Event]:
    """An order's life, from the signal that an earlier time made to its end."""
    signal = stamp(SignalGenerated(SIGNAL, BAR), 100)
    await store.record([signal])
    await noise(store, stamp, 150, 5)
    order = make_order("tb-1", created_ts=200, updated_ts=200, cause=signal.seq)
    await store.commit_intents([order])
    check = RiskChecked("tb-1", "account", "exposure", 1.0, 80.0, True, "at most", "%")
    begun = [stamp(check, 200), stamp(OrderIntended(order), 200)]
    accepted = replace(order, state=OrderState.ACCEPTED, updated_ts=300)
    begun.append(stamp(OrderAccepted(accepted), 300))
    await store.record(begun)
    await noise(store, stamp, 350, between)
    end = stamp(OrderCanceled(replace(accepted, state=OrderState.CANCELED, updated_ts=400)), 400)
    await store.record([end])
    await noise(store, stamp, 500, 5)
    return [signal, *begun, end]


async def test_the_facts_of_an_order_and_of_what_it_came_from_are_found(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    facts = await told(store, stamp, make_order)
    order, found, unread = await story(place, "tb-1")
    assert found == facts
    assert unread == 0
    assert (order.client_order_id, order.state) == ("tb-1", OrderState.CANCELED)


async def test_what_it_came_from_may_be_corrected_after_its_end(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    facts = await told(store, stamp, make_order)
    corrected = stamp(BarCorrected(BAR, replace(BAR, close=1.0), ("tb-1",)), 600)
    await store.record([corrected, stamp(BarCorrected(BAR, BAR, ("tb-2",)), 600)])
    assert (await story(place, "tb-1"))[1] == [*facts, corrected]


async def test_of_a_long_life_the_beginning_and_the_end_are_read(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    facts = await told(store, stamp, make_order, between=20)
    _, found, unread = await story(place, "tb-1", most=4)
    assert found == facts
    assert unread == 24 - 2 * 4


async def test_the_facts_of_another_order_are_none_of_it(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    await told(store, stamp, make_order)
    other = make_order("tb-12", created_ts=200, updated_ts=200)
    await store.commit_intents([other])
    intended = stamp(OrderIntended(other), 600)
    await store.record([intended])
    assert (await story(place, "tb-12"))[1] == [intended]
    assert intended not in (await story(place, "tb-1"))[1]


async def test_the_same_number_in_another_session_is_another_event(
    store: Repository, place: Place, stamp: Stamp, make_order: MakeOrder
) -> None:
    first, *_ = await told(store, stamp, make_order)
    await store.close()
    stamp = Stamp()
    again = await Repository.open(place)
    signal = stamp(SignalGenerated(SIGNAL), 700)
    assert signal.seq == first.seq
    order = make_order("tb-2", created_ts=700, updated_ts=700, cause=signal.seq)
    await again.commit_intents([order])
    intended = stamp(OrderIntended(order), 700)
    await again.record([signal, intended])
    assert (await story(place, "tb-2"))[1] == [signal, intended]
    await again.close()


async def test_an_order_that_is_not_recorded_is_named(store: Repository, place: Place) -> None:
    with pytest.raises(UserError, match="no order tb-9 is recorded"):
        await story(place, "tb-9")
