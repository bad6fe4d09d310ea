"""The research screen: real backtests in processes of their own, and their reports."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui import reports, scripted
from tests.tui.scripted import Desk, desk
from tui.research import Request, Run, load

RUN = {"strategy": "sma_crossover", "symbols": "ETH-USD", "start": "2018-04-04"}
DAY = RUN | {"end": "2018-04-04"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return tmp_path / "research"


@asynccontextmanager
async def research(folder: Path) -> AsyncIterator[Desk]:
    """The screen, with what is in `folder`."""
    async with desk(scripted.paper()) as it:
        it.app.reports = folder
        await it.press("7")
        await settled(it)
        yield it


async def settled(it: Desk) -> str:
    """What is on the screen once nothing is under way."""
    await it.app.workers.wait_for_complete()
    it.client.change()
    return await it.draw()


async def pid_of(run: Run) -> int:
    for _ in range(100_000):
        if run.pid is not None:
            return run.pid
        await asyncio.sleep(0)
    raise TimeoutError


async def fill_in(it: Desk, **values: str) -> None:
    await it.press("n", seconds=1.0)
    it.client.change()
    await it.draw(1.0)
    for name, value in values.items():
        it.app.screen.query_one(f"#{name}", Input).value = value


async def test_a_real_backtest_is_run_and_its_report_is_shown(folder: Path) -> None:
    async with research(folder) as it:
        assert "no report yet: n starts a backtest" in it.screen
        await fill_in(it, **DAY, parameters="fast=5 slow=20")
        await it.press("enter")
        assert "checking …" in it.screen
        assert "starting …" in it.screen
        screen = await settled(it)
        (report,) = load(folder)
        assert report.document is not None
        assert it.app.screen is it.app.base
        assert "DONE 1,009 bars" in screen
        assert report.document.parameters == {"fast": 5, "slow": 20}
        assert f"{report.document.statistics.final_equity:,.2f}" in screen
        assert it.sent_but_life == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"strategy": "nope"}, "There is no strategy 'nope'"),
        ({"start": "yesterday"}, "neither a date such as 2022-01-31"),
        ({"parameters": "fast"}, "is not NAME=VALUE"),
    ],
)
async def test_what_is_wrong_is_said_in_the_form(
    wrong: dict[str, str], words: str, folder: Path
) -> None:
    async with research(folder) as it:
        await fill_in(it, **(DAY | wrong))
        await it.press("enter")
        screen = await settled(it)
        inside = [line.split("┃")[1].strip() for line in screen.splitlines() if "┃" in line]
        assert words in " ".join(inside)
        assert it.app.screen is not it.app.base
        assert "Usage" not in screen
        assert load(folder) == ()


@pytest.mark.parametrize("name", ["strategy", "symbols"])
async def test_what_is_missing_is_said_at_once(name: str, folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, **(DAY | {name: " "}))
        await it.press("enter")
        assert f"┃  {name}: " in it.screen
        assert it.app.focused is it.app.screen.query_one(f"#{name}")
        await it.press("escape")
        assert "no backtest is running" in it.screen


async def test_a_run_is_cancelled_and_leaves_no_report(folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, **RUN)
        await it.press("enter", "escape", "n")
        assert it.app.screen is it.app.base
        assert "a backtest is running: x cancels it" in it.screen
        await it.press("x")
        assert "CANCELLED no report" in await settled(it)
        await it.press("x")
        assert "no backtest is running" in it.screen
        assert load(folder) == ()


async def test_a_run_that_is_killed_says_so(folder: Path) -> None:
    run = Run(Request(**RUN))
    going = asyncio.create_task(run.carry_out())
    os.kill(await pid_of(run), signal.SIGKILL)
    await going
    assert (run.state, run.is_over) == ("failed", True)
    assert run.why == "it was ended from outside by SIGKILL: the machine may be out of memory"


async def test_a_run_ends_with_what_waits_for_it(folder: Path) -> None:
    run = Run(Request(**RUN))
    going = asyncio.create_task(run.carry_out())
    await pid_of(run)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert run._process is not None
    assert await run._process.wait() == -signal.SIGKILL


async def test_two_reports_stand_side_by_side(folder: Path) -> None:
    reports.write_two(folder)
    async with research(folder) as it:
        await it.press("down")
        row = next(line for line in it.screen.splitlines() if "final equity" in line)
        assert row.split()[-2] == "101,230.00"
        await it.press("v", "up")
        lines = {line[59:].split("  ")[0].strip(" │"): line for line in it.screen.splitlines()}
        assert lines["final equity"].split()[-4:-1] == ["101,980.00", "101,230.00", "+750.00"]
        assert lines["return"].split()[-4:-1] == ["1.98%", "1.23%", "+0.75%"]
        assert lines["Sharpe"].split()[-4:-1] == ["—", "1.21", "—"]
        await it.press("down", "v", "up")
        assert "+750.00" not in it.screen


async def test_what_is_no_report_says_so(folder: Path) -> None:
    reports.write_two(folder)
    (folder / "20220201T000000.000000Z-x.json").write_text("{}")
    async with research(folder) as it:
        assert "not a report" in it.screen
        assert "3 reports" in it.screen
        await it.press("home", "v")
        assert "select a report to compare with" in it.screen


def test_no_text_of_the_form_is_taken_for_another_option() -> None:
    request = Request("--json", "A,B", "", " ", "fast=5, --data=/etc", "10")
    assert request.arguments == [
        "--strategy=--json",
        "--symbol=A,B",
        "--cash=10",
        "--param=fast=5",
        "--param=--data=/etc",
    ]


def test_the_proposal_is_a_strategy_of_the_session() -> None:
    from tui.frame import Frame
    from tui.screens.research import _proposed

    assert _proposed(Frame(scripted.paper(), 0.0)) == Request("sma_crossover", "AAPL")
    assert _proposed(Frame(None, 0.0)) == Request()
