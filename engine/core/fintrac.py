"""Flags of large transactions in virtual currency, as FINTRAC has reporting entities report them.

A transaction worth CA$10,000 or more is flagged; so are two or more of the same conductor, of any
size, that add up to it within a static 24-hour window (PCMLTFR s. 129; FINTRAC, "Reporting
transactions: the 24-hour rule", of 23 October 2023). All executions of one order are one
transaction, of the window in which its first execution was. Windows follow each other without a gap
and are 24 hours long on every day: they do not move with daylight saving time. Purchases and sales
count alike.

The flag is internal: the rule binds dealers in virtual currency, not those who trade their own
money. This is no legal advice.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.core.accounts import Rates
from engine.core.events import Event, FintracFlagged, FintracUpdated
from engine.core.model import (
    DAY,
    MINUTE,
    ZERO,
    AssetClass,
    Fill,
    FintracReport,
    FintracRule,
    FintracStatus,
    FintracTransaction,
    Instrument,
    utc,
)

THRESHOLD = Decimal(10_000)
WINDOW = DAY
MIDNIGHT = 300 * MINUTE
"""Where the window begins by default: midnight, Eastern Standard Time, as UTC."""


class Fintrac:
    """Keeps the transactions of the last days and their reports; nothing without a `conductor`."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        instruments: Mapping[str, Instrument],
        rates: Rates,
        conductor: str,
        window_start: int,
    ) -> None:
        self._publish = publish
        self._instruments = instruments
        self._conductor = conductor
        self._window_start = window_start % WINDOW
        self.rates = rates
        self.transactions: dict[str, FintracTransaction] = {}
        self._windows: dict[int, list[str]] = {}
        self.reports: dict[str, FintracReport] = {}
        self._versions: dict[str, int] = {}

    def concerns(self, symbol: str) -> bool:
        instrument = self._instruments.get(symbol)
        crypto = instrument is not None and instrument.asset_class is AssetClass.CRYPTO
        return crypto and bool(self._conductor)

    def state(self) -> dict[str, Any]:
        return {
            "rates": self.rates.state(),
            "transactions": list(self.transactions.values()),
            "reports": list(self.reports.values()),
        }

    # --- what happens ---------------------------------------------------------------------------

    def on_fill(self, fill: Fill, now: int) -> None:
        if self.concerns(fill.symbol):
            self._judge(self._add(fill), now)

    def on_reversed(self, fill: Fill, correction: Fill | None, now: int) -> None:
        """The venue took `fill` back: what was reported of its order is reported anew."""
        if fill.client_order_id not in self.transactions:
            return
        transaction = self._add(fill, -1)
        if correction is not None:
            transaction = self._add(correction)
        self._judge(transaction, now, corrected=True)

    def on_rate(self, now: int) -> None:
        """Complete what waited for a rate."""
        self.transactions = {key: self._rated(t) for key, t in self.transactions.items()}
        for name, report in list(self.reports.items()):
            if report.status is FintracStatus.INCOMPLETE:
                rated = tuple(map(self._rated, report.transactions))
                self._file(name, replace(report, transactions=rated), now)

    def open(self, fills: Iterable[Fill], reports: Iterable[FintracReport]) -> None:
        """Begin with what an earlier session knew, the rates that it recorded included."""
        recorded: dict[str, FintracTransaction] = {}
        for report in reports:
            name = _name(report)
            self._versions[name] = self._versions.get(name, 0) + 1
            if report.status is not FintracStatus.CORRECTED:
                self.reports[name] = report
                recorded |= {t.client_order_id: t for t in report.transactions}
        for fill in fills:
            if self.concerns(fill.symbol):
                self._add(fill)
        for key in self.transactions.keys() & recorded.keys():
            known = recorded[key]
            self.transactions[key] = replace(
                self.transactions[key],
                rate=known.rate,
                rate_source=known.rate_source,
                rate_ts=known.rate_ts,
            )

    def forget(self, before: int) -> None:
        """Let go of what ended before. Reports that wait for a rate wait on in the database: each
        start brings those of a year back."""
        self.transactions = {k: t for k, t in self.transactions.items() if t.last_ts >= before}
        self._windows = {
            start: kept
            for start, window in self._windows.items()
            if (kept := [key for key in window if key in self.transactions])
        }
        for name, report in list(self.reports.items()):
            if report.end_ts < before:
                del self.reports[name], self._versions[name]

    # --- transactions ---------------------------------------------------------------------------

    def _add(self, fill: Fill, sign: int = 1) -> FintracTransaction:
        key = fill.client_order_id
        known = self.transactions.get(key)
        if known is None:
            currency = self._instruments[fill.symbol].currency
            known = FintracTransaction(
                key, fill.symbol, fill.side, ZERO, ZERO, currency, fill.ts, fill.ts
            )
            self._windows.setdefault(self._window(fill.ts), []).append(key)
        transaction = replace(
            known,
            quantity=known.quantity + sign * fill.quantity,
            amount=known.amount + sign * fill.quantity * fill.price,
            last_ts=max(known.last_ts, fill.ts),
        )
        self.transactions[key] = transaction = self._rated(transaction)
        return transaction

    def _rated(self, transaction: FintracTransaction) -> FintracTransaction:
        """With the rate in force at its first execution, where it has none yet and one is known."""
        if transaction.rate is not None:
            return transaction
        found = self.rates.at(transaction.currency, transaction.first_ts)
        if found is None:
            return transaction
        published_ts, rate, source = found
        return replace(transaction, rate=rate, rate_source=source, rate_ts=published_ts)

    def _window(self, ts: int) -> int:
        return ts - (ts - self._window_start) % WINDOW

    # --- reports --------------------------------------------------------------------------------

    def _judge(self, transaction: FintracTransaction, now: int, corrected: bool = False) -> None:
        """Report the transaction, and its window, where they are to be."""
        single = self._draft(
            FintracRule.SINGLE, (transaction,), transaction.first_ts, transaction.last_ts
        )
        self._file(_name(single), single, now, corrected)
        start = self._window(transaction.first_ts)
        day = self._draft(FintracRule.DAY, (transaction,), start, start + WINDOW)
        is_known = _name(day) in self.reports
        if corrected or not is_known:
            members = (self.transactions[key] for key in self._windows[start])
            day = replace(day, transactions=tuple(member for member in members if member.quantity))
        if is_known or len(day.transactions) > 1:
            self._file(_name(day), day, now, corrected)

    def _draft(
        self, rule: FintracRule, transactions: tuple[FintracTransaction, ...], start: int, end: int
    ) -> FintracReport:
        unjudged = FintracStatus.INCOMPLETE
        return FintracReport("", rule, unjudged, self._conductor, start, end, 0, None, transactions)

    def _file(self, name: str, draft: FintracReport, now: int, corrected: bool = False) -> None:
        """Flag what is to be flagged, or bring the report of that name up to date: then the draft
        needs no more than the transactions that may have changed."""
        known = self.reports.get(name)
        if known is None:
            draft = _valued(draft, _total(draft.transactions))
            if draft.status is not FintracStatus.BELOW:
                self._flag(name, draft, now)
        elif not corrected:
            self._update(name, known, draft)
        elif known.transactions != draft.transactions:
            replaced = replace(known, status=FintracStatus.CORRECTED, transactions=())
            self._publish(FintracUpdated(replaced))
            draft = replace(draft, corrects=known.report_id)
            self._flag(name, _valued(draft, _total(draft.transactions)), now)

    def _update(self, name: str, known: FintracReport, draft: FintracReport) -> None:
        """Tell what is new alone, and add it up alone: a window may have thousands of
        transactions."""
        recorded = {t.client_order_id: t for t in known.transactions}
        told = tuple(t for t in draft.transactions if recorded.get(t.client_order_id) != t)
        former = [recorded[t.client_order_id] for t in told if t.client_order_id in recorded]
        whole = updated(known, replace(known, end_ts=draft.end_ts, transactions=told))
        now, before, total = _total(told), _total(former), known.amount_cad
        if total is None or now is None or before is None:
            total = _total(whole.transactions)
        else:
            total += now - before
        changed = _valued(whole, total)
        if changed != known:
            self.reports[name] = changed
            self._publish(FintracUpdated(replace(changed, transactions=told)))

    def _flag(self, name: str, draft: FintracReport, now: int) -> None:
        number = self._versions[name] = self._versions.get(name, 0) + 1
        report_id = name if number == 1 else f"{name}:{number}"
        report = replace(draft, report_id=report_id, flagged_ts=now)
        self.reports[name] = report
        self._publish(FintracFlagged(report))


def _name(report: FintracReport) -> str:
    """What all versions of a report have in common."""
    if report.rule is FintracRule.SINGLE:
        return f"single:{report.transactions[0].client_order_id}"
    return f"24h:{utc(report.start_ts):%Y%m%dT%H%MZ}:{report.conductor}"


def updated(known: FintracReport, told: FintracReport) -> FintracReport:
    """`known` after an update: that tells no transactions but the new and the changed ones."""
    transactions = {t.client_order_id: t for t in (*known.transactions, *told.transactions)}
    return replace(told, transactions=tuple(transactions.values()))


def _total(transactions: Iterable[FintracTransaction]) -> Decimal | None:
    """The sum in Canadian dollars; None where one of them has no rate."""
    total = ZERO
    for transaction in transactions:
        amount = transaction.amount_cad
        if amount is None:
            return None
        total += amount
    return total


def _valued(report: FintracReport, total: Decimal | None) -> FintracReport:
    """With the sum, and what follows from it."""
    status = FintracStatus.INCOMPLETE
    if total is not None:
        status = FintracStatus.COMPLETE if total >= THRESHOLD else FintracStatus.BELOW
    return replace(report, status=status, amount_cad=total)
