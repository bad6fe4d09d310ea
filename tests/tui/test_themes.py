"""The colours: readable in every theme, told apart by the colour blind, and never the only sign."""

from itertools import product

import pytest
from rich.color import Color, ColorType
from rich.style import Style

from tests.tui import scripted
from tests.tui.scripted import desk
from tui import themes

READABLE, CLEAR = 4.5, 7.0
"""Contrast of text, WCAG 2.2, success criteria 1.4.3 and 1.4.6."""
SEEN = 3.0
"""Contrast of the borders that mean something: criterion 1.4.11."""

Rgb = tuple[float, float, float]

# Severe cases; Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency", IEEE TVCG 15 (6), 2009, on linear RGB.
BLIND: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def linear(color: Color) -> Rgb:
    """Linear RGB; IEC 61966-2-1."""

    def channel(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = color.get_truecolor()
    return channel(red), channel(green), channel(blue)


def luminance(color: Color) -> float:
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(color), strict=True))


def contrast(first: Color, second: Color) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def colours(style: Style) -> tuple[Color, Color]:
    assert style.color is not None
    assert style.bgcolor is not None
    return style.color, style.bgcolor


def lab(rgb: Rgb) -> Rgb:
    """CIE 1976 L*a*b* of linear sRGB, white point D65."""
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)

    def f(t: float) -> float:
        return t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116

    x, y, z = (
        f(max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True))) / w)
        for row, w in zip(matrix, white, strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen_distance(first: Color, second: Color, kind: str) -> float:
    """How far apart two colours are for the colour blind, CIE 1976; 2.3 is just noticeable."""
    points = [
        lab(
            tuple(  # pyright: ignore[reportArgumentType]
                sum(m * c for m, c in zip(row, linear(color), strict=True)) for row in BLIND[kind]
            )
        )
        for color in (first, second)
    ]
    return sum((a - b) ** 2 for a, b in zip(*points, strict=True)) ** 0.5


STYLES = [name for name in themes.PALETTES[themes.DARK].styles if name != "cursor"]


@pytest.mark.parametrize("theme", themes.PALETTES)
@pytest.mark.parametrize("selected", [False, True], ids=["plain", "selected"])
def test_every_text_can_be_read(theme: str, selected: bool) -> None:
    least = CLEAR if theme == themes.HIGH_CONTRAST else READABLE
    found = {name: contrast(*colours(themes.style(theme, name, selected))) for name in STYLES}
    assert {name: ratio for name, ratio in found.items() if ratio < least} == {}


@pytest.mark.parametrize("theme", themes.PALETTES)
def test_the_frames_that_mean_something_are_seen(theme: str) -> None:
    palette = themes.PALETTES[theme]
    ground = Color.parse(palette.ground)
    found = {name: contrast(Color.parse(each), ground) for name, each in palette.frame.items()}
    quiet = set() if theme == themes.HIGH_CONTRAST else {"frame"}
    assert {name: ratio for name, ratio in found.items() if ratio < SEEN}.keys() <= quiet


def test_every_colour_is_one_of_xterms() -> None:
    levels = (0, 0x5F, 0x87, 0xAF, 0xD7, 0xFF)
    cube = set(product(levels, repeat=3)) | {(grey,) * 3 for grey in range(8, 239, 10)}
    for palette in themes.PALETTES.values():
        texts = (*palette.styles.values(), *palette.frame.values(), palette.ground, palette.raised)
        for text in (*texts, palette.scrollbar):
            style = Style.parse(text)
            for color in filter(None, (style.color, style.bgcolor)):
                assert color.type is ColorType.TRUECOLOR
                assert tuple(color.get_truecolor()) in cube, text


@pytest.mark.parametrize("kind", BLIND)
def test_the_colour_blind_tell_gain_from_loss_and_paper_from_live(kind: str) -> None:
    styles = themes.PALETTES[themes.COLOUR_BLIND].styles

    def ground(name: str) -> Color:
        return colours(Style.parse(styles[name]))[1]

    pairs = [
        (Color.parse(styles["up"]), Color.parse(styles["down"])),
        (Color.parse(styles["good"]), Color.parse(styles["warn"])),
        *((ground("paper"), ground(name)) for name in ("live", "alarm", "caution")),
        (ground("live"), ground("alarm")),
    ]
    assert min(seen_distance(*pair, kind) for pair in pairs) > 20


def test_the_themes_agree_on_the_names_of_their_styles() -> None:
    for palette in themes.PALETTES.values():
        assert palette.styles.keys() == themes.PALETTES[themes.DARK].styles.keys()
        assert palette.frame.keys() == themes.PALETTES[themes.DARK].frame.keys()
    for name in STYLES:
        themes.style(themes.TERMINAL, name)


async def test_a_key_goes_through_the_colours_and_says_which() -> None:
    async with desk(scripted.paper()) as it:
        seen = []
        for name in (*themes.NAMES[1:], themes.NAMES[0]):
            await it.press("T")
            seen.append(it.app.theme)
            assert f"colours: {name.replace('_', ' ')}" in it.screen
        assert seen == [*themes.NAMES[1:], themes.NAMES[0]]


@pytest.mark.parametrize("theme", [name for name in themes.NAMES if name != themes.DARK])
async def test_nothing_of_the_old_colours_stays(theme: str) -> None:
    """Panels, footer and the dialog above them are painted anew."""
    async with desk(scripted.paper()) as it:
        await it.press("question_mark")
        it.app.theme = theme
        await it.draw()
        old, new = themes.PALETTES[themes.DARK], themes.PALETTES.get(theme)
        drawn = it.app.export_screenshot()
        assert old.styles["head"] not in drawn
        assert f'fill="{old.ground}"' not in drawn or (new and new.ground == old.ground)


@pytest.mark.parametrize("theme", themes.NAMES)
async def test_live_is_more_than_another_colour(theme: str) -> None:
    """The word, and the lines of every frame."""
    async with desk(scripted.paper()) as it:
        it.app.theme = theme
        paper = await it.draw()
        it.client.snapshot = scripted.live()
        live = await it.draw()
        assert " PAPER " in paper
        assert " LIVE " in live
        assert "╭" in paper
        assert "╭" not in live
        assert "╔" in live
