"""What one seed draws before it begins: venues, symbols, strategies, faults and how often.

Each seed switches about half of the faults off: a run with every fault on explores little.
"""

from enum import StrEnum
from random import Random

from msgspec import Struct

from engine.core.machine import MachineConfig
from engine.core.model import (
    NANOS,
    ORDER_TYPES,
    TIMES_IN_FORCE,
    Idempotency,
    Mode,
    OrderType,
    TimeInForce,
)
from engine.simulation.config import (
    MIDNIGHT,
    START,
    draw_closing,
    draw_config,
    draw_currencies,
    with_commissions_in_base,
)


class Fault(StrEnum):
    """What can go wrong. A chance is asked each time that the fault could happen; a *rate* is how
    often it happens in a minute."""

    REQUEST_LOST = "request lost"
    STUCK = "request stuck"
    ANSWER_LOST = "answer lost"
    THROTTLED = "429"
    SLOW = "slow answer"
    REJECTED = "rejected"
    REJECTED_LATER = "rejected after it was accepted"
    CANCELED_BY_VENUE = "canceled by the venue"
    FILLED_BEFORE_CANCEL = "filled before the cancel"
    LATE = "late report"
    REPEATED = "repeated report"
    UNHEARD = "lost report"
    SLOW_DISK = "slow disk"
    BAD_QUOTE = "bad quote"
    SPIKE = "spike"
    BAD_BAR = "bad bar"
    BUSTED = "trade bust"
    HAND_MADE = "hand-made order"  # rates from here on
    VENUE_DOWN = "venue down"
    FEED_SILENT = "feed silent"
    HALT = "halt"
    DATABASE_DOWN = "database down"
    CRASH = "crash"
    KILL = "kill"
    COMMAND = "command"
    CASH_MOVED = "cash moved"


RANGES: dict[Fault, tuple[float, float]] = {
    Fault.REQUEST_LOST: (0.02, 0.3),
    Fault.STUCK: (0.05, 0.4),
    Fault.ANSWER_LOST: (0.02, 0.4),
    Fault.THROTTLED: (0.02, 0.3),
    Fault.SLOW: (0.05, 0.5),
    Fault.REJECTED: (0.05, 0.4),
    Fault.REJECTED_LATER: (0.02, 0.3),
    Fault.CANCELED_BY_VENUE: (0.02, 0.3),
    Fault.FILLED_BEFORE_CANCEL: (0.1, 0.6),
    Fault.LATE: (0.05, 0.5),
    Fault.REPEATED: (0.05, 0.5),
    Fault.UNHEARD: (0.05, 0.5),
    Fault.SLOW_DISK: (0.02, 0.3),
    Fault.BAD_QUOTE: (0.01, 0.1),
    Fault.SPIKE: (0.005, 0.03),
    Fault.BAD_BAR: (0.05, 0.3),
    Fault.BUSTED: (0.1, 0.5),
    Fault.HAND_MADE: (0.5, 3),
    Fault.VENUE_DOWN: (0.5, 3),
    Fault.FEED_SILENT: (0.5, 2),
    Fault.HALT: (0.3, 2),
    Fault.DATABASE_DOWN: (0.5, 3),
    Fault.CRASH: (0.5, 4),
    Fault.KILL: (0.3, 1.5),
    Fault.COMMAND: (2, 20),
}
CASH_MOVED = (1, 4)
"""As in RANGES; it has a draw of its own."""


class Net(StrEnum):
    """A safety net that can be switched off, to see that the others hold."""

    QUERIES = "queries"
    STREAM = "stream"
    STATEMENTS = "statements"
    LATCH = "latch"
    DEDUPE = "dedupe"


HEALING = frozenset({Net.QUERIES, Net.STATEMENTS})
"""Without these nothing is promised of where a session ends, only that it is safe on the way."""


class VenueOptions(Struct, frozen=True):
    """`idempotency` is for how long the venue refuses a client order id that it had, `lag` how long
    at most an order that it accepted is missing in its answers (ns). With `repeats` it says again
    what nobody heard while the line was down; with `oco` it links orders; with `tells_power` it
    says what may be bought; `live` is a real account.
    """

    name: str
    idempotency: Idempotency
    order_types: tuple[OrderType, ...]
    times_in_force: tuple[TimeInForce, ...]
    can_replace: bool
    oco: bool
    live: bool
    repeats: bool
    tells_power: bool
    lag: int
    size: float


class Options(Struct, frozen=True):
    """All that a seed draws; `history` bars are known at the start; with `fiddles` the operator
    changes orders whenever one rests; `nets_off` are the safety nets that are switched off on
    purpose. Without DEDUPE the venue tells everything more than once."""

    seed: int
    start: int
    length: int
    tick: int
    history: int
    fiddles: bool
    venues: tuple[VenueOptions, ...]
    config: MachineConfig
    faults: dict[Fault, float]
    nets_off: tuple[Net, ...] = ()


NO_TRAIL = tuple(kind for kind in ORDER_TYPES if kind is not OrderType.TRAILING_STOP)
NO_STOPS = (OrderType.MARKET, OrderType.LIMIT)


def draw(seed: int, nets_off: tuple[Net, ...] = ()) -> Options:
    """The options of `seed`: the same ones, always."""
    random = Random(f"options {seed}")
    start = random.choice((START, START, START, MIDNIGHT))
    closes = start == START and random.random() < 0.4
    calendars = draw_closing(random) if closes else ()
    mode = Mode.LIVE if random.random() < 0.15 else Mode.PAPER
    venues = tuple(
        VenueOptions(
            name,
            random.choice(list(Idempotency)),
            random.choice((ORDER_TYPES,) * 6 + (NO_TRAIL,) * 3 + (NO_STOPS,)),
            random.choice((TIMES_IN_FORCE,) * 3 + ((TimeInForce.GTC,),)),
            random.random() < 0.7,
            random.random() < 0.7,
            (random.random() < 0.95) == (mode is Mode.LIVE),
            random.random() < 0.5,
            random.random() < 0.3,
            random.choice((0, 0, 1, 5, 30)) * NANOS,
            random.choice((7.5, 40.0, 1e6)),
        )
        for name in ("paper", "beta", "gamma")[: random.choice((1, 1, 2, 3))]
    )
    faults = {
        fault: random.uniform(*between) if random.random() < 0.5 else 0.0
        for fault, between in RANGES.items()
    }
    of_cash = Random(f"cash {seed}")
    faults[Fault.CASH_MOVED] = of_cash.uniform(*CASH_MOVED) if of_cash.random() < 0.3 else 0.0
    names = [venue.name for venue in venues]
    if Net.DEDUPE in nets_off:
        faults[Fault.REPEATED] = 1.0
    return Options(
        seed,
        start=start,
        length=random.randint(40, 120) * NANOS,
        tick=random.choice((NANOS // 2, NANOS)),
        history=random.choice((0, 0, 45)),
        fiddles=random.random() < 0.3,
        venues=venues,
        config=with_commissions_in_base(
            Random(f"commissions {seed}"),
            draw_config(
                random,
                names,
                draw_currencies(Random(f"currencies {seed}"), names),
                mode,
                calendars,
                Net.STATEMENTS not in nets_off,
            ),
        ),
        faults=faults,
        nets_off=nets_off,
    )
