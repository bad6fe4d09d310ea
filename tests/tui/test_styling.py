"""Styles that are not said twice: the screen is the same, the bytes are fewer."""

import pyte
from hypothesis import given
from hypothesis import strategies as st

from tui.styling import frugal

STYLES = ("1", "38;2;1;2;3;48;2;4;5;6", "38;2;1;2;3;48;2;9;9;9", "7", "38;5;9")
pieces = st.one_of(
    st.tuples(st.sampled_from(STYLES), st.sampled_from(("abc", "  ", "é─", "\x1b[K", ""))).map(
        lambda pair: f"\x1b[{pair[0]}m{pair[1]}\x1b[0m"
    ),
    st.tuples(st.integers(1, 6), st.integers(1, 20)).map(lambda at: f"\x1b[{at[0]};{at[1]}H"),
    st.sampled_from(("plain", "\r\n", "\x1b[2J", "\x1b[?25l", "\x1b[4m\x1b[1mboth\x1b[m")),
)


def shown(data: str) -> object:
    screen = pyte.Screen(20, 6)
    pyte.Stream(screen).feed(data + "x")
    rows = range(screen.lines)
    return [[screen.buffer[y][x] for x in range(screen.columns)] for y in rows], screen.cursor.x


@given(st.lists(pieces, max_size=12).map("".join))
def test_the_screen_is_the_same_and_no_write_is_longer(data: str) -> None:
    assert shown(frugal(data)) == shown(data)
    assert len(frugal(data)) <= len(data)


def test_neighbours_of_one_style_share_it_over_moves_of_the_cursor() -> None:
    row = "\x1b[1;31mrow\x1b[0m"
    assert frugal(f"{row}\x1b[2;1H{row}") == "\x1b[1;31mrow\x1b[2;1Hrow\x1b[0m"


def test_what_has_no_style_is_left_alone() -> None:
    assert frugal("\x1b[?1049h\x1b[6n") == "\x1b[?1049h\x1b[6n"
