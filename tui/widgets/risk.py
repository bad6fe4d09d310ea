"""The risk panel: how much of every limit is used."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.message import Message

from engine.view.snapshot import LimitRow
from tui import commands, format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

BAR = 8
COUNTED = ("", "/s")
"""The units of limits that rest on no price."""

LOSSES = ("daily_loss", "daily_loss_pct", "drawdown")
"""The limits that trip the kill switch, which come first wherever they stand."""

SHORT = {
    "position_size": "size",
    "position_notional": "notional",
    "open_positions": "positions",
    "venue_buying_power": "buying power",
    "trades_per_day": "trades",
    "consecutive_losses": "losses",
    "repeated_orders": "repeats",
}
"""Names that leave room for what they are of."""


class Risk(LineTable[LimitRow]):
    """Every limit as used/limit, as a bar and in per cent. The losses come first: positions, which
    are as large as they may be, would hide them. Then comes what is near its limit, the account's
    own limits before those of strategies and positions, those of one order last."""

    BINDINGS: ClassVar = commands.bindings("risk")
    columns = (
        Column("limit", 15, most=15, grows=True, stays=True),
        Column("", 9, "/"),
        Column("", BAR, rank=2),
        Column("", 4, ">", rank=1),
    )
    header = False
    empty = "no limits yet"

    class ChangeAsked(Message):
        """The operator wants the limit changed."""

        def __init__(self, row: LimitRow) -> None:
            super().__init__()
            self.row = row

    def action_open(self) -> None:
        row = self.selected_row
        if self.acts and row is not None and row.setting:
            self.post_message(self.ChangeAsked(row))
        else:
            super().action_open()

    def rows(self, frame: Frame) -> Sequence[LimitRow]:
        if frame.snapshot is None:
            return ()
        self._old = oldness.old_equity(frame)
        return sorted(frame.snapshot.limits, key=_weight)

    def row_id(self, row: LimitRow) -> Hashable:
        return row.tier, row.name, row.scope

    def aged(self, row: LimitRow) -> str:
        return "" if self._old is None else oldness.SIGN

    def cells(self, row: LimitRow) -> Line:
        share = _share(row)
        old = None if row.past or row.unit in COUNTED else self._old
        style = "dim" if row.past else format.share_style(share)
        full = share is not None and share >= 1
        last = "last: " if row.past else ""
        name = SHORT.get(row.name) or format.words(row.name)
        return (
            (f"{last}{name} {row.scope}".strip(), "text"),
            oldness.number(format.used_of(row.used, row.limit, row.unit), style, old),
            ("━━FULL━━" if full else format.bar(share, BAR), style),
            oldness.number(format.share(share), style, old),
        )

    def note(self, frame: Frame) -> str:
        rows = frame.snapshot.limits if frame.snapshot else ()
        shares = [_share(row) for row in rows if not row.past]
        full = sum(share is not None and share >= 1 for share in shares)
        text = f"{full} FULL of {len(rows)}" if full else format.plural(len(rows), "limit")
        return oldness.noted(text, oldness.words(oldness.old_equity(frame)))


def _share(row: LimitRow) -> float | None:
    return format.used_share(row.used, row.limit, least=row.least)


def _weight(row: LimitRow) -> tuple[bool, bool, bool, bool]:
    share = _share(row)
    far = share is None or share < format.NEAR_LIMIT
    return row.name not in LOSSES, row.past, far, row.tier != "account"
