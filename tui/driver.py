"""Textual's driver of the terminal, with the kill key before everything else."""

from typing import TYPE_CHECKING, cast

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

from tui.commands import ACTIONS

if TYPE_CHECKING:
    from tui.app import Console

KILL_KEYS = [key for action in ACTIONS if action.id == "kill" for key in action.keys.split(",")]


class ConsoleDriver(LinuxDriver):
    """Keys are read on a thread of their own. A kill goes to the engine from there: it waits for no
    frame that is being painted, and for no loop that hangs."""

    def process_message(self, message: Message) -> None:
        if isinstance(message, Key) and message.key in KILL_KEYS:
            cast("Console", self._app).kill()
        super().process_message(message)
