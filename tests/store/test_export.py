"""What a spreadsheet would run is shown instead; what a script reads is whole (F107)."""

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.store.export import Value, write_csv, write_jsonl

texts = st.text(st.characters(exclude_categories=["Cs"]))


def written(*row: Value) -> str:
    file = io.StringIO()
    write_csv(file, ["column"] * len(row), [row])
    return file.getvalue().split("\n", 1)[1]


def read_back(*row: Value) -> list[str]:
    (cells,) = csv.reader(io.StringIO(written(*row)))
    return cells


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ('a,"b"', 'a,"b"'),
        ("a\x00b\x1b\x85\u202ec\nd", "a b   c d"),
        ("O'Brien [x] = 1", "O'Brien [x] = 1"),
        ("", ""),
    ],
)
def test_a_text_is_a_text_in_a_spreadsheet(text: str, cell: str) -> None:
    assert read_back(text, "next") == [cell, "next"]


def test_a_number_stays_a_number() -> None:
    assert written(-5, 0, None) == "-5,0,\n"
    assert written(Decimal("-1.50"), Decimal("1E+3")) == "-1.50,1000\n"


@given(st.lists(texts, min_size=1))
def test_no_cell_begins_a_formula_and_no_character_is_unseen(row: list[str]) -> None:
    text = written(*row)
    assert "".join(char for char in text if not char.isprintable()) == "\n"
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in read_back(*row))


@given(st.lists(st.dictionaries(texts, st.one_of(texts, st.integers()))))
def test_json_lines_are_ascii_one_a_record_and_lose_nothing(records: list[object]) -> None:
    file = io.StringIO()
    write_jsonl(file, records)
    lines = file.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == records
    assert all(line.isascii() and line.isprintable() for line in lines)
