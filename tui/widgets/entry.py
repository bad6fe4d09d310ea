"""A line of text that is typed."""

from textual import events
from textual.widgets import Input


class Entry(Input):
    """Takes keys in the order in which they were pressed. Textual's takes letters at once, but what
    is bound, such as backspace, enter and tab, when the key has bubbled up: letters that came in
    one piece with it, as over a slow line, would be past by then, or in another field."""

    async def _on_key(self, event: events.Key) -> None:
        if await self._take(event):
            event.stop()
        event.prevent_default()

    async def _take(self, event: events.Key) -> bool:
        focused = self.screen.focused
        if focused is not None and focused is not self:
            focused._forward_event(events.Key(event.key, event.character))
        elif event.key == "tab":
            self.screen.focus_next()
        elif event.key == "shift+tab":
            self.screen.focus_previous()
        elif event.is_printable:
            await super()._on_key(event)
        else:
            bound = self._bindings.key_to_bindings.get(event.key, ())
            return any([await self.app.run_action(each.action, self) for each in bound])
        return True
