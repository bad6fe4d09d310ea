"""What the console draws: one immutable picture of the engine at one sequence number.

The values are shared, not copied: an order, a quote or a position that did not change is the same
object in the next snapshot, so a panel finds what changed by identity.
"""

from decimal import Decimal

from msgspec import Struct

from engine.core.events import KilledPart
from engine.core.model import Instrument, KillAction, Mode, Order, Position, Quote, Side, Signal


class QuoteRow(Struct, frozen=True, gc=False):
    """`last` is the last price (mid of the quote or close of a bar), None before any data came.
    `change_pct` is against the first price of the trading day. `ts` is the market time of the last
    data, 0 before any came: the age that is shown is the snapshot's `ts` less this. `stale` is True
    past the limit: nothing is decided on it."""

    instrument: Instrument
    quote: Quote | None
    last: float | None
    change_pct: float | None
    volume: float | None
    ts: int
    stale: bool


class SignalRow(Struct, frozen=True, gc=False):
    """`outcome` is `order`, `blocked`, or empty while it is being decided; `note` says why."""

    seq: int
    signal: Signal
    outcome: str
    note: str


class PositionRow(Struct, frozen=True, gc=False):
    """`mark` and `unrealised_pnl` are None while the symbol has no price: never 0. `stop_price` is
    of the protective stop that is at the broker now, None where none is; `unprotected` is how much
    of the position has none. `not_flat` says why a position that is to be closed is not yet."""

    position: Position
    instrument: Instrument
    mark: Decimal | None
    mark_source: str
    unrealised_pnl: Decimal | None
    stop_price: Decimal | None
    unprotected: Decimal = Decimal(0)
    not_flat: str = ""


class LimitRow(Struct, frozen=True, gc=False):
    """One limit of the risk settings. `used` is None where it is unknown; `unit` is `$`, `%` or
    empty for a count. `scope` names the strategy or symbol it is measured on, empty for the
    account. `setting` names the limit where it can be changed; with `least` more is tighter. An
    unknown `limit` is NaN. What is `past` is of the last order that was checked."""

    tier: str
    name: str
    scope: str
    used: float | None
    limit: float
    unit: str
    setting: str = ""
    least: bool = False
    past: bool = False


class StrategyRow(Struct, frozen=True, gc=False):
    """`state` is on, off, paused, killed or failed, or broken of a file that makes no strategy, of
    which `name` is the file's; `note` says why. `warm` of `required` history bars have been seen,
    of the symbols that have data."""

    name: str
    state: str
    note: str
    symbols: tuple[str, ...] = ()
    parameters: str = ""
    warm: int = 0
    required: int = 0
    trades_today: int = 0
    losses: int = 0
    pnl: Decimal | None = None
    last_signal: Side | None = None


class LogLine(Struct, frozen=True, gc=False):
    """`level` is info, warning or error; `ts` is market time."""

    seq: int
    ts: int
    level: str
    text: str


class KillStatus(Struct, frozen=True, gc=False):
    """`phase` is armed, cancelling, flattening or complete; `open_orders` still wait for their
    cancel, `open_positions` to be closed by a kill that flattens. `action` is what the kill switch
    does, or would do by default."""

    tripped: bool
    phase: str
    source: str
    reason: str
    ts: int
    open_orders: int
    durable: bool
    action: KillAction = KillAction.CANCEL
    open_positions: int = 0


class BreakerStatus(Struct, frozen=True, gc=False):
    """The circuit breaker: `failures` in a row of the `limit` at which it trips."""

    tripped: bool = False
    reason: str = ""
    failures: int = 0
    limit: int = 0


class PausedRow(Struct, frozen=True, gc=False):
    """No entry is made in `symbol` until the market's time is `until`, 0 for by hand."""

    symbol: str
    reason: str
    until: int


class KilledPartRow(Struct, frozen=True, gc=False):
    """A strategy, symbol or broker that is killed by itself. `open_orders` still wait for their
    cancel, `open_positions` to be closed by a kill that flattens."""

    killed: KilledPart
    open_orders: int
    open_positions: int


class DeadManStatus(Struct, frozen=True, gc=False):
    """Seconds until the dead-man's switch trips, and how many there are without a sign of life."""

    remaining: float
    limit: float


class FeedStatus(Struct, frozen=True, gc=False):
    """`status` is connecting, connected, degraded, paused, disconnected or ended; `speed` 0 is as
    fast as possible, 1 real time."""

    name: str
    status: str
    note: str
    speed: float
    recorded: bool


class BrokerStatus(Struct, frozen=True, gc=False):
    name: str
    connected: bool
    note: str


class StoreStatus(Struct, frozen=True, gc=False):
    available: bool
    note: str


class Health(Struct, frozen=True, gc=False):
    """`lateness_ms` is the 99th percentile of the engine loop's delay in the last seconds."""

    lateness_ms: float
    queue: int
    conflated: int
    events: int
    started_wall_ts: int
    pid: int


class LiveGate(Struct, frozen=True, gc=False):
    """One condition of going live: what it is, whether it is met, what to do."""

    condition: str
    met: bool
    remedy: str


class Snapshot(Struct, frozen=True, gc=False):
    """`ts` is market time, `wall_ts` when the snapshot was taken, both nanoseconds UTC.

    Money is in `currency`; a number that is not known is None. `left_open` is in the last one of a
    session alone: a line for each order that an orderly stop left open. `alerts` are the names and
    texts of those that wait for a person.
    """

    seq: int
    ts: int
    wall_ts: int
    mode: Mode
    account: str
    currency: str
    equity: Decimal | None
    cash: Decimal | None
    day_pnl: Decimal | None
    kill: KillStatus
    feed: FeedStatus
    brokers: tuple[BrokerStatus, ...]
    store: StoreStatus
    quotes: tuple[QuoteRow, ...]
    signals: tuple[SignalRow, ...]
    orders: tuple[Order, ...]
    positions: tuple[PositionRow, ...]
    limits: tuple[LimitRow, ...]
    strategies: tuple[StrategyRow, ...]
    log: tuple[LogLine, ...]
    live_gate: tuple[LiveGate, ...]
    health: Health
    breaker: BreakerStatus = BreakerStatus()
    dry_run: bool = False
    dead_man: DeadManStatus | None = None
    paused: tuple[PausedRow, ...] = ()
    killed_parts: tuple[KilledPartRow, ...] = ()
    settled_cash: Decimal | None = None
    left_open: tuple[str, ...] = ()
    alerts: tuple[tuple[str, str], ...] = ()
