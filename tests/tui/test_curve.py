"""A line in braille: where its dots are."""

from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.curve import curve

numbers = st.floats(-1e9, 1e9)


def test_a_rise_goes_from_the_bottom_left_to_the_top_right() -> None:
    assert curve([(0, 0), (7, 7)], 4, 2) == ["⠀⠀⡠⠊", "⡠⠊⠀⠀"]


def test_a_flat_line_is_in_the_middle_and_one_point_is_a_dot() -> None:
    assert curve([(0, 5), (9, 5)], 3, 2) == ["⠀⠀⠀", "⠉⠉⠉"]
    assert curve([(3, 5)], 2, 1) == ["⠄⠀"]


def test_where_nothing_is_known_nothing_is_drawn() -> None:
    assert curve([], 2, 1) == ["⠀⠀"]
    assert curve([(0, 0), (1, 1)], 0, 2) == ["", ""]


def test_what_lies_between_two_points_is_by_its_time() -> None:
    """A stretch without points is a straight line, as long as it lasted."""
    (line,) = curve([(0, 0), (8, 0), (9, 1)], 5, 1)
    assert line[:4] == "⣀⣀⣀⣀"
    assert line[4] != "⣀"


@given(st.lists(numbers, min_size=1, max_size=50), st.integers(1, 40), st.integers(1, 12))
def test_it_fills_the_room_and_never_leaves_it(ys: list[float], width: int, height: int) -> None:
    lines = curve(list(enumerate(ys)), width, height)
    assert [len(line) for line in lines] == [width] * height
    assert all(0x2800 <= ord(cell) < 0x2900 for line in lines for cell in line)
    across = [any(line[x] != "⠀" for line in lines) for x in range(width)]
    if len(ys) > 1:
        assert all(across)
    if max(ys) > min(ys):
        assert {"⠀"} != set(lines[0])
        assert {"⠀"} != set(lines[-1])
