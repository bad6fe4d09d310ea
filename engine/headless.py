"""`tradebot run`: the engine without a console, for a service or a terminal that nobody watches."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

import click

from engine.core.events import TripKillSwitch
from engine.health import apart_from_start
from engine.ops import signals
from engine.ops.errors import UserError
from engine.ops.files import write_private
from engine.ops.lock import EngineLock
from engine.ops.logging import start_logging
from engine.ops.settings import Settings, find_kill_files, load_settings
from engine.runtime import Runtime
from engine.snapshot import Snapshot

log = logging.getLogger(__name__)


@click.command(short_help="Run the engine without a console.")
def run() -> None:
    """Run the engine until SIGTERM or SIGINT stop it in order.

    SIGUSR1 trips the kill switch. SIGHUP changes nothing: the engine needs no terminal. What
    happens is in the log; the orders that are open at the end are named on the output as well. Exit
    status: 0 stopped as asked; 1 the engine failed; 2 it cannot start.
    """
    try:
        settings = load_settings()
        start_logging(settings)
        with EngineLock(settings.lock_path):
            asyncio.run(_run(settings))
    except UserError:
        if signals.take(signal.SIGUSR1):
            _latch_kill()
        raise


def _latch_kill() -> None:
    """No engine was there to hear it: it is for the next one, or for the one that runs."""
    if files := find_kill_files():
        with suppress(OSError):
            write_private(files.latch, b"signal: SIGUSR1\n")


async def _run(settings: Settings) -> None:
    runtime = Runtime(settings, _tell)

    def kill() -> None:
        runtime.command(TripKillSwitch(source="signal", reason="SIGUSR1", author="signal"))

    def lose_terminal() -> None:
        log.info("the terminal was lost, and the engine goes on")

    answers: dict[int, Callable[[], None]] = {
        signal.SIGTERM: runtime.stop,
        signal.SIGINT: runtime.stop,
        signal.SIGHUP: lose_terminal,
        signal.SIGUSR1: kill,
    }
    loop = asyncio.get_running_loop()
    for number, answer in answers.items():
        loop.add_signal_handler(number, answer)
    signals.release()
    with apart_from_start():
        await runtime.run()


def _tell(snapshot: Snapshot) -> None:
    """Nobody looks, but at what is said at the end."""
    with suppress(OSError):  # nor may anybody be there to read that
        for line in snapshot.left_open:
            click.echo(line)
