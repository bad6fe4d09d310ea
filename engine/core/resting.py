"""An order at the simulated exchange: at which price the market fills it, if it does."""

from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import (
    Bar,
    Liquidity,
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)

AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


class Resting:
    """`active` is since when the order may fill, `expires` when it ends by itself (ns UTC, 0 for
    never); `limit`, `stop` and `trail` repeat its prices as floats, to be compared with market
    data. The stop of a trailing stop follows the best price since the order is active. An order
    `has_rested` where the market was beyond its limit before it fills."""

    __slots__ = (
        "active",
        "buys",
        "expires",
        "filled",
        "has_rested",
        "limit",
        "order",
        "quoted",
        "stop",
        "trail",
        "triggered",
    )

    def __init__(self, order: Order, active: int, expires: int = 0) -> None:
        self.order = order
        self.active = active
        self.expires = expires
        self.buys = order.side is Side.BUY
        self.filled = order.filled
        self.limit = _float(order.limit_price)
        self.stop = _float(order.stop_price)
        trails = order.type is OrderType.TRAILING_STOP
        self.trail = _float(order.trail) if trails else None
        self.triggered = order.type in (OrderType.MARKET, OrderType.LIMIT) or bool(order.filled)
        self.quoted = self.has_rested = False

    @property
    def leaves(self) -> Decimal:
        return self.order.quantity - self.filled

    @property
    def state(self) -> OrderState:
        return OrderState.PARTIALLY_FILLED if self.filled else OrderState.ACCEPTED

    @property
    def at_once(self) -> bool:
        """Whether what does not fill at the first price is cancelled."""
        return self.order.time_in_force in AT_ONCE

    def change(self, terms: OrderTerms) -> None:
        """Take on other terms; a trailing stop keeps what it has trailed, unless told otherwise."""
        before = self.order.stop_price
        self.order = replace(
            self.order,
            quantity=terms.quantity,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
        )
        self.limit = _float(terms.limit_price)
        if self.trail is None or terms.stop_price != before:
            self.stop = _float(terms.stop_price)

    def rests_at(self, seen: Quote | Bar | None) -> None:
        """The order comes to a market that was last `seen` so: beyond its limit, it rests."""
        if self.triggered and seen is not None and seen.is_sound:
            touch = seen.close if isinstance(seen, Bar) else seen.ask if self.buys else seen.bid
            self.has_rested = not self.within(touch)

    def go_on_from(self, stop: float) -> None:
        """A trailing stop had followed the price to `stop` before."""
        if self.trail is not None:
            self._move(stop)

    @property
    def liquidity(self) -> Liquidity:
        """Of an execution now."""
        maker = self.limit is not None and self.has_rested
        return Liquidity.MAKER if maker else Liquidity.TAKER

    # --- prices ---------------------------------------------------------------------------------

    def within(self, price: float) -> bool:
        """Whether the order's limit, if it has one, allows `price`."""
        if self.limit is None:
            return True
        return price <= self.limit if self.buys else price >= self.limit

    def fills_at(self, price: float) -> bool:
        """Whether the order fills as soon as the market trades at `price`."""
        return (self.triggered or self._touched(price)) and self.within(price)

    def at_quote(self, touch: float) -> float | None:
        """The price at which a quote fills the order whose `touch` is on its side."""
        self.quoted = True
        if not self.triggered:
            self.triggered = self._touched(touch)
            self._follow(touch)
        if self.triggered and self.within(touch):
            return touch
        self.has_rested = self.triggered
        return None

    def in_bar(self, bar: Bar) -> float | None:
        """The price at which `bar` fills the order, None where it does not."""
        price = bar.open
        if not self.triggered:
            touched = self._touch_in(bar)
            if touched is None:
                return None
            self.triggered = True
            # What the bar did before the touch does not count.
            return touched if self.within(touched) else None
        if self.limit is None:
            # A market order that waits for size fills at quotes, not at a past open.
            return None if self.quoted else price
        if self.at_once:
            return price if self.within(price) else None
        self.has_rested |= not self.within(price) or self.active <= bar.ts - 2 * bar.interval
        if self.buys:
            return min(price, self.limit) if min(price, bar.low) < self.limit else None
        return max(price, self.limit) if max(price, bar.high) > self.limit else None

    def _touched(self, price: float) -> bool:
        if self.stop is None:
            return False
        return price >= self.stop if self.buys else price <= self.stop

    def _follow(self, price: float) -> None:
        """Let the stop of a trailing stop follow `price`, where that is better than any before."""
        if self.trail is None:
            return
        self._move(price + self.trail if self.buys else price - self.trail)

    def _move(self, stop: float) -> None:
        """Nearer to the price, never away from it."""
        better = min if self.buys else max
        self.stop = stop if self.stop is None else better(self.stop, stop)

    def _touch_in(self, bar: Bar) -> float | None:
        """Where `bar` touches the stop: at the stop, or at the open where it gaps.

        A trailing stop follows the open for sure. Whether the bar's best price came before its
        worst is not known; where a stop that followed it would be touched, the worst price within
        the bar that a trail can give is taken, never the stop at the best price.
        """
        if self._touched(bar.open):
            return bar.open
        self._follow(bar.open)
        worst, best = (bar.high, bar.low) if self.buys else (bar.low, bar.high)
        if self._touched(worst):
            return self.stop
        self._follow(best)
        return worst if self.trail is not None and self._touched(worst) else None


def _float(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
