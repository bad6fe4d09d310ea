"""The console's colours: one dark theme in full colour, one in the terminal's own 16.

Panels draw with the names of `_NIGHT` and `_ANSI`; the style sheets use the variables of the
themes. Every name also reads without colour: by a word, a sign, weight or reverse video.
"""

from functools import cache

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

NIGHT = "tradebot-night"
ANSI = "tradebot-ansi"

# The full colours are all of xterm's 256: the same in every terminal that has these, and half as
# long to send.
_NIGHT_GROUND = "on #121212"
_NIGHT = {
    "text": "#d0d0d0",
    "strong": "bold #eeeeee",
    "dim": "#8a8a8a",
    "head": "#87afd7",
    "up": "#5fd787",
    "down": "#ff5f5f",
    "warn": "#ffaf5f",
    "info": "#5fafff",
    "good": "#5fd787",
    "stale": "italic #87875f",
    "key": "bold #5fafff",
    "paper": "bold #080808 on #5fd7af",
    "live": "bold #ffffff on #d70087",
    "alarm": "bold #ffffff on #d70000",
    "caution": "bold #080808 on #ffaf00",
    "cursor": "on #00005f",
}
# Black on a colour and reverse video keep their meaning under NO_COLOR, where only weight and
# reverse are left.
_ANSI = {
    "text": "default",
    "strong": "bold",
    "dim": "dim",
    "head": "cyan",
    "up": "green",
    "down": "red",
    "warn": "yellow",
    "info": "cyan",
    "good": "green",
    "stale": "dim italic",
    "key": "bold cyan",
    "paper": "bold reverse cyan",
    "live": "bold reverse magenta",
    "alarm": "bold reverse red",
    "caution": "bold reverse yellow",
    "cursor": "reverse not dim",
}

THEMES = (
    Theme(
        name=NIGHT,
        primary="#5fafff",
        secondary="#5fd7af",
        accent="#5fafff",
        warning="#ffaf5f",
        error="#ff5f5f",
        success="#5fd787",
        foreground="#d0d0d0",
        background="#121212",
        surface="#121212",
        panel="#1c1c1c",
        variables={
            "frame": "#005f5f",
            "frame-focus": "#5fd7af",
            "frame-live": "#d70087",
            "frame-live-focus": "#ff87d7",
            "frame-old": "#87875f",
            "veil": "#121212 60%",
            "title": "#87afd7",
            "scrollbar": "#4e4e4e",
            "scrollbar-hover": "#4e4e4e",
            "scrollbar-active": "#5fafff",
            "scrollbar-background": "#121212",
            "scrollbar-background-hover": "#121212",
            "scrollbar-background-active": "#121212",
            "input-cursor-background": "#d0d0d0",
            "input-cursor-foreground": "#121212",
        },
    ),
    Theme(
        name=ANSI,
        ansi=True,
        primary="ansi_cyan",
        secondary="ansi_cyan",
        accent="ansi_cyan",
        warning="ansi_yellow",
        error="ansi_red",
        success="ansi_green",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            **BUILTIN_THEMES["ansi-dark"].variables,
            "frame": "ansi_cyan",
            "frame-focus": "ansi_bright_white",
            "frame-live": "ansi_magenta",
            "frame-live-focus": "ansi_bright_magenta",
            "frame-old": "ansi_yellow",
            "veil": "transparent",
            "title": "ansi_cyan",
            "block-cursor-foreground": "ansi_black",
            "block-cursor-background": "ansi_cyan",
            "input-cursor-text-style": "reverse",
        },
    ),
)

BADGES = frozenset({"paper", "live", "alarm", "caution"})
"""Styles with a background: spaces in them show."""


@cache
def style(theme: str, name: str, selected: bool = False) -> Style:
    """The style called `name`, over the cursor's where the row is `selected`."""
    names, ground = (_ANSI, "") if theme == ANSI else (_NIGHT, _NIGHT_GROUND)
    cursor = names["cursor"] if selected and name not in BADGES else ""
    return Style.parse(f"{ground} {names[name]} {cursor}")
