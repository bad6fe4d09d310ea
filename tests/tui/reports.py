"""Reports of backtests, as `tradebot backtest --keep` writes them."""

import json
from pathlib import Path

OLDER, NEWER = (f"20220131T{time}.000000Z-sma_crossover.json" for time in ("101500", "143000"))


def write(folder: Path, name: str, fast: int, total_return: float, sharpe: float | None) -> None:
    """A report of a run with these figures."""
    curve = [100_000 * (1 + total_return * at / 30 + 0.004 * (at * 7 % 11 - 5)) for at in range(31)]
    document = {
        "strategy": "sma_crossover",
        "parameters": {"fast": fast, "slow": 30},
        "symbols": ["BTC-USD", "ETH-USD"],
        "currency": "USD",
        "start": "2018-04-01T00:00:00Z",
        "end": "2018-04-05T00:00:00Z",
        "bars": 11_520,
        "starting_equity": 100_000.0,
        "statistics": {
            "final_equity": 100_000 * (1 + total_return),
            "total_return": total_return,
            "cagr": None,
            "volatility": 0.31,
            "sharpe": sharpe,
            "sortino": 1.9,
            "drawdown": {"depth": 0.0412, "longest_seconds": 3600.0},
            "exposure_time": 0.44,
            "fills": 84,
            "round_trips": {
                "count": 41,
                "win_rate": 0.39,
                "profit_factor": 1.31,
                "expectancy": 52.4,
            },
            "commission": "412.10",
            "slippage": "96.02",
        },
        "stops": [],
        "equity_curve": [{"time": "2018-04-01T00:00:00Z", "equity": equity} for equity in curve],
    }
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))


def write_two(folder: Path) -> None:
    write(folder, OLDER, 10, 0.0123, 1.21)
    write(folder, NEWER, 5, 0.0198, None)
