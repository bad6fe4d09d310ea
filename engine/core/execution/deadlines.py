"""When an order that waits is looked at."""

from collections.abc import Callable

from engine.core.events import BarClosed
from engine.core.execution.context import Context
from engine.core.model import Order


class Deadlines:
    """Calls `look` with an open order at its time, and every `interval` ns from then on.

    Time is told by ticks, and while anything waits by bars too: a backtest has no other clock.
    """

    def __init__(self, context: Context, interval: int, look: Callable[[Order], None]) -> None:
        self._context = context
        self._interval = interval
        self._look = look
        self.due: dict[str, int] = {}

    def watch(self, order: Order) -> None:
        """From now on; an order of a former session from its next time on."""
        if not self.due:
            self._context.bus.subscribe(BarClosed, self.on_bar)
        age = max(0, self._context.bus.now - order.created_ts)
        periods = age // self._interval + 1
        self.due[order.client_order_id] = order.created_ts + periods * self._interval

    def on_bar(self, event: BarClosed) -> None:
        self.on_time(event.ts)

    def on_time(self, now: int) -> None:
        if not self.due:
            return
        for key, due in list(self.due.items()):
            order = self._context.orders.open.get(key)
            if order is None:
                del self.due[key]
            elif now >= due:
                self.due[key] = due + self._interval
                self._look(order)
        if not self.due:
            self._context.bus.unsubscribe(BarClosed, self.on_bar)
