"""What the console shows of the past is what it showed then: each panel, each dialog, each key."""

import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.events import SignOfLife, TripKillSwitch
from engine.ops.settings import Settings
from engine.view.questions import Bars, Chain, Equity
from engine.view.snapshot import Snapshot
from tests.postgresql import done
from tests.session import journals, zigzag
from tests.travel.test_asked import Asked, places, recorded
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tests.tui.test_travelling import PATIENCE_S, at, gone, past, seen
from tui.commands import ACTIONS, ASKED_WHY, FIRST_SCREEN, SCREENS
from tui.dialogs.why import WhyDialog, told
from tui.export import stamp
from tui.widgets.chart import MOST_BARS, ChartPanel
from tui.widgets.equity import POINTS, EquityChart
from tui.widgets.line_table import LineTable
from tui.widgets.panel import OF_NOW, Panel

SIZE = (160, 50)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return zigzag(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def moments(settings: Settings) -> list[Asked]:
    """Random moments of a session that traded, with all that it answered then."""
    return done(recorded(settings, moments=3))


@pytest.fixture
async def there(
    settings: Settings, moments: list[Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A console at the end of that session, on an engine that runs."""
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    monkeypatch.chdir(settings.data_dir.parent)
    async with past(settings, size=SIZE) as it:
        it.app.exports = tmp_path / "exports"
        yield it


async def until(it: Desk, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, it.screen
        await it.pilot.pause(0.05)
        await it.draw()


def panels(it: Desk) -> dict[str, list[object]]:
    """What each panel of the screen reads."""
    return {name: reads(panel) for name, panel in it.app.base._panels.items()}


def reads(panel: Panel) -> list[object]:
    """Of a table all cells, of a chart what it is drawn from: how wide columns are, and in which
    order rows stay, comes of what was there before."""
    match panel:
        case LineTable():
            rows: list[object] = sorted(map(panel.cells, panel._rows), key=str)
        case EquityChart():
            rows = [panel._curve.answer]
        case ChartPanel():
            rows = [panel._bars.answer]
        case _:
            rows = [panel.render_line(y).text for y in range(panel.size.height)]
    return [str(panel.border_title), str(panel.border_subtitle), *rows]


def as_live(then: Asked, snapshot: Snapshot) -> Snapshot:
    """What the engine showed, but for what only its host knew and no journal has."""
    feed, kill = snapshot.feed, replace(then.snapshot.kill, durable=True)
    return replace(then.snapshot, feed=feed, kill=kill, log=snapshot.log)


# --- as it was then ------------------------------------------------------------------------------


async def test_every_panel_reads_as_it_did_then(
    settings: Settings, moments: list[Asked], there: Desk
) -> None:
    numbers = places(settings, journals(settings)[0])
    for then in random.Random(5).sample(moments, len(moments)):
        await gone(there, str(numbers[then.snapshot.seq]))
        shown = there.app.frame.snapshot
        assert shown is not None
        async with desk(as_live(then, shown), SIZE) as live:
            live.client.answers = then.answers
            for name, place in SCREENS.items():
                live.client.change()  # a sign of life
                await live.press(place.key)
                await there.press(place.key)
                if name not in ("research", "journal", "logs", "health"):
                    await until(there, lambda live=live: panels(there) == panels(live))


@pytest.mark.parametrize("panel", ASKED_WHY)
async def test_why_is_told_as_it_was_then(
    settings: Settings, moments: list[Asked], there: Desk, panel: str
) -> None:
    numbers = places(settings, journals(settings)[0])
    asked = 0
    for then in moments:
        number = numbers[then.snapshot.seq]
        await gone(there, str(number))
        there.app.action_panel(panel)
        await there.press("home")
        question = there.app.base.why
        if question not in then.answers:
            continue
        chain, width = then.answers[question], 105
        assert isinstance(chain, Chain)
        await there.press("w")
        dialog = there.app.screen
        assert isinstance(dialog, WhyDialog)
        lines = told(chain, width, there.app.frame.zones("ACME"))
        expected = ["".join(text for text, _ in line) for line in lines]
        await until(there, lambda d=dialog, e=expected: texts(d)[2:] == e)
        assert texts(dialog)[0].startswith(" AS OF  2024-03-04 ")
        assert f"event {number} of " in texts(dialog)[0]
        assert there.screen.startswith(" NOT LIVE ")
        await there.press("escape")
        asked += 1
    assert asked
    assert there.client.asked == []


def texts(dialog: WhyDialog) -> list[str]:
    return ["".join(text for text, _ in line) for line in dialog._text._lines]


async def test_who_goes_back_sees_nothing_of_later(there: Desk, moments: list[Asked]) -> None:
    await there.press("6")
    chart = there.app.base._panels["market"]
    assert isinstance(chart, ChartPanel)
    await until(there, lambda: chart._bars.answer)
    end = chart._bars.answer
    await at(there, "g", *"20", "enter")
    await until(there, lambda: chart._bars.answer)
    assert chart._bars.answer != end
    assert (there.app.frame.snapshot or scripted.paper()).ts >= max(
        bar.ts for bar in (chart._bars.answer or end or scripted.chart()).bars
    )
    await there.press("3")
    curve = there.app.base._panels["equity"]
    assert isinstance(curve, EquityChart)
    await until(there, lambda: curve._curve.answer is not None)
    assert not (curve._curve.answer and curve._curve.answer.points)


async def test_on_the_way_what_is_shown_follows(there: Desk, moments: list[Asked]) -> None:
    """Without waiting for the time at which the same is asked again."""
    await there.press("6")
    chart = there.app.base._panels["market"]
    assert isinstance(chart, ChartPanel)
    await gone(there, "14:45")
    await until(there, lambda: chart._bars.answer)
    for minute in ("14:50", "15:01", "15:02"):
        await gone(there, minute)
        await until(
            there,
            lambda: (
                (chart._bars.answer or scripted.chart()).bars[-1].ts
                == (there.app.frame.snapshot or scripted.paper()).quotes[0].ts
            ),
        )


async def test_the_questions_are_those_that_are_asked_then(moments: list[Asked]) -> None:
    """Or the moments would be compared without what the panels ask for."""
    for then in moments:
        assert {Bars("ACME", MOST_BARS), Equity(POINTS)} <= then.answers.keys()


# --- marked --------------------------------------------------------------------------------------

NOT_PRESSED = {"kill", "past-leave", "back", "clear", "detach", "palette"}
"""What kills, ends the past or the console; and the palette, which lies over the marked screen."""


def keys_of(screen: str) -> list[str]:
    """The keys that may do something else on `screen`; on the first, those of the console too."""
    pressed = (
        action.keys.split(",")
        for action in ACTIONS
        if action.id not in NOT_PRESSED and (action.scope != "app" or screen == FIRST_SCREEN)
    )
    return sorted({key for names in pressed for key in names if not key.isdecimal()})


async def test_no_key_of_any_screen_reaches_the_engine_and_all_is_marked(there: Desk) -> None:
    await gone(there, "15:00")
    there.client.sent.clear()
    for name, place in SCREENS.items():
        await there.press(place.key, "home")
        for key in keys_of(name):
            if (name, key) == ("journal", "enter"):
                continue  # that opens another session
            there.clock.now += 0.1
            await there.pilot.press(key)
            await until(there, lambda: "NOT LIVE" in there.screen)
            while there.app.screen is not there.app.base or there.app.base.is_typing:
                await there.pilot.press("escape")
            assert there.app.frame.past is not None, (name, key)
            if there.app.base.name != name:
                await there.press(place.key)
    assert [c for c in there.sent if not isinstance(c, SignOfLife)] == []
    assert there.client.pressed == []
    assert there.client.asked == []


@pytest.mark.parametrize("keys", [(), ("g",), ("w",), ("question_mark",), ("4", "enter")])
async def test_the_kill_key_kills_wherever_one_is(there: Desk, keys: tuple[str, ...]) -> None:
    await there.press("s", "left", "left", *keys)
    await there.press("ctrl+k")
    assert there.sent == [TripKillSwitch(source="console", reason="kill key", author="console")]
    assert "KILL REQUESTED" in there.screen
    there.client.change(kill=scripted.KILLED)
    assert "KILLED" in await there.draw()
    assert there.screen.startswith(" NOT LIVE ")


async def test_what_this_console_knows_of_now_is_not_shown_as_of_then(there: Desk) -> None:
    await there.press("5", "ctrl+k")
    assert "KILL REQUESTED" not in str(panels(there)["switches"])
    await there.press("0")
    engine = str(panels(there)["engine"])
    assert "what was measured of it then is in no journal" in engine
    assert "dropped" not in engine


async def test_files_that_are_of_now_say_so(there: Desk) -> None:
    for key, names in (("7", ("research", "report", "run")), ("8", ("journal",)), ("9", ("file",))):
        await there.press(key)
        for name in names:
            assert OF_NOW in str(panels(there)[name][1])
    await there.press("9")
    assert OF_NOW not in str(panels(there)["log"][1])
    await there.press("escape", "9")
    assert OF_NOW not in str(panels(there)["file"][1])


async def test_what_is_saved_says_of_when_it_is(there: Desk, tmp_path: Path) -> None:
    where = await gone(there, "15:00")
    await there.press("2", "e", "P")
    folder = tmp_path / "exports"
    await until(there, lambda: folder.exists() and len(list(folder.iterdir())) == 2)
    snapshot = there.app.frame.snapshot
    assert snapshot is not None
    then = f"orders-as-of-{stamp(snapshot.ts)}-event-{where.number}-"
    assert [path.name.startswith(then) for path in folder.iterdir()] == [True, True]
    (picture,) = folder.glob("*.svg")
    assert "LIVE" in picture.read_text()


async def test_a_row_of_the_past_can_only_be_looked_at(there: Desk) -> None:
    """Where a key would change something now."""
    there.app.action_panel("risk")
    await there.press("home", "enter")
    assert "risk: all fields" in there.screen


async def test_why_stops_what_is_played(there: Desk) -> None:
    await gone(there, "14:40")
    there.app.action_panel("signals")
    await there.press("home", "space")
    assert there.app._journey is not None
    assert there.app._journey.playing
    await there.press("w")
    assert not there.app._journey.playing
    await seen(there, lambda mark: "‖" in mark.pace)
