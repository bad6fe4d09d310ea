"""The vocabulary: every input, every fact on the bus, every effect.

* An *input* comes from outside (market data, a broker, the clock, the operator, the store) and is
  written to the journal: the same inputs in the same order give the same state.
* A *fact* is what the machine concluded; it is published on the bus, recorded in the store and
  shown to the operator. A fact's `cause` is the sequence number of the event it came from.
* An *effect* is work for an adapter outside. Its outcome comes back as an input.

`ts` is in nanoseconds UTC; `seq` counts every event of a session. The bus stamps both.
"""

from decimal import Decimal

from msgspec import Struct

from engine.core.model import (
    Bar,
    Capabilities,
    CashAdjustment,
    Fill,
    FintracReport,
    KillAction,
    Mode,
    Order,
    OrderState,
    OrderTerms,
    Part,
    Position,
    Quote,
    RoundTrip,
    Side,
    Signal,
    SizingMethod,
    StopAction,
    Violation,
)
from engine.core.text import clean


class Event(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    ts: int = 0
    seq: int = 0
    cause: int = 0


# --- inputs: market data -------------------------------------------------------------------------


class QuoteUpdate(Event, frozen=True, gc=False):
    """The best bid or ask changed. `live` is False for the last quote before a start."""

    quote: Quote
    live: bool = True


class BarClosed(Event, frozen=True, gc=False):
    """A bar is complete. `live` is False for history that warms the strategies up and for bars that
    were missed; `holed` says that bars before it are missing and could not be had: nothing is
    decided on it."""

    bar: Bar
    live: bool = True
    holed: bool = False


class HistoryLoaded(Event, frozen=True, gc=False):
    """Bars of the past of one symbol, oldest first: they warm the strategies that are on up, and
    make no price where there is one. Where `strategy` is named they are older than those that are
    kept, and it alone is shown them and then those: it was switched on later."""

    symbol: str
    bars: tuple[Bar, ...]
    strategy: str = ""


class FeedChanged(Event, frozen=True):
    """The connection of a feed came up or went down; `status` is connected, behind (quotes are
    conflated), degraded (a part of it is away), disconnected, paused or ended."""

    feed: str
    status: str
    reason: str = ""


class HaltChanged(Event, frozen=True):
    """The venue halted trading in a symbol, or resumed it."""

    symbol: str
    halted: bool
    reason: str = ""


class RatePublished(Event, frozen=True):
    """A unit of `currency` is worth `rate` Canadian dollars, as `source` said at `published_ts`."""

    currency: str
    rate: Decimal
    source: str
    published_ts: int


# --- inputs: clock, store, life cycle ------------------------------------------------------------


class ClockTick(Event, frozen=True, gc=False):
    """Time passes; time-outs and staleness are judged at each tick.

    `uptime` is how long the session has lasted (ns), by a clock that nobody sets: a person's time,
    however fast the market's goes. `clock_offset` is how far the computer's clock is ahead of a
    live feed's time (ns), which follows it slowly, or of a venue's.
    """

    uptime: int = 0
    clock_offset: int = 0


class IntentCommitted(Event, frozen=True):
    """The order's intent is durable: it may leave."""

    client_order_id: str


class IntentFailed(Event, frozen=True):
    """The order's intent could not be made durable: it must not leave. `duplicate` says that its
    client order id is in the database already, from an order that is not in memory any more."""

    client_order_id: str
    reason: str
    duplicate: bool = False


class StoreChanged(Event, frozen=True):
    """The database went out of reach or came back."""

    available: bool
    reason: str = ""


class StrategyState(Struct, frozen=True):
    """What of a strategy outlives a restart. `last_signals` maps symbol to side, the latest at the
    end."""

    strategy: str
    enabled: bool
    paused: str = ""
    losses: int = 0
    last_signals: dict[str, Side] = {}


class KillSwitchState(Struct, frozen=True):
    """`ts` is when it tripped, `flatten_ts` when everything was last asked to be flat (ns UTC)."""

    tripped: bool = False
    source: str = ""
    reason: str = ""
    ts: int = 0
    action: KillAction = KillAction.CANCEL
    flatten_ts: int = 0


class KilledPart(Struct, frozen=True, gc=False):
    """One strategy, symbol or broker that is killed by itself; fields as in `KillSwitchState`."""

    part: Part
    source: str
    reason: str
    ts: int
    action: KillAction


class CircuitBreakerState(Struct, frozen=True):
    """`failures` are in a row; `ts` is when it tripped."""

    failures: int = 0
    tripped: bool = False
    reason: str = ""
    ts: int = 0


class ChangedLimit(Struct, frozen=True):
    """A limit that the operator set to `value` while the settings had `setting`."""

    name: str
    value: str
    setting: str


class Pause(Struct, frozen=True, gc=False):
    """Why no entry is made in a symbol: until `until` (ns UTC), 0 for until it is resumed. Where it
    is `halted`, its venue stopped the trading, and no order at all is made in it."""

    symbol: str
    reason: str
    until: int = 0
    halted: bool = False


class Bracket(Struct, frozen=True, gc=False):
    """How a position is to be protected beyond a fixed stop: `stop_price` follows the best price at
    the distance `trail`; at `take_profit` the position is closed. None where that is not wanted."""

    strategy: str
    symbol: str
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    trail: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is wanted: the position is closed."""
        return self.take_profit is None and self.trail is None


class TradeRecord(Struct, frozen=True, gc=False):
    """The returns of a strategy's last round trips, oldest first: P&L after commissions as a part
    of what each was opened for."""

    strategy: str
    returns: tuple[float, ...]


class Restored(Event, frozen=True):
    """The durable state at the start of a session.

    `orders` are all orders of today and all that are not final; `cash` is the sum of the ledger of
    each account, by its venue and in its currency; `day_equity` is the equity at the start of the
    trading day `day` (ISO date) and `peak_equity` the high-water mark, each None where there is
    none yet. `fills` are the executions of the last 14 days, oldest first; `violations` those of
    settlement in the last 12 months; `fintrac` the reports that may still change; `strategy_files`
    the fingerprint of each strategy's file, as it last was; `venues` the account of each symbol
    that was ever traded; `adjustments` those of cash as far back as `fills`, oldest first.
    """

    cash: dict[str, Decimal]
    orders: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()
    marks: dict[str, float] = {}
    execution_ids: tuple[str, ...] = ()
    strategies: tuple[StrategyState, ...] = ()
    kill: KillSwitchState = KillSwitchState()
    breaker: CircuitBreakerState = CircuitBreakerState()
    limits: tuple[ChangedLimit, ...] = ()
    day: str = ""
    day_equity: float | None = None
    peak_equity: float | None = None
    fills: tuple[Fill, ...] = ()
    violations: tuple[Violation, ...] = ()
    fintrac: tuple[FintracReport, ...] = ()
    pauses: tuple[Pause, ...] = ()
    brackets: tuple[Bracket, ...] = ()
    killed_parts: tuple[KilledPart, ...] = ()
    records: tuple[TradeRecord, ...] = ()
    strategy_files: dict[str, str] = {}
    venues: dict[str, str] = {}
    adjustments: tuple[CashAdjustment, ...] = ()


class EngineStarted(Event, frozen=True):
    """From here on signals make orders, once their strategy has seen its history. `config` is the
    version of the program, its settings and strategies, as the host tells it."""

    config: str = ""


class RaiseAlert(Event, frozen=True):
    """What the host found wrong at the start."""

    name: str
    text: str


class EngineStopping(Event, frozen=True):
    """The engine stops in order: strategies are off, and `action` says what is cancelled."""

    action: StopAction


class StrategyFileChanged(Event, frozen=True):
    """The file of a strategy is new, or another one than it was; `fingerprint` is its SHA-256. The
    class that it makes is among the machine's kinds when this is handled."""

    strategy: str
    fingerprint: str


# --- inputs: brokers -----------------------------------------------------------------------------


CONNECTING = "connecting"
"""The reason of a broker that was not reached yet, and has not failed either."""


class BrokerChanged(Event, frozen=True):
    """A broker came or went. `live` says that its account is a real one; `capabilities`, where it
    is set, what it can do; `account` is what people call the account, empty until it is known."""

    broker: str
    connected: bool
    reason: str = ""
    live: bool = False
    capabilities: Capabilities | None = None
    account: str = ""


class ExecutionReport(Event, frozen=True):
    """What a venue says of an order (FIX 35=8).

    `state` is where the venue has the order; `fill` is set where it reports an execution, `terms`
    where it says what the order now asks for. `transact_ts` (FIX 60) is when the venue says that
    this was so, 0 where it does not: of two reports the later one counts, whatever comes first.
    """

    client_order_id: str
    state: OrderState
    venue_order_id: str = ""
    fill: Fill | None = None
    reason: str = ""
    terms: OrderTerms | None = None
    transact_ts: int = 0


class SubmitFailed(Event, frozen=True):
    """A submit got no answer, or the one that its client order id is known: it was accepted
    earlier. `in_doubt` is False where no byte of it can have got there."""

    client_order_id: str
    in_doubt: bool
    reason: str


class CancelRejected(Event, frozen=True):
    """A cancel did not take (FIX 35=9): too late, unknown, or no answer. Not `sent`, it did not
    leave: where the order stands is not in question."""

    client_order_id: str
    reason: str
    sent: bool = True


class ReplaceRejected(Event, frozen=True):
    """A replace did not take (FIX 35=9): too late, or unknown. `in_doubt` says that there was no
    answer: it may have taken."""

    client_order_id: str
    reason: str
    in_doubt: bool = False


class OrderNotFound(Event, frozen=True):
    """The venue was asked for an order by its client order id and knows of none."""

    client_order_id: str


class TradeBusted(Event, frozen=True):
    """The venue took an execution back, or corrected it to `corrected`."""

    execution_id: str
    symbol: str
    corrected: Fill | None = None
    reason: str = ""


class VenueOrder(Struct, frozen=True, gc=False):
    """An order as a venue lists it, whoever made it; `client_order_id` is empty where it has none.
    `order` has purpose EXTERNAL; what is ours is found by its client order id."""

    order: Order
    state: OrderState


class AccountStatement(Event, frozen=True):
    """What a broker says of the whole account, asked at `asked_ts`.

    `orders` are the open ones; `fills` the executions since the last that was seen (or longer ago);
    `positions` maps symbol to net quantity. `cash` and `buying_power` are None where the venue does
    not say; so is `day_trade_rule`, whether it still holds the account to the pattern-day-trader
    rule, and `day_trades`, how many it counts.
    """

    broker: str
    asked_ts: int
    orders: tuple[VenueOrder, ...]
    fills: tuple[Fill, ...]
    positions: dict[str, Decimal]
    cash: Decimal | None = None
    buying_power: Decimal | None = None
    day_trade_rule: bool | None = None
    day_trades: int | None = None


class StatementDue(Event, frozen=True):
    """The broker lists an order otherwise than it is known here: its next statement is due."""

    broker: str


class StatementFailed(Event, frozen=True):
    """The broker was asked for a statement at `asked_ts` and gave none."""

    broker: str
    asked_ts: int
    reason: str


# --- inputs: operator commands -------------------------------------------------------------------


class Command(Event, frozen=True, kw_only=True):
    """An order of the operator. `author` says who, from where."""

    author: str = ""


class TripKillSwitch(Command, frozen=True):
    """`action` None is the default of the settings."""

    source: str
    reason: str = ""
    action: KillAction | None = None


class KillFileChanged(Event, frozen=True):
    """The file at `path`, which trips the kill switch of every mode, was made or removed."""

    there: bool
    path: str


class RearmKillSwitch(Command, frozen=True):
    """`word` must be REARM: a slip of the finger does not re-arm."""

    word: str


class KillPart(Command, frozen=True):
    """Kill one strategy, symbol or broker; the rest trades on. Fields as in `TripKillSwitch`."""

    part: Part
    source: str
    reason: str = ""
    action: KillAction | None = None


class RearmPart(Command, frozen=True):
    """`word` must be REARM."""

    part: Part
    word: str


class ToggleStrategy(Command, frozen=True):
    strategy: str
    enabled: bool


class ReloadStrategy(Command, frozen=True):
    """Make the strategy anew from its file, as it was read last, and leave it switched off."""

    strategy: str


class RequestMode(Command, frozen=True):
    mode: Mode


class RequestCancel(Command, frozen=True):
    client_order_id: str


class RequestReplace(Command, frozen=True):
    client_order_id: str
    terms: OrderTerms


class AskOrder(Command, frozen=True):
    """Ask the venue again about an order in doubt."""

    client_order_id: str


class MarkOrder(Command, frozen=True):
    """Mark an order in doubt by hand as ended in `state` (canceled, rejected, expired or
    abandoned). `word` must be MARK."""

    client_order_id: str
    state: OrderState
    word: str


class AdjustCash(Command, frozen=True):
    """Take over the cash that `broker` tells where the books have other: it is `amount` more there
    (less, where negative), in the account's currency. `word` must be ADJUST."""

    broker: str
    amount: Decimal
    word: str


class ResetCircuitBreaker(Command, frozen=True):
    """`word` must be RESET."""

    word: str


class ChangeLimit(Command, frozen=True):
    """Set the risk limit `name` to `value` (text, as in the settings), or high_water_mark to
    equity. Loosening needs `word` LOOSEN."""

    name: str
    value: str
    word: str = ""


class ConfirmLive(Command, frozen=True):
    """A person saw account, equity, limits and open orders, and typed LIVE."""

    word: str


class AcknowledgeAlerts(Command, frozen=True):
    """A person read the alerts of these `names`."""

    names: tuple[str, ...]


class ResumeSymbol(Command, frozen=True):
    """Trade a symbol again that was paused."""

    symbol: str


class ChangeCommander(Command, frozen=True):
    """Of the consoles, `author` is in command from now on."""


class SignOfLife(Command, frozen=True):
    """The operator did something: the dead-man's switch starts anew."""


class ControlFeed(Command, frozen=True):
    """Replay only: `action` is pause, resume or speed; `speed` is a multiple of real time, 0 for as
    fast as possible."""

    action: str
    speed: float = 0.0


# --- facts: market data --------------------------------------------------------------------------


class BarGap(Event, frozen=True):
    """Bars are missing between the last one and this one; nothing is smoothed over."""

    symbol: str
    missing: int


class BarCorrected(Event, frozen=True):
    """The venue corrected a bar that is kept: strategies were shown `was`, and `bar` is in its
    place. `orders` are the client order ids of this session's orders that came of it."""

    was: Bar
    bar: Bar
    orders: tuple[str, ...] = ()


class DataRefused(Event, frozen=True):
    """A quote or bar from outside was not sound and went no further."""

    symbol: str
    reason: str


class FeedStale(Event, frozen=True):
    """No data for `symbol` for longer than its limit: nothing is decided on it."""

    symbol: str
    age: int


class FeedRecovered(Event, frozen=True):
    symbol: str


class FeedStatusChanged(Event, frozen=True):
    feed: str
    status: str
    reason: str = ""


# --- facts: strategies and risk ------------------------------------------------------------------


class SignalGenerated(Event, frozen=True):
    """`bar` or `quote` is what the strategy was shown when it decided; neither where that was the
    time, or a fill."""

    signal: Signal
    bar: Bar | None = None
    quote: Quote | None = None


class SignalBlocked(Event, frozen=True):
    """A signal made no order; `check` names what stood in its way."""

    signal: Signal
    check: str
    reason: str


class OrderSized(Event, frozen=True):
    """Why an entry has its quantity: what its `method` asked for (not rounded), the `most` that the
    position limit left, and the numbers that it rests on.

    And why its position is protected as it is: `stop_loss`, `take_profit` (prices) and `trail` (a
    distance) are so many `percents` away from what a buyer paid, by the settings, or, where they
    are not named there, what the signal asked for. None of this in what older versions wrote."""

    client_order_id: str
    strategy: str
    symbol: str
    method: SizingMethod
    asked: Decimal
    most: Decimal
    quantity: Decimal
    basis: dict[str, float]
    buying_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trail: Decimal | None = None
    percents: dict[str, Decimal] = {}


class RiskChecked(Event, frozen=True):
    """One check of one order, with its numbers: passed where `used`, NaN where it is not known, is
    within `limit`. `bound` says how (at most, below, at least), `setting` which setting it is;
    `note` says instead of the numbers what is wrong, where they would not tell."""

    client_order_id: str
    tier: str
    check: str
    used: float
    limit: float
    passed: bool
    bound: str = ""
    unit: str = ""
    setting: str = ""
    note: str = ""


class LimitBreached(Event, frozen=True):
    """A loss limit of the account is reached; the kill switch trips."""

    check: str
    used: float
    limit: float
    reason: str


class StrategyToggled(Event, frozen=True):
    strategy: str
    enabled: bool
    author: str


class StrategyLoaded(Event, frozen=True):
    """A strategy is made from the file with this SHA-256; `author` asked for it, empty where the
    file was found. Where it was `changed` it is off until a person switches it on."""

    strategy: str
    fingerprint: str
    changed: bool
    author: str = ""


class StrategyPaused(Event, frozen=True):
    strategy: str
    reason: str


class StrategyResumed(Event, frozen=True):
    """A new trading day: a strategy that was paused makes entries again."""

    strategy: str


class StrategyFailed(Event, frozen=True):
    """A strategy raised; it is off until the operator switches it on again."""

    strategy: str
    reason: str


# --- facts: orders and positions -----------------------------------------------------------------


class OrderEvent(Event, frozen=True):
    """An order moved; `order` is the order after the move."""

    order: Order


class OrderIntended(OrderEvent, frozen=True):
    """`held` is the strategy's position in the symbol when an order that closes it was made,
    signed; None for an entry."""

    held: Decimal | None = None


class OrderSubmitted(OrderEvent, frozen=True):
    pass


class OrderAccepted(OrderEvent, frozen=True):
    pass


class OrderPartiallyFilled(OrderEvent, frozen=True):
    fill: Fill


class OrderFilled(OrderEvent, frozen=True):
    fill: Fill


class OrderPendingCancel(OrderEvent, frozen=True):
    pass


class OrderPendingReplace(OrderEvent, frozen=True):
    pass


class OrderReplaced(OrderEvent, frozen=True):
    """The venue took the new terms; `order` has them."""


class OrderReplaceRejected(OrderEvent, frozen=True):
    """The new terms did not take; `order` has the former ones."""

    reason: str


class OrderCancelRejected(OrderEvent, frozen=True):
    """A cancel did not take: the order is open, and its cancel is asked for again."""

    reason: str


class OrderMarked(OrderEvent, frozen=True):
    """The operator said by hand how an order in doubt ended."""

    author: str


class OrderAdopted(OrderEvent, frozen=True):
    """An order at the venue that is not ours: external, shown, counted in exposure."""


class OrderCanceled(OrderEvent, frozen=True):
    pass


class OrderRejected(OrderEvent, frozen=True):
    pass


class OrderExpired(OrderEvent, frozen=True):
    pass


class OrderInDoubt(OrderEvent, frozen=True):
    """A submit got no answer; the order counts against limits until the venue says."""


class OrderOverdue(OrderEvent, frozen=True):
    """Where an order stands is not known for two minutes. Said once; it is asked about on."""


class OrderAbandoned(OrderEvent, frozen=True):
    """In doubt, looked for until the venue's visibility lag had passed, and not there."""


class DuplicateRefused(Event, frozen=True):
    """The same decision made an order before: this one never was."""

    order: Order


class LateFill(OrderEvent, frozen=True):
    """An execution of an order that was final already: the position counts it all the same."""

    fill: Fill


class FillQuarantined(Event, frozen=True):
    """An execution that makes no sense; the ledger is untouched."""

    fill: Fill
    reason: str


class PositionChanged(Event, frozen=True):
    """`cash` is that of the account of `fill`, after it."""

    position: Position
    fill: Fill
    cash: Decimal


class BracketChanged(Event, frozen=True):
    """A position got a target or a trailing stop, or its stop followed the price."""

    bracket: Bracket


class TargetReached(Event, frozen=True):
    """The price is at a position's `target`, which does not rest at its venue: it is closed."""

    strategy: str
    symbol: str
    target: Decimal
    price: Decimal


class PositionUnprotected(Event, frozen=True):
    """The venue refused what protects a position; `action` says what is done about it."""

    strategy: str
    symbol: str
    quantity: Decimal
    reason: str
    action: str


class PositionNotFlat(Event, frozen=True):
    """A position that is to be flattened is still there."""

    strategy: str
    symbol: str
    quantity: Decimal
    reason: str


class TradeReversed(Event, frozen=True):
    """The venue took `fill` back; `correction` is what it put in its place, None where nothing;
    `cash` that of the account, after it."""

    fill: Fill
    correction: Fill | None
    position: Position
    cash: Decimal
    reason: str


class CashAdjusted(Event, frozen=True):
    """Cash came or went without a trade, and `author` took it over from the broker; `cash` is that
    of the account after it. What it is `worth` in the base currency is neither gain nor loss: the
    equity of the day's start moves by it, and the high-water mark, which is `peak_equity` then."""

    adjustment: CashAdjustment
    cash: Decimal
    worth: Decimal
    peak_equity: float
    author: str


class PositionClosed(Event, frozen=True):
    round_trip: RoundTrip


class SettlementWarned(Event, frozen=True):
    """An order that closes a position, which is not held back, would violate settlement."""

    client_order_id: str
    symbol: str
    reason: str


class SettlementViolated(Event, frozen=True):
    """A cash account sold what was not paid for with settled money; `count` in 12 months."""

    violation: Violation
    count: int


class FintracFlagged(Event, frozen=True):
    """Virtual currency worth CA$10,000 or more, or of unknown worth: an internal flag."""

    report: FintracReport


class FintracUpdated(Event, frozen=True):
    """A report that was flagged before has another amount, rate or status. `report` has of its
    transactions those alone that are new or changed (`engine.core.fintrac.updated`)."""

    report: FintracReport


# --- facts: safety -------------------------------------------------------------------------------


class KillSwitchTriggered(Event, frozen=True):
    source: str
    reason: str
    author: str = ""
    action: KillAction = KillAction.CANCEL


class PartKilled(Event, frozen=True):
    """One strategy, symbol or broker is killed, or was killed again; `action` is what is done."""

    part: Part
    source: str
    reason: str
    author: str = ""
    action: KillAction = KillAction.CANCEL


class PartRearmed(Event, frozen=True):
    part: Part
    author: str


class KillSwitchRearmed(Event, frozen=True):
    author: str


class CircuitBreakerCounted(Event, frozen=True):
    """`failures` in a row of the `limit` at which it trips; 0 after a success."""

    failures: int
    limit: int
    reason: str


class CircuitBreakerTripped(Event, frozen=True):
    """Too many failures in a row, or orders too fast: no entry leaves until it is reset."""

    reason: str


class CircuitBreakerReset(Event, frozen=True):
    author: str


class LiveConfirmed(Event, frozen=True):
    """Orders may leave for the real accounts at `brokers`, until the session ends."""

    author: str
    brokers: tuple[str, ...]


class ConfigUsed(Event, frozen=True):
    """What this session runs with: the version of program, settings and strategies."""

    config: str


class AlertRaised(Event, frozen=True):
    """Something a person has to have read before live trading goes on; `name` says of what kind."""

    name: str
    text: str


class AlertsAcknowledged(Event, frozen=True):
    author: str
    names: tuple[str, ...]


class CommanderChanged(Event, frozen=True):
    author: str


class OperatorSilent(Event, frozen=True):
    """No sign of life for `silent` ns; at `limit` the dead-man's switch trips."""

    silent: int
    limit: int


class ClockOff(Event, frozen=True):
    """The computer's clock is `offset` (ns) ahead of the market's time, or is right again, at 0."""

    offset: int


class SymbolPaused(Event, frozen=True):
    """No entry is made in `symbol` until it is resumed (at `until`, 0 for by hand); no order at all
    where its venue `halted` it."""

    symbol: str
    reason: str
    until: int = 0
    halted: bool = False


class SymbolResumed(Event, frozen=True):
    """The pause is over; or, where it was `halted`, the halt."""

    symbol: str
    author: str = ""
    halted: bool = False


class LimitChanged(Event, frozen=True):
    """Values are text as in the settings; `setting` is what the settings have."""

    name: str
    before: str
    after: str
    loosened: bool
    author: str
    setting: str = ""


class Difference(Struct, frozen=True, gc=False):
    """Something on which the venue and the books do not agree. `kind` is order, fill, position or
    cash; `ours` and `theirs` are as text, empty where there is none."""

    kind: str
    symbol: str
    ours: str
    theirs: str
    what: str


class Reconciled(Event, frozen=True):
    """A broker's statement was compared with the books."""

    broker: str
    differences: tuple[Difference, ...]


class ReconcileFailed(Event, frozen=True):
    broker: str
    reason: str


class LawBroken(Event, frozen=True):
    """An invariant does not hold; the kill switch trips."""

    law: str
    reason: str


class CommandRefused(Event, frozen=True):
    """What was asked for was not done; `author` asked, empty where that was no person."""

    command: str
    reason: str
    author: str = ""

    @classmethod
    def of(cls, command: Command, reason: str) -> "CommandRefused":
        return cls(type(command).__name__, reason, clean(command.author))


class TradingDayStarted(Event, frozen=True):
    day: str
    equity: float


class StoreStatusChanged(Event, frozen=True):
    available: bool
    reason: str = ""


class BrokerStatusChanged(Event, frozen=True):
    broker: str
    connected: bool
    reason: str = ""
    live: bool = False
    account: str = ""


# --- effects -------------------------------------------------------------------------------------


class Effect(Struct, frozen=True, tag=True, gc=False):
    pass


class CommitIntent(Effect, frozen=True):
    """Make the intent durable, then answer IntentCommitted or IntentFailed."""

    order: Order


class SubmitOrder(Effect, frozen=True):
    """Send once, never again."""

    order: Order


class CancelOrder(Effect, frozen=True):
    order: Order


class ReplaceOrder(Effect, frozen=True):
    """Ask the venue to give `order` the terms."""

    order: Order
    terms: OrderTerms


class RequestStatement(Effect, frozen=True):
    """Ask a broker for an AccountStatement, with the executions since `since`; it answers with one,
    or with StatementFailed. Both repeat `asked_ts`, by which the answer is known."""

    broker: str
    asked_ts: int
    since: int


class QueryOrder(Effect, frozen=True):
    """Ask the venue for the order by its client order id."""

    order: Order


class SteerFeed(Effect, frozen=True):
    """As a ControlFeed command of `author` asks."""

    action: str
    speed: float
    author: str = ""


class Record(Effect, frozen=True):
    """A fact for the store, the log and the console."""

    fact: Event


Input = (
    QuoteUpdate
    | BarClosed
    | HistoryLoaded
    | FeedChanged
    | ClockTick
    | IntentCommitted
    | IntentFailed
    | StoreChanged
    | Restored
    | EngineStarted
    | RaiseAlert
    | EngineStopping
    | StrategyFileChanged
    | BrokerChanged
    | ExecutionReport
    | SubmitFailed
    | CancelRejected
    | ReplaceRejected
    | OrderNotFound
    | TradeBusted
    | StatementDue
    | AccountStatement
    | StatementFailed
    | HaltChanged
    | RatePublished
    | TripKillSwitch
    | KillFileChanged
    | RearmKillSwitch
    | KillPart
    | RearmPart
    | ToggleStrategy
    | ReloadStrategy
    | RequestMode
    | RequestCancel
    | RequestReplace
    | AskOrder
    | MarkOrder
    | AdjustCash
    | ResetCircuitBreaker
    | ChangeLimit
    | ConfirmLive
    | AcknowledgeAlerts
    | ResumeSymbol
    | SignOfLife
    | ControlFeed
    | ChangeCommander
)
