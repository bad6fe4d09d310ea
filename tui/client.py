"""What the console needs of an engine, in this process or in another."""

from concurrent.futures import Future
from typing import Protocol

from engine.control.standing import Standing
from engine.core.events import Command
from engine.view.questions import A, Question
from engine.view.snapshot import Snapshot


class Client(Protocol):
    """Three verbs: the newest snapshot in, a command out, a question and its answer; and who may
    command. No method may block."""

    def latest(self) -> Snapshot | None:
        """The newest snapshot, or None until there is one."""
        ...

    def send(self, command: Command) -> None:
        """Hand `command` to the engine; what came of it is in the snapshots that follow."""
        ...

    def ask(self, question: Question[A]) -> Future[A]:
        """The answer to come; its exception is a UserError that says why there is none."""
        ...

    def failure(self) -> str | None:
        """Why the engine ended or could not start, or None while it runs."""
        ...

    def owned(self) -> bool:
        """Whether this console started the engine, which stops with it where it does not detach."""
        ...

    def standing(self) -> Standing:
        """Which of the consoles is in command."""
        ...

    def notes(self) -> list[str]:
        """What the engine has to say to this console alone, once each."""
        ...

    def ask_for_command(self) -> None:
        """Be in command: at once where nobody is, else unless who is refuses in time."""
        ...

    def keep_command(self) -> None:
        """Refuse to give the command away."""
        ...
