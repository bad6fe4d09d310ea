"""Every setting, in one list: from the environment, then `.env`, then the default.

`python -m engine.ops.settings` prints `.env.example`.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

from dotenv.parser import Binding, parse_stream
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engine.core.execution.rules import (
    EntryTimeout,
    PartialRemainder,
    StopRefused,
    StrategyOff,
    SymbolHalted,
)
from engine.core.model import (
    AccountType,
    DayTradeRule,
    KillAction,
    Mode,
    SizingMethod,
    StopAction,
)
from engine.core.sizing import Sizing
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.latch import KillFiles

ENV_FILE = Path(".env")
ENCODING = "utf-8"
# How alike two names must be (difflib's ratio) for one to be taken for the other misspelt. A short
# name of the environment, such as NODE, may be like a setting's by chance.
ALIKE = 0.85
LONG_NAME = 10
ECHO_LIMIT = 60

# It would print what it cannot parse, which `load_settings` tells with the remedy.
logging.getLogger("dotenv").addHandler(logging.NullHandler())


class SettingsError(UserError, ValueError):
    """One or more settings are wrong; the message has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), "mend the above in the environment or in .env")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    """The distinct names of a comma list, in their order."""
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))


def _given(value: object) -> object:
    if value == "":
        raise ValueError("give a folder")
    return value


def _absent_if_empty(value: object) -> object:
    return None if value == "" else value


def _server(address: SecretStr) -> SecretStr:
    if not re.match("postgresql[+]asyncpg://|$", address.get_secret_value()):
        raise ValueError("write postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE")
    return address


def _web_address(address: str) -> str:
    if not re.match("(http|ws)s?://|$", address):
        raise ValueError("write an address, such as http://127.0.0.1:8080")
    return address


def _local_address(address: str) -> str:
    """Keys are sent there: to no other computer than this one."""
    if not re.match(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/?$|$", address):
        raise ValueError("write an address of this computer, such as http://127.0.0.1:8080")
    return address


def _sizing(text: str) -> str:
    Sizing.parse(text)
    return text


def _regime_sizing(text: str) -> str:
    if Sizing.parse(text).method is SizingMethod.HYBRID:
        raise ValueError("hybrid is made of two others, and is none of them")
    return text


def strategy_sizing(text: str) -> tuple[str, Sizing]:
    """From `STRATEGY:METHOD` or `STRATEGY:METHOD:NUMBER`. Raises ValueError with the rule."""
    name, _, sizing = text.partition(":")
    if not sizing:
        raise ValueError("write STRATEGY:METHOD or STRATEGY:METHOD:NUMBER")
    return name.strip(), Sizing.parse(sizing)


def _strategy_sizings(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = [strategy_sizing(text)[0] for text in texts]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"{twice} is there twice")
    return texts


def _currency(text: str) -> str:
    name = text.strip().upper()
    if not re.fullmatch("[A-Z0-9]{2,10}", name):
        raise ValueError("write a currency, such as USD")
    return name


def stablecoin(text: str) -> tuple[str, str]:
    """From `COIN:CURRENCY`. Raises ValueError with the rule."""
    coin, _, currency = text.partition(":")
    if not (coin and currency):
        raise ValueError("write COIN:CURRENCY, such as USDT:USD")
    return _currency(coin), _currency(currency)


def _stablecoins(texts: tuple[str, ...]) -> tuple[str, ...]:
    pairs = [stablecoin(text) for text in texts]
    coins = [coin for coin, _ in pairs]
    if twice := next((coin for coin in coins if coins.count(coin) > 1), ""):
        raise ValueError(f"{twice} is there twice")
    if coined := next((currency for _, currency in pairs if currency in coins), ""):
        raise ValueError(f"{coined} is a coin itself")
    return texts


def _without_zone(moment: time) -> time:
    if moment.tzinfo is not None:
        raise ValueError("write HH:MM, which is UTC")
    return moment


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


AnyCase = BeforeValidator(_lower)
LocalAddress = Annotated[str, AfterValidator(_local_address)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Folder = Annotated[Path, BeforeValidator(_given), AfterValidator(Path.expanduser)]
OptionalFolder = Annotated[Folder | None, BeforeValidator(_absent_if_empty)]
OptionalFile = Annotated[
    Annotated[Path, AfterValidator(Path.expanduser)] | None, BeforeValidator(_absent_if_empty)
]
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Percent = Annotated[Decimal, Field(gt=0, le=100)]
Cost = Annotated[Decimal, Field(ge=0, le=100)]
Money = Annotated[Decimal, Field(gt=0, le=10**12)]
SizingText = Annotated[str, AfterValidator(_sizing)]
RegimeSizing = Annotated[str, AfterValidator(_regime_sizing)]
OptionalMoney = Annotated[Decimal, Field(ge=0, le=10**12)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """What the operator can set. The name in the environment is the field's in upper case.

    Percentages are in percent: 5 is 5 %. Money is in CURRENCY.
    """

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        extra="ignore",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    # Where orders go.
    mode: Annotated[Mode, AnyCase] = Mode.PAPER
    """paper risks no money; live also needs ALLOW_LIVE_TRADING and a person"""
    allow_live_trading: bool = False
    """true lets MODE=live reach a real account, once a person has confirmed it in the console"""
    kill_switch: bool = False
    """true starts with the kill switch tripped: no order leaves until it is re-armed by hand"""
    kill_action: Annotated[KillAction, AnyCase] = KillAction.CANCEL
    """what a trip does besides: stop (nothing), keep_stops, cancel (all orders) or flatten"""
    dry_run: bool = False
    """true does everything but send orders: each ends as canceled, not sent"""
    circuit_breaker_failures: Count = 5
    """orders in a row that fail (rejected, not sent, no answer) before no entry leaves any more"""
    circuit_breaker_kills: bool = False
    """true has the circuit breaker trip the kill switch as well"""
    circuit_breaker_reset: bool = False
    """true resets the circuit breaker at the start; set it back after"""
    acknowledge_alerts: Names = ()
    """alerts that a person read before this start, with commas between them: live trading waits"""
    dead_man_s: Annotated[Seconds | None, BeforeValidator(_absent_if_empty)] = None
    """seconds without a key or a command after which the kill switch trips; empty means never"""

    # What the engine keeps.
    data_dir: Folder = Path("var")
    """folder of the database, the journal, the lock and the log; relative to the current folder"""
    database_url: Annotated[SecretStr, AfterValidator(_server)] = SecretStr("")
    """address of a PostgreSQL database, postgresql+asyncpg://...; empty means a file in DATA_DIR"""
    journal_max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """megabytes (2^20 bytes) of a session's journal; what comes after them cannot be replayed"""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = "info"
    """least weight of what is logged: debug, info, warning or error"""

    # Market data.
    symbols: Names = ()
    """symbols to trade, with commas: of the feed (empty: all), or of a venue, as in alpaca:AAPL"""
    feed: Annotated[Literal["replay", "synthetic"], AnyCase] = "replay"
    """of symbols without a venue: replay plays recorded market data, synthetic makes quotes up"""
    replay_dir: OptionalFolder = None
    """folder of the recorded market data; empty means the samples that are shipped"""
    replay_start: UtcTime = datetime(2018, 4, 4, 4, 43, tzinfo=UTC)
    """market time at which the replay starts, ISO 8601 with its offset from UTC"""
    replay_speed: Annotated[float, Field(ge=0, le=100_000)] = 60
    """seconds of market time a second; 0 is as fast as possible"""
    synthetic_symbols: Annotated[int, Field(ge=1, le=10_000)] = 500
    """how many symbols the synthetic feed has"""
    synthetic_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """quotes a second of the synthetic feed, over all symbols"""
    synthetic_seed: Annotated[int, Field(ge=0)] = 7
    """seed of the synthetic feed: the same seed makes the same quotes"""
    paper_accounts: Annotated[Literal["venue", "simulated"], AnyCase] = "venue"
    """where MODE=paper trades: venue, on the paper account a venue has; simulated, on our broker"""
    alpaca_api_key: SecretStr = SecretStr("")
    """key of the Alpaca account that MODE asks for: of a paper account, or of a real one"""
    alpaca_api_secret: SecretStr = SecretStr("")
    """secret of that key"""
    alpaca_account_id: str = ""
    """id of a customer's account, where the key is a firm's, of the Broker API"""
    alpaca_feed: Annotated[Literal["iex", "sip"], AnyCase] = "iex"
    """where Alpaca's quotes of stocks come from; sip is paid for"""
    alpaca_url: Annotated[str, AfterValidator(_web_address)] = ""
    """another address of Alpaca's Trading API, for tests; empty means Alpaca's own"""
    alpaca_stream_url: Annotated[str, AfterValidator(_web_address)] = ""
    """another address of its stream of trade updates"""
    alpaca_data_url: Annotated[str, AfterValidator(_web_address)] = ""
    """another address of its market data"""
    alpaca_data_stream_url: Annotated[str, AfterValidator(_web_address)] = ""
    """another address of its stream of market data"""
    binance_api_key: SecretStr = SecretStr("")
    """key of an account at Binance, in MODE=paper at its test network; empty: market data alone"""
    binance_api_secret: SecretStr = SecretStr("")
    """secret of that key"""
    binance_url: LocalAddress = ""
    """a server on this computer in the place of Binance, for tests"""
    kraken_api_key: SecretStr = SecretStr("")
    """key of an account at Kraken, which has no paper accounts; empty: market data alone"""
    kraken_api_secret: SecretStr = SecretStr("")
    """secret of that key"""
    kraken_url: LocalAddress = ""
    """a server on this computer in the place of Kraken, for tests"""
    coinbase_api_key: SecretStr = SecretStr("")
    """key of an account at Coinbase, which has no paper accounts; empty: market data alone"""
    coinbase_api_secret: SecretStr = SecretStr("")
    """secret of that key"""
    coinbase_url: LocalAddress = ""
    """a server on this computer in the place of Coinbase, for tests"""
    questrade_refresh_token: SecretStr = SecretStr("")
    """a new refresh token of Questrade's API hub; the ones that follow are kept in DATA_DIR"""
    questrade_practice: bool = False
    """true where that token is of a practice account"""
    questrade_account: str = ""
    """number of the account at Questrade; needed where the login has several"""
    questrade_url: LocalAddress = ""
    """a server on this computer in the place of Questrade's login, for tests"""
    ib_host: str = "127.0.0.1"
    """where TWS or IB Gateway runs"""
    ib_port: Annotated[int, Field(ge=1, le=65_535)] = 7497
    """its port: TWS has 7497 for paper and 7496 for live, IB Gateway 4002 and 4001"""
    ib_client_id: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    """a number that no other program uses there; the one after it is used too"""
    ib_account: str = ""
    """the account at Interactive Brokers; needed where the login has several"""
    stale_after_s: Seconds = 120
    """seconds without data after which a symbol is stale, and nothing is decided on it"""

    market_data_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    """days of bars that the database keeps; 0 keeps none"""

    # Strategies.
    strategies: Names = ("sma_crossover",)
    """strategies that are on at the first start, with commas between them"""
    strategies_dir: OptionalFolder = None
    """folder of strategies of your own; empty means none"""

    # How much is traded. The limits cap it.
    sizing: SizingText = "fixed_fraction"
    """how an entry is sized: a method, and :NUMBER where it takes one; the README lists them"""
    sizing_by_strategy: Annotated[Names, AfterValidator(_strategy_sizings)] = ()
    """strategies with a sizing of their own, with commas: NAME:METHOD or NAME:METHOD:NUMBER"""
    sizing_calm: RegimeSizing = "fixed_fraction"
    """what hybrid uses while the market is calm"""
    sizing_turbulent: RegimeSizing = "percent_risk:0.5"
    """what hybrid uses while the market is turbulent, or nobody knows"""
    sizing_turbulence: Annotated[Decimal, Field(ge=1, le=100)] = Decimal("1.5")
    """volatility of the last 20 bars, as a multiple of that of all, above which it is turbulent"""
    sizing_target_date: Annotated[UtcTime | None, BeforeValidator(_absent_if_empty)] = None
    """time by which target_utility is to reach its equity, ISO 8601 with its offset from UTC"""
    kelly_prior_trips: Annotated[int, Field(ge=0, le=10_000)] = 30
    """round trips without an edge with which kelly mixes a strategy's record"""

    # Money. Each venue has an account, in the currency of its symbols.
    currency: Annotated[str, AfterValidator(_currency)] = "USD"
    """currency of equity, P&L and limits; rates of others come from FX_RATES"""
    stablecoins: Annotated[Names, AfterValidator(_stablecoins)] = ("USDT:USD", "USDC:USD")
    """coins that count as a unit of a currency each, with commas: COIN:CURRENCY; empty: none"""

    # The simulated exchange.
    starting_cash: Money = Decimal(100_000)
    """what new paper accounts begin with, together and in CURRENCY: each with the same share"""
    commission_pct: Cost = Decimal("0.1")
    """commission in percent of an order's notional value"""
    slippage_bps: Annotated[Decimal, Field(ge=0, le=10_000)] = Decimal(1)
    """basis points by which a market order fills worse than the quote or the bar's open"""
    max_volume_share_pct: Percent = Decimal(10)
    """percent of a bar's volume that may fill at once; of a quote its whole size may"""

    # How orders are worked.
    entry_order_type: Annotated[Literal["limit", "market"], AnyCase] = "limit"
    """limit enters at the ask, and ENTRY_OFFSET_BPS from it; market at whatever the price is"""
    entry_offset_bps: Annotated[Decimal, Field(ge=-1_000, le=1_000)] = Decimal(0)
    """basis points above the ask at which a limit entry is placed; below it where negative"""
    entry_timeout_s: Seconds = 60
    """seconds after which a limit entry (or exit) that is not filled is looked at"""
    entry_on_timeout: Annotated[EntryTimeout, AnyCase] = EntryTimeout.CHASE
    """chase has a limit entry that is not filled in time follow the ask, give_up cancels it"""
    entry_max_chases: Annotated[int, Field(ge=0, le=1_000)] = 3
    """how often a limit entry may follow the ask before it is given up"""
    entry_max_chase_bps: Annotated[Decimal, Field(ge=0, le=1_000)] = Decimal(50)
    """basis points above the first ask up to which it may follow, and at which it is sized"""
    entry_time_in_force: Annotated[Literal["day", "gtc", "ioc", "fok"], AnyCase] = "gtc"
    """how long the venue keeps a limit entry: gtc, day, ioc or fok"""
    partial_remainder: Annotated[PartialRemainder, AnyCase] = PartialRemainder.CANCEL
    """the rest of an entry that was filled in part when its time is over: cancel, or keep it"""
    exit_order_type: Annotated[Literal["market", "limit"], AnyCase] = "market"
    """limit has an exit wait at the bid for ENTRY_TIMEOUT_S, without a stop, before it is market"""
    on_strategy_off: Annotated[StrategyOff, AnyCase] = StrategyOff.CANCEL_ENTRIES
    """what becomes of a strategy's orders when it is off: cancel_entries, keep, or flatten"""
    on_stop_refused: Annotated[StopRefused, AnyCase] = StopRefused.EXIT
    """where the venue refuses a protective stop: exit closes the position, alert only says so"""
    on_halt: Annotated[SymbolHalted, AnyCase] = SymbolHalted.CANCEL_ENTRIES
    """open orders in a symbol that is halted: keep, cancel_entries, or cancel (all of them)"""
    flatten_at_open: bool = False
    """true has what could not be flattened, because its market was closed, leave at the open"""

    # Risk: the position. A limit that is set is for crypto too, unless its CRYPTO_ twin is set.
    max_position_size_pct: Percent = Decimal(5)
    """largest position in one symbol, in percent of equity"""
    crypto_max_position_size_pct: Percent = Decimal(3)
    """the same for crypto"""
    max_position_notional: OptionalMoney = Decimal(0)
    """largest position in one symbol, in CURRENCY; 0 means no such limit"""
    max_order_notional: OptionalMoney = Decimal(0)
    """largest order, in CURRENCY; 0 means no such limit"""
    min_price: OptionalMoney = Decimal(1)
    """lowest price at which a symbol is bought, in CURRENCY"""
    crypto_min_price: OptionalMoney = Decimal(0)
    """the same for crypto"""
    price_collar_pct: Percent = Decimal(5)
    """farthest that an entry's price may be from the last two prices, in percent"""
    crypto_price_collar_pct: Percent = Decimal(10)
    """the same for crypto"""
    stop_loss_pct: Percent = Decimal(2)
    """distance of the default stop-loss from the entry, in percent of its price"""
    crypto_stop_loss_pct: Percent = Decimal(5)
    """the same for crypto"""
    stop_loss_required: bool = False
    """true refuses a signal without a stop-loss of its own instead of setting the default one"""
    extended_hours: bool = False
    """true lets stocks be bought before the open and after the close too"""
    take_profit_pct: Cost = Decimal(0)
    """distance of the default target from the entry, in percent of its price; 0 means none"""
    trailing_stop_pct: Cost = Decimal(0)
    """distance at which the stop follows the price, in percent of the entry's; 0 means it stays"""

    # Risk: the strategy.
    min_signal_strength: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.7")
    """least strength of a signal, from 0 to 1; one that its strategy does not rate has 1"""
    max_trades_per_day: Count = 20
    """entries a strategy may make in a trading day"""
    max_consecutive_losses: Count = 3
    """losing trades in a row after which a strategy is paused"""
    cool_down_s: Annotated[Decimal, Field(ge=0, le=86_400)] = Decimal(0)
    """seconds without an entry of a strategy in a symbol after an entry or a losing exit there"""
    throttle_orders: Annotated[int, Field(ge=0)] = 10
    """orders of a strategy in a symbol in THROTTLE_SECONDS above which the circuit breaker trips"""
    throttle_seconds: Annotated[Decimal, Field(gt=0, le=86_400)] = Decimal(10)
    """seconds in which THROTTLE_ORDERS are counted"""

    # Risk: the account.
    max_daily_loss: Money = Decimal(1000)
    """loss in a trading day at which the kill switch trips, in CURRENCY"""
    max_daily_loss_pct: Percent = Decimal(5)
    """loss in a trading day at which the kill switch trips, in percent of the day's first equity"""
    max_drawdown_pct: Percent = Decimal(15)
    """fall of equity from its peak at which the kill switch trips, in percent of the peak"""
    max_exposure_pct: Percent = Decimal(80)
    """largest sum of all positions, in percent of equity"""
    stock_max_exposure_pct: Percent = Decimal(80)
    """largest sum of the positions in stocks; MAX_EXPOSURE_PCT where that alone is set"""
    crypto_max_exposure_pct: Percent = Decimal(50)
    """largest sum of the positions in crypto; MAX_EXPOSURE_PCT where that alone is set"""
    max_open_positions: Count = 20
    """symbols that may be held or on order at once"""
    max_leverage: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(1)
    """most in positions, of all and of each account, as a multiple of equity: 1 borrows nothing"""
    max_messages_per_second: Count = 50
    """orders, cancels and replaces to a venue in a second above which no entry leaves"""
    trading_day_zone: ZoneInfo = ZoneInfo("America/New_York")
    """IANA time zone at whose midnight the trading day starts"""

    # What rules from outside ask of the account. None of it is legal advice.
    account_type: Annotated[AccountType, AnyCase] = AccountType.MARGIN
    """margin, or cash: that one trades with settled money alone"""
    max_violations: Annotated[int, Field(ge=0, le=100)] = 0
    """violations of settlement in 12 months that a cash account may risk; 0 is none"""
    pattern_day_trader: Annotated[DayTradeRule, AnyCase] = DayTradeRule.AUTO
    """limit of day trades below US$25,000: auto (to 2026-06-03, or as the broker says), on, off"""
    fintrac_conductor: Annotated[str, Field(max_length=100)] = "account holder"
    """whose transactions in virtual currency are flagged from CA$10,000 on; empty flags none"""
    fintrac_window_start: Annotated[time, AfterValidator(_without_zone)] = time(5)
    """time UTC at which a 24-hour window of FINTRAC begins; 05:00 is Eastern Standard midnight"""
    fx_rates: OptionalFile = None
    """CSV file of rates: currency,rate,source,published (CA$ a unit; ISO 8601); empty means none"""

    # Orders without an answer.
    submit_timeout_s: Seconds = 5
    """seconds without an answer after which a submitted order is in doubt"""
    in_doubt_lag_s: Seconds = 30
    """seconds for which an order in doubt is looked for at the venue before it is abandoned"""

    reconcile_s: Seconds = 300
    """seconds after which orders, positions and cash are compared with the broker's again"""

    # The end of a session.
    on_stop: Annotated[StopAction, AnyCase] = StopAction.CANCEL_ENTRIES
    """open orders at an orderly stop: keep, cancel_entries (stops stay) or cancel_all"""

    # The console.
    fps: Annotated[int, Field(ge=1, le=30)] = 4
    """frames a second of the console"""
    slow_link: bool = False
    """true draws 2 frames a second at the most, in the terminal's own 16 colours"""
    theme: Annotated[
        Literal["", "dark", "light", "high_contrast", "colour_blind", "terminal"], AnyCase
    ] = ""
    """colours of the console: dark, light, high_contrast, colour_blind or terminal (its own 16)"""
    signs: Annotated[Literal["auto", "unicode", "ascii"], AnyCase] = "auto"
    """what lines and signs are drawn with: unicode, ascii, or auto, as the terminal can"""
    time_zone: Annotated[ZoneInfo | None, BeforeValidator(_absent_if_empty)] = None
    """IANA time zone in which details tell times besides UTC; empty means the computer's"""
    keys: Names = ()
    """keys of your own for actions of the console, with commas, such as detach=D,help=f3"""
    notify_bell: bool = False
    """true rings the terminal's bell at fills, rejects and alarms, once a second at the most"""
    notify_desktop: Annotated[Literal["off", "osc9", "osc777"], AnyCase] = "off"
    """has the terminal show those on the desktop: osc9 (iTerm2, kitty) or osc777 (foot, urxvt)"""
    on_terminal_lost: Annotated[Literal["detach", "stop", "kill"], AnyCase] = "detach"
    """when the terminal is lost: detach (the engine goes on), stop it, or kill and then stop it"""

    @property
    def database_path(self) -> Path:
        return self.data_dir / f"{self.mode}.db"

    @property
    def journal_dir(self) -> Path:
        return self.data_dir / "journal" / self.mode

    @property
    def lock_path(self) -> Path:
        return self.data_dir / f"{self.mode}.lock"

    @property
    def socket_path(self) -> Path:
        """Where consoles attach to the running engine."""
        return self.data_dir / "control" / f"{self.mode}.sock"

    @property
    def kill_files(self) -> KillFiles:
        """A file of the mode's own, one that is made by hand and trips every mode, and requests."""
        folder = self.data_dir
        latch = folder / f"{self.mode}.kill_switch"
        return KillFiles(latch, folder / ".kill_switch", folder, f".{self.mode}.kill_request")

    @property
    def head_path(self) -> Path:
        """The head of the audit log, kept outside the database."""
        return self.data_dir / f"{self.mode}.head"

    @property
    def research_dir(self) -> Path:
        """Where reports of backtests are kept."""
        return self.data_dir / "research"

    @property
    def log_path(self) -> Path:
        return self.data_dir / "tradebot.log"


def load_settings(**overrides: Any) -> Settings:
    """The settings in force; `overrides`, by field name, come before the environment and `.env`.

    Raises SettingsError with a line for each wrong setting, and for each name that looks like a
    setting's but is none: a misspelt limit would leave the default in force unnoticed.
    """
    if unknown := overrides.keys() - Settings.model_fields.keys():
        raise TypeError(f"no such settings: {sorted(unknown)}")
    problems = _env_file_problems() + _misspelt(os.environ, LONG_NAME)
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problems += explain(error, Settings)
        settings = None
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def settings_to_find() -> Settings | None:
    """Settings by which the engine is found that runs: what else is wrong has its default. None
    where DATA_DIR or MODE is wrong, or `.env` cannot be read."""
    try:
        return Settings()
    except (OSError, UnicodeError):
        return None
    except ValidationError as error:
        wrong = {str(detail["loc"][0]) for detail in error.errors()}
    if wrong & {"data_dir", "mode"}:
        return None
    return Settings(**{name: Settings.model_fields[name].default for name in wrong})


def explain(error: ValidationError, model: type[BaseSettings]) -> list[str]:
    """A line for each wrong setting of `model`: its value unless it is secret, the rule, what the
    setting is for, its default."""
    lines: list[str] = []
    for detail in error.errors(include_url=False, include_context=False):
        name = str(detail["loc"][0])
        field = model.model_fields[name]
        secret = SecretStr in (field.annotation, *get_args(field.annotation))
        value = "***" if secret else clean(str(detail["input"]), ECHO_LIMIT)
        rule = clean(detail["msg"])
        lines.append(
            f"{name.upper()}='{value}': {rule[:1].lower()}{rule[1:]}"
            f" ({field.description}; default {env_text(field.default) or 'empty'})"
        )
    return lines


def env_text(value: object) -> str:
    """`value` of a setting as it is written in the environment."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(cast("tuple[str, ...]", value))
        case float():
            return str(value).removesuffix(".0")
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def env_example() -> str:
    """The text of `.env.example`: every setting with its default and the line on it."""
    lines = ["# Copy this file to .env and change what you need; what is not set has this default."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"{name.upper()}={env_text(field.default)}"]
    return "\n".join(lines) + "\n"


def _env_file_problems() -> list[str]:
    if ENV_FILE.is_dir():  # as a container makes one where a file that is to be mounted is not
        raise SettingsError([".env is a folder, not a file"])
    if not ENV_FILE.is_file():
        return []
    try:
        with ENV_FILE.open(encoding=ENCODING) as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeError) as error:
        raise SettingsError([f".env cannot be read ({clean(str(error))})"]) from None
    unread = [b for b in bindings if b.error or (b.key and b.value is None)]
    return [f".env line {_line(b)}: not NAME=value" for b in unread] + _misspelt(
        (b.key for b in bindings if b.key), 0
    )


def _line(binding: Binding) -> int:
    """The line that the binding itself is on: the parser counts blank lines before it as its."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _misspelt(names: Iterable[str], shortest: int) -> list[str]:
    """A line for each of `names` that is no setting's but much like one; those shorter than
    `shortest` are let be."""
    settings = [name.upper() for name in Settings.model_fields]
    return [
        f"{clean(name)} is no setting: write {close[0]}, or remove it"
        for name in names
        if len(name) >= shortest
        and name.upper() not in settings
        and (close := get_close_matches(name.upper(), settings, 1, ALIKE))
    ]


if __name__ == "__main__":
    sys.stdout.write(env_example())
