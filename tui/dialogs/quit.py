"""The dialog before the console ends: the engine stops with it, or goes on."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import App
from textual.binding import Binding

from engine.core.events import ToggleStrategy
from engine.view.snapshot import Snapshot
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, paragraph
from tui.dialogs.kill import KillDialog
from tui.dialogs.safety import CONFIRM, letter, stake, switched_on
from tui.frame import Frame
from tui.summary import orders_of, pnl_of
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from tui.app import Console, Ending

_PAPER = (
    "Open orders stay in the database and go on at the next start; until then they cannot fill.",
    "Positions stay as they are; while nothing runs, no stop-loss watches them.",
)
_LIVE = (
    "Open orders STAY ALIVE at the broker and can fill while nothing watches them.",
    "Positions stay; only stops that rest at the broker protect them.",
)


_LOST = {
    "detach": "Were the terminal lost instead, the engine would go on.",
    "stop": "Were the terminal lost instead, the engine would stop as well.",
    "kill": "Were the terminal lost instead, the engine would be killed, and stop.",
}
"""By ON_TERMINAL_LOST."""


def _has_orders(snapshot: Snapshot) -> bool:
    return any(order.is_open for order in snapshot.orders)


def is_at_stake(snapshot: Snapshot) -> bool:
    """Whether anything is open, or may be: then it is asked before the engine stops."""
    return (
        _has_orders(snapshot)
        or bool(snapshot.positions)
        or any(row.state != "off" for row in snapshot.strategies)
    )


def _session(snapshot: Snapshot) -> list[Line]:
    """What the engine did since its start, and what came of it."""
    return [
        (("session    ", "dim"), (f"orders {orders_of(snapshot)}", "text")),
        (("P&L        ", "dim"), (pnl_of(snapshot), "text")),
    ]


_STARTS = "The engine is still starting; it stops with the console."
_SILENT = "No engine has answered yet; one that runs already goes on."

_KILLS: Line = (
    ("K", "key"),
    (" first cancels orders, or closes positions too: asks which", "text"),
)
_STOPS: Line = (("s", "key"), (" stops the engine in order, and quits", "text"))


def _run_that_ends(app: App[None]) -> list[Line]:
    kind = cast("Console", app).under_way
    text = f"The running {kind} ends with this console, without a report."
    return paragraph(text, "warn") if kind else []


class DetachDialog(Dialog):
    """Who wants the engine to go on is not asked whether it stops."""

    TITLE = "Detach"
    BINDINGS: ClassVar = [CONFIRM]

    def lines(self, frame: Frame) -> list[Line]:
        text = "The console ends; the engine goes on."
        return [*_run_that_ends(self.app), *paragraph(text), BLANK, letter("y", "detaches")]

    def confirmed(self) -> None:
        cast("Console", self.app).end("detach")


class QuitDialog(Dialog):
    TITLE = "Quit"
    BINDINGS: ClassVar = [
        CONFIRM,
        Binding("n", "no_entries", "No new entries", id="quit-no-entries"),
        Binding("K", "kill_choices", "Cancel and close first", id="quit-kill"),
        Binding("d", "end('detach')", "Detach", id="quit-detach"),
        Binding("s", "end('stop')", "Stop the engine", id="quit-stop"),
    ]

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return [
                *_run_that_ends(self.app),
                *paragraph(_STARTS if frame.owned else _SILENT),
                BLANK,
                letter("y", "quits"),
            ]
        on = switched_on(snapshot) or "none"
        if not frame.owned:
            return [
                *stake(snapshot),
                *_session(snapshot),
                *(_run_that_ends(self.app) or [BLANK]),
                *paragraph("The engine goes on: this console did not start it."),
                *paragraph(f"These strategies go on: {on}."),
                BLANK,
                *([_STOPS] if frame.standing.mine else []),
                letter("y", "quits the console"),
            ]
        orders, positions = _LIVE if frame.live else _PAPER
        style = "warn" if frame.live else "text"
        return [
            *stake(snapshot),
            *_session(snapshot),
            *(_run_that_ends(self.app) or [BLANK]),
            *paragraph("The engine stops with this console."),
            *paragraph(f"At the next start these strategies are on: {on}."),
            *(paragraph(orders, style) if _has_orders(snapshot) else []),
            *(paragraph(positions, style) if snapshot.positions else []),
            *paragraph(_LOST[cast("Console", self.app).on_terminal_lost]),
            BLANK,
            (
                ("n", "key"),
                (" no new entries: switches every strategy off", "text"),
            ),
            *([_KILLS] if _has_orders(snapshot) or snapshot.positions else []),
            (("d", "key"), (" detaches: the engine goes on without a console", "text")),
            letter("y", "quits"),
        ]

    def confirmed(self) -> None:
        self.app.exit()

    def action_no_entries(self) -> None:
        """Switch off what is on; what becomes of its open orders is set (ON_STRATEGY_OFF)."""
        rows = self.frame.snapshot.strategies if self.frame.snapshot else ()
        on = [row.name for row in rows if row.state not in ("off", "failed", "broken")]
        if not self.takes_answer():
            return
        for name in on:
            command = ToggleStrategy(strategy=name, enabled=False, author=AUTHOR)
            self.send(command, f"{name} off: sent to the engine")
        self.say(f"switched off: {', '.join(on)}" if on else "no strategy is on")

    def action_kill_choices(self) -> None:
        if self.takes_answer():
            self.go_on(KillDialog(self.frame, self.clock, self.send))

    def action_end(self, ending: "Ending") -> None:
        """A letter other than y: to detach, or to stop an engine that this console did not start.
        That takes the command."""
        frame = self.frame
        allowed = frame.owned if ending == "detach" else not frame.owned and frame.standing.mine
        if allowed and frame.snapshot is not None and self.takes_answer():
            cast("Console", self.app).end(ending)
