"""The console: draws the newest snapshot a few times a second and turns keys into commands."""

import os
from collections.abc import Callable
from time import monotonic
from typing import ClassVar, cast

from textual import events
from textual.app import App
from textual.command import Provider
from textual.timer import Timer

from engine.core.events import (
    Command,
    ControlFeed,
    SignOfLife,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import OrderState
from tui import commands, format, themes
from tui.client import Client
from tui.commands import AUTHOR
from tui.driver import ConsoleDriver
from tui.frame import Frame, Heartbeat, KillRequest, ShowsFrame
from tui.screens.desk import Desk
from tui.widgets.footer import key_names
from tui.widgets.orders import Orders
from tui.widgets.quotes import Quotes
from tui.widgets.risk import Risk
from tui.widgets.strategies import Strategies

FPS = 4.0

PENDING_WRITES = 1
"""Writes that may wait for the terminal; with more the next frame is left out. Textual blocks its
loop for good once thirty wait, which a terminal that nobody reads brings about in seconds."""

ANSWER_DELAYS = (0.05, 0.1, 0.15)
"""Seconds after a command at which the console looks for what came of it."""

SIGN_OF_LIFE_S = 1.0
"""Seconds between two signs of life, however many keys are pressed."""

REPEAT_AFTER = 0.4
"""Seconds before the same strategy is switched again: a held key is one switch."""


def _palette() -> type[Provider]:
    from tui.palette import Commands

    return Commands


class Console(App[None], inherit_bindings=False):
    """`client` is the engine and `clock` gives monotonic seconds; `ready` is called after the first
    frame is on the screen: what is slow to start waits for it.

    Dialogs are imported when they open, to keep them off the way to the first frame.
    """

    TITLE = "tradebot"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = commands.bindings("app", "always")
    COMMANDS = {_palette}

    def __init__(
        self,
        client: Client,
        *,
        fps: float = FPS,
        clock: Callable[[], float] = monotonic,
        ready: Callable[[], object] | None = None,
    ) -> None:
        # Without colours Textual sends grey ones, unless the terminal's own are asked for.
        super().__init__(
            driver_class=ConsoleDriver, ansi_color=True if "NO_COLOR" in os.environ else None
        )
        self.client = client
        self.clock = clock
        self.frame = Frame(None, clock())
        self.crash: Exception | None = None
        """What ended the console, if it did not end by itself."""
        self._fps = fps
        self._ticker: Timer | None = None
        self._started = ready
        self._heartbeat = Heartbeat(clock())
        self._kill = KillRequest()
        self._dropped = 0
        self._switched: dict[str, float] = {}
        self._alive = -SIGN_OF_LIFE_S
        for theme in themes.THEMES:
            self.register_theme(theme)
        few_colours = self.no_color or self.console.color_system == "standard"
        self.theme = themes.ANSI if few_colours else themes.NIGHT

    def get_default_screen(self) -> Desk:
        return Desk(self._take, self.size)

    @property
    def desk(self) -> Desk:
        return cast("Desk", self.screen_stack[0])

    @property
    def keys(self) -> dict[str, list[str]]:
        """How the desk's keys are written, by the id of their action."""
        return key_names(self.desk)

    # --- frames ----------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.set_fps(self._fps)
        if self._started is not None:
            self.call_after_refresh(self._started)

    def set_fps(self, fps: float) -> None:
        """Draw `fps` frames a second from now on."""
        if self._ticker is not None:
            self._ticker.stop()
        self._ticker = self.set_interval(1 / fps, self.tick)

    def tick(self) -> None:
        """Draw the newest snapshot, unless the terminal has not taken the last frame yet."""
        if not self.is_running:
            return
        if self._terminal_is_behind():
            self._dropped += 1
            return
        frame = self._take()
        if frame.failure is not None and frame.snapshot is None:
            self.exit()
            return
        with self.batch_update():
            for screen in self.screen_stack:
                if isinstance(screen, ShowsFrame):
                    screen.show(frame)

    def _take(self) -> Frame:
        """The newest frame; every part of the console that asks for one gets this."""
        snapshot, now = self.client.latest(), self.clock()
        if snapshot is not None:
            self._kill.see(snapshot.kill, now)
        self.frame = Frame(
            snapshot=snapshot,
            now=now,
            silence=self._heartbeat.silence(snapshot, now),
            failure=self.client.failure(),
            dropped=self._dropped,
            kill_wait=self._kill.waited(now),
            kill_delay=self._kill.delay,
        )
        return self.frame

    def _terminal_is_behind(self) -> bool:
        """Do writes wait for the terminal? Read from Textual's writer thread, which is private."""
        writer = getattr(self._driver, "_writer_thread", None)
        return writer is not None and writer._queue.qsize() > PENDING_WRITES

    # --- commands to the engine ------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._show_life()
        await super().on_event(event)

    def _show_life(self) -> None:
        """Any key says that somebody is there, where the engine wants to know."""
        snapshot, now = self.frame.snapshot, self.clock()
        wanted = snapshot is not None and snapshot.dead_man is not None
        if wanted and now - self._alive >= SIGN_OF_LIFE_S:
            self._alive = now
            self.client.send(SignOfLife(author=AUTHOR))

    def send(self, command: Command, said: str) -> None:
        """Hand `command` to the engine and say so; what comes of it is in the snapshots."""
        if self.frame.failure is not None:
            self.desk.say("not sent: the engine has ended", "alarm")
            return
        if isinstance(command, TripKillSwitch):
            self._kill.press(self.clock())
        self.client.send(command)
        self.desk.say(said)
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

    def toggle(self, strategy: str, enabled: bool) -> None:
        """Switch a strategy. Only switching on in a live account asks."""
        now = self.clock()
        if now - self._switched.get(strategy, -REPEAT_AFTER) < REPEAT_AFTER:
            return
        self._switched[strategy] = now
        if enabled and self.frame.live:
            from tui.screens.safety import StrategyOnDialog

            self.push_screen(StrategyOnDialog(strategy, self.frame, self.clock, self.send))
            return
        command = ToggleStrategy(strategy=strategy, enabled=enabled, author=AUTHOR)
        self.send(command, f"{strategy} {'on' if enabled else 'off'}: sent to the engine")

    def on_strategies_switched(self, message: Strategies.Switched) -> None:
        row = message.row
        if not self._refused("toggle"):
            self.toggle(row.name, row.state in ("off", "failed"))

    def on_orders_cancel_asked(self, message: Orders.CancelAsked) -> None:
        order = message.order
        if self._refused("cancel"):
            return
        if order.is_final:
            self.desk.say(f"{order.client_order_id} is {format.words(order.state)} already", "warn")
            return
        from tui.screens.orders import CancelDialog

        self.push_screen(CancelDialog(order, self.frame, self.clock, self.send))

    def on_orders_doubt_asked(self, message: Orders.DoubtAsked) -> None:
        order = message.order
        if self._refused("doubt"):
            return
        if order.state is not OrderState.IN_DOUBT:
            self.desk.say(f"{order.client_order_id} is not in doubt", "warn")
            return
        from tui.screens.orders import DoubtDialog

        self.push_screen(DoubtDialog(order, self.frame, self.clock, self.send))

    def on_risk_change_asked(self, message: Risk.ChangeAsked) -> None:
        row = message.row
        if self._refused("limit"):
            return
        if not row.setting:
            self.desk.say(f"{format.words(row.name)} cannot be changed while it runs", "warn")
            return
        from tui.screens.limits import LimitDialog

        self.push_screen(LimitDialog(row, self.frame, self.clock, self.send))

    def on_quotes_resume_asked(self, message: Quotes.ResumeAsked) -> None:
        snapshot = self.frame.snapshot
        if self._refused("resume") or snapshot is None:
            return
        found = [row for row in snapshot.paused if row.symbol == message.symbol]
        if not found:
            self.desk.say(f"{message.symbol} is not paused", "warn")
            return
        from tui.screens.resume import ResumeDialog

        self.push_screen(ResumeDialog(found[0], self.frame, self.clock, self.send))

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

    def _refused(self, id: str) -> bool:
        """Say why the action can do nothing now, if so. What cannot be seen cannot be steered."""
        if self.desk.too_small:
            return True
        reason = commands.refusal(commands.BY_ID[id], self.frame.snapshot, self.desk.panel)
        if reason:
            self.desk.say(reason, "warn")
        return bool(reason)

    # --- screens ---------------------------------------------------------------------------------

    def action_panel(self, name: str) -> None:
        self.desk.go_to(name)

    def action_rearm(self) -> None:
        if self._refused("rearm"):
            return
        from tui.screens.safety import RearmDialog, RearmPartDialog

        snapshot = self.frame.snapshot
        killed = snapshot is not None and snapshot.kill.tripped
        dialog = RearmDialog if killed else RearmPartDialog
        self.push_screen(dialog(self.frame, self.clock, self.send))

    def action_kill_choices(self) -> None:
        if self.desk.too_small:
            return
        from tui.screens.kill import KillDialog

        self.push_screen(KillDialog(self.frame, self.clock, self.send))

    def action_breaker(self) -> None:
        if self._refused("breaker"):
            return
        from tui.screens.safety import BreakerDialog

        self.push_screen(BreakerDialog(self.frame, self.clock, self.send))

    def action_mode(self) -> None:
        if self._refused("mode"):
            return
        from tui.screens.live import ModeDialog

        self.push_screen(ModeDialog(self.frame, self.clock, self.send))

    def action_help(self) -> None:
        from tui.screens.help import HelpDialog

        self.push_screen(HelpDialog(self.desk.panel, self.keys, self.frame, self.clock, self.send))

    def action_ask_quit(self) -> None:
        if self.frame.failure is not None:
            self.exit()
            return
        from tui.screens.quit import QuitDialog

        self.push_screen(QuitDialog(self.frame, self.clock, self.send))

    def action_say_quit(self) -> None:
        self.desk.say(f"ctrl+c does not quit: {self.keys['quit'][0]} does, after asking")

    # --- the end ---------------------------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own prints a traceback with local variables, which may hold secrets; here the
        error is kept, without its frames' values, for the supervisor to log."""
        self._return_code = 1
        self.crash = self.crash or error
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def stop_reading(self) -> None:
        """End the thread that reads the keyboard; may be called from any thread. At the end of its
        input Textual's would read on for ever, and take a core."""
        exit_event = getattr(self._driver, "exit_event", None)
        if exit_event is not None:
            exit_event.set()

    def panic(self, *renderables: object) -> None:
        """The input thread failed. Textual would print the traceback."""
        self._handle_exception(OSError("the keyboard cannot be read any more"))
