"""The log: one clean line an event, private, bounded, and nothing on the terminal."""

import logging
import re
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.ops.errors import UserError
from engine.ops.logging import FILE_BYTES, OLD_FILES, start_logging
from engine.ops.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    logging.captureWarnings(False)
    logging.raiseExceptions = True


@pytest.fixture
def settings() -> Settings:
    settings = load_settings(data_dir="state")
    start_logging(settings)
    return settings


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time that is far from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def lines(settings: Settings) -> list[str]:
    return settings.log_path.read_text().split("\n")[:-1]


def test_an_event_is_one_line_with_its_time_in_utc(settings: Settings, far_east: None) -> None:
    logging.getLogger("engine.test").info("order %s sent", "a-1")
    (line,) = lines(settings)
    told, rest = line.split(" ", 1)
    assert rest == "INFO engine.test order a-1 sent"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(told)) < timedelta(hours=1)


def test_text_from_outside_cannot_forge_an_event_or_move_the_cursor(settings: Settings) -> None:
    logging.getLogger("engine.test").info("reject: %s", "no\r\n2026 CRITICAL \x1b[2J\x9b\u202e[b]")
    (line,) = lines(settings)
    assert line.endswith("reject: no  | 2026 CRITICAL  (2J  (b)")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\\[]", line)


def test_a_traceback_is_one_line_without_local_variables(settings: Settings) -> None:
    secret = "canary"
    try:
        raise OSError(len(secret))
    except OSError:
        logging.getLogger("engine.test").exception("failed")
    (line,) = lines(settings)
    assert "ERROR engine.test failed | Traceback" in line
    assert line.endswith("OSError: 6")


def test_libraries_are_heard_from_warnings_on(settings: Settings) -> None:
    logging.getLogger("httpx").info("GET https://host/?token=canary")
    logging.getLogger("httpx").warning("slow")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert [line.split(" ", 2)[1] for line in lines(settings)] == ["WARNING", "WARNING"]
    assert "canary" not in "".join(lines(settings))


def test_the_level_is_a_setting() -> None:
    settings = load_settings(data_dir="state", log_level="error")
    start_logging(settings)
    logging.getLogger("engine.test").warning("unheard")
    logging.getLogger("tui.test").error("heard")
    assert [line.split(" ", 1)[1] for line in lines(settings)] == ["ERROR tui.test heard"]


def test_nothing_reaches_the_terminal(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("engine.test").critical("loud")
    logging.getLogger("engine.test").info("%d", "no number")
    assert capfd.readouterr() == ("", "")


def test_the_log_is_bounded_and_private(settings: Settings) -> None:
    logger = logging.getLogger("engine.test")
    line = "x" * 19_000
    for _ in range((OLD_FILES + 2) * FILE_BYTES // len(line)):
        logger.info(line)
    files = list(settings.data_dir.iterdir())
    assert len(files) == OLD_FILES + 1
    assert all(file.stat().st_size <= FILE_BYTES for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_started_again_it_does_not_log_twice(settings: Settings) -> None:
    start_logging(settings)
    logging.getLogger("engine.test").info("once")
    assert len(lines(settings)) == 1


def test_a_log_that_cannot_be_written_is_told() -> None:
    Path("state/tradebot.log").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write the log state/tradebot\.log \("):
        start_logging(load_settings(data_dir="state"))
