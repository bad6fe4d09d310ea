"""Fills, rejects and new trouble are told once, soon, and never in a flood."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from engine.core.model import OrderState, Side
from engine.ops.settings import load_settings
from engine.view.snapshot import BrokerStatus, Snapshot
from tests.terminal import Terminal
from tests.tui import scripted
from tests.tui.scripted import Clock, ScriptedClient, ScriptedTravel, desk
from tests.tui.test_main import COMMAND, environment
from tui.app import Console
from tui.frame import Frame
from tui.journey import Journey
from tui.notices import Notices, desktop_sequence
from tui.preferences import Choices, Preferences

OPEN = scripted.order(30, "AAPL", Side.BUY, "10", OrderState.ACCEPTED, "170.00")
PART = replace(
    OPEN, state=OrderState.PARTIALLY_FILLED, filled=Decimal(4), avg_price=Decimal("169.9")
)
FILLED = replace(OPEN, state=OrderState.FILLED, filled=Decimal(10), avg_price=Decimal("169.95"))
REJECTED = replace(OPEN, state=OrderState.REJECTED, reason="no [b]money[/b]\x1b]9;x\a")


def frame(*orders: object, now: float = 0.0, **fields: object) -> Frame:
    snapshot: Snapshot = replace(scripted.paper(), orders=orders, **fields)
    return Frame(snapshot, now)


def test_what_was_there_before_the_console_is_no_news() -> None:
    assert Notices().see(frame(FILLED, REJECTED)) is None


def test_each_execution_is_told_with_what_is_filled_by_then() -> None:
    notices = Notices()
    notices.see(frame(OPEN))
    part = notices.see(frame(PART, now=1))
    assert part is not None
    assert part.told == ("PART FILLED BUY 4 of 10 AAPL avg 169.9",)
    assert notices.see(frame(PART, now=2)) is None
    whole = notices.see(frame(FILLED, now=3))
    assert whole is not None
    assert whole.told == ("FILLED BUY 10 AAPL avg 169.95",)
    assert not whole.is_bad


async def test_where_the_past_is_shown_the_news_is_told_to_be_of_now() -> None:
    async with desk(replace(scripted.paper(), orders=(OPEN,)), size=(80, 24)) as it:
        then = replace(scripted.paper(), wall_ts=0, health=None)
        it.app._journey = Journey("paper", ScriptedTravel(then), it.clock)
        await it.draw()
        await it.press("K")
        assert it.screen.splitlines()[-1].rstrip().endswith("esc goes back to live")
        await it.draw(10.0)
        it.client.change(orders=(FILLED,))
        await it.draw(1.0)
        assert "live engine: FILLED BUY 10 AAPL avg 169.95" in await it.draw(1.0)


def test_an_order_made_and_filled_between_two_frames_is_told() -> None:
    notices = Notices()
    notices.see(frame())
    notice = notices.see(frame(FILLED, now=1))
    assert notice is not None
    assert notice.told == ("FILLED BUY 10 AAPL avg 169.95",)


def test_a_reject_is_told_with_its_reason_cleaned() -> None:
    notices = Notices()
    notices.see(frame(OPEN))
    notice = notices.see(frame(REJECTED, now=1))
    assert notice is not None
    assert notice.text.startswith("REJECTED BUY 10 AAPL: no (b)money(/b)")
    assert notice.text.isprintable()
    assert notice.is_bad


def test_what_comes_within_a_second_is_one_notice() -> None:
    notices = Notices()
    notices.see(frame())
    many = [replace(FILLED, client_order_id=f"a-{number}") for number in range(7)]
    first = notices.see(frame(*many[:1], now=10.0))
    assert first is not None
    assert all(notices.see(frame(*many[:n], now=10 + n / 10)) is None for n in range(2, 8))
    second = notices.see(frame(*many, now=11.0))
    assert second is not None
    assert len(second.told) == 4
    assert second.told[-1] == "and 3 more"


def test_new_trouble_is_told_once_while_it_lasts() -> None:
    notices = Notices()
    notices.see(frame())
    down = (BrokerStatus("alpaca", False, "no answer for 3 s"),)
    notice = notices.see(frame(now=1, brokers=down))
    assert notice is not None
    assert notice.alarms == ("BROKER DOWN alpaca: no answer for 3 s",)
    longer = (BrokerStatus("alpaca", False, "no answer for 4 s"),)
    assert notices.see(frame(now=3, brokers=longer)) is None


@pytest.mark.parametrize("kind", ["osc9", "osc777"])
@pytest.mark.parametrize(
    "evil", ["\a\x1b]52;c;ZXZpbA==\a", "\x1b\\\x1b[2J", "\x9c\x9dboo", "a;b\nc\u202e", "x" * 5000]
)
def test_no_text_can_leave_the_sequence(kind: str, evil: str) -> None:
    sequence = desktop_sequence(kind, f"REJECTED {evil}")
    head, body, end = sequence[:2], sequence[2:-1], sequence[-1]
    assert (head, end) == ("\x1b]", "\a")
    assert body.isprintable()
    assert len(body) < 250
    assert body.count(";") == (1 if kind == "osc9" else 3)


class Filling:
    """A console in which orders are filled, one after the other."""

    def __init__(self, pilot: Pilot[None], client: ScriptedClient, clock: Clock) -> None:
        self.pilot, self.client, self.clock = pilot, client, clock

    async def fill(self, name: str) -> list[str]:
        """The lines of the screen once the order `name` was filled."""
        snapshot, app = self.client.snapshot, self.pilot.app
        assert snapshot is not None
        assert isinstance(app, Console)
        self.clock.now += 2
        new = replace(FILLED, client_order_id=name)
        self.client.change(orders=(*snapshot.orders, new))
        app.tick()
        await self.pilot.pause(0.2)
        return [strip.text for strip in app.screen._compositor.render_strips()]


@asynccontextmanager
async def filling(size: tuple[int, int]) -> AsyncGenerator[Filling]:
    client, clock = ScriptedClient(scripted.paper()), Clock()
    app = Console(client, clock=clock)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        app.tick()
        yield Filling(pilot, client, clock)


async def test_a_toast_says_it_where_there_is_room_and_none_lies_over_a_dialog() -> None:
    async with filling((160, 45)) as it:
        lines = await it.fill("a")
        assert sum("FILLED BUY 10 AAPL avg 169.95" in line for line in lines) == 1
        assert "FILLED" not in lines[-1]
        await it.pilot.press("K")
        assert sum("FILLED BUY" in line for line in await it.fill("b")) == 1  # as it was


@pytest.mark.parametrize("size", [(80, 24), (119, 60), (200, 35)])
async def test_where_there_is_little_room_the_bottom_line_says_it(size: tuple[int, int]) -> None:
    """Over no panel, and beside the key that stops everything."""
    async with filling(size) as it:
        *above, bottom = await it.fill("a")
        assert bottom.startswith(" ^k KILL  ")
        assert "? help" in bottom
        assert bottom.rstrip().endswith("  FILLED BUY 10 AAPL avg 169.95")
        assert not [line for line in above if "FILLED BUY" in line]
        app = it.pilot.app
        assert isinstance(app, Console)
        app.base.say("refused: " + "x" * 300, "warn")
        *_, bottom = await it.fill("b")
        assert bottom.startswith(" ^k KILL  refused: xxx")


def test_the_terminal_is_told_too_where_that_is_wanted(tmp_path: Path) -> None:
    """A real fill of a real session: one bell and one notification, which tmux hands on."""
    settings = {"REPLAY_SPEED": "600", "NOTIFY_BELL": "true", "NOTIFY_DESKTOP": "osc777"}
    settings["TMUX"] = "/tmp/tmux-0/default,1,0"
    with Terminal(COMMAND, environment(**settings), folder=tmp_path) as terminal:
        begin = b"\x1bPtmux;\x1b\x1b]777;notify;tradebot;FILLED BUY "
        terminal.wait_for(lambda _: begin in terminal.received)
        body, _, _ = bytes(terminal.received).partition(begin)[2].partition(b"\a\x1b\\")
        assert body.decode().isprintable()


async def test_by_default_the_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client, clock = ScriptedClient(scripted.paper()), Clock()
    app = Console(client, clock=clock)
    written: list[str] = []
    monkeypatch.delenv("TMUX", raising=False)
    async with app.run_test(size=(80, 24)) as pilot:
        monkeypatch.setattr(app._driver, "write", written.append)
        for settings in (
            load_settings(fps=4),
            load_settings(notify_bell=True, notify_desktop="osc9"),
        ):
            app.configure(settings, Preferences(Path("console.json"), Choices()))
            app.tick()
            written.clear()
            clock.now += 2
            assert client.snapshot is not None
            new = replace(FILLED, client_order_id=f"a{clock.now}")
            client.change(orders=(*client.snapshot.orders, new))
            app.tick()
            await pilot.pause()
            told = "".join(written)
            assert ("\a" in told) is settings.notify_bell
            assert ("\x1b]9;" in told) is settings.notify_bell
