"""`tradebot kill`: trips the kill switch of the running engine, from outside its process."""

import getpass
import json
import os
import time

import click
import msgspec

from engine.core.model import KillAction
from engine.core.text import clean
from engine.ops.latch import KillRequest, write_private
from engine.ops.lock import holder
from engine.ops.settings import load_settings

LOOK_S = 0.02
NO_ENGINE = 3
NO_ANSWER = 4


@click.command(short_help="Trip the kill switch of the running engine.")
@click.option(
    "--action",
    type=click.Choice([str(action) for action in KillAction]),
    help="What it does besides letting no order leave; by default what KILL_ACTION says.",
)
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=5.0, help="Seconds to wait; 5 by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kill(action: str | None, reason: str, timeout: float, as_json: bool) -> None:
    """Trip the kill switch of the engine that runs with these settings (MODE, DATA_DIR), and wait
    until it says that it did.

    Exit status: 0 tripped; 3 no engine runs, and the next one starts tripped (what is open at a
    broker stays open); 4 no answer, and the request stays.
    """
    settings = load_settings()
    chosen = KillAction(action) if action else None
    request = KillRequest(f"{getpass.getuser()} (pid {os.getpid()})", reason, chosen)
    files = settings.kill_files
    path = files.requests / f"{os.getpid()}{files.suffix}"
    write_private(path, msgspec.json.encode(request))
    pid = holder(settings.lock_path)
    deadline = time.monotonic() + timeout
    while pid is not None and path.exists() and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    status = NO_ENGINE if pid is None else NO_ANSWER if path.exists() else 0
    if as_json:
        answer = {"mode": str(settings.mode), "tripped": not status, "pid": pid}
        click.echo(json.dumps(answer | {"request": str(path) if status else None}))
    else:
        click.echo(_told(status, str(settings.mode), pid, timeout), err=bool(status))
    raise SystemExit(status)


def _told(status: int, mode: str, pid: int | None, timeout: float) -> str:
    match status:
        case 0:
            return clean(f"the kill switch is tripped (MODE={mode}, pid {pid})")
        case 3:
            return (
                f"no engine runs with MODE={mode} in this DATA_DIR: the next one starts tripped\n"
                "what is open at a broker stays open until then: look at the broker's own page"
            )
        case _:
            return (
                f"the engine (pid {pid}) does not answer within {timeout:g} s\n"
                f"cancel at the broker, and end it with kill -9 {pid}: the next one starts tripped"
            )
