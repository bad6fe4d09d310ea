"""An engine that says what a test wants: real snapshots, no thread, every command kept."""

from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from decimal import Decimal
from math import nan, sin
from pathlib import Path
from typing import Any

from msgspec import Raw
from msgspec.structs import replace
from textual.pilot import Pilot

from engine.control.standing import Standing
from engine.core.events import (
    Command,
    KilledPart,
    SignOfLife,
)
from engine.core.model import (
    MINUTE,
    NANOS,
    AssetClass,
    Bar,
    Fill,
    Instrument,
    KillAction,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Part,
    Position,
    Quote,
    Scope,
    Side,
    Signal,
)
from engine.travel.client import Moment
from engine.travel.messages import Place
from engine.view.questions import A, Bars, Chart, EquityCurve, EquityPoint, Question
from engine.view.snapshot import (
    AlertRow,
    BlockedRow,
    BreakerStatus,
    BrokerHealth,
    BrokerStatus,
    DeadManStatus,
    FeedStatus,
    FillRow,
    Health,
    JournalStatus,
    KilledPartRow,
    KillStatus,
    LimitRow,
    LiveGate,
    LogLine,
    PausedRow,
    PnlRow,
    PositionRow,
    QuoteRow,
    SignalRow,
    Snapshot,
    StoreStatus,
    StrategyRow,
)
from tui.app import Console
from tui.widgets.chart import MOST_BARS

TS = 1_643_639_407 * NANOS
"""2022-01-31 14:30:07 UTC."""

AAPL = Instrument("AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1))
SPY = Instrument("SPY", AssetClass.STOCK, Decimal("0.01"), Decimal(1))
BTC = Instrument("BTC-USD", AssetClass.CRYPTO, Decimal("0.1"), Decimal("0.0001"))
ETH = Instrument("ETH-USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.001"))


PANELS = ("quotes", "risk", "positions", "strategies", "orders", "signals", "log")
"""The panels of the desk, in the order in which tab goes through them."""


def to(panel: str) -> tuple[str, ...]:
    """The keys that go to a panel of the desk from wherever one is on it."""
    steps = PANELS.index(panel) - PANELS.index("strategies")
    return ("s", *["right" if steps > 0 else "left"] * abs(steps))


class ScriptedTravel:
    """A session of the past, at a moment of which `snapshot` is the picture; `steps` are those that
    were asked for."""

    inputs_read = 901
    is_under_way = False

    def __init__(self, snapshot: Snapshot) -> None:
        place = Place(1, 412, 901, snapshot.ts + NANOS, False, "", Raw())
        self._moment = Moment(place, snapshot)
        self.steps: list[tuple[int, int]] = []

    def latest(self) -> Moment:
        return self._moment

    def failure(self) -> None:
        return None

    def go_to(self, number: int) -> None: ...
    def go_to_time(self, ts: int) -> None: ...
    def stay(self) -> None: ...

    def step(self, count: int, level: int) -> None:
        self.steps.append((count, level))

    def ask(self, question: Question[A]) -> Future[A]:
        """An answer that never comes."""
        return Future()

    def close(self) -> None: ...


class ScriptedClient:
    """`snapshot`, `ended` and `answers` are what the console sees; `sent` and `asked` are what it
    sent and asked. A question without an answer among `answers` waits for one. `stands`, `says` and
    `is_owned` are what it is told of the command; `pressed` is what it asks for."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot
        self.ended: str | None = None
        self.is_owned = True
        self.stands = Standing(holder="me", mine=True, consoles=1)
        self.says: list[str] = []
        self.pressed: list[str] = []
        self.sent: list[Command] = []
        self.answers: dict[Question[Any], Any] = {Bars("AAPL", MOST_BARS): chart()}
        self.asked: list[tuple[Question[Any], Future[Any]]] = []

    def latest(self) -> Snapshot | None:
        return self.snapshot

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def ask(self, question: Question[A]) -> Future[A]:
        answer: Future[A] = Future()
        self.asked.append((question, answer))
        if question in self.answers:
            answer.set_result(self.answers[question])
        return answer

    def failure(self) -> str | None:
        return self.ended

    def owned(self) -> bool:
        return self.is_owned

    def standing(self) -> Standing:
        return self.stands

    def notes(self) -> list[str]:
        said, self.says = self.says, []
        return said

    def ask_for_command(self) -> None:
        self.pressed.append("ask")

    def keep_command(self) -> None:
        self.pressed.append("keep")

    def change(self, **fields: object) -> None:
        """The next snapshot: as the last, but for `fields`."""
        assert self.snapshot is not None
        before = self.snapshot
        after = replace(before, seq=before.seq + 1, wall_ts=before.wall_ts + NANOS // 10)
        self.snapshot = replace(after, **fields)


class Clock:
    """Monotonic seconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A running console, the engine behind it, its clock, and the keys."""

    def __init__(
        self, app: Console, client: ScriptedClient, clock: Clock, pilot: Pilot[None]
    ) -> None:
        self.app = app
        self.client = client
        self.clock = clock
        self.pilot = pilot

    async def press(self, *keys: str, seconds: float = 0.1) -> None:
        """Press keys with `seconds` between them, then draw."""
        for key in keys:
            self.clock.now += seconds
            await self.pilot.press(key)
        await self.draw()

    async def draw(self, seconds: float = 0.0) -> str:
        """Draw a frame `seconds` later; what is on the screen then."""
        self.clock.now += seconds
        self.app.tick()
        await self.pilot.pause()
        return self.screen

    @property
    def screen(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    @property
    def sent(self) -> list[Command]:
        return self.client.sent

    @property
    def sent_but_life(self) -> list[Command]:
        """Without the signs of life."""
        return [command for command in self.sent if not isinstance(command, SignOfLife)]


@asynccontextmanager
async def desk(
    snapshot: Snapshot | None, size: tuple[int, int] = (120, 40), exports: Path | None = None
) -> AsyncIterator[Desk]:
    """A console on `snapshot` in a terminal of `size`, long enough open to take answers."""
    client, clock = ScriptedClient(snapshot), Clock()
    app = Console(client, clock=clock)
    app.exports = exports
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Desk(app, client, clock, pilot)


def quote(instrument: Instrument, bid: float, ask: float, age: int, change: float) -> QuoteRow:
    tick = Quote(instrument.symbol, TS - age * NANOS, bid, ask, 120.0, 80.0)
    return QuoteRow(instrument.symbol, tick, tick.mid, change, 1_234_567.0, tick.ts, stale=False)


def order(
    number: int,
    symbol: str,
    side: Side,
    quantity: str,
    state: OrderState,
    price: str,
    *,
    type: OrderType = OrderType.LIMIT,
    filled: str = "0",
    purpose: OrderPurpose = OrderPurpose.ENTRY,
    reason: str = "",
) -> Order:
    ts = TS - (20 - number) * 60 * NANOS
    done = Decimal(filled)
    return Order(
        client_order_id=f"sma-{symbol[:3].lower()}-{number:04d}",
        strategy="sma_crossover",
        symbol=symbol,
        side=side,
        type=type,
        quantity=Decimal(quantity),
        purpose=purpose,
        created_ts=ts,
        updated_ts=ts + 2 * NANOS,
        reference_price=Decimal(price),
        limit_price=Decimal(price) if type is OrderType.LIMIT else None,
        stop_price=Decimal(price) if type is OrderType.STOP else None,
        state=state,
        filled=done,
        avg_price=Decimal(price) if done else None,
        reason=reason,
    )


def position(
    instrument: Instrument, quantity: str, cost: str, mark: str | None, stop: str, realised: str
) -> PositionRow:
    held = Position(
        "sma_crossover",
        instrument.symbol,
        Decimal(quantity),
        Decimal(cost),
        Decimal(realised),
        Decimal("1.25"),
        TS - 540 * NANOS,
        Decimal(stop),
    )
    gain = None if mark is None else held.unrealised_pnl(Decimal(mark))
    return PositionRow(held, None if mark is None else Decimal(mark), "mid", gain, held.stop_price)


def signal(
    number: int, symbol: str, side: Side, price: float, outcome: str, note: str
) -> SignalRow:
    fast, slow = price * 1.0004, price * 0.9998
    made = Signal(
        "sma_crossover",
        symbol,
        side,
        TS - (20 - number) * 60 * NANOS,
        price,
        indicators={"fast": fast, "slow": slow},
    )
    return SignalRow(number, made, outcome, note)


INSTRUMENTS = {instrument.symbol: instrument for instrument in (AAPL, SPY, BTC, ETH)}
QUOTES = (
    quote(AAPL, 170.12, 170.13, 0, 0.84),
    quote(SPY, 441.95, 441.97, 1, -0.31),
    quote(BTC, 37_912.1, 37_914.6, 0, 2.115),
    quote(ETH, 2_588.04, 2_588.61, 3, -1.02),
)

ORDERS = (
    order(1, "AAPL", Side.BUY, "29", OrderState.FILLED, "169.98", filled="29"),
    order(2, "SPY", Side.BUY, "11", OrderState.REJECTED, "442.10", reason="no buying power"),
    order(3, "BTC-USD", Side.BUY, "0.1310", OrderState.FILLED, "37601.5", filled="0.1310"),
    order(
        4,
        "AAPL",
        Side.SELL,
        "29",
        OrderState.ACCEPTED,
        "166.58",
        type=OrderType.STOP,
        purpose=OrderPurpose.PROTECTIVE_STOP,
    ),
    order(5, "ETH-USD", Side.BUY, "1.925", OrderState.PARTIALLY_FILLED, "2588", filled="0.75"),
    order(6, "SPY", Side.BUY, "11", OrderState.IN_DOUBT, "441.90", reason="no answer in 5 s"),
    order(7, "BTC-USD", Side.SELL, "0.0310", OrderState.PENDING_CANCEL, "38200"),
    order(8, "SPY", Side.SELL, "11", OrderState.CANCELED, "443.00", reason="by the operator"),
)


def fill(number: int, of: Order, quantity: str, *, is_reversed: bool = False) -> FillRow:
    made = Fill(
        f"x-{5511 + number}",
        of.client_order_id,
        of.symbol,
        of.side,
        Decimal(quantity),
        of.limit_price or of.reference_price,
        Decimal(quantity) * of.reference_price / 1000,
        of.updated_ts - (9 - number) * NANOS // 10,
        of.strategy,
        f"b-7712{number:02}",
        venue="paper",
    )
    return FillRow(made, is_reversed)


FILLS = (
    fill(1, ORDERS[0], "29"),
    fill(2, ORDERS[2], "0.1"),
    fill(3, ORDERS[2], "0.031"),
    fill(4, ORDERS[4], "0.75"),
    fill(5, ORDERS[4], "0.25", is_reversed=True),
)

POSITIONS = (
    position(AAPL, "29", "4929.42", "170.125", "166.58", "0"),
    position(BTC, "0.1310", "4925.7965", "37913.35", "36849.4", "112.48"),
    position(ETH, "0.75", "1952.25", None, "2551.1", "-31.07"),
)

LIMITS = (
    LimitRow("account", "daily_loss", "", 212.4, 1000.0, "$", "max_daily_loss"),
    LimitRow("account", "daily_loss_pct", "", 0.21, 5.0, "%"),
    LimitRow("account", "exposure", "", 11.8, 80.0, "%"),
    LimitRow("account", "drawdown", "", None, 15.0, "%"),
    LimitRow("strategy", "trades_per_day", "sma_crossover", 16.0, 20.0, ""),
    LimitRow("strategy", "consecutive_losses", "sma_crossover", 1.0, 3.0, ""),
    LimitRow("position", "position_size", "AAPL", 4.92, 5.0, "%"),
    LimitRow("position", "position_size", "BTC-USD", 5.0, 5.0, "%"),
    LimitRow("account", "venue_buying_power", "paper", None, nan, "$"),
    LimitRow("strategy", "signal_strength", "sma_crossover", 0.75, 0.7, "", least=True, past=True),
    LimitRow("position", "price_collar", "SPY", 0.02, 5.0, "%", past=True),
)

STRATEGIES = (
    StrategyRow(
        "sma_crossover",
        "on",
        "",
        ("AAPL", "SPY", "BTC-USD", "ETH-USD"),
        "fast=10 slow=30",
        31,
        31,
        16,
        1,
        Decimal("384.21"),
        Side.BUY,
    ),
    StrategyRow(
        "breakout",
        "paused",
        "3 consecutive losses",
        ("BTC-USD",),
        "n=55",
        55,
        55,
        3,
        3,
        Decimal("-171.81"),
        Side.SELL,
    ),
    StrategyRow(
        "mean_reversion", "off", "", ("SPY",), "n=20 z=2.0", 12, 20, 0, 0, Decimal(0), None
    ),
)

SIGNALS = (
    signal(1, "AAPL", Side.BUY, 169.98, "order", ""),
    signal(3, "BTC-USD", Side.BUY, 37_601.5, "order", ""),
    signal(5, "ETH-USD", Side.BUY, 2_588.0, "order", ""),
    signal(6, "SPY", Side.BUY, 441.9, "order", ""),
    signal(9, "BTC-USD", Side.BUY, 37_888.0, "blocked", "position_size 5.4 % over 5 %"),
)

LOG = tuple(
    LogLine(number, TS - (12 - number) * 30 * NANOS, level, text)
    for number, (level, text) in enumerate(
        (
            ("info", "session started, paper mode, account main"),
            ("info", "restored 3 positions, 8 orders"),
            ("info", "warm-up complete: sma_crossover on 4 symbols"),
            ("info", "signal BUY BTC-USD at 37601.5, fast 37616.5 over slow 37594.0"),
            ("info", "order sma-btc-0003 BUY 0.1310 BTC-USD filled at 37601.5"),
            ("warning", "order sma-spy-0002 BUY 11 SPY rejected: no buying power"),
            ("info", "order sma-eth-0005 BUY 1.925 ETH-USD 0.75 filled at 2588"),
            ("warning", "order sma-spy-0006 BUY 11 SPY in doubt: no answer in 5 s"),
            ("error", "strategy breakout paused: 3 consecutive losses"),
            ("info", "signal BUY BTC-USD blocked: position_size 5.4 % over 5 %"),
        ),
        1,
    )
)


def bar(minute: int) -> Bar:
    """The bar of AAPL that closed `minute` minutes before 14:30."""
    ends = (minute, minute + 1)
    wave = [169.9 + 1.1 * sin(at / 17) + 0.3 * sin(at / 2.3) - at / 300 for at in ends]
    close, open = (round(price, 2) for price in wave)
    high, low = max(open, close) + 0.02 * (minute % 7), min(open, close) - 0.02 * (minute % 5)
    volume = 900.0 + 55 * (minute * 7 % 23)
    return Bar("AAPL", TS - 7 * NANOS - minute * MINUTE, open, high, low, close, volume)


def done(number: int, side: Side, price: str, minutes: int) -> Fill:
    ts = TS - minutes * MINUTE
    return Fill(f"x{number}", "o", "AAPL", side, Decimal(29), Decimal(price), Decimal(0), ts)


def chart() -> Chart:
    """Four hours of AAPL without ten minutes of them, and what was done in them."""
    bars = tuple(bar(minute) for minute in range(240, -1, -1) if not 20 <= minute < 30)
    sides = Side.BUY, Side.SELL, Side.BUY
    fills = (
        done(1, Side.BUY, "170.29", 39),
        done(2, Side.SELL, "170.60", 17),
        done(3, Side.BUY, "169.98", 8),
    )
    signals = [
        replace(
            SIGNALS[0], seq=at, signal=replace(SIGNALS[0].signal, side=side, ts=TS - at * MINUTE)
        )
        for at, side in zip((40, 18, 9, 4), (*sides, Side.SELL), strict=True)
    ]
    signals[-1] = replace(signals[-1], outcome="blocked")
    return Chart("AAPL", bars, fills, tuple(signals))


GATE = (
    LiveGate("MODE=live", False, "set MODE=live and start again"),
    LiveGate("ALLOW_LIVE_TRADING=true", True, "set ALLOW_LIVE_TRADING=true and start again"),
    LiveGate("a live broker", False, "set a real account's keys and its symbols"),
    LiveGate("no alert that holds live back", True, "read and acknowledge recovery"),
    LiveGate(
        "a confirmation in this session",
        False,
        "look at account, limits, orders; type LIVE",
    ),
)
CONFIRMED = tuple(replace(row, met=True) for row in GATE)
UNCONFIRMED = (*CONFIRMED[:-1], GATE[-1])

ALERTS = (
    AlertRow(
        "circuit-breaker", "error", "alert circuit-breaker: it was tripped: 5 in a row",
        TS - 90 * NANOS, TS - 90 * NANOS, 1, lasts=True, holds=True,
    ),
    AlertRow(
        "rejected SPY", "warning", "limit entry rejected: buy 11 SPY: no buying power",
        TS - 3_600 * NANOS, TS - 300 * NANOS, 12, lasts=False, holds=False,
    ),
    AlertRow(
        "broker paper", "error", "broker paper not connected: no answer",
        TS - 900 * NANOS, TS - 900 * NANOS, 1, lasts=True, holds=False, acknowledged_by="ann",
    ),
)  # fmt: skip

ARMED = KillStatus(False, "armed", "", "", 0, 0, durable=True)
CANCELLING = KillStatus(True, "cancelling", "console", "kill key", TS, 3, durable=True)
KILLED = KillStatus(True, "complete", "console", "kill key", TS, 0, durable=True)


PNL = (
    PnlRow("sma_crossover", Decimal("81.41"), Decimal("44.90"), Decimal("3.75"), 3, 16),
    PnlRow("mean_reversion", Decimal(0), Decimal(0), Decimal(0), 0, 0),
    PnlRow("breakout", Decimal("-169.31"), Decimal(0), Decimal("2.50"), 0, 3),
    PnlRow("retired", Decimal("1250.00"), None, Decimal("40.00"), 1, 0),
)

BLOCKED = (
    BlockedRow("position_size", 4, 109, SIGNALS[-1].signal, SIGNALS[-1].note),
    BlockedRow("signal_strength", 11, 97, SIGNALS[2].signal, "signal strength 0.41 under 0.7"),
)

CURVE = EquityCurve(
    "USD",
    tuple(
        EquityPoint(
            TS - (240 - minute) * 60 * NANOS,
            Decimal(100_000 + minute * 2 + (minute % 60 - 30) ** 2) + Decimal("0.25"),
            Decimal(88_000),
        )
        for minute in range(240)
    ),
)

HEALTH = Health(
    0.4,
    0,
    0,
    12_345,
    TS - 7_265 * NANOS,
    4242,
    "desk-1",
    2.1,
    318.0,
    0,
    None,
    JournalStatus("20220131T122902.000000-4242.journal", 12.3, 1024, ""),
    (BrokerHealth("paper", 41, 0.2, 1.9),),
    "5e1f00c0ffee",
)


def paper() -> Snapshot:
    """A normal morning in paper mode, on a replay."""
    return Snapshot(
        seq=100,
        ts=TS,
        wall_ts=TS,
        mode=Mode.PAPER,
        account="main",
        currency="USD",
        equity=Decimal("100412.55"),
        cash=Decimal("88540.07"),
        day_pnl=Decimal("412.55"),
        kill=ARMED,
        feed=FeedStatus("replay", "connected", "", 10.0, recorded=True, since_ts=TS - 420 * NANOS),
        brokers=(BrokerStatus("paper", True, "", False, TS - 3_600 * NANOS),),
        store=StoreStatus(True, ""),
        quotes=QUOTES,
        instruments=INSTRUMENTS,
        signals=SIGNALS,
        orders=ORDERS,
        positions=POSITIONS,
        limits=LIMITS,
        strategies=STRATEGIES,
        log=LOG,
        live_gate=GATE,
        health=HEALTH,
        breaker=BreakerStatus(False, "", 0, 5),
        settled_cash=Decimal("83612.02"),
        pnl=PNL,
        blocked=BLOCKED,
        blocked_since_ts=TS - 3600 * NANOS,
        fills=FILLS,
    )


def alerting() -> Snapshot:
    """Two alerts that nobody has read, and one that somebody has."""
    return replace(paper(), alerts=ALERTS)


def live() -> Snapshot:
    return replace(
        paper(),
        mode=Mode.LIVE,
        account="U1234567",
        feed=FeedStatus("alpaca", "connected", "", 1.0, recorded=False),
        brokers=(BrokerStatus("alpaca", True, ""),),
        live_gate=CONFIRMED,
    )


def killed() -> Snapshot:
    return replace(paper(), kill=KILLED, day_pnl=Decimal("-1012.90"), equity=Decimal("98987.10"))


def cancelling() -> Snapshot:
    return replace(paper(), kill=CANCELLING)


def stale() -> Snapshot:
    """Two symbols without data for minutes, the broker gone."""
    old = tuple(replace(row, ts=TS - 300 * NANOS, stale=True) for row in QUOTES[2:])
    return replace(
        paper(),
        quotes=QUOTES[:2] + old,
        brokers=(BrokerStatus("paper", False, "connection reset"),),
    )


def unwell() -> Snapshot:
    """A broker whose requests are used up, another that is gone, and a disk that is full."""
    ill = replace(
        HEALTH,
        lateness_ms=84.2,
        worst_ms=912.0,
        queue=2_431,
        unwritten=2_400,
        conflated=118,
        clock_offset_ms=-2_350.0,
        journal=JournalStatus("x.journal", 3.0, 1024, "No space left on device"),
        brokers=(
            BrokerHealth("alpaca", 212, 1_240.5, 4_980.2, 12.0, 120.0, 0.0, 3.4),
            BrokerHealth("kraken", 3, 40.0, 51.0, 0.0, 15.0, 12.0, -1_500.0),
        ),
    )
    return replace(
        live(),
        store=StoreStatus(False, "disk full"),
        brokers=(
            BrokerStatus("alpaca", True, "", True, TS - 60 * NANOS, 3),
            BrokerStatus("kraken", False, "its stream has ended", True, TS - 9 * NANOS, 1),
        ),
        feed=FeedStatus("live", "degraded", "kraken: silent", 1.0, False, TS - 9 * NANOS, 2),
        health=ill,
    )


def unconfirmed() -> Snapshot:
    """Nothing stands in the way of live trading but a person's word."""
    return replace(live(), live_gate=UNCONFIRMED)


def breaker_tripped() -> Snapshot:
    return replace(paper(), breaker=BreakerStatus(True, "5 failures in a row", 5, 5))


def held_back() -> Snapshot:
    """A dry run whose circuit breaker is tripped, with a paused symbol and nobody there."""
    reason = "5 failures in a row, the last: no buying power"
    return replace(
        paper(),
        dry_run=True,
        breaker=BreakerStatus(True, reason, 5, 5),
        dead_man=DeadManStatus(12.0, 60.0),
        paused=(PausedRow("SPY", "the venue rejected its limit entry: halted", 0),),
    )


def other_cash() -> Snapshot:
    """A broker that has less cash than the books."""
    cash = Decimal("61234.56")
    less = Decimal("-12.34")
    broker = BrokerStatus("alpaca", True, "", False, TS - 60 * NANOS, 0, "USD", cash, less)
    return replace(paper(), brokers=(broker,))


def flattening() -> Snapshot:
    action = KillAction.FLATTEN
    kill = replace(KILLED, phase="flattening", action=action, open_positions=3)
    return replace(paper(), kill=kill)


def parts_killed() -> Snapshot:
    """A strategy whose orders are still being cancelled, and a symbol that is done."""
    strategy = KilledPart(
        Part(Scope.STRATEGY, "sma_crossover"), "console", "chosen: cancel", TS, KillAction.CANCEL
    )
    symbol = KilledPart(Part(Scope.SYMBOL, "SPY"), "tradebot kill", "", TS, KillAction.CANCEL)
    return replace(
        paper(),
        strategies=(replace(STRATEGIES[0], state="killed"), *STRATEGIES[1:]),
        killed_parts=(KilledPartRow(strategy, 2, 0), KilledPartRow(symbol, 0, 0)),
    )


def hostile() -> Snapshot:
    """Every text from outside tries to move the cursor, to be markup, to turn the line around."""
    evil = "[red]x[/] \x1b[2J\x1b]0;t\x07\u202egnp.\u200b\x9b31m\r\n[@click=app.quit]q"
    symbol = replace(AAPL, symbol=evil)
    return replace(
        paper(),
        account=evil,
        currency=evil,
        kill=replace(KILLED, source=evil, reason=evil),
        feed=FeedStatus(evil, evil, evil, 1.0, recorded=True),
        brokers=(BrokerStatus(evil, False, evil),),
        store=StoreStatus(False, evil),
        quotes=(replace(QUOTES[0], symbol=evil),),
        instruments={evil: symbol},
        signals=(replace(SIGNALS[0], note=evil, outcome=evil),),
        orders=tuple(
            replace(o, symbol=evil, strategy=evil, reason=evil, client_order_id=evil + str(i))
            for i, o in enumerate(ORDERS)
        ),
        positions=(
            replace(
                POSITIONS[0],
                position=replace(POSITIONS[0].position, symbol=evil, strategy=evil),
                mark_source=evil,
            ),
        ),
        limits=(replace(LIMITS[0], name=evil, scope=evil),),
        strategies=(replace(STRATEGIES[0], name=evil, note=evil, parameters=evil, state=evil),),
        log=(LogLine(1, TS, evil, evil),),
        live_gate=(LiveGate(evil, False, evil),),
        breaker=BreakerStatus(True, evil, 5, 5),
        paused=(PausedRow(evil, evil, 0),),
        alerts=(AlertRow(evil, evil, evil, TS, TS, 1, lasts=True, holds=True),),
        killed_parts=(
            KilledPartRow(
                KilledPart(Part(Scope.SYMBOL, evil), evil, evil, TS, KillAction.CANCEL), 1, 0
            ),
        ),
    )


def empty() -> Snapshot:
    """The first snapshot of a session: nothing is known yet."""
    return replace(
        paper(),
        ts=0,
        equity=None,
        cash=None,
        day_pnl=None,
        settled_cash=None,
        feed=FeedStatus("replay", "connecting", "", 1.0, recorded=True),
        quotes=(QuoteRow(AAPL.symbol, None, None, None, None, 0, stale=True),),
        signals=(),
        orders=(),
        fills=(),
        positions=(),
        limits=tuple(replace(row, used=None) for row in LIMITS),
        strategies=(replace(STRATEGIES[0], warm=0, entries_today=0, pnl=None, last_signal=None),),
        log=(),
    )
