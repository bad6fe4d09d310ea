"""What a terminal sends, as keys and other events: as much of it as hands can have typed.

Line noise, a text that is pasted where the terminal does not mark pastes, a report of the mouse for
each cell that it crosses: all come as bytes, and most bytes are keys. So what comes faster than
hands press is left out before it is interpreted; a kill is always taken.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterable
from itertools import zip_longest

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.message import Message

from tui.commands import ACTIONS

KILL_KEYS = [key for action in ACTIONS if action.id == "kill" for key in action.keys.split(",")]
_KILLS = {
    sequence
    for sequence, keys in ANSI_SEQUENCES_KEYS.items()
    if isinstance(keys, tuple) and len(keys) == 1 and keys[0].value in KILL_KEYS
}

MOST_AT_ONCE, MOST_A_SECOND = 32, 100
"""So many keys may come in one piece, after a pause of the line, and so many a second. A key that
is held comes thirty to sixty times a second."""
REST_S = 1.0
"""After a flood of them keys are taken again so much later."""

PASTE_PAUSE_S = 1.0
"""A paste of which nothing more comes for so long has lost its end; until that all would be text,
the kill key as well."""

_TOKEN = re.compile(
    r"\x1b\[200~(?:(?!\x1b\[201~).)*(?:\x1b\[201~)?"  # a paste, or the beginning of one
    r"|\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.",
    re.DOTALL,
)
_CUT = re.compile(r"\x1b(\[[0-?]{0,24}|O)?\Z")
_CUT_IN_PASTE = re.compile(r".{0,5}\Z", re.DOTALL)
"""An escape sequence that is not whole yet, and what may be the beginning of a paste's end."""
_IS_MOVE = re.compile(r"\x1b\[<(3[2-9]|[45]\d|6[0-3]);")
_IS_SIZE = re.compile(r"\x1b\[48;.*t")
"""A report of the window's size, which was not asked for: the system tells it."""


class Keyboard:
    """Takes bytes as they are read; times are monotonic seconds."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser()
        self._in_paste = False
        self._cut = ""
        """The end of what the parser has, where what follows may belong to it."""
        self._last = 0.0
        self._many = 0.0

    def feed(self, data: bytes, now: float) -> list[Message]:
        """The events that `data` completes."""
        text = self._decode(data)
        elapsed, self._last = now - self._last, now
        is_kill = _KILLS.issuperset(_TOKEN.findall(text))
        if self._in_paste and (is_kill or elapsed >= PASTE_PAUSE_S):
            self._begin_anew()
        text = self._sift(text, elapsed)
        self._follow(text)
        try:
            return list(self._parser.feed(text)) if text else []
        except Exception:  # whatever a terminal sends, the next key is read
            self._begin_anew()
            return []

    def tick(self) -> Iterable[Message]:
        """To be called now and then: an escape after which nothing comes is a key."""
        return self._parser.tick()

    def _begin_anew(self) -> None:
        self._parser, self._in_paste, self._cut = XTermParser(), False, ""

    def _follow(self, text: str) -> None:
        """Know of the parser, which gets `text`, whether it is in a paste."""
        recent = self._cut + text
        begun, ended = recent.rfind(BRACKETED_PASTE_START), recent.rfind(BRACKETED_PASTE_END)
        if begun != ended:
            self._in_paste = begun > ended
        cut = (_CUT_IN_PASTE if self._in_paste else _CUT).search(recent)
        self._cut = cut.group() if cut else ""

    def _sift(self, text: str, elapsed: float) -> str:
        """`text` without what hands cannot have done."""
        known, pasted = self._cut, ""
        if self._in_paste:
            end = (known + text).find(BRACKETED_PASTE_END)
            if end < 0:
                return text
            length = end + len(BRACKETED_PASTE_END) - len(known)
            known, pasted, text = "", text[:length], text[length:]
        tokens = [token for token in _TOKEN.findall(known + text) if not _IS_SIZE.match(token)]
        tokens = [
            token
            for token, following in zip_longest(tokens, tokens[1:], fillvalue="")
            if not (_IS_MOVE.match(token) and _IS_MOVE.match(following))
        ]
        keys = sum(not _is_paste(token) for token in tokens)
        left = max(0.0, self._many - elapsed * MOST_A_SECOND)
        self._many = min(left + keys, MOST_AT_ONCE - 1 + REST_S * MOST_A_SECOND)
        if self._many > MOST_AT_ONCE:
            tokens = [token for token in tokens if _is_paste(token) or token in _KILLS]
        return pasted + "".join(tokens).removeprefix(known)


def _is_paste(token: str) -> bool:
    return token.startswith(BRACKETED_PASTE_START)
