"""Finds the strategies: files with `STRATEGY_NAME` and `STRATEGY_CLASS`.

Such a file runs inside the engine: it is trusted code. What is refused here is what somebody else
may have put there.
"""

import stat
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from msgspec import Struct

from engine.core.strategy import Strategy, make_parameters
from engine.core.text import clean

SHIPPED = Path(__file__).parent.parent / "strategies"

_modules: dict[Path, tuple[str, ModuleType]] = {}
"""What was loaded last from each file, with the SHA-256 of its bytes."""
_fingerprints: WeakKeyDictionary[type[Strategy], str] = WeakKeyDictionary()


class Plugins(Struct, frozen=True):
    """What was found: strategy classes by name, and for each broken file what is wrong with it."""

    kinds: dict[str, type[Strategy]]
    broken: dict[str, str]


def find_strategies(*folders: Path) -> Plugins:
    """Import every strategy file of the shipped `strategies` and of `folders`; one that is as it
    was when it was last imported is not imported again, and gives the same class.

    A file that does not import, exports something else, or that others could have written, is named
    in `broken` and stops nothing. Files that start with an underscore, and those without the two
    exports, are no strategies.
    """
    kinds: dict[str, type[Strategy]] = {}
    broken: dict[str, str] = {}
    for path in strategy_files(*folders):
        try:
            check_trust(path)
            fingerprint, module = _load(path)
            kind = _strategy_of(module, kinds)
        except (Exception, SystemExit) as error:
            broken[clean(path.name)] = clean(f"{type(error).__name__}: {error}")
            continue
        if kind is not None:
            kinds[module.STRATEGY_NAME] = kind
            _fingerprints[kind] = fingerprint
    return Plugins(kinds, broken)


def strategy_files(*folders: Path) -> list[Path]:
    """The files that may hold strategies, the shipped ones first."""
    return [path for folder in (SHIPPED, *folders) for path in sorted(folder.glob("[!_]*.py"))]


def fingerprint(kind: type[Strategy]) -> str:
    """SHA-256 of the file that a strategy class was found in, as it was then; empty where it was
    found in none."""
    return _fingerprints.get(kind, "")


def check_trust(path: Path) -> None:
    """Raises PermissionError, with the remedy, for a file that somebody else can change: one that
    every user may write to, or in such a folder, or a link to outside its folder."""
    folder = path.parent.resolve()
    if path.resolve().parent != folder:
        raise PermissionError("a link to outside the folder: copy the file into it")
    for place in (folder, path):
        if place.exists() and place.stat().st_mode & stat.S_IWOTH:
            what = "its folder" if place is folder else "the file"
            raise PermissionError(
                f"every user may write to {what}: look at what it does, then run chmod o-w {place}"
            )


def _load(path: Path) -> tuple[str, ModuleType]:
    """The module of a file, and the SHA-256 of what it was made from. Python's cache of bytecode is
    passed by: it takes an edit within the same second for none."""
    source = path.read_bytes()
    fingerprint = sha256(source).hexdigest()
    known = _modules.get(path)
    if known is not None and known[0] == fingerprint:
        return known
    shipped = path.parent == SHIPPED
    name = f"strategies.{path.stem}" if shipped else f"plugin_{path.stem}"
    if known is None and shipped and name in sys.modules:
        module = sys.modules[name]
    else:
        module = ModuleType(name)
        module.__file__ = str(path)
        before = sys.modules.get(name)
        sys.modules[name] = module  # a class looks its module up while it is made
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 what a plug-in is
        except BaseException:
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before
            raise
    _modules[path] = fingerprint, module
    return fingerprint, module


def _strategy_of(module: ModuleType, known: dict[str, type[Strategy]]) -> type[Strategy] | None:
    """The module's strategy class, None where it exports none.

    Raises ValueError where the exports are not what they should be.
    """
    name = getattr(module, "STRATEGY_NAME", None)
    kind = getattr(module, "STRATEGY_CLASS", None)
    if name is None and kind is None:
        return None
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError("STRATEGY_NAME must be a name of letters, digits and underscores")
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise ValueError("STRATEGY_CLASS must be a subclass of engine.core.strategy.Strategy")
    if name in known:
        raise ValueError(f"STRATEGY_NAME {name} is taken by another file")
    make_parameters(kind, {})  # every parameter has a default
    return kind
