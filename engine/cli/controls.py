"""`tradebot controls`: every control, its value, and when it was last seen at work.

Rule books for automated trading (SEC 15c3-5, RTS 6 article 9, NI 23-103) ask for such a list, and
for a yearly look at whether each control works.
"""

import json
from collections.abc import Iterable
from functools import partial, reduce
from typing import Any, NamedTuple

import click
import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from engine.config_version import config_version
from engine.core import events as e
from engine.core.execution.desk import CLOSES_TOO_MUCH
from engine.core.model import utc
from engine.core.text import clean
from engine.ops.options import END, START
from engine.ops.settings import Settings, env_text, load_settings
from engine.store.database import read_database
from engine.store.durable import limits_after
from engine.store.models import AuditLog
from engine.store.place import Place

Facts = tuple[type[e.Event], ...]


CHILD_CAP = "children within their parent"
"""Stops, targets and exits close no more than is held, a replace included: one that would is not
sent, and ends with that reason."""


class Control(NamedTuple):
    """A control, the settings that set it, and what shows it at work: the checks of that name,
    the signals that it blocked, the facts that it makes."""

    name: str
    settings: tuple[str, ...]
    checks: tuple[str, ...] = ()
    facts: Facts = ()


_POSITION = ("crypto_{}", "stock_{}", "{}")


def _limit(setting: str, *checks: str, facts: Facts = ()) -> Control:
    """A limit, with its settings for one asset class where there are any."""
    names = [form.format(setting) for form in _POSITION]
    own = tuple(name for name in reversed(names) if name in Settings.model_fields)
    return Control(checks[0].replace("_", " "), own, checks, facts)


CONTROLS = (
    Control("kill switch", ("kill_action", "kill_switch"), facts=(e.KillSwitchTriggered,)),
    Control("kill of a part", ("kill_action",), facts=(e.PartKilled,)),
    Control(
        "circuit breaker",
        ("circuit_breaker_failures", "circuit_breaker_kills"),
        facts=(e.CircuitBreakerTripped,),
    ),
    Control("dead-man's switch", ("dead_man_s",)),
    Control("live gate", ("mode", "allow_live_trading"), facts=(e.LiveConfirmed,)),
    Control(
        "no alert that holds live back",
        ("acknowledge_alerts",),
        facts=(e.AlertRaised, e.AlertsAcknowledged),
    ),
    Control("dry run", ("dry_run",)),
    Control("fresh prices", ("stale_after_s",), ("stale",), (e.FeedStale,)),
    Control("sound prices", (), facts=(e.DataRefused, e.FillQuarantined)),
    Control("one order a decision", (), ("duplicate",), (e.DuplicateRefused,)),
    Control("orders without an answer", ("submit_timeout_s", "in_doubt_lag_s"),
            facts=(e.OrderInDoubt,)),
    Control("reconciliation", ("reconcile_s",), facts=(e.Reconciled, e.ReconcileFailed)),
    Control("symbols paused", (), facts=(e.SymbolPaused,)),
    Control("laws", (), facts=(e.LawBroken,)),
    Control("config version", (), facts=(e.ConfigUsed,)),
    Control("limits changed", (), facts=(e.LimitChanged,)),
    Control("market hours", ("extended_hours",), ("market_hours",)),
    _limit("max_position_size_pct", "position_size"),
    _limit("max_position_notional", "position_notional"),
    _limit("max_order_notional", "order_notional"),
    _limit("price_collar_pct", "price_collar"),
    _limit("min_price", "min_price"),
    Control("stop-loss", ("stop_loss_pct", "crypto_stop_loss_pct", "stop_loss_required"),
            ("stop_loss",)),
    Control(
        "target, trailing stop", ("take_profit_pct", "trailing_stop_pct"), facts=(e.TargetReached,)
    ),
    Control("no short", (), ("short",)),
    Control("no trade with oneself", (), ("self_trade",)),
    Control(CHILD_CAP, ()),
    _limit("min_signal_strength", "signal_strength"),
    _limit("max_trades_per_day", "trades_per_day"),
    _limit("max_consecutive_losses", "consecutive_losses", facts=(e.StrategyPaused,)),
    _limit("cool_down_s", "cool_down"),
    Control("repeated orders", ("throttle_orders", "throttle_seconds")),
    _limit("max_daily_loss", "daily_loss"),
    _limit("max_daily_loss_pct", "daily_loss_pct"),
    _limit("max_drawdown_pct", "drawdown"),
    _limit("max_exposure_pct", "exposure", "stock_exposure", "crypto_exposure"),
    _limit("max_open_positions", "open_positions"),
    _limit("max_leverage", "leverage", "buying_power", "venue_buying_power"),
    _limit("max_messages_per_second", "message_rate"),
)  # fmt: skip


UNMEASURED = frozenset({"stale", "stop_loss", "duplicate"})
"""Checks without a number: the signal that they block is all that tells of them."""


class Use(Struct):
    """How often a control was asked, how often it stopped something, and when last (ns UTC)."""

    asked: int = 0
    stopped: int = 0
    last_ts: int = 0

    def count(self, ts: int, stopped: bool) -> None:
        self.asked += 1
        self.stopped += stopped
        self.last_ts = ts


class _Order(Struct, frozen=True):
    reason: str = ""


class _Payload(Struct):
    order: _Order = _Order()
    check: str = ""
    passed: bool = False


class Register:
    """Counts, from the facts of the audit log in their order, what each control did."""

    def __init__(self) -> None:
        self.uses = {control.name: Use() for control in CONTROLS}
        self._of_check = {c: control.name for control in CONTROLS for c in control.checks}
        self._of_fact = {f.__name__: control.name for control in CONTROLS for f in control.facts}
        self.limits: tuple[e.ChangedLimit, ...] = ()

    @property
    def kinds(self) -> set[str]:
        """The facts that it wants to see."""
        checked = (e.RiskChecked, e.SignalBlocked, e.LimitBreached, e.LimitChanged, e.OrderCanceled)
        return {*self._of_fact, *(kind.__name__ for kind in checked)}

    def add(self, kind: str, ts: int, payload: str, counted: bool) -> None:
        """`counted` says whether it is of the span that is asked for; limits count from ever."""
        if kind == e.LimitChanged.__name__:
            fact = msgspec.json.decode(payload, type=e.LimitChanged)
            self.limits = reduce(limits_after, (fact,), self.limits)
        if not counted:
            return
        if name := self._of_fact.get(kind):
            self.uses[name].count(ts, stopped=True)
            return
        what = msgspec.json.decode(payload, type=_Payload)
        if what.order.reason.endswith(CLOSES_TOO_MUCH):
            self.uses[CHILD_CAP].count(ts, stopped=True)
        name = self._of_check.get(what.check)
        if name is None:
            return
        if kind != e.SignalBlocked.__name__ or what.check in UNMEASURED:
            self.uses[name].count(ts, stopped=not what.passed)


@click.command(short_help="List every control, its value, and when it last did its work.")
@START
@END
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def controls(start: int | None, end: int | None, as_json: bool) -> None:
    """List every control with the value in force, how often it was asked and stopped something in
    a span of market time, and when last. A control that was never asked was never proved here."""
    settings = load_settings()
    place = Place.of(settings)
    if place.is_missing:
        click.echo(f"no engine has run yet: there is no {place.name}", err=True)
    rows = controls_of(settings, start, end, there=not place.is_missing)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        print_controls(rows)
        click.echo(f"config version {config_version(settings)}")


def controls_of(
    settings: Settings, start: int | None, end: int | None, *, there: bool = True
) -> list[dict[str, Any]]:
    """Every control as a plain row, from the audit log where one is `there`."""
    register = Register()
    if there:
        read_database(Place.of(settings), partial(_read, register, start, end))
    return [_row(control, settings, register) for control in CONTROLS]


def _read(register: Register, start: int | None, end: int | None, connection: Connection) -> None:
    log = AuditLog
    wanted = select(log.kind, log.ts, log.payload).where(log.kind.in_(sorted(register.kinds)))
    if end is not None:
        wanted = wanted.where(log.ts < end)
    rows = connection.execute(wanted.order_by(log.id), execution_options={"yield_per": 1_000})
    for kind, ts, payload in rows:
        register.add(kind, ts, payload, start is None or ts >= start)


def _row(control: Control, settings: Settings, register: Register) -> dict[str, Any]:
    use = register.uses[control.name]
    changed = {limit.name: limit.value for limit in register.limits}
    values = {
        name.upper(): changed.get(name, env_text(getattr(settings, name)))
        for name in control.settings
    }
    last = utc(use.last_ts).isoformat(timespec="seconds") if use.asked else None
    return {"control": control.name, "settings": values, "asked": use.asked,
            "stopped": use.stopped, "last": last}  # fmt: skip


def print_controls(rows: Iterable[dict[str, Any]]) -> None:
    """The rows as a table on the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    # On 80 columns there is room for the longest name with its value, and for the day.
    value = Column("value in force", min_width=31, overflow="fold")
    table = Table(Column("control", max_width=14), value, box=SIMPLE, pad_edge=False)
    for name in ("asked", "stopped"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last, UTC", min_width=10)
    for row in rows:
        values = "\n".join(f"{name}={clean(value)}" for name, value in row["settings"].items())
        asked = str(row["asked"] or "never")
        last = (row["last"] or "")[: len("2022-01-31T14:30")].replace("T", " ")
        table.add_row(row["control"], values, asked, str(row["stopped"]), last)
    Console().print(table)
