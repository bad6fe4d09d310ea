"""`tradebot run`: the engine without a console, on a socket to which consoles attach."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

import click

from engine.control.server import ControlServer
from engine.core.events import TripKillSwitch
from engine.host.thread import EngineHost
from engine.ops import signals
from engine.ops.errors import UserError
from engine.ops.files import write_private
from engine.ops.logging import start_logging
from engine.ops.settings import Settings, load_settings, settings_to_find

log = logging.getLogger(__name__)


@click.command(short_help="Run the engine without a console.")
def run() -> None:
    """Run the engine until SIGTERM or SIGINT stop it in order; tradebot-tui attaches to it.

    SIGUSR1 trips the kill switch. SIGHUP changes nothing: the engine needs no terminal. What
    happens is in the log; the orders that are open at the end are named on the output as well. Exit
    status: 0 stopped as asked; 1 the engine failed; 2 it cannot start.
    """
    try:
        settings = load_settings()
        start_logging(settings)
        asyncio.run(_run(settings))
    except UserError:
        if signals.take(signal.SIGUSR1):
            _latch_kill()
        raise


def _latch_kill() -> None:
    """No engine was there to hear it: it is for the next one, or for the one that runs."""
    if settings := settings_to_find():
        with suppress(OSError, UserError):
            write_private(settings.kill_files.latch, b"signal: SIGUSR1\n")


async def _run(settings: Settings) -> None:
    """The engine on its thread; the signals and the consoles on this one."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def ended() -> None:
        settings.socket_path.unlink(missing_ok=True)
        loop.call_soon_threadsafe(over.set)

    host = EngineHost(settings, shown=lambda: loop.call_soon_threadsafe(server.show), ended=ended)
    server = ControlServer(host, settings.socket_path)
    host.lock()
    await server.start()
    host.start()
    _answer_signals(loop, host)
    await over.wait()
    await server.close(host.failure() or "")
    _tell(host)
    if host.error is not None:
        raise host.error


def _answer_signals(loop: asyncio.AbstractEventLoop, host: EngineHost) -> None:
    def kill() -> None:
        host.send(TripKillSwitch(source="signal", reason="SIGUSR1", author="signal"))

    def lose_terminal() -> None:
        log.info("the terminal was lost, and the engine goes on")

    answers: dict[int, Callable[[], None]] = {
        signal.SIGTERM: host.ask_to_stop,
        signal.SIGINT: host.ask_to_stop,
        signal.SIGHUP: lose_terminal,
        signal.SIGUSR1: kill,
    }
    for number, answer in answers.items():
        loop.add_signal_handler(number, answer)
    signals.release()


def _tell(host: EngineHost) -> None:
    """Nobody looks, but at what is said at the end."""
    last = host.latest()
    with suppress(OSError):  # nor may anybody be there to read that
        for line in last.left_open if last else ():
            click.echo(line)
