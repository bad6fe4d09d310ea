"""The research screen: real backtests in processes of their own, and their reports."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from textual.widgets import Input

from engine.cli.main import main
from tests.tui import reports, scripted
from tests.tui.scripted import STRATEGIES, Desk, desk
from tui.dialogs.research import ResearchDialog
from tui.reports import Trial, load, load_tried
from tui.research import Request, Run, in_fields, label
from tui.screens.research import Research
from tui.widgets.reports import percent

RUN = {"strategy": "sma_crossover", "symbols": "ETH-USD", "start": "2018-04-04"}
DAY = RUN | {"end": "2018-04-04"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return tmp_path / "research"


@asynccontextmanager
async def research(folder: Path, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Desk]:
    """The screen, with what is in `folder`."""
    async with desk(scripted.paper(), size=size) as it:
        it.app.reports = folder
        await it.press("7")
        await settled(it)
        yield it


async def settled(it: Desk) -> str:
    """What is on the screen once nothing is under way."""
    await it.app.workers.wait_for_complete()
    it.client.change()
    return await it.draw()


def pairs(trial: Trial) -> str:
    return " ".join(f"{name}={value}" for name, value in trial.parameters.items())


async def pid_of(run: Run) -> int:
    for _ in range(100_000):
        if run.pid is not None:
            return run.pid
        await asyncio.sleep(0)
    raise TimeoutError


async def fill_in(it: Desk, key: str = "n", **values: str) -> None:
    await it.press(key, seconds=1.0)
    it.client.change()
    await it.draw(1.0)
    for name, value in values.items():
        it.app.screen.query_one(f"#{name}", Input).value = value


async def test_a_real_backtest_is_run_and_its_report_is_shown(folder: Path) -> None:
    async with research(folder) as it:
        assert "no report yet: n starts a backtest, S a search" in it.screen
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


async def test_a_real_search_is_run_and_what_it_tried_is_shown(folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, "S", **DAY, grid="fast=5, 10 slow=10:30:20")
        await it.press("enter")
        screen = await settled(it)
        (report,) = load(folder)
        assert report.document is not None
        tried = load_tried(folder / report.name)
        assert (report.document.kind, len(tried.trials)) == ("search", 3)
        assert report.document.parameters == tried.trials[0].parameters
        assert "3 trials, all figures in sample" in screen
        for number, trial in enumerate(tried.trials, 1):
            row = f"{number}  {pairs(trial)}"
            shown = next(line for line in screen.splitlines() if row in line)
            assert percent(trial.outcome.total_return, signed=True) in shown


async def test_a_real_walk_forward_is_run_and_its_windows_are_shown(folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, "W", strategy="sma_crossover", symbols="ETH-USD", windows="2")
        await it.press("enter")
        screen = await settled(it)
        (report,) = load(folder)
        windows = load_tried(folder / report.name).windows
        assert "2 windows, figures of what was traded" in screen
        assert len(windows) == 2
        assert "out of sample" in screen
        for window in windows:
            assert percent(window.out_of_sample.total_return, signed=True) in screen
            assert percent(window.in_sample.total_return, signed=True) in screen


async def test_a_run_says_how_much_is_done_and_when_it_will_end(folder: Path) -> None:
    async with research(folder) as it:
        run = Run(Request(**DAY), it.clock)
        await run.carry_out()
        run.state, run.done, run.total = "running", 250, 1_000
        it.app.research = run
        assert " 25%, 30s left: 250 of 1,000 bars" in await it.draw(10.0)


async def test_a_search_and_a_backtest_stand_side_by_side(folder: Path) -> None:
    reports.write_two(folder)
    reports.write_search(folder)
    reports.write_walk_forward(folder)
    async with research(folder) as it:
        await it.press("end", "v", "home", "down")
        await settled(it)
        assert "in sample, best" in it.screen
        assert "of all bars" in it.screen
        assert "fast=20 slow=60" in it.screen
        await it.press("up")
        screen = await settled(it)
        assert "by window" in screen
        assert "fast=20 slow=60" not in screen
        assert [screen.count(f"{traded}%") for traded in ("-0.20", "+0.40", "+1.60")] == [1, 1, 1]
        assert "62.00%" in next(line for line in screen.splitlines() if "efficiency" in line)


async def test_the_trials_take_turns_with_the_report_where_there_is_no_room(folder: Path) -> None:
    reports.write_search(folder)
    async with research(folder, size=(80, 24)) as it:
        assert "final equity" not in it.screen or "in sample" not in it.screen
        await it.press("tab", "tab")
        screen = await settled(it)
        assert "fast=20 slow=60" in screen


@pytest.mark.parametrize(
    ("key", "values", "words"),
    [
        ("S", {"grid": "fast=9:1:1"}, "grid: 'fast=9:1:1' is neither values such as"),
        ("S", {"by": "luck"}, "by: 'luck' is not one of 'return', 'sharpe', 'sortino'"),
        ("W", {"in_sample": "0"}, "in-sample: '0' is not a whole number from 1 to 20"),
        ("W", {"end": "2018-04-04T00:30"}, 'fewer "windows", or a lower "in-sample"'),
    ],
)
async def test_what_is_wrong_with_a_search_is_said_in_the_form(
    key: str, values: dict[str, str], words: str, folder: Path
) -> None:
    async with research(folder) as it:
        await fill_in(it, key, **(DAY | values))
        await it.press("enter")
        screen = await settled(it)
        inside = [line.split("┃")[1].strip() for line in screen.splitlines() if "┃" in line]
        assert words in " ".join(inside)
        assert load(folder) == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"strategy": "nope"}, "There is no strategy 'nope'"),
        ({"start": "yesterday"}, "start: 'yesterday' is neither a date such as 2022-01-31"),
        ({"parameters": "fast=x"}, 'not a whole number) Give it other values with "parameters"'),
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


async def test_the_field_that_is_wrong_has_the_cursor(folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, **(DAY | {"cash": "lots"}))
        await it.press("enter")
        assert "cash: 'lots' is not an amount above 0" in await settled(it)
        assert it.app.focused is it.app.screen.query_one("#cash")
        await it.press("shift+tab", "shift+tab")
        assert it.app.focused is it.app.screen.query_one("#end")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"strategy": "nope"}, "strategy"),
        ({"symbols": "NOPE"}, "symbols"),
        ({"parameters": "quick=5"}, "parameters"),
        ({"parameters": "fast=50 slow=10"}, "parameters"),
        ({"start": "2018-04-05"}, "start"),
    ],
    ids=lambda value: str(value),
)
async def test_what_is_not_there_has_the_cursor_too(
    wrong: dict[str, str], field: str, folder: Path
) -> None:
    async with research(folder) as it:
        await fill_in(it, **(DAY | wrong))
        await it.press("enter")
        await settled(it)
        assert it.app.focused is it.app.screen.query_one(f"#{field}")


WRONG = (
    {"strategy": "nope"},
    {"symbols": "NOPE"},
    {"symbols": "ETH-USD,"},
    {"start": "2018-04-05"},
    {"end": "31.1."},
    {"start": "2019-01-01", "end": ""},
    {"parameters": "fast"},
    {"parameters": "fast=5 fast=6"},
    {"parameters": "quick=5"},
    {"parameters": "fast=50 slow=10"},
    {"cash": "-1"},
    {"kind": "search", "grid": "quick=1,2"},
    {"kind": "search", "grid": "fast=a,b"},
    {"kind": "search", "grid": "fast=5,10", "parameters": "fast=5"},
    {"kind": "search", "grid": "fast=1:400:1 slow=401:500:1"},
    {"kind": "search", "grid": "fast=50 slow=10,20"},
    {"kind": "search", "parameters": "fast=5 slow=20"},
    {"kind": "walk-forward", "by": "luck"},
    {"kind": "walk-forward", "windows": "x"},
    {"kind": "walk-forward", "in_sample": "99"},
    {"kind": "walk-forward", "end": "2018-04-04T00:30"},
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: " ".join(wrong.values()))
def test_no_option_of_the_command_line_is_named_in_the_form(wrong: dict[str, str]) -> None:
    request = Request(**(DAY | wrong))
    ended = CliRunner().invoke(main, request.arguments)
    _, _, said = ended.stderr.rpartition("help.\n")
    assert ended.exit_code == 2
    told = in_fields(said)
    assert "--" not in told
    (*_, field) = wrong
    assert label(field).rstrip("s") in told


def test_what_was_typed_is_told_as_it_was_typed() -> None:
    assert in_fields("Invalid value for '--grid': '--by' is wrong") == "grid: '--by' is wrong"
    assert in_fields("no option --paramount") == "no option --paramount"


@pytest.mark.parametrize("name", ["strategy", "symbols"])
async def test_what_is_missing_is_said_at_once(name: str, folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, **(DAY | {name: " "}))
        await it.press("enter")
        assert f"┃  {name}: " in it.screen
        assert it.app.focused is it.app.screen.query_one(f"#{name}")
        await it.press("escape")
        assert "nothing is running" in it.screen


async def test_a_run_is_cancelled_and_leaves_no_report(folder: Path) -> None:
    async with research(folder) as it:
        await fill_in(it, **RUN)
        await it.press("enter", "escape")
        assert "x cancel " in it.screen.splitlines()[-1]
        await it.press("n")
        assert it.app.screen is it.app.base
        assert "a backtest is running: x cancels it" in it.screen
        await it.press("x")
        assert "CANCELLED no report" in await settled(it)
        assert "x cancel" not in (await it.draw(10)).splitlines()[-1]
        await it.press("x")
        assert "nothing is running" in it.screen
        assert load(folder) == ()


async def test_a_run_is_started_and_cancelled_from_each_panel(folder: Path) -> None:
    async with research(folder) as it:
        for panel in Research.PANELS:
            it.app.base.go_to(panel)
            await it.press("n")
            assert isinstance(it.app.screen, ResearchDialog)
            await it.press("escape")
            it.app.research = Run(Request())
            await it.press("x")
            assert it.app.research.state == "cancelled"
            assert "n new" in it.screen.splitlines()[-1]
            await it.press("question_mark")
            assert "Start a walk-forward" in it.screen
            await it.press("escape")


async def test_a_run_that_is_killed_says_so(folder: Path) -> None:
    run = Run(Request(**RUN))
    going = asyncio.create_task(run.carry_out())
    os.kill(await pid_of(run), signal.SIGKILL)
    await going
    assert (run.state, run.is_over) == ("failed", True)
    assert run.why == "it was ended from outside by SIGKILL: the machine may be out of memory"


async def test_a_run_ends_with_what_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it does not end when asked, and what waits is cancelled twice, as at a quit."""
    monkeypatch.setattr("tui.research._GRACE", 0.0)
    run = Run(Request(**RUN))
    going = asyncio.create_task(run.carry_out())
    os.kill(pid := await pid_of(run), signal.SIGSTOP)
    for _ in range(2):
        going.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await going
    assert run._process is not None
    assert run._process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_quit_while_a_run_is_going_ends_without_a_word(folder: Path) -> None:
    script = (
        "import asyncio, gc, threading\n"
        "from tui.research import Request, Run\n"
        f"run = Run(Request(**{RUN!r}))\n"
        "async def main():\n"
        "    main.going = asyncio.create_task(run.carry_out())\n"
        "    while run.pid is None:\n"
        "        await asyncio.sleep(0)\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
        "for thread in threading.enumerate()[1:]: thread.join()\n"
        "run = main.going = None\n"
        "gc.collect()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")


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


def test_what_a_form_does_not_ask_is_not_sent() -> None:
    request = Request("sma", "A", grid="a=1, 2 b=1:3:1", by="sharpe", windows="3", in_sample="2")
    assert request.arguments == ["backtest", "--strategy=sma", "--symbol=A"]
    searched = [*request.arguments[1:], "--by=sharpe"]
    assert request._replace(kind="search").arguments == [
        *("search", *searched, "--grid=a=1,2", "--grid=b=1:3:1")
    ]
    assert request._replace(kind="walk-forward").arguments == [
        *("walk-forward", *searched, "--windows=3", "--in-sample=2"),
        *("--grid=a=1,2", "--grid=b=1:3:1"),
    ]


def test_no_text_of_the_form_is_taken_for_another_option() -> None:
    request = Request("--json", "A,B", "", " ", "fast=5, --data=/etc", "10")
    assert request.arguments == [
        "backtest",
        "--strategy=--json",
        "--symbol=A,B",
        "--cash=10",
        "--param=fast=5",
        "--param=--data=/etc",
    ]


def test_the_proposal_is_a_strategy_of_the_session() -> None:
    from tui.frame import Frame
    from tui.screens.research import _proposed

    assert _proposed(Frame(scripted.paper(), 0.0), None) == Request("sma_crossover", "AAPL")
    assert _proposed(Frame(None, 0.0), None) == Request()


def test_the_proposal_is_what_is_switched_on_and_selected() -> None:
    from tui.frame import Frame
    from tui.screens.research import _proposed

    snapshot = scripted.paper()
    on, *others = snapshot.strategies
    (without, *quotes) = snapshot.quotes
    without = replace(without, quote=None, last=None, ts=0)
    symbols = tuple(row.symbol for row in (without, *quotes))
    paused = replace(on, state="paused", symbols=symbols)
    rows = (*(replace(row, state="off") for row in others), paused)
    frame = Frame(replace(snapshot, strategies=rows, quotes=(without, *quotes)), 0.0)
    assert _proposed(frame, None) == Request(on.name, symbols[1])
    assert _proposed(frame, None, symbols[2]) == Request(on.name, symbols[2])
    assert _proposed(frame, None, "NOPE") == Request(on.name, symbols[1])


async def test_the_form_begins_with_a_strategy_that_is_on_or_with_what_the_report_is_of(
    tmp_path: Path,
) -> None:
    off, on = replace(STRATEGIES[0], state="off"), replace(STRATEGIES[1], state="on")
    async with desk(replace(scripted.paper(), strategies=(off, on))) as it:
        it.app.reports = tmp_path
        await it.press("7", "n")
        assert it.app.screen.query_one("#strategy", Input).value == on.name
        assert it.app.screen.query_one("#symbols", Input).value == on.symbols[0]
        await it.press("escape", "1")
        reports.write_two(tmp_path)
        await it.press("7")
        await it.app.workers.wait_for_complete()
        await it.press("end", "n")
        kept = load(tmp_path)[-1].document
        assert kept is not None
        assert it.app.screen.query_one("#strategy", Input).value == kept.strategy
        assert it.app.screen.query_one("#symbols", Input).value == ",".join(kept.symbols)
