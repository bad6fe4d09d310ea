"""Values: what the engine, the store and the console all speak of.

Prices and quantities of orders, fills, positions and cash are `Decimal`; market data is float64.
Times (`ts`) are integer nanoseconds since the Unix epoch, UTC. All values are immutable: a change
makes a new value, so a snapshot may share them with the console's thread. None can hold what holds
it, so Python's garbage collector need not look at them (`gc=False`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, DefaultContext, getcontext
from enum import StrEnum
from math import inf

from msgspec import Struct

NANOS = 1_000_000_000
MINUTE = 60 * NANOS
DAY = 86_400 * NANOS
HUNDRED = Decimal(100)
BASIS_POINT = Decimal("0.0001")
ZERO = Decimal(0)
EXTERNAL = "external"
"""The strategy of what others did at the venue: its orders, fills and positions."""
WIDEST_SPREAD = 1.1
"""The largest ask, as a multiple of the bid, between which a price can be told."""

# A quantity of 18 decimals times a price of 8, summed over a session, stays exact: in this thread
# and in every one that starts later.
DefaultContext.prec = getcontext().prec = 60


def utc(ts: int) -> datetime:
    """The UTC time of `ts`, cut to microseconds."""
    seconds, nanos = divmod(ts, NANOS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)


def nanos(moment: datetime) -> int:
    """Integer nanoseconds of a time-zone-aware `moment`.

    Raises ValueError for a naive datetime: its instant is not known.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NANOS + delta.microseconds * 1000


class Mode(StrEnum):
    """Where orders go: to the simulated exchange or to a real account."""

    PAPER = "paper"
    LIVE = "live"


class AssetClass(StrEnum):
    STOCK = "stock"
    CRYPTO = "crypto"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """What an order is; UNKNOWN is one of somebody else's that is none of these: it is not sent."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"
    UNKNOWN = "unknown"


class TimeInForce(StrEnum):
    """How long an order works: to the end of the session, until cancelled, at once or not at all
    (in part or whole). UNKNOWN, that of somebody else's order, is none of these."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    UNKNOWN = "unknown"


ORDER_TYPES = tuple(kind for kind in OrderType if kind is not OrderType.UNKNOWN)
TIMES_IN_FORCE = tuple(kind for kind in TimeInForce if kind is not TimeInForce.UNKNOWN)
"""What an order of ours may have, where its venue takes it."""


class OrderState(StrEnum):
    """The states of an order; `engine.core.orders` holds the graph of allowed moves."""

    INTENDED = "intended"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    IN_DOUBT = "in_doubt"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABANDONED = "abandoned"


FINAL_STATES = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.ABANDONED,
    }
)
AT_VENUE = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.PENDING_REPLACE})
"""States in which an order rests at its venue, and is not about to go."""


class OrderPurpose(StrEnum):
    """Why an order exists: to open a position, to close it by signal, to protect it, to take its
    profit; or it was made at the venue by somebody else."""

    ENTRY = "entry"
    EXIT = "exit"
    PROTECTIVE_STOP = "protective_stop"
    TAKE_PROFIT = "take_profit"
    EXTERNAL = "external"


class KillAction(StrEnum):
    """What the kill switch does besides letting no order leave: nothing; cancel every open order;
    cancel all but the protective stops; cancel every order and close every position."""

    STOP = "stop"
    CANCEL = "cancel"
    KEEP_STOPS = "keep_stops"
    FLATTEN = "flatten"


class Scope(StrEnum):
    """What a part of the trading is named by."""

    STRATEGY = "strategy"
    SYMBOL = "symbol"
    BROKER = "broker"


class Part(Struct, frozen=True, gc=False):
    """A part of the trading that can be killed by itself: one strategy, one symbol, or one broker,
    by its `name`."""

    scope: Scope
    name: str

    def __str__(self) -> str:
        return f"{self.scope} {self.name}"


class StopAction(StrEnum):
    """What becomes of open orders when the engine stops in order: they all stay; entries are
    cancelled, and what protects or closes a position stays; all are cancelled. What others made at
    a venue stays in any case."""

    KEEP = "keep"
    CANCEL_ENTRIES = "cancel_entries"
    CANCEL_ALL = "cancel_all"


class AccountType(StrEnum):
    """A margin account is lent the money of its sales until it settles; a cash account is not."""

    MARGIN = "margin"
    CASH = "cash"


class DayTradeRule(StrEnum):
    """`auto` is by date, and on where the broker says that it still holds the account to it."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class SizingMethod(StrEnum):
    """How the size of an entry is found."""

    FIXED_QUANTITY = "fixed_quantity"
    FIXED_NOTIONAL = "fixed_notional"
    FIXED_FRACTION = "fixed_fraction"
    PERCENT_RISK = "percent_risk"
    KELLY = "kelly"
    TARGET_UTILITY = "target_utility"
    HYBRID = "hybrid"


class FintracRule(StrEnum):
    """Why virtual currency is reported: one transaction reached the threshold, or those of a
    24-hour window did together."""

    SINGLE = "single"
    DAY = "24_hours"


class FintracStatus(StrEnum):
    """`incomplete` lacks a rate; `below` turned out to be under the threshold; `corrected` was
    replaced by a later report, which names it."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    BELOW = "below"
    CORRECTED = "corrected"


class Liquidity(StrEnum):
    """Whether an execution added liquidity, its order resting at its limit, or took it (FIX 851,
    LastLiquidityInd)."""

    MAKER = "maker"
    TAKER = "taker"
    UNKNOWN = "unknown"


class Idempotency(StrEnum):
    """For how long a venue refuses a client order id that it has had: for ever, while the order is
    open, or not at all. Only the first makes it safe to send an order again."""

    FOREVER = "forever"
    OPEN_ONLY = "open_only"
    NONE = "none"


class Capabilities(Struct, frozen=True):
    """What a venue can do. The defaults are the least: what is not known is not counted on.

    `visibility_lag` (nanoseconds) is how long an order that it has may be missing in its answers.
    `by_class` has all that it can do with the asset classes with which that is something else.
    """

    order_types: tuple[OrderType, ...] = (OrderType.MARKET, OrderType.LIMIT)
    times_in_force: tuple[TimeInForce, ...] = (TimeInForce.GTC,)
    replace: bool = False
    oco: bool = False
    extended_hours: bool = False
    fractional: bool = False
    short: bool = False
    client_order_ids: bool = False
    idempotency: Idempotency = Idempotency.NONE
    visibility_lag: int = 0
    by_class: "Mapping[AssetClass, Capabilities]" = {}

    def of(self, asset_class: AssetClass) -> "Capabilities":
        """What it can do with instruments of `asset_class`."""
        return self.by_class.get(asset_class, self)


class Instrument(Struct, frozen=True):
    """What can be traded, and in which steps.

    `tick` is the price step, `lot` the quantity step, `min_notional` the smallest order value, and
    `min_quantity` the smallest quantity of an order where that is more than a lot. `price_scale` of
    the console's columns follows from `tick`. `venue` names the broker that its orders go to, and
    the account there that pays for them: an account has one `currency`. `calendar` names the
    sessions in which it trades (of exchange_calendars, such as XNYS; 24/7 never closes). With
    `commission_in_base` its venue takes the commission of a buy from what is bought (the base
    currency of a pair), and that of a sale from the money.
    """

    symbol: str
    asset_class: AssetClass
    tick: Decimal
    lot: Decimal
    currency: str = "USD"
    min_notional: Decimal = ZERO
    shortable: bool = False
    venue: str = "paper"
    calendar: str = "24/7"
    commission_in_base: bool = False
    min_quantity: Decimal = ZERO

    def is_too_small(self, quantity: Decimal, price: Decimal | None) -> bool:
        """Whether `quantity` is less than the smallest order; where no `price` is known, by itself
        alone."""
        if quantity < self.lot or quantity < self.min_quantity:
            return True
        return price is not None and quantity * price < self.min_notional

    def price(self, value: float | Decimal) -> Decimal:
        """`value` on the nearest tick."""
        return self._step(value, self.tick, ROUND_HALF_EVEN)

    def quantity(self, value: float | Decimal) -> Decimal:
        """`value` rounded down to the lot: toward less risk."""
        return self._step(value, self.lot, ROUND_DOWN)

    @staticmethod
    def _step(value: float | Decimal, step: Decimal, rounding: str) -> Decimal:
        exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
        return (exact / step).quantize(Decimal(1), rounding) * step


class Quote(Struct, frozen=True, gc=False):
    """Best bid and ask of a symbol; sizes in units of the symbol."""

    symbol: str
    ts: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / 2

    @property
    def is_sound(self) -> bool:
        """False for a missing, non-finite, non-positive or crossed price: then it is no quote."""
        return 0 < self.bid <= self.ask < inf

    @property
    def is_stub(self) -> bool:
        """Whether the spread is so wide that the mid is no price: a market maker's placeholder."""
        return self.ask > self.bid * WIDEST_SPREAD


class Bar(Struct, frozen=True, gc=False):
    """Prices of one interval. `ts` is its close, when it becomes known, `interval` its length."""

    symbol: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    interval: int = MINUTE

    @property
    def start(self) -> int:
        return self.ts - self.interval

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from any other bar; one that the venue corrected has the same."""
        return self.symbol, self.interval, self.ts

    @property
    def is_sound(self) -> bool:
        """False where a price is not finite and positive, or the range does not hold the prices."""
        low, high = self.low, self.high  # NaN fails every comparison
        return (
            0 < low <= self.open <= high < inf
            and low <= self.close <= high
            and 0 <= self.volume < inf
        )


class Signal(Struct, frozen=True, gc=False):
    """What a strategy wants: to be long (`buy`) or out (`sell`).

    `strength` is in [0, 1]; `indicators` are the values that it rests on; `stop_price` is the
    strategy's own stop-loss, `take_profit` its target price, `trail` the distance (in price) at
    which its stop follows the best price; None for the defaults of the risk settings. `sizing` is
    how its entry is to be sized, written as the setting SIZING is; empty for that setting.
    """

    strategy: str
    symbol: str
    side: Side
    ts: int
    price: float
    strength: float = 1.0
    indicators: dict[str, float] = {}
    stop_price: float | None = None
    reason: str = ""
    take_profit: float | None = None
    trail: float | None = None
    sizing: str = ""


class OrderTerms(Struct, frozen=True, gc=False):
    """What a replace may change of an order (FIX 35=G); `quantity` is the order's whole one."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class Order(Struct, frozen=True, gc=False):
    """An order and all that is known of it.

    `filled` is FIX CumQty, `avg_price` AvgPx, `leaves` LeavesQty. `reference_price` is the price at
    which the order counts against limits while it is open. `stop_loss`, `take_profit` and `trail`
    say how an entry's position is to be protected; `trail` of a trailing stop itself is its
    distance in price. Of the orders with the same `oco_group` one at most is to fill. `pending_...`
    are the terms that a pending replace asked for. `cause` is the sequence number of the event that
    it came from.
    """

    client_order_id: str
    strategy: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    purpose: OrderPurpose
    created_ts: int
    updated_ts: int
    reference_price: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    state: OrderState = OrderState.INTENDED
    filled: Decimal = ZERO
    avg_price: Decimal | None = None
    venue_order_id: str = ""
    stop_loss: Decimal | None = None
    reason: str = ""
    cause: int = 0
    take_profit: Decimal | None = None
    trail: Decimal | None = None
    oco_group: str = ""
    pending_quantity: Decimal | None = None
    pending_limit_price: Decimal | None = None
    pending_stop_price: Decimal | None = None

    @property
    def leaves(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def terms(self) -> OrderTerms:
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)

    @property
    def worst_leaves(self) -> Decimal:
        """What may still fill, whatever becomes of a replace that is under way."""
        return max(self.quantity, self.pending_quantity or ZERO) - self.filled

    @property
    def worst_notional(self) -> Decimal:
        """The value of what may still fill, at the worst price that it can have."""
        pending = (self.pending_limit_price or ZERO, self.pending_stop_price or ZERO)
        return self.worst_leaves * max(self.reference_price, *pending)

    @property
    def pending_terms(self) -> OrderTerms | None:
        """What a replace that is under way asked for; None where there is none."""
        if self.pending_quantity is None:
            return None
        return OrderTerms(self.pending_quantity, self.pending_limit_price, self.pending_stop_price)

    @property
    def may_grow(self) -> bool:
        """Whether a replace that is under way may have made the order larger."""
        return self.pending_quantity is not None and self.pending_quantity > self.quantity

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_open(self) -> bool:
        return self.state not in FINAL_STATES


def is_cancelled_by(action: KillAction, order: Order) -> bool:
    """Whether a kill switch that does `action` asks for the cancel of `order`. What closes a
    position already is let be by one that closes them all."""
    match action:
        case KillAction.STOP:
            return False
        case KillAction.KEEP_STOPS:
            return order.purpose is not OrderPurpose.PROTECTIVE_STOP
        case KillAction.CANCEL:
            return True
        case KillAction.FLATTEN:
            return order.purpose is not OrderPurpose.EXIT


OPENING = ":opening"
"""How the id of an entry ends that stands for what an account held when it was opened here."""


class Fill(Struct, frozen=True, gc=False):
    """One execution. `execution_id` is the venue's and is applied exactly once.

    `commission` is in the instrument's currency, positive when paid; `commission_quantity` is the
    part that the venue took in the instrument itself, as a quantity of it: of one bitcoin bought
    and 0.001 taken, 0.999 is held. `venue` is that of the account whose cash it changes; it and
    `strategy` are ours to say. `liquidity` is unknown where the venue does not tell.
    """

    execution_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    ts: int
    strategy: str = ""
    venue_order_id: str = ""
    commission_quantity: Decimal = ZERO
    venue: str = ""
    liquidity: Liquidity = Liquidity.UNKNOWN

    @property
    def is_opening(self) -> bool:
        """Whether it is none of a venue's, but stands for what the account held at its opening."""
        return self.execution_id.endswith(OPENING)

    @property
    def cash_change(self) -> Decimal:
        """What the fill adds to the cash of its account: negative for a buy."""
        return -self.side.sign * self.quantity * self.price - self.commission

    @property
    def position_change(self) -> Decimal:
        """What the fill adds to what is held: negative for a sale."""
        return self.side.sign * self.quantity - self.commission_quantity

    @property
    def total_commission(self) -> Decimal:
        """All of it in the instrument's currency: what was taken in the instrument itself is worth
        the price of the trade."""
        if not self.commission_quantity:
            return self.commission
        return self.commission + self.commission_quantity * self.price


class CashAdjustment(Struct, frozen=True, gc=False):
    """An entry in the ledger that no execution made: a deposit or withdrawal, a dividend, interest,
    a fee. `amount` is what the account at `venue` has more, in its currency, from `ts` (ns UTC) on.
    """

    venue: str
    amount: Decimal
    ts: int


class Position(Struct, frozen=True, gc=False):
    """A strategy's holding of a symbol. `quantity` is signed; `cost` is its signed cost basis.

    `realised_pnl` (before commissions) and `commission` are sums over the position's whole life;
    the `trip` fields are of the round trip that is open, `opened_quantity` and `opened_notional`
    what was bought (or sold short) in it. A round trip ends where less than a lot is left; what is
    left begins the next one, which has no `opened_ts` before it is opened. A flat position keeps
    its last `stop_price`: it counts again where the venue takes back the execution that closed it.
    """

    strategy: str
    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    commission: Decimal = ZERO
    opened_ts: int = 0
    stop_price: Decimal | None = None
    opened_quantity: Decimal = ZERO
    opened_notional: Decimal = ZERO
    trip_pnl: Decimal = ZERO
    trip_commission: Decimal = ZERO

    @property
    def avg_price(self) -> Decimal | None:
        return self.cost / self.quantity if self.quantity else None

    def unrealised_pnl(self, mark_price: Decimal) -> Decimal:
        return self.quantity * mark_price - self.cost


class Book(Struct, frozen=True):
    """What a strategy sees of the accounts: its own open `positions` by symbol, without dust, all
    `cash`, and the `equity`, both in the base currency; None while a held symbol has no price, or a
    currency no rate."""

    cash: Decimal | None = ZERO
    equity: Decimal | None = None
    positions: dict[str, Position] = {}

    def quantity(self, symbol: str) -> Decimal:
        """How much of `symbol` the strategy holds."""
        position = self.positions.get(symbol)
        return ZERO if position is None else position.quantity


class RoundTrip(Struct, frozen=True, gc=False):
    """A position from flat to flat, or to less than a lot. `pnl` is after commissions."""

    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    entry_ts: int
    exit_ts: int
    pnl: Decimal
    commission: Decimal


class Violation(Struct, frozen=True, gc=False):
    """A cash account sold what it had not paid for with settled money. `kind` is good_faith, or
    free_riding where it had not the money at all."""

    kind: str
    client_order_id: str
    symbol: str
    ts: int


class FintracTransaction(Struct, frozen=True, gc=False):
    """All executions of one order for virtual currency, from `first_ts` to `last_ts`.

    `amount` is quantity times price in `currency`, without commission. `rate` is in Canadian
    dollars a unit, as `rate_source` said at `rate_ts`; None while no rate is known.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    amount: Decimal
    currency: str
    first_ts: int
    last_ts: int
    rate: Decimal | None = None
    rate_source: str = ""
    rate_ts: int = 0

    @property
    def amount_cad(self) -> Decimal | None:
        return None if self.rate is None else self.amount * self.rate


class FintracReport(Struct, frozen=True, gc=False):
    """An internal flag: what FINTRAC would be told of, were the account a reporting entity's.

    `amount_cad` is the sum of the transactions, None while one of them has no rate. `start_ts` and
    `end_ts` are those of the transaction, or of the window. `corrects` names the report that this
    one replaces. It is no legal advice.
    """

    report_id: str
    rule: FintracRule
    status: FintracStatus
    conductor: str
    start_ts: int
    end_ts: int
    flagged_ts: int
    amount_cad: Decimal | None
    transactions: tuple[FintracTransaction, ...]
    corrects: str = ""
