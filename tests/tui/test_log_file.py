"""The log file on the logs screen: all of it, in pieces, the rotated files too."""

from pathlib import Path

import pytest

from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.log_file import BLOCK, PAGE, FileLine, LogFile
from tui.widgets.log_file import MOST_KEPT, LogFilePanel


def line(number: int, level: str = "INFO", text: str = "") -> str:
    return f"2022-01-31T14:30:07.{number % 1000:03}Z {level} engine.core line {number}{text}\n"


def everything(_: FileLine) -> bool:
    return True


def numbers(lines: list[FileLine]) -> list[int]:
    return [int(each.text.split()[1]) for each in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two rotated files before the newest one, each longer than a block."""
    path = tmp_path / "tradebot.log"
    count = BLOCK // 50
    for part, name in enumerate(("tradebot.log.2", "tradebot.log.1", "tradebot.log")):
        lines = [line(number) for number in range(part * count, (part + 1) * count)]
        (tmp_path / name).write_text("".join(lines))
    return path


def test_every_line_of_all_files_is_given_once_newest_first(path: Path) -> None:
    log, found = LogFile(path, everything), []
    while not log.is_whole:
        piece = log.older()
        assert len(piece) < PAGE + BLOCK // 40
        found += numbers(piece)
    assert found == list(range(3 * (BLOCK // 50)))[::-1]


def test_new_lines_are_given_once_over_a_rotation_too(path: Path) -> None:
    log = LogFile(path, everything)
    log.older()
    assert log.newer() == []
    with path.open("a") as stream:
        stream.write(line(900_001) + "2022-01-31T14:30:08.000Z INFO engine half a li")
    assert numbers(log.newer()) == [900_001]
    with path.open("a") as stream:
        stream.write("ne\n")
    path.rename(path.with_name("tradebot.log.1"))
    path.write_text(line(900_003))
    assert [each.text for each in log.newer()] == ["line 900003", "half a line"]
    assert log.newer() == []


def test_lines_that_are_not_wanted_are_looked_past(path: Path) -> None:
    log = LogFile(path, lambda each: each.text in ("line 3", "line 7"))
    assert numbers(log.older()) == [7, 3]
    assert log.is_whole


def test_text_that_a_terminal_would_obey_is_cleaned(path: Path) -> None:
    path.write_bytes(b"\x1b[31m no form \xff\n" + line(1, "ERROR").encode())
    first, second = LogFile(path, everything).older()[:2]
    assert (first.level, first.source, first.text) == ("ERROR", "engine.core", "line 1")
    assert (second.level, "\x1b" in second.text, "no form" in second.text) == ("", False, True)


async def settled(it: Desk) -> str:
    await it.app.workers.wait_for_complete()
    it.client.change()
    return await it.draw()


def shown(it: Desk) -> list[int]:
    return numbers(list(it.app.base.query_one(LogFilePanel)._rows))


async def test_the_screen_shows_the_file_and_reads_on_at_its_end(path: Path) -> None:
    async with desk(scripted.paper()) as it:
        it.app.log_file = path
        await it.press("9", "tab")
        screen = await settled(it)
        last = 3 * (BLOCK // 50) - 1
        assert f"line {last} " in screen
        assert "newest first · older ones at the end" in screen
        before = len(shown(it))
        await it.press("end")
        await settled(it)
        assert len(shown(it)) > before
        with path.open("a") as stream:
            stream.write(line(900_001, "ERROR"))
        await it.draw(2.0)
        await settled(it)
        assert shown(it)[0] == 900_001
        for _ in range(20):
            await it.press("end")
            await settled(it)
        assert len(shown(it)) <= MOST_KEPT


async def test_words_are_looked_for_in_all_files(path: Path) -> None:
    oldest = path.with_name("tradebot.log.2")
    oldest.write_text(line(0, "WARNING", " a needle") + oldest.read_text())
    async with desk(scripted.paper(), size=(80, 24)) as it:
        it.app.log_file = path
        await it.press("9", "tab", "slash", *"needle", "space", *"warn", "enter")
        screen = await settled(it)
        assert shown(it) == [0]
        assert "1 line, newest first · whole" in screen
        await it.press("escape")
        await settled(it)
        assert shown(it)[0] == 3 * (BLOCK // 50) - 1


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with desk(scripted.paper()) as it:
        it.app.log_file = tmp_path / "nowhere.log"
        await it.press("9", "tab")
        assert "cannot be read: No such file or directory" in await settled(it)
