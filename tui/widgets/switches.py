"""The switches panel: what stops or would stop orders, and what the account still may do."""

from collections.abc import Iterator, Sequence

from engine.core.model import Mode, utc
from engine.view.snapshot import AccountRow, DeadManStatus, KillStatus, Snapshot
from tui import format
from tui.frame import DEAD_MAN_WARNS_AT, Frame, kill_story, kill_words, progress
from tui.widgets.facts import Fact, Facts


class Switches(Facts):
    """Kill switch, circuit breaker and dead-man's switch, killed parts and paused symbols, day
    trades and settled cash, and the conditions of live trading."""

    def facts(self, frame: Frame) -> Sequence[Fact]:
        snapshot = frame.snapshot
        if snapshot is None:
            return ()
        return [
            *_switches(frame, snapshot),
            *_stopped(frame, snapshot),
            *_account(snapshot),
            *_live(snapshot),
        ]

    def note(self, frame: Frame) -> str:
        return kill_words(frame)[0]


def _switches(frame: Frame, snapshot: Snapshot) -> Iterator[Fact]:
    words, style = kill_words(frame)
    yield Fact("kill switch", words.removeprefix("kill "), _kill_told(frame, snapshot.kill), style)
    breaker = snapshot.breaker
    if breaker.tripped:
        told = f"{breaker.reason} ({frame.keys['breaker']} resets)"
        yield Fact("circuit breaker", "TRIPPED", told, "alarm")
    else:
        style = "warn" if breaker.failures else "good"
        yield Fact("circuit breaker", f"{breaker.failures}/{breaker.limit}", "in a row", style)
    yield _dead_man(snapshot.dead_man)
    if snapshot.dry_run:
        yield Fact("dry run", "ON", "no order is sent", "caution")


def _kill_told(frame: Frame, kill: KillStatus) -> str:
    """Who tripped it and why; how far it has come is in the banner."""
    if kill.tripped:
        return f"by {kill.source}" + (f": {kill.reason}" if kill.reason else "")
    return kill_story(frame) or f"would {format.words(kill.action)}"


def _dead_man(switch: DeadManStatus | None) -> Fact:
    if switch is None:
        return Fact("dead-man", "off", "nobody need be there", "dim")
    near = switch.remaining <= switch.limit * DEAD_MAN_WARNS_AT
    left = f"{format.seconds(switch.remaining)} left"
    return Fact("dead-man", left, f"of {format.seconds(switch.limit)}", "alarm" if near else "good")


def _stopped(frame: Frame, snapshot: Snapshot) -> Iterator[Fact]:
    """Parts that are killed, symbols that are paused, and alerts that wait for a person."""
    for row in snapshot.killed_parts:
        told = f"{progress(row, row.killed.action)} ({frame.keys['rearm']} re-arms)"
        yield Fact(str(row.killed.part), "KILLED", told, "alarm")
    for row in snapshot.paused:
        until = f"until {format.clock(row.until)}" if row.until else "by hand"
        yield Fact(f"paused {row.symbol}", until, row.reason, "warn")
    if not snapshot.paused:
        yield Fact("paused symbols", "none", style="good")
    for alert in snapshot.unread:
        if alert.holds:
            yield Fact(f"alert {alert.name}", "READ IT", alert.text, "warn")


def _account(snapshot: Snapshot) -> Iterator[Fact]:
    trades = [row for row in snapshot.limits if row.name == "day_trades"]
    for row in trades:
        share = format.used_share(row.used, row.limit)
        used = format.used_of(row.used, row.limit, row.unit)
        name = f"day trades {row.scope}".strip()
        yield Fact(name, used, "in five business days", format.share_style(share))
    if not trades:
        yield Fact("day trades", "no limit", "no rule holds now", "dim")
    for account in snapshot.accounts:
        settled = f"{format.money(account.settled_cash)} {account.currency}"
        cash = f"of {format.money(account.cash)} {account.currency} cash"
        yield Fact(f"settled {account.venue}", settled, cash)
        if account.rate_ts:
            yield _rate(account, snapshot)
    if not snapshot.accounts:
        settled = f"{format.money(snapshot.settled_cash)} {snapshot.currency}"
        yield Fact("settled cash", settled, f"of {format.money(snapshot.cash)} cash")


def _rate(account: AccountRow, snapshot: Snapshot) -> Fact:
    """By what an account in another currency is counted, and how old that is."""
    rate = f"{format.figure(account.worth, 6)} {snapshot.currency}"
    age = abs(snapshot.ts - account.rate_ts)
    told = f"published {format.age(age)} ago ({utc(account.rate_ts):%Y-%m-%d})"
    return Fact(f"1 {account.currency}", rate, told)


def _live(snapshot: Snapshot) -> Iterator[Fact]:
    gate = snapshot.live_gate
    met = sum(condition.met for condition in gate)
    if snapshot.mode is not Mode.LIVE:
        yield Fact("live gate", "paper", f"{met} of {len(gate)} conditions are met", "dim")
    else:
        done = met == len(gate)
        yield Fact("live gate", "OPEN" if done else "SHUT", f"{met} of {len(gate)} are met", "live")
    for condition in gate:
        if condition.met:
            yield Fact(condition.condition, "met", style="good")
        else:
            yield Fact(condition.condition, "NOT MET", condition.remedy, "warn")
