"""The strip at the top of every screen: what must be seen at all times."""

from engine.view.snapshot import BrokerStatus, FeedStatus, Snapshot
from tui import commands, format, oldness
from tui.frame import Frame, Past, alerts, kill_words
from tui.widgets.lines import Cell, Line, Lines, banner, fit, length, spread

_DARK: Line = ((f"broker {format.DASH}  feed {format.DASH}", "stale"),)
"""The lights when nobody knows: the engine is gone."""

FEED_SIGNS = {
    "connected": ("●", "up", "good"),
    "behind": ("◐", "BEHIND", "warn"),
    "degraded": ("◐", "PART DOWN", "warn"),
    "paused": ("‖", "PAUSED", "warn"),
    "ended": ("■", "ENDED", "warn"),
    "disconnected": ("✗", "DOWN", "down"),
}
LATE_MS = 50
"""Milliseconds from which on the engine's loop counts as late."""
TABS_FROM = 36
"""Lines of the terminal from which one is spent on the names of the screens."""

_LOSSES = frozenset({"behind", "degraded", "disconnected"})
"""Shown however narrow the screen is: prices are missing."""


_SPARED = 3
"""From this rank on a part of the second line gives way to the numbers of the engine's light, or
to which event of the past it is."""
_WIDEST = 10_000


class StatusStrip(Lines):
    """Mode, account, broker, feed and market time; equity, day P&L, kill switch and engine. `here`
    is the screen that it stands on, if it stands on one: a line of all screens, where there is
    room, else its name. One more line appears when something is wrong."""

    def __init__(self, here: str = "") -> None:
        super().__init__()
        self.here = here

    def show(self, frame: Frame) -> None:
        width = (self.size or self.app.size).width
        if frame.past is not None:
            self.update(self._of_the_past(frame, frame.past, width))
            return
        lines = [self._first(frame, width), self._second(frame, width)]
        if self._has_tabs:
            lines.append(tabs(self.here, frame, width))
        if found := alerts(frame):
            text, style = found[0]
            more = f"  (+{len(found) - 1})" if len(found) > 1 else ""
            text = format.cut(f"■ {text}", width - len(more) - 2)
            lines.append(banner(f"{text}{more}", style, width))
        self.update(lines)

    def _of_the_past(self, frame: Frame, past: Past, width: int) -> list[Line]:
        """What was then, under a mark that it is not now; and how the engine is, which is now."""
        time: Line = (
            (f"{format.date_and_clock(frame.snapshot.ts if frame.snapshot else 0)} ", "strong"),
        )
        here: Line = () if self._has_tabs else ((self.here, "head"),)
        parts = [(0, NOT_LIVE), (2, here), (1, ((f"session {past.session}", "text"),))]
        lines = [
            spread(fit(parts, width - length(time) - 2), time, width),
            self._second(frame, width),
        ]
        if self._has_tabs:
            lines.append(tabs(self.here, frame, width))
        lines.append(engine_line(past.engine, width))
        if past.note:
            lines.append(banner(f"■ {past.note}", "caution", width))
        return lines

    @property
    def _has_tabs(self) -> bool:
        return bool(self.here) and self.app.size.height >= TABS_FROM

    def _first(self, frame: Frame, width: int) -> Line:
        snapshot = frame.snapshot
        if snapshot is None:
            waited = format.seconds(frame.silence)
            return spread(mode_badge(frame), ((f"engine starting {waited} ", "warn"),), width)
        right: Line = ((f"{format.date_and_clock(snapshot.ts)} ", _unless_lost(frame, "strong")),)
        room = width - length(right) - 2
        named = width >= 100
        lights = [(1, light) for light in broker_lights(snapshot, named)]
        is_lossy = snapshot.feed.status in _LOSSES
        lights.append((0 if is_lossy else 2, feed_light(snapshot.feed, named)))
        here: Line = () if self._has_tabs else ((self.here, "head"),)
        parts = [
            (0, mode_badge(frame)),
            (0, dry_run_badge(snapshot)),
            (0, read_only_badge(frame)),
            (0, frozen_badge(frame)),
            (2, here),
            (3, account_named(snapshot, named)),
            *([(1, _DARK)] if frame.lost else lights),
            (4, engine_named(snapshot)),
            (5, data_age(snapshot)),
            (6, config_named(snapshot)),
        ]
        return spread(fit(parts, room), right, width)

    def _second(self, frame: Frame, width: int) -> Line:
        parts = [
            (1, equity(frame)),
            (0, day_pnl(frame)),
            (2, day_change(frame)),
            (1, stale_words(frame)),
            (0, (kill_words(frame),)),
            (0, unread(frame)),
            (1, breaker_words(frame)),
            (3, consoles(frame)),
            (3, cash(frame)),
            (4, settled(frame)),
            *[(5, account) for account in accounts(frame)],
        ]
        needed = fit([part for part in parts if part[0] < _SPARED], _WIDEST)
        right = _ending(frame)
        if length(needed) + length(right) + 3 > width:  # our lost frames matter least
            right = _ending(frame._replace(dropped=0))
        if length(needed) + length(right) + 3 > width:
            right = _ending(frame, brief=True)
        room = width - length(right) - 2
        return spread(((" ", "text"), *fit(parts, room - 1)), (*right, (" ", "text")), width)


def tabs(here: str, frame: Frame, width: int) -> Line:
    """All screens with their keys, the one that one is on marked; without room its name alone."""
    for named in (commands.SCREENS, (here,)):
        cells: list[Cell] = [(" ", "text")]
        for name in commands.SCREENS:
            style = "tab" if name == here else "dim"
            key = (f" {frame.keys[f'screen-{name}']}", style if name == here else "key")
            cells += [key, (f" {name} " if name in named else " ", style)]
        if length(cells) <= width:
            break
    return tuple(cells)


NOT_LIVE: Line = ((" NOT LIVE ", "past"),)


def _ending(frame: Frame, *, brief: bool = False) -> Line:
    """What ends the second line: how the engine is, or where in the past one is."""
    if frame.past is None:
        return engine_light(frame, brief=brief)
    return place(frame.past, brief=brief)


def place(past: Past, *, brief: bool = False) -> Line:
    """Where in its session the past that is shown is; a brief one has no count of events."""
    pace: Line = ((f" {past.pace}", "warn"),)
    return pace if brief else ((f"event {past.number:,} of {past.total:,}", "strong"), *pace)


def engine_line(engine: Frame, width: int) -> Line:
    """The engine that runs while the past is shown: its mode, its kill switch, what is wrong."""
    state = (0, ((" live engine ", "strong"), *mode_badge(engine))), (0, (kill_words(engine),))
    asked = unread(engine)
    found = alerts(engine)
    if not found:
        return fit([*state, (2, engine_light(engine)), (1, asked)], width)
    more = len(found) - 1 + bool(asked)
    line = fit(state, width)
    room = width - length(line) - 2
    others = f" (+{more})" if more else ""
    text = format.cut(f" ■ {found[0][0]}", room - len(others)) + others
    return (*line, ("  ", "text"), (text, found[0][1]))


def mode_badge(frame: Frame) -> Line:
    if frame.snapshot is None:
        return ((f" MODE {format.DASH} ", "caution"),)
    return ((" LIVE ", "live"),) if frame.live else ((" PAPER ", "paper"),)


def dry_run_badge(snapshot: Snapshot) -> Line:
    return ((" DRY RUN ", "caution"),) if snapshot.dry_run else ()


def read_only_badge(frame: Frame) -> Line:
    return ((" READ-ONLY ", "caution"),) if frame.read_only else ()


def consoles(frame: Frame) -> Line:
    """How many consoles are attached, where this one, which is in command, is not the only one."""
    standing = frame.standing
    if not standing.mine or standing.consoles < 2:
        return ()
    return ((f"in command of {standing.consoles} consoles", "dim"),)


def frozen_badge(frame: Frame) -> Line:
    if frame.frozen is None:
        return ()
    key = frame.keys["freeze"]
    return ((f" FROZEN {format.seconds(frame.frozen)}, {key} goes on ", "caution"),)


def engine_named(snapshot: Snapshot) -> Line:
    """Which engine it is: its host and its process."""
    health = snapshot.health
    return ((f"{health.host}:{health.pid}", "dim"),) if health else ()


def config_named(snapshot: Snapshot) -> Line:
    """The version of what the engine runs with: its program, settings and strategies."""
    health = snapshot.health
    return ((f"config {health.config}", "dim"),) if health and health.config else ()


def unread(frame: Frame) -> Line:
    """How many alerts nobody has acknowledged."""
    count = len(frame.snapshot.unread) if frame.snapshot else 0
    return ((format.plural(count, "alert"), _unless_lost(frame, "caution")),) if count else ()


def breaker_words(frame: Frame) -> Line:
    """The circuit breaker where there is something to say of it."""
    breaker = frame.snapshot.breaker if frame.snapshot else None
    if breaker is None or not (breaker.tripped or breaker.failures):
        return ()
    if breaker.tripped:
        return (("BREAKER", "alarm"),)
    return ((f"failures {breaker.failures}/{breaker.limit}", _unless_lost(frame, "warn")),)


def broker_lights(snapshot: Snapshot, named: bool) -> list[Line]:
    """One a broker. Without room the name is left out where there is only one, and of several it is
    said how many are up; those that are down are named, unless all are."""
    count = len(snapshot.brokers)
    if not named and count > 1:
        down = [broker.name for broker in snapshot.brokers if not broker.connected]
        if len(down) == count:
            return [_light("brokers", "✗", f"{count} DOWN", "down")]
        others = _light("others" if down else "brokers", "●", f"{count - len(down)} up", "good")
        return [*(_light(name, "✗", "DOWN", "down") for name in down), others]
    return [
        _light(
            f"broker {broker.name}" if named else "broker",
            *_broker_sign(broker),
        )
        for broker in snapshot.brokers
    ]


def _broker_sign(broker: BrokerStatus) -> tuple[str, str, str]:
    if broker.is_connecting:
        return "○", "connecting", "warn"
    return ("●", "up", "good") if broker.connected else ("✗", "DOWN", "down")


def feed_light(feed: FeedStatus, named: bool) -> Line:
    """The feed's state, and the speed of a replay."""
    name = f"feed {feed.name}" if named else "feed"
    at = f" {format.speed(feed.speed)}" if feed.recorded else ""
    sign, word, style = FEED_SIGNS.get(feed.status, ("○", feed.status, "warn"))
    return _light(name, sign, f"{word}{at}", style)


def _light(name: str, sign: str, word: str, style: str) -> Line:
    return (f"{name} ", "dim"), (f"{sign} ", style), (word, "text" if style == "good" else style)


def equity(frame: Frame) -> Line:
    value = frame.snapshot.equity if frame.snapshot else None
    currency = f" {frame.snapshot.currency}" if frame.snapshot else ""
    shown, style = oldness.number(format.money(value), "strong", oldness.old_equity(frame))
    return ("equity ", "dim"), (f"{shown}{currency}", style)


def stale_words(frame: Frame) -> Line:
    """How old what equity rests on is. That the engine is lost is said elsewhere."""
    age = None if frame.lost else oldness.old_equity(frame)
    return ((oldness.words(age), "warn"),) if age is not None else ()


def cash(frame: Frame) -> Line:
    value = frame.snapshot.cash if frame.snapshot else None
    return ("cash ", "dim"), oldness.number(format.money(value), "text", oldness.old_cash(frame))


def account_named(snapshot: Snapshot, named: bool) -> Line:
    """Which account it is; without room the word is left out."""
    if not snapshot.account:
        return ()
    return (("account " if named else "", "dim"), (snapshot.account, "text"))


def data_age(snapshot: Snapshot) -> Line:
    """How old the newest data of the feed is."""
    newest = max((row.ts for row in snapshot.quotes), default=0)
    return ("data ", "dim"), (format.since(newest, snapshot.ts), "text")


def accounts(frame: Frame) -> list[Line]:
    """The cash of each account in its own currency, where the sum does not say it all."""
    snapshot = frame.snapshot
    if snapshot is None:
        return []
    down = {broker.name for broker in snapshot.brokers if not broker.connected}
    age = oldness.old_cash(frame)
    return [
        (
            (f"{row.venue} ", "dim"),
            oldness.number(
                f"{format.money(row.cash)} {row.currency}",
                "text",
                age if frame.lost or row.venue in down else None,
            ),
        )
        for row in snapshot.accounts
    ]


def settled(frame: Frame) -> Line:
    """Cash less what sales brought that has not settled yet."""
    value = frame.snapshot.settled_cash if frame.snapshot else None
    age = oldness.old_cash(frame)
    return ("settled ", "dim"), oldness.number(format.money(value), "text", age)


def day_pnl(frame: Frame) -> Line:
    pnl = frame.snapshot.day_pnl if frame.snapshot else None
    text = format.money(pnl, signed=True)
    shown, style = f"{format.arrow(text)}{text}".strip(), format.direction(text)
    return ("day ", "dim"), oldness.number(shown, style, oldness.old_equity(frame))


def day_change(frame: Frame) -> Line:
    """The day's P&L against the equity before it."""
    snapshot = frame.snapshot
    if snapshot is None or snapshot.equity is None or snapshot.day_pnl is None:
        return ()
    before = snapshot.equity - snapshot.day_pnl
    change = format.percent(float(snapshot.day_pnl / before) * 100 if before else None)
    return (oldness.number(change, format.direction(change), oldness.old_equity(frame)),)


def engine_light(frame: Frame, *, brief: bool = False) -> Line:
    """Is the engine there, how late its loop is, what waits in its queue, and our lost frames. A
    brief one has of those only what is out of order."""
    if frame.failure is not None:
        return (("✗ ENGINE ENDED", "alarm"),)
    health = frame.snapshot.health if frame.snapshot else None
    if health is None:
        return ((f"○ engine {format.DASH}", "warn"),)
    if frame.lost:
        return ((f"✗ ENGINE LOST {format.seconds(frame.silence)}", "alarm"),)
    is_late = health.lateness_ms >= LATE_MS
    late = (f" {format.number(health.lateness_ms, 1)} ms", "warn" if is_late else "dim")
    light: Line = (("● ", "good"), ("engine", "text"))
    if brief:
        return (*light, late) if is_late else light
    dropped = (f" drop {frame.dropped}" if frame.dropped else "", "warn")
    return (*light, late, (f" q {health.queue}", "dim"), dropped)


def _unless_lost(frame: Frame, style: str) -> str:
    return "stale" if frame.lost else style
