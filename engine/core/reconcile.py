"""The books compared with what each broker says of the whole account.

A statement is asked for when a broker is connected, every few minutes, after an order was rejected,
and when the engine stops. It is several answers, one after the other, while both sides move on; so
a difference counts only where two statements in a row have it, and what moved since a statement was
asked for is not compared with it. Executions that are missing here are taken in as if the venue had
told them now; a statement that brings some is followed by another before anything is compared.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from engine.core.bus import Bus
from engine.core.comparison import CASH, Books, Comparison, Finding
from engine.core.events import (
    AccountStatement,
    BrokerStatusChanged,
    ClockTick,
    Effect,
    EngineStopping,
    ExecutionReport,
    OrderInDoubt,
    OrderRejected,
    PositionChanged,
    Reconciled,
    ReconcileFailed,
    RequestStatement,
    Restored,
    StatementDue,
    StatementFailed,
)
from engine.core.model import MINUTE, NANOS, Fill, Instrument, OrderState
from engine.core.order_moves import is_made_here
from engine.core.order_reports import EXECUTION_MISSING
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.text import clean

LOOKS = 3
"""Statements in a row after which one is believed, though no two were the same."""
LOOK_AGAIN = 2 * NANOS
DUE = NANOS
"""How soon a statement is asked for where something says that the books lack an execution, or that
the account is not what was thought."""
REJECTED_AGAIN = 5 * NANOS
"""Between statements that are asked for because orders were rejected."""
FAILED_AGAIN, FAILED_AGAIN_MOST = 5 * NANOS, 40 * NANOS
"""A statement that failed is asked for again after pauses that double: one costs several requests,
and asked for too often a venue that counts them would never answer all."""
LOST_AFTER = MINUTE
"""A statement that has no answer, not even a failure, is asked for again after this long."""
OVERLAP = 10 * MINUTE
"""Executions are asked for from this long before the last statement that was compared."""
FIRST_OVERLAP = 24 * 60 * MINUTE
"""As OVERLAP, before the end of the last session."""


UNKNOWN_ORDERS = "unknown-orders"


class Account(Struct):
    """Where the reconciliation with a broker stands.

    `asked_ts` and `asked_seq` are of the statement that is on its way (0: none is), `next_ts` is
    when the next is due, `seen_ts` when the last that was believed had been asked for. `looks`
    counts the statements since, `suspects` is what the last one differed in, `known` what was told
    of the last one that was believed; `compared` says whether one of this session was.
    `refused` are the executions that it brought and that were missing here. `failures` counts those
    that failed in a row. At `doubted_ts` something said last that the books, or the account, are
    not what was thought.
    """

    seen_ts: int
    connected: bool = False
    reconciled: bool = False
    asked_ts: int = 0
    asked_seq: int = 0
    next_ts: int = 0
    looks: int = 0
    suspects: dict[str, str] = {}
    known: dict[str, str] = {}
    refused: list[str] = []
    failure: str = ""
    failures: int = 0
    compared: bool = False
    doubted_ts: int = 0


class Reconciler:
    """Asks for statements, compares them with the books, and says what does not agree.

    No order leaves to a broker before its first statement was believed, and after every reconnect.
    `pause` pauses a symbol for a reason. `alert` tells a person of what the first statement of a
    session differed in; and always of orders that were made here and are not in the database, as
    where an older copy took its place. `every` is the interval in nanoseconds; with 0 nothing is
    asked for, and nothing held back.
    """

    def __init__(
        self,
        bus: Bus,
        emit: Callable[[Effect], None],
        instruments: Iterable[Instrument],
        portfolio: Portfolio,
        orders: OrderBook,
        pause: Callable[[str, str], None],
        alert: Callable[[str, Sequence[str]], None],
        every: int,
    ) -> None:
        self._bus = bus
        self._emit = emit
        self._moved: dict[str, tuple[int, int]] = {}
        venues = {i.symbol: i.venue for i in instruments}
        self._books = Books(orders, portfolio, venues, self._moved, emit)
        self._pause = pause
        self._alert = alert
        self._every = every
        self._seen_ts = 0
        self.accounts: dict[str, Account] = {}

    def objection(self, venue: str) -> str:
        """Why no order may leave to `venue`; empty text where the books were compared with it."""
        account = self.accounts.get(venue)
        if account is None or account.reconciled:
            return ""
        return f"not reconciled with {venue} yet"

    def cash_difference(self, venue: str) -> Decimal | None:
        """How much more cash the broker has than the books, in the account's currency, by the last
        statement that was believed; None where they agree, and where nothing was compared."""
        account = self.accounts.get(venue)
        gap = account.known.get(CASH) if account is not None and account.reconciled else None
        return None if gap is None else Decimal(gap)

    def forget_cash(self, venue: str) -> None:
        """The books have the broker's cash now: compare them anew."""
        account = self.accounts[venue]
        account.known.pop(CASH)
        self._ask(venue, account)

    # --- asking ---------------------------------------------------------------------------------

    def on_restored(self, event: Restored) -> None:
        """From here on there are books to compare."""
        self._seen_ts = max(1, event.ts - FIRST_OVERLAP + OVERLAP)
        for name, account in self.accounts.items():
            account.seen_ts = self._seen_ts
            if account.connected:
                self._ask(name, account)

    def on_broker_status(self, event: BrokerStatusChanged) -> None:
        if not self._every:
            return
        account = self.accounts.setdefault(event.broker, Account(self._seen_ts))
        account.connected, account.reconciled, account.suspects = event.connected, False, {}
        account.asked_ts = account.next_ts = account.looks = 0
        if event.connected and account.seen_ts:
            self._ask(event.broker, account)

    def on_tick(self, event: ClockTick) -> None:
        for name, account in self.accounts.items():
            asked, due = account.asked_ts, account.next_ts
            if (asked and event.ts - asked >= LOST_AFTER) or (due and event.ts >= due):
                self._ask(name, account)

    def on_stopping(self, _: EngineStopping) -> None:
        """A last look: what a venue tells from now on is heard by the next session alone."""
        for name, account in self.accounts.items():
            if account.connected:
                self._ask(name, account)

    def on_failed(self, event: StatementFailed) -> None:
        name = clean(event.broker)
        account = self.accounts.get(name)
        if account is None or event.asked_ts != account.asked_ts:
            return
        pause = min(FAILED_AGAIN << min(account.failures, 8), FAILED_AGAIN_MOST)
        account.asked_ts, account.next_ts = 0, self._bus.now + pause
        account.failures += 1
        reason = clean(event.reason)
        if reason != account.failure:
            account.failure = reason
            self._bus.publish(ReconcileFailed(name, reason))

    def on_position(self, event: PositionChanged) -> None:
        self._moved[event.fill.symbol] = (event.seq, event.fill.ts)

    def on_due(self, event: StatementDue) -> None:
        self._ask_soon(clean(event.broker))

    def on_doubt(self, event: OrderInDoubt) -> None:
        if event.order.reason == EXECUTION_MISSING:
            self._ask_soon(self._books.venues.get(event.order.symbol, ""))

    def on_rejected(self, event: OrderRejected) -> None:
        """The account may have less than was thought: an order is sized by its buying power."""
        self._ask_soon(self._books.venues.get(event.order.symbol, ""), REJECTED_AGAIN)

    def _ask_soon(self, name: str, gap: int = 0) -> None:
        """Not before the pause after one that failed, nor within `gap` ns of the last one, and once
        more after one that is under way."""
        account = self.accounts.get(name)
        if account is None or not account.connected:
            return
        account.doubted_ts = self._bus.now
        if account.next_ts and not account.failures:
            soonest = max(self._bus.now + DUE, account.seen_ts + gap)
            account.next_ts = min(account.next_ts, soonest)

    def _ask(self, name: str, account: Account) -> None:
        account.asked_ts, account.asked_seq = max(self._bus.now, 1), self._bus.seq
        account.next_ts = 0
        since = max(0, account.seen_ts - OVERLAP)
        self._emit(RequestStatement(name, account.asked_ts, since))

    # --- comparing ------------------------------------------------------------------------------

    def on_statement(self, event: AccountStatement) -> None:
        """Its executions count however old it is, the rest only where it is the one asked for."""
        name = clean(event.broker)
        account = self.accounts.get(name)
        if account is None:
            return
        has_news = self._take_in(name, account, event.fills)
        if not account.asked_ts or event.asked_ts != account.asked_ts:
            return
        account.asked_ts, account.looks, account.failures = 0, account.looks + 1, 0
        if has_news:
            account.suspects = {}
            self._look_again(name, account)
            return
        comparison = Comparison(self._books, event, account.asked_seq)
        comparison.compare_cash()
        gaps = {key: finding.gap for key, finding in comparison.findings.items()}
        twice = all(
            gap in (account.suspects.get(key), account.known.get(key)) for key, gap in gaps.items()
        )
        account.suspects = gaps
        if twice or account.looks >= LOOKS:
            self._believe(name, account, comparison, event.asked_ts)
        else:
            self._look_again(name, account)

    def _take_in(self, name: str, account: Account, fills: Iterable[Fill]) -> bool:
        """Take in the executions that are missing here; whether there were any. One without a known
        order waits while an order of ours in its symbol has no answer: it may be that one's. One
        that was refused before is news again where it can be true by now: its order has grown."""
        books = self._books
        waiting, by_venue = books.unanswered(), books.by_venue_id()
        refused, account.refused = account.refused, []
        has_news = False
        lost: list[str] = []
        for fill in fills:
            named = by_venue.get((fill.symbol, fill.venue_order_id))
            key = fill.client_order_id or (named.client_order_id if named else "")
            order = books.orders.orders.get(key)
            if books.portfolio.is_applied(fill.execution_id) or fill.symbol not in books.venues:
                continue
            if order is None and fill.symbol in waiting:
                continue
            account.refused.append(fill.execution_id)
            may_be = order is not None and not books.orders.fault_of(order, fill)
            if fill.execution_id not in refused or may_be:
                has_news = True
                if order is None and is_made_here(key):
                    lost.append(f"{key}, filled at {name}, is not in this database")
                books.orders.on_report(
                    ExecutionReport(
                        key,
                        OrderState.PARTIALLY_FILLED,
                        venue_order_id=fill.venue_order_id,
                        fill=fill,
                    )
                )
        if lost:
            self._alert(UNKNOWN_ORDERS, lost)
        return has_news

    def _look_again(self, name: str, account: Account) -> None:
        if account.looks < LOOKS:
            self._ask(name, account)
        else:
            account.next_ts = self._bus.now + LOOK_AGAIN

    def _believe(self, name: str, account: Account, comparison: Comparison, asked_ts: int) -> None:
        """Tell what differs, mend what can be mended, and pause what needs a person."""
        findings = comparison.findings
        for key, finding in findings.items():
            if finding.heal is not None:
                finding.heal()
            symbol = finding.difference.symbol
            is_new = account.known.get(key) != finding.gap
            if finding.pauses and is_new and symbol in self._books.venues:
                self._pause(symbol, finding.difference.what)
        self._alert_of(account, name, findings.values())
        is_newer = asked_ts > account.doubted_ts
        is_settled = comparison.sure and is_newer and account.suspects == account.known
        account.known, account.suspects = account.suspects, {}
        account.reconciled, account.looks, account.failure = True, 0, ""
        account.seen_ts = asked_ts
        account.next_ts = self._bus.now + (self._every if is_settled else LOOK_AGAIN)
        differences = tuple(finding.difference for finding in findings.values())
        self._bus.publish(Reconciled(name, differences))

    def _alert_of(self, account: Account, name: str, findings: Iterable[Finding]) -> None:
        found = [finding for finding in findings if finding.pauses]
        if lost := [finding.difference.what for finding in found if finding.lost]:
            self._alert(UNKNOWN_ORDERS, lost)
        other = [finding.difference.what for finding in found if not finding.lost]
        if other and not account.compared:
            self._alert(f"reconciliation-{name}", other)
        account.compared = True
