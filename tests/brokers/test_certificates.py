"""Whoever has no certificate of the venue's gets nothing: no key, no token, no order."""

import asyncio
import ipaddress
import logging
import re
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers import alpaca, questrade
from engine.brokers.base import BaseBroker, InDoubt, NotConnected
from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from engine.core.model import Instrument
from engine.feeds.alpaca import AlpacaSource
from engine.feeds.ccxt import CcxtSource
from engine.feeds.live import Source
from tests.brokers.peer_alpaca import AAPL, login
from tests.brokers.peer_ccxt import AT_COINBASE, BTC, XBT
from tests.feeds.listening import ENOUGH_S
from tests.loopback.alpaca import AlpacaServer
from tests.loopback.serving import serving
from tests.loopback.venue import Venue

ROOT = Path(__file__).parents[2]
UNCHECKED = r"CERT_NONE|check_hostname|verify(_ssl)?\s*=\s*False|ssl\s*=\s*False|_unverified_"
KEYS = SecretStr("PKTESTKEY"), SecretStr("c2VjcmV0MTIz")


def at_alpaca(port: int, _: Path) -> BaseBroker:
    url, stream = f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}"
    login = alpaca.Login(*KEYS, url=url, stream_url=stream, data_url=url)
    return alpaca.AlpacaBroker([AAPL], login, time.time_ns)


def at_an_exchange(traded: Instrument) -> Callable[[int, Path], BaseBroker]:
    def make(port: int, _: Path) -> BaseBroker:
        access = Access(*KEYS, paper=traded is BTC, url=f"https://127.0.0.1:{port}")
        return ccxt_broker(traded.venue, [traded], access, time.time_ns)

    return make


def at_questrade(port: int, folder: Path) -> BaseBroker:
    url = f"https://127.0.0.1:{port}"
    login = questrade.Login(KEYS[1], folder / "tokens.json", practice=True, url=url)
    return questrade.QuestradeBroker([AAPL], questrade.open_session(login, time.time_ns))


@pytest.fixture
async def impostor(tmp_path: Path) -> AsyncGenerator[tuple[int, list[str]]]:
    """The port of a server with a certificate of its own making, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_context(tmp_path))
    await site.start()
    yield runner.addresses[0][1], asked
    await runner.cleanup()


def _context(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "impostor.pem"
    kind = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(pem, kind, plain) + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    "make", [at_alpaca, at_questrade, *map(at_an_exchange, (BTC, XBT, AT_COINBASE))]
)
async def test_a_server_without_a_valid_certificate_is_told_nothing(
    impostor: tuple[int, list[str]], make: Callable[[int, Path], BaseBroker], tmp_path: Path
) -> None:
    port, asked = impostor
    broker = make(port, tmp_path)
    with pytest.raises(NotConnected, match="certificate is not valid"):
        await broker.connect()
    await broker.disconnect()
    assert not asked


def alpacas_data(port: int) -> Source:
    url, stream = f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}"
    return AlpacaSource(alpaca.Login(*KEYS, data_url=url, data_stream_url=stream), [AAPL])


def an_exchanges_data(traded: Instrument) -> Callable[[int], Source]:
    def make(port: int) -> Source:
        access = Access(paper=False, url=f"https://127.0.0.1:{port}")
        return CcxtSource(traded.venue, access, [traded])

    return make


@pytest.mark.parametrize("make", [alpacas_data, *map(an_exchanges_data, (BTC, XBT, AT_COINBASE))])
async def test_market_data_are_not_taken_from_a_server_without_a_valid_certificate(
    impostor: tuple[int, list[str]], make: Callable[[int], Source]
) -> None:
    port, asked = impostor
    source = make(port)
    with pytest.raises(NotConnected):
        await anext(source.stream())
    with pytest.raises((NotConnected, InDoubt)):
        await source.quotes()
    await source.close()
    assert not asked


async def test_the_stream_of_an_account_is_not_taken_from_such_a_server(
    impostor: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account itself answers; alpaca-py tells the rest in its log alone."""
    port, asked = impostor
    refused = asyncio.Event()

    class Refusal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "CERTIFICATE_VERIFY_FAILED" in record.getMessage():
                refused.set()

    monkeypatch.setattr(logging.getLogger("alpaca.trading.stream"), "handlers", [Refusal()])
    server = AlpacaServer(Venue([AAPL]))
    async with serving(server):
        stream = f"wss://127.0.0.1:{port}"
        broker = alpaca.AlpacaBroker(
            [AAPL], replace(login(server), stream_url=stream), time.time_ns
        )
        connecting = asyncio.create_task(broker.connect())
        async with asyncio.timeout(ENOUGH_S):
            await refused.wait()
        assert not connecting.done()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await broker.disconnect()
    assert not asked


def test_no_certificate_goes_unchecked_anywhere() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for folder in ("engine", "tui", "strategies")
        for file in (ROOT / folder).rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(UNCHECKED, line)
    ]
    assert found == []
    assert re.search(UNCHECKED, "httpx.AsyncClient(verify=False)")
