"""Rates are read from a file, or what is wrong is said with its line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engine.core.events import Event, RaiseAlert, RatePublished
from engine.core.model import nanos
from engine.host import rates
from engine.host.rates import RatesWatch, read_rates
from engine.ops.errors import UserError
from tests.session import running, zigzag

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


# --- while the engine runs -----------------------------------------------------------------------


async def test_what_is_new_in_a_file_is_told_and_no_more(tmp_path: Path) -> None:
    file, told = tmp_path / "rates.csv", list[Event]()
    old, new = "USD,1.3656,x,2024-07-10", "USD,1.3701,x,2024-07-11"
    file.write_text(f"{HEAD}\n{old}\n")
    watch = RatesWatch(file, read_rates(file), told.append)
    await watch.look()
    assert told == []
    file.write_text(f"{HEAD}\n{old}\n{new}\n")
    await watch.look()
    await watch.look()
    (rate,) = told
    assert isinstance(rate, RatePublished)
    assert rate.rate == Decimal("1.3701")


async def test_of_a_file_that_cannot_be_read_any_more_a_person_is_told(tmp_path: Path) -> None:
    file, told = tmp_path / "rates.csv", list[Event]()
    file.write_text(f"{HEAD}\nUSD,1.3656,x,2024-07-10\nUSD,1.37")
    watch = RatesWatch(file, [], told.append)
    await watch.look()
    (alert,) = told
    assert isinstance(alert, RaiseAlert)
    assert "line 3" in alert.text
    file.unlink()
    await watch.look()
    file.write_text(f"{HEAD}\nUSD,1.3656,x,2024-07-10\n")
    await watch.look()
    assert isinstance(told[-1], RatePublished)


async def test_the_engine_goes_by_a_rate_that_was_published_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "LOOK_EVERY_S", 0.02)
    file = tmp_path / "rates.csv"
    file.write_text(f"{HEAD}\nUSD,1.3656,x,2014-07-10\n")
    settings = zigzag(tmp_path, fx_rates=file)
    async with running(settings) as session:
        await session.until(lambda s: s.seq)
        file.write_text(f"{HEAD}\nUSD,1.3656,x,2014-07-10\nEUR,1.4790,x,2014-07-10\n")
        known = session.runtime.machine.rates
        await session.until(lambda _: known.at("EUR", 0))
