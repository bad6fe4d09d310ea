"""What Alpaca takes of the crypto that an account buys.

The fee of a buy is taken of what is bought, and that of a sale of the money
(https://docs.alpaca.markets/docs/crypto-fees). It is posted as an activity at the end of the day,
and no message of an execution has it; but what the account holds is smaller at once: what is
missing there is the fee.

A gap: where the account does not answer for long, as after a 429 that shuts it for a minute, an
execution is told without its fee, so that its stop is not late. The books then hold more by that
fee than the account. It is told as a difference, and the symbol is paused until a person has
looked.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import ZERO, Fill, Side

MOST = Decimal("0.01")
"""The largest part of a purchase that is believed to be its fee: Alpaca's own are a quarter of it.
Anything else that is missing somebody took, and is told as a difference."""
FEES_KEPT = 10_000

log = logging.getLogger(__name__)


class CryptoFees:
    """The fees of the executions in `symbols`, by what the account holds of each.

    `since` (ns UTC) is from when on executions are new, None before it has begun.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._symbols = frozenset(symbols)
        self._held: dict[str, Decimal] = {}
        self._applied: frozenset[str] = frozenset()
        self._fees: OrderedDict[str, Decimal] = OrderedDict()
        self.since: int | None = None

    def begin(self, held: Mapping[str, Decimal], since: int, applied: Iterable[str] = ()) -> None:
        """The account held so much after the executions before `since` and those in `applied`."""
        self._held = {symbol: held.get(symbol, ZERO) for symbol in self._symbols}
        self._applied, self.since = frozenset(applied), since

    def new(self, fills: Iterable[Fill]) -> dict[str, list[Fill]]:
        """The executions of which the fee is to be found out, by their symbols."""
        found: dict[str, list[Fill]] = {}
        for fill in fills:
            is_old = fill.execution_id in self._fees or fill.execution_id in self._applied
            if fill.symbol in self._symbols and fill.ts >= (self.since or 0) and not is_old:
                found.setdefault(fill.symbol, []).append(fill)
        return found

    def missing(self, fills: Sequence[Fill], held: Decimal | None) -> Decimal | None:
        """What the new executions of a symbol cost of it, where the account holds `held` after
        them; None where that cannot be told from it."""
        before = self._held.get(fills[0].symbol)
        if before is None or held is None:
            return None
        missing = before + sum((f.side.sign * f.quantity for f in fills), ZERO) - held
        return missing if 0 <= missing <= MOST * _bought(fills) else None

    def take(self, fills: Sequence[Fill], held: Decimal | None) -> None:
        """Remember the fees of the new executions of a symbol. Several buys share what is missing
        by their quantities."""
        left = self.missing(fills, held)
        if left is None:
            log.warning("what alpaca holds of %s tells no fee: %s", fills[0].symbol, held)
            left = ZERO
        of = _bought(fills)
        for fill in fills:
            fee = ZERO
            if fill.side is Side.BUY:
                fee = left if fill.quantity == of else left * fill.quantity / of
                left, of = left - fee, of - fill.quantity
            self._fees[fill.execution_id] = fee
            if len(self._fees) > FEES_KEPT:
                self._fees.popitem(last=False)
        self.holds(fills[0].symbol, held)

    def holds(self, symbol: str, held: Decimal | None) -> None:
        """The account holds so much of it now; None where that was not told."""
        if held is None:
            self._held.pop(symbol, None)
        elif symbol in self._symbols:
            self._held[symbol] = held

    def with_fee(self, fill: Fill) -> Fill:
        """The execution, with its fee where that was found out."""
        fee = self._fees.get(fill.execution_id, ZERO)
        return replace(fill, commission_quantity=fee) if fee else fill


def _bought(fills: Iterable[Fill]) -> Decimal:
    return sum((fill.quantity for fill in fills if fill.side is Side.BUY), ZERO)
