"""The alerts of the session: what went wrong, how often, and what nobody has acknowledged yet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from engine.core.events import AcknowledgeAlerts
from engine.view.snapshot import AlertRow
from tui import format, losses
from tui.commands import AUTHOR, not_live
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.frame import Frame, read_only_words
from tui.widgets.alerts import Alerts
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line
from tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui.app import Console

_KEYS: Line = (
    *(("o", "key"), (" acknowledges the selected one, ", "text")),
    *(("O", "key"), (" all, ", "text")),
    *(("esc", "key"), (" closes", "text")),
)
_AROUND = 12
"""Lines of the dialog besides the rows."""
_LEAST = 5


class AlertsDialog(Dialog):
    """Who acknowledges is told to the engine, which keeps the alerts: every console shows the same
    but for its own.
    One key repeated acknowledges one alert: the next is to be read first."""

    TITLE = "Alerts"
    BINDINGS: ClassVar = [
        Binding("o", "acknowledge", "Acknowledge the selected alert", id="alert-read"),
        Binding("O", "acknowledge_all", "Acknowledge all alerts", id="alerts-read"),
    ]
    expires = False

    def __init__(self, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self.add_class("-broad")
        self._table = Alerts(id="alerts")

    def compose(self) -> ComposeResult:
        yield self._strip
        yield self._footer
        with VerticalScroll(can_focus=False) as box:
            box.border_title = self.title
            yield self._table
            yield self._text
            yield self._answer

    def on_mount(self) -> None:
        super().on_mount()
        self._table.focus()

    def show(self, frame: Frame) -> None:
        count = len(frame.snapshot.alerts) if frame.snapshot else 0
        room = self.app.size.height - _AROUND
        self._table.styles.height = max(_LEAST, min(count + 3, room))
        self._table.show(frame)
        super().show(frame)

    def lines(self, frame: Frame) -> list[Line]:
        row = self._table.selected_row
        return [*(_story(row) if row is not None else []), BLANK, _KEYS]

    def on_line_table_selected(self, message: LineTable.Selected) -> None:
        self._text.update(self.lines(self.frame))

    def on_panel_said(self, message: Panel.Said) -> None:
        self.say(message.text, message.style)

    def action_acknowledge(self) -> None:
        row = self._table.selected_row
        if row is not None and not row.acknowledged_by:
            self._acknowledge((row.name,), "acknowledged")

    def action_acknowledge_all(self) -> None:
        unread = self.frame.snapshot.unread if self.frame.snapshot else ()
        if unread:
            said = f"{format.plural(len(unread), 'alert')} acknowledged"
            self._acknowledge(tuple(row.name for row in unread), said)

    def _acknowledge(self, names: tuple[str, ...], said: str) -> None:
        if not self.takes_answer():
            return
        if losses.NAME in names:
            cast("Console", self.app).losses.acknowledge()
            names = tuple(name for name in names if name != losses.NAME)
        if not names:
            return
        if self.frame.past is not None or self.frame.read_only:
            past = self.frame.past is not None
            self.say(not_live(self.frame.keys) if past else read_only_words(self.frame))
            return
        self.grace_from = self.clock()
        self.send(AcknowledgeAlerts(names=names, author=AUTHOR), f"{said}: sent to the engine")


def _story(row: AlertRow) -> list[Line]:
    """All that is known of an alert. Whether the cause of one that live trading waits for is over
    is a person's to say, unless it is known to last, or to be gone."""
    told = [f"{row.count} times since {format.date_and_clock(row.since_ts)}."] * (row.count > 1)
    if row.lasts or row.over or not row.holds:
        told.append("Its cause lasts." if row.lasts else "Its cause is over.")
    if row.acknowledged_by:
        told.append(f"Acknowledged by {row.acknowledged_by}.")
    elif row.holds:
        told.append("Live trading makes no entry before it is acknowledged.")
    return [*paragraph(row.text, "strong"), *paragraph(" ".join(told))]
