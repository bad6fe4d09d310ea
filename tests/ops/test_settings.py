"""Settings: where they come from, what is refused, and how it is said."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from engine.core.model import Mode
from engine.ops.settings import (
    Settings,
    SettingsError,
    env_example,
    env_text,
    explain,
    load_settings,
)


def problems(**overrides: object) -> list[str]:
    """The lines of the SettingsError that the settings in force raise; the remedy is left out."""
    with pytest.raises(SettingsError) as raised:
        load_settings(**overrides)
    return raised.value.message.splitlines()


def test_the_defaults_trade_on_paper_within_the_limits_of_the_design() -> None:
    settings = load_settings()
    assert settings.mode is Mode.PAPER
    assert not settings.allow_live_trading
    assert settings.starting_cash == 100_000
    assert (settings.max_position_size_pct, settings.stop_loss_pct) == (5, 2)
    assert (settings.max_trades_per_day, settings.max_consecutive_losses) == (20, 3)
    assert (settings.max_daily_loss, settings.max_daily_loss_pct) == (1000, 5)
    assert (settings.max_exposure_pct, settings.max_drawdown_pct) == (80, 15)
    assert settings.strategies == ("sma_crossover",)


def test_overrides_come_before_the_environment_that_before_env_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("FPS=1\nREPLAY_SPEED=1\nSTALE_AFTER_S=1\n")
    monkeypatch.setenv("FPS", "2")
    monkeypatch.setenv("REPLAY_SPEED", "2")
    settings = load_settings(fps=3)
    assert (settings.fps, settings.replay_speed, settings.stale_after_s) == (3, 2, 1)


def test_money_and_percentages_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMISSION_PCT", "0.07")
    monkeypatch.setenv("MAX_DAILY_LOSS", "999.99")
    settings = load_settings()
    assert settings.commission_pct == Decimal("0.07")
    assert settings.max_daily_loss == Decimal("999.99")


def test_each_wrong_setting_has_one_line_with_its_value_its_rule_and_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_POSITION_SIZE_PCT", "abc")
    monkeypatch.setenv("MODE", "demo")
    Path(".env").write_text("FPS=99\n")
    lines = problems()
    assert len(lines) == 3
    assert lines[0].startswith("MODE='demo': input should be 'paper' or 'live' (")
    assert lines[1].startswith("MAX_POSITION_SIZE_PCT='abc': input should be a valid decimal (")
    assert lines[1].endswith("; default 5)")
    assert lines[2].startswith("FPS='99': input should be less than or equal to 30 (")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (f"{name}_PCT", value)
            for name in (
                "MAX_VOLUME_SHARE",
                "MAX_POSITION_SIZE",
                "STOP_LOSS",
                "MAX_DAILY_LOSS",
                "MAX_EXPOSURE",
                "MAX_DRAWDOWN",
            )
            for value in ("0", "-5", "100.01", "nan", "inf", "5%", "")
        ],
        ("COMMISSION_PCT", "-0.1"),
        ("SLIPPAGE_BPS", "-1"),
        ("STARTING_CASH", "0"),
        ("MAX_DAILY_LOSS", "0"),
        ("MAX_TRADES_PER_DAY", "0"),
        ("MAX_CONSECUTIVE_LOSSES", "2.5"),
        ("REPLAY_SPEED", "-1"),
        ("REPLAY_SPEED", "nan"),
        ("STALE_AFTER_S", "inf"),
        ("SUBMIT_TIMEOUT_S", "0"),
        ("FPS", "0"),
        ("KILL_SWITCH", "maybe"),
        ("ON_TERMINAL_LOST", "hang"),
        ("LOG_LEVEL", "loud"),
        ("FEED", "carrier pigeon"),
        ("DATA_DIR", ""),
        ("REPLAY_START", "2018-04-04T06:00:00"),
        ("REPLAY_START", "yesterday"),
        ("TRADING_DAY_ZONE", "Mars/Olympus"),
        ("TRADING_DAY_ZONE", "America"),
        ("TRADING_DAY_ZONE", "../../etc/passwd"),
    ],
)
def test_a_value_outside_its_rule_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = problems()
    assert line.startswith(f"{name}='{value}': ")


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("MAX_POSITION_SIZE_PCT", "100", 100),
        ("MAX_POSITION_SIZE_PCT", "0.01", Decimal("0.01")),
        ("COMMISSION_PCT", "0", 0),
        ("REPLAY_SPEED", "0", 0),
        ("KILL_SWITCH", "yes", True),
        ("MODE", "LIVE", Mode.LIVE),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("SYMBOLS", " AAPL, BTC-USD,,AAPL ", ("AAPL", "BTC-USD")),
        ("SYMBOLS", "", ()),
        ("STRATEGIES", "", ()),
        ("REPLAY_DIR", "", None),
        ("REPLAY_DIR", "~/data", Path.home() / "data"),
        ("REPLAY_START", "2018-04-04T02:00:00-04:00", datetime(2018, 4, 4, 6, tzinfo=UTC)),
        ("TRADING_DAY_ZONE", "Asia/Tokyo", ZoneInfo("Asia/Tokyo")),
    ],
)
def test_a_value_within_its_rule_is_taken(
    name: str, value: str, meant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == meant


def test_the_start_of_the_replay_is_told_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_START", "2018-04-04T02:00:00-04:00")
    assert env_text(load_settings().replay_start) == "2018-04-04T06:00:00Z"


@pytest.mark.parametrize("mode", Mode)
def test_paper_and_live_share_nothing_but_the_kill_file_by_hand_and_the_log(mode: Mode) -> None:
    settings = load_settings(mode=mode, data_dir="state")
    assert settings.database_path == Path(f"state/{mode}.db")
    assert settings.lock_path == Path(f"state/{mode}.lock")
    assert settings.journal_dir == Path(f"state/journal/{mode}")
    files = settings.kill_files
    assert files.latch == Path(f"state/{mode}.kill_switch")
    assert files.by_hand == Path("state/.kill_switch")
    assert (files.requests, files.suffix) == (Path("state"), f".{mode}.kill_request")
    assert settings.log_path == Path("state/tradebot.log")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MAX_POSITON_SIZE_PCT", "MAX_POSITION_SIZE_PCT"),
        ("MAX_DAILY_LOSS_USD", "MAX_DAILY_LOSS"),
        ("KILLSWITCH", "KILL_SWITCH"),
        ("kill_swich", "KILL_SWITCH"),
    ],
)
def test_a_misspelt_setting_is_refused_wherever_it_stands(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = f"{written} is no setting: write {meant}, or remove it"
    Path(".env").write_text(f"{written}=1\n")
    assert problems() == [expected]
    Path(".env").unlink()
    monkeypatch.setenv(written, "1")
    assert problems() == [expected]


def test_a_misspelt_setting_is_told_together_with_a_wrong_one() -> None:
    Path(".env").write_text("MOD=live\nFPS=0\n")
    first, second = problems()
    assert first.startswith("MOD is no setting: write MODE")
    assert second.startswith("FPS='0': ")


def test_what_is_not_ours_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NODE", "LOGLEVEL", "SYMBOL", "REDIS_URL", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, "1")
    Path(".env").write_text("REDIS_URL=x\nEDITOR=vi\n")
    assert load_settings() == Settings()


def test_a_line_of_the_env_file_that_sets_nothing_is_refused() -> None:
    Path(".env").write_text("# limits\nFPS=2\n\nMAX_DAILY_LOSS 10\n\n\nMAX_EXPOSURE_PCT\n")
    assert problems() == [".env line 4: not NAME=value", ".env line 7: not NAME=value"]


def test_an_env_file_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"FPS=2\n\xff\xfe\n")
    (line,) = problems()
    assert line.startswith(".env cannot be read (")


def test_a_byte_order_mark_hides_no_setting() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfKILL_SWITCH=true\n")
    assert load_settings().kill_switch


def test_a_hostile_value_reaches_the_terminal_clean_and_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FEED", "\x1b[31m[link]" + "x" * 1000)
    (line,) = problems()
    assert "\x1b" not in line
    assert "[" not in line
    assert len(line) < 300


def test_a_wrong_secret_is_not_told() -> None:
    class Keyed(BaseSettings):
        token: SecretStr = Field(SecretStr("canary"), min_length=40)
        key: SecretStr | None = Field(None, min_length=40)

    with pytest.raises(ValidationError) as raised:
        Keyed(token=SecretStr("canary-1"), key=SecretStr("canary-2"))
    lines = explain(raised.value, Keyed)
    assert [line.split(":")[0] for line in lines] == ["TOKEN='***'", "KEY='***'"]
    assert "canary" not in "".join(lines)
    assert "canary" not in env_text(SecretStr("canary"))


def test_an_override_of_no_setting_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="max_position"):
        load_settings(max_position=1)


def test_the_example_holds_every_setting_and_changes_none() -> None:
    Path(".env").write_text(env_example())
    assert load_settings() == Settings.model_construct()
    written = [line.split("=")[0] for line in env_example().splitlines() if "=" in line]
    assert [name for name in written if name.isupper()] == [
        name.upper() for name in Settings.model_fields
    ]


def test_every_setting_is_described() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undescribed == []


@pytest.mark.parametrize(
    "address", ["canary", "postgres://ann:canary@db/x", "sqlite:///canary", "mysql://canary"]
)
def test_an_address_that_is_none_of_a_server_is_refused_and_not_told(address: str) -> None:
    (line,) = problems(database_url=address)
    assert line.startswith("DATABASE_URL='***': value error, write postgresql+asyncpg://USER")
    assert "canary" not in line


def test_the_address_of_the_server_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://ann:canary@db/x")
    settings = load_settings()
    assert settings.database_url.get_secret_value().endswith("canary@db/x")
    assert "canary" not in f"{settings!r}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SIZING", "half", "half is none of fixed_quantity, fixed_notional, "),
        ("SIZING", "fixed_notional", "fixed_notional needs a number, the money"),
        ("SIZING_CALM", "hybrid", "hybrid is made of two others"),
        ("SIZING_BY_STRATEGY", "vwap", "write STRATEGY:METHOD"),
        ("SIZING_BY_STRATEGY", "vwap:kelly:2", "part of the Kelly fraction must be above 0"),
        ("SIZING_BY_STRATEGY", "vwap:kelly,vwap:hybrid", "vwap is there twice"),
        ("SIZING_TURBULENCE", "0.5", "greater than or equal to 1"),
    ],
)
def test_a_sizing_that_is_none_is_told_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = problems()
    assert line.startswith(f"{name}=")
    assert said in line
