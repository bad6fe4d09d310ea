"""Takes the picture of the machine that the console draws."""

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice

from msgspec.structs import replace

from engine.core.events import (
    BrokerStatusChanged,
    Event,
    OrderIntended,
    PositionChanged,
    RiskChecked,
    SignalBlocked,
    SignalGenerated,
    TradeReversed,
)
from engine.core.machine import Machine
from engine.core.market import SymbolMarket
from engine.core.model import (
    AT_VENUE,
    NANOS,
    Fill,
    KillAction,
    Order,
    OrderPurpose,
    Part,
    Quote,
    Scope,
    is_cancelled_by,
)
from engine.core.risk import RiskLimits, Usage
from engine.core.risk.strategy import losses_told
from engine.core.strategy import Run
from engine.view.alerting import Alerts
from engine.view.pnl import by_strategy
from engine.view.snapshot import (
    AccountRow,
    BreakerStatus,
    BrokerStatus,
    DeadManStatus,
    FeedStatus,
    FillRow,
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
from engine.view.tallies import Blocked, Connections, Session, Standing
from engine.view.wording import worded

SIGNALS_KEPT = 200
LINES_KEPT = 500
FILLS_KEPT = 1_000
FILLS_SHOWN = 200
ORDERS_SHOWN = 300
QUOTES_A_PIECE = 100


class View:
    """Follows the facts, and makes snapshots that share what did not change."""

    def __init__(self, machine: Machine, fills: Iterable[Fill] = ()) -> None:
        """`fills` are the executions of the last days, oldest first."""
        self._machine = machine
        executions = (FillRow(fill) for fill in fills if not fill.is_opening)
        self.executions: deque[FillRow] = deque(executions, maxlen=FILLS_KEPT)
        """The last that were heard of, those that the venue took back among them."""
        self.signals: deque[SignalRow] = deque(maxlen=SIGNALS_KEPT)
        self._lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self._rows: dict[str, QuoteRow] = {}
        self._warmth: dict[str, tuple[int, int]] = {}
        self._instruments = {s: m.instrument for s, m in machine.market.symbols.items()}
        self.broken: dict[str, str] = {}
        self._alerts = Alerts()
        self._blocked = Blocked()
        self._connections = Connections()
        self._session = Session(machine.config.instruments)

    def follow(self, fact: Event) -> bool:
        """Take a fact in; True where it makes a line of the log."""
        if isinstance(fact, RiskChecked):  # fifteen an order, on its way out: `Causes` has them
            return False
        line = worded(fact)
        if line is not None:
            self._lines.append(LogLine(fact.seq, fact.ts, *line))
            self._alerts.follow(fact, line)
        self._blocked.follow(fact)
        self._connections.follow(fact)
        self._session.follow(fact)
        match fact:
            case SignalGenerated(signal=signal):
                self.signals.append(SignalRow(fact.seq, signal, "", ""))
            case SignalBlocked(signal=signal):
                self._settle(signal.strategy, signal.symbol, signal.side, "blocked", fact.reason)
            case OrderIntended(order=order):
                if order.purpose is not OrderPurpose.PROTECTIVE_STOP:
                    key = order.strategy, order.symbol, order.side
                    self._settle(*key, "order", order.client_order_id)
            case PositionChanged(fill=fill):
                if not fill.is_opening:
                    self.executions.append(FillRow(fill))
            case TradeReversed(fill=fill, correction=correction):
                self._correct(fill, correction)
            case _:
                pass
        return line is not None

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The executions that stand, oldest first."""
        return tuple(row.fill for row in self.executions if not row.is_reversed)

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

    def ahead(self) -> Iterator[None]:
        """Do before the next `take`, a piece at a time, what takes long where there are hundreds of
        symbols: between two pieces the engine can do other things. What changes meanwhile is done
        again in `take`."""
        markets = iter([*self._machine.market.symbols.items()])
        while piece := [*islice(markets, QUOTES_A_PIECE)]:
            self._refresh(piece)
            yield
        for run in [*self._machine.runner.runs.values()]:
            self._warm(run)
            yield

    def take(
        self, market_ts: int, wall_ts: int, feed: FeedStatus, durable: bool, health: Health | None
    ) -> Snapshot:
        """The picture now. `durable` says whether the kill switch's state is on disk."""
        machine = self._machine
        portfolio, risk = machine.portfolio, machine.risk
        equity = portfolio.equity()
        day_pnl = None
        if equity is not None and risk.day_equity is not None:
            day_pnl = equity - Decimal(repr(risk.day_equity))
        positions = self._positions()
        pnl = by_strategy(portfolio, positions, machine.runner.runs, risk.trades)
        totals = {row.strategy: row.total for row in pnl}
        standing = self._connections.feed
        return Snapshot(
            seq=machine.bus.seq,
            ts=max(market_ts, machine.bus.now),
            wall_ts=wall_ts,
            mode=machine.config.mode,
            account=self._account(),
            currency=machine.config.currency,
            equity=equity,
            cash=portfolio.in_base(portfolio.cash),
            day_pnl=day_pnl,
            kill=self._kill(durable),
            feed=replace(feed, since_ts=standing.since_ts, losses=standing.losses),
            brokers=tuple(map(self._broker, machine.safety.brokers.values())),
            store=StoreStatus(
                machine.safety.store_available,
                machine.safety.store_reason,
                self._connections.store.since_ts,
            ),
            quotes=self._quotes(),
            signals=tuple(self.signals),
            orders=self._orders(),
            positions=positions,
            limits=self._limits(),
            strategies=(
                *(self._strategy(run, totals[run.name]) for run in machine.runner.runs.values()),
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
            alerts=self._alerts.rows,
            settled_cash=portfolio.in_base(machine.compliance.settled_cash()),
            accounts=self._accounts(),
            pnl=pnl,
            blocked=self._blocked.rows,
            blocked_since_ts=self._blocked.since_ts,
            session=self._session.totals,
            fills=tuple(self.executions)[-FILLS_SHOWN:],
            instruments=self._instruments,
        )

    def _account(self) -> str:
        """Which account it is; of several each after its venue."""
        brokers = self._machine.safety.brokers.values()
        told = {status.broker: status.account for status in brokers if status.account}
        if len(brokers) == 1:
            return "".join(told.values())
        return ", ".join(f"{venue} {account}" for venue, account in told.items())

    def _broker(self, status: BrokerStatusChanged) -> BrokerStatus:
        machine, name = self._machine, status.broker
        standing = self._connections.brokers.get(name, Standing())
        return BrokerStatus(
            name,
            status.connected,
            status.reason,
            status.live,
            standing.since_ts,
            standing.losses,
            machine.accounts.currencies.get(name, ""),
            machine.portfolio.cash.get(name),
            machine.reconciler.cash_difference(name),
        )

    def _accounts(self) -> tuple[AccountRow, ...]:
        """The account of each venue; none where the sums say it all."""
        machine = self._machine
        accounts, cash = machine.accounts, machine.portfolio.cash
        if len(cash) == 1 and accounts.base in accounts.currencies.values():
            return ()
        settled = machine.compliance.settled_cash()
        return tuple(
            AccountRow(
                venue,
                currency,
                cash[venue],
                settled[venue],
                accounts.worth[venue],
                accounts.published(venue),
            )
            for venue, currency in accounts.currencies.items()
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
                portfolio = self._machine.portfolio
                positions = portfolio.positions.items()
                held = sum(
                    portfolio.is_open(p) and parts.is_in(killed.part, *k) for k, p in positions
                )
            waiting = parts.unwanted(killed.part)
            rows.append(KilledPartRow(killed, len(waiting), held, *self._refused(waiting)))
        return tuple(rows)

    def _refused(self, waiting: Iterable[Order]) -> tuple[int, str]:
        """How many of the orders that wait for their cancel had one that did not take, and why the
        last of them did not."""
        refused = self._machine.orders.refused
        if not refused:
            return 0, ""
        keys = {order.client_order_id for order in waiting}
        reasons = [reason for key, reason in refused.items() if key in keys]
        return len(reasons), reasons[-1] if reasons else ""

    def _correct(self, fill: Fill, correction: Fill | None) -> None:
        """The venue took `fill` back, and may have put another in its place."""
        key = fill.symbol, fill.execution_id
        others = (r for r in self.executions if (r.fill.symbol, r.fill.execution_id) != key)
        heard = [FillRow(fill, is_reversed=True), *([FillRow(correction)] if correction else [])]
        self.executions = deque((*others, *heard), maxlen=FILLS_KEPT)

    def _settle(self, strategy: str, symbol: str, side: str, outcome: str, note: str) -> None:
        """Say what became of the newest signal that this is about."""
        for index in range(len(self.signals) - 1, -1, -1):
            row = self.signals[index]
            signal = row.signal
            if (signal.strategy, signal.symbol, signal.side) == (strategy, symbol, side):
                if not row.outcome:
                    self.signals[index] = replace(row, outcome=outcome, note=note)
                return

    def _kill(self, durable: bool) -> KillStatus:
        safety = self._machine.safety
        kill, orders = safety.kill, self._machine.orders.open.values()
        waiting = [order for order in orders if is_cancelled_by(kill.action, order)]
        held = 0
        if safety.is_flattening:
            portfolio = self._machine.portfolio
            held = sum(map(portfolio.is_open, portfolio.positions.values()))
        phase = "armed"
        if kill.tripped:
            phase = "cancelling" if waiting else "flattening" if held else "complete"
        return KillStatus(
            kill.tripped,
            phase,
            kill.source,
            kill.reason,
            kill.ts,
            len(waiting),
            durable,
            safety.kill_action,
            held,
            *self._refused(waiting if kill.tripped else ()),
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

    def _quotes(self) -> tuple[QuoteRow, ...]:
        self._refresh(self._machine.market.symbols.items())
        return tuple(self._rows.values())

    def _refresh(self, markets: Iterable[tuple[str, SymbolMarket]]) -> None:
        """Make the row of each symbol anew that something came for since."""
        rows = self._rows
        for symbol, market in markets:
            row, last = rows.get(symbol), market.mark if market.mark_source else None
            # beside bars that go on, a quote that is too old would look as new as they are
            is_last = market.mark_source == "mid"
            quote = market.quote if is_last else self._machine.market.fresh_quote(symbol)
            if (
                row is None
                or row.quote is not quote
                or row.ts != market.updated
                or row.last != last
                or row.change_pct != market.change_pct
                or row.stale != market.stale
            ):
                rows[symbol] = self._quote(market, quote, last, row)

    def _quote(
        self,
        market: SymbolMarket,
        quote: Quote | None,
        last: float | None,
        before: QuoteRow | None,
    ) -> QuoteRow:
        instrument, bars = market.instrument, market.bars
        return QuoteRow(
            instrument.symbol,
            quote,
            last,
            market.change_pct,
            bars[-1].volume if bars else None,
            market.updated,
            market.stale,
            before.zone if before else self._machine.calendars.zone(instrument.calendar),
        )

    def _orders(self) -> tuple[Order, ...]:
        """The newest, and every one that is open."""
        orders = list(self._machine.orders.orders.values())
        older = (order for order in orders[:-ORDERS_SHOWN] if order.is_open)
        return (*older, *orders[-ORDERS_SHOWN:])

    def _positions(self) -> tuple[PositionRow, ...]:
        rows: list[PositionRow] = []
        desk = self._machine.desk
        bare, stops = desk.unprotected(), self._stops()
        kept = {(n.position.strategy, n.position.symbol): n.reason for n in desk.not_flat()}
        for position in self._machine.portfolio.positions.values():
            market = self._machine.market.symbols.get(position.symbol)
            if not position.quantity or market is None:
                continue
            mark = self._machine.portfolio.mark_price(position.symbol)
            worth = self._machine.portfolio.worth(position.symbol)
            pnl = None
            if mark is not None and worth is not None:
                pnl = position.unrealised_pnl(mark) * worth
            stop = stops.get((position.strategy, position.symbol))
            source = market.mark_source
            key = (position.strategy, position.symbol)
            rows.append(
                PositionRow(
                    position,
                    mark,
                    source,
                    pnl,
                    stop,
                    bare.get(key, Decimal(0)),
                    kept.get(key, ""),
                    not self._machine.portfolio.is_open(position),
                    worth,
                )
            )
        return tuple(rows)

    def _stops(self) -> dict[tuple[str, str], Decimal | None]:
        """The price of the first protective stop of each position that is at its broker."""
        stops: dict[tuple[str, str], Decimal | None] = {}
        for order in self._machine.orders.open.values():
            if order.purpose is OrderPurpose.PROTECTIVE_STOP and order.state in AT_VENUE:
                stops.setdefault((order.strategy, order.symbol), order.stop_price)
        return stops

    def _limits(self) -> tuple[LimitRow, ...]:
        machine = self._machine
        usages = machine.risk.standing(machine.runner.runs) + machine.compliance.standing()
        return tuple(_limit(usage, machine.risk.limits) for usage in usages)

    def _warm(self, run: Run) -> int:
        """How many bars of the history that it requires each symbol of a strategy has at the least,
        of those that have data."""
        progress = self._machine.runner.progress
        known = self._warmth.get(run.name)
        if known is None or known[0] != progress:
            seen = [slot.seen for slot in run.slots.values() if slot.seen]
            known = (progress, min((*seen, run.required)) if seen else 0)
            self._warmth[run.name] = known
        return known[1]

    def _strategy(self, run: Run, pnl: Decimal | None) -> StrategyRow:
        machine = self._machine
        losses = machine.risk.losses.get(run.name, 0)
        state, note = "on" if run.enabled else "off", run.note
        if run.failed:
            state = "failed"
        elif run.enabled and Part(Scope.STRATEGY, run.name) in machine.parts.killed:
            state = "killed"
        elif run.enabled and losses >= machine.risk.limits.max_consecutive_losses:
            state, note = "paused", losses_told(losses)
        return StrategyRow(
            name=run.name,
            state=state,
            note=note,
            symbols=tuple(run.slots),
            parameters=" ".join(
                f"{name}={getattr(run.parameters, name)}"
                for name in run.parameters.__struct_fields__
            ),
            warm=self._warm(run),
            required=run.required,
            entries_today=machine.risk.trades.get(run.name, 0),
            consecutive_losses=losses,
            pnl=pnl,
            last_signal=run.last_side,
        )


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
