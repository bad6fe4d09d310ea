"""What the console concludes by itself: is the engine alive, how far is a kill, what is wrong."""

from msgspec.structs import replace

from engine.core.model import OrderState
from engine.view.snapshot import BrokerHealth
from tests.tui import scripted
from tests.tui.scripted import ARMED, CANCELLING, KILLED
from tui.frame import (
    STUCK_AFTER,
    Frame,
    Heartbeat,
    KillProgress,
    KillRequest,
    alerts,
    kill_story,
    kill_words,
)


def test_the_heart_beats_while_the_time_of_the_snapshots_moves() -> None:
    heartbeat, snapshot = Heartbeat(0.0), scripted.paper()
    assert heartbeat.silence(snapshot, 1.0) == 0.0
    assert heartbeat.silence(replace(snapshot, seq=snapshot.seq + 1), 3.0) == 2.0
    assert heartbeat.silence(replace(snapshot, wall_ts=snapshot.wall_ts + 1), 4.0) == 0.0


def test_silence_counts_from_the_start_before_the_first_snapshot() -> None:
    assert Heartbeat(10.0).silence(None, 12.5) == 2.5


def test_the_engine_counts_as_lost_within_two_seconds() -> None:
    snapshot = scripted.paper()
    assert not Frame(snapshot, 0.0, silence=0.9).lost
    assert Frame(snapshot, 0.0, silence=1.0).lost
    assert Frame(snapshot, 0.0, failure="ended").lost
    assert not Frame(None, 0.0, silence=60.0).lost


def test_a_held_kill_key_is_one_request() -> None:
    request = KillRequest()
    assert [request.press(0.03 * count) for count in range(20)] == [True] + [False] * 19
    assert request.press(1.1)


def test_a_request_waits_until_the_engine_says_so() -> None:
    request = KillRequest()
    request.press(10.0)
    request.see(ARMED, 10.3)
    assert request.waited(10.5) == 0.5
    request.see(CANCELLING, 10.6)
    assert request.waited(11.0) is None
    assert request.delay is not None
    assert round(request.delay, 3) == 0.6


def test_sending_again_does_not_start_the_wait_anew() -> None:
    request = KillRequest()
    request.press(10.0)
    request.press(12.0)
    assert request.waited(13.0) == 3.0


def test_after_a_re_arm_a_kill_is_a_new_one() -> None:
    request = KillRequest()
    request.press(10.0)
    request.see(KILLED, 10.1)
    request.see(ARMED, 30.0)
    assert request.delay is None
    assert request.press(30.1)
    assert request.waited(30.2) is not None


def test_the_phases_of_a_kill() -> None:
    paper = scripted.paper()
    stages = [
        Frame(paper, 0.0),
        Frame(paper, 0.0, kill_wait=0.3),
        Frame(paper, 0.0, kill_wait=3.0),
        Frame(scripted.cancelling(), 0.0, kill_delay=0.2),
        Frame(scripted.killed(), 0.0),
    ]
    assert [kill_words(frame)[0] for frame in stages] == [
        "kill ready",
        "KILL REQUESTED 0.3 s",
        "KILL REQUESTED 3.0 s",
        "KILLED 3 open",
        "KILLED",
    ]
    assert [kill_story(frame) for frame in stages] == [
        "",
        "KILL REQUESTED 0.3 s ago, not acknowledged yet",
        "KILL REQUESTED 3.0 s ago, NO ANSWER: touch DATA_DIR/.kill_switch, or kill -9 4242",
        "KILLED by console · cancelling, 3 orders still open · acknowledged in 0.2 s · kill key",
        "KILLED by console · complete, no order open · kill key",
    ]


def killing(orders: int, at: float, progress: KillProgress, waited: float = 0.0) -> Frame:
    """What is shown at `at`, with so many orders left of the four that were open."""
    opens = [order for order in scripted.ORDERS if order.is_open]
    gone = [replace(order, state=OrderState.CANCELED) for order in opens[orders:]]
    kill = replace(CANCELLING, open_orders=orders) if orders else KILLED
    snapshot = replace(scripted.paper(), kill=kill, orders=(*opens[:orders], *gone))
    progress.see(snapshot, waited, at)
    return Frame(
        snapshot,
        at,
        kill_took=progress.took,
        kill_cancelled=progress.cancelled,
        kill_stuck=progress.stuck(at),
    )


def test_a_kill_says_how_many_orders_it_cancelled_and_how_long_it_took() -> None:
    progress = KillProgress()
    progress.see(scripted.paper(), 0.0, 10.0)
    stories = [
        kill_story(killing(3, 10.5, progress, waited=0.4)),
        kill_story(killing(1, 11.1, progress)),
        kill_story(killing(0, 12.1, progress)),
        kill_story(killing(0, 99.0, progress)),
    ]
    assert [story.partition(" · ")[2] for story in stories] == [
        "cancelling, 3 orders still open after 0.4 s · 1 of 4 orders cancelled · kill key",
        "cancelling, 1 order still open after 1.0 s · 3 of 4 orders cancelled · kill key",
        "complete, no order open after 2.0 s · 4 of 4 orders cancelled · kill key",
        "complete, no order open after 2.0 s · 4 of 4 orders cancelled · kill key",
    ]


def test_a_kill_tells_orders_that_ended_otherwise_and_cancels_that_did_not_take() -> None:
    progress = KillProgress()
    progress.see(scripted.paper(), 0.0, 10.0)
    killing(4, 10.1, progress)
    first, second, third, _ = (order for order in scripted.ORDERS if order.is_open)
    ended = [
        replace(first, state=OrderState.FILLED),
        replace(second, state=OrderState.CANCELED),
    ]
    refused = replace(CANCELLING, open_orders=1, refused=1, refusal="unknown order")
    snapshot = replace(scripted.paper(), kill=refused, orders=(*ended, third))
    progress.see(snapshot, 0.0, 11.0)
    assert kill_story(Frame(snapshot, 11.0, kill_cancelled=progress.cancelled)) == (
        "KILLED by console · cancelling, 1 order still open, 1 cancel did not take: unknown order"
        " · 1 of 4 orders cancelled, 1 filled, 1 ended, not listed any more · kill key"
    )


def test_a_kill_says_when_the_last_cancel_leaves_that_waits_for_the_venue() -> None:
    """As 300 at Alpaca, which takes 200 requests a minute."""
    waiting = replace(scripted.HEALTH, brokers=(BrokerHealth("alpaca", cancels_s=61.0),))
    snapshot = replace(scripted.paper(), kill=CANCELLING, health=waiting)
    told = "alpaca takes no more requests for now; by itself the last cancel leaves in 61 s"
    assert told in kill_story(Frame(snapshot, 11.0))
    freed = replace(snapshot, health=replace(waiting, brokers=(BrokerHealth("alpaca"),)))
    assert "takes no more" not in kill_story(Frame(freed, 11.0))


def test_a_kill_that_does_not_move_has_failed_until_it_does() -> None:
    progress = KillProgress()
    progress.see(scripted.paper(), 0.0, 10.0)
    killing(2, 10.0, progress)
    assert "FAILED" not in kill_story(killing(2, 9.9 + STUCK_AFTER, progress))
    stuck = killing(2, 10.0 + STUCK_AFTER, progress)
    assert "FAILED: cancelling, 2 orders still open after 5.0 s, nothing moved for 5.0 s" in (
        kill_story(stuck)
    )
    assert "it is tried on; cancel them at the venue by hand" in kill_story(stuck)
    assert kill_words(stuck) == ("KILL FAILED 2 left", "alarm")
    assert "FAILED" not in kill_story(killing(1, 20.0, progress))
    assert "FAILED" not in kill_story(killing(0, 60.0, progress))


def test_of_a_kill_before_the_console_came_only_that_it_does_not_move_is_known() -> None:
    progress = KillProgress()
    assert "after" not in kill_story(killing(2, 10.0, progress))
    assert "FAILED" in kill_story(killing(2, 10.0 + STUCK_AFTER, progress))


def test_a_kill_that_is_not_on_disk_says_so() -> None:
    snapshot = replace(scripted.paper(), kill=replace(KILLED, durable=False))
    assert kill_story(Frame(snapshot, 0.0)).endswith("NOT ON DISK YET · kill key")


def test_the_kill_switch_of_a_lost_engine_is_not_known() -> None:
    assert kill_words(Frame(scripted.paper(), 0.0, silence=9.0)) == ("kill —", "stale")
    assert kill_words(Frame(None, 0.0)) == ("kill —", "dim")


def test_alerts_are_worst_first() -> None:
    snapshot = replace(
        scripted.stale(),
        kill=KILLED,
        store=replace(scripted.paper().store, available=False, note="disk full"),
        feed=replace(scripted.paper().feed, status="disconnected", note="reset"),
    )
    found = [text.split(" ")[0] for text, _ in alerts(Frame(snapshot, 0.0, silence=5.0))]
    assert found == ["ENGINE", "KILLED", "DATABASE", "BROKER", "FEED"]
    assert alerts(Frame(scripted.paper(), 0.0)) == []


def test_stale_quotes_are_an_alert_only_where_no_other_is_left() -> None:
    stale = scripted.stale()
    assert not any("STALE" in text for text, _ in alerts(Frame(stale, 0.0)))
    every = replace(stale, quotes=tuple(replace(row, stale=True) for row in stale.quotes))
    assert any("ALL QUOTES ARE STALE" in text for text, _ in alerts(Frame(every, 0.0)))


def test_a_feed_that_is_partly_down_is_an_alert() -> None:
    feed = replace(scripted.paper().feed, status="degraded", note="coin: reset", speed=1)
    (found,) = alerts(Frame(replace(scripted.paper(), feed=feed), 0.0))
    assert found == (f"FEED PARTLY DOWN {feed.name} for 7m: coin: reset", "caution")


def test_a_broker_that_is_still_connecting_is_not_told_as_down() -> None:
    first, *others = scripted.paper().brokers
    for note, down in (("connecting", False), ("refused", True)):
        row = replace(first, connected=False, note=note)
        told = alerts(Frame(replace(scripted.paper(), brokers=(row, *others)), 0.0))
        assert any("BROKER DOWN" in text for text, _ in told) is down


def test_it_is_told_of_how_many_symbols_the_past_is_still_to_come() -> None:
    paper = scripted.paper()
    loading = replace(paper, feed=replace(paper.feed, awaited=2))
    (found,) = alerts(Frame(loading, 0.0))
    told = (
        f"HISTORY IS LOADING for 2 of {len(paper.quotes)} symbols: nothing is decided on them yet"
    )
    assert found == (told, "caution")
    assert alerts(Frame(paper, 0.0)) == []
