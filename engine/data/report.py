"""What `tradebot data` says of bars that came into the archive."""

import json
from collections.abc import Sequence

import click

from engine.core.model import utc
from engine.data.archive import Added, Archive, Gap, archived_name

GAPS_SHOWN = 5
SHOWN = "%Y-%m-%d %H:%M"


def report(
    archive: Archive, symbol: str, added: Added, gaps: Sequence[Gap], *, as_json: bool
) -> None:
    """Print how many bars came, and where some are missing; `as_json` as one object."""
    name, missing = archived_name(symbol), sum(gap.count for gap in gaps)
    if as_json:
        found = {"symbol": name, "new": added.new, "changed": added.changed}
        click.echo(json.dumps(found | {"refused": added.refused, "missing": missing}))
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
    if gaps:
        click.echo(f"missing while the market was open: {missing} bars")
    for gap in gaps[:GAPS_SHOWN]:
        click.echo(f"  {utc(gap.start):{SHOWN}} to {utc(gap.end):{SHOWN}}: {gap.count}")
