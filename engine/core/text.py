"""Text from outside, made harmless once, at the edge."""

import re

# C0 and C1 controls, zero-width and bidirectional marks, line separators, surrogates, and the
# opening bracket of Rich and Textual markup, which is replaced by a look-alike.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_MARKUP = str.maketrans({"[": "(", "]": ")"})
LIMIT = 300


def clean(text: str, limit: int = LIMIT) -> str:
    """`text` without what could move the cursor, colour, reorder, copy or be taken for markup.

    Control characters, C1 bytes, bidirectional and zero-width marks become a space each, square
    brackets become round ones (both Rich and Textual read them as markup), and at most `limit`
    characters are kept.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable() and "[" not in text and "]" not in text:
        return text  # as most is, and this costs far less
    return _UNSAFE.sub(" ", text).translate(_MARKUP)
