"""`tradebot run` with three brokers, the last of which answers no cancel until it has to.

Once the kill switch is tripped for a moment that broker hears again, so that all is cancelled; then
the kill switch is re-armed, and the broker is as deaf as before.
"""

import threading
import time
from typing import Any

import engine.host.headless
from engine.core.events import RearmKillSwitch
from engine.host.thread import EngineHost
from engine.ops.settings import Settings
from tests.bench.served import main as serve
from tests.bench.venues import Venues

NAMES = ("first", "second", "deaf")
DEAF_S = 0.4
POLL_S = 0.02


def main() -> None:
    venues = Venues(*NAMES)

    def host_of(settings: Settings, **callbacks: Any) -> EngineHost:
        host = EngineHost(settings, venues.parts, **callbacks)
        threading.Thread(target=_rearm_each, args=(host, venues), daemon=True).start()
        return host

    setattr(engine.host.headless, "EngineHost", host_of)  # noqa: B010 - for the engine in this process
    serve()


def _rearm_each(host: EngineHost, venues: Venues) -> None:
    while True:
        _wait_until(host, "armed")
        venues.at[NAMES[-1]].deaf = True
        _wait_until(host, "cancelling")
        time.sleep(DEAF_S)
        venues.at[NAMES[-1]].deaf = False
        _wait_until(host, "complete")
        host.send(RearmKillSwitch(word="REARM", author="bench"))


def _wait_until(host: EngineHost, phase: str) -> None:
    while (snapshot := host.latest()) is None or snapshot.kill.phase != phase:
        time.sleep(POLL_S)
