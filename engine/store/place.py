"""Where an account's database is."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from engine.core.model import Mode
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.settings import Settings


@dataclass(frozen=True)
class Place:
    """A file of SQLite, or the schema of a PostgreSQL database that bears the mode's name.

    `backups` is the folder of the copies that are made before a file is upgraded.
    """

    url: URL
    mode: Mode
    backups: Path

    @classmethod
    def of(cls, settings: Settings) -> "Place":
        """Raises UserError where DATABASE_URL is no address of a database."""
        address = settings.database_url.get_secret_value()
        if not address:
            return cls.in_file(settings.database_path, settings.mode)
        try:
            url = make_url(address)
        except (ArgumentError, ValueError):
            raise UserError(
                "DATABASE_URL is no address of a database",
                "write postgresql+asyncpg://USER:PASSWORD@HOST:5432/DATABASE, special characters "
                "percent-encoded, or leave it empty for a file in DATA_DIR",
            ) from None
        return cls(url, settings.mode, settings.data_dir / "backups")

    @classmethod
    def in_file(cls, path: Path, mode: Mode) -> "Place":
        url = URL.create("sqlite+aiosqlite", database=str(path))
        return cls(url, mode, path.parent / "backups")

    @property
    def is_file(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that no engine has made yet. Of one that this user may not look for
        it is not known."""
        try:
            return self.is_file and not self.file.exists()
        except PermissionError:
            return False

    @property
    def is_readable(self) -> bool:
        """Whether this user may read its file, where it has one."""
        return not self.is_file or os.access(self.file, os.R_OK)

    @property
    def file(self) -> Path:
        return Path(self.url.database or "")

    @property
    def name(self) -> str:
        """What it is called in messages: without its user and password."""
        if self.is_file:
            return clean(str(self.file))
        host = self.url.host or "this machine"
        return clean(f"{self.url.database} on {host} (schema {self.mode})")
