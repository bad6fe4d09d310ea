"""What a venue says of names, accounts and reasons passes no adapter as it is: every text in every
answer, one after the other, is one that would move a cursor, write to the clipboard, be taken for
markup, or end a statement of SQL."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from engine.brokers.throttle import TokenBucket
from engine.core.text import clean
from engine.ops.errors import InDoubt, NotSent
from tests.brokers.contract import WiredPeer
from tests.brokers.playing import HTTP, PEERS

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
