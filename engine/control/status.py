"""`tradebot status` and `tradebot logs`: what the running engine does, without a console."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import eq
from typing import Any, NoReturn

import click
import msgspec

from engine.control.attached import REFUSED, NotAttached, attached, settings_to_attach
from engine.control.client import RemoteEngine
from engine.control.standing import Standing
from engine.core.model import NANOS
from engine.core.text import clean
from engine.view.snapshot import LogLine, Snapshot

LOOK_S = 0.1
LINES = 50

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(short_help="Say what the running engine does.")
@as_json_option
def status(as_json: bool) -> None:
    """Say what the engine that runs with these settings (MODE, DATA_DIR) does: mode, money, kill
    switch, connections, open orders, positions, strategies, and who commands it.

    Exit status: 0 told; 3 no engine runs; 4 no answer; 5 the engine refuses this program.
    """
    try:
        with attached(settings_to_attach()) as (remote, snapshot):
            facts = told(snapshot, remote.standing())
    except NotAttached as error:
        fail(error, as_json)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def fail(error: NotAttached, as_json: bool) -> NoReturn:
    """Say it, and end with its exit status."""
    if as_json:
        click.echo(json.dumps({"error": str(error)}))
    else:
        click.echo("\n".join(clean(line) for line in str(error).splitlines()), err=True)
    raise SystemExit(error.status)


def told(snapshot: Snapshot, standing: Standing) -> dict[str, Any]:
    """A snapshot as JSON has it: amounts as text, times as ISO 8601 in UTC."""
    rows = msgspec.to_builtins
    return {
        "pid": pid_of(snapshot),
        "mode": str(snapshot.mode),
        "account": snapshot.account,
        "market_time": _time(snapshot.ts),
        "time": _time(snapshot.wall_ts),
        "currency": snapshot.currency,
        "equity": _text(snapshot.equity),
        "cash": _text(snapshot.cash),
        "day_pnl": _text(snapshot.day_pnl),
        "dry_run": snapshot.dry_run,
        "kill": rows(snapshot.kill),
        "killed_parts": [str(row.killed.part) for row in snapshot.killed_parts],
        "circuit_breaker": rows(snapshot.breaker),
        "feed": rows(snapshot.feed),
        "brokers": rows(snapshot.brokers),
        "database": rows(snapshot.store),
        "strategies": [
            {"name": row.name, "state": row.state, "pnl": _text(row.pnl)}
            for row in snapshot.strategies
        ],
        "orders": [rows(order) for order in snapshot.orders if order.is_open],
        "positions": [
            {
                "strategy": row.position.strategy,
                "symbol": row.position.symbol,
                "quantity": _text(row.position.quantity),
                "mark": _text(row.mark),
                "unrealised_pnl": _text(row.unrealised_pnl),
                "stop_price": _text(row.stop_price),
            }
            for row in snapshot.positions
            if row.position.quantity
        ],
        "alerts": [row.text for row in snapshot.unread],
        "lateness_ms": round(snapshot.health.lateness_ms, 3) if snapshot.health else None,
        "in_command": standing.holder or None,
    }


def pid_of(snapshot: Snapshot) -> int | None:
    """The engine's pid; None where it is not known."""
    return snapshot.health.pid if snapshot.health else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _money(value: str | None) -> str:
    return "?" if value is None else f"{Decimal(value):,.2f}"


def _time(ts: int) -> str:
    return datetime.fromtimestamp(ts / NANOS, UTC).isoformat(timespec="milliseconds")


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    kill, feed = facts["kill"], facts["feed"]
    yield f"engine      pid {facts['pid']}, {facts['mode'].upper()} {clean(facts['account'])}"
    yield f"command     {facts['in_command'] or 'no console is in command'}"
    equity, cash, day = (_money(facts[name]) for name in ("equity", "cash", "day_pnl"))
    yield f"equity      {equity} {clean(facts['currency'])}, cash {cash}, day {day}"
    because = clean(": ".join(filter(None, (kill["source"], kill["reason"]))))
    state = f"TRIPPED by {because} ({kill['phase']})" if kill["tripped"] else "ready"
    state += "" if kill["durable"] else ", NOT ON DISK YET"
    yield f"kill switch {state}"
    if facts["killed_parts"]:
        yield f"killed      {clean(', '.join(facts['killed_parts']))}"
    if facts["circuit_breaker"]["tripped"]:
        yield f"breaker     TRIPPED: {clean(facts['circuit_breaker']['reason'])}"
    yield f"feed        {clean(feed['name'])} {feed['status']} {clean(feed['note'])}".rstrip()
    for broker in facts["brokers"]:
        up = "connected" if broker["connected"] else f"NOT CONNECTED: {clean(broker['note'])}"
        yield f"broker      {clean(broker['name'])} {up}"
    if not facts["database"]["available"]:
        yield f"database    OUT OF REACH: {clean(facts['database']['note'])}"
    states: dict[str, list[str]] = {"on": []}
    for row in facts["strategies"]:
        states.setdefault(row["state"], []).append(row["name"])
    states.pop("off", None)
    told = (f"{', '.join(names) or 'none'} {state}" for state, names in states.items())
    yield f"strategies  {clean('; '.join(told))}"
    yield f"orders      {len(facts['orders'])} open"
    for row in facts["positions"]:
        yield (
            f"position    {clean(row['symbol'])} {row['quantity']}"
            f", unrealised {_money(row['unrealised_pnl'])}, stop {row['stop_price'] or 'NONE'}"
        )
    for text in facts["alerts"]:
        yield f"alert       {clean(text)}"


@click.command(short_help="Print what the running engine says.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it says from now on.")
@click.option(
    "-n", "lines", type=click.IntRange(0, 500), default=LINES, help="How many of the last lines."
)
@as_json_option
def logs(follow: bool, lines: int, as_json: bool) -> None:
    """Print the last lines that the running engine said, as its console shows them; the log file
    has more. With --json each line is a JSON object.

    Exit status: 0 told, or the engine that was followed was stopped; 3 no engine runs; 4 no answer;
    5 the engine refuses this program, or has failed.
    """
    try:
        with attached(settings_to_attach()) as (remote, snapshot):
            last = snapshot.log[-lines:] if lines else ()
            _print(last, as_json)
            if follow:
                _follow(remote, snapshot.log, as_json)
    except NotAttached as error:
        fail(error, as_json)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _follow(remote: RemoteEngine, seen: Sequence[LogLine], as_json: bool) -> None:
    """Until the engine ends."""
    while True:
        failure = remote.failure()  # before the last lines are read
        snapshot = remote.latest()
        now = snapshot.log if snapshot is not None else seen
        if now is not seen:
            _print(new_lines(seen, now), as_json)
            seen = now
        if failure and not remote.stopped:
            raise NotAttached(REFUSED, failure)
        if failure:
            return
        time.sleep(LOOK_S)


def new_lines(seen: Sequence[LogLine], now: Sequence[LogLine]) -> Sequence[LogLine]:
    """The lines of `now` after those that were `seen`, of which the oldest may be gone."""
    for end in range(len(now), 0, -1):
        known = min(end, len(seen))
        if known and all(map(eq, now[end - known : end], seen[-known:])):
            return now[end:]
    return now


def _print(lines: Sequence[LogLine], as_json: bool) -> None:
    for line in lines:
        if as_json:
            row = {"seq": line.seq, "time": _time(line.ts), "level": line.level, "text": line.text}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{_time(line.ts)} {line.level:7} {clean(line.text)}")
    sys.stdout.flush()
