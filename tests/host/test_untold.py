"""Orders that a broker lists otherwise than they are known here."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import VenueOrder
from engine.core.model import Order, OrderPurpose, OrderState, OrderType, Side
from engine.host.untold import untold

ORDER = Order(
    "a-1",
    "puppet",
    "ACME",
    Side.BUY,
    OrderType.LIMIT,
    Decimal(10),
    OrderPurpose.ENTRY,
    0,
    0,
    Decimal(100),
    limit_price=Decimal(100),
    state=OrderState.ACCEPTED,
    venue_order_id="V-1",
)


@pytest.mark.parametrize(
    "theirs",
    [
        ORDER,
        replace(ORDER, client_order_id=""),
        replace(ORDER, venue_order_id="V-2"),
        replace(ORDER, limit_price=Decimal(99)),
    ],
    ids=["the same", "by the venue's id", "by ours", "other terms"],
)
def test_what_is_listed_as_it_is_known_was_told(theirs: Order) -> None:
    assert untold([ORDER], [VenueOrder(theirs, OrderState.ACCEPTED)]) == []


@pytest.mark.parametrize(
    "theirs",
    [
        replace(ORDER, filled=Decimal(3)),
        replace(ORDER, client_order_id="b-1", venue_order_id="V-9"),
        replace(ORDER, client_order_id="", symbol="OTHER"),
        replace(ORDER, client_order_id="", venue_order_id=""),
    ],
    ids=["more is filled", "another", "the venue's id in another symbol", "without an id"],
)
def test_what_is_filled_further_or_not_listed_was_not_told(theirs: Order) -> None:
    assert untold([ORDER], [VenueOrder(theirs, OrderState.ACCEPTED)]) == [ORDER]
    assert untold([ORDER], []) == [ORDER]


def test_a_list_that_is_behind_what_was_told_here_says_nothing() -> None:
    ahead = replace(ORDER, filled=Decimal(5))
    assert untold([ahead], [VenueOrder(ORDER, OrderState.ACCEPTED)]) == []
