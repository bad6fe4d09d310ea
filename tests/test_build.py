"""From settings to the limits in force."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from engine.build import opening_cash, plugins, risk_limits, sizing_rules
from engine.core.events import RatePublished
from engine.core.model import AssetClass, Instrument, SizingMethod, nanos
from engine.core.risk import RiskLimits
from engine.core.sizing import Sizing, SizingRules
from engine.ops.errors import UserError
from engine.ops.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_limit_is_a_setting() -> None:
    limits = risk_limits(Settings())
    for name in RiskLimits.__struct_fields__:
        assert getattr(limits, name) == getattr(Settings(), name)


def test_stocks_and_crypto_have_defaults_of_their_own() -> None:
    limits = risk_limits(Settings())
    stock, crypto = limits.of(AssetClass.STOCK), limits.of(AssetClass.CRYPTO)
    assert (stock.max_position_size_pct, crypto.max_position_size_pct) == (5, 3)
    assert (stock.stop_loss_pct, crypto.stop_loss_pct) == (2, 5)
    assert (stock.price_collar_pct, crypto.price_collar_pct) == (5, 10)
    assert (stock.min_price, crypto.min_price) == (1, 0)
    assert (stock.max_exposure_pct, crypto.max_exposure_pct) == (80, 50)


def test_what_is_set_without_its_twin_is_for_crypto_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_POSITION_SIZE_PCT", "20")
    assert risk_limits(load_settings()).crypto_max_position_size_pct == 20
    assert risk_limits(load_settings()).crypto_stop_loss_pct == 5
    monkeypatch.setenv("CRYPTO_MAX_POSITION_SIZE_PCT", "7")
    limits = risk_limits(load_settings())
    assert limits.of(AssetClass.CRYPTO).max_position_size_pct == 7
    assert limits.of(AssetClass.STOCK).max_position_size_pct == 20


def test_the_exposure_that_is_set_is_that_of_each_class_too() -> None:
    limits = risk_limits(Settings(max_exposure_pct=Decimal(30)))
    assert {limits.of(kind).max_exposure_pct for kind in AssetClass} == {30}


def test_each_strategy_has_its_sizing() -> None:
    rules = sizing_rules(
        Settings(
            sizing="percent_risk:0.5",
            sizing_by_strategy=("one:kelly", "two:target_utility:150000"),
            sizing_target_date=datetime(2030, 1, 1, tzinfo=UTC),
        )
    )
    assert rules.of("any") == Sizing(SizingMethod.PERCENT_RISK, Decimal("0.5"))
    assert rules.of("one") == Sizing(SizingMethod.KELLY, Decimal("0.5"))
    assert rules.of("two") == Sizing(SizingMethod.TARGET_UTILITY, Decimal(150_000))
    assert rules.deadline == nanos(datetime(2030, 1, 1, tzinfo=UTC))


def test_the_default_sizing_is_as_much_as_the_limits_let() -> None:
    assert sizing_rules(Settings()) == SizingRules()


def test_a_target_needs_a_time() -> None:
    with pytest.raises(UserError, match="no time at which the target is to be reached"):
        sizing_rules(Settings(sizing="target_utility:150000"))


def test_a_sizing_for_a_strategy_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="SIZING_BY_STRATEGY names smacross, which is no strategy"):
        plugins(Settings(sizing_by_strategy=("smacross:kelly",)))


# --- the cash of new accounts --------------------------------------------------------------------

CENT, COINS = Decimal("0.01"), Decimal("0.00000001")
AAPL = Instrument("AAPL", AssetClass.STOCK, CENT, Decimal(1), venue="alpaca")
BTC = Instrument("BTC/USDT", AssetClass.CRYPTO, CENT, COINS, currency="USDT", venue="binance")
SHOP = Instrument("SHOP.TO", AssetClass.STOCK, CENT, Decimal(1), currency="CAD", venue="questrade")
RATE = RatePublished("USD", Decimal("1.3656"), "Bank of Canada", 1)


def test_one_account_begins_with_all_of_it() -> None:
    settings = Settings(starting_cash=Decimal("500.12"))
    assert opening_cash(settings, [AAPL], []) == {"alpaca": Decimal("500.12")}


def test_each_new_account_begins_with_the_same_share_in_its_currency() -> None:
    """A third of 100,000 US dollars is 45,520 Canadian ones; no account gets part of a cent."""
    opening = opening_cash(Settings(), [AAPL, BTC, SHOP], [RATE])
    third = Decimal("33333.33")
    assert opening == {"alpaca": third, "binance": third, "questrade": Decimal("45520.00")}
    in_cad = opening_cash(Settings(currency="cad"), [AAPL, SHOP], [RATE])
    assert in_cad == {"alpaca": Decimal("36613.94"), "questrade": Decimal(50_000)}


def test_an_account_at_a_broker_takes_no_share() -> None:
    assert opening_cash(Settings(), [AAPL, BTC], [], {"alpaca"}) == {"binance": Decimal(100_000)}


def test_a_currency_without_a_rate_is_named_and_what_to_do() -> None:
    for rates in ([], [RatePublished("EUR", Decimal("1.5"), "x", 1)]):
        with pytest.raises(
            UserError, match="questrade is traded in CAD, and equity is told in USD"
        ) as refused:
            opening_cash(Settings(), [AAPL, SHOP], rates)
        assert "FX_RATES" in refused.value.remedy
        assert "CURRENCY" in refused.value.remedy
    with pytest.raises(UserError, match="binance is traded in USDT"):
        opening_cash(Settings(stablecoins=()), [AAPL, BTC], [RATE])
    assert opening_cash(Settings(currency="CAD"), [SHOP], []) == {"questrade": Decimal(100_000)}


def test_a_venue_with_two_currencies_is_refused() -> None:
    other = msgspec.structs.replace(SHOP, symbol="AAPL.US", currency="USD")
    with pytest.raises(UserError, match="questrade has one currency, not CAD and USD") as refused:
        opening_cash(Settings(), [SHOP, other], [RATE])
    assert "one currency at each venue" in refused.value.remedy


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("STABLECOINS", "USDT", "write COIN:CURRENCY"),
        ("STABLECOINS", "USDT:USD,USDT:EUR", "USDT is there twice"),
        ("STABLECOINS", "USDT:USDC,USDC:USD", "USDC is a coin itself"),
        ("CURRENCY", "$", "write a currency, such as USD"),
    ],
)
def test_wrong_money_is_said(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(UserError, match=said):
        load_settings()
