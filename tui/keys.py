"""Keys of the operator's own choice: the setting KEYS against the table of actions. Pure."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from textual.keys import (
    Keys,
    _character_to_key,  # pyright: ignore[reportPrivateUsage]
    format_key,
)

from tui.commands import ACTIONS, BY_ID

_KNOWN = {key.value for key in Keys}
_NAMED = re.compile(r"f([1-9]|1\d|2[0-4])|ctrl\+[a-z]")


def named(chosen: Mapping[str, str]) -> dict[str, str]:
    """How a text names the first key of each action, by the action's id, where those of `chosen`
    are other keys than their own."""
    keys = {action.id: chosen.get(action.id, action.keys) for action in ACTIONS}
    return {id: _name(each.partition(",")[0]) for id, each in keys.items()}


def _name(key: str) -> str:
    *modifiers, last = key.split("+")
    return "+".join([*modifiers, last if last == "enter" else format_key(last)])


OWN = named({})
"""The names where none is chosen."""


def keymap(texts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """From `ACTION=KEY` each: the keys by the ids of their actions, and what is wrong with those
    that are left out."""
    chosen: dict[str, str] = {}
    problems: list[str] = []
    for text in texts:
        name, _, key = (part.strip() for part in text.partition("="))
        is_key = len(key) == 1 or key.lower() in _KNOWN or bool(_NAMED.fullmatch(key.lower()))
        key = _character_to_key(key) if len(key) == 1 else key.lower()
        if problem := _problem(name, key, chosen, is_key=is_key):
            problems.append(f"KEYS: {text}: {problem}")
        else:
            chosen[name] = key
    return chosen, problems


def _problem(name: str, key: str, chosen: dict[str, str], *, is_key: bool) -> str:
    if name not in BY_ID:
        near = get_close_matches(name, BY_ID, 3, 0.3) or ["help"]
        return f"there is no such action; near it are {', '.join(near)}"
    if BY_ID[name].scope == "always":
        return "the kill switch keeps its keys, ctrl+k and f12"
    if not key:
        return "write ACTION=KEY, such as detach=D"
    if not is_key:
        return f"{key} is no key; write a character, or a name such as f3 or ctrl+e"
    for action in ACTIONS:
        if action.id != name and key in chosen.get(action.id, action.keys).split(","):
            return f"{key} is the key of {action.id}"
    return ""
