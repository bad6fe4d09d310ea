"""Draws the README's picture: the real console over the real engine on the shipped recording.

`python -m tests.screenshot FILE.svg`
"""

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.core.events import ControlFeed
from engine.core.model import nanos
from engine.host import EngineHost
from engine.ops.settings import load_settings
from tui.app import Console

SIZE = (120, 40)
AFTER_START_S = 55 * 60
"""Seconds of market time that are played: two positions are open by then, others were closed."""


async def draw(folder: Path) -> str:
    settings = load_settings(data_dir=folder, replay_speed=600)
    until = nanos(settings.replay_start) + AFTER_START_S * 10**9
    host = EngineHost(settings)
    host.start()
    try:
        console = Console(host)
        async with console.run_test(size=SIZE) as pilot:
            while (snapshot := host.latest()) is None or snapshot.ts < until:
                await pilot.pause(0.02)
            host.send(ControlFeed(action="speed", speed=60, author="screenshot"))
            await pilot.pause(1)
            console.tick()
            await pilot.pause()
            return console.export_screenshot(title="tradebot", simplify=True)
    finally:
        host.stop(10)


if __name__ == "__main__":
    # The same colours wherever it is drawn.
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TEXTUAL_ANIMATIONS="none")
    os.environ.pop("NO_COLOR", None)
    with TemporaryDirectory() as temporary:
        Path(sys.argv[1]).write_text(asyncio.run(draw(Path(temporary))))
