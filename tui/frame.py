"""One frame of the console: a snapshot and what only the console knows of it.

Everything here is pure; `now` is a monotonic clock in seconds that the app is given.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import tzinfo
from typing import NamedTuple, Protocol, runtime_checkable

from engine.control.standing import Standing
from engine.core.model import Instrument, KillAction, Mode, OrderState, is_cancelled_by
from engine.view.snapshot import KilledPartRow, KillStatus, Snapshot
from tui import format
from tui.keys import OWN

LOST_AFTER = 1.0
"""Seconds without a new snapshot after which the engine counts as lost. It makes ten a second; at
one frame a second, the least, the screen says so within 2 s."""

UNANSWERED_AFTER = 2.0
"""Seconds after which a kill without an answer is said to have none."""

DEAD_MAN_WARNS_AT = 0.2
"""The share of its time that is left when the dead-man's switch is announced."""

STUCK_AFTER = 5.0
"""Seconds without a move after which a kill that is not complete is said to have failed."""

REPEAT_AFTER = 1.0
"""Seconds before the kill key sends again: a held key is one request."""


class Heartbeat:
    """Is the engine alive? Its snapshots' `wall_ts` moves on while it is."""

    def __init__(self, now: float) -> None:
        self._wall_ts = 0
        self._changed = now

    def silence(self, snapshot: Snapshot | None, now: float) -> float:
        """Seconds since the engine was last heard of."""
        if snapshot is not None and snapshot.wall_ts != self._wall_ts:
            self._wall_ts = snapshot.wall_ts
            self._changed = now
        return now - self._changed


class KillRequest:
    """What came of this console's request to kill."""

    def __init__(self) -> None:
        self._asked: float | None = None
        self._sent = 0.0
        self.delay: float | None = None
        """Seconds from the key to the engine's acknowledgement, once that is there."""

    def press(self, now: float) -> bool:
        """The kill key was pressed; False where it is only the repeat of a held key."""
        if self._asked is not None and now - self._sent < REPEAT_AFTER:
            return False
        if self._asked is None or self.delay is not None:
            self._asked, self.delay = now, None
        self._sent = now
        return True

    def see(self, kill: KillStatus, now: float) -> None:
        """Compare with what the engine says."""
        if self._asked is None:
            return
        if kill.tripped and self.delay is None:
            self.delay = now - self._asked
        elif not kill.tripped and self.delay is not None:
            self._asked = self.delay = None

    def waited(self, now: float) -> float | None:
        """Seconds since a request that has no acknowledgement yet."""
        return now - self._asked if self._asked is not None and self.delay is None else None


class KillProgress:
    """How far a kill has come, as this console saw it; of one before its time only what it sees."""

    def __init__(self) -> None:
        self._before: Snapshot | None = None
        self._began: float | None = None
        self._moved = 0.0
        self._is_done = False
        self._asked: frozenset[str] = frozenset()
        self.took: float | None = None
        """Seconds from the request until it was complete, or until now."""
        self.cancelled = ""
        """How many orders it has cancelled, of how many that were open, and how others ended."""

    def see(self, snapshot: Snapshot, waited: float, now: float) -> None:
        """`waited` is how long ago it was asked for, where it was here."""
        kill, before, self._before = snapshot.kill, self._before, snapshot
        if not kill.tripped:
            self._began = self.took = None
            self.cancelled = ""
            return
        if before is None:
            self._moved = now
        elif not before.kill.tripped:
            self._began, self._moved, self._is_done = now - waited, now, False
            opens = (o for o in before.orders if o.is_open and is_cancelled_by(kill.action, o))
            self._asked = frozenset(order.client_order_id for order in opens)
        elif _left(before.kill) != _left(kill):
            self._moved = now
        if self._began is None:
            return
        if not self._is_done:
            self.took = now - self._began
        self._is_done = not any(_left(kill))
        self.cancelled = self._ends(snapshot)

    def _ends(self, snapshot: Snapshot) -> str:
        """In words, how the orders that were open have ended; empty where there were none."""
        asked = [order for order in snapshot.orders if order.client_order_id in self._asked]
        ends = Counter(order.state for order in asked if not order.is_open)
        done = f"{ends.pop(OrderState.CANCELED, 0)} of {format.plural(len(self._asked), 'order')}"
        others = [f"{number} {format.words(state)}" for state, number in ends.items()]
        if unlisted := len(self._asked) - len(asked):
            others.append(f"{unlisted} ended, not listed any more")
        return ", ".join([f"{done} cancelled", *others]) if self._asked else ""

    def stuck(self, now: float) -> float | None:
        """For how many seconds nothing has moved, where that is for too long."""
        kill = self._before.kill if self._before else None
        is_under_way = kill is not None and kill.tripped and any(_left(kill))
        still = now - self._moved
        return still if is_under_way and still >= STUCK_AFTER else None


def _left(kill: KillStatus) -> tuple[int, int]:
    return kill.open_orders, kill.open_positions


class Past(NamedTuple):
    """What marks a frame of the past: the `session`, that it is after the first `number` of its
    `total` events, how it moves (`pace`), what is to be known of its journal, and the frame of the
    `engine` that runs meanwhile."""

    session: str
    number: int
    total: int
    pace: str
    note: str
    engine: "Frame"

    def follows(self, before: "Past") -> bool:
        """Whether what was known at `before` is known now: of the same session, and no later."""
        return self.session == before.session and self.number >= before.number


class Frame(NamedTuple):
    """`silence` is seconds since the engine was heard of; `kill_wait` seconds since a kill was
    asked for and not yet acknowledged; `kill_delay` how long its acknowledgement took; `kill_took`
    how long all of it took until now, `kill_cancelled` what became of the orders in words; it is
    `kill_stuck` for so many seconds where nothing moves; `dropped` frames were skipped because the
    terminal did not keep up. The engine is `owned` where this console started it; `standing` says
    who commands it. One with a `past` shows a session of then: nothing of it is now. `frozen`
    seconds ago the panels were made to stand still, None where they are not. `keys` are the names
    of the keys by their actions, `operator_zone` is the computer's time zone where it is None."""

    snapshot: Snapshot | None
    now: float
    silence: float = 0.0
    failure: str | None = None
    dropped: int = 0
    kill_wait: float | None = None
    kill_delay: float | None = None
    kill_took: float | None = None
    kill_cancelled: str = ""
    kill_stuck: float | None = None
    owned: bool = True
    standing: Standing = Standing(mine=True)
    past: Past | None = None
    frozen: float | None = None
    keys: Mapping[str, str] = OWN
    operator_zone: tzinfo | None = None

    @property
    def engine(self) -> "Frame":
        """The frame of the engine that runs, whatever this one is of."""
        return self.past.engine if self.past is not None else self

    @property
    def moment(self) -> int | None:
        """After which event of its session the past that is shown is; None where it is now."""
        return None if self.past is None else self.past.number

    @property
    def lost(self) -> bool:
        """The engine is gone: what the screen shows is old."""
        return self.failure is not None or (
            self.snapshot is not None and self.silence >= LOST_AFTER
        )

    @property
    def read_only(self) -> bool:
        """Whether this console is attached, and not in command."""
        return bool(self.standing.consoles) and not self.standing.mine

    @property
    def command_is_open(self) -> bool:
        """Whether there is a command to ask for, or to keep."""
        standing = self.standing
        return bool(standing.asks) if standing.mine else self.read_only and standing.may_ask

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The instruments that are quoted, by symbol: they say how prices are written."""
        return self.snapshot.instruments if self.snapshot else {}

    @property
    def names(self) -> dict[str, str]:
        """What each quoted symbol is called on the screen."""
        return format.short_names(self.instruments)

    def zones(self, symbol: str) -> list[tzinfo | None]:
        """Where the times of what is about `symbol` are told besides UTC: at its market, and where
        the operator is."""
        from zoneinfo import ZoneInfo  # kept off the way to the first frame

        rows = self.snapshot.quotes if self.snapshot else ()
        market = [ZoneInfo(row.zone) for row in rows if row.symbol == symbol]
        return [*market, self.operator_zone]

    @property
    def live(self) -> bool:
        """Whether real money is traded with here and now."""
        mode = self.snapshot.mode if self.snapshot is not None else None
        return self.past is None and mode is Mode.LIVE

    @property
    def live_confirmed(self) -> bool:
        """Whether nothing stands between orders and a real account."""
        gate = self.snapshot.live_gate if self.snapshot else ()
        return self.live and bool(gate) and all(condition.met for condition in gate)

    @property
    def live_awaits_word(self) -> bool:
        """Whether a person's word is all that stands between orders and a real account."""
        gate = self.snapshot.live_gate if self.snapshot else ()
        return self.live and bool(gate) and all(c.met for c in gate[:-1]) and not gate[-1].met


@runtime_checkable
class ShowsFrame(Protocol):
    """A screen that wants every frame."""

    def show(self, frame: Frame) -> None: ...


READY = ("kill ready", "good")


def kill_words(frame: Frame) -> tuple[str, str]:
    """The state of the kill switch in a few words, and its style."""
    if frame.kill_wait is not None:
        return f"KILL REQUESTED {format.seconds(frame.kill_wait)}", "alarm"
    if frame.snapshot is None:
        return f"kill {format.DASH}", "dim"
    kill = frame.snapshot.kill
    if not kill.tripped:
        if frame.lost:
            return f"kill {format.DASH}", "stale"
        killed = len(frame.snapshot.killed_parts)
        return (f"KILLED {format.plural(killed, 'part')}", "alarm") if killed else READY
    if kill.phase == "complete":
        return "KILLED", "alarm"
    if frame.kill_stuck is not None:
        return f"KILL FAILED {kill.open_orders or kill.open_positions} left", "alarm"
    if kill.phase == "flattening":
        return f"KILLED {kill.open_positions} held", "alarm"
    return f"KILLED {kill.open_orders} open", "alarm"


def kill_story(frame: Frame) -> str:
    """How far a kill has come: requested, acknowledged, cancelling, complete. Empty when none."""
    if frame.kill_wait is not None:
        waited = format.seconds(frame.kill_wait)
        if frame.kill_wait < UNANSWERED_AFTER:
            return f"KILL REQUESTED {waited} ago, not acknowledged yet"
        health = frame.snapshot.health if frame.snapshot else None
        process = f", or kill -9 {health.pid}" if health else ""
        return f"KILL REQUESTED {waited} ago, NO ANSWER: touch DATA_DIR/.kill_switch{process}"
    if frame.snapshot is None or not frame.snapshot.kill.tripped:
        return ""
    kill = frame.snapshot.kill
    left = progress(kill, kill.action)
    if frame.kill_took is not None:
        left += f" after {format.seconds(frame.kill_took)}"
    if frame.kill_stuck is not None:
        left = f"FAILED: {left}, nothing moved for {format.seconds(frame.kill_stuck)}"
    # What is still open comes first, and a reason, which may be long, last: the end may be cut
    parts = [f"KILLED by {kill.source}", left]
    if frame.kill_stuck is not None:
        do = "cancel" if kill.open_orders else "close"
        parts.append(f"it is tried on; {do} them at the venue by hand")
    if frame.kill_cancelled:
        parts.append(frame.kill_cancelled)
    parts += cancels_wait(frame.snapshot)
    if not kill.durable:
        parts.append("NOT ON DISK YET")
    if frame.kill_delay is not None:
        parts.append(f"acknowledged in {format.seconds(frame.kill_delay)}")
    if kill.reason:
        parts.append(kill.reason)
    return " · ".join(parts)


_DONE = {
    KillAction.STOP: "complete, open orders stay as they are",
    KillAction.KEEP_STOPS: "complete, only protective stops are open",
    KillAction.CANCEL: "complete, no order open",
    KillAction.FLATTEN: "complete, no order open, no position",
}


def progress(kill: KillStatus | KilledPartRow, action: KillAction) -> str:
    """How far a kill that does `action` has come."""
    if kill.open_orders:
        text = f"cancelling, {format.plural(kill.open_orders, 'order')} still open"
        if kill.refused:
            text += f", {format.plural(kill.refused, 'cancel')} did not take: {kill.refusal}"
        return text
    if kill.open_positions:
        return f"flattening, {format.plural(kill.open_positions, 'position')} still held"
    return _DONE[action]


def cancels_wait(snapshot: Snapshot) -> list[str]:
    """Of each broker that takes no more requests for now, when the last cancel leaves."""
    brokers = snapshot.health.brokers if snapshot.health else ()
    return [
        f"{each.name} takes no more requests for now; by itself the last cancel leaves in "
        f"{format.seconds(each.cancels_s)}"
        for each in brokers
        if each.cancels_s
    ]


def _part_story(row: KilledPartRow, frame: Frame) -> str:
    killed = row.killed
    because = f": {killed.reason}" if killed.reason else ""
    told = f"{progress(row, killed.action)} ({frame.keys['rearm']} re-arms)"
    return f"KILLED {killed.part} · {told} · by {killed.source}{because}"


def read_only_words(frame: Frame) -> str:
    """Who is in command instead of this console, and what to press where it may ask: that first,
    and names last, they are long."""
    holder, key, asks = frame.standing.holder, frame.keys["command"], frame.standing.asks
    if asks:
        passes = format.seconds(frame.standing.passes_in)
        return f"READ-ONLY: unless it is kept, in {passes} command goes to {_short(asks)}"
    if not frame.standing.may_ask:
        return f"READ-ONLY: {_short(holder) or 'no console'} is in command"
    if not holder:
        return f"READ-ONLY: no console is in command ({key} takes it)"
    return f"READ-ONLY: {key} asks {_short(holder)} for the command"


def _short(console: str) -> str:
    """The name of a console, where it is plain that it is one."""
    return console.removeprefix("console of ")


def _command_words(frame: Frame) -> list[tuple[str, str]]:
    """What there is to do about the command."""
    standing = frame.standing
    if frame.read_only:
        return [(read_only_words(frame), "caution")]
    if standing.mine and standing.asks:
        keeps = f"{frame.keys['command']} keeps the command"
        passes = format.seconds(standing.passes_in)
        return [(f"{keeps}, else in {passes} {_short(standing.asks)} gets it", "caution")]
    return []


def alerts(frame: Frame) -> list[tuple[str, str]]:
    """What the operator must know before all else, worst first, each with its style."""
    found: list[tuple[str, str]] = []
    if frame.failure is not None:
        how = frame.failure.removeprefix("the engine ended ")
        colon = ":" if how == frame.failure else ""
        found.append((f"ENGINE ENDED{colon} {how}", "alarm"))
    elif frame.lost:
        found.append(
            (f"ENGINE LOST {format.seconds(frame.silence)} ago: all numbers are old", "alarm")
        )
    if story := kill_story(frame):
        # A kill without an answer comes before the reason why there is none
        found.insert(0 if frame.kill_wait is not None else len(found), (story, "alarm"))
    snapshot = frame.snapshot
    if snapshot is None:
        return found
    if frame.standing.mine:  # who asks waits for an answer; that one only looks on is no news
        found += _command_words(frame)
    found += _switches(frame, snapshot)
    found += [(_part_story(row, frame), "alarm") for row in snapshot.killed_parts]
    if not snapshot.store.available:
        since = _for(snapshot.store.since_ts, snapshot)
        found.append((f"DATABASE OUT OF REACH{since}: {snapshot.store.note}", "alarm"))
    found += [
        (f"BROKER DOWN {broker.name}{_for(broker.since_ts, snapshot)}: {broker.note}", "alarm")
        for broker in snapshot.brokers
        if not (broker.connected or broker.is_connecting)
    ]
    feed = snapshot.feed
    since = _for(feed.since_ts, snapshot)
    if feed.status == "disconnected":
        found.append((f"FEED DOWN {feed.name}{since}: {feed.note}", "alarm"))
    if snapshot.feed.status == "behind":
        left_out = f" ({snapshot.health.conflated:,} left out)" if snapshot.health else ""
        found.append((f"FEED BEHIND {snapshot.feed.note}{left_out}", "caution"))
    if snapshot.feed.status == "degraded":
        found.append((f"FEED PARTLY DOWN {feed.name}{since}: {feed.note}", "caution"))
    if feed.awaited:
        told = f"for {feed.awaited} of {len(snapshot.quotes)} symbols"
        found.append((f"HISTORY IS LOADING {told}: nothing is decided on them yet", "caution"))
    if snapshot.quotes and all(row.stale for row in snapshot.quotes):
        found.append(("ALL QUOTES ARE STALE: nothing is decided on them", "caution"))
    if snapshot.paused:
        symbols = ", ".join(row.symbol for row in snapshot.paused)
        found.append((f"PAUSED {symbols}: no entry is made", "caution"))
    if not frame.standing.mine:
        found += _command_words(frame)
    return found


def _for(since_ts: int, snapshot: Snapshot) -> str:
    """For how long it has been so, where that is known; where the market's time does not pass as
    the operator's does, since when."""
    if not since_ts:
        return ""
    if snapshot.feed.speed != 1:
        return f" since {format.clock(since_ts)}"
    return f" for {format.since(since_ts, snapshot.ts)}"


def _switches(frame: Frame, snapshot: Snapshot) -> list[tuple[str, str]]:
    """What holds orders back, or soon will, besides the kill switch."""
    found: list[tuple[str, str]] = []
    dead_man = snapshot.dead_man
    if dead_man is not None and dead_man.remaining <= dead_man.limit * DEAD_MAN_WARNS_AT:
        left = format.seconds(dead_man.remaining)
        found.append((f"DEAD-MAN'S SWITCH trips in {left}: press any key", "alarm"))
    if snapshot.breaker.tripped:
        told = f"{snapshot.breaker.reason} ({frame.keys['breaker']} resets)"
        found.append((f"CIRCUIT BREAKER, no entry leaves: {told}", "alarm"))
    if frame.live and not frame.live_confirmed:
        found.append((_unconfirmed(frame, snapshot), "caution"))
    return found


def _unconfirmed(frame: Frame, snapshot: Snapshot) -> str:
    """That live trading is not confirmed, and what is to be done first."""
    key = frame.keys["mode"]
    if frame.live_awaits_word:
        return f"LIVE IS NOT CONFIRMED: no order leaves ({key} confirms)"
    missing = ", ".join(gate.condition for gate in snapshot.live_gate[:-1] if not gate.met)
    return f"LIVE REFUSED, no order leaves ({key} says why): missing {missing}"
