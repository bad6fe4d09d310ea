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
from engine.ops.settings import load_settings
from tui.app import Console
from tui.attached import AttachedEngine

SIZE = (120, 40)
AFTER_START_S = 55 * 60
"""Seconds of market time that are played: two positions are open by then, others were closed."""


async def draw() -> str:
    until = nanos(load_settings().replay_start) + AFTER_START_S * 10**9
    engine = AttachedEngine(lambda _: None)
    engine.start()
    try:
        console = Console(engine)
        async with console.run_test(size=SIZE) as pilot:
            while (snapshot := engine.latest()) is None or snapshot.ts < until:
                await pilot.pause(0.02)
            engine.send(ControlFeed(action="speed", speed=60, author="screenshot"))
            await pilot.pause(1)
            console.tick()
            await pilot.pause()
            return console.export_screenshot(title="tradebot", simplify=True)
    finally:
        engine.stop(10)


if __name__ == "__main__":
    # The same colours wherever it is drawn.
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TEXTUAL_ANIMATIONS="none")
    os.environ.pop("NO_COLOR", None)
    with TemporaryDirectory() as temporary:
        os.environ.update(DATA_DIR=temporary, REPLAY_SPEED="600")
        Path(sys.argv[1]).write_text(asyncio.run(draw()))
