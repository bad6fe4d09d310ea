"""Takes the picture of the machine that the console draws."""

from collections import deque
from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import (
    Event,
    OrderIntended,
    SignalBlocked,
    SignalGenerated,
)
from engine.core.machine import Machine
from engine.core.market import SymbolMarket
from engine.core.model import (
    AT_VENUE,
    NANOS,
    KillAction,
    Order,
    OrderPurpose,
    Part,
    Position,
    Scope,
)
from engine.core.risk import RiskLimits, Usage
from engine.core.safety import is_cancelled_by
from engine.core.strategy import Run
from engine.snapshot import (
    BreakerStatus,
    BrokerStatus,
    DeadManStatus,
    FeedStatus,
    Health,
    KilledPartRow,
    KillStatus,
    LimitRow,
    LiveGate,
    LogLine,
    PausedRow,
    PositionRow,
    QuoteRow,
    SignalRow,
    Snapshot,
    StoreStatus,
    StrategyRow,
)
from engine.wording import worded

SIGNALS_KEPT = 200
LINES_KEPT = 500
ORDERS_SHOWN = 300


class View:
    """Follows the facts, and makes snapshots that share what did not change."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._signals: deque[SignalRow] = deque(maxlen=SIGNALS_KEPT)
        self._lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self._quotes: dict[str, QuoteRow] = {}
        self.broken: dict[str, str] = {}

    def follow(self, fact: Event) -> None:
        line = worded(fact)
        if line is not None:
            self._lines.append(LogLine(fact.seq, fact.ts, *line))
        match fact:
            case SignalGenerated(signal=signal):
                self._signals.append(SignalRow(fact.seq, signal, "", ""))
            case SignalBlocked(signal=signal):
                self._settle(signal.strategy, signal.symbol, signal.side, "blocked", fact.reason)
            case OrderIntended(order=order):
                if order.purpose is not OrderPurpose.PROTECTIVE_STOP:
                    key = order.strategy, order.symbol, order.side
                    self._settle(*key, "order", order.client_order_id)
            case _:
                pass

    def line(self, level: str, text: str) -> None:
        """A line of the host itself; `text` is clean."""
        bus = self._machine.bus
        self._lines.append(LogLine(bus.seq, bus.now, level, text))

    def show_broken(self, files: dict[str, str]) -> None:
        """Show the strategy files that are broken now, each with what is wrong with it; say so of
        those that were not before."""
        for name, problem in files.items():
            if self.broken.get(name) != problem:
                self.line("warning", f"strategy file {name} is broken: {problem}")
        self.broken = files

    def take(
        self, market_ts: int, wall_ts: int, feed: FeedStatus, durable: bool, health: Health
    ) -> Snapshot:
        """The picture now. `durable` says whether the kill switch's state is on disk."""
        machine = self._machine
        portfolio, risk = machine.portfolio, machine.risk
        equity = portfolio.equity()
        day_pnl = None
        if equity is not None and risk.day_equity is not None:
            day_pnl = equity - Decimal(repr(risk.day_equity))
        return Snapshot(
            seq=machine.bus.seq,
            ts=max(market_ts, machine.bus.now),
            wall_ts=wall_ts,
            mode=machine.config.mode,
            account=machine.config.account,
            currency=machine.config.currency,
            equity=equity,
            cash=portfolio.cash,
            day_pnl=day_pnl,
            kill=self._kill(durable),
            feed=feed,
            brokers=tuple(
                BrokerStatus(b.broker, b.connected, b.reason)
                for b in machine.safety.brokers.values()
            ),
            store=StoreStatus(machine.safety.store_available, machine.safety.store_reason),
            quotes=tuple(map(self._quote, machine.market.symbols.values())),
            signals=tuple(self._signals),
            orders=self._orders(),
            positions=self._positions(),
            limits=self._limits(),
            strategies=(
                *map(self._strategy, machine.runner.runs.values()),
                *(StrategyRow(name, "broken", problem) for name, problem in self.broken.items()),
            ),
            log=tuple(self._lines),
            live_gate=tuple(
                LiveGate(c.condition, c.met, c.remedy) for c in machine.safety.live.conditions()
            ),
            health=health,
            breaker=self._breaker(),
            dry_run=bool(machine.safety.dry_run),
            dead_man=self._dead_man(),
            paused=self._paused(),
            killed_parts=self._killed_parts(),
            alerts=tuple(machine.safety.alerts.waiting.items()),
            settled_cash=machine.compliance.settled_cash(),
        )

    def _paused(self) -> tuple[PausedRow, ...]:
        pauses = self._machine.pauses
        shown = {**pauses.paused, **pauses.halted}
        return tuple(PausedRow(p.symbol, p.reason, p.until) for p in shown.values())

    def _killed_parts(self) -> tuple[KilledPartRow, ...]:
        parts = self._machine.parts
        rows: list[KilledPartRow] = []
        for killed in parts.killed.values():
            held = 0
            if killed.action is KillAction.FLATTEN:
                positions = self._machine.portfolio.positions.items()
                held = sum(bool(p.quantity) and parts.is_in(killed.part, *k) for k, p in positions)
            rows.append(KilledPartRow(killed, len(parts.unwanted(killed.part)), held))
        return tuple(rows)

    def _settle(self, strategy: str, symbol: str, side: str, outcome: str, note: str) -> None:
        """Say what became of the newest signal that this is about."""
        for index in range(len(self._signals) - 1, -1, -1):
            row = self._signals[index]
            signal = row.signal
            if (signal.strategy, signal.symbol, signal.side) == (strategy, symbol, side):
                if not row.outcome:
                    self._signals[index] = replace(row, outcome=outcome, note=note)
                return

    def _kill(self, durable: bool) -> KillStatus:
        safety = self._machine.safety
        kill, orders = safety.kill, self._machine.orders.open.values()
        waiting = sum(is_cancelled_by(kill.action, order) for order in orders)
        held = 0
        if safety.is_flattening:
            held = sum(bool(p.quantity) for p in self._machine.portfolio.positions.values())
        phase = "armed"
        if kill.tripped:
            phase = "cancelling" if waiting else "flattening" if held else "complete"
        return KillStatus(
            kill.tripped,
            phase,
            kill.source,
            kill.reason,
            kill.ts,
            waiting,
            durable,
            safety.kill_action,
            held,
        )

    def _breaker(self) -> BreakerStatus:
        breaker = self._machine.safety.breaker
        state = breaker.state
        return BreakerStatus(state.tripped, state.reason, state.failures, breaker.limit)

    def _dead_man(self) -> DeadManStatus | None:
        switch = self._machine.safety.dead_man
        if switch.remaining is None:
            return None
        return DeadManStatus(switch.remaining / NANOS, switch.limit / NANOS)

    def _quote(self, market: SymbolMarket) -> QuoteRow:
        symbol = market.instrument.symbol
        known = self._quotes.get(symbol)
        last = market.mark if market.mark_source else None
        if (
            known is not None
            and known.quote is market.quote
            and known.last == last
            and known.ts == market.updated
            and known.stale == market.stale
        ):
            return known
        change = None
        if last is not None and market.day_open == market.day_open:
            change = (last / market.day_open - 1) * 100
        volume = market.bars[-1].volume if market.bars else None
        row = QuoteRow(
            market.instrument, market.quote, last, change, volume, market.updated, market.stale
        )
        self._quotes[symbol] = row
        return row

    def _orders(self) -> tuple[Order, ...]:
        """The newest, and every one that is open."""
        orders = list(self._machine.orders.orders.values())
        older = (order for order in orders[:-ORDERS_SHOWN] if order.is_open)
        return (*older, *orders[-ORDERS_SHOWN:])

    def _positions(self) -> tuple[PositionRow, ...]:
        rows: list[PositionRow] = []
        desk = self._machine.desk
        bare = desk.unprotected()
        kept = {(n.position.strategy, n.position.symbol): n.reason for n in desk.not_flat()}
        for position in self._machine.portfolio.positions.values():
            market = self._machine.market.symbols.get(position.symbol)
            if not position.quantity or market is None:
                continue
            mark = self._machine.portfolio.mark_price(position.symbol)
            pnl = None if mark is None else position.unrealised_pnl(mark)
            stop = self._stop_price(position)
            source = market.mark_source
            key = (position.strategy, position.symbol)
            rows.append(
                PositionRow(
                    position,
                    market.instrument,
                    mark,
                    source,
                    pnl,
                    stop,
                    bare.get(key, Decimal(0)),
                    kept.get(key, ""),
                )
            )
        return tuple(rows)

    def _stop_price(self, position: Position) -> Decimal | None:
        for order in self._machine.orders.open_orders(position.strategy, position.symbol):
            if order.purpose is OrderPurpose.PROTECTIVE_STOP and order.state in AT_VENUE:
                return order.stop_price
        return None

    def _limits(self) -> tuple[LimitRow, ...]:
        machine = self._machine
        usages = machine.risk.standing(machine.runner.runs)
        return tuple(_limit(usage, machine.risk.limits) for usage in usages)

    def _strategy(self, run: Run) -> StrategyRow:
        machine = self._machine
        losses = machine.risk.losses.get(run.name, 0)
        state, note = "on" if run.enabled else "off", run.note
        if run.failed:
            state = "failed"
        elif run.enabled and Part(Scope.STRATEGY, run.name) in machine.parts.killed:
            state = "killed"
        elif run.enabled and losses >= machine.risk.limits.max_consecutive_losses:
            state, note = "paused", f"{losses} losses in a row"
        sides = [slot.last_side for slot in run.slots.values() if slot.last_side]
        return StrategyRow(
            name=run.name,
            state=state,
            note=note,
            symbols=tuple(run.slots),
            parameters=" ".join(
                f"{name}={getattr(run.parameters, name)}"
                for name in run.parameters.__struct_fields__
            ),
            warm=min((min(s.seen, run.required) for s in run.slots.values() if s.seen), default=0),
            required=run.required,
            trades_today=machine.risk.trades.get(run.name, 0),
            losses=losses,
            pnl=self._pnl(run.name),
            last_signal=sides[-1] if sides else None,
        )

    def _pnl(self, strategy: str) -> Decimal | None:
        """Realised and unrealised P&L after commissions; None where a held symbol has no price."""
        total = Decimal(0)
        for position in self._machine.portfolio.positions.values():
            if position.strategy != strategy:
                continue
            total += position.realised_pnl - position.commission
            if position.quantity:
                mark = self._machine.portfolio.mark_price(position.symbol)
                if mark is None:
                    return None
                total += position.unrealised_pnl(mark)
        return total


def _limit(usage: Usage, limits: RiskLimits) -> LimitRow:
    """A row whose limit is not the setting's own value, but follows from it, names no setting."""
    name = usage.setting
    own = hasattr(limits, name) and limits.value(name) == usage.limit
    used = None if usage.used is None else float(usage.used)
    return LimitRow(
        usage.tier,
        usage.check,
        usage.scope,
        used,
        float(usage.limit),
        usage.unit,
        name if own else "",
        usage.least,
        usage.past,
    )
