"""What the console needs of an engine, in this process or in another."""

from typing import Protocol

from engine.core.events import Command
from engine.snapshot import Snapshot


class Client(Protocol):
    """Two verbs: the newest snapshot in, a command out. No method may block."""

    def latest(self) -> Snapshot | None:
        """The newest snapshot, or None until there is one."""
        ...

    def send(self, command: Command) -> None:
        """Hand `command` to the engine; what came of it is in the snapshots that follow."""
        ...

    def failure(self) -> str | None:
        """Why the engine ended or could not start, or None while it runs."""
        ...
