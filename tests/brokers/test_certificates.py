"""Whoever has no certificate of the venue's gets nothing: no key, no token, no order."""

import ipaddress
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
from pydantic import SecretStr

from engine.brokers import alpaca, questrade
from engine.brokers.base import BaseBroker, NotConnected
from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from tests.brokers.peer_alpaca import AAPL
from tests.brokers.peer_ccxt import BTC

KEYS = SecretStr("PKTESTKEY"), SecretStr("c2VjcmV0MTIz")


def at_alpaca(port: int, _: Path) -> BaseBroker:
    url, stream = f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}"
    login = alpaca.Login(*KEYS, url=url, stream_url=stream, data_url=url)
    return alpaca.AlpacaBroker([AAPL], login, time.time_ns)


def at_binance(port: int, _: Path) -> BaseBroker:
    access = Access(*KEYS, url=f"https://127.0.0.1:{port}")
    return ccxt_broker("binance", [BTC], access, time.time_ns)


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


@pytest.mark.parametrize("make", [at_alpaca, at_binance, at_questrade])
async def test_a_server_without_a_valid_certificate_is_told_nothing(
    impostor: tuple[int, list[str]], make: Callable[[int, Path], BaseBroker], tmp_path: Path
) -> None:
    port, asked = impostor
    broker = make(port, tmp_path)
    with pytest.raises(NotConnected, match="certificate is not valid"):
        await broker.connect()
    await broker.disconnect()
    assert not asked
