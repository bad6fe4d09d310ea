"""The paper broker: the simulated exchange behind the interface of every broker."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.paper import PaperBroker
from engine.core.events import (
    BarClosed,
    Bracket,
    CancelRejected,
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
    TimeInForce,
)
from engine.core.sessions import Calendars, SessionTable
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


async def test_it_accepts_fills_and_tells(broker: PaperBroker) -> None:
    report = await broker.submit_order(ORDER)
    assert (report.state, report.ts) == (OrderState.ACCEPTED, START)
    (fill,) = broker.on_market(QUOTE)
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


async def test_history_fills_nothing(broker: PaperBroker) -> None:
    await broker.submit_order(ORDER)
    bar = Bar("ACME", START + MINUTE, 100, 100, 100, 100, 1000)
    assert not broker.on_market(BarClosed(bar, live=False))
    assert len(broker.on_market(BarClosed(bar))) == 1


async def test_its_quote_is_the_newest_that_is_one(broker: PaperBroker) -> None:
    assert await broker.get_quote("ACME") is None
    broker.on_market(QUOTE)
    broker.on_market(QuoteUpdate(Quote("ACME", START, 0, 101, 100, 100), ts=START))
    assert await broker.get_quote("ACME") == QUOTE.quote


async def test_a_day_order_that_is_over_is_told_with_the_next_market_data() -> None:
    """And at once to whoever asks for it."""
    session = SessionTable("XTST", "UTC", (START - MINUTE,), (START + MINUTE,))
    now = START
    acme = replace(ACME, calendar="XTST")
    broker = PaperBroker([acme], FREE, Calendars([session]), lambda: now)
    await broker.submit_order(replace(ORDER, time_in_force=TimeInForce.DAY))
    now = START + 2 * MINUTE
    ended = await broker.get_order(ORDER)
    assert ended is not None
    assert ended.state is OrderState.EXPIRED
    quote = replace(QUOTE.quote, ts=now)
    assert list(broker.on_market(QuoteUpdate(quote, ts=now))) == [ended]


@pytest.mark.parametrize(
    ("state", "filled", "known"),
    [
        (OrderState.INTENDED, 0, OrderState.ACCEPTED),
        (OrderState.SUBMITTED, 0, OrderState.ACCEPTED),
        (OrderState.ACCEPTED, 0, OrderState.ACCEPTED),
        (OrderState.PARTIALLY_FILLED, 4, OrderState.PARTIALLY_FILLED),
        (OrderState.PENDING_CANCEL, 0, OrderState.ACCEPTED),
        (OrderState.IN_DOUBT, 0, OrderState.ACCEPTED),
    ],
)
async def test_it_takes_back_the_orders_that_had_left(
    broker: PaperBroker,
    state: OrderState,
    filled: int,
    known: OrderState | None,
) -> None:
    left = replace(ORDER, state=state, filled=Decimal(filled))
    broker.restore(Restored({"paper": Decimal(0)}, orders=(left,)))
    report = await broker.get_order(ORDER)
    assert (report.state if report else None) is known
    heard = broker.on_market(QUOTE)
    executed = [e.fill.quantity for e in heard if isinstance(e, ExecutionReport) and e.fill]
    assert executed == ([] if known is None else [10 - filled])


async def test_the_terms_of_a_replace_that_was_under_way_have_arrived(broker: PaperBroker) -> None:
    left = replace(
        ORDER,
        type=OrderType.LIMIT,
        limit_price=Decimal(90),
        state=OrderState.PENDING_REPLACE,
        pending_quantity=Decimal(10),
        pending_limit_price=Decimal(91),
    )
    broker.restore(Restored({"paper": Decimal(0)}, orders=(left,)))
    (listed,) = await broker.get_open_orders()
    assert listed.order.terms == left.pending_terms


def test_what_it_takes_back_fills_as_it_would_have(broker: PaperBroker) -> None:
    """A bar that began before the restart fills an order that was there when it did; one that had
    its chance at a quote waits for the next quote."""
    left = replace(ORDER, created_ts=START - MINUTE, state=OrderState.INTENDED)
    bar = BarClosed(Bar("ACME", START, 100, 100, 100, 100, 1e6), ts=START)
    broker.restore(Restored({"paper": Decimal(0)}, orders=(left,)))
    assert broker.on_market(replace(QUOTE, live=False)) == []
    assert broker.on_market(bar) == []
    broker.restore(Restored({"paper": Decimal(0)}, orders=(left,)))
    (report,) = broker.on_market(bar)
    assert isinstance(report, ExecutionReport)
    assert report.state is OrderState.FILLED


async def test_a_trailing_stop_goes_on_from_where_it_had_got_to(
    broker: PaperBroker,
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
    broker.restore(Restored({"paper": Decimal(0)}, orders=(stop,), brackets=(bracket,)))
    assert not broker.on_market(QuoteUpdate(Quote("ACME", START, 106, 107, 100, 100), ts=START))
    (listed,) = await broker.get_open_orders()
    assert listed.order.terms == stop.terms, "what was asked for is the same"
    below = QuoteUpdate(Quote("ACME", START, 104, 105, 100, 100), ts=START)
    (report,) = broker.on_market(below)
    assert isinstance(report, ExecutionReport)
    assert report.state is OrderState.FILLED
