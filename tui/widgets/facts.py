"""A table of facts: what each is called, how it stands, and what that means."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from msgspec import Struct

from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line


class Fact(Struct, frozen=True, gc=False):
    """What is called `name` stands at `value`, drawn in `style`; `note` says more of it."""

    name: str
    value: str
    note: str = ""
    style: str = "text"


class Facts(LineTable[Fact]):
    """One fact a line."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("what", 12, most=30, stays=True),
        Column("is", 8, most=17, stays=True),
        Column("more", 10, rank=1, grows=True),
    )
    header = False

    def facts(self, frame: Frame) -> Sequence[Fact]:
        """What is told of `frame`, no name twice."""
        raise NotImplementedError

    def rows(self, frame: Frame) -> Sequence[Fact]:
        return self.facts(frame)

    def row_id(self, row: Fact) -> Hashable:
        return row.name

    def cells(self, row: Fact) -> Line:
        return (row.name, "dim"), (row.value, row.style), (row.note, "dim")
