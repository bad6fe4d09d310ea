"""Every strategy that is shipped trades the samples, and its rule explains each trade.

The rules are written down a second time here, over whole arrays and with the functions of TA-Lib.
"""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import talib
from click.testing import CliRunner

from engine.cli import main
from engine.feeds.recordings import SAMPLES
from engine.plugins import find_strategies

SYMBOL = "ETH-USD"
Columns = dict[str, np.ndarray]
Conditions = tuple[np.ndarray, np.ndarray]
"""Of each bar: whether the rule buys after it, and whether it sells."""


def recorded() -> Columns:
    table = pd.read_csv(SAMPLES / f"{SYMBOL}-2018-bars-1m.csv.gz")
    prices = {name: table[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")}
    start = pd.to_datetime(table["timestamp"])
    ends = (start + pd.Timedelta(minutes=1)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return prices | {"day": start.dt.day.to_numpy(), "close_time": ends.to_numpy()}


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
    return close < average * 0.995, close > average


def bollinger_breakout(bars: Columns) -> Conditions:
    close = bars["close"]
    upper, middle, _ = talib.BBANDS(close, 20, 2, 2)
    loud = bars["volume"] > 1.5 * usual_volume(bars, 20)
    return (close > upper) & loud, close < middle


def macd_crossover(bars: Columns) -> Conditions:
    close = bars["close"]
    macd, signal, _ = talib.MACD(close, 12, 26, 9)
    return crossed_up(macd, signal) & (close > talib.EMA(close, 100)), macd < signal


def stochastic_oscillator(bars: Columns) -> Conditions:
    k, d = talib.STOCH(bars["high"], bars["low"], bars["close"], 14, 3, slowd_period=3)
    k, d = k.round(9), d.round(9)
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

    bars = recorded()
    buys, sells = RULES[name](bars)
    closes = list(bars["close_time"])
    for trip in trips:
        entered, left = closes.index(trip["entry_time"]), closes.index(trip["exit_time"])
        assert buys[entered - 1], trip
        assert sells[left - 1], trip
        assert not sells[entered : left - 1].any(), trip
