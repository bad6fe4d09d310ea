"""Tables as CSV files."""

import csv
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.disk import full_disk
from tests.tui import scripted
from tests.tui.scripted import TS
from tui.export import write_csv, write_picture


def test_all_fields_of_all_rows_are_in_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "exports", "orders", TS, scripted.ORDERS, scripted.INSTRUMENTS)
    assert path == tmp_path / "exports" / "orders-20220131T143007.000000Z.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["client_order_id"] for row in rows] == [
        order.client_order_id for order in scripted.ORDERS
    ]
    assert rows[2]["quantity"] == "0.1310"
    assert rows[2]["state"] == "filled"
    assert {row["instrument.currency"] for row in rows} == {"USD"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_csv(tmp_path, "orders", TS, scripted.ORDERS, {})
    with pytest.raises(FileExistsError):
        write_csv(tmp_path, "orders", TS, (), {})


def test_a_disk_that_does_not_take_all_of_it_keeps_nothing(tmp_path: Path) -> None:
    with (
        full_disk(),
        pytest.raises(OSError, match=r"orders-20220131T143007\.000000Z\.csv"),
    ):
        write_csv(tmp_path, "orders", TS, scripted.ORDERS, {})
    with (
        full_disk(),
        pytest.raises(OSError, match=r"desk-20220131T143007\.000000Z\.svg"),
    ):
        write_picture(tmp_path, "desk", TS, "<svg/>")
    assert list(tmp_path.iterdir()) == []


def test_a_text_from_outside_is_no_formula(tmp_path: Path) -> None:
    order = replace(scripted.ORDERS[0], reason='=HYPERLINK("http://x")\x1b[2J', symbol="-1.5")
    path = write_csv(tmp_path, "orders", TS, (order,), {})
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reason"] == '\'=HYPERLINK("http://x") (2J'
    assert row["symbol"] == "-1.5"
