"""`tradebot simulate`: many seeds, on all cores; what broke, and how to see it again."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import click
import msgspec
from msgspec import Struct

from engine.core.text import clean
from engine.simulation.options import Net
from engine.simulation.session import Outcome, play
from engine.simulation.sometimes import missing

CHUNK = 10
SLOWEST = 3
ENOUGH = 300
"""With fewer seeds no pair of fault and state is asked for."""
TRAIL_SHOWN = 30


class Summary(Struct, frozen=True):
    """What a run of many seeds came to. `missing` are the pairs of fault and state that did not
    happen often enough; `digest` is that of the seed where only one ran."""

    seeds: int
    first: int
    events: int
    broken: list[Outcome]
    seen: dict[str, int]
    missing: list[str]
    slowest: list[tuple[int, float]]
    seconds: float
    commit: str
    digest: str


def run_seeds(seeds: Sequence[int], jobs: int, nets_off: tuple[Net, ...] = ()) -> Iterator[Outcome]:
    """The outcome of each seed, in order, computed by `jobs` processes."""
    one = partial(play, nets_off=nets_off)
    if jobs == 1 or len(seeds) == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, seeds, chunksize=CHUNK)


def summary_of(outcomes: Sequence[Outcome], seconds: float) -> Summary:
    seen: Counter[str] = Counter()
    for outcome in outcomes:
        seen.update(outcome.seen)
    slowest = sorted(outcomes, key=lambda outcome: -outcome.seconds)[:SLOWEST]
    return Summary(
        len(outcomes),
        outcomes[0].seed,
        sum(outcome.events for outcome in outcomes),
        [outcome for outcome in outcomes if outcome.law],
        dict(sorted(seen.items())),
        missing(seen, len(outcomes)) if len(outcomes) >= ENOUGH else [],
        [(outcome.seed, outcome.seconds) for outcome in slowest],
        seconds,
        _commit(),
        outcomes[0].digest if len(outcomes) == 1 else "",
    )


def _commit() -> str:
    """The commit of the code that runs; empty where that is not known."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()


@click.command()
@click.option("--seeds", default=300, show_default=True, type=click.IntRange(1), help="How many.")
@click.option(
    "--from", "first", default=0, show_default=True, type=click.IntRange(0), help="The first seed."
)
@click.option(
    "--ring",
    type=click.Choice(["machine", "runtime", "process"]),
    default="machine",
    show_default=True,
    help="What runs: the pure machine, with simulated venues and a simulated disk; the runtime and "
    "its SQL on a loop on which time passes by itself; or `tradebot run` as a process that is "
    "killed at a random moment, one a seed.",
)
@click.option(
    "--database-url",
    default="",
    help="The server of the process ring's databases, as in DATABASE_URL; files by default.",
)
@click.option(
    "--jobs",
    default=os.cpu_count() or 1,
    type=click.IntRange(1),
    help="Processes; one a core by default.",
)
@click.option("--stop", is_flag=True, help="Stop at the first seed that breaks a law.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(
    seeds: int,
    first: int,
    ring: str,
    database_url: str,
    jobs: int,
    stop: bool,
    as_json: bool,
) -> None:
    """Run whole sessions with every fault, each from one seed, and check every law after every
    event. Exit status 1 where one broke, or where a fault never met a state that it should."""
    if ring == "runtime":
        _run_engines(range(first, first + seeds), jobs, as_json)
        return
    if ring == "process":
        _kill_processes(range(first, first + seeds), database_url, as_json)
        return
    began = perf_counter()
    outcomes: list[Outcome] = []
    with click.progressbar(length=seeds, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for outcome in run_seeds(range(first, first + seeds), jobs):
            outcomes.append(outcome)
            bar.update(1)
            if stop and outcome.law:
                break
    summary = summary_of(outcomes, perf_counter() - began)
    if as_json:
        click.echo(msgspec.json.encode(summary))
    else:
        _print(summary)
    if summary.broken or summary.missing:
        sys.exit(1)


def _run_engines(seeds: Sequence[int], jobs: int, as_json: bool) -> None:
    from engine.simulation import runtime

    began = perf_counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        outcomes = list(pool.map(runtime.play, seeds))
    broken = [f"seed {o.seed}: {o.broken}" for o in outcomes if o.broken]
    seen: Counter[str] = Counter()
    for outcome in outcomes:
        seen.update(outcome.seen)
    seconds = perf_counter() - began
    if as_json:
        found = {"seeds": len(outcomes), "seen": seen, "broken": broken, "seconds": seconds}
        click.echo(msgspec.json.encode(found))
    else:
        counts = ", ".join(f"{what} {number:,}" for what, number in sorted(seen.items()))
        click.echo(f"{len(outcomes)} seeds in {seconds:.1f} s: {len(broken)} broke a law; {counts}")
        click.echo("\n".join(broken), nl=bool(broken))
    if broken:
        sys.exit(1)


def _kill_processes(seeds: Sequence[int], database_url: str, as_json: bool) -> None:
    from engine.simulation.process import run

    report = run(seeds, database_url, partial(click.echo, err=True))
    click.echo(msgspec.json.encode(report) if as_json else "\n".join(report.lines()))
    if report.broken:
        sys.exit(1)


def _print(summary: Summary) -> None:
    for outcome in summary.broken[:SLOWEST]:
        _print_broken(outcome, summary.commit)
    last = summary.first + summary.seeds - 1
    rate = summary.events / summary.seconds
    click.echo(
        f"seeds {summary.first} to {last}: {len(summary.broken)} broke a law; "
        f"{summary.events:,} events, each audited, in {summary.seconds:.1f} s ({rate:,.0f}/s)"
    )
    if summary.broken:
        click.echo(f"broken: {', '.join(f'{o.seed} ({o.law})' for o in summary.broken)}")
    click.echo(
        f"{len(summary.seen)} pairs of fault and state, {sum(summary.seen.values()):,} times"
    )
    slowest = ", ".join(f"{seed} ({seconds * 1000:.0f} ms)" for seed, seconds in summary.slowest)
    click.echo(f"slowest: {slowest}")
    if summary.digest:
        click.echo(f"digest: {summary.digest}")


def _print_broken(outcome: Outcome, commit: str) -> None:
    """Seed, commit, options, law and the last events: all that is needed to see it again."""
    click.echo(f"seed {outcome.seed}, commit {commit or 'unknown'}: {outcome.law} does not hold")
    click.echo(clean(outcome.what))
    click.echo(f"options: {msgspec.json.encode(outcome.options).decode()}")
    for line in outcome.trail[-TRAIL_SHOWN:]:
        click.echo(f"  {clean(line)}")
    click.echo(f"again: tradebot simulate --seeds 1 --from {outcome.seed}\n")
