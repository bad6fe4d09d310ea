"""The schema: one table a class, the same on SQLite and PostgreSQL.

Columns of `orders`, `trades`, `positions` and `strategy_state` are named as the fields of the
values that they hold (`engine.core.model`, `engine.core.events`). Times are nanoseconds UTC.

Nothing here is a foreign key. An execution is recorded whatever is known of its order, because a
fill that the database refuses is a fill that is lost; `Repository.ledger_check` names those
without an order instead.
"""

from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from msgspec import json
from sqlalchemy import JSON, BigInteger, Dialect, Double, Index, Integer, Numeric, Text
from sqlalchemy import Enum as EnumText
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from engine.core.model import (
    FintracRule,
    FintracStatus,
    FintracTransaction,
    Liquidity,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)

SCHEMA_VERSION = 8
"""The newest of `engine.store.migrations`."""


class ExactDecimal(TypeDecorator[Decimal]):
    """A finite Decimal, to the last digit: NUMERIC, or text on SQLite, which has no decimals.

    Raises ValueError for what is no finite Decimal, on the way in and on the way out.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return str(_finite(value)) if dialect.name == "sqlite" else _finite(value)

    def process_result_value(  # the signature is SQLAlchemy's
        self,
        value: Any,
        dialect: Dialect,
    ) -> Decimal | None:
        if value is None:
            return None
        try:
            return _finite(Decimal(value))
        except (InvalidOperation, TypeError) as error:
            raise ValueError(f"{value!r} is not a decimal number") from error


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    return value


# Made at the import: two threads that decode a type for the first time crash the process.
_TRANSACTIONS = json.Decoder(tuple[FintracTransaction, ...])


class Transactions(TypeDecorator[tuple[FintracTransaction, ...]]):
    """The transactions of a report, as JSON; amounts and rates to the last digit."""

    impl = Text
    cache_ok = True

    def process_bind_param(  # the signature is SQLAlchemy's
        self,
        value: tuple[FintracTransaction, ...] | None,
        dialect: Dialect,
    ) -> str | None:
        return None if value is None else json.encode(value).decode()

    def process_result_value(
        self,
        value: str | None,
        dialect: Dialect,
    ) -> tuple[FintracTransaction, ...] | None:
        return None if value is None else _TRANSACTIONS.decode(value)


def _values(kind: type[Enum]) -> list[str]:
    return [member.value for member in kind]


# SQLite keeps a table in the order of such a key, and takes nothing but integers for it.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {
        int: BigInteger,
        str: Text,
        float: Double,
        Decimal: ExactDecimal,
        tuple[FintracTransaction, ...]: Transactions,
        dict[str, Side]: JSON,
        Enum: EnumText(Enum, native_enum=False, length=32, values_callable=_values),
    }


class Order(Base):
    """The intents, and where each order stands. A row is written before its order may leave."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_state", "state"), Index("ix_orders_created", "created_ts"))

    client_order_id: Mapped[str] = mapped_column(primary_key=True)
    strategy: Mapped[str]
    symbol: Mapped[str]
    side: Mapped[Side]
    type: Mapped[OrderType]
    quantity: Mapped[Decimal]
    purpose: Mapped[OrderPurpose]
    created_ts: Mapped[int]
    updated_ts: Mapped[int]
    reference_price: Mapped[Decimal]
    limit_price: Mapped[Decimal | None]
    stop_price: Mapped[Decimal | None]
    time_in_force: Mapped[TimeInForce]
    state: Mapped[OrderState]
    filled: Mapped[Decimal]
    avg_price: Mapped[Decimal | None]
    venue_order_id: Mapped[str]
    stop_loss: Mapped[Decimal | None]
    reason: Mapped[str]
    cause: Mapped[int]
    take_profit: Mapped[Decimal | None]
    trail: Mapped[Decimal | None]
    oco_group: Mapped[str]
    pending_quantity: Mapped[Decimal | None]
    pending_limit_price: Mapped[Decimal | None]
    pending_stop_price: Mapped[Decimal | None]


class Trade(Base):
    """One execution a row. Some venues number their executions by symbol: the key has both. `venue`
    is that of the account whose cash it changed."""

    __tablename__ = "trades"
    __table_args__ = (Index("ix_trades_order", "client_order_id"), Index("ix_trades_ts", "ts"))

    execution_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    client_order_id: Mapped[str]
    side: Mapped[Side]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    commission: Mapped[Decimal]
    ts: Mapped[int]
    strategy: Mapped[str]
    venue_order_id: Mapped[str]
    commission_quantity: Mapped[Decimal]
    venue: Mapped[str]
    liquidity: Mapped[Liquidity]


class Position(Base):
    """A strategy's holding of a symbol, flat ones included: they hold the realised P&L."""

    __tablename__ = "positions"

    strategy: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[Decimal]
    cost: Mapped[Decimal]
    realised_pnl: Mapped[Decimal]
    commission: Mapped[Decimal]
    opened_ts: Mapped[int]
    stop_price: Mapped[Decimal | None]
    opened_quantity: Mapped[Decimal]
    opened_notional: Mapped[Decimal]
    trip_pnl: Mapped[Decimal]
    trip_commission: Mapped[Decimal]


class StrategyState(Base):
    __tablename__ = "strategy_state"

    strategy: Mapped[str] = mapped_column(primary_key=True)
    enabled: Mapped[bool]
    paused: Mapped[str]
    losses: Mapped[int]
    last_signals: Mapped[dict[str, Side]]


class MarketData(Base):
    """The bars that the engine decided on; `ts` is a bar's close. The oldest are deleted."""

    __tablename__ = "market_data"
    __table_args__ = (Index("ix_market_data_ts", "ts"),)

    symbol: Mapped[str] = mapped_column(primary_key=True)
    interval: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ts: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    open: Mapped[float]
    high: Mapped[float]
    low: Mapped[float]
    close: Mapped[float]
    volume: Mapped[float]


class FintracReport(Base):
    """Internal flags of virtual currency worth CA$10,000 or more, in one transaction or in the
    24 hours of a window."""

    __tablename__ = "fintrac_report"
    __table_args__ = (Index("ix_fintrac_report_start", "start_ts"),)

    report_id: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[FintracRule]
    status: Mapped[FintracStatus]
    conductor: Mapped[str]
    start_ts: Mapped[int]
    end_ts: Mapped[int]
    flagged_ts: Mapped[int]
    amount_cad: Mapped[Decimal | None]
    transactions: Mapped[tuple[FintracTransaction, ...]]
    corrects: Mapped[str]


class EquityCurve(Base):
    """Equity and cash of all accounts together, in `currency`."""

    __tablename__ = "equity_curve"

    ts: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    equity: Mapped[Decimal]
    cash: Mapped[Decimal]
    currency: Mapped[str]


class EquityHour(Base):
    """The lowest and the highest point of the equity curve in the hour UTC that begins at `ts`, of
    those in `currency`."""

    __tablename__ = "equity_hour"

    ts: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    currency: Mapped[str] = mapped_column(primary_key=True)
    lowest: Mapped[Decimal]
    lowest_ts: Mapped[int]
    highest: Mapped[Decimal]
    highest_ts: Mapped[int]


class AuditLog(Base):
    """Facts in the order of the bus, chained by hashes (`engine.store.audit`).

    `id` counts from 1 without a gap. `seq` and `cause` count within a session (one run of the
    engine); `payload` is the fact as JSON.
    """

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_seq", "session", "seq", unique=True),)

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=False)
    session: Mapped[int]
    seq: Mapped[int]
    ts: Mapped[int]
    kind: Mapped[str]
    cause: Mapped[int]
    payload: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]


class BotState(Base):
    """Single values of the account, as JSON; `engine.store.repository` names the keys."""

    __tablename__ = "bot_state"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
