"""Reports, as `tradebot backtest`, `search` and `walk-forward` write them with `--keep`."""

import json
from pathlib import Path

OLDER, NEWER = (f"20220131T{time}.000000Z-sma_crossover.json" for time in ("101500", "143000"))


SEARCH, WALK_FORWARD = (
    f"20220131T{time}.000000Z-sma_crossover.json" for time in ("160000", "170000")
)


def write(
    folder: Path,
    name: str,
    fast: int,
    total_return: float,
    sharpe: float | None,
    **more: object,
) -> None:
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
        **more,
    }
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))


def write_two(folder: Path) -> None:
    write(folder, OLDER, 10, 0.0123, 1.21)
    write(folder, NEWER, 5, 0.0198, None)


def outcome(total_return: float) -> dict[str, object]:
    return {
        "total_return": total_return,
        "sharpe": 40 * total_return,
        "sortino": None,
        "drawdown": 0.03 - total_return / 2,
        "round_trips": 41,
        "win_rate": 0.39,
        "profit_factor": 1.31,
    }


def write_search(folder: Path) -> None:
    pairs = [(20, 60), (10, 30), (5, 20), (10, 60), (5, 30), (20, 30), (5, 60), (10, 20)]
    trials = [
        {"parameters": {"fast": fast, "slow": slow}, "outcome": outcome(0.024 - at * 0.006)}
        for at, (fast, slow) in enumerate(pairs)
    ]
    write(folder, SEARCH, 20, 0.024, 0.96, kind="search", trials=trials)


def write_walk_forward(folder: Path) -> None:
    windows = [
        {
            "searched_from": f"2018-04-0{at}T00:00:00Z",
            "start": f"2018-04-0{at + 2}T00:00:00Z",
            "end": f"2018-04-0{at + 3}T00:00:00Z",
            "parameters": {"fast": 5 * at, "slow": 30},
            "in_sample": outcome(0.02),
            "out_of_sample": outcome(0.006 * at - 0.008),
        }
        for at in (1, 2, 3, 4)
    ]
    write(
        folder,
        WALK_FORWARD,
        5,
        0.0281,
        1.02,
        kind="walk-forward",
        efficiency=0.62,
        windows=windows,
    )
