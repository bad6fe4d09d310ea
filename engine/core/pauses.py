"""Symbols in which no entry is made: paused after a fault, or halted by their venue."""

from collections.abc import Iterable

from engine.core.bus import Bus
from engine.core.events import (
    ClockTick,
    CommandRefused,
    FillQuarantined,
    HaltChanged,
    OrderRejected,
    Pause,
    Restored,
    ResumeSymbol,
    SymbolPaused,
    SymbolResumed,
)
from engine.core.model import NANOS
from engine.core.text import clean

REFUSED_PAUSE = 300 * NANOS
"""A venue that rejected an order is not asked for its like again for this long."""


class Pauses:
    """A pause keeps entries away; a halt keeps every new order away, because none can fill.

    A pause ends at its time, or by hand where it has none. A halt ends when the venue says so. Both
    outlive a restart. A fault in one symbol never touches another.
    """

    def __init__(self, bus: Bus, symbols: Iterable[str]) -> None:
        self._bus = bus
        self._symbols = frozenset(symbols)
        self.paused: dict[str, Pause] = {}
        self.halted: dict[str, Pause] = {}

    def objection(self, symbol: str) -> str:
        """Why no entry may be made in `symbol`; empty text where nothing stands against it."""
        pause = self.halted.get(symbol) or self.paused.get(symbol)
        return f"{symbol} is paused: {pause.reason}" if pause is not None else ""

    def is_halted(self, symbol: str) -> bool:
        return symbol in self.halted

    def pause(self, symbol: str, reason: str, until: int = 0) -> None:
        """Pause `symbol` until `until` (ns UTC), 0 for by hand. A longer pause stays as it is."""
        before = self.paused.get(symbol)
        if before is not None and (not before.until or 0 < until <= before.until):
            return
        self.paused[symbol] = pause = Pause(symbol, reason, until)
        self._bus.publish(SymbolPaused(symbol, pause.reason, until))

    def on_rejected(self, event: OrderRejected) -> None:
        """Halted, delisted, unknown, not shortable, too little money: a venue's no is not asked for
        again and again, whatever its words."""
        order = event.order
        reason = f"the venue rejected its {order.type} {order.purpose}: {order.reason}"
        self.pause(order.symbol, reason, self._bus.now + REFUSED_PAUSE)

    def on_quarantined(self, event: FillQuarantined) -> None:
        """An execution that makes no sense: what is held is not sure until a person has looked."""
        if event.fill.symbol in self._symbols:
            self.pause(event.fill.symbol, f"an execution was quarantined: {event.reason}")

    def on_halt(self, event: HaltChanged) -> None:
        symbol = event.symbol
        if symbol not in self._symbols or event.halted == (symbol in self.halted):
            return
        if event.halted:
            reason = ": ".join(filter(None, ("halted", clean(event.reason))))
            self.halted[symbol] = Pause(symbol, reason, halted=True)
            self._bus.publish(SymbolPaused(symbol, reason, halted=True))
        else:
            del self.halted[symbol]
            self._bus.publish(SymbolResumed(symbol, halted=True))

    def on_resume(self, event: ResumeSymbol) -> None:
        symbol, author = event.symbol, clean(event.author)
        if symbol not in self.paused and symbol not in self.halted:
            self._bus.publish(CommandRefused.of(event, f"{clean(symbol)} is not paused"))
        if self.paused.pop(symbol, None) is not None:
            self._bus.publish(SymbolResumed(symbol, author))
        if self.halted.pop(symbol, None) is not None:
            self._bus.publish(SymbolResumed(symbol, author, halted=True))

    def on_tick(self, event: ClockTick) -> None:
        if not self.paused:
            return
        for pause in [p for p in self.paused.values() if 0 < p.until <= event.ts]:
            del self.paused[pause.symbol]
            self._bus.publish(SymbolResumed(pause.symbol))

    def on_restored(self, event: Restored) -> None:
        for pause in event.pauses:
            (self.halted if pause.halted else self.paused)[pause.symbol] = pause
