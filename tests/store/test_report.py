"""`tradebot report fintrac`: what was flagged, listed and exported without harm."""

import csv
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.events import FintracFlagged
from engine.store.repository import Repository

from .conftest import Database, Stamp
from .test_command import database as database  # the settings name it
from .test_command import tradebot
from .test_filing import COMPLETE, DAY, REPORT

NASTY = replace(
    COMPLETE,
    report_id="single:tb-2",
    conductor="=HYPERLINK(1)",
    start_ts=3 * DAY,
    transactions=(*COMPLETE.transactions, replace(COMPLETE.transactions[0], symbol="@SUM\x1b[1m")),
)


@pytest.fixture
async def flagged(store: Repository, stamp: Stamp) -> None:
    for report in (REPORT, NASTY):
        await store.record([stamp(FintracFlagged(report))])


async def test_no_rows_are_said(store: Repository, database: Database) -> None:
    result = tradebot("report", "fintrac")
    assert result.exit_code == 0
    assert result.output == "no transaction in virtual currency was flagged\n"
    assert tradebot("report", "fintrac", "--json").output == ""


@pytest.mark.usefixtures("flagged")
async def test_reports_are_listed(database: Database) -> None:
    result = tradebot("report", "fintrac")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [" ".join(line.split()) for line in lines[:-1]] == [
        "1970-01-02 00:00 UTC single incomplete unknown 1 transaction single:tb-1",
        "1970-01-04 00:00 UTC single complete CA$10,000.00 2 transactions single:tb-2",
    ]
    assert "no legal advice" in lines[-1]


@pytest.mark.usefixtures("flagged")
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["single:tb-1", "single:tb-2"]),
        (("--start", "1970-01-03"), ["single:tb-2"]),
        (("--end", "1970-01-02"), ["single:tb-1"]),
        (("--start", "1970-01-03", "--end", "1970-01-03"), []),
    ],
)
async def test_a_span_of_time_as_json(
    database: Database, options: tuple[str, ...], ids: list[str]
) -> None:
    result = tradebot("report", "fintrac", "--json", *options)
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.output.splitlines()]
    assert [record["report_id"] for record in records] == ids
    for record in records:
        assert "no legal advice" in record["notice"]
        assert record["transactions"][0]["quantity"] == "0.123456789012345678"


@pytest.mark.usefixtures("flagged")
async def test_a_csv_file_has_a_line_for_each_transaction_and_no_formula(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "out.csv"
    result = tradebot("report", "fintrac", "--csv", str(file))
    assert result.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["report_id"] for row in rows] == ["single:tb-1", "single:tb-2", "single:tb-2"]
    assert rows[0]["rate"] == rows[0]["amount_cad"] == ""
    assert rows[1]["amount_cad"] == "10000.0000"
    assert (rows[1]["rate"], rows[1]["rate_source"]) == ("1.2500", "BoC")
    assert rows[1]["rate_published"] == "1970-01-02T00:00:00+00:00"
    assert rows[1]["conductor"] == "'=HYPERLINK(1)"
    assert rows[2]["symbol"] == "'@SUM [1m"
    again = tradebot("report", "fintrac", "--csv", str(file))
    assert again.exit_code == 2
    assert "cannot make" in again.output
