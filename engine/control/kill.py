"""`tradebot kill` and `tradebot flatten`: stop the running engine's trading, from outside it."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from engine.control.attached import (
    NO_ANSWER,
    NO_ENGINE,
    REFUSED,
    NotAttached,
    attached,
    settings_to_attach,
    wait_for,
)
from engine.control.client import RemoteEngine
from engine.control.status import fail, pid_of
from engine.core.events import KillPart, TripKillSwitch
from engine.core.model import KillAction, Part, Scope
from engine.core.safety import STRENGTH
from engine.core.text import clean
from engine.host.latching import SOURCE
from engine.ops.errors import UserError
from engine.ops.files import write_private
from engine.ops.latch import KillFiles, KillRequest, refusal_of
from engine.ops.lock import holder
from engine.ops.settings import Settings, SettingsError
from engine.ops.user import user_name
from engine.view.questions import WhichPart
from engine.view.snapshot import Snapshot

LOOK_S = 0.02
SOCKET_S = 0.5
"""Seconds for the way over the socket; then the request is left as a file, which takes no more than
a disk."""
FLATTEN_WORD = "FLATTEN"
UNSAVED = "it is NOT ON DISK YET: the engine tries again; until then a restart would not be killed"
UNWRITTEN = 2


@click.command(short_help="Trip the kill switch of the running engine.")
@click.option(
    "--action",
    type=click.Choice([str(action) for action in KillAction]),
    help="What it does besides letting no order leave; by default what KILL_ACTION says.",
)
@click.option("--strategy", help="Kill this strategy alone.")
@click.option("--symbol", help="Kill this symbol alone, for every strategy.")
@click.option("--broker", help="Kill this broker alone.")
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=5.0, help="Seconds to wait; 5 by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kill(
    action: str | None,
    strategy: str | None,
    symbol: str | None,
    broker: str | None,
    reason: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Trip the kill switch of the engine that runs with these settings (MODE, DATA_DIR), and wait
    until it says that it did. Without --strategy, --symbol or --broker everything is killed.

    It needs no more than MODE and DATA_DIR: where other settings are wrong it says so, and kills.

    Exit status: 0 tripped; 2 MODE or DATA_DIR is wrong, or no request can be left; 3 no engine
    runs, and the next one starts tripped (what is open at a broker stays open); 4 no answer, and
    the request stays; 5 there is no such strategy, symbol or broker: an engine that starts later
    raises an alert of it.
    """
    part = _part({Scope.STRATEGY: strategy, Scope.SYMBOL: symbol, Scope.BROKER: broker})
    settings = _settings()
    pid = holder(settings.lock_path)
    author, chosen = f"{user_name()} (pid {os.getpid()})", KillAction(action) if action else None
    asked = KillRequest(author, reason, chosen, part)
    try:
        heard = _by_socket(settings, asked, min(timeout, SOCKET_S))
        refused, durable, waits = heard or _by_file(settings, asked, timeout)
    except NotAttached as error:
        fail(error, as_json)
    status = REFUSED if refused else 0
    if waits is not None:
        status = NO_ENGINE if pid is None else NO_ANSWER
    if as_json:
        answer = {"mode": str(settings.mode), "tripped": not status, "pid": pid}
        told = {"durable": durable, "part": part and str(part), "refused": refused or None}
        told |= {"request": str(waits) if waits else None}
        click.echo(json.dumps(answer | told))
    else:
        told = _told(status, part, settings, pid, timeout)
        if durable is False:
            told += f"\n{UNSAVED}"
        click.echo(refused or told, err=bool(status))
    raise SystemExit(status)


def _settings() -> Settings:
    try:
        return settings_to_attach()
    except SettingsError as error:
        by_signal = "kill -USR1 with the engine's pid trips it without settings"
        raise UserError(error.message, f"{error.remedy}; {by_signal}") from None


class _Heard(NamedTuple):
    """What became of a kill: why it was `refused`, whether it is `durable` (None is not known), and
    the request that still `waits`."""

    refused: str = ""
    durable: bool | None = None
    waits: Path | None = None


def _by_socket(settings: Settings, asked: KillRequest, timeout: float) -> _Heard | None:
    """Kill over the socket, which takes milliseconds; None where nobody there says that it is
    killed, and does as much as is asked."""
    reason, action, part = asked.reason, asked.action, asked.part
    least = action or settings.kill_action
    try:
        with attached(settings, timeout) as (remote, _):
            if part is None:
                trip = TripKillSwitch(source=SOURCE, reason=reason, action=action)
                return _trip(remote, trip, least, timeout)
            kill = KillPart(part=part, source=SOURCE, reason=reason, action=action)
            return _kill_part(remote, kill, least, timeout)
    except Exception:  # whatever is wrong with this way, there is another
        return None


def _trip(remote: RemoteEngine, trip: TripKillSwitch, least: KillAction, timeout: float) -> _Heard:
    remote.send(trip)
    last = wait_for(remote, lambda s: s.kill.tripped and _is_enough(s.kill.action, least), timeout)
    with suppress(NotAttached):
        last = wait_for(remote, lambda s: s.kill.durable, timeout)
    return _Heard(durable=last.kill.durable)


def _kill_part(remote: RemoteEngine, kill: KillPart, least: KillAction, timeout: float) -> _Heard:
    remote.send(kill)
    meant = remote.ask(WhichPart(kill.part)).result(timeout)
    if meant.unknown:
        return _Heard(refused=meant.unknown)

    def is_killed(snapshot: Snapshot) -> bool:
        killed = [row.killed for row in snapshot.killed_parts]
        return any(k.part == meant.part and _is_enough(k.action, least) for k in killed)

    last = wait_for(remote, is_killed, timeout)
    return _Heard(durable=None if last.store.available else False)


def _is_enough(action: KillAction, least: KillAction) -> bool:
    return STRENGTH.index(action) >= STRENGTH.index(least)


def _by_file(settings: Settings, asked: KillRequest, timeout: float) -> _Heard:
    """Leave it as a file, and wait for the engine to take that. Raises NotAttached where none can
    be left."""
    try:
        request = _request(settings.kill_files, asked)
    except (OSError, UserError) as error:
        reason = error.message if isinstance(error, UserError) else error.strerror or str(error)
        pid = holder(settings.lock_path)
        raise _without_request(reason, settings.data_dir, pid, asked.part) from error
    _await_answer(request, settings.lock_path, timeout)
    return _Heard(_refusal(request), waits=request if request.exists() else None)


def _request(files: KillFiles, request: KillRequest) -> Path:
    """Leave the request as a file: it needs no more than a disk, and outlives the engine."""
    path = files.requests / f"{os.getpid()}{files.suffix}"
    refusal_of(path).unlink(missing_ok=True)
    write_private(path, msgspec.json.encode(request))
    return path


def _without_request(reason: str, folder: Path, pid: int | None, part: Part | None) -> NotAttached:
    """That the request could not be left. An engine that runs is sent the signal, which needs no
    disk."""
    why = f"no request can be left in {clean(str(folder))} ({reason})"
    if pid and part is None:
        with suppress(OSError):
            os.kill(pid, signal.SIGUSR1)
            return NotAttached(
                NO_ANSWER,
                f"the engine (pid {pid}) does not answer, and {why}: it was sent SIGUSR1\n"
                f"cancel at the broker, and end it with kill -9 {pid}: start the next one with "
                "KILL_SWITCH=true",
            )
    return NotAttached(
        UNWRITTEN,
        f"nothing was killed: {why}\n"
        "be the user who runs the engine, make room on the disk, or give the right DATA_DIR",
    )


def _await_answer(request: Path, lock: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while holder(lock) is not None and request.exists() and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _part(names: dict[Scope, str | None]) -> Part | None:
    """The one part that is named, if any."""
    given = [Part(scope, name) for scope, name in names.items() if name is not None]
    if len(given) > 1:
        raise click.UsageError("name one of --strategy, --symbol and --broker, or none for all")
    for part in given:
        if not part.name.strip():
            raise click.UsageError(f"--{part.scope} is empty: give a name, or leave it out for all")
    return given[0] if given else None


def _refusal(request: Path) -> str:
    """Why the engine did not do it; empty where it did, or did not answer."""
    path = refusal_of(request)
    try:
        reason = path.read_text()
        path.unlink()
    except FileNotFoundError:
        return ""
    return clean(reason)


def _told(
    status: int, part: Part | None, settings: Settings, pid: int | None, timeout: float
) -> str:
    name = clean(str(part)) if part else ""
    done = f"{name} is killed" if part else "the kill switch is tripped"
    starts = f"kills {name}, or raises an alert that it has none" if part else "starts tripped"
    match status:
        case 0:
            return f"{done} (MODE={settings.mode}, pid {pid})"
        case 3:
            folder = clean(str(settings.data_dir))
            return (
                f"no engine runs with MODE={settings.mode} in {folder}: the next one {starts}\n"
                "what is open at a broker stays open until then: look at the broker's own page"
            )
        case _:
            return (
                f"the engine (pid {pid}) does not answer within {timeout:g} s\n"
                f"cancel at the broker, and end it with kill -9 {pid}: the next one {starts}"
            )


@click.command(short_help="Close every position, and stop trading.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    help="Seconds to wait until all is closed; 30 by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
def flatten(yes: bool, reason: str, timeout: float, as_json: bool) -> None:
    """Trip the kill switch of the running engine, cancel every order and close every position at
    the market. It says first what that is, and asks for a typed word.

    Exit status: 0 all is closed; 2 it was not confirmed; 3 no engine runs, and nothing was done; 4
    tripped, and not all is closed yet, or no answer; 5 the engine refuses this program.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody is there to confirm it: say --yes")
    try:
        with attached(settings_to_attach()) as (remote, snapshot):
            if not yes:
                click.echo("\n".join(_what_flattens(snapshot)))
                _confirm()
            action = KillAction.FLATTEN
            remote.send(TripKillSwitch(source="tradebot flatten", reason=reason, action=action))
            last = _until_flat(remote, timeout)
    except NotAttached as error:
        fail(error, as_json)
    kill = last.kill
    flat = kill.phase == "complete" and kill.action is action
    if as_json:
        held = {"open_orders": kill.open_orders, "open_positions": kill.open_positions}
        click.echo(json.dumps({"pid": pid_of(last), "flat": flat, "phase": kill.phase} | held))
    elif flat:
        click.echo("no order is open and no position is held; the kill switch is tripped")
    else:
        still = f"{kill.open_orders} orders are open, {kill.open_positions} positions are held"
        click.echo(f"not flat after {timeout:g} s: {still}; the engine goes on with it", err=True)
    raise SystemExit(0 if flat else NO_ANSWER)


def _what_flattens(snapshot: Snapshot) -> Iterator[str]:
    yield f"{snapshot.mode.upper()} account {clean(snapshot.account)}, pid {pid_of(snapshot)}:"
    orders = sum(order.is_open for order in snapshot.orders)
    yield f"  cancels {orders} open orders, and lets no new one leave until it is re-armed"
    for row in snapshot.positions:
        if row.position.quantity:
            side = "sells" if row.position.quantity > 0 else "buys"
            worth = "?" if row.value is None else f"{abs(row.value):,.2f} {snapshot.currency}"
            quantity = abs(row.position.quantity)
            yield f"  {side} {quantity} {clean(row.position.symbol)} at the market, worth {worth}"


def _confirm() -> None:
    typed = click.prompt(f"Type {FLATTEN_WORD} to do it", default="", show_default=False)
    if typed != FLATTEN_WORD:
        raise click.UsageError(f"that is not {FLATTEN_WORD}: nothing was done")


def _until_flat(remote: RemoteEngine, timeout: float) -> Snapshot:
    """The snapshot in which all is closed, or the last one in that time."""

    def is_flat(snapshot: Snapshot) -> bool:
        return snapshot.kill.action is KillAction.FLATTEN and snapshot.kill.phase == "complete"

    try:
        return wait_for(remote, is_flat, timeout)
    except NotAttached as error:
        last = remote.latest()
        if error.status != NO_ANSWER or last is None:
            raise
        return last
