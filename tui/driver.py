"""Textual's driver of the terminal, with the kill key before everything else."""

import os
import select
from time import monotonic
from typing import TYPE_CHECKING, cast

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

from tui.keyboard import KILL_KEYS, Keyboard

if TYPE_CHECKING:
    from tui.app import Console

CHUNK = 4096
TICK_S = 0.1


class ConsoleDriver(LinuxDriver):
    """Keys are read on a thread of their own. A kill goes to the engine from there: it waits for no
    frame that is being painted, and for no loop that hangs."""

    def run_input_thread(self) -> None:
        """Textual's ends the program at a byte that is no UTF-8, and spins at the end of input."""
        keyboard = Keyboard()
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], TICK_S)[0]:
                try:
                    data = os.read(self.fileno, CHUNK)
                except OSError:
                    return  # the terminal is gone; the supervisor sees that
                if not data:
                    return
                for message in keyboard.feed(data, monotonic()):
                    self.process_message(message)
            for message in keyboard.tick():
                self.process_message(message)

    def process_message(self, message: Message) -> None:
        if isinstance(message, Key) and message.key in KILL_KEYS:
            cast("Console", self._app).kill()
        super().process_message(message)
