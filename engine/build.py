"""From settings to the parts of an engine."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

from engine.brokers.base import BaseBroker
from engine.brokers.paper import PaperBroker
from engine.core.accounts import CAD, Rates, account_currencies, worth_in
from engine.core.comparison import CENT
from engine.core.compliance import ComplianceRules
from engine.core.events import RatePublished, Restored
from engine.core.execution.rules import ExecutionRules
from engine.core.machine import MachineConfig, StrategySetup
from engine.core.matching import ExchangeRules
from engine.core.model import (
    MINUTE,
    NANOS,
    AssetClass,
    Instrument,
    OrderType,
    SizingMethod,
    TimeInForce,
    nanos,
)
from engine.core.risk import RiskLimits
from engine.core.safety import SafetyRules
from engine.core.sessions import Calendars, SessionTable
from engine.core.sizing import Sizing, SizingRules
from engine.core.text import clean
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import Recordings
from engine.feeds.replay import ReplayFeed
from engine.feeds.synthetic import SyntheticFeed
from engine.ops.errors import UserError
from engine.ops.settings import Settings, stablecoin, strategy_sizing
from engine.plugins import Plugins, find_strategies
from engine.store.place import Place
from engine.venues import by_venue, venue_feed, venues_with_accounts

_LATEST = 2**63 - 1  # a time after all rates


def risk_limits(settings: Settings) -> RiskLimits:
    return RiskLimits(**{name: _limit(settings, name) for name in RiskLimits.__struct_fields__})


def _limit(settings: Settings, name: str) -> Any:
    """The setting `name`; one of an asset class is what was set for all, where that alone was."""
    asset_class, _, common = name.partition("_")
    given = settings.model_fields_set
    if asset_class in set(AssetClass) and common in given and name not in given:
        name = common
    return getattr(settings, name)


def safety_rules(settings: Settings) -> SafetyRules:
    return SafetyRules(
        kill_action=settings.kill_action,
        breaker_failures=settings.circuit_breaker_failures,
        breaker_kills=settings.circuit_breaker_kills,
        allow_live=settings.allow_live_trading,
        dead_man=int((settings.dead_man_s or 0) * NANOS),
        dry_run=settings.dry_run,
        acknowledged=settings.acknowledge_alerts,
    )


def execution_rules(settings: Settings) -> ExecutionRules:
    return ExecutionRules(
        entry_order_type=OrderType(settings.entry_order_type),
        entry_offset_bps=settings.entry_offset_bps,
        entry_timeout=int(settings.entry_timeout_s * NANOS),
        entry_on_timeout=settings.entry_on_timeout,
        entry_max_chases=settings.entry_max_chases,
        entry_max_chase_bps=settings.entry_max_chase_bps,
        entry_time_in_force=TimeInForce(settings.entry_time_in_force),
        partial_remainder=settings.partial_remainder,
        exit_order_type=OrderType(settings.exit_order_type),
        on_strategy_off=settings.on_strategy_off,
        on_stop_refused=settings.on_stop_refused,
        on_halt=settings.on_halt,
        flatten_at_open=settings.flatten_at_open,
    )


def compliance_rules(settings: Settings) -> ComplianceRules:
    start = settings.fintrac_window_start
    return ComplianceRules(
        account_type=settings.account_type,
        max_violations=settings.max_violations,
        pattern_day_trader=settings.pattern_day_trader,
        commission_pct=settings.commission_pct,
        conductor=clean(settings.fintrac_conductor),
        window_start=(start.hour * 60 + start.minute) * MINUTE + start.second * NANOS,
    )


def sizing_rules(settings: Settings) -> SizingRules:
    """Raises UserError for a target without the time at which it is to be reached."""
    deadline = settings.sizing_target_date
    rules = SizingRules(
        Sizing.parse(settings.sizing),
        dict(strategy_sizing(text) for text in settings.sizing_by_strategy),
        Sizing.parse(settings.sizing_calm),
        Sizing.parse(settings.sizing_turbulent),
        float(settings.sizing_turbulence),
        nanos(deadline) if deadline else 0,
        settings.kelly_prior_trips,
    )
    used = [rules.common, rules.calm, rules.turbulent, *rules.strategies.values()]
    if not deadline and any(sizing.method is SizingMethod.TARGET_UTILITY for sizing in used):
        raise UserError(
            "target_utility has no time at which the target is to be reached",
            "set SIZING_TARGET_DATE, such as 2030-01-01T00:00Z",
        )
    return rules


def exchange_rules(settings: Settings) -> ExchangeRules:
    return ExchangeRules(
        settings.commission_pct, settings.slippage_bps, settings.max_volume_share_pct
    )


def make_brokers(
    settings: Settings,
    feed: Feed,
    restored: Restored,
    calendars: Calendars,
    now: Callable[[], int],
) -> Mapping[str, BaseBroker]:
    """The brokers by the venue whose instruments, of those of `feed`, they trade; `now` is market
    time. Of a venue at which there is no account it is a paper broker."""
    venues = venues_with_accounts(feed)
    brokers: dict[str, BaseBroker] = {}
    for name in dict.fromkeys(instrument.venue for instrument in feed.instruments):
        traded = [instrument for instrument in feed.instruments if instrument.venue == name]
        if name in venues:
            broker = venues[name].broker(traded, now)
        else:
            broker = PaperBroker(traded, exchange_rules(settings), calendars, now, name)
        broker.restore(restored)
        brokers[name] = broker
    return brokers


def stablecoins(settings: Settings) -> dict[str, str]:
    """The currency of which each coin counts as a unit."""
    return dict(map(stablecoin, settings.stablecoins))


def currencies_of(instruments: Iterable[Instrument]) -> dict[str, str]:
    """The currency of the account at each venue. Raises UserError where one has two."""
    try:
        return account_currencies(instruments)
    except ValueError as error:
        remedy = "choose symbols of one currency at each venue"
        raise UserError(clean(str(error)), remedy) from error


def opening_cash(
    settings: Settings,
    instruments: Sequence[Instrument],
    published: Iterable[RatePublished],
    real: Collection[str] = (),
) -> dict[str, Decimal]:
    """What the account at each venue begins with, in its currency, where it is new: the same share
    of STARTING_CASH each, rounded down to the cent. The `real` ones have cash of their own: they
    take no part.

    Raises UserError where a venue has two currencies, or one has no rate in CURRENCY: nothing could
    be added up.
    """
    currencies = currencies_of(instruments)
    rates = Rates()
    for rate in published:
        rates.add(rate)
    share = settings.starting_cash / max(1, len(currencies.keys() - real))
    opening: dict[str, Decimal] = {}
    for venue, currency in currencies.items():
        worth = worth_in(settings.currency, currency, stablecoins(settings), rates, _LATEST)
        if worth is None:
            needed = [clean(name) for name in (currency, settings.currency) if name != CAD]
            raise UserError(
                f"{clean(venue)} is traded in {clean(currency)}, and equity is told in "
                f"{settings.currency}: there is no rate of one in the other",
                f"name a file in FX_RATES with {' and '.join(needed)} in Canadian dollars; or, "
                f"where nothing else is traded, set CURRENCY={clean(currency)}",
            )
        if venue in real:
            continue
        cash = share / worth[0]
        opening[venue] = min(cash, cash.quantize(CENT, ROUND_DOWN))
    return opening


def strategy_folders(settings: Settings) -> list[Path]:
    """Where strategies are looked for, besides the shipped ones.

    Raises UserError where STRATEGIES_DIR is no folder.
    """
    folder = settings.strategies_dir
    if folder is not None and not folder.is_dir():
        raise UserError(
            f"STRATEGIES_DIR={clean(str(folder))} is no folder", "name a folder, or leave it empty"
        )
    return [folder] if folder else []


def plugins(settings: Settings) -> Plugins:
    """The strategies that are there.

    Raises UserError where STRATEGIES_DIR is no folder, or STRATEGIES names one that is not there.
    """
    found = find_strategies(*strategy_folders(settings))
    sized = [strategy_sizing(text)[0] for text in settings.sizing_by_strategy]
    for setting, names in (("STRATEGIES", settings.strategies), ("SIZING_BY_STRATEGY", sized)):
        for name in names:
            if name not in found.kinds:
                raise UserError(
                    f"{setting} names {clean(name)}, which is no strategy",
                    f"there are: {', '.join(sorted(found.kinds))}",
                )
    return found


def machine_config(
    settings: Settings,
    instruments: Sequence[Instrument],
    strategies: Sequence[str],
    calendars: tuple[SessionTable, ...] = (),
) -> MachineConfig:
    """A machine for `instruments` on which each of `strategies` can trade each of them, in the
    sessions of `calendars`."""
    symbols = tuple(instrument.symbol for instrument in instruments)
    return MachineConfig(
        mode=settings.mode,
        instruments=tuple(instruments),
        strategies=tuple(StrategySetup(name, symbols) for name in sorted(strategies)),
        currency=settings.currency,
        stablecoins=stablecoins(settings),
        starting_cash=settings.starting_cash,
        limits=risk_limits(settings),
        execution=execution_rules(settings),
        day_zone=settings.trading_day_zone.key,
        stale_after=int(settings.stale_after_s * NANOS),
        submit_timeout=int(settings.submit_timeout_s * NANOS),
        visibility_lag=int(settings.in_doubt_lag_s * NANOS),
        safety=safety_rules(settings),
        reconcile_every=int(settings.reconcile_s * NANOS),
        calendars=calendars,
        compliance=compliance_rules(settings),
        sizing=sizing_rules(settings),
    )


async def make_feed(settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
    """The market data. A replay goes on at `resume`, where the last session stopped.

    Raises UserError for a symbol that the feed does not have, be it asked for or `held` in a
    position or an open order: what has no price cannot be watched.
    """
    if by_venue(settings):
        feed: Feed = await venue_feed(settings)
    else:
        feed = await asyncio.to_thread(_own_feed, settings, resume, held)
    if missing := set(held) - {instrument.symbol for instrument in feed.instruments}:
        raise UserError(
            f"{Place.of(settings).name} holds positions or open orders of "
            f"{', '.join(sorted(map(clean, missing)))}, which the {feed.name} feed does not have",
            "add them to SYMBOLS, choose the FEED that has them, or another DATA_DIR",
        )
    return feed


def _own_feed(settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
    """Market data without a venue: recorded, or made up."""
    if settings.feed == "synthetic":
        return SyntheticFeed(
            settings.synthetic_symbols, settings.synthetic_rate, settings.synthetic_seed
        )
    recordings = Recordings(settings.replay_dir)
    first = nanos(settings.replay_start)
    start, done = resume if resume and resume.ts >= first else Played(first)
    symbols = settings.symbols or _still_to_play(recordings, first)
    if not settings.symbols:
        symbols += tuple(s for s in recordings.symbols if s in held and s not in symbols)
    return ReplayFeed(recordings, symbols, start, settings.replay_speed, done=done)


def _still_to_play(recordings: Recordings, start: int) -> tuple[str, ...]:
    """The symbols with data after `start`; all of them where none has, so that the feed says so."""
    playing = [s for s in recordings.symbols if recordings.span(s)[1] > start]
    return tuple(playing) or recordings.symbols
