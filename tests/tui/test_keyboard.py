"""What a terminal sends, and which of it are keys."""

import random

import pytest
from textual.events import Key, MouseEvent, Paste
from textual.message import Message

from tui.keyboard import KILL_KEYS, MOST_AT_ONCE, PASTE_PAUSE_S, REST_S, Keyboard

KILL = b"\x0b"
TEXT = b"yes, stop it: p q s 1\n"


def keys(events: list[Message]) -> list[str]:
    return [event.key for event in events if isinstance(event, Key)]


def fed(keyboard: Keyboard, data: bytes, now: float = 0.0, piece: int = 4096) -> list[Message]:
    """What comes of `data`, which is read in pieces at one moment."""
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    return [event for each in pieces for event in keyboard.feed(each, now)]


def test_keys_are_what_they_are() -> None:
    found = keys(fed(Keyboard(), b"q\x1b[A\x1b[15~\x0b\x1b[24~"))
    assert found == ["q", "up", "f5", *KILL_KEYS]


def test_a_word_typed_ahead_is_taken_and_so_is_a_key_that_is_held() -> None:
    keyboard = Keyboard()
    assert len(keys(fed(keyboard, b"x" * MOST_AT_ONCE, 1.0))) == MOST_AT_ONCE
    held = [keys(fed(keyboard, b"\x1b[B", 2 + n / 60)) for n in range(600)]
    assert held == [["down"]] * 600


@pytest.mark.parametrize("piece", [1, 100, 4096])
def test_a_text_without_marks_is_no_typing_but_kills_where_it_says_so(piece: int) -> None:
    keyboard = Keyboard()
    typed = keys(fed(keyboard, TEXT * 1000, 1.0, piece))
    assert len(typed) <= (MOST_AT_ONCE if piece == 1 else 0)
    assert keys(fed(keyboard, TEXT * 10 + KILL + TEXT, 1.0)) == KILL_KEYS[:1]
    assert keys(fed(keyboard, b"q", 1.0 + REST_S)) == ["q"]


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_a_paste_is_text_to_its_end(piece: int) -> None:
    text = TEXT * 500 + b"\xff" + (KILL if piece > 1 else b"")  # alone it is the key
    found = fed(Keyboard(), b"\x1b[200~" + text + b"\x1b[201~q", piece=piece)
    assert [type(event) for event in found] == [Paste, Key]
    assert isinstance(found[0], Paste)
    assert found[0].text == text.decode(errors="replace")


def test_a_paste_that_lost_its_end_is_given_up() -> None:
    keyboard = Keyboard()
    assert fed(keyboard, b"\x1b[200~" + TEXT, 0.0) == []
    assert keys(fed(keyboard, b"q", 0.1)) == []
    assert keys(fed(keyboard, b"q", 0.1 + PASTE_PAUSE_S)) == ["q"]


def test_the_kill_key_is_heard_in_a_paste_that_lost_its_end() -> None:
    keyboard = Keyboard()
    fed(keyboard, b"\x1b[200~" + TEXT, 0.0)
    assert keys(fed(keyboard, KILL + KILL, 0.1)) == KILL_KEYS[:1] * 2


def test_of_the_reports_of_a_moving_mouse_the_last_counts() -> None:
    moves = b"".join(b"\x1b[<35;%d;5M" % x for x in range(1, 300))
    moved, pressed = fed(Keyboard(), moves + b"\x1b[<0;7;9M")
    assert isinstance(moved, MouseEvent)
    assert isinstance(pressed, MouseEvent)
    assert (moved.x, moved.y, pressed.x, pressed.y) == (298, 4, 6, 8)


@pytest.mark.parametrize("data", [b"\x1b[48;0;0;0;0t", b"\x1b[48;1;1;1;1t\x1b[<0;5;5M"])
def test_the_terminal_does_not_say_how_large_it_is(data: bytes) -> None:
    assert all(isinstance(event, MouseEvent) for event in fed(Keyboard(), data))


def test_no_bytes_break_it() -> None:
    keyboard, noise = Keyboard(), random.Random(5)
    escapes = (b"\x1b[", b"\x1bO", b"\x1b[<", b"\x1b]", b"\x1b[48;", b"\x1b[200~", b"\xe2\x82")
    for second in range(0, 4000, 2):
        fed(keyboard, noise.choice(escapes) + noise.randbytes(noise.randrange(24)), second)
        list(keyboard.tick())
    assert keys(fed(keyboard, b"\r" * 40 + KILL, 5000)) == KILL_KEYS[:1]
    assert keys(fed(keyboard, b"q", 5000 + REST_S)) == ["q"]
