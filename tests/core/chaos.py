"""A seeded session in which everything goes wrong that can, and then nothing any more.

Every event is audited by the rig. The same seed gives the same session.
"""

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from engine.core.events import (
    BrokerChanged,
    CancelOrder,
    CommitIntent,
    Effect,
    ExecutionReport,
    LawBroken,
    QueryOrder,
    QuoteUpdate,
    SignalBlocked,
    StoreChanged,
    SubmitOrder,
)
from engine.core.matching import ExchangeRules
from engine.core.model import MINUTE, NANOS, OrderPurpose, OrderState, Quote, Side
from tests.core.rig import ACME, COIN, Rig

S = OrderState

REQUESTS: tuple[type[Effect], ...] = (CommitIntent, SubmitOrder, CancelOrder, QueryOrder)
STRATEGIES = ("first", "second")
INSTRUMENTS = (
    ACME,
    COIN,
    replace(ACME, symbol="BULK", lot=Decimal(10)),
    replace(COIN, symbol="DUST", tick=Decimal("0.0001")),
)
UNSETTLED = {S.INTENDED, S.SUBMITTED, S.IN_DOUBT, S.PENDING_CANCEL}


class FaultyRig(Rig):
    """The stream of the exchange may be held up; `late` is what it still has to say."""

    late: list[ExecutionReport]
    random: Random

    def deliver(self, report: ExecutionReport) -> None:
        if self.random.random() < 0.3:
            self.late.append(report)
            return
        self.send(report)
        if self.random.random() < 0.2:
            self.send(replace(report))


class Chaos:
    """`seen` counts what happened, so that a test can ask for it."""

    def __init__(self, seed: int, **config: Any) -> None:
        self.random = Random(seed)
        self.config = config
        self.seen: Counter[str] = Counter()
        self.prices = dict.fromkeys((i.symbol for i in INSTRUMENTS), 100.0)
        self.rig = self._rig()

    def run(self, steps: int) -> None:
        """Do `steps` things at random, then let all faults end."""
        actions = {
            self._quote: 30,
            self._signal: 20,
            self._bar: 4,
            self._tick: 10,
            self._catch_up: 8,
            self._echo: 3,
            self._break: 5,
            self._mend: 6,
            self._step: 8,
            self._unsound: 1,
            self._cancel: 1,
            self._toggle: 1,
            self._reach: 1,
            self._kill: 0.4,
            self._rearm: 1,
            self._restart: 0.4,
        }
        for action in self.random.choices(list(actions), list(actions.values()), k=steps):
            action()
        self._look_back()
        self._heal()

    def unsettled(self) -> list[str]:
        """Orders of which nobody knows for sure where they stand."""
        return [f"{o.client_order_id} {o.state}" for o in self.rig.open if o.state in UNSETTLED]

    def differences(self) -> list[str]:
        """Orders that are open here and not at the exchange, or the other way round."""
        there = {
            key
            for key in self.rig.orders
            if (found := self.rig.exchange.find(key)) is not None
            and found.state in (S.ACCEPTED, S.PARTIALLY_FILLED)
        }
        return sorted(there ^ {order.client_order_id for order in self.rig.open})

    def unprotected(self) -> list[str]:
        """Long positions without exactly one order that closes just what is held, and orders that
        would close what is not there."""
        found: list[str] = []
        for position in self.rig.machine.state()["positions"]:
            if position.quantity < 0:  # sold twice by a fill that came after its cancel
                continue
            closing = [
                order.leaves
                for order in self.rig.open
                if (order.strategy, order.symbol) == (position.strategy, position.symbol)
                and order.purpose is not OrderPurpose.ENTRY
            ]
            if closing != ([position.quantity] if position.quantity else []):
                found.append(f"{position.strategy} {position.symbol} {position.quantity} {closing}")
        return found

    # --- what happens ---------------------------------------------------------------------------

    def _quote(self) -> None:
        symbol = self.random.choice(list(self.prices))
        width = self.random.choice((0.002, 0.005, 0.03))
        self.prices[symbol] *= 1 + self.random.uniform(-width, width)
        self.rig.quote(
            round(self.prices[symbol], 4),
            symbol,
            spread=0.02,
            size=self.random.choice((7.5, 30.0, 1e6)),
        )

    def _signal(self) -> None:
        strategy = self.random.choice(STRATEGIES)
        symbol = self.random.choice(list(self.prices))
        price = round(self.prices[symbol], 4)
        self.rig.signal(
            self.random.choice(list(Side)),
            price,
            strategy,
            symbol,
            stop_price=self.random.choice((None, price * 0.97)),
        )

    def _bar(self) -> None:
        symbol = self.random.choice(list(self.prices))
        price = round(self.prices[symbol], 4)
        self.rig.bar(price, price * 1.01, price * 0.99, price, symbol=symbol, volume=500)

    def _tick(self) -> None:
        self.rig.tick(self.random.choice((0.25, 1, 3, 11)))

    def _catch_up(self) -> None:
        """Something that the exchange said long ago arrives, out of order."""
        if self.rig.late:
            self.rig.send(self.rig.late.pop(self.random.randrange(len(self.rig.late))))
            self.seen["late"] += 1

    def _echo(self) -> None:
        """A report comes again."""
        reports = [e for e in self.rig.inputs if isinstance(e, ExecutionReport)]
        if reports:
            self.rig.send(replace(self.random.choice(reports), ts=0))
            self.seen["echo"] += 1

    def _break(self) -> None:
        fault = self.random.choice((self.rig.hold, self.rig.hold, self.rig.lost, self.rig.void))
        kind = self.random.choice(REQUESTS if fault is self.rig.hold else REQUESTS[1:])
        fault.add(kind)

    def _mend(self) -> None:
        self.rig.lost.clear()
        self.rig.void.clear()
        self.rig.release()

    def _step(self) -> None:
        """One of the requests that are held gets through before the others."""
        if self.rig.held:
            self.rig.step(self.random.randrange(len(self.rig.held)))

    def _unsound(self) -> None:
        price = self.random.choice((float("nan"), float("inf"), 0.0, -1.0))
        self.rig.send(QuoteUpdate(Quote("ACME", self.rig.now, price, price, 1, 1)))

    def _cancel(self) -> None:
        if self.rig.open:
            self.rig.request_cancel(self.random.choice(self.rig.open))

    def _toggle(self) -> None:
        self.rig.toggle(self.random.choice(STRATEGIES), self.random.random() < 0.7)

    def _reach(self) -> None:
        """The database or the broker comes and goes."""
        there = self.random.random() < 0.6
        self.rig.send(
            self.random.choice((StoreChanged(there, "locked"), BrokerChanged("paper", there)))
        )

    def _kill(self) -> None:
        for order in self.rig.open:
            self.seen[f"kill while {order.state}"] += 1
        self.rig.kill()
        self.seen["kill"] += 1

    def _rearm(self) -> None:
        was = self.rig.killed
        self.rig.rearm()
        self.seen["rearm"] += was and not self.rig.killed

    def _restart(self) -> None:
        """The process dies with all that it had not sent; the exchange lives on."""
        for order in self.rig.open:
            self.seen[f"restart while {order.state}"] += 1
        self._look_back()
        self.rig = self._rig(self.rig)

    # --- the rig --------------------------------------------------------------------------------

    def _rig(self, before: FaultyRig | None = None) -> FaultyRig:
        # What deliver needs must be there before the first quote, and nothing comes before that.
        rig = FaultyRig(
            *STRATEGIES,
            instruments=INSTRUMENTS,
            rules=ExchangeRules(Decimal("0.1"), Decimal(1), Decimal(50)),
            restored=before.durable() if before else None,
            exchange=before.exchange if before else None,
            now=before.now + NANOS if before else Rig().now,
            **self.config,
        )
        rig.random = self.random
        rig.late = before.late if before else []
        return rig

    def _look_back(self) -> None:
        """Count what happened to this rig."""
        for effect in self.rig.effects:
            if isinstance(effect, SubmitOrder):
                self.seen[f"submit {effect.order.purpose}"] += 1
        for fact in self.rig.facts(SignalBlocked):
            self.seen[f"blocked {fact.check}"] += 1
        assert self.rig.facts(LawBroken) == []

    def _heal(self) -> None:
        """No more faults: everything arrives, and time passes."""
        rig = self.rig
        self._mend()
        rig.send(StoreChanged(True))
        rig.send(BrokerChanged("paper", True))
        rig.random = Random(0)
        late, rig.late = rig.late, []
        for report in late:
            rig.send(report)
        for _ in range(15):
            rig.now += MINUTE // 10
            for symbol, price in self.prices.items():
                for report in rig.exchange.on_quote(Quote(symbol, rig.now, price, price, 1e6, 1e6)):
                    rig.send(report)
                rig.send(QuoteUpdate(Quote(symbol, rig.now, price, price, 1e6, 1e6)))
            rig.tick(1)
