"""Filter and sort of a table, without a table."""

import pytest

from tui.widgets.choosing import Choice, Read, sort_key
from tui.widgets.lines import Line

ROWS = [("AAPL", "9"), ("BTC-USD", "37,913.3"), ("ETH-USD", "—"), ("SPY", "441.96")]


class Counted:
    """Reads rows, and counts how many."""

    def __init__(self) -> None:
        self.reads = 0

    def cells(self, row: tuple[str, str]) -> Line:
        self.reads += 1
        return (row[0], "text"), (row[1], "text")


def choice(counted: Counted | None = None) -> Choice[tuple[str, str]]:
    return Choice(Read(lambda row: row[0], lambda row: "", (counted or Counted()).cells))


def names(chosen: Choice[tuple[str, str]]) -> list[str]:
    return [row[0] for row in chosen.choose(ROWS)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["AAPL", "BTC-USD", "ETH-USD", "SPY"]),
        ("usd", ["BTC-USD", "ETH-USD"]),
        ("usd 37,9", ["BTC-USD"]),
        ("  ", ["AAPL", "BTC-USD", "ETH-USD", "SPY"]),
        ("nothing", []),
        ("[a-z]", []),
    ],
)
def test_all_words_must_be_in_a_row(words: str, found: list[str]) -> None:
    it = choice()
    it.words = words
    assert names(it) == found


def test_numbers_are_sorted_by_size_and_what_is_not_known_is_last_both_ways() -> None:
    it = choice()
    it.column = 1
    assert names(it) == ["AAPL", "SPY", "BTC-USD", "ETH-USD"]
    it.falling = True
    assert names(it) == ["BTC-USD", "SPY", "AAPL", "ETH-USD"]


def test_a_row_that_reads_as_before_is_not_read_again() -> None:
    counted = Counted()
    it = choice(counted)
    it.words = "a"
    it.choose(ROWS)
    it.choose(ROWS)
    assert counted.reads == len(ROWS)
    it.choose([("AAPL", "10"), *ROWS[1:]])
    assert counted.reads == len(ROWS) + 1


@pytest.mark.parametrize(
    "texts",
    [
        ("-1,200.50", "-3", "0", "12", "1.5k", "2M"),
        ("▼-1.02%", "0.00%", "▲+0.84%"),
        ("30s", "2m", "1h", "3d"),
        ("$212/$1,000", "$1,212/$2,000"),
        ("14:28:37", "14:29:07"),
        ("7", "buy", "SELL"),
    ],
)
def test_what_is_sorted_as_it_is_meant(texts: tuple[str, ...]) -> None:
    mixed = [*texts[1:], texts[0]]
    assert sorted(mixed, key=sort_key) == list(texts)
