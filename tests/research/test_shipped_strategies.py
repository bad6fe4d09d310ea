"""Every strategy that is shipped trades the samples, and its rule explains each trade.

The rules are written down a second time here, over whole arrays and with the functions of TA-Lib.
"""

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import talib
from click.testing import CliRunner

from engine.build import machine_config
from engine.calendars import session_tables
from engine.cli.main import main
from engine.core.events import (
    BarClosed,
    EngineStarted,
    Event,
    Record,
    SignalGenerated,
    ToggleStrategy,
)
from engine.core.machine import Machine
from engine.core.model import DAY, Side, utc
from engine.core.strategy import make_parameters
from engine.feeds.recordings import Recordings
from engine.ops.settings import Settings
from engine.plugins import find_strategies

SYMBOL = "ETH-USD"
Columns = dict[str, np.ndarray]
Conditions = tuple[np.ndarray, np.ndarray]
"""Of each bar: whether the rule buys after it, and whether it sells."""


@cache
def recorded(symbol: str) -> Columns:
    bars = Recordings().bars(symbol)
    columns = {
        name: np.array([getattr(bar, name) for bar in bars])
        for name in ("ts", "high", "low", "close", "volume")
    }
    # No sample trades over midnight in UTC but those that never close: it is a session's end.
    return columns | {"day": columns["ts"] - 1 - (columns["ts"] - 1) % DAY}


def crossed_up(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    above = one > other
    return above & np.append(False, one[:-1] <= other[:-1])


def usual_volume(bars: Columns, length: int) -> np.ndarray:
    return np.append(np.nan, talib.SMA(bars["volume"], length)[:-1])


def sma_crossover(bars: Columns) -> Conditions:
    fast, slow = talib.SMA(bars["close"], 10), talib.SMA(bars["close"], 30)
    fast, slow = fast.round(9), slow.round(9)
    return crossed_up(fast, slow), crossed_up(slow, fast)


def rsi_mean_reversion(bars: Columns) -> Conditions:
    rsi = talib.RSI(bars["close"], 14)
    return rsi < 30, rsi > 70


def vwap(bars: Columns) -> Conditions:
    day, close, volume = bars["day"], bars["close"], bars["volume"]
    price = (bars["high"] + bars["low"] + close) / 3
    average = np.full(len(close), np.nan)
    for each in np.unique(day)[1:]:
        paid, traded = (price * volume)[day == each], volume[day == each]
        average[day == each] = paid.cumsum() / traded.cumsum()
    return close < average * 0.996, close > average


def bollinger_breakout(bars: Columns) -> Conditions:
    close = bars["close"]
    upper, middle, _ = (line.round(9) for line in talib.BBANDS(close, 20, 2, 2))
    loud = bars["volume"] > 1.5 * usual_volume(bars, 20)
    return (close > upper) & loud, close < middle


def macd_crossover(bars: Columns) -> Conditions:
    close = bars["close"]
    macd, signal, _ = talib.MACD(close, 12, 26, 9)
    return crossed_up(macd, signal) & (close > talib.EMA(close, 100)), macd < signal


def stochastic_oscillator(bars: Columns) -> Conditions:
    top, bottom = talib.MAX(bars["high"], 14), talib.MIN(bars["low"], 14)
    stands = top == bottom  # in the middle of nothing; TA-Lib's own STOCH has it at the bottom
    place = np.where(stands, 50, 100 * (bars["close"] - bottom) / np.where(stands, 1, top - bottom))
    k = talib.SMA(place, 3).round(9)
    d = talib.SMA(talib.SMA(place, 3), 3).round(9)
    return crossed_up(k, d) & (d < 20), crossed_up(d, k) & (d > 80)


def crypto_momentum(bars: Columns) -> Conditions:
    change = talib.ROC(bars["close"], 60)
    return (change > 1) & (bars["volume"] > 1.5 * usual_volume(bars, 60)), change < 0


def grid_trading(bars: Columns) -> Conditions:
    lines = np.log(bars["close"]) / np.log(1.005)
    buys, sells = np.zeros(len(lines), bool), np.zeros(len(lines), bool)
    last = np.inf if lines[0] < np.ceil(lines[0]) else lines[0]
    for number, (before, now) in enumerate(pairwise(lines), 1):
        down = [line for line in range(int(now), int(before) + 1) if now <= line < before]
        up = [line for line in range(int(before), int(now) + 1) if before < line <= now]
        for line in (*reversed(down), *up):
            if line != last:
                buys[number] |= line < before and last < np.inf
                sells[number] |= line > before and last < np.inf
                last = line
    return buys, sells


RULES: dict[str, Callable[[Columns], Conditions]] = {
    "sma_crossover": sma_crossover,
    "rsi_mean_reversion": rsi_mean_reversion,
    "vwap": vwap,
    "bollinger_breakout": bollinger_breakout,
    "macd_crossover": macd_crossover,
    "stochastic_oscillator": stochastic_oscillator,
    "crypto_momentum": crypto_momentum,
    "grid_trading": grid_trading,
}


def test_every_strategy_has_its_rule_here() -> None:
    assert RULES.keys() == find_strategies().kinds.keys()


@pytest.mark.parametrize("name", RULES)
def test_its_rule_explains_every_trade(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the market, at once: an entry or exit fills in the bar after the one that decided it."""
    monkeypatch.setenv("ENTRY_ORDER_TYPE", "market")
    monkeypatch.setenv("MAX_VOLUME_SHARE_PCT", "100")
    monkeypatch.setenv("CRYPTO_MAX_POSITION_SIZE_PCT", "0.1")
    monkeypatch.setenv("CRYPTO_STOP_LOSS_PCT", "50")
    run = CliRunner().invoke(main, ["backtest", "-s", name, "--symbol", SYMBOL, "--json"])
    assert run.exit_code == 0, run.stderr
    trips = json.loads(run.stdout)["round_trips"]
    assert len(trips) > 1

    bars = recorded(SYMBOL)
    buys, sells = RULES[name](bars)
    closes = [f"{utc(ts):%Y-%m-%dT%H:%M:%SZ}" for ts in bars["ts"].tolist()]
    for trip in trips:
        entered, left = closes.index(trip["entry_time"]), closes.index(trip["exit_time"])
        assert buys[entered - 1], trip
        assert sells[left - 1], trip
        assert not sells[entered : left - 1].any(), trip


def said(name: str, symbol: str) -> list[tuple[int, Side]]:
    """The signals of the machine, with the default settings and parameters."""
    recordings, kinds = Recordings(), find_strategies().kinds
    instrument = recordings.instrument(symbol)
    tables = session_tables([instrument], *recordings.span(symbol))
    config = machine_config(Settings(), [instrument], [name], tables)
    machine = Machine(config, kinds)
    inputs: list[Event] = [
        ToggleStrategy(strategy=name, enabled=True, author="test"),
        EngineStarted(),
        *(BarClosed(bar, ts=bar.ts) for bar in recordings.bars(symbol)),
    ]
    facts = [e.fact for i in inputs for e in machine.process(i) if isinstance(e, Record)]
    signals = [fact.signal for fact in facts if isinstance(fact, SignalGenerated)]
    return [(signal.ts, signal.side) for signal in signals]


@pytest.mark.parametrize("symbol", Recordings().symbols)
@pytest.mark.parametrize("name", RULES)
def test_its_rule_explains_every_signal_and_every_silence(name: str, symbol: str) -> None:
    """Each bar after which the rule buys or sells has a signal, unless it is the last one's side
    again, and no other bar has one."""
    bars = recorded(symbol)
    buys, sells = RULES[name](bars)
    kind = find_strategies().kinds[name]
    required = kind(symbol, make_parameters(kind, {})).required_history()
    expected: list[tuple[int, Side]] = []
    for number in range(required - 1, len(buys)):
        side = Side.BUY if buys[number] else Side.SELL if sells[number] else None
        if side and (not expected or expected[-1][1] is not side):
            expected.append((int(bars["ts"][number]), side))
    assert said(name, symbol) == expected
    quiet = name == "crypto_momentum" and symbol == "SPY"  # it is for coins
    assert ({side for _, side in expected} == {Side.BUY, Side.SELL}) is not quiet


@pytest.mark.parametrize("symbol", Recordings().symbols)
@pytest.mark.parametrize("name", RULES)
def test_it_trades_the_samples_as_it_is(name: str, symbol: str) -> None:
    """With the default settings and parameters, from `tradebot backtest`."""
    run = CliRunner().invoke(main, ["backtest", "-s", name, "--symbol", symbol, "--json"])
    assert run.exit_code == 0, run.stderr
    quiet = name == "crypto_momentum" and symbol == "SPY"
    assert bool(json.loads(run.stdout)["round_trips"]) is not quiet
