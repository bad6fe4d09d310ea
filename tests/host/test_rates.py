"""Rates are read from a file, or what is wrong is said with its line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engine.core.events import RatePublished
from engine.core.model import nanos
from engine.host.rates import read_rates
from engine.ops.errors import UserError

HEAD = "currency,rate,source,published"


def test_without_a_file_there_are_none() -> None:
    assert read_rates(None) == []


def test_rates_are_read_with_source_and_time(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    lines = (
        HEAD,
        "usd,1.3656,Bank of Canada,2024-07-10T16:30-04:00",
        "EUR, 1.4790 ,Bank [of] Canada,2024-07-10",
    )
    file.write_text("\n".join(lines))
    assert read_rates(file) == [
        RatePublished(
            "USD",
            Decimal("1.3656"),
            "Bank of Canada",
            nanos(datetime(2024, 7, 10, 20, 30, tzinfo=UTC)),
        ),
        RatePublished(
            "EUR", Decimal("1.4790"), "Bank (of) Canada", nanos(datetime(2024, 7, 10, tzinfo=UTC))
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("currency,rate\nUSD,1", "the first line must be currency,rate,source,published"),
        ("", "the first line must be"),
        (f"{HEAD}\nUSD,nan,x,2024-07-10", "line 2: nan is no rate"),
        (f"{HEAD}\nUSD,0,x,2024-07-10", "line 2: 0 is no rate"),
        (f"{HEAD}\nUSD,-1.3,x,2024-07-10", "line 2: -1.3 is no rate"),
        (f"{HEAD}\nUSD,\uff11.3,x,2024-07-10", "is no rate"),
        (f"{HEAD}\nUSD,1.3,x,2024-07-10\nUSD,1.3,x,soon", "line 3: soon is no time"),
        (f"{HEAD}\nUSD,1.3,,2024-07-10", "line 2 lacks a currency or a source"),
        (f"{HEAD}\nUSD,1.3", "line 2 lacks a currency or a source"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said) as refused:
        read_rates(file)
    assert "FX_RATES" in str(refused.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_rates(tmp_path / "none.csv")
