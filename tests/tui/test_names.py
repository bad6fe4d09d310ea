"""What no module of the console does: take a private name of Textual's own, which would break what
it means there, or read the computer's clock."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest
from textual.message_pump import MessagePump

import tui

MEANT = {"_exception", "_handle_exception", "_return_code", "_on_key", "_on_paste"}
"""What the console replaces on purpose."""

CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time_ns")

SET = re.compile(r"\bself\.(_[a-z]\w*)(?:: [^=\n]+)? = ")


def _ours() -> list[type[MessagePump]]:
    found: dict[str, type[MessagePump]] = {}
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if not module.name.endswith("__main__"):
            for each in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(each) and issubclass(each, MessagePump):
                    found[f"{each.__module__}.{each.__qualname__}"] = each
    return [each for name, each in sorted(found.items()) if name.startswith("tui.")]


@cache
def _names(kind: type) -> set[str]:
    """The private names that the class itself sets and has."""
    had = {name for name, value in vars(kind).items() if inspect.isroutine(value)}
    private = {name for name in had if name.startswith("_") and not name.startswith("__")}
    return private | set(SET.findall(inspect.getsource(kind)))


@pytest.mark.parametrize("kind", _ours(), ids=lambda kind: kind.__name__)
def test_no_private_name_of_textual_is_taken(kind: type[MessagePump]) -> None:
    theirs = [each for each in kind.__mro__ if each.__module__.startswith("textual.")]
    assert _names(kind) & set().union(*map(_names, theirs)) - MEANT == set()


def _read_clocks(source: str) -> list[str]:
    nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute | ast.Name))
    return [name for name in map(ast.unparse, nodes) if name.endswith(CLOCKS)]


def test_no_module_reads_the_computers_clock() -> None:
    """The console shows the times that the engine tells, and measures by a clock it is given."""
    paths = sorted(Path(tui.__path__[0]).rglob("*.py"))
    assert paths
    assert {path.name: found for path in paths if (found := _read_clocks(path.read_text()))} == {}


@pytest.mark.parametrize("source", ["datetime.now(UTC)", "time.time()", "t = time_ns()"])
def test_a_read_of_the_clock_is_found(source: str) -> None:
    assert _read_clocks(source)
