"""From signals to orders: entries, exits, and what protects every position.

For each position the desk tends to one rule: while an exit is wanted and may leave, nothing that
rests stands in its way; otherwise one stop of the position's size rests at its venue, and one
target where there is one. What is too little for any order (`order_rules.is_dust`) lies until there
is more of it.
"""

from decimal import Decimal
from typing import Any

from engine.core.events import (
    BracketChanged,
    BrokerStatusChanged,
    ClockTick,
    DuplicateRefused,
    EngineStarted,
    EngineStopping,
    Event,
    KillSwitchTriggered,
    LateFill,
    OrderCanceled,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    PartKilled,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StoreStatusChanged,
    StrategyFailed,
    StrategyToggled,
    SymbolPaused,
    SymbolResumed,
    TargetReached,
    TradeReversed,
)
from engine.core.execution.context import Context, Key, is_resting, shrinks, worst_closed
from engine.core.execution.entries import Entries
from engine.core.execution.exits import Exits, NotFlat
from engine.core.execution.protection import Protection
from engine.core.execution.rules import StrategyOff, SymbolHalted
from engine.core.model import EXTERNAL, KillAction, Order, OrderPurpose, Position, Side, Signal

CLOSES_TOO_MUCH = "open orders would close more than is held"


class Desk:
    """Turns signals into orders and keeps positions protected. Long only: a sell signal closes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._orders = context.orders
        self._portfolio = context.portfolio
        self._started = False
        self._dust: dict[Key, None] = {}
        self.entries = Entries(context)
        self.exits = Exits(context)
        self.protection = Protection(context, self.exits)
        context.orders.gate = self._gate
        context.orders.kill_objection = context.kill_objection

    def state(self) -> dict[str, Any]:
        """What decides here, as plain values."""
        state = {
            "entries": self.entries.deadlines.due,
            "exits": self.exits.state(),
            "brackets": list(self.protection.brackets.values()),
            "refused": [[*leg, until] for leg, until in self.protection.refused.items()],
        }
        return state | ({"dust": list(self._dust)} if self._dust else {})

    def not_flat(self) -> list[NotFlat]:
        """The positions that are to be flat and are not yet, each with the reason."""
        return self.exits.not_flat()

    def unprotected(self) -> dict[Key, Decimal]:
        """How much of each position has no stop resting at its venue."""
        return self.protection.unprotected()

    # --- signals --------------------------------------------------------------------------------

    def on_signal(self, event: SignalGenerated) -> None:
        signal = event.signal
        buys = signal.side is Side.BUY
        blocked = self._enter(signal) if buys else self._leave(signal)
        if blocked:
            self._context.bus.publish(SignalBlocked(signal, *blocked))

    def _enter(self, signal: Signal) -> tuple[str, str] | None:
        key = (signal.strategy, signal.symbol)
        self.exits.change_mind(key)
        return self.entries.enter(signal)

    def _leave(self, signal: Signal) -> tuple[str, str] | None:
        """Close the position; or why there is nothing to close."""
        key = (signal.strategy, signal.symbol)
        entries = self.entries.open(key)
        self._context.cancel(entries, "the strategy wants out")
        position = self._portfolio.position(*key)
        if not self._portfolio.is_open(position):
            dust = f"{position.quantity.normalize():f} is too little to sell"
            why = dust if position.quantity else "short selling is off"
            cancelled = "its entry is cancelled" if entries else why
            return "flat", f"no position to close; {cancelled}"
        self.exits.want(key, signal.ts)
        if reason := self.exits.objection(key):
            return "stop", reason
        self._tend(key)
        return None

    # --- positions ------------------------------------------------------------------------------

    def on_fill(self, event: OrderPartiallyFilled | OrderFilled | LateFill) -> None:
        """The ledger has the fill already: protect what is held now."""
        order = event.order
        if order.purpose is OrderPurpose.ENTRY:
            self.protection.on_entry_filled(order)
        self._tend_with_others(order.strategy, order.symbol)

    def on_reversed(self, event: TradeReversed) -> None:
        """The venue took an execution back: protect what is held then."""
        key = (event.position.strategy, event.position.symbol)
        self.protection.on_reversed(key)
        self._tend_with_others(*key)

    def on_order_done(self, event: OrderEvent) -> None:
        order = event.order
        if isinstance(event, OrderRejected) and is_resting(order):
            self.protection.on_rejected(event)
        elif isinstance(event, OrderCanceled) and is_resting(order):
            self.protection.on_canceled(order)
        self.exits.on_done(event)
        self._tend((order.strategy, order.symbol))

    def on_pending_cancel(self, event: OrderEvent) -> None:
        if is_resting(event.order):
            self.protection.on_pending_cancel(event.order)

    def on_order_settled(self, event: OrderEvent) -> None:
        """What protects is at the venue, with the terms that it has there: it can be changed."""
        order = event.order
        if is_resting(order):
            self._tend((order.strategy, order.symbol))

    def on_duplicate(self, event: DuplicateRefused) -> None:
        self.exits.on_duplicate(event.order)
        self._tend((event.order.strategy, event.order.symbol))

    def on_bracket(self, event: BracketChanged) -> None:
        self._tend((event.bracket.strategy, event.bracket.symbol))

    def on_target(self, event: TargetReached) -> None:
        key = (event.strategy, event.symbol)
        self.exits.want(key, event.ts, OrderPurpose.TAKE_PROFIT)
        self._tend(key)

    def on_stopping(self, _: EngineStopping) -> None:
        """Entries are as the setting for a stop has them: none is chased or given up."""
        self.entries.deadlines.due.clear()

    def on_tick(self, event: ClockTick) -> None:
        self.entries.deadlines.on_time(event.ts)
        grown = [key for key in self._dust if self._is_open(key)]
        for key in self.protection.on_time(event.ts) + self.exits.on_time(event.ts) + grown:
            self._tend(key)

    def on_started(self, event: EngineStarted) -> None:
        """Entries that a former session left of a strategy that is off, or gone, are handled as
        if it were switched off now."""
        self._started = True
        self.entries.restore()
        self.exits.restore()
        strategies = {o.strategy: None for o in self._orders.open.values()}
        for strategy in strategies:
            if not self._context.runner.is_on(strategy):
                self._withdraw(strategy, "the strategy is off")
        self.on_resumed(event)

    def on_resumed(self, _: Event) -> None:
        """Orders may leave (again): look after every position."""
        for key, position in list(self._portfolio.positions.items()):
            if position.quantity:
                self._tend(key)

    def on_store_status(self, event: StoreStatusChanged) -> None:
        if event.available:
            self.on_resumed(event)

    def on_broker_status(self, event: BrokerStatusChanged) -> None:
        if event.connected:
            self.on_resumed(event)

    def on_restored(self, event: Restored) -> None:
        self.exits.on_restored(event)
        self.protection.on_restored(event)

    # --- stopping -------------------------------------------------------------------------------

    def on_killed(self, event: KillSwitchTriggered) -> None:
        """Safety has asked for the cancels. A kill that flattens closes every position, as soon as
        nothing that rests stands in the way; asked for again, it tries again at once."""
        if self._context.safety.is_flattening:
            self._flatten(event.reason or event.source, list(self._portfolio.positions))

    def on_part_killed(self, event: PartKilled) -> None:
        """As `on_killed`, for the positions of a part."""
        if event.action is KillAction.FLATTEN:
            is_in, positions = self._context.parts.is_in, list(self._portfolio.positions)
            mine = [key for key in positions if is_in(event.part, *key)]
            self._flatten(event.reason or event.source, mine)

    def _flatten(self, reason: str, keys: list[Key]) -> None:
        """Close positions, reduce-only, until all are flat."""
        for key in keys:
            if self._is_open(key):
                self.exits.force(key, reason)
                self.exits.hurry(key)
                self._tend(key)

    def on_toggled(self, event: StrategyToggled) -> None:
        if not event.enabled:
            self._withdraw(event.strategy, "the strategy was switched off")
        else:
            for key in self._held_by(event.strategy):
                self._tend(key)

    def on_failed(self, event: StrategyFailed) -> None:
        self._withdraw(event.strategy, "the strategy failed")

    def _withdraw(self, strategy: str, reason: str) -> None:
        """A strategy that is off submits nothing. Its entries are cancelled unless they are to be
        kept; its positions stay under their stops, or are closed."""
        rule = self._context.rules.on_strategy_off
        if rule is not StrategyOff.KEEP:
            mine = [o for o in self._orders.open.values() if o.strategy == strategy]
            self.entries.withdraw(mine, reason)
        if rule is StrategyOff.FLATTEN:
            for key in self._held_by(strategy):
                self.exits.hurry(key)
                self._tend(key)

    def _held_by(self, strategy: str) -> list[Key]:
        positions = self._portfolio.positions.items()
        return [key for key, position in positions if key[0] == strategy and position.quantity]

    def on_paused(self, event: SymbolPaused) -> None:
        """A pause lets no entry fill; at a halt, open orders are handled as the rules say."""
        rule = self._context.rules.on_halt if event.halted else SymbolHalted.CANCEL_ENTRIES
        if rule is SymbolHalted.KEEP:
            return
        mine = [o for o in self._orders.open.values() if o.symbol == event.symbol]
        if rule is SymbolHalted.CANCEL:
            ours = [o for o in mine if o.purpose is not OrderPurpose.EXTERNAL]
            self._context.cancel(ours, event.reason)
        else:
            self.entries.withdraw(mine, event.reason)

    def on_symbol_resumed(self, event: SymbolResumed) -> None:
        self._tend_all(event.symbol)

    # --- the one rule ---------------------------------------------------------------------------

    def _tend_with_others(self, strategy: str, symbol: str) -> None:
        """Tend what an execution changed: where others hold some of the symbol, or did, every
        strategy's part of it."""
        if strategy == EXTERNAL or self._portfolio.position(EXTERNAL, symbol).quantity:
            self._tend_all(symbol)
        else:
            self._tend((strategy, symbol))

    def _tend_all(self, symbol: str) -> None:
        for key in list(self._portfolio.positions):
            if key[1] == symbol:
                self._tend(key)

    def _is_open(self, key: Key) -> bool:
        return self._portfolio.is_open(self._portfolio.position(*key))

    def _tend(self, key: Key) -> None:
        if self._is_outdated(key):
            return
        self._dust.pop(key, None)
        position = self._portfolio.position(*key)
        closing = self._context.closing_orders(key)
        if not position.quantity:
            self.exits.drop(key)
            self.protection.drop(key)
            self._context.cancel(closing, "the position is closed")
            return
        if not self._portfolio.is_open(position):
            self._let_lie(position, closing)
            return
        if not self._context.closable(position):
            self._context.cancel(closing, "others closed the position at the venue")
            return
        resting = [order for order in closing if is_resting(order)]
        if len(resting) < len(closing) or not self._started:
            return  # an exit is at work; or the warm-up is not over
        if reason := self._forces(position):
            self.exits.force(key, reason, self._context.safety.kill.flatten_ts)
        else:
            self.exits.let_be(key)
        if self.exits.is_due(position):
            self._context.cancel(resting, "makes way for the exit")
            if resting or self.exits.send(position):
                return
        self._protect(position, resting)

    def _let_lie(self, position: Position, closing: list[Order]) -> None:
        """Nothing is asked for dust. What is at its venue for so little, which its price made dust,
        stays there; where there are lots of it, a better price makes it a position again."""
        key = (position.strategy, position.symbol)
        if not self._context.closable(position):
            self._context.cancel(closing, "less than a lot is left")
        else:
            self._dust[key] = None
        if not closing:
            self.exits.drop(key)
            self.protection.drop(key)

    def _is_outdated(self, key: Key) -> bool:
        """Whether orders have an execution that changes what `key` holds and is not in the ledger
        yet: it is tended when that is."""
        strategy, symbol = key
        strategies = (strategy, EXTERNAL)
        shared = self._portfolio.position(EXTERNAL, symbol).quantity
        return any(
            fill.symbol == symbol and (shared or fill.strategy in strategies)
            for fill in self._orders.unbooked.values()
        )

    def _forces(self, position: Position) -> str:
        """Why a position is to be flat whatever its strategy wants; empty text where it is not."""
        context, strategy = self._context, position.strategy
        if context.safety.is_flattening or context.parts.flattens(strategy, position.symbol):
            return "kill switch"
        off = strategy in context.runner.runs and not context.runner.is_on(strategy)
        closes = context.rules.on_strategy_off is StrategyOff.FLATTEN
        return "its strategy is off" if off and closes else ""

    def _protect(self, position: Position, resting: list[Order]) -> None:
        if position.quantity < 0 or self._context.objection((position.strategy, position.symbol)):
            self.protection.trim(position, resting)
        else:
            self.protection.tend(position, resting)

    # --- the last moment ------------------------------------------------------------------------

    def _gate(self, order: Order) -> str:
        """Why an order whose intent is durable must not leave, or one at the venue not be replaced,
        all the same."""
        if order.purpose is OrderPurpose.ENTRY:
            return self._entry_objection(order)
        if shrinks(order):
            return ""
        key = (order.strategy, order.symbol)
        resting = is_resting(order)
        reason = self._context.objection(key) if resting else self.exits.objection(key)
        held = self._context.closable(self._portfolio.position(*key))
        if not reason and worst_closed(self._context.closing_orders(key)) > held:
            return CLOSES_TOO_MUCH
        return reason

    def _entry_objection(self, order: Order) -> str:
        context = self._context
        return (
            context.entry_objection((order.strategy, order.symbol))
            or context.pauses.objection(order.symbol)
            or ("" if context.runner.is_on(order.strategy) else "the strategy is off")
            or context.risk.objection(order)
        )
