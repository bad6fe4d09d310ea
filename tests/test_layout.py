"""The arrows of the layout: who may import whom, and what the core may not touch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each part may import of ours. A module belongs to the longest name here that it begins with.
ARROWS = {
    "engine": ("engine",),
    "engine.core": ("engine.core",),
    "engine.view.snapshot": ("engine.core",),
    "engine.view.questions": ("engine.core", "engine.view.snapshot"),
    "engine.brokers": ("engine.brokers", "engine.core", "engine.ops"),
    # The market data of a venue need the login of its broker.
    "engine.feeds": ("engine.feeds", "engine.brokers", "engine.core", "engine.ops"),
    "engine.data": (
        "engine.data",
        "engine.calendars",
        "engine.core",
        "engine.feeds",
        "engine.ops",
        "engine.venues",
    ),
    "engine.store": (
        "engine.store",
        "engine.core",
        "engine.ops",
        "engine.view.questions",
        "engine.view.snapshot",
    ),
    "engine.ops": ("engine.ops", "engine.core"),
    "engine.styles": ("engine.styles", "engine.core"),
    "strategies": ("strategies", "engine.core", "engine.styles"),
    "tui": (
        "tui",
        "engine.view.snapshot",
        "engine.view.questions",
        "engine.core.model",
        "engine.core.events",
        "engine.core.text",
        "engine.__version__",
        "engine.control.client",
        "engine.control.launch",
        "engine.control.protocol",
        "engine.control.standing",
        "engine.ops.errors",
        "engine.ops.files",
        "engine.ops.lock",
        "engine.ops.logging",
        "engine.ops.settings",
        "engine.ops.signals",
        "engine.ops.user",
        "engine.travel",
    ),
}
OURS = {"engine", "strategies", "tui", "tests"}

# The core does no I/O, awaits nothing, and reads neither clock nor chance.
BANNED_IN_CORE = (
    "asyncio",
    "concurrent",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "input",
    "logging",
    "multiprocessing",
    "numpy.random",
    "open",
    "os",
    "pathlib",
    "print",
    "random",
    "secrets",
    "socket",
    "sqlalchemy",
    "subprocess",
    "textual",
    "threading",
    "time",
    "uuid",
)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def imports(tree: ast.Module, module: str, is_package: bool) -> dict[str, list[str]]:
    """Full names of all that `module` imports, under the names that it is given there."""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.split(".")[0]
                found.setdefault(local, []).append(alias.name)
        elif isinstance(node, ast.ImportFrom):
            package = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, []).append(f"{source}.{alias.name}")
    return found


def uses(tree: ast.Module, imported: dict[str, list[str]]) -> Iterator[str]:
    """Full names of what the module refers to: `dt.datetime.now` where dt is datetime."""
    for node in ast.walk(tree):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            for name in imported.get(node.id, [node.id]):
                # `import a.b` gives the name a.
                root = node.id if within(name, node.id) else name
                yield ".".join([root, *reversed(names)])


def violations(root: Path) -> list[str]:
    """A line for each import or use below `root` that the layout forbids."""
    found: list[str] = []
    for file in sorted(path for part in OURS - {"tests"} for path in (root / part).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(file.read_text(), str(file))
        imported = imports(tree, module, is_package)
        targets = {name for names in imported.values() for name in names}
        allowed = ARROWS[max((part for part in ARROWS if within(module, part)), key=len)]
        found += [
            f"{module} imports {name}"
            for name in sorted(targets)
            if name.split(".")[0] in OURS and not any(within(name, prefix) for prefix in allowed)
        ]
        if within(module, "engine.core"):
            found += [
                f"{module} uses {name}"
                for name in sorted(targets.union(uses(tree, imported)))
                if any(within(name, banned) for banned in BANNED_IN_CORE)
            ]
    return found


def test_every_arrow_points_the_right_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source", "violation"),
    [
        ("tui/app.py", "import engine.host.runtime", "tui.app imports engine.host.runtime"),
        ("tui/app.py", "from engine.host import runtime", "tui.app imports engine.host.runtime"),
        (
            "tui/a/b.py",
            "from engine.core.machine import M",
            "tui.a.b imports engine.core.machine.M",
        ),
        ("tui/app.py", "from engine import core", "tui.app imports engine.core"),
        ("strategies/s.py", "import engine.store as s", "strategies.s imports engine.store"),
        ("strategies/s.py", "def f():\n import tui.app", "strategies.s imports tui.app"),
        (
            "engine/host/thread.py",
            "from tui.app import App",
            "engine.host.thread imports tui.app.App",
        ),
        ("engine/cli/main.py", "import strategies", "engine.cli.main imports strategies"),
        (
            "engine/core/m.py",
            "from engine.ops import files",
            "engine.core.m imports engine.ops.files",
        ),
        ("engine/core/m.py", "from .. import build", "engine.core.m imports engine.build"),
        ("engine/core/__init__.py", "from ..ops import x", "engine.core imports engine.ops.x"),
        ("engine/core/a/m.py", "from ... import build", "engine.core.a.m imports engine.build"),
        (
            "engine/feeds/f.py",
            "import engine.host.runtime",
            "engine.feeds.f imports engine.host.runtime",
        ),
        (
            "engine/core/m.py",
            "import engine.styles.frame",
            "engine.core.m imports engine.styles.frame",
        ),
        ("engine/ops/o.py", "import engine.store.m", "engine.ops.o imports engine.store.m"),
        ("engine/core/m.py", "import time", "engine.core.m uses time"),
        ("engine/core/m.py", "from time import monotonic", "engine.core.m uses time.monotonic"),
        ("engine/core/m.py", "import asyncio as a", "engine.core.m uses asyncio"),
        ("engine/core/m.py", "from sqlalchemy.ext import x", "engine.core.m uses sqlalchemy.ext.x"),
        ("engine/core/m.py", "from os import urandom", "engine.core.m uses os.urandom"),
        (
            "engine/core/m.py",
            "from datetime import datetime as dt\nx = dt.now(UTC)",
            "engine.core.m uses datetime.datetime.now",
        ),
        (
            "engine/core/m.py",
            "import datetime\nx = datetime.datetime.utcnow",
            "engine.core.m uses datetime.datetime.utcnow",
        ),
        (
            "engine/core/m.py",
            "import datetime as d\nx = d.date.today()",
            "engine.core.m uses datetime.date.today",
        ),
        (
            "engine/core/m.py",
            "import numpy as np\nx = np.random.default_rng()",
            "engine.core.m uses numpy.random.default_rng",
        ),
        ("engine/core/m.py", "print(1)", "engine.core.m uses print"),
    ],
)
def test_a_planted_violation_is_found(
    path: str, source: str, violation: str, tmp_path: Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert violation in violations(tmp_path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("tui/app.py", "from engine.view.snapshot import Snapshot\nfrom tui.screens import main"),
        ("tui/app.py", "import time\nfrom textual.app import App"),
        ("strategies/s.py", "from engine.core.strategy import Strategy"),
        ("strategies/s.py", "from engine.styles.frame import FrameStrategy"),
        ("engine/core/m.py", "from engine.core.model import Bar\nfrom . import bus"),
        ("engine/core/m.py", "from datetime import datetime, time\nx = self.now\nopened = ts.time"),
        ("engine/host/runtime.py", "import asyncio, time\nfrom engine.core import machine"),
    ],
)
def test_what_is_allowed_is_not_called_a_violation(path: str, source: str, tmp_path: Path) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert violations(tmp_path) == []
