"""What the short sessions of a whole engine at every venue have in common."""

import logging

import pytest


@pytest.fixture
def calm(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written of faults that are meant, nothing wakes the loop 50 times a second; and
    Alpaca's library, which waits on a thread, where no time is skipped, does not wait long."""
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("engine.host.health.PULSE_S", 1.0)
    monkeypatch.setattr("engine.feeds.conflation.FLUSH_S", 1.0)
    monkeypatch.setattr("tests.brokers.peer_alpaca.READ_S", 0.3)
