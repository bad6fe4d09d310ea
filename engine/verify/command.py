"""`tradebot verify-broker`: whether the venues can be traded at as the settings say."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

import click
from msgspec import to_builtins
from msgspec.structs import replace
from pydantic import SecretStr

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.logging import silenced
from engine.ops.settings import Settings, load_settings
from engine.venues import VENUES, Venue, by_venue
from engine.verify import Verification, Verified
from engine.verify.paper import PaperVenue
from engine.verify.said import Outcome

MADE_OF: dict[str, Callable[[Settings], Venue]] = {**VENUES, PaperVenue.name: PaperVenue}
EXAMPLES = {
    "alpaca": ["AAPL"],
    "binance": ["BTC/USDT"],
    "kraken": ["BTC/USD"],
    "coinbase": ["BTC/USD"],
    "questrade": ["AAPL"],
    "interactive_brokers": ["AAPL"],
}
"""What is looked at where SYMBOLS names nothing of a venue."""
PREFIXES = {"interactive_brokers": "ib"}
"""Of the settings of a venue, where it is not the venue's name."""
SYMBOLS_MOST = 5
SHORTEST_SECRET = 4
MASK = "**********"
INTERRUPTED = 130
COLORS = {
    Outcome.OK: "green",
    Outcome.WARNING: "yellow",
    Outcome.FAILED: "red",
    Outcome.SKIPPED: "dim",
}


@click.command("verify-broker", short_help="Check a broker step by step.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_broker(name: str | None, as_json: bool) -> None:
    """Check the way to NAME, or to all that SYMBOLS names, or else to all that have keys:
    credentials, clock, account, permissions, market data, streams; on a paper account an order far
    below the market, which is cancelled at once. A real account gets none. `paper` is our own
    broker.

    Exit status: 0 where no step failed, 1 where one did.
    """
    from rich.console import Console

    settings = load_settings()
    looked_at = _looked_at(settings, name)
    waiting = Console(stderr=True).status(f"checking {', '.join(looked_at)}")
    with silenced(), waiting:
        try:
            found = asyncio.run(_verified(settings, looked_at))
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
    secrets = _secrets(settings)
    found = [_without(secrets, one) for one in found]
    if as_json:
        told = {"ok": all(one.is_ok for one in found), "brokers": [_plain(one) for one in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in found:
            _show(one)
    if not all(one.is_ok for one in found):
        raise click.exceptions.Exit(1)


def _looked_at(settings: Settings, name: str | None) -> dict[str, list[str]]:
    """The venues to look at, each with the first ones of its symbols.

    Raises UserError where there is none of that name, or none at all, and as `by_venue` does.
    """
    there = ", ".join(MADE_OF)
    if name is not None and name not in MADE_OF:
        raise UserError(f"{clean(name)} is no broker that is known", f"there is {there}")
    named = by_venue(settings)
    configured = [*named] or [venue for venue in VENUES if _has_keys(settings, venue)]
    venues = configured if name is None else [name]
    if not venues:
        raise UserError(
            "no broker is configured",
            f"set the keys of one, such as ALPACA_API_KEY, or name one: {there}",
        )
    return {v: (named.get(v) or EXAMPLES.get(v, []))[:SYMBOLS_MOST] for v in venues}


def _has_keys(settings: Settings, venue: str) -> bool:
    """Whether one of its own settings has a value."""
    prefix = PREFIXES.get(venue, venue)
    given = [field for field in settings.model_fields_set if field.startswith(f"{prefix}_")]
    return any(getattr(settings, field) for field in given)


async def _verified(settings: Settings, looked_at: Mapping[str, Sequence[str]]) -> list[Verified]:
    def alarm(text: str) -> None:
        click.echo(_masked(text, _secrets(settings)), err=True)

    verifications = [
        Verification(name, lambda name=name: MADE_OF[name](settings), symbols, alarm)
        for name, symbols in looked_at.items()
    ]
    return list(await asyncio.gather(*(one.run() for one in verifications)))


# --- what is shown -------------------------------------------------------------------------------


def _secrets(settings: Settings) -> list[str]:
    values = (getattr(settings, field) for field in type(settings).model_fields)
    texts = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    as_said = [clean(text, len(text)) for text in texts]  # what a venue says comes here cleaned
    return [text for text in (*texts, *as_said) if len(text) >= SHORTEST_SECRET]


def _masked(text: str, secrets: Sequence[str]) -> str:
    """A venue may say a key in its answer."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _without(secrets: Sequence[str], one: Verified) -> Verified:
    steps = (
        replace(s, reason=_masked(s.reason, secrets), remedy=_masked(s.remedy, secrets))
        for s in one.steps
    )
    return replace(one, steps=tuple(steps))


def _plain(one: Verified) -> dict[str, object]:
    return {"name": one.name, "live": one.live, "ok": one.is_ok, "steps": to_builtins(one.steps)}


def _show(one: Verified) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("step", "", Column("ms", justify="right"), "what was found", box=SIMPLE_HEAD)
    for step in one.steps:
        found = Text(step.reason)
        if step.remedy:
            found.append(f"\n→ {step.remedy}", style="italic")
        outcome = Text(step.outcome, style=COLORS[step.outcome])
        table.add_row(step.name, outcome, f"{step.ms}", found)
    account = {None: "", True: ", a real account", False: ", a paper account"}[one.live]
    verdict = "can be traded at" if one.is_ok else "cannot be traded at as it is"
    console = Console(highlight=False)
    console.print(f"{one.name}{account}", style="bold")
    console.print(table)
    console.print(f"{one.name} {verdict}\n", style="bold")
