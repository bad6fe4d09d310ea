"""The settings of the machine that a seed draws: each that there is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from engine.core.compliance import ComplianceRules
from engine.core.execution.rules import (
    EntryTimeout,
    ExecutionRules,
    PartialRemainder,
    StopRefused,
    StrategyOff,
    SymbolHalted,
)
from engine.core.machine import MachineConfig, StrategySetup
from engine.core.model import (
    DAY,
    MINUTE,
    NANOS,
    ZERO,
    AccountType,
    AssetClass,
    DayTradeRule,
    Instrument,
    KillAction,
    Mode,
    OrderType,
    SizingMethod,
    TimeInForce,
    nanos,
)
from engine.core.risk import RiskLimits
from engine.core.safety import SafetyRules
from engine.core.sessions import ALWAYS_OPEN, SessionTable
from engine.core.sizing import Sizing, SizingRules

START = nanos(datetime(2024, 3, 4, 15, 0, tzinfo=UTC))
"""A Monday, 10:00 in New York. Stocks settle two days later."""
MIDNIGHT = nanos(datetime(2024, 6, 4, 3, 59, 20, tzinfo=UTC))
"""A Monday, 40 s before the day is over in New York. Stocks settle on the next."""

STRATEGIES = ("amber", "brisk", "raiser", "storm", "garbage")

KINDS = (
    ("ACME", AssetClass.STOCK, "0.01", "1"),
    ("COIN", AssetClass.CRYPTO, "0.01", "0.00000001"),
    ("BULK", AssetClass.STOCK, "0.05", "10"),
    ("DUST", AssetClass.CRYPTO, "0.0001", "0.001"),
)
"""The instruments: each with its asset class, tick and lot."""

CURRENCIES = ("USD", "CAD", "USDT", "JPY")
"""Those of the accounts: one is the base, one a coin that counts as a dollar, and one has so small
a unit that its account soon runs out of money."""

SIZINGS = (
    "fixed_quantity:10",
    "fixed_quantity:0.5",
    "fixed_notional:1500",
    "fixed_fraction:2",
    "percent_risk:0.1",
    "kelly:0.5",
    "target_utility:110000",
)


def draw_currencies(random: Random, venues: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The base currency, and that of the account at each venue: every other seed has but one."""
    if random.random() < 0.5:
        return "USD", dict.fromkeys(venues, "USD")
    base = random.choice(("USD", "USD", "CAD"))
    return base, {venue: random.choice(CURRENCIES) for venue in venues}


def draw_config(
    random: Random,
    venues: Sequence[str],
    currencies: tuple[str, dict[str, str]],
    mode: Mode,
    calendars: tuple[SessionTable, ...],
    reconciles: bool,
) -> MachineConfig:
    base, of_venues = currencies
    instruments = tuple(
        replace(i, currency=of_venues[i.venue]) for i in _instruments(random, venues, calendars)
    )
    symbols = tuple(instrument.symbol for instrument in instruments)
    names = sorted({"amber", *random.sample(STRATEGIES, random.choice((1, 2, 3)))})
    every = random.choice((10, 30)) * NANOS
    compliance = _compliance(random)
    return MachineConfig(
        instruments,
        tuple(
            StrategySetup(
                name,
                symbols,
                {"seed": random.randrange(10**6), "chance": random.uniform(0.05, 0.4)},
            )
            for name in names
        ),
        mode=mode,
        currency=base,
        stablecoins={"USDT": "USD"},
        starting_cash=Decimal(random.choice((100_000, 100_000, 20_000))),
        limits=_limits(random, compliance.account_type),
        execution=_execution(random),
        safety=_safety(random),
        day_zone=random.choice(("America/New_York", "America/New_York", "UTC", "Asia/Tokyo")),
        stale_after=random.choice((5, 10, 30)) * NANOS,
        submit_timeout=random.choice((2, 5, 5)) * NANOS,
        visibility_lag=random.choice((5, 30)) * NANOS,
        reconcile_every=every if reconciles else 0,
        history=random.choice((20, 500)),
        calendars=calendars,
        compliance=compliance,
        sizing=_sizing(random, names, compliance.account_type),
    )


def draw_closing(random: Random) -> tuple[SessionTable, ...]:
    """An exchange that closes in the middle of it, opens again, and is there on the next days."""
    close = START + random.randint(10, 40) * NANOS
    again = close + random.randint(10, 40) * NANOS
    opens = (START - MINUTE, again, *(START + day * DAY for day in (1, 2, 3)))
    closes = (close, *(START + day * DAY + DAY // 4 for day in (0, 1, 2, 3)))
    extended = random.choice((0, 5)) * NANOS
    return (SessionTable("floor", "America/New_York", opens, closes, extended, extended),)


def _instruments(
    random: Random, venues: Sequence[str], calendars: tuple[SessionTable, ...]
) -> tuple[Instrument, ...]:
    stocks = calendars[0].name if calendars else ALWAYS_OPEN
    return tuple(
        Instrument(
            symbol,
            kind,
            Decimal(tick),
            Decimal(lot),
            min_notional=Decimal(random.choice((0, 0, 10))),
            shortable=random.random() < 0.5,
            venue=random.choice(venues),
            calendar=stocks if kind is AssetClass.STOCK else ALWAYS_OPEN,
        )
        for symbol, kind, tick, lot in KINDS[: random.choice((1, 2, 3, 4))]
    )


def with_commissions_in_base(random: Random, config: MachineConfig) -> MachineConfig:
    """In three sessions of ten the venues of crypto take the commission of a buy from what is
    bought, mostly in lots that it does not come to: it leaves less than one."""
    if random.random() >= 0.3:
        return config

    def paying(instrument: Instrument) -> Instrument:
        if instrument.asset_class is not AssetClass.CRYPTO:
            return instrument
        lot = random.choice((instrument.lot, Decimal("0.001"), Decimal("0.1")))
        return replace(instrument, lot=max(lot, instrument.lot), commission_in_base=True)

    return replace(config, instruments=tuple(map(paying, config.instruments)))


def _compliance(random: Random) -> ComplianceRules:
    return ComplianceRules(
        AccountType.CASH if random.random() < 0.25 else AccountType.MARGIN,
        random.choice((0, 2)),
        random.choice(list(DayTradeRule)),
        commission_pct=Decimal("0.1"),
        conductor=random.choice(("", "A. Person")),
    )


def _safety(random: Random) -> SafetyRules:
    return SafetyRules(
        random.choice(list(KillAction)),
        random.choice((1, 2, 3, 5)),
        random.random() < 0.3,
        allow_live=random.random() < 0.8,
        dead_man=random.choice((20, 60)) * NANOS if random.random() < 0.1 else 0,
        dry_run=random.random() < 0.04,
        acknowledged=random.choice(((), ("paused-symbols", "orders-in-doubt"))),
    )


def _execution(random: Random) -> ExecutionRules:
    return ExecutionRules(
        entry_order_type=random.choice((OrderType.MARKET, OrderType.LIMIT)),
        entry_offset_bps=Decimal(random.choice((0, -5, 10))),
        entry_timeout=random.choice((5, 15)) * NANOS,
        entry_on_timeout=random.choice(list(EntryTimeout)),
        entry_max_chases=random.choice((1, 3)),
        entry_max_chase_bps=Decimal(random.choice((5, 50))),
        entry_time_in_force=random.choice((TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)),
        partial_remainder=random.choice(list(PartialRemainder)),
        exit_order_type=random.choice((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT)),
        on_strategy_off=random.choice(list(StrategyOff)),
        on_stop_refused=random.choice(list(StopRefused)),
        on_halt=random.choice(list(SymbolHalted)),
        flatten_at_open=random.random() < 0.5,
    )


def _sizing(random: Random, strategies: Sequence[str], account_type: AccountType) -> SizingRules:
    """The common method is the default one half of the time, and always in a cash account, which
    is to spend all that it has: the others ask for less."""
    if account_type is AccountType.CASH:
        return SizingRules()
    methods = [Sizing.parse(text) for text in SIZINGS]
    hybrid = Sizing.parse(SizingMethod.HYBRID)
    drawn = random.choice((Sizing(), random.choice([*methods, hybrid])))
    own = random.choice(strategies)
    return SizingRules(
        drawn,
        {own: random.choice([*methods, hybrid])} if random.random() < 0.3 else {},
        random.choice(methods),
        random.choice(methods),
        random.choice((1.0, 1.5)),
        START + 180 * DAY,
        random.choice((0, 30)),
    )


def _limits(random: Random, account_type: AccountType) -> RiskLimits:
    limits = RiskLimits(
        max_position_size_pct=Decimal(random.choice((5, 20))),
        max_position_notional=Decimal(random.choice((0, 4_000))),
        max_order_notional=Decimal(random.choice((0, 0, 3_000))),
        min_price=Decimal(random.choice((0, 0, 0, 0, 0, 98))),
        price_collar_pct=Decimal(random.choice((1, 5))),
        stop_loss_pct=Decimal(random.choice((1, 2))),
        stop_loss_required=random.random() < 0.05,
        extended_hours=random.random() < 0.3,
        crypto_max_position_size_pct=random.choice((None, None, Decimal(3))),
        crypto_min_price=random.choice((None, ZERO)),
        crypto_price_collar_pct=random.choice((None, Decimal(2))),
        crypto_stop_loss_pct=Decimal(random.choice((1, 5))),
        min_signal_strength=Decimal(random.choice(("0", "0.7"))),
        take_profit_pct=Decimal(random.choice((0, 0, 1))),
        trailing_stop_pct=Decimal(random.choice((0, 0, 0, 1))),
        max_trades_per_day=random.choice((4, 20, 200)),
        max_consecutive_losses=random.choice((2, 3, 50)),
        cool_down_s=Decimal(random.choice((0, 3))),
        throttle_orders=random.choice((3, 10, 0)),
        throttle_seconds=Decimal(random.choice((3, 10))),
        max_daily_loss=Decimal(random.choice((150, 1000, 10**9))),
        max_daily_loss_pct=Decimal(random.choice((5, 100))),
        max_exposure_pct=Decimal(random.choice((30, 80, 200))),
        stock_max_exposure_pct=random.choice((None, None, Decimal(10))),
        crypto_max_exposure_pct=Decimal(random.choice((7, 50))),
        max_open_positions=random.choice((2, 20)),
        max_leverage=Decimal(random.choice(("1", "1", "2", "0.3"))),
        max_messages_per_second=random.choice((3, 50)),
        max_drawdown_pct=Decimal(random.choice((15, 99))),
    )
    if account_type is not AccountType.CASH:
        return limits
    return replace(  # so much that the settled cash is soon used up
        limits,
        max_position_size_pct=Decimal(random.choice((45, 90))),
        max_exposure_pct=Decimal(100),
        stock_max_exposure_pct=None,
        max_leverage=Decimal(1),
        max_position_notional=ZERO,
        max_order_notional=ZERO,
    )
