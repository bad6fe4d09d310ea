"""The past on the screen: real sessions, gone through with the keys, while an engine runs."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from shutil import copytree

import pytest
from msgspec.structs import replace

from engine.core.events import SignOfLife, TripKillSwitch
from engine.core.model import NANOS, utc
from engine.ops.settings import Settings
from engine.view.snapshot import BrokerStatus, DeadManStatus, LogLine, Snapshot
from tests.postgresql import done
from tests.session import CLOSES, journals, running, zigzag
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.commands import SCREENS, not_live
from tui.frame import Past
from tui.journey import Destination, RecordedJournals, destination
from tui.keys import OWN
from tui.widgets.sessions import Sessions

PATIENCE_S = 60.0
DAY = utc(1_709_562_600 * NANOS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session."""
    folder = tmp_path_factory.mktemp("recorded")

    async def record() -> None:
        async with running(zigzag(folder, CLOSES[:30])) as session:
            await session.until(lambda s: len(s.orders) > 4 and s.feed.status == "ended")

    done(record())
    return folder


@pytest.fixture
def settings(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a session that was recorded, in a copy of the test's own."""
    copytree(recorded, tmp_path, dirs_exist_ok=True)
    settings = zigzag(tmp_path, CLOSES[:30])
    monkeypatch.setenv("STRATEGIES_DIR", str(settings.strategies_dir))
    return settings


@asynccontextmanager
async def listed(
    settings: Settings, snapshot: Snapshot | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Desk]:
    """A console on the list of sessions."""
    async with desk(snapshot or scripted.paper(), size) as it:
        it.app.journals = RecordedJournals(settings)
        await to_list(it)
        yield it
        it.app._leave()


async def to_list(it: Desk) -> None:
    """Go to the list, and wait until it is read."""
    await it.press("8")
    deadline = time.monotonic() + PATIENCE_S
    while "1 session" not in it.screen and "2 sessions" not in it.screen:
        assert time.monotonic() < deadline, it.screen
        await it.pilot.pause(0.05)
        await it.draw()


@asynccontextmanager
async def past(
    settings: Settings, snapshot: Snapshot | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Desk]:
    """A console on the end of the session."""
    async with listed(settings, snapshot, size) as it:
        await it.press("enter")
        await seen(it, lambda past: past.number == past.total)
        yield it


async def seen(it: Desk, holds: object) -> Past:
    """The mark of the past, once it is there, at rest, and as `holds` says."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        journey = it.app._journey
        at_rest = journey is not None and not journey._travel.is_under_way
        await it.draw()
        mark = it.app.frame.past
        if mark is not None and at_rest and holds(mark):  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
            return mark
        assert time.monotonic() < deadline, it.screen
        await it.pilot.pause(0.05)


async def at(it: Desk, *keys: str) -> Past:
    """Where one is after `keys`."""
    await it.press(*keys)
    return await seen(it, lambda _: True)


async def gone(it: Desk, text: str) -> Past:
    return await at(
        it,
        "g",
        *(
            "space" if c == " " else "colon" if c == ":" else "minus" if c == "-" else c
            for c in text
        ),
        "enter",
    )


# --- the list ------------------------------------------------------------------------------------


async def test_the_sessions_are_listed_with_what_is_known_of_them(settings: Settings) -> None:
    (settings.journal_dir / "x.journal").write_bytes(b"hello")
    async with listed(settings) as it:
        assert "2 sessions" in it.screen
        assert "ACME" in it.screen
        assert "is no journal" in it.screen
        await it.press("home", "enter")  # the newest file
        assert "is no journal" in it.screen.splitlines()[-1]
        assert it.app.frame.past is None


async def test_a_session_that_cannot_be_opened_says_why(settings: Settings) -> None:
    assert settings.strategies_dir is not None
    (settings.strategies_dir / "zigzag.py").unlink()
    async with listed(settings) as it:
        await it.press("enter")
        deadline = time.monotonic() + PATIENCE_S
        while "not opened: the journal needs the strategy zigzag" not in await it.draw():
            assert time.monotonic() < deadline
            await it.pilot.pause(0.05)
        assert it.app.frame.past is None
        assert "NOT LIVE" not in it.screen


# --- the mark ------------------------------------------------------------------------------------


async def test_every_screen_says_that_it_is_not_live(settings: Settings) -> None:
    async with past(settings, scripted.live()) as it:
        for size, (name, place) in product([(80, 24), (120, 40), (200, 50)], SCREENS.items()):
            await it.pilot.resize_terminal(*size)
            await it.press(place.key, seconds=0.01)  # the engine is not lost meanwhile
            await it.pilot.pause(0.1)  # a strip that has one line more is laid out anew first
            await it.draw()
            assert it.app.base.name == name
            first, second, *_ = it.screen.splitlines()
            assert first.startswith(" NOT LIVE ")
            assert "session paper 20" in first
            assert "2024-03-04 15:0" in first
            mark = it.app.frame.past
            assert mark is not None
            assert f"event {mark.total} of {mark.total}" in second
            assert "live engine  LIVE " in it.screen
            assert it.app.base.has_class("-past")
            assert not it.app.base.has_class("-live")
        await it.press("question_mark")
        assert it.screen.startswith(" NOT LIVE ")
        await it.press("escape", "escape")
        assert it.screen.startswith(" LIVE ")
        assert "back to live" in it.screen
        assert it.app.base.has_class("-live")
        assert not it.app.base.has_class("-past")


async def test_the_panels_show_what_was_then(settings: Settings) -> None:
    async with past(settings) as it:
        assert "ACME" in it.screen
        assert "AAPL" not in it.screen
        await it.press("4")
        assert "zigzag" in it.screen
        await it.press("1", "escape")
        assert "ACME" not in it.screen
        assert "AAPL" in it.screen


async def test_the_engine_is_not_asked_of_the_past_and_no_screen_mixes_the_two(
    settings: Settings,
) -> None:
    async with listed(settings) as it:
        await it.press("2", "8")
        asked = len(it.client.asked)
        assert asked
        await it.press("enter")
        await seen(it, lambda past: past.number == past.total)
        await it.press("2", "3", "6", "2")
        assert "ACME" in it.screen
        assert "AAPL" not in it.screen
        await it.press("home", "w")
        assert "Why" in it.screen
        assert len(it.client.asked) == asked
        await it.press("escape", "escape", "escape", "2")
        assert "ACME" not in it.screen
        assert "AAPL" in it.screen
        assert len(it.client.asked) > asked


async def test_the_engine_that_runs_stays_in_sight(settings: Settings) -> None:
    async with past(settings) as it:
        deadline = time.monotonic() + PATIENCE_S
        while "live engine  PAPER   kill ready" not in it.screen:  # one line more is laid out anew
            assert time.monotonic() < deadline, it.screen
            await it.pilot.pause(0.05)
            await it.draw()
        down = BrokerStatus("paper", False, "no answer")
        it.client.change(brokers=(down,), alerts=scripted.ALERTS[:1])
        screen = await it.draw()
        assert "BROKER DOWN paper: no answer" in screen
        assert "no answer (+1)" in screen
        it.client.change(brokers=())
        assert "1 alert" in await it.draw()
        line = LogLine(99, scripted.TS, "error", "something is wrong now")
        it.client.change(log=(*scripted.LOG, line))
        assert "something is wrong now" in await it.draw()
        assert "ENGINE LOST" in await it.draw(5.0)


async def test_a_terminal_that_is_too_small_says_so_too(settings: Settings) -> None:
    async with past(settings) as it:
        await it.pilot.resize_terminal(50, 12)
        screen = await it.draw()
        assert "NOT LIVE" in screen
        assert "PAPER" in screen


# --- nothing leaves ------------------------------------------------------------------------------


async def test_the_kill_key_kills_the_engine_that_runs(settings: Settings) -> None:
    async with past(settings) as it:
        await it.press("ctrl+k")
        assert it.sent == [TripKillSwitch(source="console", reason="kill key", author="console")]
        assert "KILL REQUESTED" in it.screen
        await it.press("g", "ctrl+k", seconds=1.5)
        assert len(it.sent) == 2


async def test_nothing_else_can_be_sent_from_the_past(settings: Settings) -> None:
    async with past(settings, scripted.killed()) as it:
        for keys in (("R",), ("K",), ("m",), ("B",), ("p",), ("q",), ("s", "end", "space")):
            await it.press(*keys)
            assert it.app.screen is it.app.base
        for panel, key in (("orders", "x"), ("orders", "enter"), ("risk", "enter")):
            await it.press(*scripted.to(panel), "home", key)
            await it.press("escape") if it.app.screen is not it.app.base else None
        it.app.toggle("zigzag", True)
        assert not_live(OWN)[:30] in await it.draw()
        assert it.sent == []


async def test_a_key_is_a_sign_of_life_to_the_engine_that_runs(settings: Settings) -> None:
    live = replace(scripted.paper(), dead_man=DeadManStatus(30.0, 60.0))
    async with past(settings, live) as it:
        it.sent.clear()
        await it.press("left_square_bracket", seconds=2.0)
        assert it.sent == [SignOfLife(author="console")]


# --- the keys ------------------------------------------------------------------------------------


async def test_brackets_step_and_braces_leap(settings: Settings) -> None:
    async with past(settings) as it:
        await gone(it, "60")
        forth = [(await at(it, "right_square_bracket")).number for _ in range(3)]
        assert forth == sorted(set(forth))
        assert forth[0] > 60
        back = [(await at(it, "left_square_bracket")).number for _ in range(2)]
        assert back == [forth[1], forth[0]]
        lines = len((it.app.frame.snapshot or scripted.paper()).log)
        far = await at(it, "right_curly_bracket")
        assert len((it.app.frame.snapshot or scripted.paper()).log) > lines
        assert (await at(it, "left_curly_bracket")).number < far.number


async def test_space_plays_at_the_speed_that_plus_and_minus_set(settings: Settings) -> None:
    async with past(settings) as it:
        start = await gone(it, "14:35")
        assert "‖ 60×" in it.screen
        await it.press("minus", "space")
        assert "▶ 10×" in it.screen
        for _ in range(12):
            await it.draw(10.0)
            await seen(it, lambda _: True)
        then = it.app.frame.snapshot
        assert then is not None
        assert 19 * 60 < then.ts // NANOS - 1_709_562_600 < 27 * 60
        assert (it.app.frame.past or start).number > start.number
        await it.press("plus", "plus")
        await seen(it, lambda past: "▶ max" in past.pace or past.number == past.total)
        await seen(it, lambda past: past.number == past.total and "‖ max" in past.pace)
        await gone(it, "14:35")
        await it.press("minus", "space", "space")
        stopped = await seen(it, lambda past: "‖ 60×" in past.pace)
        await it.draw(100.0)
        assert (await seen(it, lambda _: True)).number == stopped.number


async def test_g_goes_to_an_event_or_a_time(settings: Settings) -> None:
    async with past(settings) as it:
        end = (await seen(it, lambda _: True)).total
        assert (await gone(it, "7")).number == 7
        assert (await gone(it, "end")).number == end
        assert (await gone(it, "start")).number == 1
        await gone(it, "2024-03-04 14:40")
        assert "2024-03-04 14:40:00 UTC" in it.screen
        await gone(it, "14:45:30")
        assert "2024-03-04 14:45:00 UTC" in it.screen


async def test_g_says_what_can_be_typed(settings: Settings) -> None:
    async with past(settings) as it:
        before = await seen(it, lambda _: True)
        for typed, reason in (
            ("0", "there is no event 0"),
            ("99999", "they go from 1 to"),
            ("x", "type an event such as"),
            ("x", "or end "),  # all of it
        ):
            await it.press("g", *typed, "enter")
            assert reason in it.screen
            await it.press("escape")
            assert (await seen(it, lambda _: True)).number == before.number


async def test_the_keys_are_letters_while_a_filter_is_typed(settings: Settings) -> None:
    async with past(settings) as it:
        before = await seen(it, lambda _: True)
        await it.press("slash", "g", "space", "escape")
        assert it.app.screen is it.app.base
        assert (await seen(it, lambda _: True)).number == before.number


async def test_the_keys_of_the_past_do_nothing_now(settings: Settings) -> None:
    async with listed(settings) as it:
        await it.press("left_square_bracket", "right_square_bracket", "g", "left_curly_bracket")
        assert it.app.screen is it.app.base
        assert it.sent == []
        assert "back to live" not in it.screen


async def test_what_reads_the_journal_may_end_and_the_console_goes_on(settings: Settings) -> None:
    async with past(settings) as it:
        it.app._journey._travel.close()  # pyright: ignore[reportOptionalMemberAccess]
        await it.press("escape")
        assert "NOT LIVE" not in it.screen
        await to_list(it)
        await it.press("enter")
        await seen(it, lambda past: past.number == past.total)
    assert len(journals(settings)) == 1


# --- what is typed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", Destination(1)),
        (" End ", Destination(900)),
        ("17", Destination(17)),
        ("14:30", Destination(ts=1_709_562_600 * NANOS)),
        ("9:05:07", Destination(ts=1_709_543_107 * NANOS)),
        ("2024-03-05", Destination(ts=1_709_596_800 * NANOS)),
        ("2024-03-05 00:01", Destination(ts=1_709_596_860 * NANOS)),
        ("2024-03-05t00:01:01", Destination(ts=1_709_596_861 * NANOS)),
    ],
)
def test_destinations(text: str, expected: Destination) -> None:
    assert destination(text, 900, 1_709_580_000 * NANOS) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "0", "901", "-1", "1.5", "24:00", "12:60", "2024-02-30", "x", "\u0661"]
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"type an event|there is no"):
        destination(text, 900, 1_709_580_000 * NANOS)


async def test_no_session_is_said_to_be_there_once_that_is_known() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("8")
        assert "the sessions are being read" in it.screen
        assert "no session" not in it.screen
        it.app.base.query_one(Sessions).take((), it.app.frame)
        assert "no session is recorded here" in await it.draw()


def test_a_time_without_a_day_is_refused_where_no_time_is_known_yet() -> None:
    with pytest.raises(ValueError, match="no day is known"):
        destination("14:30", 900, 0)
    assert destination("2024-03-05 00:01:01", 900, 0) == Destination(ts=1_709_596_861 * NANOS)


async def test_the_list_has_the_size_of_the_session_that_runs_as_it_is_now(
    settings: Settings,
) -> None:
    health = scripted.paper().health
    assert health is not None
    assert health.journal is not None
    async with listed(settings) as it:
        (recorded,) = RecordedJournals(settings).sessions()
        assert "runs now" not in it.screen
        running = replace(health, started_wall_ts=recorded.started_ts)
        it.client.change(health=running)
        assert "runs now" in (screen := await it.draw())
        assert "12.3 MB" in screen
        it.client.change(health=replace(running, journal=replace(health.journal, mb=12.4)))
        assert "12.4 MB" in await it.draw()
