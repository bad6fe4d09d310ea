"""Consoles on a real socket: what they see, what they may, and what they cannot do."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.control import server as serving
from engine.control.address import listen
from engine.control.client import STOPPED, RemoteEngine
from engine.control.protocol import (
    LONGEST_TO_CONSOLE,
    Do,
    Frames,
    Hello,
    Refused,
    ToConsole,
    decode,
    do,
    frame,
    version,
)
from engine.control.server import MOST_CONSOLES, ControlServer
from engine.core.events import (
    ChangeCommander,
    Command,
    ConfirmLive,
    RearmKillSwitch,
    SignOfLife,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import NANOS
from engine.ops.errors import UserError
from engine.view.questions import A, Bars, Chart, Question
from engine.view.snapshot import LogLine, Snapshot
from tests.tui import scripted

WITHIN_S = 10
REARM = RearmKillSwitch(word="REARM", author="forged")
CONFIRM = ConfirmLive(word="LIVE", author="forged")
KILL = TripKillSwitch(source="console", reason="kill key", author="forged")


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def shows(console: RemoteEngine, snapshot: Snapshot) -> bool:
    """Whether the console has it, to the last byte."""
    return msgspec.msgpack.encode(console.latest()) == msgspec.msgpack.encode(snapshot)


class Served:
    """A server on a thread, and the engine that it serves: it keeps what it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.snapshot: Snapshot | None = scripted.paper()
        self.sent: list[Command] = []
        self.asked: list[tuple[Question[Any], Future[Any]]] = []
        self.stops = 0
        self.running = True
        self.server: ControlServer | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._over = asyncio.Event()
        self._thread.start()
        until(lambda: self.server)

    async def _run(self) -> None:
        server = ControlServer(self, self.path)
        await server.start()
        self.server = server
        await self._over.wait()
        await server.close()
        self.running = False

    def latest(self) -> Snapshot | None:
        return self.snapshot

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def ask(self, question: Question[A]) -> Future[A]:
        answer: Future[A] = Future()
        self.asked.append((question, answer))
        return answer

    def ask_to_stop(self) -> None:
        self.stops += 1

    def show(self, **fields: object) -> Snapshot:
        """The next snapshot: as the last, but for `fields`."""
        assert self.snapshot is not None
        assert self.server is not None
        after = replace(self.snapshot, seq=self.snapshot.seq + 1, **fields)
        self.snapshot = after
        self._loop.call_soon_threadsafe(self.server.show)
        return after

    def end(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(WITHIN_S)
            self._loop.close()

    @property
    def ordered(self) -> list[Command]:
        """What consoles ordered."""
        return [command for command in self.sent if not isinstance(command, ChangeCommander)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "control" / "paper.sock")
    yield served
    served.end()


@pytest.fixture
def attach(engine: Served) -> Iterator[Callable[..., RemoteEngine]]:
    attached: list[RemoteEngine] = []

    def run(name: str = "me", *, commands: bool = True) -> RemoteEngine:
        hello = Hello(version(), name, commands=commands)
        gone = lambda: "" if engine.running else "the engine is gone"  # noqa: E731
        console = RemoteEngine(engine.path, hello, gone)
        attached.append(console)
        console.start()
        until(lambda: console.standing().consoles)
        until(lambda: console.latest() or engine.snapshot is None)
        return console

    yield run
    for console in attached:
        console.close()


Attach = Callable[..., RemoteEngine]


# --- what they see -------------------------------------------------------------------------------


def test_two_consoles_see_the_same(engine: Served, attach: Attach) -> None:
    one = attach("one")
    for number in range(5):
        engine.show(log=(LogLine(number, 0, "info", f"line {number}"),))
    two = attach("two")
    last = engine.show(cash=None)
    until(lambda: shows(one, last) and shows(two, last))
    assert one.failure() is None


def test_at_most_ten_snapshots_a_second_are_sent(engine: Served, attach: Attach) -> None:
    console = attach()
    seen: list[Snapshot | None] = []
    end = time.monotonic() + 1
    while time.monotonic() < end:
        engine.show()
        if not seen or seen[-1] is not console.latest():
            seen.append(console.latest())
        time.sleep(0.002)
    assert 5 <= len(seen) <= 12


def test_the_engine_says_goodbye_with_its_last_snapshot(engine: Served, attach: Attach) -> None:
    console = attach()
    engine.snapshot = replace(scripted.paper(), left_open=("still open",))
    engine.end()
    assert console.wait_for_end(WITHIN_S)
    assert console.failure() == STOPPED
    assert console.stopped
    last = console.latest()
    assert last is not None
    assert last.left_open == ("still open",)


def test_an_engine_that_is_gone_without_a_word_is_told(engine: Served, attach: Attach) -> None:
    console = attach()
    engine.running = False
    assert engine.server is not None
    for peer in [*engine.server.consoles]:
        peer._transport.abort()
    engine.path.unlink()
    assert console.wait_for_end(WITHIN_S)
    assert console.failure() == "the engine is gone"
    assert not console.stopped


def test_a_lost_connection_is_made_again(engine: Served, attach: Attach) -> None:
    console = attach()
    assert engine.server is not None
    consoles = engine.server.consoles
    (peer,) = consoles
    peer._transport.abort()
    until(lambda: peer not in consoles and consoles)
    last = engine.show(cash=None)
    until(lambda: shows(console, last))
    assert console.failure() is None
    assert console.standing().mine


# --- who commands --------------------------------------------------------------------------------


def test_the_first_commands_and_the_second_only_stops(engine: Served, attach: Attach) -> None:
    one, two = attach("one"), attach("two")
    assert one.standing().mine
    assert not two.standing().mine
    two.send(REARM)
    two.send(SignOfLife())
    two.send(KILL)
    one.send(REARM)
    one.send(CONFIRM)
    until(lambda: len(engine.ordered) == 3)
    author = f"two (pid {os.getpid()})"
    assert replace(KILL, author=author) in engine.ordered
    for command in (REARM, CONFIRM):
        assert replace(command, author=f"one (pid {os.getpid()})") in engine.ordered
    notes: list[str] = []
    until(lambda: notes.extend(two.notes()) or notes)
    assert notes == [f"not done: one (pid {os.getpid()}) is in command"]


def test_the_command_passes_to_who_asks_unless_it_is_kept(
    engine: Served, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.control.seat.PASSES_AFTER_S", 0.5)
    one, two = attach("one"), attach("two")
    two.ask_for_command()
    until(lambda: one.standing().asks.startswith("two"))
    one.keep_command()
    until(lambda: not one.standing().asks)
    until(lambda: "keeps the command" in "".join(two.notes()))
    assert one.standing().mine
    two.ask_for_command()
    until(lambda: two.standing().mine)
    until(lambda: not one.standing().mine)
    takers = [command.author for command in engine.sent if isinstance(command, ChangeCommander)]
    assert [author[:3] for author in takers] == ["one", "two"]


def test_who_commanded_and_left_leaves_it_to_who_asks(engine: Served, attach: Attach) -> None:
    one, two = attach("one"), attach("two")
    one.close()
    until(lambda: two.standing().consoles == 1)
    assert not two.standing().mine
    two.send(ToggleStrategy(strategy="vwap", enabled=True))
    until(lambda: "no console is in command" in "".join(two.notes()))
    two.ask_for_command()
    until(lambda: two.standing().mine)
    assert engine.ordered == []


def test_one_that_is_read_only_never_commands(engine: Served, attach: Attach) -> None:
    console = attach("reader", commands=False)
    console.ask_for_command()
    console.send(REARM)
    console.stop_engine()
    console.send(KILL)
    until(lambda: engine.ordered)
    assert [type(command) for command in engine.ordered] == [TripKillSwitch]
    assert engine.stops == 0
    standing = console.standing()
    assert not standing.holder
    assert not standing.may_ask


def test_only_the_console_in_command_stops_the_engine(engine: Served, attach: Attach) -> None:
    one, two = attach("one"), attach("two")
    two.stop_engine()
    until(lambda: "was not stopped" in "".join(two.notes()))
    assert engine.stops == 0
    one.stop_engine()
    until(lambda: engine.stops)


# --- what they ask -------------------------------------------------------------------------------


def test_a_question_is_answered_over_the_socket(engine: Served, attach: Attach) -> None:
    console = attach()
    first, second = console.ask(Bars("SPY", 10)), console.ask(Bars("BTC-USD", 1))
    until(lambda: len(engine.asked) == 2)
    (bars, answer), (other, later) = engine.asked
    assert (bars, other) == (Bars("SPY", 10), Bars("BTC-USD", 1))
    later.set_result(Chart("BTC-USD", (), (), ()))
    answer.set_result(Chart("SPY", (), (), scripted.paper().signals))
    assert first.result(WITHIN_S) == Chart("SPY", (), (), scripted.paper().signals)
    assert second.result(WITHIN_S).symbol == "BTC-USD"


def test_why_a_question_has_no_answer_is_told(engine: Served, attach: Attach) -> None:
    console = attach()
    refused, broken, open_one = (console.ask(Bars("SPY", n)) for n in (1, 2, 3))
    until(lambda: len(engine.asked) == 3)
    engine.asked[0][1].set_exception(UserError("too many questions", "wait"))
    engine.asked[1][1].set_exception(ValueError("with a secret in it"))
    assert str(refused.exception(WITHIN_S)) == "too many questions\nwait"
    assert "secret" not in str(broken.exception(WITHIN_S))
    assert "ValueError" in str(broken.exception(WITHIN_S))
    console.close()
    assert "no connection" in str(open_one.exception(WITHIN_S))
    assert "no connection" in str(console.ask(Bars("SPY", 4)).exception(WITHIN_S))
    engine.asked[2][1].set_result(Chart("SPY", (), (), ()))


# --- a console that does not read ----------------------------------------------------------------


def hello(connection: socket.socket, name: str = "raw") -> None:
    connection.sendall(frame(Hello(version(), name)))


def raw(engine: Served) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WITHIN_S)
    connection.connect(str(engine.path))
    return connection


def long_log(number: int) -> tuple[LogLine, ...]:
    return tuple(LogLine(number * 1000 + n, 0, "info", "x" * 200) for n in range(500))


def test_a_console_that_reads_nothing_takes_no_memory_and_is_let_go(
    engine: Served, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE_S", 1.0)
    console = attach("reads")
    with raw(engine) as frozen:
        hello(frozen, "frozen")
        until(lambda: console.standing().consoles == 2)
        assert engine.server is not None
        (peer,) = (each for each in engine.server.consoles if each.name.startswith("frozen"))
        most = number = 0
        while peer in engine.server.consoles:
            number += 1
            assert number < 1000
            last = engine.show(log=long_log(number))
            most = max(most, peer._transport.get_write_buffer_size())
            until(lambda: shows(console, last))  # noqa: B023 - waited for here
    one_picture = 500 * 230
    assert 0 < most < 2 * one_picture


def test_a_console_that_reads_again_gets_the_newest(engine: Served, attach: Attach) -> None:
    console = attach("reads")
    with raw(engine) as slow:
        hello(slow)
        until(lambda: console.standing().consoles == 2)
        last = engine.show(log=long_log(0))
        for number in range(1, 8):
            until(lambda: shows(console, last))  # noqa: B023 - waited for here
            last = engine.show(log=long_log(number))
        frames, count = Frames(LONGEST_TO_CONSOLE), 0
        seen: set[int] = set()
        while last.log[0].seq not in seen:
            for content in frames.feed(slow.recv(1 << 16)):
                message = decode(content, ToConsole)
                picture = getattr(message, "snapshot", None)
                if picture is not None:
                    seen.add(picture.log[0].seq)
                elif log := getattr(message, "fields", {}).get("log"):
                    (first, *_) = decode(log, tuple[LogLine, ...])
                    seen.add(first.seq)
                    count += 1
    assert count < 8


# --- what is none of ours ------------------------------------------------------------------------


def told(connection: socket.socket) -> Refused:
    """The refusal, after which the connection ends."""
    frames = Frames(LONGEST_TO_CONSOLE)
    heard: list[object] = []
    while data := connection.recv(65_536):
        heard += [decode(content, ToConsole) for content in frames.feed(data)]
    refusal = heard[-1]
    assert isinstance(refusal, Refused)
    return refusal


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x01\xc1",
        b"\xff\xff\xff\xff",
        frame(do(KILL)),
        frame(Hello(version(), "me")) + frame(Hello(version(), "me")),
        frame(Hello(version(), "me")) + b"\x00\x00\x00\x02{}",
    ],
)
def test_garbage_ends_the_connection_and_nothing_else(
    garbage: bytes, engine: Served, attach: Attach
) -> None:
    console = attach()
    with raw(engine) as connection:
        connection.sendall(garbage)
        assert told(connection).remedy
    last = engine.show(cash=None)
    until(lambda: shows(console, last))
    assert engine.ordered == []


def test_what_is_no_command_is_not_heard(engine: Served) -> None:
    with raw(engine) as connection:
        hello(connection)
        tick = do(KILL).command
        forged = bytes(tick).replace(b"\xaeTripKillSwitch", b"\xaeClockTickxxxxx")
        connection.sendall(frame(Do(type(tick)(forged))))
        told(connection)
    assert engine.ordered == []


def test_half_a_message_waits_and_says_nothing(
    engine: Served, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HELLO_S", 0.2)
    with raw(engine) as connection:
        connection.sendall(frame(Hello(version(), "me"))[:7])
        assert "did not say who it is" in told(connection).reason


def test_another_version_is_told_what_to_do(engine: Served) -> None:
    other = RemoteEngine(engine.path, Hello("0.0.1 (00000000)", "old"), lambda: "")
    other.start()
    assert other.wait_for_end(WITHIN_S)
    failure = other.failure() or ""
    assert "0.0.1 (00000000)" in failure
    assert "attach with the engine's" in failure


def test_one_too_many_is_refused(engine: Served) -> None:
    attached = [raw(engine) for _ in range(MOST_CONSOLES)]
    for connection in attached:
        hello(connection)
        connection.recv(1)
    with raw(engine) as late:
        assert "attached already" in told(late).reason
    for connection in attached:
        connection.close()


def test_a_name_cannot_forge_a_line(engine: Served, attach: Attach) -> None:
    console = attach("\x1b[2Jme\n[red]" + "x" * 500)
    name = console.standing().holder
    assert "\x1b" not in name
    assert "[" not in name
    assert len(name) < 120


# --- who may connect -----------------------------------------------------------------------------


def test_nobody_else_can_reach_the_socket(engine: Served) -> None:
    assert stat.S_IMODE(engine.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(engine.path.parent.stat().st_mode) == 0o700


CONNECT = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
while data := connection.recv(65536):
    sys.stdout.buffer.write(data)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_refused_even_where_the_files_let_him(tmp_path: Path) -> None:
    path = Path("/tmp") / f"tradebot-test-{os.getpid()}" / "paper.sock"
    served = Served(path)
    try:
        argv = [sys.executable, "-c", CONNECT, str(path)]
        done = subprocess.run(argv, capture_output=True, cwd="/", timeout=20)
        assert b"PermissionError" in done.stderr
        path.parent.chmod(0o755)
        path.chmod(0o666)
        done = subprocess.run(argv, capture_output=True, cwd="/", timeout=20)
        assert b"another user's" in done.stdout
    finally:
        served.end()
        path.unlink()
        path.parent.rmdir()


def test_a_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "control" / "paper.sock"
    listen(path).close()
    assert path.exists()
    served = Served(path)
    with raw(served) as connection:
        hello(connection)
        assert connection.recv(1)
    served.end()


def test_a_path_that_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120) / "control" / "paper.sock"
    served = Served(path)
    console = RemoteEngine(path, Hello(version(), "me"), lambda: "")
    console.start()
    until(console.latest)
    console.close()
    served.end()


def test_a_folder_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "control").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is not a folder of this user's"):
        listen(tmp_path / "control" / "paper.sock")


def test_an_old_snapshot_is_not_taken_for_a_new_one(engine: Served, attach: Attach) -> None:
    console = attach()
    before = console.latest()
    assert before is not None
    after = engine.show(wall_ts=before.wall_ts + NANOS)
    until(lambda: shows(console, after))
    assert console.latest() is not before


HEARS = """
import asyncio
import sys
from pathlib import Path

import msgspec

from engine.control.protocol import Hello, ToEngine, any_command, decode, do, frame
from engine.control.server import ControlServer
from engine.core.events import TripKillSwitch

async def main():
    await ControlServer(None, Path(sys.argv[1])).start()
    msgspec.msgpack.Decoder = None
    said = Hello("1", "a console"), do(TripKillSwitch(source="now"))
    hello, asked = (frame(each)[4:] for each in said)
    decode(hello, Hello)
    print(decode(decode(asked, ToEngine).command, any_command()).source)

asyncio.run(main())
"""


def test_what_hears_a_console_is_made_before_the_engine_has_threads(tmp_path: Path) -> None:
    """Two threads that make it at once could crash the engine."""
    argv = (sys.executable, "-c", HEARS, str(tmp_path / "control" / "paper.sock"))
    heard = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert heard.stdout == "now\n", heard.stderr
