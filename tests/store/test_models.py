"""The schema holds the values to the last digit, and is the same on both databases."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from sqlalchemy import Connection, create_engine, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateTable

from engine.core import events, model
from engine.store import models

VALUES = [
    (models.Order, model.Order),
    (models.Trade, model.Fill),
    (models.Position, model.Position),
    (models.StrategyState, events.StrategyState),
    (models.MarketData, model.Bar),
    (models.FintracReport, model.FintracReport),
]


@pytest.mark.parametrize(("table", "value"), VALUES)
def test_a_table_has_a_column_for_every_field_of_its_value(
    table: type[models.Base], value: type
) -> None:
    columns = {column.name: column.nullable for column in table.__table__.columns}
    assert columns.keys() == {field.name for field in fields(value)}
    optional = {f.name for f in fields(value) if f.type == Decimal | None}
    assert {name for name, nullable in columns.items() if nullable} == optional


def test_the_schema_is_that_of_the_design() -> None:
    assert set(models.Base.metadata.tables) == {
        "orders",
        "trades",
        "positions",
        "strategy_state",
        "market_data",
        "fintrac_report",
        "equity_curve",
        "equity_hour",
        "audit_log",
        "bot_state",
    }


def test_money_is_text_on_sqlite_and_numeric_on_postgresql() -> None:
    trades = CreateTable(models.Base.metadata.tables["trades"])
    lite = str(trades.compile(dialect=sqlite.dialect()))
    large = str(trades.compile(dialect=postgresql.dialect()))
    assert "price TEXT NOT NULL" in lite
    assert "price NUMERIC NOT NULL" in large
    assert "ts BIGINT NOT NULL" in lite
    assert "ts BIGINT NOT NULL" in large
    assert "side VARCHAR(32) NOT NULL" in large


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        models.Base.metadata.create_all(connection)
        yield connection
    engine.dispose()


def stored(connection: Connection, value: Decimal) -> Decimal:
    try:
        row = {"ts": 1, "equity": value, "cash": Decimal(0), "currency": "USD"}
        connection.execute(insert(models.EquityCurve), row)
        return connection.execute(select(models.EquityCurve.equity)).scalar_one()
    finally:
        connection.rollback()


finite = st.decimals(allow_nan=False, allow_infinity=False)


@given(finite)
def test_a_decimal_comes_back_as_it_was(connection: Connection, value: Decimal) -> None:
    assert stored(connection, value).as_tuple() == value.as_tuple()


@pytest.mark.parametrize("text", ["0.000000010", "1E+3", "-0", "12345678901234567890.123456789012"])
def test_the_digits_and_the_exponent_are_kept(connection: Connection, text: str) -> None:
    assert stored(connection, Decimal(text)).as_tuple() == Decimal(text).as_tuple()


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_finite_number_is_refused(connection: Connection, text: str) -> None:
    with pytest.raises(StatementError, match="is not a finite number"):
        stored(connection, Decimal(text))


@pytest.mark.parametrize("text", ["twelve", "", "NaN"])
def test_a_damaged_number_is_not_read(connection: Connection, text: str) -> None:
    connection.exec_driver_sql("INSERT INTO equity_curve VALUES (1, ?, '0', 'USD')", (text,))
    with pytest.raises(ValueError, match="is not a"):
        connection.execute(select(models.EquityCurve)).one()
    connection.rollback()
