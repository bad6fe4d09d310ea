"""What the engines of the process ring trade on: an account of its own, and a market to trade."""

import asyncio
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, NullPool, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from engine.core.model import MINUTE, nanos, utc
from engine.ops.settings import Settings, env_text

STRATEGIES = Path(__file__).parent / "strategies"
SYMBOLS = ("AAA-USD", "BBB-USD", "CCC-USD")
OPENS = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
MINUTES = 5_000
SPEED = 1_800
NEVER = 10**9


class Account:
    """A folder and a database that a row of engines writes, one after the other.

    `settings` are those of every engine of the row.
    """

    def __init__(self, folder: Path, market: Path, database_url: str = "") -> None:
        self._given: dict[str, Any] = {
            "data_dir": folder,
            "database_url": SecretStr(database_url),
            "replay_dir": market,
            "replay_start": OPENS,
            "replay_speed": SPEED,
            "strategies": ("churn",),
            "strategies_dir": STRATEGIES,
            "max_trades_per_day": NEVER,
            "max_consecutive_losses": NEVER,
            "max_daily_loss": Decimal(NEVER),
            "max_daily_loss_pct": Decimal(100),
            "max_drawdown_pct": Decimal(100),
            "circuit_breaker_failures": NEVER,
        }
        self.settings = Settings(**self._given)

    def environment(self) -> dict[str, str]:
        """What a process gets, so that its settings are these."""
        values = {
            name.upper(): value.get_secret_value()
            if isinstance(value, SecretStr)
            else env_text(value)
            for name, value in self._given.items()
        }
        return os.environ | values | {"PYTHONPATH": os.pathsep.join(sys.path)}


def write_market(folder: Path, random: Random, minutes: int = MINUTES) -> None:
    """Recordings of one-minute bars and quotes: a walk with spikes, and with minutes missing."""
    folder.mkdir()
    sides = ("open", "high", "low", "close", "size")
    pair_columns = ",".join(f"{side}_{price}" for side in ("bid", "ask") for price in sides)
    for symbol in SYMBOLS:
        bars = ["timestamp,open,high,low,close,volume"]
        pairs = [f"timestamp,{pair_columns}"]
        close = 100.0
        for minute in range(minutes):
            open_ = close
            width = 0.05 if random.random() < 0.01 else 0.002
            close = round(open_ * (1 + random.uniform(-width, width)), 2)
            if random.random() < 0.02:
                continue
            high, low = max(open_, close), min(open_, close)
            when = f"{utc(nanos(OPENS) + minute * MINUTE):%Y-%m-%dT%H:%M:%SZ}"
            bars.append(f"{when},{open_},{high},{low},{close},100000")
            bid = f"{open_},{high},{low},{close},1000"
            ask = ",".join(f"{price + 0.01:.2f}" for price in (open_, high, low, close))
            pairs.append(f"{when},{bid},{ask},1000")
        (folder / f"{symbol}-bars-1m.csv").write_text("\n".join(bars) + "\n")
        (folder / f"{symbol}-quotes-1m.csv").write_text("\n".join(pairs) + "\n")


@contextmanager
def database_of_its_own(server: str) -> Generator[str]:
    """The address of a new database on `server` (a DATABASE_URL), which is dropped at the end;
    empty, for a file, where no server is given."""
    if not server:
        yield ""
        return
    name = f"tradebot_simulation_{secrets.token_hex(4)}"
    url = make_url(server)
    asyncio.run(execute_on(url, f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(execute_on(url, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute_on(url: URL, statement: str) -> None:
    """Run `statement` outside a transaction. Raises SQLAlchemy's errors."""
    database = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with database.connect() as connection:
        await connection.exec_driver_sql(statement)
