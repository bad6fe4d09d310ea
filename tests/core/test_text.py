"""Nothing from outside reaches a terminal, a log or markup as anything but text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.errors import MarkupError
from rich.markup import render

from engine.core.text import LIMIT, clean
from tests.core.rig import BOUNDED


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]52;c;aGFjaw==\x07",
        "\x1b[2J\x1b[31m",
        "\x9b2J",
        "a\r\nb\tc\x00d\x7f",
        "\u202emoc.live\u202c",
        "zero\u200bwidth\ufeff",
        "line\u2028separator",
        "\ud800",
    ],
)
def test_what_moves_the_cursor_or_reorders_text_is_gone(hostile: str) -> None:
    kept = clean(hostile)
    assert all(c.isprintable() for c in kept)
    kept.encode()


@pytest.mark.parametrize("markup", ["[/x]", "[@click=app.quit]", "[bold red]kill", "a[b]c\\[d"])
def test_markup_becomes_plain_text(markup: str) -> None:
    kept = clean(markup)
    assert "[" not in kept
    assert "]" not in kept


def test_the_reason_for_it_holds_markup_of_a_venue_can_raise() -> None:
    with pytest.raises(MarkupError):
        render("rejected [/x]")
    assert render(clean("rejected [/x]")).plain == "rejected (/x)"


def test_a_long_text_is_cut_and_says_so() -> None:
    kept = clean("x" * 1_000_000)
    assert len(kept) == LIMIT
    assert kept.endswith("…")
    assert clean("abc", limit=2) == "a…"


def test_plain_text_stays_as_it_is() -> None:
    text = "insufficient buying power: 1,000.50 < 2,000 — naïve 東京 €"
    assert clean(text) == text


@BOUNDED
@given(st.text())
def test_any_text_comes_out_harmless_and_cleaning_twice_changes_nothing(text: str) -> None:
    kept = clean(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in kept)
    assert len(kept) <= LIMIT
    assert clean(kept) == kept
