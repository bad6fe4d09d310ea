"""What one seed draws before it begins: venues, symbols, strategies, faults and how often.

Each seed switches about half of the faults off: a run with every fault on explores little.
"""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from engine.core.compliance import ComplianceRules
from engine.core.execution.rules import (
    EntryTimeout,
    ExecutionRules,
    PartialRemainder,
    StopRefused,
    StrategyOff,
    SymbolHalted,
)
from engine.core.machine import MachineConfig, StrategySetup
from engine.core.model import (
    DAY,
    MINUTE,
    NANOS,
    ZERO,
    AccountType,
    AssetClass,
    Idempotency,
    Instrument,
    KillAction,
    Mode,
    OrderType,
    TimeInForce,
    nanos,
)
from engine.core.risk import RiskLimits
from engine.core.safety import SafetyRules
from engine.core.sessions import ALWAYS_OPEN, SessionTable


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


RANGES: dict[Fault, tuple[float, float]] = {
    Fault.REQUEST_LOST: (0.02, 0.3),
    Fault.STUCK: (0.02, 0.2),
    Fault.ANSWER_LOST: (0.02, 0.4),
    Fault.THROTTLED: (0.02, 0.3),
    Fault.SLOW: (0.05, 0.5),
    Fault.REJECTED: (0.02, 0.3),
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
    Fault.BUSTED: (0.02, 0.2),
    Fault.HAND_MADE: (0.5, 3),
    Fault.VENUE_DOWN: (0.5, 3),
    Fault.FEED_SILENT: (0.5, 2),
    Fault.HALT: (0.3, 2),
    Fault.DATABASE_DOWN: (0.5, 3),
    Fault.CRASH: (0.5, 4),
    Fault.KILL: (0.3, 1.5),
    Fault.COMMAND: (2, 20),
}


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
    what nobody heard while the line was down; with `oco` it links orders; `live` is a real account.
    """

    name: str
    idempotency: Idempotency
    order_types: tuple[OrderType, ...]
    can_replace: bool
    oco: bool
    live: bool
    repeats: bool
    lag: int
    size: float


class Options(Struct, frozen=True):
    """All that a seed draws; `nets_off` are the safety nets that are switched off on purpose.
    Without DEDUPE the venue tells everything more than once."""

    seed: int
    start: int
    length: int
    tick: int
    venues: tuple[VenueOptions, ...]
    config: MachineConfig
    faults: dict[Fault, float]
    nets_off: tuple[Net, ...] = ()


NO_TRAIL = tuple(kind for kind in OrderType if kind is not OrderType.TRAILING_STOP)
NO_STOPS = (OrderType.MARKET, OrderType.LIMIT)

START = nanos(datetime(2024, 3, 4, 15, 0, tzinfo=UTC))
"""A Monday, 10:00 in New York. Stocks settle two days later."""
MIDNIGHT = nanos(datetime(2024, 6, 4, 3, 59, 20, tzinfo=UTC))
"""A Monday, 40 s before the day is over in New York. Stocks settle on the next."""

STRATEGIES = ("amber", "brisk", "raiser", "storm", "garbage")


def draw(seed: int, nets_off: tuple[Net, ...] = ()) -> Options:
    """The options of `seed`: the same ones, always."""
    random = Random(f"options {seed}")
    start = random.choice((START, START, START, MIDNIGHT))
    closes = start == START and random.random() < 0.4
    calendars = _closing(random) if closes else ()
    mode = Mode.LIVE if random.random() < 0.15 else Mode.PAPER
    venues = tuple(
        VenueOptions(
            name,
            random.choice(list(Idempotency)),
            random.choice((tuple(OrderType),) * 6 + (NO_TRAIL,) * 3 + (NO_STOPS,)),
            random.random() < 0.7,
            random.random() < 0.7,
            (random.random() < 0.95) == (mode is Mode.LIVE),
            random.random() < 0.5,
            random.choice((0, 0, 1, 5, 30)) * NANOS,
            random.choice((7.5, 40.0, 1e6)),
        )
        for name in ("paper", "beta", "gamma")[: random.choice((1, 1, 2, 3))]
    )
    faults = {
        fault: random.uniform(*between) if random.random() < 0.5 else 0.0
        for fault, between in RANGES.items()
    }
    if Net.DEDUPE in nets_off:
        faults[Fault.REPEATED] = 1.0
    return Options(
        seed,
        start=start,
        length=random.randint(40, 120) * NANOS,
        tick=random.choice((NANOS // 2, NANOS)),
        venues=venues,
        config=_config(random, [venue.name for venue in venues], mode, calendars, nets_off),
        faults=faults,
        nets_off=nets_off,
    )


def _config(
    random: Random,
    venues: list[str],
    mode: Mode,
    calendars: tuple[SessionTable, ...],
    nets_off: tuple[Net, ...],
) -> MachineConfig:
    stocks = calendars[0].name if calendars else ALWAYS_OPEN
    kinds = (
        ("ACME", AssetClass.STOCK, "0.01", "1"),
        ("COIN", AssetClass.CRYPTO, "0.01", "0.00000001"),
        ("BULK", AssetClass.STOCK, "0.05", "10"),
        ("DUST", AssetClass.CRYPTO, "0.0001", "0.001"),
    )[: random.choice((1, 2, 3, 4))]
    instruments = tuple(
        Instrument(
            symbol,
            kind,
            Decimal(tick),
            Decimal(lot),
            venue=random.choice(venues),
            calendar=stocks if kind is AssetClass.STOCK else ALWAYS_OPEN,
        )
        for symbol, kind, tick, lot in kinds
    )
    symbols = tuple(instrument.symbol for instrument in instruments)
    every = random.choice((10, 30)) * NANOS
    compliance = _compliance(random)
    names = random.sample(STRATEGIES, random.choice((1, 2, 3)))
    return MachineConfig(
        "simulation",
        instruments,
        tuple(
            StrategySetup(
                name,
                symbols,
                {"seed": random.randrange(10**6), "chance": random.uniform(0.05, 0.4)},
            )
            for name in sorted({"amber", *names})
        ),
        mode=mode,
        limits=_limits(random, compliance.account_type),
        execution=_execution(random),
        safety=_safety(random),
        calendars=calendars,
        compliance=compliance,
        reconcile_every=every if Net.STATEMENTS not in nets_off else 0,
        stale_after=random.choice((5, 10, 30)) * NANOS,
    )


def _closing(random: Random) -> tuple[SessionTable, ...]:
    """An exchange that closes in the middle of it, opens again, and is there on the next days."""
    close = START + random.randint(10, 40) * NANOS
    again = close + random.randint(10, 40) * NANOS
    opens = (START - MINUTE, again, *(START + day * DAY for day in (1, 2, 3)))
    closes = (close, *(START + day * DAY + DAY // 4 for day in (0, 1, 2, 3)))
    return (SessionTable("floor", "America/New_York", opens, closes),)


def _compliance(random: Random) -> ComplianceRules:
    account_type = AccountType.CASH if random.random() < 0.25 else AccountType.MARGIN
    return ComplianceRules(account_type, random.choice((0, 2)), commission_pct=Decimal("0.1"))


def _safety(random: Random) -> SafetyRules:
    return SafetyRules(
        random.choice(list(KillAction)),
        random.choice((1, 2, 3, 5)),
        random.random() < 0.3,
        allow_live=random.random() < 0.8,
        dry_run=random.random() < 0.04,
    )


def _execution(random: Random) -> ExecutionRules:
    return ExecutionRules(
        entry_order_type=random.choice((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT)),
        entry_timeout=random.choice((5, 15)) * NANOS,
        entry_on_timeout=random.choice(list(EntryTimeout)),
        partial_remainder=random.choice(list(PartialRemainder)),
        entry_time_in_force=random.choice((TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)),
        flatten_at_open=random.random() < 0.5,
        exit_order_type=random.choice((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT)),
        on_strategy_off=random.choice(list(StrategyOff)),
        on_stop_refused=random.choice(list(StopRefused)),
        on_halt=random.choice(list(SymbolHalted)),
    )


def _limits(random: Random, account_type: AccountType) -> RiskLimits:
    limits = RiskLimits(
        max_position_size_pct=Decimal(random.choice((5, 20))),
        max_trades_per_day=random.choice((4, 20, 200)),
        max_consecutive_losses=random.choice((2, 3, 50)),
        max_daily_loss=Decimal(random.choice((150, 1000, 10**9))),
        max_daily_loss_pct=Decimal(random.choice((5, 100))),
        max_exposure_pct=Decimal(random.choice((30, 80, 200))),
        max_drawdown_pct=Decimal(random.choice((15, 99))),
        max_position_notional=Decimal(random.choice((0, 4_000))),
        max_order_notional=Decimal(random.choice((0, 0, 3_000))),
        price_collar_pct=Decimal(random.choice((1, 5))),
        crypto_stop_loss_pct=Decimal(random.choice((1, 5))),
        crypto_max_exposure_pct=Decimal(random.choice((7, 50))),
        min_signal_strength=Decimal(random.choice(("0", "0.7"))),
        cool_down_s=Decimal(random.choice((0, 3))),
        throttle_orders=random.choice((3, 10, 0)),
        max_open_positions=random.choice((2, 20)),
        max_messages_per_second=random.choice((3, 50)),
    )
    if account_type is not AccountType.CASH:
        return limits
    return replace(  # so much that the settled cash is soon used up
        limits,
        max_position_size_pct=Decimal(random.choice((45, 90))),
        max_exposure_pct=Decimal(100),
        max_position_notional=ZERO,
        max_order_notional=ZERO,
    )
