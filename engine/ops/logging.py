"""The log file. The console owns the terminal, so nothing is ever logged to it."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler, WatchedFileHandler

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, open_private
from engine.ops.settings import Settings

OURS = ("engine", "strategies", "tui")
LINE_LIMIT = 20_000
FILE_BYTES = 5_000_000
OLD_FILES = 5


class LineFormatter(logging.Formatter):
    """One event is one clean line, tracebacks included, so that no text can forge another."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name} {message}", style="{")

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record).replace("\n", " | "), LINE_LIMIT)


class PrivateFileHandler(RotatingFileHandler):
    """A rotating log whose every file is 0600."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_private)


class FollowingFileHandler(WatchedFileHandler):
    """A log that another process rotates."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_private)


@contextmanager
def silenced() -> Generator[None]:
    """No log goes to the terminal meanwhile: a command tells itself what it found."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def start_logging(settings: Settings, *, follows: bool = False) -> None:
    """Log to `settings.log_path`, in UTC: ours from LOG_LEVEL on, libraries from warnings on. A
    program that `follows` leaves it to the engine to rotate the file.

    Libraries get no say below that: httpx tells whole URLs, tokens included, at INFO. Called again,
    it replaces what the first call set up. Raises UserError where the file cannot be written.
    """
    make_private_folder(settings.data_dir)
    try:
        if follows:
            handler = FollowingFileHandler(settings.log_path, encoding="utf-8")
        else:
            handler = PrivateFileHandler(
                settings.log_path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8"
            )
    except OSError as error:
        raise UserError(
            f"cannot write the log {clean(str(settings.log_path))} ({error.strerror})",
            "make it writable, or give another folder in DATA_DIR",
        ) from error
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    # A full disk must not print over the console.
    logging.raiseExceptions = False
