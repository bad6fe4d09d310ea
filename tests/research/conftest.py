"""Results of backtests, made by hand."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core.model import MINUTE, NANOS, AssetClass, Fill, Instrument, RoundTrip, Side
from engine.research.result import BacktestResult

JANUARY = 1_640_995_200 * NANOS  # 2022-01-01T00:00Z


@pytest.fixture
def make_trip() -> Callable[..., RoundTrip]:
    def make(pnl: str) -> RoundTrip:
        return RoundTrip(
            strategy="sma_crossover",
            symbol="BTC-PERP",
            side=Side.BUY,
            quantity=Decimal("0.1"),
            entry_price=Decimal(46000),
            exit_price=Decimal(46000) + Decimal(pnl) * 10,
            entry_ts=JANUARY,
            exit_ts=JANUARY + MINUTE,
            pnl=Decimal(pnl),
            commission=Decimal("9.20"),
        )

    return make


@pytest.fixture
def make_fill() -> Callable[..., Fill]:
    def make(side: Side, quantity: str, symbol: str = "BTC-PERP") -> Fill:
        return Fill(
            execution_id="x1",
            client_order_id="o1",
            symbol=symbol,
            side=side,
            quantity=Decimal(quantity),
            price=Decimal(46000),
            commission=Decimal("4.60"),
            ts=JANUARY,
            strategy="sma_crossover",
        )

    return make


@pytest.fixture
def make_result() -> Callable[..., BacktestResult]:
    """A result with the given fields; without any, 31 days of hours that rise and fall."""

    def make(**fields: Any) -> BacktestResult:
        hours = np.arange(1, 31 * 24 + 1)
        equity = fields.setdefault("equity", 100_000 + 1000 * np.sin(hours / 60) + hours)
        times = fields.setdefault("times", JANUARY + 60 * MINUTE * np.arange(1, len(equity) + 1))
        given = {
            "strategy": "sma_crossover",
            "parameters": {"fast": 10, "slow": 30},
            "instruments": (
                Instrument("BTC-PERP", AssetClass.CRYPTO, Decimal(1), Decimal("0.0001")),
            ),
            "start": JANUARY,
            "end": int(times[-1]),
            "bars": len(times),
            "interval": 60 * MINUTE,
            "trading_zone": "UTC",
            "starting_equity": 100_000.0,
            "exposure": np.full(len(equity), 0.05),
            "round_trips": (),
            "fills": (),
            "commission": Decimal("123.45"),
            "slippage": Decimal("6.70"),
            "assumptions": {"COMMISSION_PCT": "0.1", "orders fill": "at the next bar's open"},
            "stops": (),
            "blocked": {},
            "refused": 0,
            "gaps": 0,
            "state_hash": "ab" * 32,
            "seconds": 1.5,
        }
        return BacktestResult(**(given | fields))

    return make
