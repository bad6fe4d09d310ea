"""Finds the strategies: files with `STRATEGY_NAME` and `STRATEGY_CLASS`."""

import sys
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from engine.core.strategy import Strategy
from engine.core.text import clean

SHIPPED = Path(__file__).parent.parent / "strategies"


class Plugins(Struct, frozen=True):
    """What was found: strategy classes by name, and for each broken file what is wrong with it."""

    kinds: dict[str, type[Strategy]]
    broken: dict[str, str]


def find_strategies(*folders: Path) -> Plugins:
    """Import every strategy file of the shipped `strategies` and of `folders`.

    A file that does not import, or exports something else, is named in `broken` and stops nothing.
    Files that start with an underscore, and those without the two exports, are no strategies.
    """
    kinds: dict[str, type[Strategy]] = {}
    broken: dict[str, str] = {}
    for folder in (SHIPPED, *folders):
        for path in sorted(folder.glob("[!_]*.py")):
            try:
                module = _load(path)
                kind = _strategy_of(module, kinds)
            except (Exception, SystemExit) as error:
                broken[clean(path.name)] = clean(f"{type(error).__name__}: {error}")
                continue
            if kind is not None:
                kinds[module.STRATEGY_NAME] = kind
    return Plugins(kinds, broken)


def fingerprint(kind: type[Strategy]) -> str:
    """SHA-256 of the file that a strategy class comes from; empty where it comes from none."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _load(path: Path) -> ModuleType:
    name = f"strategies.{path.stem}"
    if path.parent == SHIPPED and name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name if path.parent == SHIPPED else f"plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
    return kind
