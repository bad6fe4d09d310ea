"""`tradebot verify-broker` against servers that speak the brokers' protocols, through the real
clients: what it finds, what it leaves at the venue, and what it never shows."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result
from msgspec.structs import replace
from pydantic import SecretStr

from engine import verify
from engine.brokers.alpaca import AlpacaBroker
from engine.brokers.base import BaseBroker
from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from engine.brokers.paper import PaperBroker
from engine.cli.main import main
from engine.core.events import CancelRejected, ExecutionReport
from engine.core.matching import ExchangeRules
from engine.core.model import (
    NANOS,
    AssetClass,
    Idempotency,
    Instrument,
    Order,
    OrderState,
    Quote,
    utc,
)
from engine.core.sessions import Calendars
from engine.feeds.live import Source
from engine.feeds.recordings import STOCK_CALENDAR
from engine.simulation.virtual_loop import VirtualLoop
from engine.verify import Verification, order
from engine.verify.order import ASK_S, LOOK_S, SUBMIT_S, WITHDRAW_S
from engine.verify.said import Outcome
from tests.brokers.contract import WiredPeer, builders
from tests.brokers.peer_alpaca import login
from tests.brokers.peer_ccxt import BTC as AT_BINANCE
from tests.brokers.peer_ccxt import CcxtPeer
from tests.loopback.alpaca import SECRET, AlpacaServer
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.binance import Binance
from tests.loopback.faults import Fault
from tests.loopback.serving import Server, serving
from tests.loopback.venue import Placed, Refused, Venue

KEY = "PKcanary7f3a91"
ROOT = Path(__file__).parents[2]
AAPL = Instrument("AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1), calendar=STOCK_CALENDAR)
BTC = Instrument(
    "BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.000000001"), min_notional=Decimal(10)
)
AT_SLOW = replace(BTC, symbol="paper:BTC/USD", venue="paper")
PAPER_RULES = ExchangeRules(Decimal(0), Decimal(0), Decimal(100))
MOMENT_S = 0.01
STEPS = [
    "credentials", "clock", "account", "permissions", "market data", "stream", "order types",
    "paper order", "order updates",
]  # fmt: skip
AFTER = STEPS[1:]


class Street:
    """Alpaca, with a stock and a pair; both trade at about 100."""

    def __init__(self) -> None:
        self.venue = Venue([AAPL, BTC], cash=Decimal(100_000))
        self.server = AlpacaServer(self.venue, KEY)
        self.data = AlpacaData(KEY, SECRET)
        self.given: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SYMBOLS": "alpaca:AAPL",
            "ALPACA_API_KEY": KEY,
            "ALPACA_API_SECRET": SECRET,
            "ALPACA_URL": self.server.url,
            "ALPACA_STREAM_URL": self.server.stream_url,
            "ALPACA_DATA_URL": self.data.url,
            "ALPACA_DATA_STREAM_URL": self.data.stream_url,
            "SUBMIT_TIMEOUT_S": "1",
        } | self.given

    def quote(self, symbol: str, price: float, ts: int) -> None:
        self.venue.quote(symbol, price, price + 0.01, 100)
        t = utc(ts).isoformat().replace("+00:00", "Z")
        sides = {"bp": price, "ap": price + 0.01, "bs": 1, "as": 1}
        self.data.quotes[symbol] = {"t": t} | sides

    async def verify(self, *options: str) -> Result:
        """The command, on a thread of its own."""
        invoke = CliRunner(env=self.environment).invoke
        return await asyncio.to_thread(invoke, main, ["verify-broker", *options])

    async def steps(self, *options: str) -> dict[str, dict[str, Any]]:
        """What each step said."""
        done = await self.verify("--json", *options)
        (broker,) = json.loads(done.stdout)["brokers"]
        assert done.exit_code == (0 if broker["ok"] else 1)
        assert [step["name"] for step in broker["steps"]] == STEPS
        return {step["name"]: step for step in broker["steps"]}

    @property
    def states(self) -> list[OrderState]:
        return [placed.order.state for placed in self.venue.orders.values()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify, "LISTEN_S", 0.3)
    monkeypatch.setattr(verify, "UPDATES_S", 1.0)
    return tmp_path


@pytest_asyncio.fixture
async def street() -> AsyncIterator[Street]:
    made = Street()
    async with serving(made.data, made.server):
        for symbol in ("AAPL", "BTC/USD"):
            made.quote(symbol, 100.0, time.time_ns())
        yield made


def outcomes(steps: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The names of the steps by what came of them."""
    found: dict[str, list[str]] = {}
    for name, step in steps.items():
        found.setdefault(step["outcome"], []).append(name)
    return found


# --- all is well ---------------------------------------------------------------------------------


async def test_all_steps_of_a_paper_account_are_good_and_its_order_is_gone(street: Street) -> None:
    steps = await street.steps()
    assert outcomes(steps) == {"ok": STEPS}, steps
    assert steps["credentials"]["reason"] == "taken; a paper account"
    assert steps["account"]["reason"] == "cash 100,000.00, 0 positions, 0 open orders"
    assert steps["market data"]["reason"].startswith("alpaca:AAPL 100 / 100.01, ")
    assert steps["order types"]["reason"] == (
        "market, limit, stop, stop limit, trailing stop; day, gtc, ioc, fok; replace, short"
    )
    (placed,) = street.venue.orders.values()
    assert placed.order.state is OrderState.CANCELED
    assert (placed.order.quantity, placed.order.limit_price) == (1, 50)
    assert street.server.faults.requests["submit"] == 1


async def test_a_quote_is_told_to_its_last_digit(street: Street) -> None:
    street.given = {"SYMBOLS": "alpaca:BTC/USD"}
    street.quote("BTC/USD", 1_067_123.45, time.time_ns())
    reason = (await street.steps())["market data"]["reason"]
    assert reason.startswith("alpaca:BTC/USD 1067123.45 / 1067123.46, ")


async def test_the_smallest_order_that_a_pair_may_have_is_placed(street: Street) -> None:
    street.given = {"SYMBOLS": "alpaca:BTC/USD,alpaca:AAPL"}
    assert outcomes(await street.steps()) == {"ok": STEPS}
    (placed,) = street.venue.orders.values()
    assert placed.order.quantity * (placed.order.limit_price or 0) == 10


async def test_a_running_engine_does_not_take_the_order_for_one_that_its_database_lost(
    street: Street,
) -> None:
    await street.verify()
    (body,) = street.server.bodies
    assert body["client_order_id"].startswith("vb-")
    assert len(body["client_order_id"]) == 18


async def test_json_has_the_same_keys_whatever_was_found(street: Street) -> None:
    good = json.loads((await street.verify("--json")).stdout)
    street.given = {"ALPACA_API_SECRET": "another"}
    bad = json.loads((await street.verify("--json")).stdout)
    for told in (good, bad):
        assert list(told) == ["ok", "brokers"]
        (broker,) = told["brokers"]
        assert list(broker) == ["name", "live", "ok", "steps"]
        for step in broker["steps"]:
            assert list(step) == ["name", "outcome", "reason", "remedy", "ms"]
            assert isinstance(step["ms"], int)
            assert (step["outcome"] == "failed") <= bool(step["remedy"])
    assert (good["ok"], bad["ok"]) == (True, False)


async def test_the_table_fits_a_terminal_of_80_columns(street: Street) -> None:
    street.given = {"COLUMNS": "80", "LINES": "24"}
    done = await street.verify("alpaca")
    lines = done.stdout.rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 22
    assert lines[0] == "alpaca, a paper account"
    assert lines[-1] == "alpaca can be traded at"


# --- what is wrong -------------------------------------------------------------------------------


async def test_a_wrong_key_is_told_and_nothing_else_is_tried(street: Street) -> None:
    street.given = {"ALPACA_API_SECRET": "canary-wrong"}
    steps = await street.steps()
    assert outcomes(steps) == {"failed": ["credentials"], "skipped": AFTER}
    assert steps["credentials"]["remedy"] == "Set a key and secret that are valid."
    assert {steps[name]["reason"] for name in AFTER} == {"needs credentials"}
    assert street.server.faults.requests.total() <= 3


async def test_keys_that_are_missing_are_told(street: Street) -> None:
    street.given = {"ALPACA_API_KEY": ""}
    steps = await street.steps()
    assert steps["credentials"]["outcome"] == "failed"
    assert "set ALPACA_API_KEY" in steps["credentials"]["remedy"]


async def test_an_unknown_symbol_is_told(street: Street) -> None:
    street.given = {"SYMBOLS": "alpaca:NONE"}
    steps = await street.steps()
    assert "Alpaca has no NONE" in steps["credentials"]["reason"]


async def test_401_for_ever_ends_soon(street: Street) -> None:
    for kind in ("balance", "quote", "time", "positions", "orders"):
        street.server.faults.plan(kind, *[Fault.UNAUTHORIZED] * 100)
    steps = await street.steps()
    assert outcomes(steps) == {"failed": ["credentials"], "skipped": AFTER}
    assert street.server.faults.requests.total() <= 3


@pytest.mark.parametrize("what", ["trading_blocked", "account_blocked"])
async def test_a_blocked_account_has_data_and_gets_no_order(street: Street, what: str) -> None:
    street.server.account[what] = True
    steps = await street.steps()
    assert steps["permissions"]["outcome"] == "failed"
    assert "blocked" in steps["permissions"]["reason"]
    assert steps["market data"]["outcome"] == steps["stream"]["outcome"] == "ok"
    assert steps["paper order"] | {"ms": 0} == {
        "name": "paper order", "outcome": "skipped", "reason": "needs permissions", "remedy": "",
        "ms": 0,
    }  # fmt: skip
    assert street.states == []


async def test_what_the_account_tells_of_day_trades_is_told(street: Street) -> None:
    street.server.account |= {"pattern_day_trader": True, "daytrade_count": 4}
    reason = (await street.steps())["permissions"]["reason"]
    assert reason == "orders are allowed; pattern day trader: yes; day trades: 4"


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(0.5, "ok"), (3, "warning"), (-3, "warning"), (10, "failed")]
)
async def test_a_clock_that_is_off_is_told(street: Street, seconds: float, outcome: str) -> None:
    now = street.venue.now
    street.venue.now = lambda: now() + int(seconds * NANOS)
    clock = (await street.steps())["clock"]
    assert clock["outcome"] == outcome
    assert clock["reason"] == f"ours is {-seconds:+.1f} s from the venue's"
    assert bool(clock["remedy"]) == (outcome != "ok")


async def test_a_stream_that_is_mute_is_told(street: Street) -> None:
    later = time.time_ns() + 3600 * NANOS
    street.data.faults.plan("quotes", Fault.SLOW)
    street.quote("AAPL", 100.0, later)
    stream = (await street.steps())["stream"]
    assert stream["outcome"] == "failed"
    assert stream["reason"].startswith("mute: the venue has newer quotes")


async def test_an_account_that_says_nothing_of_its_order_is_told(street: Street) -> None:
    street.server.streams.mute = True
    steps = await street.steps()
    assert steps["paper order"]["outcome"] == "ok"
    assert steps["order updates"]["outcome"] == "failed"
    assert "nothing was said of the order" in steps["order updates"]["reason"]
    assert street.states == [OrderState.CANCELED]


async def test_a_stream_of_the_account_that_does_not_open_is_no_wrong_key(street: Street) -> None:
    street.server.streams.refuses = True
    steps = await street.steps()
    assert steps["credentials"]["outcome"] == steps["paper order"]["outcome"] == "ok"
    assert steps["order updates"]["outcome"] == "failed"
    assert street.states == [OrderState.CANCELED]


@pytest.mark.parametrize(
    ("kind", "step"), [("balance", "credentials"), ("orders", "account"), ("time", "clock")]
)
async def test_a_limit_of_the_rate_is_told_with_the_time_to_wait(
    street: Street, kind: str, step: str
) -> None:
    street.server.faults.plan(kind, Fault.RATE_LIMITED)
    found = (await street.steps())[step]
    assert found["outcome"] == "failed"
    assert found["reason"] == "alpaca takes no more requests for now"
    assert found["remedy"] == "wait 7 s; then run it again"


async def test_a_server_that_hangs_ends_in_time(street: Street) -> None:
    for kind in ("balance", "quote", "time", "positions", "orders", "submit", "cancel", "order"):
        street.server.faults.plan(kind, *[Fault.HANG] * 100)
    began = time.monotonic()
    steps = await street.steps()
    assert time.monotonic() - began < 30
    assert outcomes(steps) == {"failed": ["credentials"], "skipped": AFTER}


async def test_no_quote_is_a_warning_and_there_is_no_order(street: Street) -> None:
    street.data.quotes.clear()
    steps = await street.steps()
    assert outcomes(steps) == {
        "ok": ["credentials", "clock", "account", "permissions", "stream", "order types"],
        "warning": ["market data"],
        "skipped": ["paper order", "order updates"],
    }
    assert street.states == []


# --- the order -----------------------------------------------------------------------------------


async def test_a_submit_without_an_answer_is_looked_for_and_cancelled(street: Street) -> None:
    street.server.faults.plan("submit", Fault.GATEWAY_TIMEOUT)
    steps = await street.steps()
    assert steps["paper order"]["outcome"] == "ok"
    assert street.states == [OrderState.CANCELED]
    assert street.server.faults.requests["submit"] == 1


async def test_a_cancel_without_an_answer_is_asked_again(street: Street) -> None:
    street.server.faults.plan("cancel", Fault.RESET, Fault.SERVER_ERROR)
    assert (await street.steps())["paper order"]["outcome"] == "ok"
    assert street.states == [OrderState.CANCELED]


async def test_an_order_that_may_be_left_is_told_loudly_with_its_ids(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "WITHDRAW_S", 1.0)
    street.server.faults.plan("cancel", *[Fault.SERVER_ERROR] * 100)
    found = (await street.steps())["paper order"]
    (placed,) = street.venue.orders.values()
    assert placed.is_open
    assert found["outcome"] == "failed"
    assert "THE ORDER MAY STILL BE OPEN at alpaca" in found["reason"]
    assert placed.order.client_order_id in found["reason"]
    assert "there 00000000-0000-0000-0000-000000000001" in found["reason"]
    assert "cancel it by hand" in found["remedy"]


async def test_where_no_price_so_far_away_is_taken_a_nearer_one_is_tried(street: Street) -> None:
    submit = street.venue.submit

    def banded(order: Order) -> Placed:
        if order.limit_price is not None and order.limit_price < 70:
            raise Refused("price is outside the band")
        return submit(order)

    street.venue.submit = banded
    assert (await street.steps())["paper order"]["outcome"] == "ok"
    (placed,) = street.venue.orders.values()
    assert placed.order.limit_price == 80


async def test_ctrl_c_leaves_no_order(street: Street) -> None:
    street.server.faults.plan("order", Fault.HANG)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine", "verify-broker",
        env=os.environ | street.environment | {"PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await street.server.faults.has_come("submit", 1)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    assert street.states == [OrderState.CANCELED]


class Slow(PaperBroker):
    """A broker that takes as long for everything as a trial order lets it, and then does not answer
    at all."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        super().__init__([AT_SLOW], PAPER_RULES, Calendars(), time.time_ns)

    async def get_quote(self, symbol: str) -> Quote:
        return Quote(symbol, time.time_ns(), 100.0, 100.01, 1.0, 1.0)

    async def submit_order(self, order: Order) -> ExecutionReport:
        """The first price is refused at the last moment."""
        await self._takes("submit", 1, SUBMIT_S - MOMENT_S)
        return ExecutionReport(order.client_order_id, OrderState.REJECTED, reason="too far away")

    async def cancel_order(self, order: Order) -> CancelRejected:
        return CancelRejected(order.client_order_id, "not known")

    async def get_order(self, order: Order) -> None:
        """The last look begins at the last moment."""
        looks = int(WITHDRAW_S // (ASK_S + LOOK_S)) + 1
        await self._takes("get", looks, WITHDRAW_S / looks - LOOK_S - MOMENT_S)

    async def _takes(self, what: str, times: int, seconds: float) -> None:
        self.asked[what] += 1
        if self.asked[what] > times:
            await asyncio.Event().wait()
        await asyncio.sleep(seconds)


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(Random(1))
    yield loop
    loop.close()


def test_the_slowest_trial_has_the_time_to_say_that_an_order_may_be_left(
    virtual: VirtualLoop,
) -> None:
    alarms: list[str] = []
    checked = Verification("paper", lambda: Behind(Slow(), AT_SLOW), [], alarms.append)
    found = virtual.run_until_complete(checked.run())
    steps = {step.name: step for step in found.steps}
    assert "THE ORDER MAY STILL BE OPEN at paper" in steps["paper order"].reason
    assert alarms == []


@pytest.mark.parametrize("seconds", [SUBMIT_S + 1, 2 * SUBMIT_S + 1, 2 * SUBMIT_S + WITHDRAW_S])
def test_a_trial_that_is_cut_short_says_it_all_the_same(
    virtual: VirtualLoop, seconds: float
) -> None:
    alarms: list[str] = []

    async def cut_short() -> None:
        async with asyncio.timeout(seconds):
            await order.Trial(Slow(), AT_SLOW, 100.0, alarms.append).run()

    with pytest.raises(TimeoutError):
        virtual.run_until_complete(cut_short())
    (said,) = alarms
    assert "THE ORDER MAY STILL BE OPEN at paper" in said
    assert "cancel it by hand" in said


# --- every adapter alike -------------------------------------------------------------------------


class Behind:
    """The venue of a broker, without market data of its own."""

    has_account = True

    def __init__(self, broker: BaseBroker, instrument: Instrument) -> None:
        self.name = broker.name
        self._broker = broker
        self._instrument = instrument

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        name = self._instrument.symbol.removeprefix(f"{self.name}:")
        return [replace(self._instrument, symbol=name)]

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        return ()

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        return self._broker


def verification(peer: WiredPeer) -> Verification:
    broker = crypto(peer) if isinstance(peer, CcxtPeer) else peer.broker
    venue = Behind(broker, peer.instrument)
    return Verification(broker.name, lambda: venue, [], print)


def crypto(peer: CcxtPeer[Any]) -> BaseBroker:
    """Another account at the peer's server, with the name that its symbol has in an engine."""
    name = peer.broker.name
    keys = SecretStr("key"), SecretStr("c2VjcmV0MTIz")
    access = Access(*keys, paper=not peer.broker.live, url=peer.server.url, timeout_s=1)
    traded = replace(peer.instrument, symbol=f"{name}:{peer.instrument.symbol}")
    return ccxt_broker(name, [traded], access, time.time_ns)


WIRED = ["alpaca-crypto", "binance", "coinbase", "interactive_brokers", "kraken", "questrade"]


@pytest.mark.parametrize("name", WIRED)
async def test_every_broker_is_checked_alike(name: str) -> None:
    async with builders()[name]() as peer:
        assert isinstance(peer, WiredPeer)
        await peer.close()
        peer.quote(100, 100.01)
        found = await verification(peer).run()
        by_name = {step.name: step for step in found.steps}
        assert found.is_ok, found
        assert by_name["clock"].outcome is Outcome.OK
        real = peer.broker.live
        expected = Outcome.SKIPPED if real else Outcome.OK
        assert by_name["paper order"].outcome is expected
        assert by_name["order updates"].outcome is expected
        states = [placed.order.state for placed in peer.venue.orders.values()]
        assert states == ([] if real else [OrderState.CANCELED])


async def test_no_order_reaches_a_real_account(street: Street) -> None:
    """The server is one of a real account; everything else is as on paper."""
    street.server.account["account_number"] = "123456789"
    real = replace(login(street.server), key=SecretStr(KEY.replace("PK", "AK")), live=True)
    street.server.key = KEY.replace("PK", "AK")
    broker = AlpacaBroker([replace(AAPL, symbol="alpaca:AAPL")], real, time.time_ns)
    found = await Verification("alpaca", lambda: Behind(broker, AAPL), [], print).run()
    by_name = {step.name: step for step in found.steps}
    assert found.live
    assert by_name["market data"].outcome is Outcome.OK
    assert by_name["paper order"].reason == "not on a real account"
    assert street.states == []
    with pytest.raises(AssertionError):
        order.Trial(broker, AAPL, 100.0, print)


async def test_a_missing_permission_for_orders_is_a_warning() -> None:
    async with builders()["questrade"]() as peer:
        assert isinstance(peer, WiredPeer)
        await peer.close()
        peer.quote(100, 100.01)
        questrade: Any = peer
        questrade.server.scoped = True
        found = await verification(peer).run()
        by_name = {step.name: step for step in found.steps}
        assert by_name["paper order"].outcome is Outcome.WARNING
        assert "Questrade's permission as a partner" in by_name["paper order"].reason
        assert by_name["order updates"].outcome is Outcome.SKIPPED
        assert found.is_ok


# --- the command ---------------------------------------------------------------------------------


async def test_our_own_broker_needs_no_keys(street: Street) -> None:
    street.given = {"ALPACA_API_KEY": "", "ALPACA_API_SECRET": "", "SYMBOLS": ""}
    steps = await street.steps("paper")
    assert outcomes(steps) == {
        "ok": [
            "credentials",
            "account",
            "permissions",
            "market data",
            "order types",
            "paper order",
        ],
        "skipped": ["clock", "stream", "order updates"],
    }


@pytest.mark.parametrize(("keys", "orders"), [(True, "ok"), (False, "skipped")])
async def test_binance_is_checked_on_its_test_network_and_without_keys_its_data_alone(
    street: Street, keys: bool, orders: str
) -> None:
    binance = Binance(Venue([AT_BINANCE], Idempotency.OPEN_ONLY))
    server = Server(binance.app, binance.faults)
    await server.start()
    binance.venue.quote("BTC/USDT", 100, 100.01, 5)
    street.given = {"SYMBOLS": "binance:BTC/USDT", "BINANCE_URL": server.url}
    if keys:
        street.given |= {"BINANCE_API_KEY": "key-canary", "BINANCE_API_SECRET": "secret-canary"}
    steps = await street.steps()
    assert "failed" not in outcomes(steps), steps
    assert steps["market data"]["outcome"] == steps["stream"]["outcome"] == "ok"
    names = ("account", "paper order", "order updates")
    assert [steps[name]["outcome"] for name in names] == [orders] * 3
    states = [placed.order.state for placed in binance.venue.orders.values()]
    assert states == ([OrderState.CANCELED] if keys else [])
    await server.stop()


def test_a_venue_is_configured_where_one_of_its_settings_has_a_value() -> None:
    done = CliRunner(env={"IB_PORT": "1"}).invoke(main, ["verify-broker", "--json"])
    (broker,) = json.loads(done.stdout)["brokers"]
    assert broker["name"] == "interactive_brokers"
    assert broker["steps"][0]["outcome"] == "failed"
    assert "no TWS or IB Gateway at 127.0.0.1:1" in broker["steps"][0]["reason"]


async def test_without_a_name_what_symbols_name_or_has_keys_is_checked(street: Street) -> None:
    street.given = {"SYMBOLS": ""}
    assert (await street.steps())["market data"]["reason"].startswith("alpaca:AAPL")
    street.given = {"SYMBOLS": "", "ALPACA_API_KEY": "", "ALPACA_API_SECRET": ""} | {
        name: "" for name in street.environment if name.endswith("_URL")
    }
    done = await street.verify()
    assert done.exit_code == 2
    assert "no broker is configured" in done.stderr
    assert "set the keys of one" in done.stderr
    unknown = await street.verify("nowhere")
    assert unknown.exit_code == 2
    assert "nowhere is no broker" in unknown.stderr


@pytest.mark.parametrize("as_json", [True, False])
async def test_secrets_are_in_nothing_that_it_says(street: Street, as_json: bool) -> None:
    """Not even where the venue says them itself."""
    options = ["--json"] if as_json else []
    street.server.account["status"] = f"closed for {KEY} and {SECRET}"
    outputs = [(await street.verify(*options)).output]
    for fault in (Fault.UNAUTHORIZED, Fault.GARBAGE, Fault.SERVER_ERROR, Fault.RESET):
        street.server.faults.plan("balance", fault)
        street.server.faults.plan("quote", fault)
        outputs.append((await street.verify(*options)).output)
    street.given = {"ALPACA_API_SECRET": "canary-wrong"}
    outputs.append((await street.verify(*options)).output)
    for output in outputs:
        assert KEY not in output
        assert SECRET not in output
        assert "canary" not in output
        assert "Traceback" not in output


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_secret_of_several_lines_is_masked_as_it_is_said(
    street: Street, as_json: bool
) -> None:
    """As Coinbase's is: cleaned, or with what JSON escapes, it looks different."""
    secret = 'begin "canary"\nline\\end'
    street.given = {"COINBASE_API_SECRET": secret}
    street.server.account["status"] = f"closed for {secret}"
    output = (await street.verify(*(["--json"] if as_json else []))).output
    assert "closed for **********" in " ".join(output.split())
    assert "canary" not in output


async def test_a_terminal_gets_no_escapes_from_a_venue(street: Street) -> None:
    street.server.account["status"] = "\x1b[2J\x9bhostile[/x]\u202e"
    done = await street.verify()
    assert done.exit_code == 1
    assert "hostile(/x)" in done.stdout
    assert not set(done.stdout) & set("\x1b\x9b\u202e")
