"""The files around the code say what is true."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine.ops.settings import env_example

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+) \\$", LOCK, re.MULTILINE)
}


def declared(*extras: str) -> list[Requirement]:
    project = PROJECT["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    return [Requirement(line) for requirements in lists for line in requirements]


def test_every_line_of_the_lock_is_a_pin_with_hashes_or_a_comment() -> None:
    statements = re.sub(
        r"\\\n", "", re.sub(r"^( *#.*)?\n", "", LOCK, flags=re.MULTILINE)
    ).splitlines()
    assert len(statements) == len(PINNED) > 40
    for statement in statements:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+", statement)


def test_the_lock_names_no_address_and_no_machine() -> None:
    assert not re.search(r"://|@|\bwww\.|\.(org|com|io|net)\b|index|find-links|trusted", LOCK)
    assert not re.search(r"(^|[\s=])[~/]\w*/", LOCK)


def test_the_lock_holds_all_that_is_declared() -> None:
    for requirement in declared("dev", "bench"):
        pinned = PINNED[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), requirement


VENUES = ("alpaca", "ccxt", "questrade", "interactive-brokers")
"""The extras of what speaks to venues; a module of `engine/brokers` and `engine/feeds` may import
what they declare."""


def test_all_that_is_imported_is_declared() -> None:
    distributions = packages_distributions()
    always = {canonicalize_name(requirement.name) for requirement in declared()}
    venues = {canonicalize_name(requirement.name) for requirement in declared(*VENUES)}
    undeclared: set[str] = set()
    for file in (
        path for part in ("engine", "strategies", "tui") for path in (ROOT / part).rglob("*.py")
    ):
        speaks = file.relative_to(ROOT).parts[:2] in {("engine", "brokers"), ("engine", "feeds")}
        base = always | (venues if speaks else set[str]())
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                owners = {canonicalize_name(owner) for owner in distributions.get(name, [name])}
                if name not in {"engine", "strategies", "tui"} and not owners & base:
                    undeclared.add(f"{file.relative_to(ROOT)}: {name}")
    assert undeclared == set()


def test_the_example_of_the_settings_is_the_generated_one() -> None:
    assert (ROOT / ".env.example").read_text() == env_example(), (
        "run: python -m engine.ops.settings > .env.example"
    )


def test_the_wheel_has_all_data_but_what_is_licensed_for_tests_alone(tmp_path: Path) -> None:
    for part in ("engine", "strategies", "tui"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    data = [*(ROOT / "engine/samples").iterdir(), *(ROOT / "tui").rglob("*.tcss")]
    code = [
        path for part in ("engine", "strategies", "tui") for path in (ROOT / part).rglob("*.py")
    ]
    assert packed == {
        str(path.relative_to(ROOT)) for path in data + code if "BTC-PERP" not in path.name
    }


def test_the_commands_of_the_readme_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(
        re.findall(r"\bmake ([a-z]+)\b", "\n".join(code_of((ROOT / "README.md").read_text())))
    )
    assert {"run", "test"} <= told <= targets


def code_of(markdown: str) -> list[str]:
    """The fenced blocks and the code spans of a Markdown text."""
    return re.findall(r"```.*?```|`[^`\n]+`", markdown, re.DOTALL)
