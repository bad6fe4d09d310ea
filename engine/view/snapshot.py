"""What the console draws: one immutable picture of the engine at one sequence number.

The values are shared, not copied: an order, a quote or a position that did not change is the same
object in the next snapshot, so a panel finds what changed by identity.
"""

from decimal import Decimal

from msgspec import Struct

from engine.core.events import CONNECTING, KilledPart
from engine.core.model import (
    Fill,
    Instrument,
    KillAction,
    Mode,
    Order,
    Position,
    Quote,
    Side,
    Signal,
)


class QuoteRow(Struct, frozen=True, gc=False, array_like=True):
    """`quote` is None where it is older than the limit and a bar came after it. `last` is the last
    price (mid of the quote or close of a bar), None before any data came.
    `change_pct` is against the first price of the trading day. `ts` is the market time of the last
    data, 0 before any came: the age that is shown is the snapshot's `ts` less this. `stale` is True
    past the limit: nothing is decided on it. `zone` is the IANA time zone of its market."""

    symbol: str
    quote: Quote | None
    last: float | None
    change_pct: float | None
    volume: float | None
    ts: int
    stale: bool
    zone: str = "UTC"


class SignalRow(Struct, frozen=True, gc=False):
    """`outcome` is `order`, `blocked`, or empty while it is being decided; `note` says why."""

    seq: int
    signal: Signal
    outcome: str
    note: str


class FillRow(Struct, frozen=True, gc=False):
    """An execution. One that the venue took back `is_reversed`, and counts no more; what it put in
    its place is a row of its own."""

    fill: Fill
    is_reversed: bool = False


class PositionRow(Struct, frozen=True, gc=False):
    """`mark` and `unrealised_pnl` are None while the symbol has no price: never 0. `stop_price` is
    of the protective stop that is at the broker now, None where none is; `unprotected` is how much
    of the position has none. `not_flat` says why a position that is to be closed is not yet. What
    is `dust` is held, and too little for any order: it needs no stop, and cannot be closed. Prices
    are in the instrument's currency, `unrealised_pnl` and other sums in the snapshot's: `worth` is
    what a unit of the one counts as in the other, None where that is not known."""

    position: Position
    mark: Decimal | None
    mark_source: str
    unrealised_pnl: Decimal | None
    stop_price: Decimal | None
    unprotected: Decimal = Decimal(0)
    not_flat: str = ""
    dust: bool = False
    worth: Decimal | None = Decimal(1)

    @property
    def value(self) -> Decimal | None:
        """What the position is worth, in the snapshot's currency."""
        if self.mark is None or self.worth is None:
            return None
        return self.position.quantity * self.mark * self.worth

    @property
    def realised_pnl(self) -> Decimal | None:
        """The position's, before commissions, in the snapshot's currency."""
        return None if self.worth is None else self.position.realised_pnl * self.worth


class LimitRow(Struct, frozen=True, gc=False):
    """One limit of the risk settings. `used` is None where it is unknown; `unit` is `$` or another
    currency, `%` or empty for a count. `scope` names the strategy or symbol it is measured on,
    empty for the account. `setting` names the limit where it can be changed; with `least` more is
    tighter. An unknown `limit` is NaN. What is `past` is of the last order that was checked."""

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
    of the symbols that have data. `entries_today` are the orders that it made in this trading day
    to open a position, filled or not."""

    name: str
    state: str
    note: str
    symbols: tuple[str, ...] = ()
    parameters: str = ""
    warm: int = 0
    required: int = 0
    entries_today: int = 0
    consecutive_losses: int = 0
    pnl: Decimal | None = None
    last_signal: Side | None = None


class PnlRow(Struct, frozen=True, gc=False):
    """What a strategy made of all its positions, ever, in the snapshot's currency at the rates of
    now: `realised` before the `commission`, `unrealised` of what it holds. None is not known: a
    held symbol has no price, or a currency no rate. `held` are its open positions, `entries` the
    orders that it made today to open one."""

    strategy: str
    realised: Decimal | None
    unrealised: Decimal | None
    commission: Decimal | None
    held: int
    entries: int

    @property
    def total(self) -> Decimal | None:
        """After commissions."""
        if self.realised is None or self.unrealised is None or self.commission is None:
            return None
        return self.realised + self.unrealised - self.commission


class BlockedRow(Struct, frozen=True, gc=False):
    """How many signals the `check` blocked today; `signal` is the latest of them, blocked for
    `reason` at the sequence number `seq`."""

    check: str
    count: int
    seq: int
    signal: Signal
    reason: str


class LogLine(Struct, frozen=True, gc=False):
    """`level` is info, warning or error; `ts` is market time."""

    seq: int
    ts: int
    level: str
    text: str


class AlertRow(Struct, frozen=True, gc=False):
    """Something went wrong: `count` times since `since_ts`, the last time at `ts` (market time).
    `level` and `text` are those of the log's line. It `lasts` while its cause is there, and is
    `over` once that is known to be gone; live trading waits for a person to have read one that
    `holds`. `acknowledged_by` is empty while nobody has."""

    name: str
    level: str
    text: str
    since_ts: int
    ts: int
    count: int
    lasts: bool
    holds: bool
    acknowledged_by: str = ""
    over: bool = False


class SessionTotals(Struct, frozen=True, gc=False):
    """What this session of the engine did so far: `orders` that were made, `executions` of them,
    and how many were `rejected`. By currency the P&L of positions that were `closed`, after
    commissions, and the `fees`."""

    orders: int = 0
    executions: int = 0
    rejected: int = 0
    closed: tuple[tuple[str, Decimal], ...] = ()
    fees: tuple[tuple[str, Decimal], ...] = ()


class AccountRow(Struct, frozen=True, gc=False):
    """The cash of the account at `venue`, in `currency`, and what of it has settled; `worth` is
    what a unit of it is counted as in the snapshot's currency, None where that is not known, by a
    rate that was published at `rate_ts`; 0 where it is by none."""

    venue: str
    currency: str
    cash: Decimal
    settled_cash: Decimal
    worth: Decimal | None
    rate_ts: int = 0


class KillStatus(Struct, frozen=True, gc=False):
    """`phase` is armed, cancelling, flattening or complete; `open_orders` still wait for their
    cancel, `open_positions` to be closed by a kill that flattens. `action` is what the kill switch
    does, or would do by default. The cancels of so many open orders did not take (`refused`), the
    last of them for that reason (`refusal`); they are tried again."""

    tripped: bool
    phase: str
    source: str
    reason: str
    ts: int
    open_orders: int
    durable: bool
    action: KillAction = KillAction.CANCEL
    open_positions: int = 0
    refused: int = 0
    refusal: str = ""


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
    cancel, `open_positions` to be closed by a kill that flattens; `refused` as in KillStatus."""

    killed: KilledPart
    open_orders: int
    open_positions: int
    refused: int = 0
    refusal: str = ""


class DeadManStatus(Struct, frozen=True, gc=False):
    """Seconds until the dead-man's switch trips, and how many there are without a sign of life."""

    remaining: float
    limit: float


class FeedStatus(Struct, frozen=True, gc=False):
    """`status` is connecting, connected, behind, degraded, paused, disconnected or ended, from
    `since_ts` on (0 is not known); it was disconnected `losses` times in this session. `speed` 0
    is as fast as possible, 1 real time. Of `awaited` symbols the past has not come yet."""

    name: str
    status: str
    note: str
    speed: float
    recorded: bool
    since_ts: int = 0
    losses: int = 0
    awaited: int = 0


class BrokerStatus(Struct, frozen=True, gc=False):
    """It is connected, or not, from `since_ts` on (market time, 0 is not known); it was lost
    `losses` times in this session. `live` is a real account. `cash` is that of the books, in the
    account's `currency`; it has `cash_difference` more of it where the two do not agree."""

    name: str
    connected: bool
    note: str
    live: bool = False
    since_ts: int = 0
    losses: int = 0
    currency: str = ""
    cash: Decimal | None = None
    cash_difference: Decimal | None = None

    @property
    def is_connecting(self) -> bool:
        """Whether it was not reached yet, and has not failed either."""
        return not self.connected and self.note == CONNECTING


class StoreStatus(Struct, frozen=True, gc=False):
    """The database is available, or not, from `since_ts` on (market time, 0 is not known)."""

    available: bool
    note: str
    since_ts: int = 0


class BrokerHealth(Struct, frozen=True, gc=False):
    """What was measured of the connection to the broker `name`; None is not measured, or not yet.

    `answer_ms` and `slowest_ms` are the median and the 99th percentile of the time from an order's
    request (submit, cancel, replace) to its answer, of the last `orders` of them. `room` is how
    many requests may leave now, of `most`; none leaves for the next `shut_s` seconds. Market time
    is `clock_offset_ms` ahead of the broker's. Where cancels wait until it takes more requests, the
    last leaves in `cancels_s`.
    """

    name: str
    orders: int = 0
    answer_ms: float | None = None
    slowest_ms: float | None = None
    room: float | None = None
    most: float | None = None
    shut_s: float = 0.0
    clock_offset_ms: float | None = None
    cancels_s: float = 0.0


class JournalStatus(Struct, frozen=True, gc=False):
    """The journal's file, how much of its bound it has, and what is wrong with it, if anything."""

    name: str
    mb: float
    most_mb: int
    problem: str


class Health(Struct, frozen=True, gc=False):
    """`lateness_ms` is the 99th percentile of the engine loop's delay in the last seconds, and
    `worst_ms` the longest. In the `queue` are intents and requests under way, and the `unwritten`
    facts, which are not on disk yet. `conflated` quotes were left out for newer ones. Of the
    `events` so far `events_per_s` came in each of the last seconds, None in the first. The
    computer's clock is `clock_offset_ms` ahead of market time; None in a replay. `config` is the
    version of what it runs with (`engine.config_version`), empty before it is known."""

    lateness_ms: float
    queue: int
    conflated: int
    events: int
    started_wall_ts: int
    pid: int
    host: str = ""
    worst_ms: float = 0.0
    events_per_s: float | None = None
    unwritten: int = 0
    clock_offset_ms: float | None = None
    journal: JournalStatus | None = None
    brokers: tuple[BrokerHealth, ...] = ()
    config: str = ""


class LiveGate(Struct, frozen=True, gc=False):
    """One condition of going live: what it is, whether it is met, what to do."""

    condition: str
    met: bool
    remedy: str


class Snapshot(Struct, frozen=True, gc=False):
    """`ts` is market time, `wall_ts` when the snapshot was taken, both nanoseconds UTC; 0 and None
    are the `wall_ts` and the `health` of a moment of the past, which nobody knows any more.

    Money is in `currency`, the base currency, but for prices and the cash of each of the
    `accounts`, of which there are rows where there are several, or one in another currency; a
    number that is not known is None. `account` is what people call the account, or each of them
    after its venue, empty where the brokers did not say it yet. `left_open` is in the last one of a
    session alone: a line for each order that an orderly stop left open. `alerts` are those of this
    session that nobody has acknowledged, or whose cause lasts, the latest first. What was `blocked`
    is counted from `blocked_since_ts` on, 0 before the start. `fills` are the last that were heard
    of, the latest at the end. `instruments` are those that there are `quotes` of, by symbol.
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
    health: Health | None
    breaker: BreakerStatus = BreakerStatus()
    dry_run: bool = False
    dead_man: DeadManStatus | None = None
    paused: tuple[PausedRow, ...] = ()
    killed_parts: tuple[KilledPartRow, ...] = ()
    settled_cash: Decimal | None = None
    left_open: tuple[str, ...] = ()
    accounts: tuple[AccountRow, ...] = ()
    alerts: tuple[AlertRow, ...] = ()
    pnl: tuple[PnlRow, ...] = ()
    blocked: tuple[BlockedRow, ...] = ()
    blocked_since_ts: int = 0
    session: SessionTotals = SessionTotals()
    fills: tuple[FillRow, ...] = ()
    instruments: dict[str, Instrument] = {}

    @property
    def unread(self) -> tuple[AlertRow, ...]:
        """The alerts that nobody has acknowledged."""
        return tuple(row for row in self.alerts if not row.acknowledged_by)

    @property
    def is_past(self) -> bool:
        """Whether this is of a session again from its journal, and not of an engine that runs."""
        return self.health is None

    def worth(self, symbol: str) -> Decimal | None:
        """What a unit of the symbol's currency counts as in `currency`; None where that is not
        known."""
        if not self.accounts:
            return Decimal(1)
        known = self.instruments.get(symbol)
        venue = known.venue if known else ""
        return next((row.worth for row in self.accounts if row.venue == venue), None)
