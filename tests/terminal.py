"""A real pseudo-terminal around a real program, and the screen that a person would see."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pyte

READ_S = 0.1
ANSWER_S = 1.0
"""Seconds between two answers to a dialog, which takes none that come sooner for two."""


def engines_in(folder: Path) -> list[int]:
    """The pids of the engines that were started in `folder`, and run."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                command = (process / "cmdline").read_bytes().split(b"\0")
                found += [int(process.name)] if b"engine" in command else []
    return found


class Terminal:
    """Runs `argv` in a pty of `columns` by `rows`; `screen` is what it shows. With it ends the
    engine that was started in its `folder` and goes on."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: dict[str, str],
        *,
        columns: int = 120,
        rows: int = 40,
        folder: Path | None = None,
    ) -> None:
        self._folder = folder
        self._master, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            argv,
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.received = bytearray()
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.hang_up()
        if self._folder is not None:
            for pid in engines_in(self._folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @property
    def screen(self) -> str:
        return "\n".join(self._screen.display)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, seen: str | Callable[[str], bool], timeout: float = 60) -> str:
        """Read until the screen holds `seen`, or fulfils it; the screen then.

        Raises AssertionError with the screen where that does not come in `timeout` seconds.
        """
        fulfils = seen if callable(seen) else lambda screen: seen in screen
        deadline = time.monotonic() + timeout
        while not fulfils(self.screen):
            assert time.monotonic() < deadline, f"{seen} did not come:\n{self.screen}"
            self.read()
        return self.screen

    def read(self, timeout: float = READ_S) -> bool:
        """Take in what the program writes within `timeout` seconds; False where nothing came."""
        if not self._open or not select.select([self._master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # the program has closed its side
            data = b""
        if not data:
            self._open = False
            return False
        self.take(data)
        return True

    def ends_with(self, key: str) -> None:
        """Press `key` in a dialog until the program ends: one that comes with the dialog is no
        answer, nor is one that comes again so soon that it may be held."""
        while self.process.poll() is None:
            self.press(key)
            until = time.monotonic() + ANSWER_S
            while self.process.poll() is None and time.monotonic() < until:
                self.read()

    def take(self, data: bytes) -> None:
        """What the program has written now."""
        self.received += data
        self._stream.feed(data)

    def wait(self, timeout: float = 60) -> int:
        """Read until the program has ended and closed the terminal; its exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on:\n{self.screen}"
            self.read()
        while (
            self._open and time.monotonic() < deadline
        ):  # what it wrote last may still be on its way
            self.read()
        return self.process.returncode

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the terminal, as a lost SSH connection does."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
            self._open = False

    def kill(self) -> None:
        """kill -9"""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
