"""What Alpaca takes of the crypto that an account buys.

The fee of a buy is taken of what is bought, and that of a sale of the money
(https://docs.alpaca.markets/docs/crypto-fees). It is posted as an activity at the end of the day,
and no message of an execution has it; but what the account holds is smaller at once: what is
missing there is the fee.

Where the account does not answer, as after a 429 that shuts it for a minute, an execution is told
without its fee, so that its stop is not late. It stays open here, and what the account held before
it is kept: the next answer tells the fees of all that is open, and what was told without one is
corrected. A restart forgets which those were: then every purchase of the last days that the books
have without a fee is open again. What somebody withdrew while the engine was off is told as a
difference, unless it is as little as such a fee.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Decimal

from msgspec.structs import replace

from engine.core.events import Restored
from engine.core.model import ZERO, Fill, Side
from engine.core.newest import Newest

MOST = Decimal("0.01")
"""The largest part of a purchase that is believed to be its fee: Alpaca's own are a quarter of it.
Anything else that is missing somebody took, and is told as a difference."""
STEP = Decimal("1e-9")
"""The smallest part of a coin that Alpaca counts."""
FEES_KEPT = 10_000
CORRECTED = ":with-fee"
"""How the id of an execution ends whose fee became known after it was told."""

log = logging.getLogger(__name__)


class CryptoFees:
    """The fees of the executions in `symbols`, by what the account holds of each.

    `open` are the executions whose fee is not known yet, by symbol and id. Those of them that were
    told already are in `found` once it is known, with their fees. `since` (ns UTC) is from when on
    executions are new, None before it has begun.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._symbols = frozenset(symbols)
        self._before: dict[str, Decimal] = {}
        self._applied: frozenset[str] = frozenset()
        self._fees: Newest[str, Decimal] = Newest(FEES_KEPT)
        self._told: set[str] = set()
        self._corrected: set[str] = set()
        self._misfits: dict[str, Decimal] = {}
        self.open: dict[str, dict[str, Fill]] = {}
        self.found: deque[Fill] = deque()
        self.since: int | None = None

    def begin(self, held: Mapping[str, Decimal], since: int) -> None:
        """The account held so much after the executions before `since`."""
        self._before = {symbol: held.get(symbol, ZERO) for symbol in self._symbols}
        self.since = since

    def restore(self, restored: Restored) -> None:
        """Begin with the books."""
        held: dict[str, Decimal] = {}
        for position in restored.positions:
            held[position.symbol] = held.get(position.symbol, ZERO) + position.quantity
        self.begin(held, 0)
        for fill in restored.fills:
            is_bought = fill.side is Side.BUY and not fill.is_opening
            if fill.symbol in self._symbols and is_bought and not fill.commission_quantity:
                self._open(fill)
                self._told.add(fill.execution_id)
                self._before[fill.symbol] -= fill.quantity
        self._applied = frozenset(restored.execution_ids)

    def note(self, fills: Iterable[Fill]) -> None:
        """These were executed: those that are new are open from now on."""
        for fill in fills:
            is_old = fill.execution_id in self._fees or fill.execution_id in self._applied
            if fill.symbol in self._symbols and fill.ts >= (self.since or 0) and not is_old:
                self._open(fill)

    def _open(self, fill: Fill) -> None:
        self.open.setdefault(fill.symbol, {})[fill.execution_id] = fill

    def is_open(self, fill: Fill) -> bool:
        return fill.execution_id in self.open.get(fill.symbol, ())

    @property
    def open_since(self) -> int:
        """When the first of the open ones was executed (ns UTC)."""
        return min(fill.ts for fills in self.open.values() for fill in fills.values())

    def hear(self, fill: Fill, held: Decimal | None) -> None:
        """An update has an execution, after which the account holds `held`. Whether the fee is
        taken of that already is written nowhere, so it counts where it tells one; and where nothing
        else is open, which it may have left out or counted."""
        if held is None or len(self.open[fill.symbol]) > 1:
            return
        missing = self._missing(fill.symbol, held)
        if missing or fill.side is Side.SELL:
            self._settle_if_fee(fill.symbol, missing, held)

    def look(self, held: Mapping[str, Decimal]) -> None:
        """The account holds so much after all that is open. Something may have been executed
        between both answers: what is missing is no fee where it is the same twice."""
        for symbol in list(self.open):
            holds = held.get(symbol, ZERO)
            missing = self._missing(symbol, holds)
            if self._settle_if_fee(symbol, missing, holds):
                continue
            if missing is None or missing == self._misfits.get(symbol):
                log.warning("what alpaca holds of %s tells no fee: %s", symbol, holds)
                self._settle(symbol, ZERO, holds)
            else:
                self._misfits[symbol] = missing

    def _missing(self, symbol: str, held: Decimal) -> Decimal | None:
        """None where it is not known what the account had before."""
        before = self._before.get(symbol)
        if before is None:
            return None
        executed = self.open[symbol].values()
        return before + sum((f.side.sign * f.quantity for f in executed), ZERO) - held

    def _settle_if_fee(self, symbol: str, missing: Decimal | None, held: Decimal) -> bool:
        is_fee = missing is not None and 0 <= missing <= MOST * _bought(self.open[symbol].values())
        if missing is not None and is_fee:
            self._settle(symbol, missing, held)
        return is_fee

    def _settle(self, symbol: str, fee: Decimal, held: Decimal) -> None:
        """What is open of a symbol cost `fee` of it. Several buys share it by their quantities."""
        fills = self.open.pop(symbol).values()
        left, of = fee, _bought(fills)
        for fill in fills:
            own = ZERO
            if fill.side is Side.BUY:
                share = (left * fill.quantity / of).quantize(STEP, ROUND_DOWN)
                own = left if fill.quantity == of else share
                left, of = left - own, of - fill.quantity
            self._keep(fill, own)
        self._misfits.pop(symbol, None)
        self._before[symbol] = held

    def _keep(self, fill: Fill, fee: Decimal) -> None:
        key = fill.execution_id
        self._fees[key] = fee
        if fee and key in self._told:
            self._corrected.add(key)
            self.found.append(self.with_fee(fill))
        self._told.discard(key)

    def holds(self, symbol: str, held: Decimal | None) -> None:
        """The account holds so much of it now, an execution being taken back or corrected; None
        where that was not told. What is open cannot be told from it."""
        if held is None or symbol in self.open:
            self._before.pop(symbol, None)
        elif symbol in self._symbols:
            self._before[symbol] = held

    def with_fee(self, fill: Fill) -> Fill:
        """The execution as it is told now: with its fee where that is known."""
        if self.is_open(fill):
            self._told.add(fill.execution_id)
        fee = self._fees.get(fill.execution_id, ZERO)
        return replace(fill, commission_quantity=fee) if fee else fill

    def booked(self, execution_id: str) -> str:
        """Under which id the books have an execution."""
        return execution_id + CORRECTED if execution_id in self._corrected else execution_id


def _bought(fills: Iterable[Fill]) -> Decimal:
    return sum((fill.quantity for fill in fills if fill.side is Side.BUY), ZERO)
