"""`tradebot selfcheck`: the self-assessment of a year, from the audit log.

RTS 6 article 9 asks firms for one; SEC 15c3-5 and NI 23-103 for a yearly review of the controls.
"""

import json
from datetime import UTC, datetime

import click
from msgspec.structs import asdict

from engine.cli.controls import controls_of, print_controls
from engine.core.model import nanos
from engine.ops.settings import load_settings
from engine.store.command import BROKEN, verified


@click.command(short_help="The yearly report: audit log and controls.")
@click.option("--year", type=click.IntRange(1970, 2200), help="By default the one before this.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def selfcheck(ctx: click.Context, year: int | None, as_json: bool) -> None:
    """Report on a year (UTC, market time): whether the audit log is whole, what each control did,
    and which were never asked: those were never proved.

    Exit status: 0 the log is whole; 1 it is not; 2 it cannot be read.
    """
    settings = load_settings()
    year = year or datetime.now(UTC).year - 1
    start, end = (nanos(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1))
    head, findings = verified(settings)
    rows = controls_of(settings, start, end)
    unproved = [row["control"] for row in rows if not row["asked"]]
    if as_json:
        audit = {"whole": not findings, "head": str(head), "findings": [*map(asdict, findings)]}
        report = {"mode": str(settings.mode), "year": year, "audit": audit}
        click.echo(json.dumps(report | {"controls": rows, "never_asked": unproved}, indent=2))
    else:
        whole = "broken" if findings else "whole"
        click.echo(f"self-check of {year}, MODE={settings.mode}")
        click.echo(f"the audit log is {whole}: {head.id} rows, head {head}")
        click.echo("".join(f"  {finding.message}\n" for finding in findings), nl=False)
        print_controls(rows)
        click.echo(f"never asked: {', '.join(unproved) or 'none'}")
    if findings:
        ctx.exit(BROKEN)
