"""Strategies that come, change and break while the engine runs."""

import logging
import os
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.core.events import StrategyLoaded, ToggleStrategy
from engine.core.model import MINUTE, Scope
from engine.host import reloading, watchdog
from engine.ops.settings import Settings
from engine.styles.templates import TEMPLATES
from engine.view.snapshot import Snapshot
from tests.session import ZIGZAG, Session, journals, ledger_check, running, zigzag
from tui.dialogs.kill import parts

SLOW_STRATEGY = """
import time

from engine.core.strategy import Strategy

class Slow(Strategy):
    def on_bar(self, bar, history):
        if self.live:
            time.sleep(0.25)

STRATEGY_NAME = "slow"
STRATEGY_CLASS = Slow
"""
SLOW_FRAME = """
import time

from engine.styles.frame import FrameStrategy

class Slow(FrameStrategy):
    def required_history(self):
        return 1

    def populate_indicators(self, frame):
        time.sleep(0.25)
        return frame.assign(enter=False, exit=False)

    populate_entry_conditions = populate_exit_conditions = lambda self, frame: frame

STRATEGY_NAME = "slow"
STRATEGY_CLASS = Slow
"""
NEW = ZIGZAG.replace("zigzag", "newcomer").replace("Zigzag", "Newcomer")
EDITED = ZIGZAG + "\n# edited\n"
ON = ToggleStrategy(strategy="zigzag", enabled=True, author="me")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "LOOK_EVERY_S", 0.02)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path, sizing="fixed_quantity:10")


def file(settings: Settings, name: str = "zigzag") -> Path:
    assert settings.strategies_dir is not None
    return settings.strategies_dir / f"{name}.py"


def state(snapshot: Snapshot, name: str) -> str:
    return {row.name: row.state for row in snapshot.strategies}.get(name, "")


def note(snapshot: Snapshot, name: str) -> str:
    return {row.name: row.note for row in snapshot.strategies}[name]


def held(snapshot: Snapshot) -> Decimal:
    return sum((row.position.quantity for row in snapshot.positions), Decimal(0))


def loaded(session: Session) -> list[StrategyLoaded]:
    found = session.rows("select payload from audit_log where kind = 'StrategyLoaded' order by id")
    return [msgspec.json.decode(payload, type=StrategyLoaded) for (payload,) in found]


async def test_a_new_file_is_there_without_a_restart_and_off(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on" and held(s))
        file(settings, "newcomer").write_text(NEW)
        snapshot = await session.until(lambda s: state(s, "newcomer"))
        assert state(snapshot, "newcomer") == "off"
        assert state(snapshot, "zigzag") == "on"
        assert "newcomer" in [p.name for p in parts(snapshot) if p.scope is Scope.STRATEGY]
        session.command(ToggleStrategy(strategy="newcomer", enabled=True, author="me"))
        await session.until(lambda s: any(o.strategy == "newcomer" for o in s.orders))
    assert await ledger_check(settings) == []


@pytest.mark.parametrize("style", TEMPLATES)
async def test_a_new_strategy_of_each_style_trades_and_replays_to_the_same_state(
    style: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    source = TEMPLATES[style].strategy.format(title="New", kind="Newcomer", name="newcomer")
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")
        file(settings, "newcomer").write_text(source.replace("] = 20", "] = 2"))
        await session.until(lambda s: state(s, "newcomer") == "off")
        session.command(ToggleStrategy(strategy="newcomer", enabled=True, author="me"))
        session.command(ToggleStrategy(strategy="zigzag", enabled=False, author="me"))
        await session.until(lambda s: any(p.position.strategy == "newcomer" for p in s.positions))
    async with running(settings) as session:
        await session.until(lambda s: state(s, "newcomer") == "on" and s.ts)
    assert await ledger_check(settings) == []
    for journal in journals(settings):
        done = CliRunner().invoke(main, ["replay", str(journal)])
        assert "equal: the session ended in this state" in done.output, done.output


async def test_an_edited_strategy_keeps_its_position_and_asks_before_it_trades(
    tmp_path: Path,
) -> None:
    settings = zigzag(tmp_path, sells=False)
    bought = file(settings).read_text()
    async with running(settings) as session:
        await session.until(held)
        file(settings).write_text(ZIGZAG)
        snapshot = await session.until(lambda s: state(s, "zigzag") == "off")
        assert note(snapshot, "zigzag") == "its file changed: switch it on to let it trade"
        position, orders = held(snapshot), len(snapshot.orders)
        later = await session.until(lambda s: s.ts > snapshot.ts + 10 * MINUTE)
        assert position
        assert (held(later), len(later.orders)) == (position, orders)
        session.command(ON)
        await session.until(lambda s: not held(s))
    told = [fact for fact in loaded(session) if fact.strategy == "zigzag"]
    assert [(fact.fingerprint, fact.changed) for fact in told] == [
        (sha256(bought.encode()).hexdigest(), False),
        (sha256(ZIGZAG.encode()).hexdigest(), True),
    ]
    assert await ledger_check(settings) == []


async def test_a_file_that_changed_between_two_sessions_asks_too(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")
    file(settings).write_text(EDITED)
    async with running(settings) as session:
        snapshot = await session.until(lambda s: state(s, "zigzag"))
        assert state(snapshot, "zigzag") == "off"
        session.command(ON)
        await session.until(lambda s: state(s, "zigzag") == "on")
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "SyntaxError"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
async def test_a_file_that_breaks_is_shown_and_what_was_loaded_goes_on(
    settings: Settings, source: str, said: str
) -> None:
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on" and held(s))
        file(settings).write_text(source)
        snapshot = await session.until(lambda s: state(s, "zigzag.py"))
        assert state(snapshot, "zigzag.py") == "broken"
        assert said in note(snapshot, "zigzag.py")
        assert "zigzag.py" not in [part.name for part in parts(snapshot)]
        assert any("zigzag.py is broken" in line.text for line in snapshot.log)
        assert state(snapshot, "zigzag") == "on"
        orders = len(snapshot.orders)
        await session.until(lambda s: len(s.orders) > orders)
        file(settings).write_text(ZIGZAG)
        mended = await session.until(lambda s: not state(s, "zigzag.py"))
        assert state(mended, "zigzag") == "on"


async def test_one_that_cannot_be_set_up_anew_is_off_and_the_others_go_on(
    settings: Settings,
) -> None:
    file(settings, "newcomer").write_text(NEW)
    async with running(settings) as session:
        await session.until(lambda s: state(s, "newcomer") == "off")
        bad = NEW.replace("self.seen = 0", "raise OSError('no such model')")
        file(settings, "newcomer").write_text(bad)
        snapshot = await session.until(lambda s: state(s, "newcomer") == "failed")
        assert "no such model" in note(snapshot, "newcomer")
        assert state(snapshot, "zigzag") == "on"


@pytest.mark.parametrize("source", [SLOW_STRATEGY, SLOW_FRAME], ids=["event", "frame"])
async def test_one_that_is_slow_at_every_bar_is_switched_off_after_a_count(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "SLOW_S", 0.1)
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.02)
    caplog.set_level(logging.WARNING)
    settings = zigzag(tmp_path, strategies=("zigzag", "slow"), replay_speed=120)
    file(settings, "slow").write_text(source)
    async with running(settings) as session:
        snapshot = await session.until(lambda s: state(s, "slow") == "off")
        assert state(snapshot, "zigzag") == "on"
        assert any("slow held the engine up" in line.text for line in snapshot.log)
    held_up = [r.getMessage() for r in caplog.records if "holds the engine up" in r.getMessage()]
    assert held_up[0] == "the strategy slow holds the engine up: 1 of 5"
    assert held_up[4].endswith("5 of 5")


async def test_a_replay_goes_as_far_as_the_files_that_are_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")
        file(settings, "newcomer").write_text(NEW)
        await session.until(lambda s: state(s, "newcomer"))
        session.command(ToggleStrategy(strategy="newcomer", enabled=True, author="me"))
        await session.until(lambda s: any(o.strategy == "newcomer" for o in s.orders))
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    (journal,) = journals(settings)
    same = CliRunner().invoke(main, ["replay", str(journal)])
    assert "equal: the session ended in this state" in same.output
    file(settings, "newcomer").write_text(NEW + "# another\n")
    other = CliRunner().invoke(main, ["replay", str(journal)])
    assert other.exit_code == 2
    assert "the session loaded another file of the strategy newcomer" in other.output
    assert sha256(NEW.encode()).hexdigest() in other.output


async def test_an_edit_of_the_same_size_and_time_is_seen(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(lambda s: state(s, "zigzag") == "on")
        before = file(settings).stat()
        file(settings).write_text(ZIGZAG.replace("seen % 6", "seen % 5"))
        os.utime(file(settings), ns=(before.st_atime_ns, before.st_mtime_ns))
        await session.until(lambda s: state(s, "zigzag") == "off")


async def test_the_remedy_of_a_file_that_is_refused_works_at_once(settings: Settings) -> None:
    file(settings, "newcomer").write_text(NEW)
    file(settings, "newcomer").chmod(0o666)
    async with running(settings) as session:
        snapshot = await session.until(lambda s: state(s, "newcomer.py") == "broken")
        assert "chmod o-w" in note(snapshot, "newcomer.py")
        file(settings, "newcomer").chmod(0o644)
        mended = await session.until(lambda s: state(s, "newcomer"))
        assert not state(mended, "newcomer.py")
