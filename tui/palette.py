"""The command palette: every action and every strategy, by name."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.types import IgnoreReturnCallbackType

from engine.core.text import clean
from tui import commands, format, themes

if TYPE_CHECKING:
    from tui.app import Console

_LEFT_OUT = {"palette", "no-quit", "next-panel", "previous-panel", "back", "clear"}
"""Actions that mean something only where their key is pressed."""


class _Entry(NamedTuple):
    title: str
    help: str
    run: IgnoreReturnCallbackType


class Commands(Provider):
    async def discover(self) -> Hits:
        for title, help, run in self._entries():
            yield DiscoveryHit(Content(title), run, help=help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, help, run in self._entries():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=help)

    def _entries(self) -> Iterator[_Entry]:
        console = cast("Console", self.app)
        snapshot, keys = console.frame.snapshot, console.keys
        for action in commands.ACTIONS:
            if action.id in _LEFT_OUT:
                continue
            reason = commands.refusal(action, snapshot, console.base.panel, console.frame.keys)
            help = f"not now: {reason}" if reason else f"key {' '.join(keys.get(action.id, ()))}"
            run = partial(console.perform, action)
            yield _Entry(action.title, help, run)
        for name in themes.NAMES:
            help = "in use" if name == console.theme else f"key {' '.join(keys['theme'])} goes on"
            yield _Entry(f"Colours: {format.words(name)}", help, partial(console.use_theme, name))
        for row in snapshot.strategies if snapshot else ():
            on = row.state == "on"
            title = f"Switch {clean(row.name)} {'off' if on else 'on'}"
            yield _Entry(title, f"it is {row.state}", partial(console.toggle, row.name, not on))
