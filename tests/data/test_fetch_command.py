"""`tradebot data fetch`: bars of a venue into the archive, through its real client, whatever
happens on the way."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.core.model import MINUTE, AssetClass, Bar, Idempotency, Instrument, nanos
from engine.data import fetching
from engine.data.archive import Archive
from engine.feeds import alpaca
from engine.feeds.recordings import STOCK_CALENDAR
from tests.brokers.peer_ccxt import BTC as AT_BINANCE
from tests.loopback import faults
from tests.loopback.alpaca import KEY, SECRET, AlpacaServer
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.binance import Binance
from tests.loopback.faults import Fault
from tests.loopback.serving import Server, serving
from tests.loopback.venue import Venue

BTC = Instrument("BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"))
AAPL = Instrument(
    "AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1), calendar=STOCK_CALENDAR
)  # fmt: skip
FIRST = datetime(2023, 12, 31, 23, 0, tzinfo=UTC)
PAGE = 100
ROOT = Path(__file__).parents[2]


def row(start: datetime, price: float = 100.0) -> dict[str, Any]:
    prices = dict.fromkeys("ohlc", price)
    return {"t": start.isoformat().replace("+00:00", "Z"), **prices, "v": 5}


def minutes(count: int, first: datetime = FIRST) -> list[dict[str, Any]]:
    return [row(first + timedelta(minutes=n), 100 + n) for n in range(count)]


class Street:
    """Alpaca: which symbols it has, and their bars. Pages have `PAGE` bars."""

    def __init__(self) -> None:
        self.server = AlpacaServer(Venue([BTC, AAPL]))
        self.data = AlpacaData(KEY, SECRET)
        self.data.bars["BTC/USD"] = minutes(250)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ALPACA_API_KEY": KEY,
            "ALPACA_API_SECRET": SECRET,
            "ALPACA_URL": self.server.url,
            "ALPACA_DATA_URL": self.data.url,
        }

    async def fetch(self, *options: str, at: str = "alpaca", symbol: str = "BTC/USD") -> Result:
        """The command, on a thread of its own."""
        given = ["data", "fetch", at, symbol, *options]
        span = [] if "--start" in options else ["--start", "2023-12-31", "--end", "2024-01-01"]
        invoke = CliRunner(env=self.environment).invoke
        return await asyncio.to_thread(invoke, main, given + span)

    @property
    def requests(self) -> int:
        return self.data.faults.requests["bars"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(alpaca, "PAGE", PAGE)
    monkeypatch.setattr(fetching, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(faults, "RETRY_AFTER_S", 1)
    return tmp_path


@pytest_asyncio.fixture
async def street() -> AsyncIterator[Street]:
    made = Street()
    async with serving(made.data, made.server):
        yield made


def archived(symbol: str = "BTC-USD", interval: str = "1m") -> list[Bar]:
    return Archive(Path("var/archive"), interval).bars(symbol)


def begins(symbol: str = "BTC-USD", interval: str = "1m") -> list[int]:
    return [bar.start for bar in archived(symbol, interval)]


def files() -> list[str]:
    return sorted(path.name for path in Path("var/archive/1m").glob("*"))


def file(name: str) -> Path:
    return Path("var/archive/1m") / name


def expected(count: int, first: datetime = FIRST) -> list[int]:
    return [nanos(first) + n * MINUTE for n in range(count)]


# --- what comes ----------------------------------------------------------------------------------


async def test_all_pages_are_archived_a_file_for_each_year(street: Street) -> None:
    done = await street.fetch()
    assert done.exit_code == 0, done.output
    assert "BTC-USD: 250 bars new, 0 changed, 0 refused" in done.stdout
    assert begins() == expected(250)
    assert archived()[7].close == 107
    assert files() == [
        "BTC-USD-2023-bars-1m.csv.gz",
        "BTC-USD-2024-bars-1m.csv.gz",
        "BTC-USD-fetched-1m.json",
    ]
    assert street.requests == 3


async def test_what_was_fetched_is_not_asked_for_again_but_when_told_to(street: Street) -> None:
    await street.fetch()
    again = await street.fetch("--json")
    assert json.loads(again.stdout) == {
        "symbol": "BTC-USD", "new": 0, "changed": 0, "refused": 0, "missing": 0,
    }  # fmt: skip
    assert street.requests == 3
    street.data.bars["BTC/USD"][3]["h"] = 200
    assert "0 bars new, 1 changed" in (await street.fetch("--again")).stdout
    assert street.requests == 6
    assert archived()[3].high == 200


async def test_a_longer_span_asks_for_what_is_missing_on_both_sides(street: Street) -> None:
    await street.fetch("--start", "2024-01-01T00:00", "--end", "2024-01-01T01:00")
    assert len(begins()) == 60
    asked = len(street.data.starts)
    await street.fetch()
    assert begins() == expected(250)
    hour = datetime(2024, 1, 1, 1, tzinfo=UTC)
    assert street.data.starts[asked:] == [
        datetime(2023, 12, 31, tzinfo=UTC), hour, hour + timedelta(minutes=PAGE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00Z", 60),
        ("2023-12-31T23:00", "2023-12-31T23:10:30", 10),
        ("2024-01-01", "2024-01-01", 190),
    ],
)
async def test_times_are_utc_unless_they_name_an_offset(
    street: Street, start: str, end: str, count: int
) -> None:
    await street.fetch("--start", start, "--end", end)
    assert len(begins()) == count


async def test_a_bar_that_is_still_forming_is_not_stored_and_the_last_hour_is_asked_for_anew(
    street: Street,
) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    first = now - timedelta(minutes=120)
    street.data.bars["BTC/USD"] = minutes(121, first)
    yesterday = (now - timedelta(days=1)).isoformat()
    before = nanos(datetime.now(UTC)) // MINUTE
    await street.fetch("--start", yesterday)
    after = nanos(datetime.now(UTC)) // MINUTE
    assert nanos(first) // MINUTE + len(begins()) in (before, after)
    street.data.bars["BTC/USD"][100]["h"] = 9999
    assert "1 changed" in (await street.fetch("--start", yesterday)).stdout
    assert street.data.starts[-1] >= now - timedelta(minutes=62)


async def test_longer_bars_have_an_archive_of_their_own(street: Street) -> None:
    street.data.bars["AAPL"] = [row(datetime(2024, 1, day, 5, tzinfo=UTC)) for day in (2, 3, 5, 8)]
    done = await street.fetch(
        "--timeframe", "1d", "--start", "2024-01-01", "--end", "2024-01-31", symbol="AAPL"
    )
    assert "AAPL: 4 bars new" in done.stdout
    assert street.data.timeframes == {"1Day"}
    assert len(begins("AAPL", "1d")) == 4
    assert files() == []


async def test_gaps_are_told_of_open_markets_alone(street: Street) -> None:
    day = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    street.data.bars["AAPL"] = [row(day), row(day + timedelta(minutes=5)), row(day.replace(day=3))]
    done = await street.fetch("--start", "2024-01-01", "--end", "2024-01-05", symbol="AAPL")
    assert "2024-01-02 14:31 to 2024-01-02 14:35: 4" in done.stdout
    assert "2024-01-02 14:36 to 2024-01-02 21:00: 384" in done.stdout
    assert "missing while the market was open: 388 bars" in done.stdout


async def test_what_is_not_sound_is_refused(street: Street) -> None:
    street.data.bars["BTC/USD"][10]["h"] = 1
    assert "249 bars new, 0 changed, 1 refused" in (await street.fetch()).stdout


async def test_the_symbol_of_another_venue_needs_another_name(street: Street) -> None:
    await street.fetch()
    path = file("BTC-USD-fetched-1m.json")
    path.write_text(path.read_text().replace("alpaca", "kraken"))
    refused = await street.fetch()
    assert refused.exit_code == 2
    assert "the archive's BTC-USD is of kraken, not of alpaca" in refused.stderr
    assert "--name alpaca:BTC-USD" in refused.stderr
    assert (await street.fetch("--name", "alpaca:BTC-USD")).exit_code == 0
    assert begins("alpaca_BTC-USD") == begins("BTC-USD")


async def test_bars_of_binance_come_without_keys(street: Street) -> None:
    binance = Binance(Venue([AT_BINANCE], Idempotency.OPEN_ONLY))
    server = Server(binance.app, binance.faults)
    await server.start()
    bars = [
        Bar("BTC/USDT", begin + MINUTE, 100, 102, 99, 101, 7, MINUTE) for begin in expected(250)
    ]
    binance.market.add(bars)
    environment = {"BINANCE_URL": server.url}
    given = ["data", "fetch", "binance", "BTC/USDT", "--start", "2023-12-31", "--end", "2024-01-01"]
    done = await asyncio.to_thread(CliRunner(env=environment).invoke, main, given)
    await server.stop()
    assert done.exit_code == 0, done.output
    assert "BTC-USDT: 250 bars new" in done.stdout
    assert begins("BTC-USDT") == expected(250)


# --- what goes wrong -----------------------------------------------------------------------------


async def test_wrong_input_is_told_with_a_remedy(street: Street) -> None:
    for options, at, symbol, said in (
        ((), "nowhere", "BTC/USD", "nowhere is no venue"),
        ((), "alpaca", "NONE", "give another SYMBOL after alpaca, such as AAPL, BTC/USD"),
        (
            ("--start", "2024-02-01", "--end", "2024-01-01"),
            "alpaca",
            "BTC/USD",
            "is not before the end",
        ),
        (("--start", "2099-01-01"), "alpaca", "BTC/USD", "--start, 2099-01-01 00:00"),
        (("--timeframe", "1s"), "alpaca", "BTC/USD", "no bars of less than a minute"),
        (("--start", "yesterday"), "alpaca", "BTC/USD", "is neither a date"),
        (("--name", "../x"), "alpaca", "BTC/USD", "../x is no symbol"),
    ):
        done = await street.fetch(*options, at=at, symbol=symbol)
        assert done.exit_code == 2, (options, done.output)
        assert said in done.stderr
        assert "Traceback" not in done.output
        assert "SYMBOLS" not in done.output
    assert files() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ALPACA_API_KEY": ""}, "there is no key"),
        ({"ALPACA_API_SECRET": "canary-wrong"}, "Alpaca does not take the key"),
    ],
)
async def test_wrong_keys_are_told(
    street: Street, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    environment = street.environment | given
    monkeypatch.setattr(Street, "environment", environment)
    done = await street.fetch()
    assert done.exit_code == 2
    assert said in done.stderr
    assert "canary" not in done.output


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.SERVER_ERROR, Fault.TRUNCATED])
async def test_a_page_that_does_not_come_is_asked_for_again(street: Street, fault: Fault) -> None:
    street.data.faults.plan("bars", fault)
    done = await street.fetch()
    assert done.exit_code == 0, done.output
    assert "waiting 0 s: " in done.stderr
    assert begins() == expected(250)
    assert street.requests == 4


async def test_a_limit_of_the_rate_is_waited_for_and_shown(street: Street) -> None:
    street.data.faults.plan("bars", Fault.RATE_LIMITED)
    began = time.monotonic()
    done = await street.fetch()
    assert time.monotonic() - began >= 1
    assert "waiting 1 s: alpaca takes no more requests for now" in done.stderr
    assert begins() == expected(250)


async def test_a_venue_that_answers_no_more_leaves_what_came(street: Street) -> None:
    street.data.bars["BTC/USD"] = minutes(250)
    done = await with_faults(street, *[Fault.RESET] * 3)
    assert done.exit_code == 2
    assert "alpaca does not answer" in done.stderr
    assert "run it again" in done.stderr
    assert begins() == expected(PAGE)
    assert "BTC-USD-fetching-1m.part" not in files()
    asked = len(street.data.starts)
    assert (await street.fetch()).exit_code == 0
    assert street.data.starts[asked] == FIRST + timedelta(minutes=PAGE)
    assert begins() == expected(250)


async def with_faults(street: Street, *planned: Fault) -> Result:
    """A fetch whose first page comes."""
    street.data.faults.plan("bars", Fault.SLOW, *planned)
    return await street.fetch()


async def test_a_page_is_given_up_that_never_comes(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_S", 0.5)
    done = await with_faults(street, Fault.HANG)
    assert done.exit_code == 2
    assert "alpaca does not answer (no answer in time); what came is kept" in done.stderr
    assert begins() == expected(PAGE)


async def test_a_file_of_the_archive_that_is_damaged_is_told(street: Street) -> None:
    await street.fetch()
    path = file("BTC-USD-2024-bars-1m.csv.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = await street.fetch("--again")
    assert done.exit_code == 2
    assert "BTC-USD-2024-bars-1m.csv.gz is damaged" in done.stderr
    path.write_bytes(whole)
    assert (await street.fetch()).exit_code == 0
    assert begins() == expected(250)


# --- interrupted ---------------------------------------------------------------------------------


async def interrupted(street: Street, number: signal.Signals) -> tuple[int, str]:
    """A fetch as a process, which gets a signal while it waits for its second page; its exit status
    and what it said."""
    street.data.faults.plan("bars", Fault.SLOW, Fault.HANG)
    script = (
        f"from engine import __main__; from engine.feeds import alpaca; alpaca.PAGE = {PAGE}; "
        "__main__.main()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script,
        "data", "fetch", "alpaca", "BTC/USD", "--start", "2023-12-31", "--end", "2024-01-01",
        env=os.environ | street.environment | {"PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await street.data.faults.has_come("bars", 2)
    process.send_signal(number)
    _, said = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(street: Street) -> None:
    status, said = await interrupted(street, signal.SIGINT)
    assert status == 130
    assert said.endswith("interrupted; what came is kept: run it again to go on from there\n")
    assert begins() == expected(PAGE)
    assert (await street.fetch()).exit_code == 0
    assert street.data.starts[-2] == FIRST + timedelta(minutes=PAGE)
    assert begins() == expected(250)


async def test_kill_9_keeps_what_came_and_the_next_run_goes_on(street: Street) -> None:
    await interrupted(street, signal.SIGKILL)
    part = file("BTC-USD-fetching-1m.part")
    part.write_text(part.read_text() + "2024-01-01T00:40:00Z,1,2")
    done = await street.fetch()
    assert done.exit_code == 0, done.output
    assert street.data.starts[-2] == FIRST + timedelta(minutes=PAGE)
    assert begins() == expected(250)
    assert not part.exists()


async def test_two_fetches_of_a_symbol_do_not_mix(street: Street) -> None:
    street.data.faults.plan("bars", Fault.HANG)
    first = asyncio.create_task(street.fetch())
    await street.data.faults.has_come("bars", 1)
    second = await street.fetch()
    assert second.exit_code == 2
    assert "another fetch of BTC-USD is running" in second.stderr
    street.data.faults.closing.set()
    assert (await first).exit_code == 0
    assert begins() == expected(250)
