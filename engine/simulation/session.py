"""One seed: run it, and say what came of it."""

import traceback
from time import perf_counter

import msgspec
from msgspec import Struct

from engine.simulation.laws import Violation
from engine.simulation.options import Net, Options, draw
from engine.simulation.world import World


class Outcome(Struct, frozen=True):
    """What a seed came to. `law` is empty where all of them held; `trail` are the last inputs,
    facts and effects before one broke. `seconds` of computing."""

    seed: int
    events: int
    digest: str
    seen: dict[str, int]
    seconds: float
    law: str = ""
    what: str = ""
    options: Options | None = None
    trail: tuple[str, ...] = ()


def play(seed: int, nets_off: tuple[Net, ...] = ()) -> Outcome:
    """Run a seed. The same seed comes to the same outcome, but for its seconds."""
    return play_options(draw(seed, nets_off))


def play_options(options: Options) -> Outcome:
    began = perf_counter()
    world = World(options)
    broken: Exception | None = None
    try:
        world.run()
    except Exception as error:
        broken = error
    seen = dict(sum((life.seen for life in world.lives), world.seen))
    outcome = Outcome(options.seed, world.events, world.digest(), seen, perf_counter() - began)
    return outcome if broken is None else _broken(outcome, world, broken)


def _broken(outcome: Outcome, world: World, error: Exception) -> Outcome:
    law = error.law if isinstance(error, Violation) else "no error of our own"
    what = str(error)
    if not isinstance(error, Violation):
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{error!r} in {where.filename}, line {where.lineno}"
    last = world.lives[-1] if world.lives else None
    trail = tuple(msgspec.json.encode(item).decode() for item in last.trail) if last else ()
    return msgspec.structs.replace(outcome, law=law, what=what, options=world.options, trail=trail)
