"""From settings to the limits in force."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engine.build import plugins, risk_limits, sizing_rules
from engine.core.model import AssetClass, nanos
from engine.core.risk import RiskLimits
from engine.core.sizing import Sizing, SizingMethod, SizingRules
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
