"""`tradebot data fetch`: a venue's bars into the local archive."""

import asyncio
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import replace

from engine.core.model import Instrument, utc
from engine.core.text import clean
from engine.data.archive import INTERVALS, Archive
from engine.data.fetching import Fetch, Store
from engine.data.report import SHOWN, report
from engine.ops.errors import InDoubt, NotSent, SymbolRefused, UserError
from engine.ops.logging import silenced
from engine.ops.options import first_instant, last_instant
from engine.ops.settings import Settings, load_settings

if TYPE_CHECKING:
    from engine.venues import Venue

LINES = 10
"""How often a fetch without a terminal says how far it is."""
INTERRUPTED = 130
"""The exit status of a program that ctrl+c ended."""


class Wanted(Struct, frozen=True):
    """What to fetch: the bars of `symbol` at `venue` between `start` and `end` (ns UTC)."""

    venue: str
    symbol: str
    timeframe: str
    start: int
    end: int
    name: str
    again: bool


class Progress(Struct, frozen=True):
    """`at` is told how far a fetch came and how many bars that was; `waits` why there is a pause,
    and for how many seconds."""

    at: Callable[[int, int], None]
    waits: Callable[[str, float], None]


@click.command("fetch", short_help="Bars from a venue.")
@click.argument("venue")
@click.argument("symbol")
@click.option(
    "--start", required=True, callback=first_instant, metavar="DATE",
    help="First day or time: a date or ISO 8601, UTC unless it names an offset.",
)  # fmt: skip
@click.option(
    "--end", callback=last_instant, metavar="DATE", help="Last day or time. [default: now]"
)
@click.option("--timeframe", default="1m", show_default=True, type=click.Choice([*INTERVALS]))
@click.option("--again", is_flag=True, help="Fetch what is there already, too.")
@click.option("--name", default="", help="What the archive calls it. [default: SYMBOL]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fetch(
    venue: str, symbol: str, start: int, end: int | None, timeframe: str,
    again: bool, name: str, as_json: bool,
) -> None:  # fmt: skip
    """Add the bars of SYMBOL at VENUE to the archive, as in: alpaca BTC/USD --start 2024-01-01.

    What was fetched is not fetched again. A fetch that is interrupted keeps what came, and goes on
    from there when it is run again. A bar is stored once it has closed.
    """
    now = time.time_ns()
    wanted = Wanted(venue, symbol, timeframe, start, min(end or now, now), name or symbol, again)
    if wanted.start >= wanted.end:
        raise UserError(
            f"--start, {utc(start):{SHOWN}}, is not before the end, {utc(wanted.end):{SHOWN}} UTC",
            "give a --start that lies before --end, and before now",
        )
    settings = load_settings()
    archive = Archive(settings.data_dir / "archive", timeframe)
    try:
        with silenced(), _progress(wanted, quiet=as_json) as progress:
            store, instrument = asyncio.run(_fetch(settings, archive, wanted, progress))
    except KeyboardInterrupt:
        click.echo("interrupted; what came is kept: run it again to go on from there", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    gaps = archive.gaps(wanted.name, wanted.start, wanted.end, instrument)
    report(archive, wanted.name, store.added, gaps, as_json=as_json)


async def _fetch(
    settings: Settings, archive: Archive, wanted: Wanted, progress: Progress
) -> tuple[Store, Instrument]:
    from engine.venues import VENUES

    if wanted.venue not in VENUES:
        raise UserError(
            f"{clean(wanted.venue)} is no venue that is known", f"there is {', '.join(VENUES)}"
        )
    venue = VENUES[wanted.venue](settings)
    opened = [*venue.sources(())]  # what they share stays open until the end
    try:
        instrument = await _instrument(venue, wanted.symbol)
        (source,) = venue.sources([instrument])
        opened.append(source)
        fetching = Fetch(source, instrument.symbol, archive.interval, progress.at, progress.waits)
        with Store(archive, wanted.name, venue.name) as store:
            await fetching.into(store, wanted.start, wanted.end, again=wanted.again)
            return store, instrument
    finally:
        for source in opened:
            await source.close()


async def _instrument(venue: "Venue", symbol: str) -> Instrument:
    try:
        (instrument,) = await venue.instruments([symbol])
    except SymbolRefused as error:
        such = f", such as {error.examples}" if error.examples else ""
        raise UserError(error.message, f"give another SYMBOL after {venue.name}{such}") from error
    except (NotSent, InDoubt) as error:
        raise UserError(
            f"{venue.name} does not say how {clean(symbol)} trades ({clean(str(error))})",
            "check the connection; then run it again",
        ) from error
    return replace(instrument, symbol=f"{venue.name}:{symbol}", venue=venue.name)


# --- what is shown -------------------------------------------------------------------------------


@contextmanager
def _progress(wanted: Wanted, *, quiet: bool) -> Generator[Progress]:
    """On standard error: a bar on a terminal, otherwise a line now and then."""
    if quiet:
        yield Progress(lambda ts, bars: None, lambda reason, seconds: None)
    elif sys.stderr.isatty():
        with _bar(wanted) as progress:
            yield progress
    else:
        yield _lines(wanted)


def _lines(wanted: Wanted) -> Progress:
    fetched, told = 0, 0

    def at(ts: int, bars: int) -> None:
        nonlocal fetched, told
        fetched += bars
        share = LINES * (ts - wanted.start) // (wanted.end - wanted.start)
        if share > told:
            told = share
            click.echo(f"{utc(ts):{SHOWN}}  {fetched:,} bars", err=True)

    def waits(reason: str, seconds: float) -> None:
        click.echo(f"waiting {seconds:.0f} s: {reason}", err=True)

    return Progress(at, waits)


@contextmanager
def _bar(wanted: Wanted) -> Generator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns: list[Any] = [
        rich.BarColumn(30), rich.TaskProgressColumn(), rich.TextColumn("{task.description}"),
    ]  # fmt: skip
    span, fetched = wanted.end - wanted.start, 0
    with rich.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("asking", total=span)

        def at(ts: int, bars: int) -> None:
            nonlocal fetched
            fetched += bars
            text = f"{utc(ts):{SHOWN}}  {fetched:,} bars"
            shown.update(task, completed=ts - wanted.start, description=text)

        def waits(reason: str, seconds: float) -> None:
            shown.update(task, description=f"waiting {seconds:.0f} s: {_plain(reason)}")

        yield Progress(at, waits)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
