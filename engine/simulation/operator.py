"""A person at the keys, at random."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from engine.core.events import (
    AcknowledgeAlerts,
    AdjustCash,
    AskOrder,
    ChangeLimit,
    Command,
    ConfirmLive,
    KillPart,
    MarkOrder,
    RearmKillSwitch,
    RearmPart,
    ReloadStrategy,
    RequestCancel,
    RequestMode,
    RequestReplace,
    ResetCircuitBreaker,
    ResumeSymbol,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import NANOS, KillAction, Mode, Order, OrderState, Part, Scope
from engine.simulation.options import Fault

if TYPE_CHECKING:
    from engine.simulation.world import World

AUTHOR = "operator"
REARM = RearmKillSwitch(word="REARM", author=AUTHOR)
LONGEST_WAIT = 10 * NANOS
SURE_AFTER = 10 * NANOS
LOOK_AGAIN = 7_000_000
RELOADED = 0.05
"""The share of the switches of a strategy that make it anew instead."""
LIMITS = {
    "max_position_size_pct": ("1", "10", "25"),
    "max_position_notional": ("2000", "9000", "0"),
    "max_order_notional": ("1500", "4000", "0"),
    "max_trades_per_day": ("2", "30", "1.5"),
    "max_consecutive_losses": ("1", "4"),
    "max_exposure_pct": ("10", "50", "101"),
    "max_open_positions": ("1", "3", "-1"),
    "min_signal_strength": ("0.9", "0.1", "NaN"),
    "price_collar_pct": ("0.5", "3"),
    "cool_down_s": ("10", "0"),
    "throttle_orders": ("2", "20", "0"),
    "max_leverage": ("0.2", "2"),
    "nonsense": ("1",),
}


class Operator:
    """Sends commands to the process that runs, if one does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random

    def kill(self, action: KillAction | None) -> None:
        """Press the key; None is the action of the settings."""
        self._send(TripKillSwitch(source="key", reason="drill", action=action, author=AUTHOR))

    def drill(self) -> None:
        """A kill of any kind, now or while an order is on its way; most are re-armed after a
        while."""
        if self._random.random() < 0.5:
            self._kill_any()
        else:
            state = self._random.choice((OrderState.INTENDED, OrderState.SUBMITTED))
            self._lie_in_wait(state, self._world.schedule.now + LONGEST_WAIT)

    def _kill_any(self) -> None:
        self.kill(self._random.choice([*KillAction, None]))
        if self._random.random() < 0.7:
            self.rearm_soon()
        if self._random.random() < self._world.options.faults[Fault.CRASH] / 20:
            self._world.crash_soon()

    def _lie_in_wait(self, state: OrderState, until: int) -> None:
        host, schedule = self._world.host, self._world.schedule
        if host is not None and any(order.state is state for order in host.open_orders):
            self._world.note(Fault.KILL)
            self._kill_any()
        elif schedule.now < until and not self._world.calm:
            schedule.after(LOOK_AGAIN, lambda: self._lie_in_wait(state, until))

    def rearm_soon(self) -> None:
        self._later(REARM)

    def rearm(self) -> None:
        self._send(REARM)

    def confirm_live(self) -> None:
        if self._world.options.config.mode is Mode.LIVE:
            self._acknowledge()
            self._send(ConfirmLive(word="LIVE", author=AUTHOR))

    def switch_all_off(self) -> None:
        for setup in self._world.options.config.strategies:
            self._send(ToggleStrategy(strategy=setup.name, enabled=False, author=AUTHOR))

    def adjust_cash(self, random: Random) -> None:
        """Take over what the brokers tell of cash, now and then with a slip, but not at the end:
        the books are to agree then."""
        host = self._world.host
        for venue in self._world.venues if host is not None else ():
            difference = host and host.machine.reconciler.cash_difference(venue)
            if difference is not None:
                slip = random.choice((0, 0, 0, 1))
                word = random.choice(("ADJUST", "ADJUST", "ADJUST", "adjust"))
                if self._world.calm:
                    slip, word = 0, "ADJUST"
                amount = difference + slip
                self._send(AdjustCash(broker=venue, amount=amount, word=word, author=AUTHOR))

    def act(self) -> None:
        """One command of those that are no kill."""
        host = self._world.host
        if host is None:
            return
        actions = [self._toggle, self._toggle, self._mode, self.rearm, self._reset]
        actions += [self._resume, self._change_limit] * 3
        actions += [self._kill_part]
        if self._world.options.config.mode is Mode.LIVE:
            actions += [self._try_live] * 8
        if orders := host.open_orders:
            order = self._random.choice(orders)
            actions += [lambda: self._cancel(order), lambda: self._ask(order)]
        working = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
        if resting := [order for order in orders if order.state in working]:
            often = 100 if self._world.options.fiddles else 8
            actions += [lambda: self._replace(self._random.choice(resting))] * often
        if doubts := [order for order in orders if order.state is OrderState.IN_DOUBT]:
            actions += [lambda: self._mark(self._random.choice(doubts))]
        self._random.choice(actions)()

    def _toggle(self) -> None:
        """Switch a strategy on or off, or now and then make it anew, which leaves it off."""
        setups = self._world.options.config.strategies
        name, chance = self._random.choice(setups).name, self._random.random()
        if chance < RELOADED:
            self._send(ReloadStrategy(strategy=name, author=AUTHOR))
        else:
            self._send(ToggleStrategy(strategy=name, enabled=chance < 0.7, author=AUTHOR))

    def _kill_part(self) -> None:
        """One strategy, symbol or broker, with any action; most are re-armed after a while."""
        config = self._world.options.config
        names = {
            Scope.STRATEGY: [setup.name for setup in config.strategies],
            Scope.SYMBOL: [instrument.symbol for instrument in config.instruments],
            Scope.BROKER: [instrument.venue for instrument in config.instruments],
        }
        scope = self._random.choice(list(Scope))
        part = Part(scope, self._random.choice(names[scope]))
        action = self._random.choice([*KillAction, None])
        self._send(KillPart(part=part, source="key", action=action, author=AUTHOR))
        self._world.note(Fault.KILL)
        if self._random.random() < 0.7:
            self._later(RearmPart(part=part, word="REARM", author=AUTHOR))

    def _reset(self) -> None:
        word = self._random.choice(("RESET", "reset"))
        self._send(ResetCircuitBreaker(word=word, author=AUTHOR))

    def _resume(self) -> None:
        symbol = self._random.choice(self._world.options.config.instruments).symbol
        self._send(ResumeSymbol(symbol=symbol, author=AUTHOR))

    def _acknowledge(self) -> None:
        host = self._world.host
        if host is not None and (waiting := tuple(host.machine.safety.alerts.waiting)):
            self._send(AcknowledgeAlerts(names=waiting, author=AUTHOR))

    def _try_live(self) -> None:
        self._acknowledge()
        word = self._random.choice(("LIVE", "LIVE", "live", ""))
        self._send(ConfirmLive(word=word, author=AUTHOR))

    def _change_limit(self) -> None:
        """A limit to any value, sound or not, with or without the word that loosening asks for."""
        name, values = self._random.choice(list(LIMITS.items()))
        value, word = self._random.choice(values), self._random.choice(("LOOSEN", "loosen", ""))
        self._send(ChangeLimit(name=name, value=value, word=word, author=AUTHOR))

    def _mode(self) -> None:
        self._send(RequestMode(mode=self._random.choice(list(Mode)), author=AUTHOR))

    def _cancel(self, order: Order) -> None:
        self._send(RequestCancel(client_order_id=order.client_order_id, author=AUTHOR))

    def _ask(self, order: Order) -> None:
        self._send(AskOrder(client_order_id=order.client_order_id, author=AUTHOR))

    def _replace(self, order: Order) -> None:
        """New terms, sound or not."""
        factor = self._random.choice((Decimal("0.5"), Decimal("0.99"), Decimal("1.01"), Decimal(2)))
        instrument = next(
            i for i in self._world.options.config.instruments if i.symbol == order.symbol
        )
        terms = order.terms
        match self._random.choice(("quantity", "limit_price", "stop_price")):
            case "quantity":
                terms = replace(terms, quantity=instrument.quantity(terms.quantity * factor))
            case "limit_price" if terms.limit_price is not None:
                terms = replace(terms, limit_price=instrument.price(terms.limit_price * factor))
            case _ if terms.stop_price is not None:
                terms = replace(terms, stop_price=instrument.price(terms.stop_price * factor))
            case _:
                pass
        key = order.client_order_id
        self._send(RequestReplace(client_order_id=key, terms=terms, author=AUTHOR))

    def _mark(self, order: Order) -> None:
        """Say of an order in doubt that the venue does not have it, where that is so."""
        key = order.client_order_id
        waited = self._world.schedule.now - order.created_ts
        if waited > SURE_AFTER and not self._world.is_at_venue(key):
            state = OrderState.ABANDONED
            self._send(MarkOrder(client_order_id=key, state=state, word="MARK", author=AUTHOR))

    def _later(self, command: Command) -> None:
        delay = self._random.randint(0, 30 * NANOS)
        self._world.schedule.after(delay, lambda: self._send(command))

    def _send(self, command: Command) -> None:
        if self._world.host is not None:
            self._world.host.publish(command)
