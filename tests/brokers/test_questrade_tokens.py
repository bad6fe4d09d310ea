"""Questrade's tokens: each refresh token works once, and losing one takes a person."""

import asyncio
import os
import signal
import stat
import sys
import time
import traceback
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec import json
from pydantic import SecretStr

from engine.brokers.base import NotAuthenticated, NotConnected
from engine.brokers.questrade import Login, QuestradeBroker, open_session
from engine.brokers.questrade.session import Session
from engine.core.model import NANOS
from engine.ops.errors import UserError
from tests.brokers.peer_questrade import SHOP, TIMEOUT_S, make_server
from tests.loopback.faults import Fault
from tests.loopback.questrade import FIRST_TOKEN, QuestradeServer

HALF_AN_HOUR = 1800 * NANOS


class Clock:
    ahead = 0

    def __call__(self) -> int:
        return time.time_ns() + self.ahead


class Desk:
    """A server, and brokers that log in to it with the same file of tokens."""

    def __init__(self, server: QuestradeServer, folder: Path) -> None:
        self.server = server
        self.path = folder / "data" / "tokens.json"
        self.clock = Clock()
        self.brokers: list[QuestradeBroker] = []

    def login(self, token: str = FIRST_TOKEN) -> Login:
        return Login(SecretStr(token), self.path, url=self.server.login_url, timeout_s=TIMEOUT_S)

    def broker(self, token: str = FIRST_TOKEN) -> QuestradeBroker:
        broker = QuestradeBroker([SHOP], open_session(self.login(token), self.clock))
        self.brokers.append(broker)
        return broker

    async def connected(self) -> QuestradeBroker:
        broker = self.broker()
        await broker.connect()
        return broker

    def stored(self) -> str:
        return json.decode(self.path.read_bytes())["refresh_token"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    server = make_server()
    await server.start()
    desk = Desk(server, tmp_path)
    yield desk
    for broker in desk.brokers:
        await broker.disconnect()
    await server.stop()


# --- on the disk ---------------------------------------------------------------------------------


async def test_new_tokens_are_on_the_disk_before_they_are_used(desk: Desk) -> None:
    seen: list[bool] = []
    desk.server.asked = lambda: seen.append(desk.stored() == desk.server.refresh_token)
    broker = await desk.connected()
    desk.clock.ahead = HALF_AN_HOUR
    await broker.get_positions()
    assert desk.server.logins == [FIRST_TOKEN, "refresh-canary-1"]
    assert seen == [True, True]


async def test_nobody_else_may_read_them(desk: Desk) -> None:
    before = os.umask(0)
    try:
        await desk.connected()
    finally:
        os.umask(before)
    files = [desk.path.parent, *desk.path.parent.iterdir()]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o700, 0o600, 0o600]


async def test_a_restart_goes_on_with_the_tokens_that_are_stored(desk: Desk) -> None:
    for _ in range(2):
        await desk.connected()
    assert desk.server.logins == [FIRST_TOKEN]
    desk.clock.ahead = HALF_AN_HOUR
    await desk.connected()
    assert desk.server.logins == [FIRST_TOKEN, "refresh-canary-1"]


async def test_a_token_made_by_hand_takes_the_place_of_the_stored_ones(desk: Desk) -> None:
    await desk.connected()
    desk.server.refresh_token = "made-by-hand-again"
    desk.clock.ahead = HALF_AN_HOUR
    with pytest.raises(UserError):
        await desk.broker().connect()
    await desk.broker("made-by-hand-again").connect()
    desk.clock.ahead *= 2
    await desk.broker("made-by-hand-again").connect()
    assert desk.server.logins[2:] == ["made-by-hand-again", "refresh-canary-3"]
    await desk.broker("").connect()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"refresh_token": 1}'])
async def test_without_tokens_it_says_what_to_do(desk: Desk, content: bytes | None) -> None:
    if content is not None:
        desk.path.parent.mkdir()
        desk.path.write_bytes(content)
    with pytest.raises(UserError, match="QUESTRADE_REFRESH_TOKEN"):
        await desk.broker("").connect()
    assert not desk.server.logins


async def test_tokens_that_the_disk_does_not_take_are_not_used_and_not_lost(desk: Desk) -> None:
    broker = await desk.connected()
    in_the_way = desk.path.with_name("tokens.json.new")
    in_the_way.mkdir()
    desk.clock.ahead = HALF_AN_HOUR
    asked = desk.server.faults.requests["positions"]
    for _ in range(2):
        with pytest.raises(NotConnected, match="cannot be stored"):
            await broker.get_positions()
    assert desk.server.faults.requests["positions"] == asked
    in_the_way.rmdir()
    await broker.get_positions()
    assert len(desk.server.logins) == 2
    assert desk.stored() == desk.server.refresh_token


async def test_without_a_lock_nothing_is_refreshed(desk: Desk) -> None:
    desk.path.with_name("tokens.json.lock").mkdir(parents=True)
    with pytest.raises(UserError, match="DATA_DIR"):
        await desk.broker().connect()
    assert not desk.server.logins


# --- processes -----------------------------------------------------------------------------------

STEPS = """
import asyncio, os, signal, sys, time
from pathlib import Path
from pydantic import SecretStr
from engine.brokers.questrade import Login, QuestradeBroker, access, open_session
from engine.ops import files

url, path, token, step = sys.argv[1:]


def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_after(function):
    return lambda *a, **n: (function(*a, **n), dies())


if step == "locked":
    access.Access._log_in = dies
elif step == "answered":
    files.open_private = dies
elif step == "written":
    files.name_durably = dies
elif step == "named":
    Path.replace = dies_after(Path.replace)
elif step == "stored":
    files.name_durably = dies_after(files.name_durably)
login = Login(SecretStr(token), Path(path), url=url)
broker = QuestradeBroker([], open_session(login, time.time_ns))


async def main():
    await broker.connect()
    await broker.disconnect()


asyncio.run(main())
"""


async def run(desk: Desk, step: str = "") -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STEPS, desk.server.login_url, desk.path, FIRST_TOKEN, step
    )
    async with asyncio.timeout(60):
        return await process.wait()


@pytest.mark.parametrize(
    ("step", "goes_on"),
    [
        ("locked", True),
        ("answered", False),
        ("written", False),
        ("named", True),
        ("stored", True),
    ],
)
async def test_killed_at_any_step_it_goes_on_or_says_what_to_do(
    desk: Desk, step: str, goes_on: bool
) -> None:
    """What the login server gave and the disk had not yet is lost: nobody can give it again."""
    assert await run(desk, step) == -signal.SIGKILL
    broker = desk.broker()
    if goes_on:
        await broker.connect()
    else:
        with pytest.raises(UserError, match="set it as QUESTRADE_REFRESH_TOKEN"):
            await broker.connect()
        desk.server.refresh_token = "made-by-hand-again"
        broker = desk.broker("made-by-hand-again")
        await broker.connect()
    assert not await broker.get_positions()


async def test_who_comes_while_another_one_refreshes_waits_for_that(desk: Desk) -> None:
    """A lock is its descriptor's: here it is as between processes."""
    desk.server.faults.plan("login", Fault.SLOW)
    await asyncio.gather(*(desk.broker().connect() for _ in range(3)))
    assert desk.server.logins == [FIRST_TOKEN]


async def test_processes_share_one_refresh(desk: Desk) -> None:
    ended = await asyncio.gather(*(run(desk) for _ in range(3)))
    assert ended == [0, 0, 0]
    assert desk.server.logins == [FIRST_TOKEN]


# --- shared --------------------------------------------------------------------------------------


async def test_one_session_serves_several_and_closes_with_the_last(desk: Desk) -> None:
    session = open_session(desk.login(), desk.clock)
    first, second = (QuestradeBroker([SHOP], session) for _ in range(2))
    await first.connect()
    await second.connect()
    desk.server.faults.plan("positions", Fault.SLOW)
    asking = asyncio.create_task(second.get_positions())
    await desk.server.faults.has_come("positions", 1)
    await first.disconnect()
    assert not await asking, "what is under way is not cut off"
    with pytest.raises(NotConnected):
        await first.get_positions()
    assert not await second.get_positions()
    desk.clock.ahead = HALF_AN_HOUR
    await second.get_positions()
    await second.disconnect()
    with pytest.raises(NotConnected):
        await session.get("time", dict)
    await first.connect()
    assert desk.server.logins == [FIRST_TOKEN, "refresh-canary-1"]
    await first.disconnect()


def test_a_session_goes_on_with_another_loop(tmp_path: Path) -> None:
    """The market's instruments are asked for before the engine has its loop."""

    async def connect() -> list[str]:
        server = make_server()
        await server.start()
        login = Login(SecretStr(FIRST_TOKEN), tmp_path / "tokens.json", url=server.login_url)
        session = open_session(login, time.time_ns) if not sessions else sessions[0]
        sessions.append(session)
        broker = QuestradeBroker([SHOP], session)
        try:
            await broker.connect()
        finally:
            await broker.disconnect()
            await server.stop()
        return server.logins

    sessions: list[Session] = []
    assert asyncio.run(connect()) == [FIRST_TOKEN]
    with pytest.raises(NotConnected, match="ConnectError"):  # the first server is gone
        asyncio.run(connect())


def test_a_real_account_is_told_as_one(tmp_path: Path) -> None:
    for practice, url in ((True, "https://practicelogin"), (False, "https://login")):
        login = Login(SecretStr("x"), tmp_path / "tokens.json", practice=practice)
        assert login.login_url == f"{url}.questrade.com"
        assert QuestradeBroker([], open_session(login, time.time_ns)).live is not practice


@pytest.mark.parametrize("url", ["http://login.questrade.com", "https://questrade.com.example.org"])
def test_the_token_is_sent_to_no_login_server_of_somebody_else(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="is not Questrade's"):
        open_session(Login(SecretStr("x"), tmp_path / "tokens.json", url=url), time.time_ns)


# --- refused -------------------------------------------------------------------------------------


async def test_a_token_that_was_used_takes_a_person(desk: Desk) -> None:
    desk.server.refresh_token = "another"
    broker = desk.broker()
    with pytest.raises(UserError, match="works once; make a new token by hand") as refused:
        await broker.connect()
    assert "QUESTRADE_REFRESH_TOKEN" in str(refused.value)
    with pytest.raises(NotConnected):
        await broker.get_positions()
    assert desk.server.logins == [FIRST_TOKEN]
    assert desk.server.faults.requests.total() == 1


async def test_an_access_token_that_became_invalid_is_refreshed_once(desk: Desk) -> None:
    broker = await desk.connected()
    desk.server.access_tokens.clear()
    await asyncio.gather(*(broker.get_positions() for _ in range(20)))
    assert len(desk.server.logins) == 2
    assert desk.server.faults.requests["positions"] == 40


async def test_one_that_stays_invalid_is_not_tried_for_ever(desk: Desk) -> None:
    broker = await desk.connected()
    desk.server.expired = True
    before = desk.server.faults.requests.total()
    for _ in range(3):
        with pytest.raises(NotAuthenticated, match="QUESTRADE_REFRESH_TOKEN"):
            await broker.get_positions()
    assert desk.server.faults.requests.total() == before + 3


async def test_a_refresh_ends_though_nobody_waits_for_it(desk: Desk) -> None:
    broker = await desk.connected()
    desk.clock.ahead = HALF_AN_HOUR
    desk.server.faults.plan("login", Fault.SLOW)
    asking = asyncio.create_task(broker.get_positions())
    await desk.server.faults.has_come("login", 2)
    asking.cancel()
    await broker.disconnect()
    assert desk.stored() == desk.server.refresh_token == "refresh-canary-2"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.RESET, Fault.SERVER_ERROR, Fault.RATE_LIMITED])
async def test_a_login_server_in_trouble_is_asked_again_later(desk: Desk, fault: Fault) -> None:
    desk.server.faults.plan("login", fault)
    broker = desk.broker()
    with pytest.raises(NotConnected):
        await broker.connect()
    await broker.connect()


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.GARBAGE, Fault.GATEWAY_TIMEOUT])
async def test_a_token_whose_answer_was_lost_takes_a_person(desk: Desk, fault: Fault) -> None:
    desk.server.faults.plan("login", fault)
    broker = desk.broker()
    with pytest.raises(NotConnected):
        await broker.connect()
    with pytest.raises(UserError, match="make a new token by hand"):
        await broker.connect()


@pytest.mark.parametrize("server", ["http://example.com/", "https://127.0.0.1/", "nonsense"])
async def test_the_token_goes_to_no_server_of_somebody_else(desk: Desk, server: str) -> None:
    desk.server.api_server = server
    with pytest.raises(UserError, match="names one that is not Questrade's"):
        await desk.broker().connect()
    assert desk.server.faults.requests.total() == 1
    assert desk.stored() == desk.server.refresh_token


async def test_no_secret_is_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    desk.server.faults.plan("login", Fault.GARBAGE, Fault.SERVER_ERROR, Fault.FORBIDDEN)
    told = [repr(desk.broker().__dict__)]
    broker = desk.broker()
    for _ in range(4):
        with pytest.raises((NotConnected, UserError)) as refused:
            await broker.connect()
        told += traceback.format_exception(refused.value)
    desk.server.refresh_token = "hand-canary"
    broker = desk.broker("hand-canary")
    await broker.connect()
    desk.server.expired = True
    with pytest.raises(NotAuthenticated) as dead:
        await broker.get_positions()
    told += traceback.format_exception(dead.value)
    assert "canary" not in "".join(told) + caplog.text
    assert "canary" in desk.path.read_text()
