"""How orders are worked: the settings of the desk, as values."""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from engine.core.model import NANOS, ZERO, OrderType, TimeInForce

SLIPPAGE_ALLOWANCE = Decimal("0.005")
"""A market order counts against limits at a price this much worse than the touch."""


class EntryTimeout(StrEnum):
    """What becomes of a limit entry whose time is over: it follows the touch, or is cancelled."""

    CHASE = "chase"
    GIVE_UP = "give_up"


class PartialRemainder(StrEnum):
    """What becomes of the rest of an entry that was filled in part when its time is over."""

    CANCEL = "cancel"
    KEEP = "keep"


class StrategyOff(StrEnum):
    """What becomes of a strategy's orders and positions when it is switched off, or fails."""

    CANCEL_ENTRIES = "cancel_entries"
    KEEP = "keep"
    FLATTEN = "flatten"


class StopRefused(StrEnum):
    """What is done where a venue refuses the protective stop: close the position, or only say so
    and ask again later."""

    EXIT = "exit"
    ALERT = "alert"


class SymbolHalted(StrEnum):
    """What becomes of the open orders in a symbol whose trading is halted."""

    KEEP = "keep"
    CANCEL_ENTRIES = "cancel_entries"
    CANCEL = "cancel"


class ExecutionRules(Struct, frozen=True):
    """How entries, exits and open orders are worked.

    A limit entry is placed at the ask and `entry_offset_bps` above it (below, where negative). It
    is looked at every `entry_timeout` ns; under `chase` it follows the ask, `entry_max_chases`
    times at most and never further than `entry_max_chase_bps` above the first one: the price at
    which it is sized, and counts against limits, from the start.
    """

    entry_order_type: OrderType = OrderType.LIMIT
    entry_offset_bps: Decimal = ZERO
    entry_timeout: int = 60 * NANOS
    entry_on_timeout: EntryTimeout = EntryTimeout.CHASE
    entry_max_chases: int = 3
    entry_max_chase_bps: Decimal = Decimal(50)
    entry_time_in_force: TimeInForce = TimeInForce.GTC
    partial_remainder: PartialRemainder = PartialRemainder.CANCEL
    exit_order_type: OrderType = OrderType.MARKET
    on_strategy_off: StrategyOff = StrategyOff.CANCEL_ENTRIES
    on_stop_refused: StopRefused = StopRefused.EXIT
    on_halt: SymbolHalted = SymbolHalted.CANCEL_ENTRIES
    flatten_at_open: bool = False
