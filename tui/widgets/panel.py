"""What every panel has in common: a frame with a title above and a note below."""

from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar, cast

from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from engine.core.text import clean
from engine.view.questions import A, Question
from tui.frame import Frame

if TYPE_CHECKING:
    from tui.steering import Steering


OF_NOW = "AS IT IS NOW"


class Panel(Widget, can_focus=True):
    """A part of a screen that one can go to. Its `id` is its name."""

    ALLOW_MAXIMIZE = False
    of_now: ClassVar[bool] = False
    """Does it show files, which are as they are now? It says so where the rest is of the past."""

    class Said(Message):
        """What came of a key, to be shown at the bottom."""

        def __init__(self, text: str, style: str) -> None:
            super().__init__()
            self.text = text
            self.style = style

    class Arranged(Message):
        """The operator chose how it is shown, which is remembered."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._titles = "", ""
        self.entitle(id, "")

    @property
    def is_typing(self) -> bool:
        """Whether keys are letters now."""
        return False

    def show(self, frame: Frame) -> None:
        """Draw `frame`; what reads as before is not painted."""
        raise NotImplementedError

    def forget(self) -> None:
        """What comes is not what follows on what was: of the past and not of now, the other way
        about, or of an earlier time. Keep nothing."""

    def say(self, text: str, style: str = "info") -> None:
        """Tell the operator what was done, or why not."""
        self.post_message(self.Said(text, style))

    def ask(self, question: Question[A]) -> Future[A]:
        """What the engine answers; `tui.asking` looks whether it has come."""
        return cast("Steering", self.app).ask(question)

    def about(self) -> str:
        """The symbol of what is selected here, empty where there is none."""
        return ""

    def entitle(self, title: str, note: str) -> None:
        """Write into the upper and the lower border: as it is, never as markup."""
        if self.of_now and self.is_attached and self.screen.has_class("-past"):
            note = f"{OF_NOW} · {note}" if note else OF_NOW
        title, note = (text if text.isprintable() else clean(text) for text in (title, note))
        before, self._titles = self._titles, (title, note)
        if title != before[0]:
            self.border_title = Content(title)
        if note != before[1]:
            self.border_subtitle = Content(note)
