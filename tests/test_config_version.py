"""The version of program, settings and strategies: the same for the same, another for another."""

from pathlib import Path

from pydantic import SecretStr

from engine.config_version import config_version
from engine.core.events import ConfigUsed, EngineStarted
from engine.ops.settings import Settings
from tests.core.rig import Rig


def settings(**given: object) -> Settings:
    return Settings.model_validate(given)


def test_it_is_the_same_for_the_same_settings_and_another_for_others() -> None:
    version = config_version(settings())
    assert len(version) == 12
    assert config_version(settings()) == version
    assert config_version(settings(max_daily_loss="999")) != version


def test_no_secret_is_in_it() -> None:
    server = SecretStr("postgresql+asyncpg://me:secret@here/db")
    assert config_version(settings(database_url=server)) == config_version(settings())


def test_a_strategy_file_that_changed_makes_another(tmp_path: Path) -> None:
    mine = settings(strategies_dir=tmp_path)
    before = config_version(mine)
    (tmp_path / "mine.py").write_text("A = 1")
    first = config_version(mine)
    (tmp_path / "mine.py").write_text("A = 2")
    assert len({before, first, config_version(mine)}) == 3


def test_the_start_is_audited_with_it() -> None:
    rig = Rig(started=False)
    rig.send(EngineStarted("0123456789ab"))
    assert [fact.config for fact in rig.facts(ConfigUsed)] == ["0123456789ab"]
