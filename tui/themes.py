"""The console's colours: four themes in full colour, and one in the terminal's own 16.

Panels draw with the names of a palette's styles; the style sheets use the variables of the themes.
Every name also reads without colour: by a word, a sign, weight or reverse video.
"""

from functools import cache
from typing import NamedTuple

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

DARK, LIGHT, HIGH_CONTRAST = "dark", "light", "high_contrast"
COLOUR_BLIND, TERMINAL = "colour_blind", "terminal"


class Palette(NamedTuple):
    """A theme in full colour. The colours are all of xterm's 256: the same in every terminal that
    has these, and half as long to send. `frame` has those of the borders: in paper, in live, each
    in and out of focus, and of what is old."""

    ground: str
    raised: str
    styles: dict[str, str]
    frame: dict[str, str]
    scrollbar: str
    dark: bool = True


PALETTES = {
    DARK: Palette(
        ground="#121212",
        raised="#1c1c1c",
        styles={
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
            "tab": "bold reverse #87afd7",
            "paper": "bold #080808 on #5fd7af",
            "live": "bold #ffffff on #d70087",
            "past": "bold #080808 on #afafff",
            "alarm": "bold #ffffff on #d70000",
            "caution": "bold #080808 on #ffaf00",
            "cursor": "on #00005f",
        },
        frame={
            "frame": "#005f5f",
            "frame-focus": "#5fd7af",
            "frame-live": "#d70087",
            "frame-live-focus": "#ff87d7",
            "frame-past": "#8787d7",
            "frame-past-focus": "#d7d7ff",
            "frame-old": "#87875f",
        },
        scrollbar="#4e4e4e",
    ),
    LIGHT: Palette(
        ground="#ffffff",
        raised="#eeeeee",
        styles={
            "text": "#303030",
            "strong": "bold #000000",
            "dim": "#626262",
            "head": "#005f87",
            "up": "#005f00",
            "down": "#af0000",
            "warn": "#875f00",
            "info": "#005faf",
            "good": "#005f00",
            "stale": "italic #5f5f00",
            "key": "bold #005faf",
            "tab": "bold reverse #005f87",
            "paper": "bold #ffffff on #005f5f",
            "live": "bold #ffffff on #8700af",
            "past": "bold #ffffff on #5f5faf",
            "alarm": "bold #ffffff on #af0000",
            "caution": "bold #080808 on #ffaf00",
            "cursor": "on #d7ffff",
        },
        frame={
            "frame": "#5f8787",
            "frame-focus": "#005f5f",
            "frame-live": "#af00af",
            "frame-live-focus": "#5f0087",
            "frame-past": "#5f5faf",
            "frame-past-focus": "#00005f",
            "frame-old": "#87875f",
        },
        scrollbar="#a8a8a8",
        dark=False,
    ),
    HIGH_CONTRAST: Palette(
        ground="#000000",
        raised="#000000",
        styles={
            "text": "#ffffff",
            "strong": "bold #ffffff",
            "dim": "#d0d0d0",
            "head": "#87d7ff",
            "up": "#87ff87",
            "down": "#ff8787",
            "warn": "#ffd75f",
            "info": "#87d7ff",
            "good": "#87ff87",
            "stale": "italic #d7d787",
            "key": "bold #87d7ff",
            "tab": "bold reverse #87d7ff",
            "paper": "bold #000000 on #5fffd7",
            "live": "bold #000000 on #ff87ff",
            "past": "bold #000000 on #afafff",
            "alarm": "bold #ffffff on #870000",
            "caution": "bold #000000 on #ffd700",
            "cursor": "on #00005f",
        },
        frame={
            "frame": "#87d7d7",
            "frame-focus": "#ffffff",
            "frame-live": "#ff87ff",
            "frame-live-focus": "#ffd7ff",
            "frame-past": "#afafff",
            "frame-past-focus": "#d7d7ff",
            "frame-old": "#d7d787",
        },
        scrollbar="#d0d0d0",
    ),
    # Blue and orange are told apart with any of the usual kinds of colour blindness.
    COLOUR_BLIND: Palette(
        ground="#121212",
        raised="#1c1c1c",
        styles={
            "text": "#d0d0d0",
            "strong": "bold #eeeeee",
            "dim": "#949494",
            "head": "#afafd7",
            "up": "#5fafff",
            "down": "#ff8700",
            "warn": "#ffd75f",
            "info": "#87d7ff",
            "good": "#5fafff",
            "stale": "italic #8a8a8a",
            "key": "bold #87d7ff",
            "tab": "bold reverse #afafd7",
            "paper": "bold #080808 on #5fafff",
            "live": "bold #080808 on #ff8700",
            "past": "bold #080808 on #d7afff",
            "alarm": "bold #080808 on #ffffff",
            "caution": "bold #080808 on #ffd75f",
            "cursor": "on #00005f",
        },
        frame={
            "frame": "#005f87",
            "frame-focus": "#5fafff",
            "frame-live": "#ff8700",
            "frame-live-focus": "#ffd7af",
            "frame-past": "#af87d7",
            "frame-past-focus": "#d7afff",
            "frame-old": "#8a8a8a",
        },
        scrollbar="#4e4e4e",
    ),
}

# Black on a colour and reverse video keep their meaning under NO_COLOR, where only weight and
# reverse are left.
_TERMINAL_STYLES = {
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
    "tab": "bold reverse cyan",
    "paper": "bold reverse cyan",
    "live": "bold reverse magenta",
    "past": "bold reverse blue",
    "alarm": "bold reverse red",
    "caution": "bold reverse yellow",
    "cursor": "reverse not dim",
}

BADGES = frozenset({"paper", "live", "past", "alarm", "caution", "tab"})
"""Styles with a background: spaces in them show."""


def _theme(name: str, palette: Palette) -> Theme:
    ground, styles = palette.ground, palette.styles
    return Theme(
        name=name,
        dark=palette.dark,
        primary=styles["info"],
        secondary=palette.frame["frame-focus"],
        accent=styles["info"],
        warning=styles["warn"],
        error=styles["down"],
        success=styles["up"],
        foreground=styles["text"],
        background=ground,
        surface=ground,
        panel=palette.raised,
        variables={
            **palette.frame,
            "veil": f"{ground} 60%",
            "title": styles["head"],
            "scrollbar": palette.scrollbar,
            "scrollbar-hover": palette.scrollbar,
            "scrollbar-active": styles["info"],
            "scrollbar-background": ground,
            "scrollbar-background-hover": ground,
            "scrollbar-background-active": ground,
            "input-cursor-background": styles["text"],
            "input-cursor-foreground": ground,
        },
    )


THEMES = (
    *(_theme(name, palette) for name, palette in PALETTES.items()),
    Theme(
        name=TERMINAL,
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
            "frame-past": "ansi_blue",
            "frame-past-focus": "ansi_bright_blue",
            "frame-old": "ansi_yellow",
            "veil": "transparent",
            "title": "ansi_cyan",
            "block-cursor-foreground": "ansi_black",
            "block-cursor-background": "ansi_cyan",
            "input-cursor-text-style": "reverse",
        },
    ),
)

NAMES = tuple(theme.name for theme in THEMES)
"""The themes, in the order in which the console goes through them."""


@cache
def style(theme: str, name: str, selected: bool = False) -> Style:
    """The style called `name`, over the cursor's where the row is `selected`."""
    palette = PALETTES.get(theme)
    names, ground = (palette.styles, f"on {palette.ground}") if palette else (_TERMINAL_STYLES, "")
    cursor = names["cursor"] if selected and name not in BADGES else ""
    return Style.parse(f"{ground} {names[name]} {cursor}")
