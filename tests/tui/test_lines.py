"""Styled lines: merged, cut, compared; nothing in them can steer the terminal."""

import pytest
from rich.segment import Segment
from textual.strip import Strip

from tui import themes
from tui.widgets.lines import Line, changed_width, draw, fit, spread


def strip(*cells: tuple[str, str], width: int = 20) -> Strip:
    return draw(cells, width, themes.DARK)


def test_neighbours_of_one_style_share_a_segment() -> None:
    segments = list(strip(("a", "text"), (" ", "text"), ("b", "text"), ("c", "up")))
    assert [segment.text for segment in segments] == ["a b", "c" + " " * 16]


def test_a_space_joins_its_neighbour_unless_one_of_them_has_a_background() -> None:
    assert len(list(strip(("a", "up"), (" ", "text"), ("b", "up"), width=3))) == 1
    assert len(list(strip((" PAPER ", "paper"), ("  ", "text"), ("main", "text")))) == 2


def test_a_line_has_exactly_the_width_of_its_panel() -> None:
    for cells in ((), (("x" * 50, "text"),), (("日本語" * 9, "text"), ("x", "up"))):
        assert strip(*cells).cell_length == 20
        assert sum(Segment.get_line_length([segment]) for segment in strip(*cells)) == 20


@pytest.mark.parametrize("evil", ["\x1b[2J", "a\rb", "\x9b31m", "\u202egnp", "[red]x[/red]"])
def test_no_text_can_steer_the_terminal(evil: str) -> None:
    text = strip((evil, "text")).text
    assert text.isprintable()
    assert "\x1b" not in "".join(segment.text for segment in strip((evil, "text")))


def test_markup_is_text() -> None:
    assert strip(("[b]x[/b]", "text")).text.startswith("[b]x[/b]")


@pytest.mark.parametrize(
    ("before", "after", "width"),
    [
        ("AAPL 170.12 x", "AAPL 170.12 x", 0),
        ("AAPL 170.12 x", "AAPL 170.15 x", 11),
        ("AAPL 170.12 x", "AAPL 170.12 y", 13),
        ("AAPL 170.12", "", 11),
    ],
)
def test_only_what_differs_is_painted(before: str, after: str, width: int) -> None:
    assert changed_width(strip((before, "text")), strip((after, "text"))) == width


def test_a_change_of_style_is_a_difference() -> None:
    assert changed_width(strip(("1.0", "up"), width=3), strip(("1.0", "down"), width=3)) == 3
    before, after = strip(("a", "up"), ("b", "text")), strip(("a", "down"), ("b", "text"))
    assert changed_width(before, after) == 1


def test_wide_characters_are_compared_whole() -> None:
    assert changed_width(strip(("日本", "text")), strip(("日語", "text"))) == 20


def test_the_selected_row_reads_without_colour() -> None:
    style = themes.style(themes.TERMINAL, "dim", True)
    assert style.reverse
    assert not style.dim


def test_what_has_no_room_is_left_out_by_rank() -> None:
    parts: list[tuple[int, Line]] = [
        (0, (("mode", "text"),)),
        (2, (("account", "text"),)),
        (1, (("feed", "text"),)),
    ]
    assert "".join(text for text, _ in fit(parts, 19)) == "mode  account  feed"
    assert "".join(text for text, _ in fit(parts, 18)) == "mode  feed"
    assert "".join(text for text, _ in fit(parts, 2)) == "mode"


def test_the_ends_of_a_line_are_spread() -> None:
    line = spread((("left", "text"),), (("right", "text"),), 20)
    assert "".join(text for text, _ in line) == "left           right"
