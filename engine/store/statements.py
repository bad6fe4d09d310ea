"""Inserts that meet a row of the same key, in the words of each database; rows as values."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.dialects import postgresql, sqlite

from engine.store.models import Base

T = TypeVar("T")

_INSERT = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

Insert = postgresql.Insert | sqlite.Insert


@cache
def insert_new(dialect: str, model: type[Base]) -> Insert:
    """Insert rows of `model`; where the key is there, leave the row as it is."""
    return _INSERT[dialect](model).on_conflict_do_nothing()


@cache
def upsert(dialect: str, model: type[Base], *updated: str) -> Insert:
    """Insert rows of `model`; where the key is there, set `updated`, or all other columns."""
    statement = _INSERT[dialect](model)
    key = [column.name for column in model.__table__.primary_key]
    names = updated or [c.name for c in model.__table__.columns if c.name not in key]
    return statement.on_conflict_do_update(
        index_elements=key, set_={name: statement.excluded[name] for name in names}
    )


def values_of(connection: Connection, query: Select[Any], kind: Callable[..., T]) -> list[T]:
    """The rows that `query` finds, as values of `kind`."""
    return [kind(**row) for row in connection.execute(query).mappings()]
