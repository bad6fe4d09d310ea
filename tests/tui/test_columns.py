"""Which columns there is room for, and where the cells stand."""

from tui.widgets.columns import Column, Columns
from tui.widgets.lines import Line


def text(columns: Columns, *cells: str) -> str:
    return "".join(text for text, _ in columns.place(tuple((cell, "text") for cell in cells)))


def row(*cells: str) -> Line:
    return tuple((cell, "text") for cell in cells)


def test_numbers_stand_on_their_decimal_point() -> None:
    columns = Columns([Column("price", 5, ".")])
    for price in ("170.12", "37,912.1", "5"):
        columns.widen(row(price))
    columns.fit(20)
    lines = [text(columns, price) for price in ("170.12", "37,912.1", "5", "—")]
    assert lines == ["   170.12", "37,912.1 ", "     5   ", "     —   "]


def test_limits_stand_on_their_slash() -> None:
    columns = Columns([Column("", 5, "/")])
    for cell in ("$212/$1,000", "1/3"):
        columns.widen(row(cell))
    columns.fit(20)
    assert text(columns, "1/3") == "   1/3     "


def test_columns_of_a_high_rank_are_left_out_first() -> None:
    columns = Columns([Column("a", 4), Column("b", 4, rank=2), Column("c", 4, rank=1)])
    columns.fit(14)
    assert text(columns, "aaaa", "bbbb", "cccc") == "aaaa bbbb cccc"
    columns.fit(13)
    assert text(columns, "aaaa", "bbbb", "cccc") == "aaaa  cccc"
    columns.fit(5)
    assert text(columns, "aaaa", "bbbb", "cccc") == "aaaa"


def test_one_column_takes_the_room_that_is_left() -> None:
    columns = Columns([Column("a", 2), Column("b", 3, grows=True), Column("c", 2)])
    columns.fit(20)
    assert text(columns, "aa", "b", "cc") == "aa  b             cc"


def test_what_ranks_behind_gives_way_before_a_text_is_cut() -> None:
    columns = Columns([Column("a", 4, grows=True), Column("b", 4), Column("c", 4, rank=1)])
    columns.widen(row("a long name", "b", "c"))
    columns.fit(17)
    assert text(columns, "a long name", "bbbb", "cccc") == "a long name  bbbb"
    columns.fit(12)
    assert text(columns, "a long name", "bbbb", "cccc") == "a lon…  bbbb"


def test_what_ranks_beside_gives_way_before_a_text_is_left_out() -> None:
    columns = Columns([Column("a", 4), Column("b", 4, rank=1), Column("c", 4, rank=1, grows=True)])
    columns.widen(row("a", "b", "a long text"))
    columns.fit(14)
    assert text(columns, "aaaa", "bbbb", "a long text") == "aaaa bbbb a l…"
    columns.fit(13)
    assert text(columns, "aaaa", "bbbb", "a long text") == "aaaa  a long…"


def test_what_must_be_seen_is_cut_before_any_of_it_is_left_out() -> None:
    columns = Columns([Column("a", 4, stays=True), Column("b", 4), Column("c", 4, rank=1)])
    columns.widen(row("a long name", "b", "c"))
    columns.fit(12)
    assert text(columns, "a long name", "bbbb", "cccc") == "a long… bbbb"


def test_columns_never_narrow_again() -> None:
    columns = Columns([Column("a", 1, ">"), Column("b", 1)])
    columns.widen(row("1000", "x"))
    columns.fit(30)
    assert not columns.fit(30)
    columns.widen(row("1", "x"))
    assert not columns.fit(30)
    assert text(columns, "1", "x") == "   1  x"


def test_a_wider_cell_moves_the_columns() -> None:
    columns = Columns([Column("a", 1), Column("b", 1)])
    columns.fit(30)
    columns.widen(row("wider", "x"))
    assert columns.fit(30)


def test_a_text_is_cut_at_the_most_of_its_column() -> None:
    columns = Columns([Column("a", 2, most=5), Column("b", 1)])
    columns.widen(row("far too long", "x"))
    columns.fit(30)
    assert text(columns, "far too long", "x") == "far …  x"


def test_titles_stand_over_their_columns() -> None:
    columns = Columns([Column("symbol", 8), Column("last", 9, ".")])
    columns.fit(30)
    assert "".join(text for text, _ in columns.place(columns.titles)) == "symbol         last"


def test_a_hidden_column_leaves_its_room_to_the_others() -> None:
    columns = Columns([Column("a", 4), Column("b", 4), Column("c", 4, rank=1)])
    columns.fit(10)
    assert columns.shown == {"a", "b"}
    assert columns.fit(10, frozenset({"b"}))
    assert text(columns, "aaaa", "bbbb", "cccc") == "aaaa  cccc"
    assert columns.shown == {"a", "c"}
    assert not columns.fit(10, frozenset({"b"}))
    assert columns.fit(10)


def test_without_the_one_that_grows_the_room_stays_free() -> None:
    columns = Columns([Column("a", 2), Column("b", 3, grows=True)])
    columns.fit(20, frozenset({"b"}))
    assert text(columns, "aa", "bbb") == "aa"
