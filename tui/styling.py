"""What is written to the terminal, with no style said twice.

Textual writes each piece of text with its whole style before it and a reset after it, also where
the next piece has the same: of a row of quotes that is half the bytes.
"""

import re

_STYLE = re.compile(r"\x1b\[([\d;]*)m")
_PARTS = re.compile(r"[34]8;2;\d+;\d+;\d+|[34]8;5;\d+|\d+")
_MOVES = re.compile(r"(?:\x1b\[\d*(?:;\d*)?H|\r|\n)*")
"""What shows nothing by itself, so that it needs no style."""


def frugal(data: str) -> str:
    """`data` with the same effect on a terminal, in fewer bytes. It begins and ends without style,
    as Textual's writes do."""
    pieces = _STYLE.split(data)
    if len(pieces) == 1:
        return data
    written = [pieces[0]]
    has = wants = ""
    for style, text in zip(pieces[1::2], pieces[2::2], strict=True):
        # After a reset, a style is the whole of it; without one in between it adds to what is.
        reset = style in ("", "0")
        wants = "" if reset else f"{wants};{style}" if wants else style
        if has != wants and not _MOVES.fullmatch(text):
            written.append(_change(has, wants))
            has = wants
        written.append(text)
    if has != wants:
        written.append(_change(has, wants))
    return "".join(written)


def _change(has: str, wants: str) -> str:
    if not has or not wants:
        return f"\x1b[{wants or 0}m"
    old, new = _parts(has), _parts(wants)
    if old.keys() != new.keys():
        return f"\x1b[0;{wants}m"
    return f"\x1b[{';'.join(part for kind, part in new.items() if old[kind] != part)}m"


def _parts(style: str) -> dict[str, str]:
    """What a style is made of: the two colours by what they colour, the rest by itself."""
    parts = _PARTS.findall(style)
    return {part[:2] if ";" in part else part: part for part in parts}
