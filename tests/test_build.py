"""From settings to the limits in force."""

from decimal import Decimal
from pathlib import Path

import pytest

from engine.build import risk_limits
from engine.core.model import AssetClass
from engine.core.risk import RiskLimits
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
