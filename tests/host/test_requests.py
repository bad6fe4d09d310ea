"""Several brokers at once, some of which do not answer: a real engine, each broker simulated.

They run on a loop on which time passes by itself: no deadline depends on how busy the computer is.
"""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from engine.brokers.base import Balance, BaseBroker, InDoubt, NotConnected, NotSent
from engine.brokers.paper import PaperBroker
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import wait_for_turn
from engine.build import exchange_rules
from engine.core.events import (
    AccountStatement,
    BrokerChanged,
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    Restored,
    StatementDue,
    StatementFailed,
    TripKillSwitch,
    VenueOrder,
)
from engine.core.model import (
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    nanos,
)
from engine.core.sessions import Calendars
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import Recordings
from engine.feeds.replay import ReplayFeed
from engine.host.broker_link import PATIENCE_S, BrokerLink
from engine.host.runtime import Parts, Runtime
from engine.host.untold import GRACE_S, LOOK_S
from engine.host.watchdog import Unwatched
from engine.ops.backoff import STABLE_S
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.simulation.runtime_world import Disk, Power
from engine.simulation.virtual_loop import VirtualLoop
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.session import CLOSES, OPEN, Session, record, rows, running, zigzag

VENUES = {"AAA": "north", "BBB": "south", "CCC": "deaf"}
KILL = TripKillSwitch(source="key", author="me")


class Venue(PaperBroker):
    """A simulated broker under a name of its own; while `deaf` it never answers.

    `fault` is what becomes of its first submit: the line "loses" it, the answer "hangs", or the
    broker's library "gives up". `cancels` are the orders whose cancel reached it.
    """

    def __init__(
        self,
        name: str,
        instruments: Sequence[Instrument],
        settings: Settings,
        now: Callable[[], int],
    ) -> None:
        super().__init__(instruments, exchange_rules(settings), Calendars(), now)
        self.name = name
        self.deaf = False
        self.refuses = ""
        self.fault = ""
        self.sending: asyncio.Task[object] | None = None
        self.cancels: list[str] = []
        self.submits: list[str] = []
        self.said: asyncio.Queue[Event | Exception] = asyncio.Queue()

    async def connect(self) -> None:
        await self._hear()
        if self.refuses:
            raise UserError(self.refuses, "log in")

    async def stream_fills(self) -> AsyncIterator[Event]:
        while True:
            said = await self.said.get()
            if isinstance(said, Exception):
                raise said
            yield said

    async def submit_order(self, order: Order) -> ExecutionReport:
        self.submits.append(order.symbol)
        self.sending = asyncio.current_task()
        await self._hear()
        fault, self.fault = self.fault, ""
        if fault == "loses":
            raise InDoubt("connection lost on the way")
        answer = await super().submit_order(order)
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault == "gives up":
            raise asyncio.CancelledError
        return answer

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        self.cancels.append(order.client_order_id)
        await self._hear()
        return await super().cancel_order(order)

    async def get_order(self, order: Order) -> ExecutionReport | None:
        await self._hear()
        return await super().get_order(order)

    async def _hear(self) -> None:
        if self.deaf:
            await asyncio.Event().wait()


class Street:
    """Three venues with a symbol each."""

    def __init__(self, *deaf: str, refuses: str = "") -> None:
        self.venues: dict[str, Venue] = {}
        self._deaf = deaf
        self._refuses = refuses
        self.fault = ""
        disk = Disk(Power(Random(1), faults=False))
        self.parts = Parts(self._feed, self._brokers, disk.open, watchdog=Unwatched)

    async def _feed(self, settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        recordings = Recordings(settings.replay_dir)
        start, speed = nanos(OPEN), settings.replay_speed
        feed = ReplayFeed(recordings, recordings.symbols, start, speed, loop.time_ns)
        listed = tuple(replace(i, venue=VENUES[i.symbol]) for i in feed.instruments)
        feed.instruments = listed
        return feed

    def _brokers(
        self,
        settings: Settings,
        feed: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        for instrument in feed.instruments:
            name = instrument.venue
            venue = self.venues[name] = Venue(name, (instrument,), settings, now)
            venue.deaf = name in self._deaf
            venue.fault = self.fault
            venue.refuses = self._refuses if name == "south" else ""
            symbol = instrument.symbol
            mine = replace(
                restored,
                orders=tuple(o for o in restored.orders if o.symbol == symbol),
                positions=tuple(p for p in restored.positions if p.symbol == symbol),
            )
            venue.restore(mine)
        return self.venues


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    class Virtual(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return VirtualLoop(Random(1))

    return Virtual()


def settings_of(folder: Path, closes: Sequence[float], **other: Any) -> Settings:
    made = zigzag(folder, sells=False, submit_timeout_s=0.2, **other)
    for symbol in VENUES:
        record(folder / "data", symbol, closes)
    for file in (folder / "data").glob("ACME*"):
        file.unlink()
    with ThreadPoolExecutor(1) as apart:
        apart.submit(make_database, made).result()
    return made


def make_database(settings: Settings) -> None:
    """An empty one, on a loop that knows threads."""

    async def make() -> None:
        await (await Repository.open(Place.of(settings))).close()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(make())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, CLOSES, replay_speed=600)


def stops(snapshot: Snapshot, state: OrderState = OrderState.ACCEPTED) -> dict[str, Order]:
    """The protective stops in a state, by symbol."""
    purpose = OrderPurpose.PROTECTIVE_STOP
    return {o.symbol: o for o in snapshot.orders if (o.purpose, o.state) == (purpose, state)}


def connected(snapshot: Snapshot) -> dict[str, bool]:
    return {broker.name: broker.connected for broker in snapshot.brokers}


async def test_each_order_goes_to_the_broker_of_its_instrument(settings: Settings) -> None:
    street = Street()
    async with running(settings, street.parts) as session:
        snapshot = await session.until(lambda s: len(stops(s)) == 3)
    assert connected(snapshot) == dict.fromkeys(VENUES.values(), True)
    for symbol, name in VENUES.items():
        assert set(street.venues[name].submits) == {symbol}


async def test_a_kill_cancels_at_the_others_while_one_broker_never_answers(
    settings: Settings,
) -> None:
    street = Street()
    async with running(settings, street.parts) as session:
        snapshot = await session.until(lambda s: len(stops(s)) == 3)
        orders = stops(snapshot)
        deaf = street.venues["deaf"]
        deaf.deaf = True
        session.command(KILL)
        snapshot = await session.until(lambda s: len(stops(s, OrderState.CANCELED)) == 2)
        assert set(stops(snapshot, OrderState.CANCELED)) == {"AAA", "BBB"}
        assert snapshot.kill.phase == "cancelling"
        snapshot = await session.until(lambda s: not connected(s)["deaf"])
        assert connected(snapshot) == {"north": True, "south": True, "deaf": False}
        assert "does not answer" in {broker.note for broker in snapshot.brokers}
        await session.until(lambda _: deaf.cancels.count(orders["CCC"].client_order_id) >= 3)
        deaf.deaf = False
        snapshot = await session.until(lambda s: s.kill.phase == "complete")
        assert set(stops(snapshot, OrderState.CANCELED)) == set(VENUES)
        await session.until(lambda s: connected(s)["deaf"])
    assert [len(street.venues[name].cancels) for name in ("north", "south")] == [1, 1]


async def test_a_broker_that_cannot_be_reached_at_the_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.05)
    street = Street("deaf")
    settings = settings_of(tmp_path, CLOSES, replay_speed=60)  # it is there before the first signal
    async with running(settings, street.parts) as session:
        await session.until(lambda s: connected(s) == {"north": True, "south": True, "deaf": False})
        street.venues["deaf"].deaf = False
        await session.until(lambda s: all(connected(s).values()))
        await session.until(lambda s: len(stops(s)) == 3)


async def test_a_broker_that_needs_a_person_is_told_and_stops_no_start(
    settings: Settings,
) -> None:
    street = Street(refuses="the token is dead")
    async with running(settings, street.parts) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
    notes = {broker.name: broker.note for broker in snapshot.brokers}
    assert notes["south"] == "the token is dead; log in"
    assert connected(snapshot) == {"north": True, "south": False, "deaf": True}


async def test_what_a_broker_says_of_its_connection_is_in_force(settings: Settings) -> None:
    street = Street()
    async with running(settings, street.parts) as session:
        await session.until(lambda s: all(connected(s).values()) and s.feed.status == "connected")
        closed = BrokerChanged("north", False, "the stream is closed")
        street.venues["north"].said.put_nowait(closed)
        snapshot = await session.until(lambda s: not connected(s)["north"])
        assert "the stream is closed" in {broker.note for broker in snapshot.brokers}


async def test_a_stream_that_breaks_is_opened_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.5)
    street = Street()
    async with running(settings, street.parts) as session:
        await session.until(lambda s: all(connected(s).values()) and s.feed.status == "connected")
        street.venues["north"].said.put_nowait(NotConnected("reset by peer"))
        snapshot = await session.until(lambda s: not connected(s)["north"])
        assert "reset by peer" in {broker.note for broker in snapshot.brokers}
        await session.until(lambda s: all(connected(s).values()))
        street.venues["north"].said.put_nowait(BrokerChanged("north", False, "again"))
        await session.until(lambda s: not connected(s)["north"])


async def test_an_instrument_without_a_broker_stops_the_start_with_a_remedy(
    settings: Settings,
) -> None:
    street = Street()
    parts = dataclasses.replace(street.parts, brokers=lambda *_: {})
    with pytest.raises(UserError, match="deaf, north, south"):
        async with running(settings, parts) as session:
            await session.until(lambda _: False)


async def test_an_error_of_our_own_in_a_request_ends_the_engine(settings: Settings) -> None:
    class Broken(Runtime):
        def publish(self, event: Event) -> None:
            if isinstance(event, ExecutionReport):
                raise ZeroDivisionError
            super().publish(event)

    session = Session(settings, Broken, Street().parts)
    session.start()
    with pytest.raises(ZeroDivisionError):
        await session.until(lambda _: False)


async def test_a_request_that_is_cancelled_by_another_ends_the_engine(settings: Settings) -> None:
    street = Street()
    settings = settings.model_copy(update={"submit_timeout_s": 3600.0})
    street.fault = "hangs"
    session = Session(settings, parts=street.parts)
    session.start()
    await session.until(lambda _: street.venues and street.venues["north"].sending)
    sending = street.venues["north"].sending
    assert sending is not None
    sending.cancel()
    with pytest.raises(RuntimeError, match="submit was cancelled"):
        await session.until(lambda _: False)


async def test_a_broker_that_gives_up_a_request_by_itself_leaves_the_order_in_doubt(
    settings: Settings,
) -> None:
    street = Street()
    street.fault = "gives up"
    async with running(settings, street.parts) as session:
        await session.until(lambda s: len(stops(s)) == 3)
    doubts = rows(settings, "SELECT payload FROM audit_log WHERE kind = 'OrderInDoubt'")
    reasons = [json.loads(payload)["order"]["reason"] for (payload,) in doubts]
    assert reasons == ["the broker's library gave up"] * 3


async def test_a_doubt_that_comes_with_the_end_of_the_recording_is_resolved(tmp_path: Path) -> None:
    street = Street()
    street.fault = "loses"
    settings = settings_of(tmp_path, CLOSES[:3], replay_speed=0, in_doubt_lag_s=0.5)
    async with running(settings, street.parts) as session:
        snapshot = await session.until(
            lambda s: [o.state for o in s.orders] == [OrderState.ABANDONED] * 3
        )
    assert snapshot.feed.status == "ended"


async def test_the_engine_stops_in_time_while_a_broker_never_answers(settings: Settings) -> None:
    street = Street()
    settings = settings.model_copy(update={"submit_timeout_s": 3600.0})
    async with running(settings, street.parts) as session:
        snapshot = await session.until(lambda s: len(stops(s)) == 3)
        street.venues["deaf"].deaf = True
        session.command(KILL)
        await session.until(lambda s: len(stops(s, OrderState.CANCELED)) == 2)
        async with asyncio.timeout(10):
            await session.stop()
    states = dict(rows(settings, "SELECT client_order_id, state FROM orders"))
    assert states[stops(snapshot)["CCC"].client_order_id] == "pending_cancel"
    ((saved,),) = rows(settings, "SELECT value FROM bot_state WHERE key = 'market'")
    seen = session.runtime.machine.market.symbols.values()
    assert json.loads(saved)["ts"] == max(market.updated for market in seen)


# --- one request to replace ----------------------------------------------------------------------

ORDER = Order(
    "tb-1",
    "zigzag",
    "AAA",
    Side.BUY,
    OrderType.LIMIT,
    Decimal(3),
    OrderPurpose.ENTRY,
    1,
    1,
    Decimal(100),
    limit_price=Decimal(100),
)


class Flapping(Venue):
    """Its stream ends each time after `held_s`; `connects` are the times at which it was made."""

    def __init__(self, settings: Settings, held_s: float) -> None:
        super().__init__("north", (), settings, lambda: 7)
        self.held_s = held_s
        self.connects: list[float] = []

    async def connect(self) -> None:
        self.connects.append(asyncio.get_running_loop().time())

    async def stream_fills(self) -> AsyncIterator[Event]:
        await asyncio.sleep(self.held_s)
        return
        yield


@pytest.mark.parametrize(
    ("held_s", "pauses"), [(0.0, [1, 2, 4, 8, 16, 30, 30]), (STABLE_S, [1] * 7)]
)
async def test_a_connection_that_does_not_last_is_made_ever_more_slowly(
    settings: Settings, held_s: float, pauses: list[float]
) -> None:
    venue = Flapping(settings, held_s)
    link = BrokerLink("north", venue, lambda _: None, lambda: 7, 5.0, random=Random(1))
    with suppress(TimeoutError):
        async with asyncio.timeout(200):
            await link.run()
    gaps = [later - earlier - held_s for earlier, later in pairwise(venue.connects)]
    for gap, pause in zip(gaps, pauses, strict=False):
        assert pause / 2 <= gap <= pause
    assert len(set(gaps)) == len(gaps) >= len(pauses)


class Replacer(Venue):
    """Answers a replace with `answer`: an input, or an error that it raises; never, with None."""

    def __init__(self, settings: Settings, answer: Event | Exception | None) -> None:
        super().__init__("north", (), settings, lambda: 7)
        self.answer = answer
        self.replaces: list[OrderTerms] = []

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        self.replaces.append(terms)
        match self.answer:
            case ExecutionReport() | ReplaceRejected():
                return self.answer
            case Exception():
                raise self.answer
            case _:
                await asyncio.Event().wait()
                raise AssertionError


REPORT = ExecutionReport("tb-1", OrderState.ACCEPTED, "V-1")


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (REPORT, REPORT),
        (NotSent("no route"), ReplaceRejected("tb-1", "no route", ts=7)),
        (InDoubt("reset"), ReplaceRejected("tb-1", "reset", in_doubt=True, ts=7)),
        (KeyError("secret"), ReplaceRejected("tb-1", "KeyError", in_doubt=True, ts=7)),
        (None, ReplaceRejected("tb-1", "no answer in time", in_doubt=True, ts=7)),
    ],
    ids=["answer", "not sent", "in doubt", "error", "time-out"],
)
async def test_a_replace_is_asked_once_and_answered_whatever_comes(
    settings: Settings, answer: Event | Exception | None, heard: Event
) -> None:
    venue = Replacer(settings, answer)
    inputs: list[Event] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    link.tried.set()
    terms = OrderTerms(Decimal(5), Decimal(99))
    await link.replace(ORDER, terms, lambda key, state: state is OrderState.PENDING_REPLACE)
    assert venue.replaces == [terms]
    assert [event for event in inputs if not isinstance(event, BrokerChanged)] == [heard]


async def test_a_replace_that_a_kill_overtakes_does_not_leave(settings: Settings) -> None:
    venue = Replacer(settings, REPORT)
    inputs: list[Event] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    wanted = {"tb-1"}
    request = asyncio.create_task(
        link.replace(ORDER, OrderTerms(Decimal(5)), lambda key, _: key in wanted)
    )
    await asyncio.sleep(0)  # it waits until the broker was tried
    wanted.clear()
    link.tried.set()
    await request
    assert venue.replaces == []
    assert inputs == [ReplaceRejected("tb-1", "cancelled before it left", ts=7)]


class Silent(Venue):
    """Its line may lose what it says; it lists as open what is in `lists`."""

    tells_all = False

    def __init__(self, settings: Settings) -> None:
        super().__init__("north", (), settings, lambda: 7)
        self.lists: list[Order] = []
        self.looks = 0
        self.looked = asyncio.Event()

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        self.looks += 1
        self.looked.set()
        await self._hear()
        return [VenueOrder(order, order.state) for order in self.lists]


async def test_a_broker_that_lists_an_order_otherwise_makes_its_statement_due(
    settings: Settings,
) -> None:
    venue = Silent(settings)
    inputs: list[Event] = []
    working: list[Order] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    runs = [
        asyncio.create_task(link.run()),
        asyncio.create_task(link.watch_orders(lambda: working)),
    ]
    await asyncio.sleep(60)
    assert venue.looks == 0, "nothing works there"
    working.append(ORDER)
    venue.lists = [ORDER]
    await asyncio.sleep(60)
    assert venue.looks >= 60 / LOOK_S - 1
    assert StatementDue("north", ts=7) not in inputs
    venue.lists = []
    venue.looked.clear()
    await venue.looked.wait()
    working[0] = replace(ORDER, state=OrderState.PENDING_CANCEL)  # its news was on the way
    await asyncio.sleep(GRACE_S)
    assert StatementDue("north", ts=7) not in inputs
    working[0] = ORDER
    await asyncio.sleep(LOOK_S + GRACE_S)
    assert inputs.count(StatementDue("north", ts=7)) == 1
    for run in runs:
        run.cancel()


async def test_a_broker_that_did_not_answer_is_asked_until_it_does_though_nothing_works_there(
    settings: Settings,
) -> None:
    venue = Silent(settings)
    inputs: list[Event] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    runs = [
        asyncio.create_task(link.run()),
        asyncio.create_task(link.watch_orders(list)),
    ]
    await asyncio.sleep(1)
    venue.deaf = True
    await link.query(ORDER)
    said = [(e.connected, e.reason) for e in inputs if isinstance(e, BrokerChanged)]
    assert said[-1] == (False, "does not answer")
    await asyncio.sleep(60)
    venue.deaf = False
    await asyncio.sleep(LOOK_S + 0.1)
    said = [(e.connected, e.reason) for e in inputs if isinstance(e, BrokerChanged)]
    assert said[-1] == (True, "")
    for run in runs:
        run.cancel()


class Scarce(Venue):
    """It takes a request of six tokens now, and every six seconds; `asked` are those it took."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("north", [], settings, lambda: 7)
        loop = asyncio.get_running_loop()
        self.bucket = TokenBucket(1, 6, 0, loop.time)
        self.asked: list[str] = []

    async def _counted(self, what: str) -> None:
        await wait_for_turn(self.bucket, 6)
        self.bucket.take(6)
        self.asked.append(what)

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        await self._counted("orders")
        return ()

    async def get_positions(self) -> Mapping[str, Decimal]:
        await self._counted("positions")
        return {}

    async def get_account_balance(self) -> Balance:
        await self._counted("balance")
        return Balance()

    async def get_fills(self, since: int) -> Sequence[Fill]:
        await self._counted("fills")
        return ()

    async def get_order(self, order: Order) -> ExecutionReport | None:
        await self._counted("order")
        return None


async def test_a_statement_waits_for_its_turns_and_no_question_takes_them(
    settings: Settings,
) -> None:
    venue = Scarce(settings)
    inputs: list[Event] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    link.tried.set()
    statement = asyncio.create_task(link.statement(7, 0))
    await asyncio.sleep(3)
    await link.query(ORDER)
    assert venue.asked == ["orders"]
    await statement
    assert venue.asked == ["orders", "positions", "balance", "fills"]
    assert [type(event) for event in inputs] == [AccountStatement]
    await link.query(ORDER)
    assert len(venue.asked) == 4  # it waits shortly, and is asked again by the machine
    assert len(inputs) == 1


async def test_a_statement_that_would_wait_too_long_fails(settings: Settings) -> None:
    venue = Scarce(settings)
    venue.bucket.shut(PATIENCE_S + 1)
    inputs: list[Event] = []
    link = BrokerLink("north", venue, inputs.append, lambda: 7, 0.05)
    link.tried.set()
    await link.statement(7, 0)
    assert venue.asked == []
    assert [type(event) for event in inputs] == [StatementFailed]
