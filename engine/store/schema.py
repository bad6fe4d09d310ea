"""The schema's version and mode, stamped in the database; how it is made and upgraded (Alembic)."""

from typing import TYPE_CHECKING, NamedTuple

from msgspec import json
from sqlalchemy import Connection, insert, inspect, select, text

from engine.core.model import Mode
from engine.ops.errors import UserError
from engine.store import models
from engine.store.place import Place

if TYPE_CHECKING:  # Alembic takes 0.2 s to import, and most starts need none of it
    from alembic.config import Config

OLDEST = 1
"""Databases of this version on can be upgraded."""

_MODE_KEY = "mode"
_OLD_VERSION_KEY = "schema_version"  # before version 2, which has Alembic's table


class Stamp(NamedTuple):
    """`mode` is empty where the version had none."""

    version: int
    mode: str


def stamp_of(connection: Connection) -> Stamp | None:
    """None where there is no table at all. Raises ValueError where the tables are not ours."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if models.BotState.__tablename__ not in tables:
        raise ValueError("it has other tables")
    state = models.BotState
    stamps = select(state.key, state.value).where(state.key.in_((_MODE_KEY, _OLD_VERSION_KEY)))
    stamped = {row.key: row.value for row in connection.execute(stamps)}
    version = stamped.get(_OLD_VERSION_KEY)
    if "alembic_version" in tables:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if version is None:
        raise ValueError("it has no schema version")
    mode = json.decode(stamped[_MODE_KEY], type=str) if _MODE_KEY in stamped else ""
    return Stamp(int(version), mode)


def check(stamp: Stamp, place: Place) -> None:
    """Raises UserError where the database is of another mode, or of a version that cannot be read,
    not even after an upgrade."""
    if not OLDEST <= stamp.version <= models.SCHEMA_VERSION:
        raise UserError(
            f"the database {place.name} has schema {stamp.version}, this version reads "
            f"{models.SCHEMA_VERSION}",
            "use the version of tradebot that wrote it; to start anew, give another folder in "
            "DATA_DIR or another database in DATABASE_URL",
        )
    if stamp.mode not in ("", place.mode):
        raise UserError(
            f"the database {place.name} is the one of MODE={stamp.mode}, and MODE is {place.mode}",
            "put the right database in its place: what was traded on paper is no live account",
        )


def create(connection: Connection, mode: Mode) -> None:
    """Make all tables in an empty database, and stamp it."""
    from alembic import command

    models.Base.metadata.create_all(connection)
    command.stamp(_config(connection, mode), "head")
    row = {"key": _MODE_KEY, "value": json.encode(mode).decode()}
    connection.execute(insert(models.BotState), row)


def upgrade(connection: Connection, stamp: Stamp, mode: Mode) -> None:
    """Bring a database that bears `stamp` to this version, in the transaction that is under way."""
    from alembic import command

    config = _config(connection, mode)
    command.stamp(config, str(stamp.version))
    command.upgrade(config, "head")


def _config(connection: Connection, mode: Mode) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "mode": mode})
    config.set_main_option("script_location", "engine.store:migrations")
    return config
