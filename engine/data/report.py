"""What `tradebot data` says of bars that came into the archive."""

import json
from collections.abc import Sequence

import click

from engine.core.model import utc
from engine.data.archive import Added, Archive, Gap, archived_name

GAPS_SHOWN = 5
LINES_SHOWN = 10
SHOWN = "%Y-%m-%d %H:%M"


def report(
    archive: Archive,
    symbol: str,
    added: Added,
    gaps: Sequence[Gap],
    refused: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Print how many bars came, where some are missing, and at which lines of a file some were
    `refused`; `as_json` as one object."""
    name, missing = archived_name(symbol), sum(gap.count for gap in gaps)
    if as_json:
        found = {"symbol": name, "new": added.new, "changed": added.changed}
        found |= {"refused": added.refused, "missing": missing}
        click.echo(json.dumps(found | ({"refused_at": refused} if refused else {})))
        return
    click.echo(
        f"{name}: {added.new} bars new, {added.changed} changed, {added.refused} refused; "
        f"in {archive.folder}"
    )
    if added.refused:
        click.echo(
            "refused, for a price is missing or not above zero, the volume is below zero, or low "
            f"and high do not hold open and close: {added.refused}"
        )
    if refused:
        others = len(refused) - LINES_SHOWN
        more = f" and {others} more (--json has all)" if others > 0 else ""
        click.echo(f"  {', '.join(refused[:LINES_SHOWN])}{more}: correct them, and import it again")
    if gaps:
        click.echo(f"missing while the market was open: {missing} bars")
    for gap in gaps[:GAPS_SHOWN]:
        click.echo(f"  {utc(gap.start):{SHOWN}} to {utc(gap.end):{SHOWN}}: {gap.count}")
