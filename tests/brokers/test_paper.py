"""The paper broker: the simulated exchange behind the interface of every broker."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.paper import PaperBroker
from engine.core.events import (
    BarClosed,
    Bracket,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    Restored,
)
from engine.core.model import (
    MINUTE,
    Bar,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Quote,
    Side,
)
from engine.core.sessions import Calendars
from tests.core.rig import ACME, FREE, START

ORDER = Order(
    "tb-1",
    "s",
    "ACME",
    Side.BUY,
    OrderType.MARKET,
    Decimal(10),
    OrderPurpose.ENTRY,
    START,
    START,
    Decimal(100),
)
QUOTE = QuoteUpdate(Quote("ACME", START, 99, 101, 100, 100), ts=START)


@pytest.fixture
def broker() -> PaperBroker:
    return PaperBroker([ACME], FREE, Calendars(), lambda: START)


@pytest.fixture
def heard() -> list[Event]:
    return []


async def test_it_accepts_fills_and_tells(broker: PaperBroker, heard: list[Event]) -> None:
    await broker.connect(heard.append)
    report = await broker.submit_order(ORDER)
    assert (report.state, report.ts) == (OrderState.ACCEPTED, START)
    assert heard == [], "what was asked is answered, not published"
    broker.on_market(QUOTE)
    (fill,) = heard
    assert isinstance(fill, ExecutionReport)
    assert fill.fill is not None
    assert (fill.state, fill.fill.price) == (OrderState.FILLED, 101)
    assert await broker.get_order(ORDER) == fill


async def test_a_cancel_is_confirmed_or_comes_too_late(broker: PaperBroker) -> None:
    await broker.submit_order(ORDER)
    canceled = await broker.cancel_order(ORDER)
    assert isinstance(canceled, ExecutionReport)
    assert canceled.state is OrderState.CANCELED
    assert isinstance(await broker.cancel_order(ORDER), CancelRejected)


async def test_it_does_not_know_an_order_that_it_never_had(broker: PaperBroker) -> None:
    assert await broker.get_order(ORDER) is None


async def test_history_fills_nothing(broker: PaperBroker, heard: list[Event]) -> None:
    await broker.connect(heard.append)
    await broker.submit_order(ORDER)
    bar = Bar("ACME", START + MINUTE, 100, 100, 100, 100, 1000)
    broker.on_market(BarClosed(bar, live=False))
    assert heard == []
    broker.on_market(BarClosed(bar))
    assert len(heard) == 1


async def test_nobody_listens_after_it_was_disconnected(
    broker: PaperBroker, heard: list[Event]
) -> None:
    await broker.connect(heard.append)
    await broker.submit_order(ORDER)
    await broker.disconnect()
    broker.on_market(QUOTE)
    assert heard == []


@pytest.mark.parametrize(
    ("state", "filled", "known"),
    [
        (OrderState.INTENDED, 0, None),
        (OrderState.SUBMITTED, 0, OrderState.ACCEPTED),
        (OrderState.ACCEPTED, 0, OrderState.ACCEPTED),
        (OrderState.PARTIALLY_FILLED, 4, OrderState.PARTIALLY_FILLED),
        (OrderState.PENDING_CANCEL, 0, OrderState.ACCEPTED),
        (OrderState.IN_DOUBT, 0, OrderState.ACCEPTED),
    ],
)
async def test_it_takes_back_the_orders_that_had_left(
    broker: PaperBroker,
    heard: list[Event],
    state: OrderState,
    filled: int,
    known: OrderState | None,
) -> None:
    await broker.connect(heard.append)
    left = replace(ORDER, state=state, filled=Decimal(filled))
    broker.restore(Restored(Decimal(0), orders=(left,)))
    report = await broker.get_order(ORDER)
    assert (report.state if report else None) is known
    broker.on_market(QUOTE)
    executed = [e.fill.quantity for e in heard if isinstance(e, ExecutionReport) and e.fill]
    assert executed == ([] if known is None else [10 - filled])


async def test_a_trailing_stop_goes_on_from_where_it_had_got_to(
    broker: PaperBroker, heard: list[Event]
) -> None:
    stop = replace(
        ORDER,
        side=Side.SELL,
        type=OrderType.TRAILING_STOP,
        purpose=OrderPurpose.PROTECTIVE_STOP,
        stop_price=Decimal(95),
        trail=Decimal(5),
        state=OrderState.ACCEPTED,
    )
    bracket = Bracket("s", "ACME", Decimal(105), trail=Decimal(5))
    await broker.connect(heard.append)
    broker.restore(Restored(Decimal(0), orders=(stop,), brackets=(bracket,)))
    broker.on_market(QuoteUpdate(Quote("ACME", START, 106, 107, 100, 100), ts=START))
    assert heard == []
    (listed,) = await broker.get_open_orders()
    assert listed.order.terms == stop.terms, "what was asked for is the same"
    broker.on_market(QuoteUpdate(Quote("ACME", START, 104, 105, 100, 100), ts=START))
    (report,) = heard
    assert isinstance(report, ExecutionReport)
    assert report.state is OrderState.FILLED
