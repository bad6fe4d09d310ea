"""`python -m tests.bench [NAME ...] [--json]`: measure, and print one table.

It judges nothing: the exit status is 0 whatever the figures are.
"""

import json
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import chdir
from importlib import import_module
from tempfile import TemporaryDirectory

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from engine.ops.settings import Settings
from tests.bench.measure import Figure, as_json

TOPICS = ("first_frame", "quotes", "bars", "order_path", "kill", "restart", "console", "stream")
LONG = ("soak", "day", "slow_line")
"""Topics that take minutes, and are measured only where they are named."""


@click.command(help=f"Measure {', '.join(TOPICS)}; or those named, {', '.join(LONG)} among them.")
@click.argument("names", nargs=-1, type=click.Choice(TOPICS + LONG), metavar="[NAME]...")
@click.option("--json", "as_text", is_flag=True, help="Print JSON.")
def main(names: tuple[str, ...], as_text: bool) -> None:
    figures: dict[str, list[Figure]] = {}
    busy = machine()
    try:
        measure(names or TOPICS, figures)
    finally:  # what was measured before something broke is not lost
        if as_text:
            lists = {name: list(map(as_json, found)) for name, found in figures.items()}
            click.echo(json.dumps({"machine": busy, "figures": lists}, indent=2))
        else:
            Console(width=None if sys.stdout.isatty() else 160).print(table(figures, busy))


def measure(topics: Iterable[str], figures: dict[str, list[Figure]]) -> None:
    """Fill `figures` by topic, and say each on standard error as it comes. Settings that are in the
    environment, or in a developer's `.env`, do not count."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    with TemporaryDirectory() as folder, chdir(folder):
        for topic in topics:
            found = figures[topic] = []
            for figure in import_module(f"tests.bench.{topic}").measure():
                click.echo(
                    f"{topic}: {figure.what}: {number(figure.value)} {figure.unit}", err=True
                )
                found.append(figure)


def table(figures: dict[str, list[Figure]], title: str) -> Table:
    result = Table(box=SIMPLE, title=title, title_justify="left", pad_edge=False)
    for heading in ("what", "measured", "peer or limit", "ratio", "design", "met", "note"):
        result.add_column(heading, justify="right" if heading in ("measured", "ratio") else "left")
    for found in figures.values():
        for figure in found:
            result.add_row(*cells(figure))
        result.add_section()
    return result


def cells(figure: Figure) -> tuple[str, ...]:
    peer = f"{number(figure.peer_value)} {figure.peer}" if figure.peer_value else figure.peer
    met = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[figure.met]
    return (
        figure.what,
        f"{number(figure.value)} {figure.unit}",
        peer,
        f"{figure.ratio:.2f}" if figure.ratio else "",
        figure.goal,
        met,
        figure.note,
    )


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """Where this was measured: figures of a busy machine are worse."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
