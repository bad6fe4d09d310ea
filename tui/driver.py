"""Textual's driver of the terminal, with the kill key before everything else."""

import asyncio
import os
import select
import signal
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from textual.drivers.linux_driver import LinuxDriver
from textual.events import CursorPosition, Key, Resize
from textual.geometry import Size
from textual.message import Message

from tui.keyboard import KILL_KEYS, Keyboard
from tui.styling import frugal

if TYPE_CHECKING:
    from tui.app import Console

CHUNK = 4096
TICK_S = 0.1

ASK = "\x1b[6n"
"""Where is the cursor? Every terminal answers that once it has drawn all that it got before."""
PATIENCE_S = 10.0
"""An answer that does not come for so long was lost."""
LAST_ANSWER_S = 1.0
"""Seconds for which the end waits for an answer that would else be typed into the shell."""

PENDING_WRITES = 1
"""Writes that may wait for the terminal. Textual blocks its loop once thirty wait, which a terminal
that nobody reads brings about in seconds."""


class ConsoleDriver(LinuxDriver):
    """Keys are read on a thread of their own. A kill goes to the engine from there: it waits for no
    frame that is being painted, and for no loop that hangs.

    What is written is soon out of sight: between here and the terminal the system, sshd and the
    network hold many seconds of a slow line. So the terminal is asked after what was drawn, and is
    behind until it answers.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._asked = 0.0
        self._answered = Event()
        self._answered.set()
        self._answers = False
        """Whether this terminal is one that answers."""
        self._of_jobs = {n: signal.getsignal(n) for n in (signal.SIGTSTP, signal.SIGCONT)}
        """What Textual does when it is to stop, and to go on."""

    @property
    def is_behind(self) -> bool:
        """Has the terminal not taken yet what it was sent?"""
        waiting = self._writer_thread._queue.qsize() if self._writer_thread is not None else 0
        return waiting > PENDING_WRITES or self.is_drawing

    @property
    def is_drawing(self) -> bool:
        """Has a terminal that answers not done so yet?"""
        return self._answers and not self._answered.is_set() and not self._is_late

    @property
    def _is_late(self) -> bool:
        return monotonic() - self._asked >= PATIENCE_S

    def write(self, data: str) -> None:
        super().write(frugal(data))

    def ask(self) -> None:
        """Something was drawn: have the terminal say when it has."""
        if not self._answered.is_set():
            if not self._is_late:
                return
            self._answers = False
        self._asked = monotonic()
        self._answered.clear()
        self.write(ASK)

    def start_application_mode(self) -> None:
        """Textual does all within the signals' handlers, which interrupt anything. A size that was
        read was told after a newer one, and stayed; a stop amid a write waited for ever for the
        lock of that write. Here the loop does it, between two other things."""
        super().start_application_mode()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self.tell_size)
        for number, handler in self._of_jobs.items():
            if callable(handler):
                loop.add_signal_handler(number, handler, number, None)

    def tell_size(self) -> None:
        """The terminal may have another size: tell the one that it has now."""
        try:
            size = Size(*os.get_terminal_size(self.fileno))
        except OSError:
            return  # the terminal is gone; the supervisor sees that
        self._app.post_message(Resize(size, size))

    def stop_application_mode(self) -> None:
        if self._answers:
            self._answered.wait(LAST_ANSWER_S)
        super().stop_application_mode()

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
        if isinstance(message, CursorPosition):
            self._answers = True
            self._answered.set()
            self._app.call_later(cast("Console", self._app).catch_up)
            return
        if isinstance(message, Key) and message.key in KILL_KEYS:
            cast("Console", self._app).kill()
        super().process_message(message)
