"""IB's orders and executions, as ours."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.brokers.interactive_brokers import wire
from engine.core.events import ExecutionReport, VenueOrder
from engine.core.model import (
    EXTERNAL,
    ZERO,
    Fill,
    Instrument,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    nanos,
)
from engine.core.text import clean

if TYPE_CHECKING:
    import ib_async


class Records:
    """With our names of `instruments`; `now` is in ns UTC."""

    def __init__(self, instruments: Iterable[Instrument], now: Callable[[], int]) -> None:
        self.now = now
        self.instruments = {wire.stock_of(i.symbol): i for i in instruments}

    def instrument(self, symbol: str) -> Instrument | None:
        return self.instruments.get(wire.stock_of(symbol))

    def symbol(self, contract: "ib_async.Contract") -> str:
        """What we call it; with our prefix where it is none of the instruments."""
        instrument = self.instruments.get((contract.symbol, contract.currency))
        if instrument is not None and contract.secType in ("", "STK"):
            return instrument.symbol
        return wire.PREFIX + clean(contract.localSymbol or contract.symbol)

    def report(self, trade: "ib_async.Trade", key: str = "") -> ExecutionReport:
        """`key` is our name for an order that IB has none of ours for."""
        state = wire.state_of(trade)
        reason = trade.log[-1].message if state is OrderState.REJECTED and trade.log else ""
        return ExecutionReport(
            clean(trade.order.orderRef) or key,
            state,
            str(wire.perm_id(trade) or ""),
            reason=clean(reason),
            terms=wire.terms_of(trade.order),
            ts=self.now(),
        )

    def fill(self, fill: "ib_async.Fill") -> Fill:
        done = fill.execution
        return Fill(
            f"ib-{clean(done.execId)}",
            clean(done.orderRef),
            self.symbol(fill.contract),
            Side.BUY if done.side == "BOT" else Side.SELL,
            wire.exact(done.shares),
            wire.exact(done.price),
            wire.amount(str(fill.commissionReport.commission)) or ZERO,
            nanos(done.time),
            venue_order_id=str(done.permId),
            liquidity=wire.LIQUIDITY.get(done.lastLiquidity, Liquidity.UNKNOWN),
        )

    def venue_order(self, trade: "ib_async.Trade") -> VenueOrder:
        order, state = trade.order, wire.state_of(trade)
        terms = wire.terms_of(order)
        ours = Order(
            clean(order.orderRef),
            EXTERNAL,
            self.symbol(trade.contract),
            Side.BUY if order.action == "BUY" else Side.SELL,
            wire.OUR_TYPES.get(order.orderType, OrderType.UNKNOWN),
            terms.quantity,
            OrderPurpose.EXTERNAL,
            self.now(),
            self.now(),
            terms.limit_price or terms.stop_price or ZERO,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
            time_in_force=wire.time_in_force_of(order),
            state=state,
            filled=wire.exact(trade.orderStatus.filled),
            venue_order_id=str(order.permId),
        )
        return VenueOrder(ours, state)


def order_of(order: Order, terms: OrderTerms, account: str) -> "ib_async.Order":
    """What is to be sent for `order`. Raises NotSent where a number would be another one there."""
    import ib_async

    asked = ib_async.Order(
        action=order.side.upper(),
        totalQuantity=wire.as_float(terms.quantity),
        orderType=wire.TYPES[order.type],
        tif=order.time_in_force.upper(),
        account=account,
        orderRef=order.client_order_id,
    )
    if terms.limit_price is not None:
        asked.lmtPrice = wire.as_float(terms.limit_price)
    if terms.stop_price is not None:
        asked.auxPrice = wire.as_float(terms.stop_price)
    return asked
