"""No private name of Textual's own is taken: to set it would break what it means there."""

import importlib
import inspect
import pkgutil
import re

import pytest
from textual.message_pump import MessagePump

import tui

MEANT = {"_exception", "_handle_exception", "_return_code", "_on_key", "_on_paste"}
"""What the console replaces on purpose."""

SET = re.compile(r"\bself\.(_[a-z]\w*)(?:: [^=\n]+)? = ")


def _ours() -> list[type[MessagePump]]:
    found: dict[str, type[MessagePump]] = {}
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if not module.name.endswith("__main__"):
            for each in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(each) and issubclass(each, MessagePump):
                    found[f"{each.__module__}.{each.__qualname__}"] = each
    return [each for name, each in sorted(found.items()) if name.startswith("tui.")]


def _names(kind: type) -> set[str]:
    """The private names that the class itself sets and has."""
    had = {name for name, value in vars(kind).items() if inspect.isroutine(value)}
    private = {name for name in had if name.startswith("_") and not name.startswith("__")}
    return private | set(SET.findall(inspect.getsource(kind)))


@pytest.mark.parametrize("kind", _ours(), ids=lambda kind: kind.__name__)
def test_no_private_name_of_textual_is_taken(kind: type[MessagePump]) -> None:
    theirs = [each for each in kind.__mro__ if each.__module__.startswith("textual.")]
    assert _names(kind) & set().union(*map(_names, theirs)) - MEANT == set()
