"""Flags of virtual currency worth CA$10,000: one transaction, or a static window of 24 hours."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.compliance import FILLS_KEPT, ComplianceRules
from engine.core.events import (
    DataRefused,
    Event,
    FintracFlagged,
    FintracUpdated,
    PositionChanged,
    RatePublished,
    Record,
    TradeReversed,
)
from engine.core.machine import Machine, MachineConfig
from engine.core.model import (
    NANOS,
    OPENING,
    AssetClass,
    Fill,
    FintracReport,
    FintracRule,
    FintracStatus,
    Instrument,
    Position,
    Side,
    nanos,
)
from engine.store.durable import reports_after
from tests.week import sizes

from .rig import Rig
from .test_settlement import restored

CENT, COINS = Decimal("0.01"), Decimal("0.00000001")
CRYPTO, STOCK = AssetClass.CRYPTO, AssetClass.STOCK
CAD = Instrument("CAD", CRYPTO, CENT, COINS, currency="CAD", venue="maple")
USD = Instrument("USD", CRYPTO, CENT, COINS, currency="USD")
EUR = Instrument("EUR", CRYPTO, CENT, COINS, currency="EUR", venue="euro")
SHARE = Instrument("SHARE", STOCK, CENT, Decimal(1), currency="CAD", venue="maple")
INSTRUMENTS = (CAD, USD, EUR, SHARE)
VENUES = {instrument.symbol: instrument.venue for instrument in INSTRUMENTS}
RULES = ComplianceRules(conductor="me")

SINGLE, DAY = FintracRule.SINGLE, FintracRule.DAY
COMPLETE, INCOMPLETE = FintracStatus.COMPLETE, FintracStatus.INCOMPLETE
BELOW, CORRECTED = FintracStatus.BELOW, FintracStatus.CORRECTED


def when(text: str) -> int:
    return nanos(datetime.fromisoformat(text))


NOON = when("2024-07-10T12:00-05:00")
HOUR = 3_600 * NANOS


class Account:
    """A machine that is told of executions, and the reports as its facts left them."""

    def __init__(self, rules: ComplianceRules = RULES) -> None:
        self.machine = Machine(MachineConfig(INSTRUMENTS, compliance=rules), {})
        self.facts: list[Event] = []
        self.count = 0
        self.rows: dict[str, FintracReport] = {}

    def buy(
        self,
        amount: str,
        symbol: str = "CAD",
        order: str = "",
        ts: int = NOON,
        side: Side = Side.BUY,
    ) -> Fill:
        """An execution of half a coin for `amount`."""
        self.count += 1
        half = Decimal("0.5")
        price = Decimal(amount) / half
        name = f"x-{self.count}"
        key, venue = order or f"tb-{self.count}", VENUES[symbol]
        fill = Fill(name, key, symbol, side, half, price, Decimal(7), ts, venue=venue)
        self.tell(PositionChanged(Position("s", symbol), fill, Decimal(0), ts=ts))
        return fill

    def rate(
        self, rate: str, currency: str = "USD", ts: int = NOON - HOUR, source: str = "BoC"
    ) -> None:
        self.tell(RatePublished(currency, Decimal(rate), source, ts, ts=NOON))

    def bust(self, fill: Fill, correction: Fill | None = None) -> None:
        position = Position("s", fill.symbol)
        self.tell(TradeReversed(fill, correction, position, Decimal(0), "bust", ts=fill.ts))

    def tell(self, event: Event) -> None:
        effects = self.machine.process(event)
        facts = [effect.fact for effect in effects if isinstance(effect, Record)]
        self.facts += facts
        self.rows |= reports_after(self.rows, facts)

    def flagged(self) -> list[tuple[FintracRule, FintracStatus, Decimal | None]]:
        return [(row.rule, row.status, row.amount_cad) for row in self.rows.values()]


@pytest.fixture
def account() -> Account:
    return Account()


# --- one transaction -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "rows"),
    [
        ("9999.99", []),
        ("10000.00", [(SINGLE, COMPLETE, Decimal(10_000))]),
        ("10000.01", [(SINGLE, COMPLETE, Decimal("10000.01"))]),
    ],
)
@pytest.mark.parametrize("side", list(Side))
def test_a_transaction_is_flagged_from_ten_thousand_on(
    account: Account, amount: str, side: Side, rows: Sequence[object]
) -> None:
    account.buy(amount, side=side)
    assert account.flagged() == rows


@pytest.mark.parametrize(
    ("amount", "rate", "rows"),
    [
        ("8000", "1.25", [(SINGLE, COMPLETE, Decimal(10_000))]),
        ("7999.99", "1.25", []),
        ("8000", "1.249999", []),
    ],
)
def test_dollars_are_converted_at_the_rate_that_is_recorded(
    account: Account, amount: str, rate: str, rows: Sequence[object]
) -> None:
    account.rate(rate)
    account.buy(amount, "USD")
    assert account.flagged() == rows
    for row in account.rows.values():
        (transaction,) = row.transactions
        assert (transaction.rate, transaction.rate_source) == (Decimal(rate), "BoC")
        assert transaction.rate_ts == NOON - HOUR
        assert (transaction.amount, transaction.currency) == (Decimal(amount), "USD")
        assert (row.conductor, row.start_ts, row.flagged_ts) == ("me", NOON, NOON)


def test_four_fills_of_one_order_are_one_transaction_and_one_row(account: Account) -> None:
    for number in range(3):
        account.buy("2500", order="tb-1", ts=NOON + number * HOUR)
    assert account.flagged() == []
    account.buy("2500", order="tb-1", ts=NOON + 3 * HOUR)
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(10_000))]
    account.buy("100", order="tb-1", ts=NOON + 4 * HOUR)
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(10_100))]
    (row,) = account.rows.values()
    assert (row.start_ts, row.end_ts) == (NOON, NOON + 4 * HOUR)
    assert row.transactions[0].quantity == Decimal("2.5")


@pytest.mark.parametrize("what", ["stock", "nobody"])
def test_what_is_no_virtual_currency_or_nobodys_is_not_flagged(what: str) -> None:
    account = Account(RULES if what == "stock" else ComplianceRules())
    account.buy("20000", "SHARE" if what == "stock" else "CAD")
    assert account.flagged() == []


# --- the window ----------------------------------------------------------------------------------


def test_four_orders_of_2500_are_one_row_for_the_window(account: Account) -> None:
    for number in range(4):
        account.buy("2500", ts=NOON + number * HOUR)
    assert account.flagged() == [(DAY, COMPLETE, Decimal(10_000))]
    account.buy("0.01")
    (row,) = account.rows.values()
    assert row.amount_cad == Decimal("10000.01")
    assert [t.client_order_id for t in row.transactions] == [f"tb-{n}" for n in range(1, 6)]
    assert (row.start_ts, row.end_ts) == (
        when("2024-07-10T00:00-05:00"),
        when("2024-07-11T00:00-05:00"),
    )


def test_the_window_takes_in_transactions_of_any_size(account: Account) -> None:
    """The guidance of 2021 and later: at, below or above the threshold."""
    account.buy("12000")
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(12_000))]
    account.buy("1")
    assert account.flagged()[1:] == [(DAY, COMPLETE, Decimal(12_001))]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2024-07-10T00:00:00-05:00", "2024-07-10T23:59:59.999999-05:00", True),
        ("2024-07-09T23:59:59.999999-05:00", "2024-07-10T00:00:00-05:00", False),
        ("2024-07-10T23:59:59-05:00", "2024-07-11T00:00:00-05:00", False),
        # The clocks go forward on 10 March and back on 3 November: the window does not move.
        ("2024-03-10T00:00:00-05:00", "2024-03-11T00:59:59-04:00", True),
        ("2024-03-10T00:00:00-05:00", "2024-03-11T01:00:00-04:00", False),
        ("2024-11-03T01:00:00-04:00", "2024-11-03T23:59:59-05:00", True),
        ("2024-11-03T00:59:59-04:00", "2024-11-03T01:00:00-04:00", False),
        ("2024-11-03T01:00:00-04:00", "2024-11-04T00:00:00-05:00", False),
    ],
)
def test_a_window_is_24_hours_long_on_every_day(
    account: Account, first: str, second: str, together: bool
) -> None:
    account.buy("5000", ts=when(first))
    account.buy("5000", ts=when(second))
    assert account.flagged() == ([(DAY, COMPLETE, Decimal(10_000))] if together else [])


def test_the_window_begins_where_it_is_set_to() -> None:
    account = Account(replace(RULES, window_start=14 * HOUR))
    account.buy("5000", ts=when("2024-07-10T13:59:59+00:00"))
    account.buy("5000", ts=when("2024-07-10T14:00:00+00:00"))
    assert account.flagged() == []
    account.buy("5000", ts=when("2024-07-11T13:59:59+00:00"))
    assert account.flagged() == [(DAY, COMPLETE, Decimal(10_000))]


def test_currencies_add_up_in_canadian_dollars(account: Account) -> None:
    account.rate("1.25")
    account.rate("1.5", "EUR")
    account.buy("4000", "USD")
    account.buy("2000", "EUR")
    assert account.flagged() == []
    account.buy("2000")
    assert account.flagged() == [(DAY, COMPLETE, Decimal(10_000))]


def test_a_busy_day_tells_each_transaction_once(account: Account) -> None:
    """The rows grow with the day; what is told of a fill does not."""
    fills = [account.buy("100.01", ts=NOON + number) for number in range(5_000)]
    (row,) = account.rows.values()
    assert row.amount_cad == 5_000 * Decimal("100.01")
    assert [t.client_order_id for t in row.transactions] == [f.client_order_id for f in fills]
    told = [f.report for f in account.facts if isinstance(f, FintracFlagged | FintracUpdated)]
    assert sum(len(report.transactions) for report in told) == 5_000
    again = account.buy("0.01", order="tb-7", ts=NOON + 6_000)
    last = [f for f in account.facts if isinstance(f, FintracUpdated)][-1]
    (transaction,) = last.report.transactions
    (row,) = account.rows.values()
    assert row.transactions[6] == transaction
    assert (transaction.amount, transaction.last_ts) == (Decimal("100.02"), again.ts)
    assert row.amount_cad == 5_000 * Decimal("100.01") + Decimal("0.01")


# --- rates ---------------------------------------------------------------------------------------


def test_without_a_rate_the_row_is_made_and_completed_when_one_arrives(account: Account) -> None:
    account.buy("8000", "USD")
    assert account.flagged() == [(SINGLE, INCOMPLETE, None)]
    account.rate("1.5", "EUR")
    assert account.flagged() == [(SINGLE, INCOMPLETE, None)]
    account.rate("1.25", ts=NOON + HOUR)
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(10_000))]
    (row,) = account.rows.values()
    assert row.transactions[0].rate_ts == NOON + HOUR
    assert len([f for f in account.facts if isinstance(f, FintracFlagged)]) == 1


def test_a_rate_may_show_that_it_was_below(account: Account) -> None:
    account.buy("7000", "USD")
    account.buy("100")
    assert account.flagged() == [(SINGLE, INCOMPLETE, None), (DAY, INCOMPLETE, None)]
    account.rate("1.25")
    assert account.flagged() == [
        (SINGLE, BELOW, Decimal(8_750)),
        (DAY, BELOW, Decimal(8_850)),
    ]
    account.buy("2000")
    assert account.flagged()[1] == (DAY, COMPLETE, Decimal(10_850))


def test_the_rate_is_the_last_that_was_published_before(account: Account) -> None:
    account.rate("1.30", ts=NOON + 1, source="later")
    account.rate("1.25", ts=NOON, source="then")
    account.rate("1.20", ts=NOON - HOUR, source="before")
    account.buy("10000", "USD")
    assert account.rows["single:tb-1"].transactions[0].rate_source == "then"


def test_a_rate_that_was_recorded_stays(account: Account) -> None:
    account.rate("1.25")
    account.buy("8000", "USD")
    account.rate("1.50", ts=NOON)
    account.buy("8000", "USD", order="tb-1")
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(20_000))]


@pytest.mark.parametrize("rate", ["NaN", "-1.3", "0", "Infinity"])
def test_a_rate_that_is_no_positive_number_is_refused(account: Account, rate: str) -> None:
    account.rate(rate)
    assert isinstance(account.facts[0], DataRefused)
    account.buy("8000", "USD")
    assert account.flagged() == [(SINGLE, INCOMPLETE, None)]


# --- corrections ---------------------------------------------------------------------------------


def test_a_corrected_trade_makes_a_corrected_row_with_a_link(account: Account) -> None:
    fill = account.buy("12000")
    dearer = replace(fill, execution_id="x-2", price=fill.price + 2)
    account.bust(fill, dearer)
    assert account.flagged() == [
        (SINGLE, CORRECTED, Decimal(12_000)),
        (SINGLE, COMPLETE, Decimal(12_001)),
    ]
    former, latter = account.rows.values()
    assert (former.report_id, latter.report_id) == ("single:tb-1", "single:tb-1:2")
    assert (former.corrects, latter.corrects) == ("", "single:tb-1")
    account.bust(dearer)
    assert account.flagged()[1:] == [
        (SINGLE, CORRECTED, Decimal(12_001)),
        (SINGLE, BELOW, Decimal(0)),
    ]
    assert list(account.rows)[-1] == "single:tb-1:3"


def test_a_corrected_trade_corrects_its_window_too(account: Account) -> None:
    account.buy("6000")
    fill = account.buy("6000")
    account.bust(fill)
    assert account.flagged() == [(DAY, CORRECTED, Decimal(12_000)), (DAY, BELOW, Decimal(6_000))]


def test_a_correction_may_be_what_reaches_the_threshold(account: Account) -> None:
    fill = account.buy("9999")
    account.bust(fill, replace(fill, execution_id="x-2", price=fill.price + 2))
    assert account.flagged() == [(SINGLE, COMPLETE, Decimal(10_000))]


@pytest.mark.parametrize("amount", ["6000", "12000"])
def test_a_fee_that_becomes_known_is_no_other_transaction(account: Account, amount: str) -> None:
    account.buy(amount)
    fill = account.buy(amount)
    flagged, known = account.flagged(), len(account.facts)
    taxed = replace(fill, execution_id="x-2:with-fee", commission_quantity=Decimal("0.001"))
    account.bust(fill, taxed)
    assert flagged
    assert account.flagged() == flagged
    assert account.facts[known:] == []


# --- over a restart ------------------------------------------------------------------------------


def test_a_session_goes_on_where_the_last_one_stopped(account: Account) -> None:
    account.rate("1.25")
    first = account.buy("4000", "USD", ts=NOON)
    second = account.buy("4000", "USD", ts=NOON + 1)
    third = account.buy("700", "EUR", ts=NOON + 2)
    fills = (first, second, third)
    other = Account()
    other.rows = dict(account.rows)
    other.tell(restored(*fills, fintrac=tuple(account.rows.values())))
    assert other.facts == []
    other.rate("1.5", "EUR")
    assert other.flagged() == [
        (DAY, COMPLETE, Decimal(11_050)),
        (SINGLE, BELOW, Decimal(1_050)),
    ]
    other.buy("50", order="tb-9", ts=NOON + 3)
    assert other.rows.keys() == account.rows.keys()
    assert other.rows[next(iter(other.rows))].amount_cad == Decimal(11_100)


def test_a_report_of_long_ago_is_completed_too(account: Account) -> None:
    account.buy("8000", "USD")
    old = tuple(account.rows.values())
    other = Account()
    other.tell(restored(fintrac=old))
    other.rate("1.25")
    assert other.flagged() == [(SINGLE, COMPLETE, Decimal(10_000))]


def test_what_is_over_is_forgotten(account: Account) -> None:
    day = 24 * HOUR
    for number in range(100):
        account.buy("10000", ts=NOON + number * day)
        account.buy("100", "USD", ts=NOON + number * day)
    fintrac = account.machine.compliance.fintrac
    kept = FILLS_KEPT // day + 2
    assert len(fintrac.transactions) <= 2 * kept
    assert sum(r.status is COMPLETE for r in fintrac.reports.values()) <= kept
    assert 0 < sizes(account.machine.compliance, "kept")["kept._fills"] <= 2 * kept
    assert 0 < sum(r.status is INCOMPLETE for r in fintrac.reports.values()) <= 2 * kept


def test_an_order_of_a_strategy_is_flagged_and_comes_back() -> None:
    """From the signal to the report, and through a restart."""
    money: dict[str, Any] = {"currency": "CAD", "starting_cash": Decimal(500_000)}
    rig = Rig("puppet", instruments=(CAD,), compliance=RULES, **money)
    rig.hold_position(symbol="CAD")
    (fact,) = rig.facts(FintracFlagged)
    fills = [f.fill for f in rig.facts(PositionChanged)]
    assert fact.report.amount_cad == sum(f.quantity * f.price for f in fills) > 10_000
    other = Machine(rig.config, rig.kinds)
    other.process(rig.durable())
    assert other.state()["compliance"] == rig.machine.state()["compliance"]


def test_what_an_account_held_at_its_opening_is_no_transaction() -> None:
    account = Account()
    half, price = Decimal("0.5"), Decimal(40_000)
    names = f"CAD{OPENING}", "tb-opening", "CAD"
    fill = Fill(*names, Side.BUY, half, price, Decimal(0), NOON, venue=VENUES["CAD"])
    account.tell(PositionChanged(Position("s", "CAD"), fill, Decimal(0), ts=NOON))
    assert account.flagged() == []
    account.buy("20000", "CAD")
    assert len(account.flagged()) == 1
