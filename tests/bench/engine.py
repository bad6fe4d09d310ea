"""A real engine in this process, and a tap on what passes through it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.host.runtime import Parts
from engine.host.thread import EngineHost
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot

STRATEGIES = Path(__file__).parent / "strategies"
START_S = 60.0
STOP_S = 10.0
POLL_S = 0.002

NEVER = 10**9
UNLIMITED: dict[str, Any] = {
    "max_trades_per_day": NEVER,
    "max_consecutive_losses": NEVER,
    "max_daily_loss": Decimal(NEVER),
    "max_daily_loss_pct": Decimal(100),
    "max_drawdown_pct": Decimal(100),
    "max_exposure_pct": Decimal(100),
    "max_open_positions": NEVER,
    "max_messages_per_second": NEVER,
    "throttle_orders": 0,
}
"""Limits so wide that nothing stops trading."""

SYMBOLS, RATE, HELD = 500, 10_000, 100
FLOWING: dict[str, Any] = {
    "feed": "synthetic",
    "synthetic_symbols": SYMBOLS,
    "synthetic_rate": RATE,
    "strategies": (),
}
"""The load of the console: quotes, and no strategy that trades on their bars."""

HOLDING: dict[str, Any] = {
    **FLOWING,
    **UNLIMITED,
    "entry_order_type": "market",
    "strategies": ("bench_hold",),
    "strategies_dir": STRATEGIES,
    "starting_cash": Decimal(10**7),
    "max_position_size_pct": Decimal("0.1"),
    "stop_loss_pct": Decimal(50),
}
"""The same with HELD positions, so as many protective stops are open at the paper broker."""


@contextmanager
def running(parts: Parts | None = None, **settings: Any) -> Iterator[EngineHost]:
    """An engine on a fresh database, under `settings`, until the block ends."""
    with TemporaryDirectory() as folder:
        host = EngineHost(Settings(data_dir=Path(folder), **settings), parts)
        host.start()
        try:
            wait_for(host, is_ready)
            yield host
        finally:
            if not host.stop(STOP_S):
                raise TimeoutError("the engine does not stop")


def is_ready(snapshot: Snapshot) -> bool:
    """Whether data flow, and the past of every symbol is there."""
    return snapshot.feed.status == "connected" and not snapshot.feed.awaited


def wait_for(
    host: EngineHost, seen: Callable[[Snapshot], bool], timeout: float = START_S
) -> Snapshot:
    """The first snapshot that fulfils `seen`.

    Raises TimeoutError where none comes, RuntimeError where the engine ends.
    """
    deadline = time.monotonic() + timeout
    while True:
        snapshot = host.latest()
        if snapshot is not None and seen(snapshot):
            return snapshot
        if failure := host.failure():
            raise RuntimeError(failure)
        if time.monotonic() > deadline:
            raise TimeoutError("the engine did not get there")
        time.sleep(POLL_S)


@contextmanager
def tapped(owner: type, method: str, note: Callable[..., None]) -> Iterator[None]:
    """Have `note` called with the arguments of each call of `owner.method`, before it."""
    original = getattr(owner, method)

    @wraps(original)
    def tap(*arguments: Any, **named: Any) -> Any:
        note(*arguments, **named)
        return original(*arguments, **named)

    setattr(owner, method, tap)
    try:
        yield
    finally:
        setattr(owner, method, original)
