"""Which console is in command: one at the most."""

from typing import Generic, TypeVar

PASSES_AFTER_S = 15.0
"""Seconds in which the console in command may refuse to give it away. One that is frozen, or that
nobody watches, has lost it then."""

C = TypeVar("C")


class Seat(Generic[C]):
    """The seat of command. Times are monotonic seconds, which the caller gives."""

    def __init__(self) -> None:
        self.holder: C | None = None
        self.asks: C | None = None
        self.passes_at = 0.0

    def ask(self, console: C, now: float) -> None:
        """Take the seat where it is free; else get it when its holder has not refused in time."""
        if self.holder is None:
            self.holder = console
        elif self.holder is not console and self.asks is None:
            self.asks, self.passes_at = console, now + PASSES_AFTER_S

    def refuse(self, console: C) -> C | None:
        """Its holder stays; answers who had asked, None where nobody had or this is not he."""
        if self.holder is not console:
            return None
        asked, self.asks = self.asks, None
        return asked

    def leave(self, console: C) -> None:
        """A console is gone: whoever asked for its seat has it."""
        if self.asks is console:
            self.asks = None
        if self.holder is console:
            self.holder, self.asks = self.asks, None

    def pass_on(self, now: float) -> None:
        """Nobody refused in time: the seat passes."""
        if self.asks is not None and now >= self.passes_at:
            self.holder, self.asks = self.asks, None
