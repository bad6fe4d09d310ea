"""The protocol without a socket: any pieces make the same frames, and garbage makes none."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.protocol import (
    Do,
    Frames,
    Hello,
    Said,
    ToEngine,
    WireError,
    any_command,
    decode,
    do,
    frame,
    is_stopping,
)
from engine.core.events import (
    ChangeCommander,
    ChangeLimit,
    Command,
    ConfirmLive,
    KillPart,
    RearmKillSwitch,
    RequestCancel,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import KillAction, Part, Scope


@given(st.lists(st.text(max_size=50), max_size=8), st.lists(st.integers(0, 500), max_size=12))
def test_in_whatever_pieces_it_comes_it_is_the_same(texts: list[str], cuts: list[int]) -> None:
    sent = b"".join(frame(Said(text)) for text in texts)
    edges = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    frames = Frames(1000)
    heard = [
        decode(content, Said)
        for start, end in itertools.pairwise(edges)
        for content in frames.feed(sent[start:end])
    ]
    assert heard == [Said(text) for text in texts]


def test_a_frame_that_is_too_long_is_refused_before_it_is_here() -> None:
    with pytest.raises(WireError, match="1000000000 bytes"):
        list(Frames(1000).feed((10**9).to_bytes(4, "big")))


@given(st.binary(max_size=200))
def test_garbage_is_told_as_such(content: bytes) -> None:
    try:
        message = decode(content, ToEngine)
    except WireError:
        return
    assert isinstance(message, ToEngine)


COMMANDS = (
    TripKillSwitch(source="console", reason="", action=KillAction.FLATTEN),
    KillPart(part=Part(Scope.SYMBOL, "SPY"), source="console"),
    ToggleStrategy(strategy="vwap", enabled=False),
    ToggleStrategy(strategy="vwap", enabled=True),
    ChangeLimit(name="max_daily_loss", value="10"),
    ChangeLimit(name="max_daily_loss", value="10", word="LOOSEN"),
    RequestCancel(client_order_id="a"),
    RearmKillSwitch(word="REARM"),
    ConfirmLive(word="LIVE"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_a_command_arrives_as_it_was_sent(command: Command) -> None:
    (content,) = Frames(1000).feed(frame(do(command)))
    message = decode(content, ToEngine)
    assert isinstance(message, Do)
    assert decode(message.command, any_command()) == command


def test_what_is_no_command_of_an_operator_is_refused() -> None:
    for event in ({"type": "ClockTick", "uptime": 1}, ChangeCommander(author="somebody")):
        with pytest.raises(WireError):
            decode(msgspec.msgpack.encode(event), any_command())


def test_only_what_lessens_risk_counts_as_stopping() -> None:
    assert [is_stopping(command) for command in COMMANDS] == [
        True,
        True,
        True,
        False,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_hello_of_another_program_can_be_read() -> None:
    other = msgspec.msgpack.encode(
        {"type": "Hello", "version": "9.9", "name": "later", "new": [1, 2]}
    )
    assert decode(other, Hello) == Hello("9.9", "later")
