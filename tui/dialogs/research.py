"""The form of a new backtest, search or walk-forward."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Label

from tui.dialogs.dialog import BLANK, Dialog, Send
from tui.frame import Frame
from tui.research import FIELDS, Request, Run, field_of, label
from tui.widgets.entry import Entry
from tui.widgets.lines import Line

_TITLES = {
    "backtest": "Backtest: on recorded data, beside the engine",
    "search": "Search for parameters: on recorded data, beside the engine",
    "walk-forward": "Walk-forward: search for parameters, trade them on later data",
}
_HINTS = {
    "strategy": "its name, such as sma_crossover",
    "symbols": "with commas between them",
    "start": "2022-01-01; empty: all there is",
    "end": "2022-01-31; empty: all there is",
    "grid": "fast=5,10,20 slow=20:60:10; empty: around the defaults",
    "parameters": "fast=5 slow=20; empty: the defaults",
    "by": "return, sharpe or sortino; empty: return",
    "windows": "stretches that are traded; empty: 4",
    "in_sample": "how many times as long is searched before each; empty: 3",
    "cash": "100000; empty: as set",
}
_KEYS: Line = (
    ("tab", "key"),
    (" next field  ", "text"),
    ("enter", "key"),
    (" starts it  ", "text"),
    ("esc", "key"),
    (" closes", "text"),
)


class ResearchDialog(Dialog):
    """Stays open until the run has begun: what is wrong with what was typed is said in it."""

    asks = True
    expires = False

    def __init__(
        self,
        request: Request,
        start: Callable[[Request], Run],
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self._request = request
        self.title = _TITLES[request.kind]
        self._start = start
        self._run: Run | None = None

    def compose(self) -> ComposeResult:
        yield self._strip
        yield self._footer
        with VerticalScroll(can_focus=False) as box:
            box.border_title = self.title
            for name in FIELDS[self._request.kind]:
                hint = _HINTS[name]
                with Horizontal(classes="field"):
                    yield Label(label(name), classes="name")
                    value = getattr(self._request, name)
                    yield Entry(value, placeholder=hint, id=name, compact=True, max_length=200)
            yield self._text
            yield self._answer

    def lines(self, frame: Frame) -> list[Line]:
        return [BLANK, _KEYS]

    def show(self, frame: Frame) -> None:
        super().show(frame)
        run = self._run
        if run is None:
            return
        if run.state == "failed":
            self._run = None
            self.say(run.why)
            if field := field_of(run.why):
                self.query_one(f"#{field}", Input).focus()
        elif run.state != "starting":
            self.dismiss()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.prevent_default()  # a dialog with one field has an answer of its own
        if self._run is not None or not self.takes_answer():
            return
        kind = self._request.kind
        values = {name: self.query_one(f"#{name}", Input).value for name in FIELDS[kind]}
        for name in ("strategy", "symbols"):
            if not values[name].strip():
                self.say(f"{name}: {_HINTS[name]}")
                self.query_one(f"#{name}", Input).focus()
                return
        self.say("checking …", "dim")
        self._run = self._start(self._request._replace(**values))
