"""What every dialog has in common."""

import textwrap
from collections.abc import Callable
from time import monotonic
from typing import ClassVar

from textual import events
from textual._styles_cache import StylesCache
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input

from engine.core.events import Command
from tui.frame import Frame
from tui.widgets.entry import Entry
from tui.widgets.footer import Footer
from tui.widgets.lines import Line, Lines
from tui.widgets.panel import Panel
from tui.widgets.status_strip import StatusStrip
from tui.widgets.too_small import LEAST_HEIGHT, LEAST_WIDTH

GRACE = 0.5
"""Seconds for which a new dialog takes no answer: a key that is typed ahead confirms nothing. One
that comes meanwhile starts them anew, so that a held one confirms nothing either."""

LETTER_TIME = 0.05
"""Seconds that a hand needs at the least from one letter to the next; what comes faster was pasted,
where the terminal does not say so itself."""

EXPIRES_AFTER = 60.0
"""Seconds without an answer after which a dialog closes: it would be about another moment."""

TEXT_WIDTH = 68
BLANK: Line = ()

Send = Callable[[Command, str], None]
"""Sends a command and says so on the screen."""


def paragraph(text: str, style: str = "text", indent: str = "") -> list[Line]:
    """`text` in lines of the dialogs' width."""
    wrapped = textwrap.wrap(text, TEXT_WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [((line, style),) for line in wrapped]


class Dialog(ModalScreen[None]):
    """A box over the desk, under a status strip of its own: mode and kill switch stay in sight.

    Its text is made anew from every frame, so that it speaks of now. Escape closes it. Enter and
    space confirm nothing.
    """

    BINDINGS: ClassVar = [Binding("escape", "close", "Close", id="close")]
    TITLE = ""
    word: str = ""
    """The word that must be typed to confirm."""
    asks: bool = False
    """Whether something other than a word is to be typed."""
    expires: ClassVar[bool] = True
    letter_time: ClassVar[float] = LETTER_TIME
    CSS_PATH = "dialogs.tcss"

    def __init__(self, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__()
        self.frame = frame
        self.clock = clock
        self.send = send
        self._touched = self.grace_from = clock()
        self._dismissed = False
        self._strip = StatusStrip()
        self._footer = Footer()
        self._text = Lines(id="text")
        self._answer = Lines(id="answer")

    # --- what a subclass says --------------------------------------------------------------------

    def lines(self, frame: Frame) -> list[Line]:
        """The text of the dialog."""
        return []

    def refusal(self, typed: str) -> str:
        """Why `typed` does nothing; empty where it does."""
        return "" if typed == self.word else f"that is not {self.word}: nothing was done"

    def typed(self, typed: str) -> None:
        """Something was typed that is not refused: do it."""
        self.confirmed()

    def confirmed(self) -> None:
        """The answer was given: do it."""

    def go_on(self, dialog: "Dialog") -> None:
        """Ask the next question in place of this one."""
        self.app.switch_screen(dialog)

    # --- life ------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._strip
        yield self._footer
        typed = bool(self.word) or self.asks
        with VerticalScroll(can_focus=not typed) as box:
            box.border_title = self.title
            yield self._text
            if typed:
                yield WordInput(id="word")
            yield self._answer

    def on_mount(self) -> None:
        below = [screen.name for screen in self.app.screen_stack if not screen.is_modal]
        self._strip.here = below[-1] or ""  # the same lines as there: nothing moves, nothing twice
        self.show(self.frame)

    def show(self, frame: Frame) -> None:
        self.frame = frame
        self.set_class(frame.live, "-live")
        self.set_class(frame.past is not None, "-past")
        self._strip.show(frame)
        self._footer.show(frame)
        self._text.update(self.lines(frame))
        if self.expires and self.clock() - self._touched >= EXPIRES_AFTER:
            self._expire()

    def _expire(self) -> None:
        """A box that is gone without a word leaves open whether what it asked about was done."""
        if not self._dismissed:
            told = f"closed after {EXPIRES_AFTER:.0f} s without an answer: {self.title}"
            self.app.screen_stack[0].post_message(Panel.Said(told, "warn"))
            self.dismiss()

    def on_unmount(self) -> None:
        """Textual keeps the last thousand keys of this, and with them all that closed widgets drew:
        some twenty megabytes after a few hundred dialogs."""
        StylesCache.get_inner_outer.cache_clear()

    def say(self, text: str, style: str = "warn") -> None:
        """Answer inside the dialog."""
        self._answer.update(line for part in text.splitlines() for line in paragraph(part, style))

    def takes_answer(self) -> bool:
        """Whether what is pressed now is an answer; says so where it comes too early for one."""
        now = self._touched = self.clock()
        if now - self.grace_from >= GRACE:
            return True
        self.grace_from = now
        self.say("too early to be an answer: let go of the key, then press it")
        return False

    def action_confirm(self) -> None:
        """The letter that confirms was pressed."""
        if not self.word and self.takes_answer():
            self.confirmed()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close once: a key that was on its way by then closes nothing more."""
        if self._dismissed:
            return AwaitComplete.nothing()
        self._dismissed = True
        return super().dismiss(result)

    def action_close(self) -> None:
        self.dismiss()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        typed, entry = event.value, self.query_one(WordInput)
        if not self.takes_answer():
            return
        if not typed:
            self.say("nothing was typed: nothing was done")
            return
        width, height = self.app.size
        if reason := self.refusal(typed):
            self.say(reason)
        elif self.word and (width < LEAST_WIDTH or height < LEAST_HEIGHT):
            least = f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
            self.say(f"nothing was done: what is asked needs {least} to be read")
        elif entry.took < self.letter_time * (len(typed) - 1):
            self.say("too fast for a hand: type it, do not paste it")
        else:
            self.typed(typed)
            return
        entry.clear()


class WordInput(Entry):
    """An input that a hand must fill: it takes no paste and nothing during the grace."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True)
        self.cursor_blink = False
        self._began = 0.0
        self.took = 0.0
        """Seconds from the first character that was typed to the last."""

    async def _on_key(self, event: events.Key) -> None:
        dialog = self.screen
        if event.is_printable and isinstance(dialog, Dialog):
            if not dialog.takes_answer():
                event.stop()
                event.prevent_default()
                return
            pressed = dialog.clock() - (monotonic() - event.time)  # a busy console takes keys late
            if not self.value:
                self._began = pressed
            self.took = pressed - self._began
        await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self._refuse_paste()

    def action_paste(self) -> None:
        self._refuse_paste()

    def _refuse_paste(self) -> None:
        if isinstance(self.screen, Dialog):
            self.screen.say("a paste confirms nothing: type the word")
