"""What rests on something old looks so: late prices, a feed or a broker that is down, no engine."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from engine.core.events import KilledPart
from engine.core.model import NANOS, KillAction, Part, Scope
from engine.view.snapshot import BrokerHealth, BrokerStatus, KilledPartRow, Snapshot, StoreStatus
from tests.tui import scripted
from tests.tui.scripted import TS, Desk, desk
from tests.tui.test_risk_screen import line, note
from tui import oldness
from tui.format import clock
from tui.frame import Frame, alerts


def late(*symbols: str) -> Snapshot:
    """Quotes of `symbols` that are five minutes old."""
    quotes = (
        replace(row, ts=TS - 300 * NANOS, stale=True) if row.symbol in symbols else row
        for row in scripted.QUOTES
    )
    return replace(scripted.paper(), quotes=tuple(quotes))


def broker_down() -> Snapshot:
    down = BrokerStatus("paper", False, "connection reset", False, TS - 12 * NANOS, 1)
    return replace(scripted.paper(), brokers=(down,))


def feed_down() -> Snapshot:
    feed = replace(scripted.paper().feed, status="disconnected", since_ts=TS - 90 * NANOS)
    return replace(scripted.paper(), feed=feed)


OLD: dict[str, tuple[Callable[[], Snapshot], bool, bool, str]] = {
    "all of now": (scripted.paper, False, False, ""),
    "late, not held": (lambda: late("SPY"), False, False, ""),
    "late, held": (lambda: late("BTC-USD"), True, False, "STALE 5m"),
    "feed": (feed_down, True, False, "STALE 3s"),
    "broker": (broker_down, False, True, "STALE 12s"),
}


def styles(it: Desk, shown: str) -> set[str]:
    """How the text is drawn that begins with `shown`."""
    strips = it.app.screen._compositor.render_strips()
    found = [s for strip in strips for s in strip if shown in s.text]
    assert found, it.screen
    return {"italic" if s.style is not None and s.style.italic else "plain" for s in found}


@pytest.mark.parametrize("why", OLD)
async def test_equity_cash_and_pnl_are_faded_and_signed_where_they_are_old(why: str) -> None:
    snapshot, prices, cash, says = OLD[why]
    async with desk(snapshot(), size=(200, 50)) as it:
        head = it.screen.splitlines()[1]
        for text in ("100,412.55 USD", "▲+412.55", "+0.41%"):
            assert (f"~{text}" in head) is (prices or cash)
        for text in ("88,540.07", "83,612.02"):
            assert (f"~{text}" in head) is cash
        assert says in head
        assert ("STALE" in head) is bool(says)
        if says:
            assert styles(it, "~100,412.55 USD") == {"italic"}
        else:
            assert styles(it, "100,412.55 USD") == {"plain"}
        assert ("~$212/$1,000" in it.screen) is (prices or cash)
        assert ("~16/20" in it.screen) is False  # trades are counted, whatever the prices are
        assert ("STALE" in note(it, "risk")) is bool(says)
        assert ("STALE" in note(it, "positions")) is prices
        assert ("STALE" in note(it, "strategies")) is (prices and why != "feed")
        assert ("~+384.21" in line(it.screen, "sma_crossover", "● on")) is prices


async def test_at_the_smallest_size_the_sign_is_there() -> None:
    async with desk(late("BTC-USD"), size=(80, 24)) as it:
        head = it.screen.splitlines()[1]
        assert "equity ~100,412.55 USD" in head
        assert "day ~▲+412.55" in head


async def test_only_what_a_strategy_holds_makes_its_pnl_old() -> None:
    async with desk(late("BTC-USD"), size=(200, 50)) as it:
        await it.press("3")
        totals = [" ".join(text.split()) for text in it.screen.splitlines()]
        assert any("sma_crossover ~+122.56 +81.41 ~+44.90" in text for text in totals)
        assert any("breakout -171.81 -169.31 0.00" in text for text in totals)
        assert note(it, "pnl") == "all — · STALE 5m"
        it.client.change(pnl=scripted.PNL[:3])
        await it.draw()
        assert note(it, "pnl") == "all ~-49.25 · STALE 5m"


async def test_what_is_old_is_of_now_again_with_the_next_price() -> None:
    snapshot = replace(late("BTC-USD"), positions=scripted.POSITIONS[:2])
    async with desk(snapshot, size=(200, 50)) as it:
        assert "~" in it.screen
        assert "unrealised ~+45.06 · STALE 5m" in note(it, "positions")
        it.client.change(quotes=scripted.QUOTES)
        assert "~" not in await it.draw()


async def test_how_old_a_price_is_stands_beside_it_in_the_narrowest_positions() -> None:
    async with desk(late("BTC-USD"), size=(80, 24)) as it:
        row = next(line for line in it.screen.splitlines() if "~+40.85" in line)
        assert "STALE 5m" in row


async def test_of_an_engine_that_is_lost_all_is_old() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        head = (await it.draw(5.0)).splitlines()[1]
        assert "~100,412.55 USD" in head
        assert "~88,540.07" in head
        assert "STALE" not in head  # that it is lost is said


async def test_panels_say_that_no_data_comes() -> None:
    async with desk(feed_down(), size=(200, 50)) as it:
        assert "FEED DOWN 1m" in note(it, "signals")
        assert "FEED DOWN 1m" in note(it, "strategies")
        assert "OUT OF REACH" not in it.screen


def test_banners_say_for_how_long() -> None:
    store = StoreStatus(False, "disk full", TS - 30 * NANOS)
    feed = replace(feed_down().feed, note="reset", speed=1)
    snapshot = replace(broker_down(), store=store, feed=feed)
    assert [text for text, _ in alerts(Frame(snapshot, 0.0))] == [
        "DATABASE OUT OF REACH for 30s: disk full",
        "BROKER DOWN paper for 12s: connection reset",
        "FEED DOWN replay for 1m: reset",
    ]


def test_banners_of_a_recording_say_since_when() -> None:
    """Its minutes are not the operator's."""
    store = StoreStatus(False, "disk full", TS - 30 * NANOS)
    (told,) = alerts(Frame(replace(scripted.paper(), store=store), 0.0))
    assert told == (f"DATABASE OUT OF REACH since {clock(store.since_ts)}: disk full", "alarm")


# --- orders --------------------------------------------------------------------------------------


def killed() -> Snapshot:
    part = KilledPart(Part(Scope.BROKER, "paper"), "console", "", TS, KillAction.STOP)
    return replace(scripted.paper(), killed_parts=(KilledPartRow(part, 0, 0),))


def shut() -> Snapshot:
    health = replace(scripted.HEALTH, brokers=(BrokerHealth("paper", shut_s=12.0),))
    return replace(scripted.paper(), health=health)


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        (broker_down, "paper down 12s"),
        (killed, "paper killed"),
        (shut, "paper shut 12 s"),
    ],
    ids=["down", "killed", "shut"],
)
async def test_open_orders_at_a_broker_out_of_reach_are_marked(
    snapshot: Callable[[], Snapshot], why: str
) -> None:
    async with desk(snapshot(), size=(200, 50)) as it:
        await it.press("2")
        assert note(it, "orders").startswith("4 OUT OF REACH")
        for state in ("accepted", "partially filled", "IN DOUBT", "pending cancel"):
            assert f"{why}: OUT OF" in line(it.screen, f"✗ {state}")
        for state in ("filled ", "rejected", "canceled"):
            assert "✗" not in line(it.screen, f" {state}")


async def test_of_several_brokers_only_the_orders_of_the_one_that_is_down_are() -> None:
    brokers = (*broker_down().brokers, BrokerStatus("kraken", True, ""))
    elsewhere = replace(scripted.ETH, venue="kraken")
    instruments = {**scripted.INSTRUMENTS, elsewhere.symbol: elsewhere}
    snapshot = replace(scripted.paper(), brokers=brokers, instruments=instruments)
    async with desk(snapshot, size=(80, 24)) as it:
        await it.press("2")
        assert "3 OUT OF REACH" in note(it, "orders")
        assert "✗ accepted" in line(it.screen, "AAPL", "29", "accepted")
        assert "✗" not in line(it.screen, "ETH", "partially")


async def test_a_broker_that_is_back_has_its_orders_in_reach() -> None:
    async with desk(broker_down(), size=(120, 40)) as it:
        await it.press("2")
        assert "✗ accepted" in it.screen
        it.client.change(brokers=scripted.paper().brokers)
        assert "✗" not in line(await it.draw(), "AAPL", "accepted")


def test_what_is_not_known_is_marked_neither_old_nor_new() -> None:
    assert oldness.number("—", "dim", 5) == ("—", "dim")
    assert oldness.words(0) == "STALE"
    assert oldness.words(None) == ""
