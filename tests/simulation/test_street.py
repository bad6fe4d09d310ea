"""Every adapter on real sockets: a seed of each holds, and an order that is sent twice is seen."""

import asyncio
import logging

import pytest

from engine.brokers.alpaca import AlpacaBroker
from engine.brokers.alpaca.fees import CryptoFees
from engine.core.events import ExecutionReport
from engine.core.model import Order
from tests.simulation.street import NAMES, play, play_all

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Connections that were cut are not closed in order."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What the engine logs of faults that are meant."""
    caplog.set_level(logging.CRITICAL)


async def test_no_law_breaks_at_any_venue() -> None:
    outcomes = await play_all(NAMES, [0])
    assert {outcome.name: outcome.broken for outcome in outcomes} == dict.fromkeys(NAMES, "")
    assert sum(outcome.seen["orders there"] for outcome in outcomes) > 20


async def test_an_order_that_is_sent_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice(self: AlpacaBroker, order: Order) -> ExecutionReport:
        first, _ = await asyncio.gather(
            send(self, order), send(self, order), return_exceptions=True
        )
        if isinstance(first, BaseException):
            raise first
        return first

    send = AlpacaBroker.submit_order
    monkeypatch.setattr(AlpacaBroker, "submit_order", twice)
    assert (await play("alpaca", 0)).broken.startswith("I21")


async def test_a_fee_that_is_not_told_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue holds less than the engine believes."""
    monkeypatch.setattr("tests.simulation.street.PATIENCE_S", 5.0)
    monkeypatch.setattr(CryptoFees, "with_fee", lambda self, fill: fill)
    assert "position: there" in (await play("alpaca, in base", 0)).broken
