"""What a venue says of names, accounts and reasons passes no adapter as it is: every text in every
answer, one after the other, is one that would move a cursor, write to the clipboard, be taken for
markup, or end a statement of SQL."""

import json
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.brokers.interactive_brokers.broker import OTHER_CLIENT
from engine.brokers.throttle import TokenBucket
from engine.core.events import BrokerChanged, CancelRejected
from engine.core.model import OrderState
from engine.core.text import clean
from engine.ops.errors import InDoubt, NotSent
from tests.brokers.contract import WiredPeer
from tests.brokers.playing import BROKER_API, HTTP, PEERS, WITH_IDS
from tests.loopback.haste import HastePolicy, hasty

EVIL = "\x1b]52;c;aGk=\x07\x9b2J\u202e\u200b[/x][@click=app.bell]'); DROP TABLE trade; --%_"


def made_evil(value: Any) -> Iterator[Any]:
    """`value` with EVIL after one of its texts: each of them once, and each name that is a key."""
    if isinstance(value, str):
        yield value + EVIL
    elif isinstance(value, list):
        for number, each in enumerate(value):
            for evil in made_evil(each):
                yield [*value[:number], evil, *value[number + 1 :]]
    elif isinstance(value, dict):
        for key, each in value.items():
            for evil in made_evil(each):
                yield value | {key: evil}
            if not key.islower():  # that of an order, or of a coin; the others are of fields
                yield {k + EVIL if k == key else k: v for k, v in value.items()}


def harmless(told: Any) -> bool:
    """All texts that an adapter has made."""
    told = msgspec.to_builtins(told)
    if isinstance(told, dict) and not all(map(harmless, told)):
        return False
    parts = told.values() if isinstance(told, dict) else told
    if isinstance(parts, str):
        return clean(parts) == parts
    return isinstance(parts, int | float | None) or all(map(harmless, parts))


@pytest.fixture
def event_loop_policy() -> Generator[HastePolicy]:
    """Nobody waits for pauses."""
    with hasty() as policy:
        yield policy


@pytest.mark.parametrize("name", HTTP.split())
async def test_no_text_of_an_answer_comes_through(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenBucket, "take", lambda *_, **__: None)
    async with PEERS[name]() as wired:
        assert isinstance(wired, WiredPeer)
        broker, order = wired.broker, wired.order()
        await broker.submit_order(order)
        wired.by_hand("98")
        wired.quote(98, 99, units=4)
        asks: dict[str, Callable[[], Awaitable[Any]]] = {
            "orders": broker.get_open_orders,
            "order": lambda: broker.get_order(order),
            "fills": lambda: broker.get_fills(0),
            "positions": broker.get_positions,
            "balance": broker.get_account_balance,
        }
        shown = 0
        for kind, ask in asks.items():
            wired.faults.answers.pop(kind, None)
            await ask()
            answer = json.loads(wired.faults.answers.get(kind, b"0"))
            for evil in made_evil(answer):
                wired.faults.plan(kind, json.dumps(evil).encode())
                try:
                    told = await ask()
                except (InDoubt, NotSent) as error:
                    told = str(error)
                assert harmless(told), (kind, evil)
                shown += "DROP" in repr(told)
        assert shown, "what came through was made harmless"


@pytest.mark.parametrize("name", f"{WITH_IDS} interactive_brokers".split())
async def test_an_order_of_another_program_is_found_and_cancelled_whatever_that_calls_it(
    name: str,
) -> None:
    strange = "[bot]\u202e 7"
    async with PEERS[name]() as wired:
        assert isinstance(wired, WiredPeer)
        named = replace(wired.order(), client_order_id=strange, symbol=wired.symbol)
        placed = wired.venue.submit(named)
        wired.quote(98, 99, units=4)
        (listed,) = await wired.broker.get_open_orders()
        assert listed.order.client_order_id == clean(strange)
        fills = await wired.broker.get_fills(0)
        assert [fill.client_order_id for fill in fills] == [clean(strange)]
        found = await wired.broker.get_order(listed.order)
        assert found is not None
        assert found.client_order_id == clean(strange)
        answer = await wired.broker.cancel_order(listed.order)
        if name == "interactive_brokers":
            assert answer == CancelRejected(clean(strange), OTHER_CLIENT, ts=answer.ts)
        else:
            assert not placed.is_open


@pytest.mark.parametrize("name", f"{HTTP} {BROKER_API}".split())
async def test_no_text_of_a_stream_comes_through_nor_ends_it_for_good(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a message is not understood the connection may end, and is made again."""
    for pause in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"engine.ops.backoff.{pause}", 0.01)
    monkeypatch.setattr(TokenBucket, "take", lambda *_, **__: None)
    async with PEERS[name]() as wired:
        assert isinstance(wired, WiredPeer)
        await wired.streams.has_joined()
        order = wired.order()
        await wired.broker.submit_order(order)
        with wired.streams.withheld() as said:
            wired.quote(98, 99, units=4)
        for message in said:
            for evil in made_evil(json.loads(message)):
                wired.events.clear()
                text = json.dumps(evil)
                wired.streams.say(text if isinstance(message, str) else text.encode())
                for _ in range(3):
                    await wired.broker.get_time()
                changes = [event for event in wired.events if isinstance(event, BrokerChanged)]
                if any(not event.connected for event in changes):
                    await wired.hears(BrokerChanged, lambda event: event.connected)
                assert all(map(harmless, wired.events)), evil
        wired.quote(98, 99)
        await wired.sees(order, OrderState.FILLED)
