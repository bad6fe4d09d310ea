"""`tradebot controls`: what was asked, what was stopped, and the value in force."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from engine.cli.controls import CONTROLS
from engine.cli.main import main
from engine.core import events as e
from engine.core.model import DAY, Order, OrderPurpose, OrderState, OrderType, Side, Signal
from engine.core.risk.limits import RiskLimits
from engine.ops.settings import Settings, load_settings
from engine.store.place import Place
from engine.store.repository import Repository

SIGNAL = Signal("puppet", "ACME", Side.BUY, 1, 100.0)
EXIT = Order(
    "tb-2", "puppet", "ACME", Side.SELL, OrderType.MARKET, Decimal(1), OrderPurpose.EXIT,
    1, 1, Decimal(100), state=OrderState.CANCELED,
)  # fmt: skip


def exposure(used: float) -> e.RiskChecked:
    return e.RiskChecked("tb-1", "account", "exposure", used, 80.0, used <= 80)


FACTS: list[e.Event] = [
    exposure(79.0),
    exposure(81.0),
    e.SignalBlocked(SIGNAL, "exposure", "exposure would be 81"),
    e.SignalBlocked(SIGNAL, "stale", "the last price is old"),
    e.KillSwitchTriggered("key", "", "me"),
    e.LimitChanged("max_exposure_pct", "80", "60", False, "me", setting="80"),
    e.OrderCanceled(replace(EXIT, reason="not sent: open orders would close more than is held")),
    e.OrderCanceled(replace(EXIT, reason="asked for by me")),
]


@pytest.fixture
async def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact a day, from 1970-01-02 on."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    store = await Repository.open(Place.of(load_settings()))
    stamped = [replace(fact, seq=n, ts=n * DAY) for n, fact in enumerate(FACTS, 1)]
    await store.record(stamped)
    await store.close()


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(main, ["controls", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return {row["control"]: row for row in json.loads(result.stdout)}


def uses(row: dict[str, Any]) -> tuple[int, int, str | None]:
    return row["asked"], row["stopped"], row["last"]


def test_every_limit_is_in_the_list() -> None:
    listed = {name for control in CONTROLS for name in control.settings}
    limits = set(RiskLimits.__struct_fields__) & set(Settings.model_fields)
    assert limits - listed == set()
    assert listed - set(Settings.model_fields) == set()


@pytest.mark.usefixtures("recorded")
def test_what_was_asked_and_what_was_stopped() -> None:
    rows = listed()
    assert uses(rows["exposure"]) == (2, 1, "1970-01-03T00:00:00+00:00")
    assert uses(rows["fresh prices"]) == (1, 1, "1970-01-05T00:00:00+00:00")
    assert uses(rows["kill switch"]) == (1, 1, "1970-01-06T00:00:00+00:00")
    assert uses(rows["leverage"]) == (0, 0, None)
    assert uses(rows["children within their parent"]) == (1, 1, "1970-01-08T00:00:00+00:00")


@pytest.mark.usefixtures("recorded")
def test_names_and_values_are_whole_on_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(main, ["controls"]).stdout
    for text in ("CRYPTO_MAX_POSITION_SIZE_PCT=3 ", "CIRCUIT_BREAKER_FAILURES=5 ", "1970-01-05"):
        assert text in said
    assert "\u2026" not in said + CliRunner().invoke(main, ["settings"]).stdout


@pytest.mark.parametrize(
    "span",
    [
        ("--start", "1970-01-05", "--end", "1970-01-03"),
        ("--end", "1970-01-03", "--start", "1970-01-05"),
    ],
)
def test_a_span_that_ends_before_it_begins_is_refused(span: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(main, ["controls", *span])
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert "1970-01-05 00:00:00 UTC, --start, is later than 1970-01-04 00:00:00 UTC" in told


@pytest.mark.usefixtures("recorded")
def test_a_span_counts_what_is_in_it_alone() -> None:
    rows = listed("--start", "1970-01-03", "--end", "1970-01-05")
    assert uses(rows["exposure"]) == (1, 1, "1970-01-03T00:00:00+00:00")
    assert uses(rows["fresh prices"]) == (1, 1, "1970-01-05T00:00:00+00:00")
    assert uses(rows["kill switch"]) == (0, 0, None)


@pytest.mark.usefixtures("recorded")
def test_a_limit_that_was_changed_is_shown_as_it_is_now() -> None:
    assert listed()["exposure"]["settings"]["MAX_EXPOSURE_PCT"] == "60"
    before = listed("--end", "1970-01-05")["exposure"]["settings"]
    assert before["MAX_EXPOSURE_PCT"] == "80"


def test_before_the_first_start_there_are_values_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["controls"])
    assert result.exit_code == 0
    assert "no engine has run yet" in result.stderr
    assert "MAX_DAILY_LOSS=1000" in result.stdout.replace(" ", "")
    assert list(tmp_path.iterdir()) == []


# --- the yearly report ---------------------------------------------------------------------------


def selfcheck(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(main, ["selfcheck", "--json", *arguments])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.usefixtures("recorded")
def test_the_report_of_a_year_has_the_log_the_controls_and_what_was_never_asked() -> None:
    status, report = selfcheck("--year", "1970")
    assert (status, report["year"], report["audit"]["whole"]) == (0, 1970, True)
    asked = {row["control"]: row["asked"] for row in report["controls"]}
    assert asked["exposure"] == 2
    assert "leverage" in report["never_asked"]
    assert "exposure" not in report["never_asked"]
    _, later = selfcheck("--year", "1971")
    assert set(later["never_asked"]) == set(asked)


@pytest.mark.usefixtures("recorded")
def test_a_report_on_a_broken_log_says_so_and_fails() -> None:
    with closing(sqlite3.connect(Place.of(load_settings()).file)) as database:
        database.execute("UPDATE audit_log SET payload = '{}' WHERE id = 2")
        database.commit()
    status, report = selfcheck("--year", "1970")
    assert (status, report["audit"]["whole"]) == (1, False)
    assert report["audit"]["findings"][0]["row"] == 2
    text = CliRunner().invoke(main, ["selfcheck", "--year", "1970"]).stdout
    assert "the audit log is broken" in text
    assert "never asked: " in text
