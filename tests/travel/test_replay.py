"""`tradebot replay`: a session comes to the same state again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.core.events import TripKillSwitch
from engine.ops.settings import Settings
from tests.session import journals, running, zigzag


@pytest.fixture
async def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a session that traded and ended in order."""
    monkeypatch.chdir(tmp_path)
    settings = zigzag(tmp_path)
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    async with running(settings) as session:
        await session.until(lambda s: len(s.orders) > 4)
        session.command(TripKillSwitch(source="key", author="me"))
        await session.until(lambda s: s.kill.phase == "complete")
    return settings


def replay(settings: Settings, *options: str) -> Result:
    (journal,) = journals(settings)
    return CliRunner().invoke(main, ["replay", str(journal), *options])


def test_a_replay_comes_to_the_state_in_which_the_session_ended(settings: Settings) -> None:
    result = replay(settings)
    assert result.exit_code == 0
    assert "equal: the session ended in this state" in result.output
    told = json.loads(replay(settings, "--json").output)
    assert told["equal"] is True
    assert told["state"] == told["session_state"]
    assert told["state"] in result.output
    assert told["inputs"] > 20
    assert told["torn"] == ""


def test_a_torn_journal_is_replayed_to_its_last_whole_record(settings: Settings) -> None:
    (journal,) = journals(settings)
    whole = json.loads(replay(settings, "--json").output)
    data = journal.read_bytes()
    journal.write_bytes(data[:-3])
    told = json.loads(replay(settings, "--json").output)
    assert told["inputs"] == whole["inputs"]  # the end itself was torn off
    assert (told["equal"], told["state"]) == (None, whole["state"])
    assert told["torn"].startswith("cut at byte")
    last = int(told["torn"].split()[3].rstrip(":"))
    journal.write_bytes(data[: last - 1])
    result = replay(settings)
    assert result.exit_code == 0
    assert "the journal is torn: cut at byte" in result.output
    assert "its own state is not known" in result.output


async def test_a_journal_at_its_bound_is_told_once_and_replayed_as_far_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("engine.store.journal.MB", 20_000)
    settings = zigzag(tmp_path, journal_max_mb=1)
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    async with running(settings) as session:
        await session.until(lambda s: s.feed.status == "ended")
        snapshot = await session.until(lambda s: any("its bound of" in e.text for e in s.log))
        count = len(session.snapshots)
        await session.until(lambda _: len(session.snapshots) > count + 20)
        snapshot = session.snapshots[-1]
    assert [line.level for line in snapshot.log if "its bound of" in line.text] == ["error"]
    (journal,) = journals(settings)
    assert 19_000 < journal.stat().st_size <= 20_000
    result = replay(settings)
    assert result.exit_code == 0
    assert "went on after its journal: its own state is not known" in result.output


def test_another_end_is_told_with_its_exit_status(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code changed since: a machine that counts its losses otherwise comes to another state."""
    from engine.core.portfolio import Portfolio

    on_fill = Portfolio.on_fill

    def dearer(self: Portfolio, event: object) -> None:
        on_fill(self, event)  # pyright: ignore[reportArgumentType]
        self.cash["paper"] -= 1

    monkeypatch.setattr(Portfolio, "on_fill", dearer)
    result = replay(settings)
    assert result.exit_code == 1
    assert "DIFFERENT: the session ended in state" in result.output


def test_a_strategy_that_is_not_there_or_changed_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.strategies_dir is not None
    file = settings.strategies_dir / "zigzag.py"
    source = file.read_text()
    file.write_text(source.replace("% 6", "% 8"))
    result = replay(settings)
    assert (result.exit_code, "zigzag is not what it was" in result.output) == (2, True)
    monkeypatch.setenv("STRATEGIES_DIR", "")
    monkeypatch.setenv("STRATEGIES", "")
    result = replay(settings)
    assert (result.exit_code, "needs the strategy zigzag" in result.output) == (2, True)


def test_what_is_no_journal_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("hello, this is no journal")
    result = CliRunner().invoke(main, ["replay", "x"])
    assert (result.exit_code, "is no journal" in result.output) == (2, True)
