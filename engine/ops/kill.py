"""`tradebot kill`: trips the kill switch of the running engine, from outside its process."""

import getpass
import json
import os
import time
from pathlib import Path

import click
import msgspec

from engine.core.model import KillAction, Part, Scope
from engine.core.text import clean
from engine.ops.files import write_private
from engine.ops.latch import KillRequest, refusal_of
from engine.ops.lock import holder
from engine.ops.settings import load_settings

LOOK_S = 0.02
NO_ENGINE = 3
NO_ANSWER = 4
REFUSED = 5
SWITCH = "the kill switch"


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

    Exit status: 0 tripped; 3 no engine runs, and the next one starts tripped (what is open at a
    broker stays open); 4 no answer, and the request stays; 5 there is no such strategy, symbol or
    broker.
    """
    part = _part({Scope.STRATEGY: strategy, Scope.SYMBOL: symbol, Scope.BROKER: broker})
    settings = load_settings()
    chosen = KillAction(action) if action else None
    request = KillRequest(f"{getpass.getuser()} (pid {os.getpid()})", reason, chosen, part)
    files = settings.kill_files
    path = files.requests / f"{os.getpid()}{files.suffix}"
    refusal_of(path).unlink(missing_ok=True)
    write_private(path, msgspec.json.encode(request))
    pid = holder(settings.lock_path)
    deadline = time.monotonic() + timeout
    while pid is not None and path.exists() and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    refused = _refusal(path)
    status = NO_ENGINE if pid is None else NO_ANSWER if path.exists() else 0
    status = REFUSED if refused else status
    if as_json:
        waits = str(path) if status in (NO_ENGINE, NO_ANSWER) else None
        answer = {"mode": str(settings.mode), "tripped": not status, "pid": pid}
        told = {"part": part and str(part), "refused": refused or None}
        click.echo(json.dumps(answer | told | {"request": waits}))
    else:
        what = clean(str(part)) if part else SWITCH
        told = _told(status, what, str(settings.mode), pid, timeout)
        click.echo(refused or told, err=bool(status))
    raise SystemExit(status)


def _part(names: dict[Scope, str | None]) -> Part | None:
    """The one part that is named, if any."""
    given = [Part(scope, name) for scope, name in names.items() if name is not None]
    if len(given) > 1:
        raise click.UsageError("name one of --strategy, --symbol and --broker, or none for all")
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


def _told(status: int, what: str, mode: str, pid: int | None, timeout: float) -> str:
    state = "tripped" if what == SWITCH else "killed"
    match status:
        case 0:
            return f"{what} is {state} (MODE={mode}, pid {pid})"
        case 3:
            return (
                f"no engine runs with MODE={mode} in this DATA_DIR: the next one starts {state}\n"
                "what is open at a broker stays open until then: look at the broker's own page"
            )
        case _:
            return (
                f"the engine (pid {pid}) does not answer within {timeout:g} s\n"
                f"cancel at the broker, and end it with kill -9 {pid}: the next one starts {state}"
            )
