"""What terminals do to a console: it stays whole, and its engine never hears of it."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic

from engine.core.events import ChangeCommander, Command, TripKillSwitch
from engine.store.journal import JournalReader
from tests.terminal import Terminal
from tests.test_console import KILL, PROGRAM, environment, start
from tui.driver import ASK

MB = 1_000_000
SIZES = ((20, 5), (1, 1), (200, 60), (2, 40), (80, 24), (40, 10), (300, 2), (120, 40))

PANELS = 7
"""Boxes of the desk."""


def commands(folder: Path) -> list[Command]:
    """What was asked of the engine at consoles; it has ended in order."""
    (journal,) = (folder / "var" / "journal" / "paper").iterdir()
    asked = [event for event in JournalReader(journal) if isinstance(event, Command)]
    return [
        event
        for event in asked
        if not isinstance(event, ChangeCommander) and event.author != "settings"
    ]


def press_until(console: Terminal, key: str, seen: Callable[[str], bool]) -> None:
    """Press as a person does whose key was not heard."""
    deadline = monotonic() + 60
    while not seen(console.screen):
        assert monotonic() < deadline, console.screen
        console.press(key)
        end = monotonic() + 1.5
        while monotonic() < end and not seen(console.screen):
            console.read()


def works(console: Terminal) -> None:
    """Its keys do what they do."""
    press_until(console, "?", lambda screen: "Kill: stop trading now" in screen)
    press_until(console, "\x1b", lambda screen: "Kill: stop trading now" not in screen)


def is_whole(screen: str) -> bool:
    """Each part of the desk stands once, and where it belongs."""
    lines = screen.split("\n")
    parts = ("─ quotes ─", "─ positions ─", "─ orders ─", "─ log ─", " equity ")
    return (
        lines[0].startswith(" PAPER")
        and lines[-1].lstrip().startswith("^k KILL")
        and all(sum(part in line for line in lines) == 1 for part in parts)
    )


def send(console: Terminal, data: bytes) -> None:
    """All of `data` at once, while what the console draws is read."""
    sending = threading.Thread(target=lambda: os.write(console._master, data))
    sending.start()
    while sending.is_alive():
        console.read()
    sending.join()


NOISE = {
    "no UTF-8": b"\xff\xfe\x80\xc3\xe2\x82",
    "half sequences": b"\x1b[;\x1b[<\x1bO\x1b]0;\x1bP\x1b[48;0;0;0;0t\x1b[114:82;2;82u",
    "ctrl+z and ctrl+\\": b"\x1a\x1c",
    "random bytes": Random(3).randbytes(MB // 10).replace(KILL.encode(), b""),
    "a mouse gone wild": b"\x1b[<35;20;20M\x1b[<0;20;20M\x1b[<0;20;20m" * (MB // 100),
    "a large text": b"yes p q s d LIVE\r +" * (MB // 20),
    "a large paste": b"\x1b[200~" + b"yes p q s d LIVE\r +" * (MB // 20) + b"\x1b[201~",
    "a paste without end": b"\x1b[200~yes",
}


def test_noise_and_pastes_command_nothing_and_keys_work_after_them(tmp_path: Path) -> None:
    with start(tmp_path) as console:
        console.wait_for("kill ready")
        for data in NOISE.values():
            send(console, data)
            works(console)
        console.press(KILL)
        console.wait_for("complete, no order open")
        console.process.send_signal(signal.SIGTERM)
        assert console.wait() == 128 + signal.SIGTERM
    (asked,) = commands(tmp_path)
    assert isinstance(asked, TripKillSwitch)


def test_the_kill_key_is_heard_in_a_paste_that_has_no_end(tmp_path: Path) -> None:
    with start(tmp_path) as console:
        console.wait_for("kill ready")
        console.press("\x1b[200~yes")
        press_until(console, KILL, lambda screen: "KILLED by console" in screen)


def test_a_storm_of_sizes_leaves_the_screen_right(tmp_path: Path) -> None:
    with start(tmp_path) as console:
        console.wait_for(is_whole)
        for size in SIZES * 3:
            console.resize(*size)
            console.read(0)
        console.wait_for(is_whole)
        works(console)
        console.process.send_signal(signal.SIGTERM)
        assert console.wait() == 128 + signal.SIGTERM
    assert commands(tmp_path) == []


def test_a_storm_that_ends_at_the_same_size_draws_all_once_more(tmp_path: Path) -> None:
    """The terminal has cut what it showed by then, and nobody else knows."""
    with start(tmp_path) as console:
        console.wait_for(is_whole)
        press_until(console, "p", lambda screen: "PAUSED" in screen)
        console.wait_for("paused: asked for by")  # the log is drawn, and no more comes
        console._screen.erase_in_display(2)
        before = len(console.received)
        for _ in range(20):
            console.resize(120, 40)
            console.read(0)
        console.wait_for("─ positions ─")
        end = monotonic() + 1.0
        while monotonic() < end:
            console.read()
        assert console.received[before:].count("╭".encode()) == PANELS


class AnsweringTerminal(Terminal):
    """Says where the cursor is, as terminals do once they have drawn what came before; while
    `is_slow` it has not."""

    is_slow = False
    questions = 0

    def take(self, data: bytes) -> None:
        super().take(data)
        self.questions += data.count(ASK.encode())
        self.answer()

    def answer(self) -> None:
        while self.questions and not self.is_slow:
            self.questions -= 1
            self.press("\x1b[1;1R")


def test_a_terminal_that_is_slow_gets_no_more_than_it_draws_and_then_what_is_true(
    tmp_path: Path,
) -> None:
    argv, variables = [str(PROGRAM)], environment(FEED="synthetic", FPS="10")
    with AnsweringTerminal(argv, variables, folder=tmp_path) as console:
        console.wait_for("kill ready")
        console.wait_for(lambda _: len(console.received) > 40_000)
        console.is_slow = True
        while console.read(0.5):
            pass
        known = len(console.received)
        for key in ("\x1b[B", "?"):
            console.press(key)
            while console.read(0.5):
                pass
        assert len(console.received) - known < 4_000
        assert "Kill: stop trading now" not in console.screen
        console.press(KILL)
        console.is_slow = False
        console.answer()
        console.wait_for("Kill: stop trading now")
        console.press("\x1b")
        console.wait_for("KILLED by console")
        console.wait_for(is_whole)
