"""A plug-in that is at fault, in whatever way: the others go on, and the console says which and
why."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import TripKillSwitch
from engine.host import watchdog
from engine.host.thread import EngineHost
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.session import running, zigzag

SOUND = """
from engine.core.model import Side
from engine.core.strategy import Strategy


class Faulty(Strategy):
    def initialize(self):
        self.asked = 0

    def on_bar(self, bar, history):
        self.asked += 1
        return ANSWER


STRATEGY_NAME = "faulty"
STRATEGY_CLASS = Faulty
"""
SIGNAL = "self.signal(Side.BUY, bar, {})"


def answering(answer: str) -> str:
    return SOUND.replace("ANSWER", answer)


FAULTS = {
    "import": ("import no_such_module\n" + SOUND, "No module named 'no_such_module'"),
    "exit": ("raise SystemExit(3)\n" + SOUND, "SystemExit: 3"),
    "initialize": (answering("None").replace("self.asked = 0", "1 / 0"), "ZeroDivisionError"),
    "raises": (answering("1 / 0"), "ZeroDivisionError on ACME: division by zero"),
    "leaves": (answering("sys.exit(3)").replace("\nfrom", "\nimport sys\nfrom", 1), "SystemExit"),
    "text": (answering("'buy'"), "returned str, not a Signal"),
    "many": (answering(f"[{SIGNAL}]"), "returned list, not a Signal"),
    "strength": (answering(SIGNAL[:-1] + ", strength=float('nan'))"), "a strength outside 0 to 1"),
    "price": (answering(SIGNAL[:-1] + ", stop_price=-1.0)"), "returned a stop price that is none"),
    "symbol": (answering(f"setattr(self, 'symbol', 'SPY') or {SIGNAL}"), "another strategy or"),
    "name": (answering(f"setattr(self, 'name', 'zigzag') or {SIGNAL}"), "another strategy or"),
    "coroutine": (SOUND.replace("    def on_bar", "    async def on_bar"), "returned coroutine"),
}


def faulty(folder: Path, source: str, **other: Any) -> Settings:
    settings = zigzag(folder, **other)
    (folder / "plugins" / "faulty.py").write_text(source)
    return settings


def row(snapshot: Snapshot) -> tuple[str, str]:
    """The faulty one's state and the reason for it."""
    rows = {row.name.removesuffix(".py"): (row.state, row.note) for row in snapshot.strategies}
    return rows.get("faulty", ("", ""))


def fills(snapshot: Snapshot) -> int:
    return sum(o.filled > 0 for o in snapshot.orders if o.strategy == "zigzag")


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(("source", "said"), FAULTS.values(), ids=FAULTS)
async def test_the_others_go_on_and_the_console_says_which_and_why(
    tmp_path: Path, source: str, said: str
) -> None:
    is_there = "no_such_module" not in source and not source.startswith("raise")
    settings = faulty(tmp_path, source)
    if is_there:
        settings = settings.model_copy(update={"strategies": ("faulty", "zigzag")})
    async with running(settings) as session:
        snapshot = await session.until(lambda s: row(s)[0] in ("failed", "broken"))
        assert row(snapshot)[0] == ("failed" if is_there else "broken")
        assert said in row(snapshot)[1]
        assert any("faulty" in line.text and said in line.text for line in snapshot.log)
        assert not [o for o in snapshot.orders if o.strategy == "faulty"]
        before = fills(snapshot)
        later = await session.until(lambda s: fills(s) > before + 2)
        assert {row.name: row.state for row in later.strategies}["zigzag"] == "on"
        assert not later.kill.tripped


NEVER = answering("wait()").replace(
    "\nclass",
    "\nRELEASED = False\n\n\ndef wait():\n    while not RELEASED:\n        pass\n\n\nclass",
)


def test_one_that_does_not_return_is_named_and_off_as_soon_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in Python can end it from outside, and all of the engine waits for it: what the
    operator asks meanwhile is done first, before any other bar."""
    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.3)
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.02)
    settings = faulty(tmp_path, NEVER, strategies=("faulty", "zigzag"))
    host = EngineHost(settings)
    host.start()
    try:
        until(lambda: "loop is blocked by the strategy faulty on ACME" in caplog.text)
        host.send(TripKillSwitch(source="key", author="me"))
        module = sys.modules["plugin_faulty"]
        module.RELEASED = True  # type: ignore[attr-defined]
        until(lambda: (s := host.latest()) is not None and row(s)[0] == "off" and s.kill.tripped)
        snapshot = host.latest()
        assert snapshot is not None
        assert any("faulty held the engine up" in line.text for line in snapshot.log)
        assert {row.name: row.state for row in snapshot.strategies}["zigzag"] != "failed"
    finally:
        assert host.stop(20)


def until(holds: Callable[[], object]) -> None:
    """Look until it holds, 20 seconds at most."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not come"
        threading.Event().wait(0.02)
