"""The limits panel of the risk screen: each with what is left of it."""

from collections.abc import Sequence
from typing import ClassVar

from engine.view.snapshot import LimitRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.lines import Line
from tui.widgets.risk import LOSSES, Risk


class Limits(Risk):
    """Used, limit, what is left, share and scope of every limit. The losses come first, then what
    is nearest to its limit; then the account's before others, and those of one order last."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("limit", 14, most=26, stays=True),
        Column("used/limit", 11, "/", most=26, stays=True),
        Column("headroom", 8, ".", most=16),
        Column("", 8),
        Column("share", 5, ">", rank=1),
        Column("of", 8, rank=1, most=24),
        Column("setting", 12, rank=3, most=30),
    )
    header = True

    def rows(self, frame: Frame) -> Sequence[LimitRow]:
        return sorted(super().rows(frame), key=_weight)

    def cells(self, row: LimitRow) -> Line:
        _, used, bar, share = super().cells(row)
        left = format.headroom(row.used, row.limit, row.unit, least=row.least)
        last = "last: " if row.past else ""
        return (
            (f"{last}{format.words(row.name)}", "strong" if row.name in LOSSES else "text"),
            used,
            (left, used[1]),
            bar,
            share,
            (row.scope or "account", "dim"),
            (row.setting.upper(), "dim"),
        )

    def note(self, frame: Frame) -> str:
        return f"{daily_loss(frame)} · {super().note(frame)}"


def _weight(row: LimitRow) -> tuple[bool, bool, float]:
    share = format.used_share(row.used, row.limit, least=row.least)
    near = share is not None and share >= format.NEAR_LIMIT
    return row.name not in LOSSES, row.past, -share if share is not None and near else 0.0


def daily_loss(frame: Frame) -> str:
    """How close the daily loss limit is: that of money or of per cent, whichever is closer."""
    limits = frame.snapshot.limits if frame.snapshot else ()
    rows = {row.name: row for row in limits if row.name in LOSSES[:2]}
    shares = [(format.used_share(row.used, row.limit), row) for row in rows.values()]
    known = [(share, row) for share, row in shares if share is not None]
    if not known or len(known) < len(shares):
        return f"daily loss limit: {format.DASH}"
    share, row = max(known, key=lambda each: each[0])
    left = format.headroom(row.used, row.limit, row.unit)
    return f"daily loss limit: {format.share(share)} used, {left} left"
