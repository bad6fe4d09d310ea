"""Numbers, ages and signs as an operator reads them."""

from decimal import Decimal
from math import inf, nan

import pytest

from engine.core.model import NANOS, Side
from tests.tui.scripted import AAPL, BTC, TS
from tui import format


@pytest.mark.parametrize("unknown", [None, nan, inf])
def test_what_is_not_known_is_a_dash_and_never_zero(unknown: float | None) -> None:
    assert format.money(unknown) == format.DASH
    assert format.price(unknown, AAPL) == format.DASH
    assert format.price(unknown, None) == format.DASH
    assert format.percent(unknown) == format.DASH
    assert format.compact(unknown) == format.DASH
    assert format.used_of(unknown, 5, "%") == "—/5.0%"
    assert format.share(format.used_share(unknown, 5)) == format.DASH
    assert format.headroom(unknown, 5, "%") == format.DASH


def test_prices_have_the_decimals_of_the_tick() -> None:
    assert format.price(37_912.123, BTC) == "37,912.1"
    assert format.price(Decimal("170"), AAPL) == "170.00"
    assert format.price(Decimal("0.125"), None) == "0.125"


@pytest.mark.parametrize(
    ("value", "text", "style", "sign"),
    [
        (412.55, "+412.55", "up", "▲"),
        (-1012.9, "-1,012.90", "down", "▼"),
        (-0.001, "0.00", "text", " "),
        (0, "0.00", "text", " "),
        (None, "—", "dim", " "),
    ],
)
def test_gains_and_losses_read_without_colour(
    value: float | None, text: str, style: str, sign: str
) -> None:
    assert format.money(value, signed=True) == text
    assert format.direction(text) == style
    assert format.arrow(text) == sign


def test_quantities_have_no_trailing_zeros() -> None:
    assert format.quantity(Decimal("0.1310")) == "0.131"
    assert format.quantity(Decimal("1500")) == "1,500"
    assert format.quantity(None) == "—"


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (120, "120"), (12_340, "12.34k"), (2_500_000, "2.5M")]
)
def test_compact(value: float, text: str) -> None:
    assert format.compact(value) == text


@pytest.mark.parametrize(
    ("used", "limit", "unit", "text"),
    [
        (212.4, 1000, "$", "$212/$1,000"),
        (4.92, 5, "%", "4.9/5.0%"),
        (16, 20, "", "16/20"),
        (None, 15, "%", "—/15.0%"),
        (0.75, 0.7, "", "0.75/0.70"),
        (0.118, 1, "×", "0.12/1.00"),
        (12.5, 5, "$", "$12.50/$5.00"),
        (None, float("nan"), "$", "—/—"),
    ],
)
def test_limits(used: float | None, limit: float, unit: str, text: str) -> None:
    assert format.used_of(used, limit, unit) == text


def test_of_what_has_to_be_there_all_is_used_by_just_so_much() -> None:
    assert format.used_share(1.4, 0.7, least=True) == 0.5
    assert format.used_share(0.5, 0.7, least=True) == pytest.approx(1.4)
    assert format.used_share(0.0, 5.0, least=True) == 1.0
    assert format.used_share(0.0, 0.0, least=True) == 0.0


def test_the_bar_of_a_limit_shows_its_use_by_thickness() -> None:
    assert format.bar(0.5, 8) == "━━━━────"
    assert format.bar(0.0, 4) == "────"
    assert format.bar(0.01, 4) == "━───"
    assert format.bar(3.0, 4) == "━━━━"
    assert format.bar(None, 4) == "────"


@pytest.mark.parametrize(
    ("used", "limit", "share", "style"),
    [
        (0, 10, 0.0, "up"),
        (7.5, 10, 0.75, "warn"),
        (10, 10, 1.0, "down"),
        (-3, 10, 0.0, "up"),
        (1, 0, 1.0, "down"),
        (0, 0, 0.0, "up"),
        (None, 10, None, "dim"),
    ],
)
def test_shares_of_limits(
    used: float | None, limit: float, share: float | None, style: str
) -> None:
    assert format.used_share(used, limit) == share
    assert format.share_style(share) == style


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m"), (7300, "2h"), (200_000, "2d")]
)
def test_ages(seconds: int, text: str) -> None:
    assert format.since(TS, TS + seconds * NANOS) == text


def test_no_age_before_anything_came() -> None:
    assert format.since(0, TS) == "—"
    assert format.clock(0) == "—"


def test_times_are_utc_and_say_so() -> None:
    assert format.date_and_clock(TS) == "2022-01-31 14:30:07 UTC"
    assert format.clock(TS) == "14:30:07"


def test_speeds() -> None:
    assert [format.speed(speed) for speed in (1, 60, 0)] == ["1×", "60×", "max"]


def test_sides() -> None:
    assert format.side(Side.BUY) == ("BUY", "up")
    assert format.side(Side.SELL, faded=True) == ("SELL", "dim")
    assert format.side(None) == ("—", "dim")


def test_text_is_cut_to_cells_not_characters() -> None:
    assert format.cut("trades per day", 8) == "trades …"
    assert format.cut("日本語の名前", 5) == "日本…"
    assert format.cut("short", 8) == "short"
    assert format.cut("gone", 0) == ""


def test_a_name_keeps_its_beginning_and_its_end() -> None:
    assert format.cut_middle("mean_reversion_hourly_fast", 11) == "mean_…_fast"
    assert format.cut_middle("mean_reversion_hourly_fast", 10) == "mean_…fast"
    assert format.cut_middle("日本語の名前", 5) == "日…前"
    assert format.cut_middle("日本語の名前", 6) == "日 …前"
    assert format.cut_middle("short", 5) == "short"
    assert format.cut_middle("gone", 1) == "…"
    assert format.cut_middle("gone", 0) == ""


def test_a_symbol_is_short_where_no_other_venue_has_one_of_its_name() -> None:
    names = format.short_names(["alpaca:AAPL", "questrade:AAPL", "binance:BTC/USDT", "ACME"])
    assert names == {
        "alpaca:AAPL": "alpaca:AAPL",
        "questrade:AAPL": "questrade:AAPL",
        "binance:BTC/USDT": "BTC/USDT",
        "ACME": "ACME",
    }


@pytest.mark.parametrize(
    ("used", "limit", "unit", "least", "left"),
    [
        (212.4, 1000.0, "$", False, "$788"),
        (1012.9, 1000.0, "$", False, "-$13"),
        (0.21, 5.0, "%", False, "4.8%"),
        (16.0, 20.0, "", False, "4"),
        (60.0, 90.5, "CAD", False, "30.50 CAD"),
        (0.75, 0.7, "", True, "0.05"),
        (5.0, nan, "$", False, format.DASH),
    ],
)
def test_what_is_left_of_a_limit_is_in_its_unit(
    used: float, limit: float, unit: str, least: bool, left: str
) -> None:
    assert format.headroom(used, limit, unit, least=least) == left
