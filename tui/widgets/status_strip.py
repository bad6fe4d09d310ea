"""The strip at the top of every screen: what must be seen at all times."""

from engine.snapshot import FeedStatus, Snapshot
from tui import format
from tui.frame import Frame, alerts, kill_words
from tui.widgets.lines import Line, Lines, banner, fit, length, spread

_DARK: Line = ((f"broker {format.DASH}  feed {format.DASH}", "stale"),)
"""The lights when nobody knows: the engine is gone."""

_FEED = {
    "connected": ("●", "up", "good"),
    "degraded": ("◐", "PART DOWN", "warn"),
    "paused": ("‖", "PAUSED", "warn"),
    "ended": ("■", "ENDED", "warn"),
    "disconnected": ("✗", "DOWN", "down"),
}


class StatusStrip(Lines):
    """Mode, account, broker, feed and market time; equity, day P&L, kill switch and engine. A third
    line appears when something is wrong."""

    def show(self, frame: Frame) -> None:
        width = (self.size or self.app.size).width
        lines = [self._first(frame, width), self._second(frame, width)]
        if found := alerts(frame):
            text, style = found[0]
            more = f"  (+{len(found) - 1})" if len(found) > 1 else ""
            lines.append(banner(f"■ {text}{more}", style, width))
        self.update(lines)

    def _first(self, frame: Frame, width: int) -> Line:
        snapshot = frame.snapshot
        if snapshot is None:
            waited = format.seconds(frame.silence)
            return spread(mode_badge(frame), ((f"engine starting {waited} ", "warn"),), width)
        right: Line = ((f"{format.date_and_clock(snapshot.ts)} ", _unless_lost(frame, "strong")),)
        room = width - length(right) - 2
        named = width >= 100
        lights = [(1, light) for light in broker_lights(snapshot, named)]
        lights.append((2, feed_light(snapshot.feed, named)))
        parts = [
            (0, mode_badge(frame)),
            (0, dry_run_badge(snapshot)),
            (3, ((snapshot.account, "text"),)),
            *([(1, _DARK)] if frame.lost else lights),
        ]
        return spread(fit(parts, room), right, width)

    def _second(self, frame: Frame, width: int) -> Line:
        right = engine_light(frame)
        parts = [
            (1, equity(frame)),
            (0, day_pnl(frame)),
            (2, day_change(frame)),
            (0, (kill_words(frame),)),
            (1, breaker_words(frame)),
            (3, cash(frame)),
            (4, settled(frame)),
        ]
        room = width - length(right) - 2
        return spread(((" ", "text"), *fit(parts, room - 1)), (*right, (" ", "text")), width)


def mode_badge(frame: Frame) -> Line:
    if frame.snapshot is None:
        return ((f" MODE {format.DASH} ", "caution"),)
    return ((" LIVE ", "live"),) if frame.live else ((" PAPER ", "paper"),)


def dry_run_badge(snapshot: Snapshot) -> Line:
    return ((" DRY RUN ", "caution"),) if snapshot.dry_run else ()


def breaker_words(frame: Frame) -> Line:
    """The circuit breaker where there is something to say of it."""
    breaker = frame.snapshot.breaker if frame.snapshot else None
    if breaker is None or not (breaker.tripped or breaker.failures):
        return ()
    if breaker.tripped:
        return (("BREAKER", "alarm"),)
    return ((f"failures {breaker.failures}/{breaker.limit}", _unless_lost(frame, "warn")),)


def broker_lights(snapshot: Snapshot, named: bool) -> list[Line]:
    """One a broker; without room the names are left out where there is only one."""
    named = named or len(snapshot.brokers) > 1
    return [
        _light(
            f"broker {broker.name}" if named else "broker",
            *(("●", "up", "good") if broker.connected else ("✗", "DOWN", "down")),
        )
        for broker in snapshot.brokers
    ]


def feed_light(feed: FeedStatus, named: bool) -> Line:
    """The feed's state, and the speed of a replay."""
    name = f"feed {feed.name}" if named else "feed"
    at = f" {format.speed(feed.speed)}" if feed.recorded else ""
    sign, word, style = _FEED.get(feed.status, ("○", feed.status, "warn"))
    return _light(name, sign, f"{word}{at}", style)


def _light(name: str, sign: str, word: str, style: str) -> Line:
    return (f"{name} ", "dim"), (f"{sign} ", style), (word, "text" if style == "good" else style)


def equity(frame: Frame) -> Line:
    value = frame.snapshot.equity if frame.snapshot else None
    currency = f" {frame.snapshot.currency}" if frame.snapshot else ""
    return ("equity ", "dim"), (f"{format.money(value)}{currency}", _unless_lost(frame, "strong"))


def cash(frame: Frame) -> Line:
    value = frame.snapshot.cash if frame.snapshot else None
    return ("cash ", "dim"), (format.money(value), _unless_lost(frame, "text"))


def settled(frame: Frame) -> Line:
    """Cash less what sales brought that has not settled yet."""
    value = frame.snapshot.settled_cash if frame.snapshot else None
    return ("settled ", "dim"), (format.money(value), _unless_lost(frame, "text"))


def day_pnl(frame: Frame) -> Line:
    pnl = frame.snapshot.day_pnl if frame.snapshot else None
    text = format.money(pnl, signed=True)
    style = _unless_lost(frame, format.direction(text))
    return ("day ", "dim"), (f"{format.arrow(text)}{text}".strip(), style)


def day_change(frame: Frame) -> Line:
    """The day's P&L against the equity before it."""
    snapshot = frame.snapshot
    if snapshot is None or snapshot.equity is None or snapshot.day_pnl is None:
        return ()
    before = snapshot.equity - snapshot.day_pnl
    change = format.percent(float(snapshot.day_pnl / before) * 100 if before else None)
    return ((change, _unless_lost(frame, format.direction(change))),)


def engine_light(frame: Frame) -> Line:
    """Is the engine there, how late its loop is, what waits in its queue, and our lost frames."""
    if frame.failure is not None:
        return (("✗ ENGINE ENDED", "alarm"),)
    if frame.snapshot is None:
        return ((f"○ engine {format.DASH}", "warn"),)
    if frame.lost:
        return ((f"✗ ENGINE LOST {format.seconds(frame.silence)}", "alarm"),)
    health = frame.snapshot.health
    late = "warn" if health.lateness_ms >= 50 else "dim"
    return (
        ("● ", "good"),
        ("engine", "text"),
        (f" {format.number(health.lateness_ms, 1)} ms", late),
        (f" q {health.queue}", "dim"),
        (f" drop {frame.dropped}" if frame.dropped else "", "warn"),
    )


def _unless_lost(frame: Frame, style: str) -> str:
    return "stale" if frame.lost else style
