"""The ledger against its executions: cash, positions and orders are what their fills make them."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, localcontext

from engine.core.average_cost import REVERSED, reversing
from engine.core.events import PositionChanged, TradeReversed
from engine.core.model import ZERO, CashAdjustment, Fill, Order, Position

_EXACT_DIGITS = 100
_ROUNDING = Decimal("1e-12")  # a cost that was released in part is a rounded quotient


def cash(
    opening: Mapping[str, Decimal],
    fills: Iterable[Fill],
    adjustments: Iterable[CashAdjustment],
) -> dict[str, Decimal]:
    """`opening` of each account, by its venue, and what all its `fills` and `adjustments` add to
    it: exact, whatever the number of digits. An account that was never opened began with nothing.
    """
    totals = dict(opening)
    with localcontext(prec=_EXACT_DIGITS):
        for fill in fills:
            totals[fill.venue] = totals.get(fill.venue, ZERO) + fill.cash_change
        for adjustment in adjustments:
            totals[adjustment.venue] = totals.get(adjustment.venue, ZERO) + adjustment.amount
    return totals


def entries_of(change: PositionChanged | TradeReversed) -> list[Fill]:
    """What a change adds to the ledger; nothing is ever taken out of it."""
    if isinstance(change, PositionChanged):
        return [change.fill]
    entries = [reversing(change.fill)]
    return entries if change.correction is None else [*entries, change.correction]


def standing(fills: Iterable[Fill]) -> list[Fill]:
    """Those that the venue did not take back, without the entries that reverse those it did."""
    fills = list(fills)
    gone = {fill.execution_id for fill in fills if fill.execution_id.endswith(REVERSED)}
    gone |= {key.removesuffix(REVERSED) for key in gone}
    return [fill for fill in fills if fill.execution_id not in gone]


def position_differences(positions: Iterable[Position], fills: Iterable[Fill]) -> list[str]:
    """Where a position's quantity, commission or money is not what its executions make it."""
    held = {(p.strategy, p.symbol): p for p in positions}
    executions: dict[tuple[str, str], list[Fill]] = {key: [] for key in held}
    for fill in fills:
        executions.setdefault((fill.strategy, fill.symbol), []).append(fill)
    differences: list[str] = []
    for key, own in sorted(executions.items()):
        differences += _differences(held.get(key) or Position(*key), own)
    return differences


def _differences(position: Position, fills: Sequence[Fill]) -> list[str]:
    """What the executions brought in cash is what was realised, less what is still invested, up to
    rounding."""
    with localcontext(prec=_EXACT_DIGITS):
        quantity = sum((fill.position_change for fill in fills), ZERO)
        commission = sum((fill.total_commission for fill in fills), ZERO)
        gain = position.realised_pnl - position.cost - position.commission
        numbers = (
            ("quantity", position.quantity, quantity, ZERO),
            ("commission", position.commission, commission, ZERO),
            ("realised less invested", gain, sum(f.cash_change for f in fills), _ROUNDING),
        )
        return [
            f"position {position.strategy} {position.symbol}: {name} is {is_:f}, "
            f"its executions make it {should:f}"
            for name, is_, should, tolerance in numbers
            if abs(is_ - should) > tolerance
        ]


def order_differences(orders: Iterable[Order], fills: Iterable[Fill]) -> list[str]:
    """Where an order's filled quantity is not what its executions make it, and executions whose
    order is not known. An order keeps what was filled of it before the venue took some back."""
    fills = list(fills)
    restated = {f.client_order_id for f in fills if f.execution_id.endswith(REVERSED)}
    executed: dict[str, Decimal] = {}
    with localcontext(prec=_EXACT_DIGITS):
        for fill in fills:
            if fill.client_order_id in restated:
                continue
            key = fill.client_order_id
            executed[key] = executed.get(key, ZERO) + fill.quantity
    differences: list[str] = []
    for order in orders:
        if order.client_order_id in restated:
            continue
        quantity = executed.pop(order.client_order_id, ZERO)
        if order.filled != quantity:
            differences.append(
                f"order {order.client_order_id}: filled is {order.filled:f}, "
                f"its executions make it {quantity:f}"
            )
    return differences + [
        f"order {client_order_id} has executions and no intent"
        for client_order_id in sorted(executed)
    ]
