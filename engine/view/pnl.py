"""P&L by strategy, of the ledger as it is now."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from engine.core.accounts import ONE
from engine.core.model import ZERO, Position
from engine.core.portfolio import Portfolio
from engine.view.snapshot import PnlRow, PositionRow


def by_strategy(
    portfolio: Portfolio,
    held: Sequence[PositionRow],
    strategies: Iterable[str],
    entries: Mapping[str, int],
) -> tuple[PnlRow, ...]:
    """A row for each of `strategies`, and for whoever else ever had a position; `held` is what is
    held, `entries` the orders that each made today to open a position."""
    positions: dict[str, list[Position]] = {name: [] for name in strategies}
    for position in portfolio.positions.values():
        positions.setdefault(position.strategy, []).append(position)
    rows: dict[str, list[PositionRow]] = {name: [] for name in positions}
    for row in held:
        rows[row.position.strategy].append(row)
    return tuple(
        _row(portfolio, name, own, rows[name], entries.get(name, 0))
        for name, own in positions.items()
    )


def _row(
    portfolio: Portfolio,
    strategy: str,
    positions: Sequence[Position],
    held: Sequence[PositionRow],
    entries: int,
) -> PnlRow:
    return PnlRow(
        strategy,
        _total((p.realised_pnl, portfolio.worth(p.symbol)) for p in positions),
        _total((row.unrealised_pnl, ONE) for row in held),
        _total((p.commission, portfolio.worth(p.symbol)) for p in positions),
        sum(not row.dust for row in held),
        entries,
    )


def _total(amounts: Iterable[tuple[Decimal | None, Decimal | None]]) -> Decimal | None:
    """The sum of amounts, each times what it is worth; None where one of these is."""
    total = ZERO
    for amount, worth in amounts:
        if amount is None or worth is None:
            return None
        total += amount * worth
    return total
