"""An engine that is behind: quotes are conflated, and what blocks the loop is named."""

from pathlib import Path

import pytest

from engine.core.events import QuoteUpdate
from engine.core.model import Quote
from engine.feeds.conflation import Conflation
from engine.feeds.synthetic import SyntheticFeed
from engine.host import health, watchdog
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from tests.session import health_of, running, zigzag

SLOW = '''
import time
from engine.core.strategy import Strategy


class Slow(Strategy):
    """Blocks the engine at its third bar."""

    def initialize(self):
        self.seen = 0

    def on_bar(self, bar, history):
        self.seen += 1
        if self.seen == 3:
            time.sleep(0.6)


STRATEGY_NAME = "slow"
STRATEGY_CLASS = Slow
'''


def quote(symbol: str, number: int) -> QuoteUpdate:
    return QuoteUpdate(Quote(symbol, number, 100.0 + number, 101.0 + number, 1, 1), ts=number)


def test_the_newest_quote_of_each_symbol_goes_on_and_the_others_are_counted() -> None:
    passed: list[QuoteUpdate] = []
    conflation = Conflation(passed.append)
    for number in range(1, 1001):
        conflation.keep(quote("ABC"[number % 3], number))
    conflation.flush()
    assert [event.ts for event in passed] == [998, 999, 1000]
    assert conflation.dropped == 997
    conflation.flush()
    assert len(passed) == 3


async def test_a_burst_that_the_engine_cannot_follow_is_conflated_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BEHIND_S", 0.0)  # any delay at all counts as being behind
    feeds: list[SyntheticFeed] = []

    async def make(*_: object) -> SyntheticFeed:
        feeds.append(SyntheticFeed(2, 20_000, 1))
        return feeds[-1]

    async with running(zigzag(tmp_path), Parts(feed=make)) as session:
        snapshot = await session.until(lambda s: health_of(s).conflated > 1_000)
        assert all(row.quote is not None for row in snapshot.quotes)
        later = await session.until(lambda s: s.seq > snapshot.seq + 5)
    assert later.quotes[0].ts > snapshot.quotes[0].ts


async def test_a_recording_is_never_conflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BEHIND_S", 0.0)
    async with running(zigzag(tmp_path, replay_speed=0)) as session:
        snapshot = await session.until(lambda s: s.feed.status == "ended")
    assert health_of(snapshot).conflated == 0


async def test_a_strategy_that_blocks_the_loop_is_named_and_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.2)
    settings: Settings = zigzag(tmp_path, strategies=("zigzag", "slow"))
    (tmp_path / "plugins" / "slow.py").write_text(SLOW)
    async with running(settings) as session:
        snapshot = await session.until(
            lambda s: {row.name: row.state for row in s.strategies}.get("slow") == "off"
        )
        assert {row.name: row.state for row in snapshot.strategies}["zigzag"] == "on"
        assert any("slow held the engine up" in line.text for line in snapshot.log)
    assert "the engine's loop is blocked by the strategy slow on ACME" in caplog.text
