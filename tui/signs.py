"""The console in plain ASCII, for terminals that show nothing else.

Panels and dialogs draw with the signs they like; what the terminal cannot show is replaced where
lines leave for the screen, one cell by one cell, so that nothing moves. That holds for texts from
outside, too.
"""

import sys
from collections.abc import Mapping
from unicodedata import normalize

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

UNKNOWN = "?"
"""For what is not known (a dash elsewhere), and for a character that has nothing like it."""

_SIGNS = {
    "—": UNKNOWN,
    "\u2013\u2010\u2011\u2212": "-",
    "·": "|",
    "…": "~",
    "\u00d7": "x",
    "●✓": "*",
    "○": "o",
    "◐": "!",
    "‖": ":",
    "✗": "x",
    "■": "#",
    "▲↑": "^",
    "▼↓": "v",
    "▸▶►→": ">",
    "◂◀◄←": "<",
    "\u2018\u2019": "'",
    "\u201c\u201d": '"',
    # Borders: thin in paper, double in live, heavy around a dialog, dashed where all is old.
    "─╌┄┈": "-",
    "│╎┆┊╵╷": "|",
    "╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╞╡╪": "+",
    "━═": "=",
    "┃": "|",
    "║╔╗╚╝╠╣╦╩╬": "#",
    "╍┅": ".",
    "╏": ":",
    # Bars and sparklines, from empty to full.
    "▁": "_",
    "▂": ".",
    "▃": "-",
    "▄▐▍▋": "=",
    "▌▘▖": "o",
    "▅": "+",
    "▆▊▉": "*",
    "▇█▀▓▒": "#",
    "░": ".",
    "▔": "-",
    "▏▎▕": "|",
}
_BRAILLE = range(0x2800, 0x2900)
_DOTS = " ..:::###"
"""Braille cells, which draw charts, by how many of their dots are set."""


class _Table(dict[int, str]):
    """By code point; what is not in it yet is found when it is asked for."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _likeness(chr(code))
        return found


def _likeness(character: str) -> str:
    """What reads most like `character` in as many cells."""
    if character.isascii():
        return character
    code, width = ord(character), cell_len(character)
    if code in _BRAILLE:
        return _DOTS[(code - _BRAILLE.start).bit_count()]
    plain = normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if len(plain) == width and plain.isprintable() else UNKNOWN * width


_TABLE = _Table({ord(each): sign for group, sign in _SIGNS.items() for each in group})


def to_ascii(text: str) -> str:
    """`text` in ASCII alone, in as many cells of the screen."""
    if text.isascii():
        return text
    plain = text.translate(_TABLE)
    width = cell_len(text)
    return plain if len(plain) == width else set_cell_size(plain, width)


def is_ascii_only(environment: Mapping[str, str]) -> bool:
    """Does the terminal, as far as the environment tells, show ASCII alone? The setting SIGNS is
    asked first; where `.env` has it, it is known after the first frame."""
    if (wanted := environment.get("SIGNS", "").lower()) in ("ascii", "unicode"):
        return wanted == "ascii"
    if environment.get("TERM") == "linux":
        return True
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    if sys.flags.utf8_mode:  # then the locale is C, and Python wrote its own LC_CTYPE over it
        names.remove("LC_CTYPE")
    locale = next(filter(None, map(environment.get, names)), "")
    return bool(locale) and "utf8" not in locale.lower().replace("-", "")


class AsciiLines(LineFilter):
    """Has Textual draw every line in ASCII, its own borders included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.text.isascii() else segment._replace(text=to_ascii(segment.text))
            for segment in segments
        ]
