"""An orderly stop of a real engine: in time whatever brokers and disk do, and with a word about
what stays open."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.brokers.base import BaseBroker
from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules
from engine.core.events import CancelRejected, ExecutionReport, Restored
from engine.core.model import Order, OrderPurpose, OrderState
from engine.core.sessions import Calendars
from engine.feeds.base import Feed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.session import Session, rows, running, zigzag
from tests.test_database_faults import locked_file

STOPS_WITHIN_S = 10


class Stubborn(PaperBroker):
    """Refuses so many cancels, and is mute from `mute` on."""

    refuses = 0
    mute = False

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        if self.mute:
            await asyncio.Event().wait()
        if self.refuses:
            self.refuses -= 1
            return CancelRejected(order.client_order_id, "too late")
        return await super().cancel_order(order)

    async def disconnect(self) -> None:
        if self.mute:
            await asyncio.Event().wait()
        await super().disconnect()


@pytest.fixture
def brokers() -> list[Stubborn]:
    return []


@pytest.fixture
def parts(brokers: list[Stubborn]) -> Parts:
    def make(
        settings: Settings,
        feed: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        broker = Stubborn(feed.instruments, exchange_rules(settings), calendars, now)
        broker.restore(restored)
        brokers.append(broker)
        return {broker.name: broker}

    return Parts(brokers=make)


def protected(snapshot: Snapshot) -> Collection[Order]:
    """The protective stops that rest."""
    purpose, state = OrderPurpose.PROTECTIVE_STOP, OrderState.ACCEPTED
    return [o for o in snapshot.orders if (o.purpose, o.state) == (purpose, state)]


def holding(folder: Path, **other: Any) -> Settings:
    return zigzag(folder, sells=False, replay_speed=600, on_stop="cancel_all", **other)


async def stopped(session: Session) -> float:
    """Seconds that the stop takes."""
    began = time.monotonic()
    await session.stop()
    return time.monotonic() - began


async def test_it_stops_in_time_while_a_broker_is_mute_and_the_database_is_locked(
    tmp_path: Path, parts: Parts, brokers: list[Stubborn]
) -> None:
    settings = holding(tmp_path, submit_timeout_s=3600)
    async with running(settings, parts) as session:
        (order,) = protected(await session.until(protected))
        brokers[0].mute = True
        async with locked_file(settings):
            assert await stopped(session) < STOPS_WITHIN_S
    (line,) = session.snapshots[-1].left_open
    assert line.startswith("still open at paper: protective stop to sell ")
    assert f"(pending cancel, {order.client_order_id})" in line


async def test_a_cancel_that_is_refused_at_a_stop_is_asked_again(
    tmp_path: Path, parts: Parts, brokers: list[Stubborn]
) -> None:
    settings = holding(tmp_path)
    async with running(settings, parts) as session:
        (order,) = protected(await session.until(protected))
        brokers[0].refuses = 2
    assert brokers[0].refuses == 0
    assert session.snapshots[-1].left_open == ()
    states = dict(rows(settings, "SELECT client_order_id, state FROM orders"))
    assert states[order.client_order_id] == "canceled"


async def test_what_stays_open_on_purpose_is_named_as_well(
    tmp_path: Path, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(zigzag(tmp_path, sells=False, on_stop="keep"), parts) as session:
        (order,) = protected(await session.until(protected))
    (line,) = session.snapshots[-1].left_open
    assert f"(accepted, {order.client_order_id})" in line
    assert line in caplog.text
