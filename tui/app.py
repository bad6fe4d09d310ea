"""The console: draws the newest snapshot a few times a second and turns keys into commands."""

import os
import signal
from asyncio import to_thread
from collections.abc import Callable, Sequence
from datetime import tzinfo
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from textual.binding import Binding
from textual.command import Provider
from textual.filter import LineFilter
from textual.geometry import Size
from textual.timer import Timer

from engine.core.text import clean
from engine.view.snapshot import LogLine
from tui import commands, format, signs, themes
from tui.client import Client
from tui.driver import ConsoleDriver
from tui.frame import Frame, Heartbeat, ShowsFrame
from tui.journey import RecordedJournals
from tui.keys import OWN, keymap, named
from tui.losses import Losses
from tui.notices import Notice, Notices, desktop_sequence, through_tmux
from tui.preferences import Arrangement
from tui.screens.panels import PanelScreen
from tui.still import Still
from tui.travelling import Travelling
from tui.widgets.footer import key_names
from tui.widgets.line_table import LineTable
from tui.widgets.log import LEVELS
from tui.widgets.table_keys import TableKeys

if TYPE_CHECKING:
    from engine.ops.settings import Settings
    from tui.preferences import Choices, Preferences
    from tui.research import Run

FPS = 4.0
SLOW_FPS = 2.0
"""The most frames a second over a slow link."""

Ending = Literal["", "detach", "stop"]
"""What the operator said that becomes of the engine; without a word it stops if it is owned."""

TOAST_S = 6.0
"""Seconds that a toast is on the screen."""

SETTLED_S = 0.1
"""Seconds after the last report of the terminal's size at which that is taken to stay."""

_ASCII_LINES = signs.AsciiLines()


def _palette() -> type[Provider]:
    from tui.palette import Commands

    return Commands


class Console(Travelling, inherit_bindings=False):
    """`client` is the engine and `clock` gives monotonic seconds; `ready` is called after the first
    frame is on the screen: what is slow to start waits for it."""

    TITLE = "tradebot"
    CSS_PATH: ClassVar = ["console.tcss", "screens/desk.tcss"]
    DEFAULT_MODE = commands.FIRST_SCREEN
    BINDINGS: ClassVar = commands.bindings("app", "past", "always")
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
        ansi_color = True if "NO_COLOR" in os.environ else None
        super().__init__(client, clock, driver_class=ConsoleDriver, ansi_color=ansi_color)
        self.crash: Exception | None = None
        """What ended the console, if it did not end by itself."""
        self.ending: Ending = ""
        self.fps = fps
        self._ticker: Timer | None = None
        self._started = ready
        self._operator_zone: tzinfo | None = None
        self.exports: Path | None = None
        """The folder for tables that are saved, once it is known."""
        self.reports: Path | None = None
        """The folder in which reports of research are kept, once it is known."""
        self.research: Run | None = None
        """The backtest, search or walk-forward that was started last. It ends with the console."""
        self.log_file: Path | None = None
        """The log file of the engine, once it is known."""
        self._heartbeat = Heartbeat(clock())
        self._dropped = 0
        self.on_terminal_lost = "detach"
        """What becomes of the engine then; its setting once it is known."""
        self._key_names = OWN
        self.losses = Losses()
        self._still = Still()
        self._holds_back, self._missed = False, False
        self._settling: Timer | None = None
        self._settled_size: Size | None = None
        self._notices = Notices()
        self._notify_bell, self._notify_desktop = False, "off"
        self.preferences: Preferences | None = None
        """What is remembered; None before the settings say where."""
        self.ascii = signs.is_ascii_only(os.environ)
        """Whether all is drawn in ASCII."""
        self._last_line: LogLine | None = None
        for theme in themes.THEMES:
            self.register_theme(theme)
        few_colours = self.no_color or self.console.color_system == "standard"
        self.theme = themes.TERMINAL if few_colours else themes.DARK

    @property
    def base(self) -> PanelScreen:
        return cast("PanelScreen", self.screen_stack[0])

    @property
    def keys(self) -> dict[str, list[str]]:
        """How the screen's keys are written, by the id of their action."""
        return key_names(self.base)

    # --- how it looks ----------------------------------------------------------------------------

    def configure(self, settings: "Settings", preferences: "Preferences") -> None:
        """Be as the settings say, and else as it was left: both are known after the first frame."""
        self.exports = settings.data_dir / "exports"
        self.reports = settings.research_dir
        self.log_file = settings.log_path
        self.journals = RecordedJournals(settings)
        self._operator_zone = settings.time_zone
        self.set_fps(min(float(settings.fps), SLOW_FPS if settings.slow_link else inf))
        self.on_terminal_lost = settings.on_terminal_lost
        self._notify_bell = settings.notify_bell
        self._notify_desktop = settings.notify_desktop
        self.preferences = preferences
        chosen, problems = keymap(settings.keys)
        self.set_keymap(chosen)
        self._key_names = named(chosen)
        if told := "; ".join(filter(None, (*problems, preferences.problem))):
            self.base.say(clean(told), "warn")
        few_colours = self.theme == themes.TERMINAL
        remembered = "" if few_colours else preferences.chosen.theme
        self.theme = settings.theme or (remembered if remembered in themes.NAMES else self.theme)
        if settings.slow_link:
            self.theme = themes.TERMINAL
        if settings.signs != "auto":
            self.ascii = settings.signs == "ascii"
            self.refresh_css(animate=False)
        self._put_back(preferences.chosen)
        if not settings.model_fields_set and not preferences.chosen.guided:
            self._guide()

    def _put_back(self, left: "Choices") -> None:
        """Be on the screen on which it was left, and that one as it was."""
        if len(self.screen_stack) > 1 or self.base.too_small:
            return
        self.base.put_back(left)
        if left.screen in commands.SCREENS and left.screen != self.base.name:
            self.action_screen(left.screen)

    def on_panel_arranged(self) -> None:
        """Filters, sorts, columns, zooms and the panel in focus are there at the next start too."""
        if self.preferences is None:
            return
        chosen, base = self.preferences.chosen, self.base
        panels = {**chosen.panels, base.name or "": base.panel}
        zoomed = {**chosen.zoomed, base.name or "": base.zoomed}
        tables = {**chosen.tables, **base.arrangements}
        self.remember(
            panels={name: panel for name, panel in panels.items() if panel},
            zoomed={name: panel for name, panel in zoomed.items() if panel},
            tables={name: left for name, left in tables.items() if left != Arrangement()},
        )

    def remember(self, **choices: object) -> None:
        """Have `choices`, by the names of `tui.preferences.Choices`, at the next start too."""
        if self.preferences is not None:
            self.preferences.choose(self._forgets, **choices)

    def _forgets(self, problem: str) -> None:
        self.call_later(self.base.say, problem, "warn")

    def _guide(self) -> None:
        """The first steps, where nothing else is open; once."""
        if len(self.screen_stack) > 1 or self.base.too_small:
            return
        from tui.dialogs.guide import GuideDialog

        self.push_screen(GuideDialog(self.frame, self.clock, self.send))
        self.remember(guided=True)

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return [*filters, _ASCII_LINES] if self.ascii else filters

    def get_key_display(self, binding: Binding) -> str:
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.ascii else binding.key

    def action_theme(self) -> None:
        """Take the next colours."""
        following = (themes.NAMES.index(self.theme) + 1) % len(themes.NAMES)
        self.use_theme(themes.NAMES[following])

    def use_theme(self, name: str) -> None:
        self.theme = name
        self.remember(theme=name)
        unseen = ", not seen: NO_COLOR is set" if self.no_color else ""
        self.base.say(f"colours: {format.words(name)}{unseen}")

    # --- frames ----------------------------------------------------------------------------------

    def on_mount(self) -> None:
        for name in commands.SCREENS:
            self.add_mode(name, partial(self._make, name))
        self._say_new_trouble(self._take())
        self.set_fps(self.fps)
        if self._started is not None:
            self.call_after_refresh(self._started)

    def set_fps(self, fps: float) -> None:
        """Draw `fps` frames a second from now on."""
        if self._ticker is not None:
            self._ticker.stop()
        self.fps = fps
        self._ticker = self.set_interval(1 / fps, self.tick)

    def tick(self) -> None:
        """Draw the newest snapshot, unless the terminal has not taken the last frame yet."""
        if not self.is_running:
            return
        if getattr(self._driver, "is_behind", False):
            self._dropped += 1
            return
        self.catch_up()
        frame = self._take()
        if frame.engine.failure is not None and frame.engine.snapshot is None:
            self.exit()
            return
        for note in self.client.notes():
            self.base.say(note, "warn")
        with self.batch_update():
            self._say_new_trouble(frame.engine)
            for screen in self.screen_stack:
                if isinstance(screen, ShowsFrame) and screen.is_mounted:
                    screen.show(frame)
        if (notice := self._notices.see(frame.engine)) is not None:
            self._tell(notice)

    def _of_now(self, text: str) -> str:
        """What the engine that runs tells, marked where the past is shown."""
        return text if self.frame.past is None else f"live engine: {text}"

    def _tell(self, notice: Notice) -> None:
        """On the screen, and by the terminal's own means where that is wanted."""
        if notice.told and self.base.is_roomy:
            severity = "error" if notice.is_bad else "information"
            text = self._of_now("\n".join(notice.told))
            self.notify(text, severity=severity, timeout=TOAST_S, markup=False)
        elif notice.told and (notice.is_bad or not self.base.footer.warns):
            text = self._of_now("; ".join(notice.told))
            self.base.say(text, "warn" if notice.is_bad else "info")
        sequence = "\a" if self._notify_bell else ""
        if self._notify_desktop != "off":
            text = signs.to_ascii(notice.text) if self.ascii else notice.text
            shown = desktop_sequence(self._notify_desktop, text)
            sequence += through_tmux(shown) if "TMUX" in os.environ else shown
        if sequence and self._driver is not None:
            self._driver.write(sequence)

    def _take(self) -> Frame:
        """The newest frame; every part of the console that asks for one gets this."""
        snapshot, now = self.client.latest(), self.clock()
        if snapshot is not None:
            waited = self._kill.waited(now)
            self._kill.see(snapshot.kill, now)
            self._killing.see(snapshot, waited or 0.0, now)
        engine = Frame(
            snapshot=snapshot,
            now=now,
            silence=self._heartbeat.silence(snapshot, now),
            failure=self.client.failure(),
            dropped=self._dropped,
            kill_wait=self._kill.waited(now),
            kill_delay=self._kill.delay,
            kill_took=self._killing.took,
            kill_cancelled=self._killing.cancelled,
            kill_stuck=self._killing.stuck(now),
            owned=self.client.owned(),
            standing=self.client.standing(),
            keys=self._key_names,
            operator_zone=self._operator_zone,
        )
        self.frame = self.look(self._still.see(self.losses.see(engine)))
        return self.frame

    def _say_new_trouble(self, frame: Frame) -> None:
        """A new warning or error of the log is shown at the bottom, wherever the log panel is."""
        log = frame.snapshot.log if frame.snapshot else ()
        known, self._last_line = self._last_line, log[-1] if log else None
        if known is None:
            return
        for line in reversed(log):
            if line is known:
                return
            if line.level != "info":
                _, _, style = LEVELS.get(line.level, ("", "", "warn"))
                self.base.say(self._of_now(line.text), style)
                return

    def post_display_hook(self) -> None:
        """Something was sent to the terminal. What comes before it has drawn that is sent too, for
        the sake of keys; then all waits, or a key that is held would fill a slow line."""
        if not isinstance(self._driver, ConsoleDriver):
            return
        if self._holds_back:
            self._missed = True
        elif self._driver.is_drawing:
            self._holds_back = True
            self._begin_batch()
        else:
            self._driver.ask()

    def catch_up(self) -> None:
        """The terminal has drawn what it got: send what was held back."""
        if not self._holds_back:
            return
        missed, self._missed, self._holds_back = self._missed, False, False
        self._end_batch()
        if missed:
            self.screen.refresh()
        self.screen.check_idle()

    def on_resize(self) -> None:
        """The terminal told its size, be it the one that it had."""
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLED_S, self._settle)

    def _settle(self) -> None:
        """A terminal that was smaller for a while has cut its picture: what it shows again is not
        what was drawn. Of another size all is drawn already."""
        before, self._settled_size = self._settled_size, self.size
        if before == self.size:
            self.screen.refresh()

    # --- screens ---------------------------------------------------------------------------------

    def get_default_screen(self) -> PanelScreen:
        """The first screen. Textual takes it where the first mode is not there yet; as a mode it
        would have all styles parsed once more before the first frame."""
        return self._make(self.DEFAULT_MODE)

    def refresh_css(self, animate: bool = True) -> None:
        """Before there is a screen nothing has been styled: the theme is known, and no more.
        Textual would parse all styles, throw them away, and parse them for the first screen."""
        if self.screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())

    def _make(self, name: str) -> PanelScreen:
        """The screen `name`; its module is imported now."""
        module, _, kind = commands.SCREENS[name].kind.rpartition(".")
        screen: PanelScreen = getattr(import_module(module), kind)(name, self._take, self.size)
        if self.preferences is not None:
            screen.put_back(self.preferences.chosen)
        return screen

    def action_screen(self, name: str) -> None:
        """Go to the screen `name`."""
        if not self.base.too_small:
            self._still.end()
            symbol = self.base.about()
            self.switch_mode(name)
            self.base.look_at(symbol)
            self.remember(screen=name)

    def action_panel(self, name: str) -> None:
        """Go to the panel `name`: of this screen, else of the first that has it."""
        if not self.base.has_panel(name):
            self.action_screen(commands.ON_SCREEN.get(name, commands.FIRST_SCREEN))
        self.base.go_to(name)

    async def perform(self, action: commands.Action) -> None:
        """Do what the key of `action` would do where one is, or say why not."""
        if reason := self._refusal(action):
            self.base.say(reason, "warn")
            return
        places = {"app": self, "always": self, "screen": self.base, "research": self.base}
        await self.run_action(
            action.call or action.id, places.get(action.scope, self.base.focused or self)
        )

    def on_table_keys_detail_asked(self, message: TableKeys.DetailAsked) -> None:
        from tui.dialogs.detail import DetailDialog

        self.push_screen(
            DetailDialog(
                message.title, message.row, message.find, self.frame, self.clock, self.send
            )
        )

    def on_table_keys_columns_asked(self, message: TableKeys.ColumnsAsked) -> None:
        from tui.dialogs.columns import ColumnsDialog

        if self.screen is self.base and isinstance(message.table, LineTable):
            table = cast("LineTable[Any]", message.table)
            self.push_screen(ColumnsDialog(table, self.frame, self.clock, self.send))

    def on_table_keys_export_asked(self, asked: TableKeys.ExportAsked) -> None:
        from tui.export import write_csv

        folder, snapshot = self.exports, self.frame.engine.snapshot
        if folder is None or snapshot is None:
            self.base.say("not exported: the engine is still starting", "warn")
            return
        name, instruments = self._named(asked.name), self.frame.instruments
        write = partial(write_csv, folder, name, snapshot.wall_ts, asked.rows, instruments)
        count = format.plural(len(asked.rows), "row")
        said = f"{count}, hidden columns too, written to" if asked.hidden else f"{count} written to"
        self.run_worker(self._save(write, said, "not exported"))

    def _named(self, name: str) -> str:
        """What a file of what is shown is called: of the past it says of when that is."""
        from tui.export import stamp

        past, snapshot = self.frame.past, self.frame.snapshot
        if past is None or snapshot is None:
            return name
        return f"{name}-as-of-{stamp(snapshot.ts)}-event-{past.number}"

    async def _save(self, write: Callable[[], Path], said: str, refused: str) -> None:
        """Have `write` make a file in a thread, and say where it is, or why there is none."""
        try:
            path = await to_thread(write)
        except OSError as error:
            self.base.say(f"{refused}: {error.strerror}: {clean(str(error.filename))}", "alarm")
        else:
            self.base.say(f"{said} {clean(str(path))}")

    def action_help(self) -> None:
        from tui.dialogs.help import HelpDialog

        self.push_screen(HelpDialog(self.base.panel, self.keys, self.frame, self.clock, self.send))

    def action_ask_quit(self) -> None:
        if self.frame.engine.failure is not None:
            self.exit()
            return
        if self._refused("quit", stops=True):
            return
        from tui.dialogs.quit import QuitDialog, is_at_stake

        snapshot = self.frame.snapshot
        nothing_open = snapshot is not None and not is_at_stake(snapshot)
        if nothing_open and self.frame.owned and not self.under_way:
            self.exit()
            return
        self.push_screen(QuitDialog(self.frame, self.clock, self.send))

    @property
    def under_way(self) -> str:
        """What kind of run would end without a report now; empty where none is going."""
        return "" if self.research is None or self.research.is_over else self.research.request.kind

    def action_freeze(self) -> None:
        """Let the panels stand still, or go on."""
        if self._refused("freeze", stops=True):
            return
        if self._still.toggle(self.frame):
            self.base.say("the panels stand still; the engine, the top and the keys do not")
        elif self.frame.frozen is None:
            self.base.say("not frozen: the engine is killed or lost, which is to be seen", "warn")
        else:
            self.base.say("the panels go on")
        self.tick()

    def action_picture(self) -> None:
        """Save what is on the screen."""
        if self.exports is None:
            self.base.say("not saved: the engine is still starting", "warn")
            return
        from tui.export import write_picture

        snapshot, drawn = self.frame.engine.snapshot, self.export_screenshot()
        wall_ts = snapshot.wall_ts if snapshot else 0
        name = self._named(self.base.name or "")
        write = partial(write_picture, self.exports, name, wall_ts, drawn)
        self.run_worker(self._save(write, "the screen is saved as", "not saved"))

    def action_say_quit(self) -> None:
        keys = self.frame.keys
        self.base.say(f"{keys['no-quit']} does not quit: {keys['quit']} does, after asking")

    def action_suspend(self) -> None:
        """Stop, with whoever started it, until `fg`; the engine goes on. What a terminal runs
        first has no shell that could say so, and without a terminal the group is another's."""
        if self.is_headless or os.getpgrp() == os.getsid(0):
            does = f"{self.frame.keys['detach']} detaches, and the engine goes on"
            self.base.say(f"no shell could bring the console back: {does}")
        else:
            os.killpg(0, signal.SIGTSTP)

    # --- the end ---------------------------------------------------------------------------------

    def action_detach(self) -> None:
        """End the console alone."""
        if self.frame.snapshot is None:
            self.base.say("the engine is still starting", "warn")
        elif self.under_way:
            from tui.dialogs.quit import DetachDialog

            self.push_screen(DetachDialog(self.frame, self.clock, self.send))
        else:
            self.end("detach")

    def end(self, ending: Ending) -> None:
        self.ending = ending
        self.exit()

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own prints a traceback with local variables, which may hold secrets; here the
        error is kept, without its frames' values, for the supervisor to log."""
        self._return_code = 1
        self.crash = self.crash or error
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:
        """The input thread failed. Textual would print the traceback."""
        self._handle_exception(OSError("the keyboard cannot be read any more"))
