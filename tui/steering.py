"""What the operator asks of the engine: keys and dialogs become commands."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from textual import events
from textual.app import App
from textual.driver import Driver

from engine.core.events import (
    Command,
    ControlFeed,
    SignOfLife,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.view.questions import A, Question
from tui import commands, format
from tui.client import Client
from tui.commands import AUTHOR
from tui.frame import Frame, KillProgress, KillRequest, read_only_words
from tui.widgets.orders import Orders
from tui.widgets.quotes import Quotes
from tui.widgets.risk import Risk
from tui.widgets.strategies import Strategies

if TYPE_CHECKING:
    from tui.screens.panels import PanelScreen
    from tui.widgets.connections import Connections

ANSWER_DELAYS = (0.05, 0.1, 0.15)
"""Seconds after a command at which the console looks for what came of it."""

SIGN_OF_LIFE_S = 1.0
"""Seconds between two signs of life, however many keys are pressed."""

REPEAT_AFTER = 0.4
"""Seconds before the same strategy is switched again: a held key is one switch."""


class Steering(App[None], inherit_bindings=False):
    """The half of the console that sends: `client` is the engine, `clock` gives monotonic seconds.

    Dialogs are imported when they open, to keep them off the way to the first frame.
    """

    def __init__(
        self,
        client: Client,
        clock: Callable[[], float],
        *,
        driver_class: type[Driver],
        ansi_color: bool | None,
    ) -> None:
        super().__init__(driver_class=driver_class, ansi_color=ansi_color)
        self.client = client
        self.clock = clock
        self.frame = Frame(None, clock())
        self._kill = KillRequest()
        self._killing = KillProgress()
        self._switched: dict[str, float] = {}
        self._alive = -SIGN_OF_LIFE_S

    @property
    def base(self) -> "PanelScreen":
        """The screen that one is on, whatever dialogs are over it."""
        raise NotImplementedError

    def tick(self) -> None:
        """Draw the newest snapshot."""
        raise NotImplementedError

    def ask(self, question: Question[A]) -> Future[A]:
        """What the engine answers; it never waits."""
        return self.client.ask(question)

    # --- commands to the engine ------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._show_life()
        await super().on_event(event)

    def _show_life(self) -> None:
        """Any key says that somebody is there, where the engine wants to know."""
        snapshot, now = self.frame.engine.snapshot, self.clock()
        wanted = snapshot is not None and snapshot.dead_man is not None
        if wanted and now - self._alive >= SIGN_OF_LIFE_S:
            self._alive = now
            self.client.send(SignOfLife(author=AUTHOR))

    def send(self, command: Command, said: str) -> None:
        """Hand `command` to the engine and say so; what comes of it is in the snapshots."""
        if self.frame.engine.failure is not None:
            self.base.say("not sent: the engine has ended", "alarm")
            return
        if isinstance(command, TripKillSwitch):
            self._kill.press(self.clock())
        self.client.send(command)
        self.base.say(said)
        self._look_soon()

    def kill(self) -> None:
        """Asks nothing, works everywhere and may be called at any time, on any thread."""
        if self._kill.press(self.clock()):
            self.client.send(TripKillSwitch(source="console", reason="kill key", author=AUTHOR))

    def action_kill(self) -> None:
        self.kill()  # in a terminal the driver did it already
        if self._kill.waited(self.clock()) is not None:
            self._look_soon()
        self.tick()

    def _look_soon(self) -> None:
        """The engine answers faster than the frames follow each other."""
        for delay in ANSWER_DELAYS:
            self.set_timer(delay, self.tick)

    # --- what panels and keys ask for ------------------------------------------------------------

    def toggle(self, strategy: str, enabled: bool) -> None:
        """Switch a strategy. Only switching on in a live account asks."""
        now = self.clock()
        if now - self._switched.get(strategy, -REPEAT_AFTER) < REPEAT_AFTER:
            return
        self._switched[strategy] = now
        if enabled and self.frame.live:
            from tui.dialogs.safety import StrategyOnDialog

            self.push_screen(StrategyOnDialog(strategy, self.frame, self.clock, self.send))
            return
        command = ToggleStrategy(strategy=strategy, enabled=enabled, author=AUTHOR)
        self.send(command, f"{strategy} {'on' if enabled else 'off'}: sent to the engine")

    def on_strategies_switched(self, message: Strategies.Switched) -> None:
        row = message.row
        enabled = row.state in ("off", "failed")
        if not self._refused("toggle", stops=not enabled):
            self.toggle(row.name, enabled)

    def on_strategies_reload_asked(self, message: Strategies.ReloadAsked) -> None:
        row = message.row
        if self._refused("reload"):
            return
        if row.state == "broken":
            self.base.say(f"mend {row.name} first: it makes no strategy ({row.note})", "warn")
            return
        from tui.dialogs.reload import ReloadDialog

        self.push_screen(ReloadDialog(row.name, self.frame, self.clock, self.send))

    def on_orders_cancel_asked(self, message: Orders.CancelAsked) -> None:
        order = message.order
        if self._refused("cancel"):
            return
        if order.is_final:
            self.base.say(f"{order.client_order_id} is {format.words(order.state)} already", "warn")
            return
        from tui.dialogs.orders import CancelDialog

        self.push_screen(CancelDialog(order, self.frame, self.clock, self.send))

    def on_orders_doubt_asked(self, message: Orders.DoubtAsked) -> None:
        order = message.order
        if self._refused("doubt"):
            return
        from tui.dialogs.orders import DoubtDialog

        self.push_screen(DoubtDialog(order, self.frame, self.clock, self.send))

    def on_risk_change_asked(self, message: Risk.ChangeAsked) -> None:
        row = message.row
        if self._refused("limit", stops=True):  # a tighter one needs no command
            return
        from tui.dialogs.limits import LimitDialog

        self.push_screen(LimitDialog(row, self.frame, self.clock, self.send))

    def on_quotes_resume_asked(self, message: Quotes.ResumeAsked) -> None:
        snapshot = self.frame.snapshot
        if self._refused("resume") or snapshot is None:
            return
        from tui.dialogs.resume import ResumeDialog

        for row in snapshot.paused:
            if row.symbol == message.symbol:
                self.push_screen(ResumeDialog(row, self.frame, self.clock, self.send))

    def on_connections_adjust_asked(self, message: "Connections.AdjustAsked") -> None:
        if self._refused("cash"):
            return
        from tui.dialogs.cash import CashDialog

        self.push_screen(CashDialog(message.broker, self.frame, self.clock, self.send))

    def action_why(self) -> None:
        if self._refused("why", stops=True):
            return
        question = self.base.why
        if question is None:
            self.base.say("select a row first", "warn")
            return
        from tui.dialogs.why import WhyDialog

        chain = self.ask(question)
        symbol = self.base.about()
        self.push_screen(WhyDialog(chain, symbol, self.frame, self.clock, self.send))

    def action_pause(self) -> None:
        snapshot = self.frame.snapshot
        if self._refused("pause") or snapshot is None:
            return
        action = "resume" if snapshot.feed.status == "paused" else "pause"
        speed = snapshot.feed.speed
        self.send(ControlFeed(action=action, speed=speed, author=AUTHOR), f"{action}: sent")

    def action_faster(self) -> None:
        self._change_speed("faster", 1)

    def action_slower(self) -> None:
        self._change_speed("slower", -1)

    def _change_speed(self, id: str, step: int) -> None:
        snapshot = self.frame.snapshot
        if self._refused(id) or snapshot is None:
            return
        speed = commands.next_speed(snapshot.feed.speed, step)
        self.send(
            ControlFeed(action="speed", speed=speed, author=AUTHOR),
            f"replay at {format.speed(speed)}: sent",
        )

    def _refused(self, id: str, *, stops: bool = False) -> bool:
        """Say why the action can do nothing now, if so. What cannot be seen cannot be steered; what
        only `stops` needs no command."""
        if self.base.too_small:
            return True
        reason = self._refusal(commands.BY_ID[id])
        if not reason and not stops and self.frame.read_only:
            reason = read_only_words(self.frame)
        if reason:
            self.base.say(reason, "warn")
        return bool(reason)

    def _refusal(self, action: commands.Action) -> str:
        """Why `action` can do nothing where one is; empty where it can."""
        frame = self.frame
        return commands.refusal(action, frame.snapshot, self.base.panel, frame.keys)

    def action_command(self) -> None:
        """Ask for the command, or keep it."""
        if self._refused("command", stops=True):
            return
        standing = self.frame.standing
        if standing.mine and standing.asks:
            self.client.keep_command()
            self.base.say(f"kept: {standing.asks} does not get the command")
        elif standing.mine:
            self.base.say("this console is in command")
        elif not standing.may_ask:
            self.base.say(read_only_words(self.frame))
        else:
            self.client.ask_for_command()
            if standing.holder:
                self.base.say(f"asked {standing.holder} for the command")

    def action_rearm(self) -> None:
        if self._refused("rearm"):
            return
        from tui.dialogs.safety import RearmDialog, RearmPartDialog

        snapshot = self.frame.snapshot
        killed = snapshot is not None and snapshot.kill.tripped
        dialog = RearmDialog if killed else RearmPartDialog
        self.push_screen(dialog(self.frame, self.clock, self.send))

    def action_kill_choices(self) -> None:
        if self._refused("kill-choices", stops=True):
            return
        from tui.dialogs.kill import KillDialog

        self.push_screen(KillDialog(self.frame, self.clock, self.send))

    def action_alerts(self) -> None:
        if self._refused("alerts", stops=True):
            return
        from tui.dialogs.alerts import AlertsDialog

        self.push_screen(AlertsDialog(self.frame, self.clock, self.send))

    def action_breaker(self) -> None:
        if self._refused("breaker"):
            return
        from tui.dialogs.safety import BreakerDialog

        self.push_screen(BreakerDialog(self.frame, self.clock, self.send))

    def action_mode(self) -> None:
        if self._refused("mode"):
            return
        from tui.dialogs.live import ModeDialog

        self.push_screen(ModeDialog(self.frame, self.clock, self.send))
