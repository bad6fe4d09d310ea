"""The part of the console that looks at the past: opens a session and moves through it.

Nothing that is done there reaches the engine: commands are refused while the past is shown, what is
travelled through takes none, and questions go there. The kill key is the engine's, always.
"""

from asyncio import to_thread
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from engine.core.events import Command, TripKillSwitch
from engine.view.questions import A, Question
from tui import commands, format
from tui.frame import Frame
from tui.journey import Journals, Journey
from tui.steering import Steering

if TYPE_CHECKING:
    from tui.widgets.sessions import Sessions


class Travelling(Steering, inherit_bindings=False):
    """`journals` are the recorded sessions, once the settings say where they are."""

    journals: Journals | None = None
    _journey: Journey | None = None

    def send(self, command: Command, said: str) -> None:
        """As `Steering.send`; of the past only a kill leaves."""
        if self.frame.past is not None and not isinstance(command, TripKillSwitch):
            self.base.say(commands.not_live(self.frame.keys), "warn")
            return
        super().send(command, said)

    def ask(self, question: Question[A]) -> Future[A]:
        """As `Steering.ask`; the engine would answer of now, so in the past that is asked."""
        if self.frame.past is None or self._journey is None:
            return super().ask(question)
        return self._journey.ask(question)

    def action_why(self) -> None:
        """An answer is of one moment: what is asked of stands still."""
        if self.frame.past is not None and self._journey is not None:
            self._journey.stay()
        super().action_why()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the past work on its screens alone, and not while a filter is typed."""
        if not action.startswith("past_"):
            return super().check_action(action, parameters)
        return self.frame.past is not None and self.screen is self.base and not self.base.is_typing

    # --- sessions --------------------------------------------------------------------------------

    def on_sessions_wanted(self, message: "Sessions.Wanted") -> None:
        self.run_worker(self._list(message.panel))

    async def _list(self, panel: "Sessions") -> None:
        if self.journals is not None:
            panel.take(await to_thread(self.journals.sessions), self.frame)

    def on_sessions_open_asked(self, message: "Sessions.OpenAsked") -> None:
        row = message.row
        if row.problem:
            self.base.say(row.problem, "warn")
        elif self.journals is not None:
            self._leave()
            mode = row.mode or "a session"
            name = f"{mode} {format.date_and_clock(row.started_ts).removesuffix(' UTC')}"
            self._journey = Journey(name, self.journals.open(row.path), self.clock)
            self.base.say(f"opening {name}")

    def _leave(self) -> None:
        journey, self._journey = self._journey, None
        if journey is not None:
            journey.close()

    # --- frames ----------------------------------------------------------------------------------

    def look(self, engine: Frame) -> Frame:
        """What is to be drawn while `engine` is what the engine shows."""
        journey = self._journey
        if journey is None:
            return engine
        journey.go_on()
        frame = journey.frame(engine)
        if frame.past is None:
            self._tell_of_the_opening(journey)
        elif self.frame.past is None:
            self.call_next(partial(self.run_action, f"screen('{commands.FIRST_SCREEN}')"))
        return frame

    def _tell_of_the_opening(self, journey: Journey) -> None:
        if journey.failure is not None:
            self._leave()
            self.base.say(f"not opened: {format.first_line(journey.failure)}", "alarm")
        elif journey.inputs_read:
            self.base.say(f"opening {journey.name}: {journey.inputs_read:,} events read")

    # --- keys ------------------------------------------------------------------------------------

    def action_past_step(self, count: int) -> None:
        self._move(lambda journey: journey.step(count, leap=False))

    def action_past_leap(self, count: int) -> None:
        self._move(lambda journey: journey.step(count, leap=True))

    def action_past_play(self) -> None:
        self._move(Journey.play)

    def action_past_speed(self, step: int) -> None:
        self._move(lambda journey: journey.change_speed(step))

    def _move(self, move: Callable[[Journey], None]) -> None:
        if self._journey is not None:
            move(self._journey)
            self._look_soon()

    def action_past_go(self) -> None:
        from tui.dialogs.go import GoDialog

        if self._journey is not None:
            go = self._journey.go_to
            self.push_screen(GoDialog(go, self.frame, self.clock, self.send))

    def action_past_leave(self) -> None:
        self._leave()
        self.tick()
        self.base.say("back to live: this is now")
