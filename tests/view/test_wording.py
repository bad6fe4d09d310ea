"""Facts in words: what happened, to what, why; and nothing that a terminal would obey."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core import events as e
from engine.core.model import (
    MINUTE,
    NANOS,
    Bar,
    CashAdjustment,
    Fill,
    FintracReport,
    FintracRule,
    FintracStatus,
    KillAction,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Part,
    Position,
    RoundTrip,
    Scope,
    Side,
    Signal,
    SizingMethod,
    Violation,
    nanos,
)
from engine.view.wording import worded

ORDER = Order(
    "tb-1",
    "puppet",
    "ACME",
    Side.BUY,
    OrderType.MARKET,
    Decimal(10),
    OrderPurpose.ENTRY,
    1,
    1,
    Decimal(100),
)
FILL = Fill("x-1", "tb-1", "ACME", Side.BUY, Decimal(4), Decimal("100.10"), Decimal("0.4"), 1)
BAR = Bar("ACME", nanos(datetime(2024, 3, 4, 14, 31, tzinfo=UTC)), 100.0, 101.0, 99.0, 100.5, 5.0)
SIGNAL = Signal(
    "puppet", "ACME", Side.BUY, 1, 100.5, indicators={"fast": 10.123456789, "slow": 9.0}
)
TRIP = RoundTrip(
    "puppet",
    "ACME",
    Side.BUY,
    Decimal(10),
    Decimal(100),
    Decimal(99),
    1,
    2,
    Decimal("-1234.5"),
    Decimal(2),
)

REPORT = FintracReport(
    "single:tb-1",
    FintracRule.SINGLE,
    FintracStatus.COMPLETE,
    "me",
    1,
    2,
    2,
    Decimal("10000.004"),
    (),
)
UNKNOWN = replace(REPORT, status=FintracStatus.INCOMPLETE, amount_cad=None)


def order(state: str = "accepted", reason: str = "", filled: object = 0) -> Order:
    return replace(ORDER, state=OrderState(state), reason=reason, filled=Decimal(str(filled)))


WORDS: list[tuple[e.Event, str, str]] = [
    (e.OrderAccepted(order()), "info", "market entry accepted: buy 10 ACME (tb-1)"),
    (
        e.OrderAccepted(replace(ORDER, purpose=OrderPurpose.PROTECTIVE_STOP, side=Side.SELL)),
        "info",
        "protective stop accepted: sell 10 ACME (tb-1)",
    ),
    (
        e.OrderPartiallyFilled(order("partially_filled", filled=4), FILL),
        "info",
        "filled: buy 4 ACME at 100.10, 6 left",
    ),
    (
        e.OrderFilled(order("filled", filled=10), replace(FILL, quantity=Decimal(10))),
        "info",
        "filled: buy 10 ACME at 100.10",
    ),
    (
        e.OrderPartiallyFilled(
            order("partially_filled", filled=4),
            replace(FILL, commission_quantity=Decimal("0.010"), liquidity=Liquidity.TAKER),
        ),
        "info",
        "filled: buy 4 ACME at 100.10 as taker, 0.01 ACME taken as commission, 6 left",
    ),
    (
        e.LateFill(order("canceled", filled=4), FILL),
        "warning",
        "late, after canceled: filled: buy 4 ACME at 100.10, 6 left",
    ),
    (
        e.OrderPendingCancel(order("pending_cancel", "kill switch")),
        "info",
        "market entry pending cancel: buy 10 ACME (tb-1): kill switch",
    ),
    (e.OrderCanceled(order("canceled")), "info", "market entry canceled: buy 10 ACME (tb-1)"),
    (e.OrderExpired(order("expired")), "info", "market entry expired: buy 10 ACME (tb-1)"),
    (
        e.OrderRejected(order("rejected", "halted")),
        "warning",
        "market entry rejected: buy 10 ACME (tb-1): halted",
    ),
    (
        e.OrderInDoubt(order("in_doubt", "504")),
        "error",
        "market entry in doubt: buy 10 ACME (tb-1): 504",
    ),
    (
        e.OrderAbandoned(order("abandoned", "not there")),
        "error",
        "market entry abandoned: buy 10 ACME (tb-1): not there",
    ),
    (
        e.OrderOverdue(order("in_doubt", "time-out")),
        "error",
        "market entry still in doubt after 2 min: buy 10 ACME (tb-1): time-out",
    ),
    (
        e.OrderPendingReplace(order("pending_replace", "chases")),
        "info",
        "market entry pending replace: buy 10 ACME (tb-1): chases",
    ),
    (
        e.OrderReplaced(
            replace(order("accepted"), limit_price=Decimal(99), stop_price=Decimal(98))
        ),
        "info",
        "market entry replaced: buy 10 ACME (tb-1) limit 99 stop 98",
    ),
    (
        e.OrderReplaceRejected(order("accepted"), "too late"),
        "warning",
        "market entry not replaced: buy 10 ACME (tb-1): too late",
    ),
    (
        e.OrderCancelRejected(order("pending_cancel", "kill switch"), "already filled"),
        "warning",
        "market entry not cancelled: buy 10 ACME (tb-1): already filled",
    ),
    (
        e.OrderMarked(order("canceled"), "me"),
        "warning",
        "market entry marked canceled by me: buy 10 ACME (tb-1)",
    ),
    (
        e.OrderAdopted(replace(ORDER, limit_price=Decimal(99))),
        "warning",
        "found at the venue, not ours: market buy 10 ACME (tb-1) limit 99",
    ),
    (
        e.TradeReversed(FILL, None, Position("puppet", "ACME"), Decimal(1), "error"),
        "error",
        "the venue took back buy 4 ACME at 100.10: error",
    ),
    (
        e.TradeReversed(
            FILL,
            replace(FILL, quantity=Decimal(3)),
            Position("puppet", "ACME"),
            Decimal(1),
            "error",
        ),
        "error",
        "the venue took back buy 4 ACME at 100.10, instead 3 at 100.10: error",
    ),
    (
        e.TradeReversed(
            FILL,
            replace(FILL, commission_quantity=Decimal("0.01")),
            Position("puppet", "ACME"),
            Decimal(1),
            "its fee became known",
        ),
        "info",
        "the commission of buy 4 ACME at 100.10 is 1.401: its fee became known",
    ),
    (
        e.CircuitBreakerTripped("5 failures in a row"),
        "error",
        "CIRCUIT BREAKER tripped, no entry leaves: 5 failures in a row",
    ),
    (
        e.CashAdjusted(
            CashAdjustment("alpaca", Decimal("-12.34"), 1),
            Decimal("61222.22"),
            Decimal("-12.34"),
            100_000.0,
            "me",
        ),
        "warning",
        "cash at alpaca adjusted by -12.34 to 61,222.22 by me: no gain and no loss",
    ),
    (e.CircuitBreakerReset("me"), "warning", "circuit breaker reset by me"),
    (e.ConfigUsed("0123456789ab"), "info", "config version 0123456789ab"),
    (e.AlertRaised("database", "old"), "error", "alert database: old"),
    (e.CommanderChanged("console me"), "info", "in command: console me"),
    (e.AlertsAcknowledged("me", ("a", "b")), "warning", "alerts acknowledged by me: a, b"),
    (e.LiveConfirmed("me", ("ib",)), "warning", "LIVE trading at ib confirmed by me"),
    (
        e.OperatorSilent(48 * NANOS, 60 * NANOS),
        "warning",
        "no sign of life: the dead-man's switch trips in 12 s",
    ),
    (
        e.ClockOff(3600 * NANOS),
        "error",
        "the computer's clock is wrong: +3,600.0 s from the market's time",
    ),
    (e.ClockOff(0), "info", "the computer's clock is right again"),
    (e.SymbolPaused("ACME", "halted"), "warning", "ACME paused: halted"),
    (e.SymbolResumed("ACME", "me"), "info", "ACME is traded again by me"),
    (e.SymbolResumed("ACME"), "info", "ACME is traded again"),
    (e.SymbolResumed("ACME", halted=True), "info", "ACME is traded again after the halt"),
    (
        e.TargetReached("puppet", "ACME", Decimal(110), Decimal("110.5")),
        "info",
        "puppet: ACME is at 110.5, its target was 110: the position is closed",
    ),
    (
        e.PositionUnprotected("puppet", "ACME", Decimal(49), "halted", "it is closed"),
        "error",
        "puppet: 49 ACME without a stop: halted: it is closed",
    ),
    (
        e.PositionNotFlat("puppet", "ACME", Decimal(49), "XNYS is closed"),
        "error",
        "puppet: 49 ACME not flat: XNYS is closed",
    ),
    (
        e.LimitChanged("max_daily_loss", "1000", "2000", True, "me"),
        "warning",
        "max_daily_loss loosened from 1000 to 2000 by me",
    ),
    (
        e.LimitChanged("max_daily_loss", "1000", "500", False, "me"),
        "warning",
        "max_daily_loss tightened from 1000 to 500 by me",
    ),
    (e.Reconciled("paper", ()), "info", "reconciled with paper: all agrees"),
    (
        e.Reconciled("paper", (e.Difference("cash", "", "1", "2", "cash is 1, there 2"),) * 4),
        "warning",
        "reconciled with paper: cash is 1, there 2; cash is 1, there 2; cash is 1, there 2;"
        " and 1 more",
    ),
    (e.ReconcileFailed("paper", "504"), "error", "not reconciled with paper: 504"),
    (
        e.SignalGenerated(SIGNAL),
        "info",
        "puppet: buy signal on ACME at 100.5 fast=10.1235 slow=9",
    ),
    (
        e.SignalBlocked(SIGNAL, "exposure", "exposure would be 81 of 80 %"),
        "info",
        "puppet: buy ACME made no order: exposure would be 81 of 80 %",
    ),
    (e.PositionClosed(TRIP), "info", "puppet: closed ACME, P&L -1,234.50 after commission"),
    (e.StrategyToggled("puppet", True, "me"), "info", "puppet switched on by me"),
    (e.StrategyToggled("puppet", False, "me"), "info", "puppet switched off by me"),
    (e.StrategyPaused("puppet", "3 losses"), "warning", "puppet paused: 3 losses"),
    (e.StrategyResumed("puppet"), "info", "puppet makes entries again: a new trading day"),
    (e.StrategyFailed("puppet", "boom"), "error", "puppet failed and is off: boom"),
    (
        e.TradingDayStarted("2024-03-04", 100_000.5),
        "info",
        "trading day 2024-03-04 starts with equity 100,000.50",
    ),
    (e.BarGap("ACME", 3), "warning", "ACME: 3 bars are missing before this one"),
    (
        e.BarCorrected(BAR, replace(BAR, low=90.0, close=90.0)),
        "info",
        "ACME: the bar of 14:30:00 UTC was corrected: low from 99 to 90, close from 100.5 to 90",
    ),
    (
        e.BarCorrected(BAR, replace(BAR, volume=7.0), ("tb-1", "tb-2")),
        "warning",
        "ACME: the bar of 14:30:00 UTC was corrected: volume from 5 to 7; decided on it: "
        "tb-1, tb-2",
    ),
    (e.FeedStale("ACME", 121 * NANOS), "warning", "ACME is stale: no data for 2 min"),
    (e.FeedStale("ACME", 119 * NANOS), "warning", "ACME is stale: no data for 119 s"),
    (e.FeedStale("ACME", 150 * MINUTE), "warning", "ACME is stale: no data for 2 h"),
    (e.FeedStale("ACME", 72 * 60 * MINUTE), "warning", "ACME is stale: no data for 3 days"),
    (e.FeedRecovered("ACME"), "info", "ACME has data again"),
    (e.DataRefused("ACME", "no quote"), "warning", "refused data of ACME: no quote"),
    (e.FeedStatusChanged("replay", "paused"), "info", "feed replay paused"),
    (
        e.FeedStatusChanged("replay", "ended", "no more"),
        "info",
        "feed replay ended: no more",
    ),
    (
        e.KillSwitchTriggered("key", "test", "me"),
        "error",
        "KILL SWITCH tripped by key me: test",
    ),
    (
        e.PartKilled(Part(Scope.SYMBOL, "ACME"), "tradebot kill", "news", "ann"),
        "error",
        "KILLED symbol ACME by tradebot kill ann: news",
    ),
    (e.PartRearmed(Part(Scope.BROKER, "paper"), "ann"), "warning", "broker paper re-armed by ann"),
    (e.KillSwitchTriggered("file", ""), "error", "KILL SWITCH tripped by file"),
    (
        e.KillSwitchTriggered("console", "", "console of ann on pts/0"),
        "error",
        "KILL SWITCH tripped by console of ann on pts/0",
    ),
    (
        e.KillSwitchTriggered("key", action=KillAction.FLATTEN, reason=""),
        "error",
        "KILL SWITCH tripped by key, all positions are closed",
    ),
    (
        e.CircuitBreakerCounted(3, 5, "no margin"),
        "warning",
        "failure 3 of 5 in a row: no margin",
    ),
    (e.KillSwitchRearmed("me"), "warning", "kill switch re-armed by me"),
    (e.LawBroken("I7", "from filled"), "error", "law I7 is broken: from filled"),
    (
        e.CommandRefused("RequestCancel", "no such order"),
        "warning",
        "refused RequestCancel: no such order",
    ),
    (
        e.CommandRefused("RequestCancel", "no such order", "console of root on pts/0"),
        "warning",
        "refused RequestCancel of console of root on pts/0: no such order",
    ),
    (
        e.StrategyLoaded("puppet", "0123456789abcdef", False, "console of root on pts/0"),
        "info",
        "puppet loaded by console of root on pts/0, SHA-256 0123456789ab",
    ),
    (e.DuplicateRefused(ORDER), "warning", "tb-1 was made before; no second order"),
    (
        e.FillQuarantined(replace(FILL, execution_id="x\x1b[2J"), "price 0"),
        "error",
        "execution x (2J quarantined: price 0",
    ),
    (
        e.StoreStatusChanged(False, "locked"),
        "error",
        "database out of reach, no order leaves: locked",
    ),
    (e.StoreStatusChanged(True), "warning", "database is back: orders may leave again"),
    (e.BrokerStatusChanged("paper", True), "info", "broker paper connected"),
    (
        e.SettlementWarned("tb-1", "ACME", "the money that bought it settles on 2024-07-11"),
        "warning",
        "tb-1 sells ACME: the money that bought it settles on 2024-07-11",
    ),
    (
        e.SettlementViolated(Violation("good_faith", "tb-1", "ACME", 1), 2),
        "error",
        "good faith violation in ACME: 2 in 12 months",
    ),
    (
        e.FintracFlagged(REPORT),
        "info",
        "internal flag for FINTRAC, single:tb-1: CA$10,000.00",
    ),
    (
        e.FintracFlagged(UNKNOWN),
        "info",
        "internal flag for FINTRAC, single:tb-1: worth unknown, no rate in Canadian dollars",
    ),
    (
        e.FintracFlagged(replace(REPORT, report_id="single:tb-1:2", corrects="single:tb-1")),
        "info",
        "internal flag for FINTRAC, single:tb-1:2: CA$10,000.00, corrects single:tb-1",
    ),
    (
        e.FintracUpdated(replace(REPORT, status=FintracStatus.BELOW, amount_cad=Decimal(5))),
        "info",
        "internal flag for FINTRAC, single:tb-1, is now CA$5.00, below the threshold",
    ),
    (
        e.FintracUpdated(replace(REPORT, status=FintracStatus.CORRECTED)),
        "info",
        "internal flag for FINTRAC, single:tb-1, is now replaced by a correction",
    ),
    (
        e.BrokerStatusChanged("paper", False, "401"),
        "error",
        "broker paper not connected: 401",
    ),
]

WORDS.append(
    (
        e.OrderSized(
            "tb-1",
            "puppet",
            "ACME",
            SizingMethod.PERCENT_RISK,
            Decimal("33.333"),
            Decimal(49),
            Decimal(33),
            {"equity": 100000.0, "stop": 97.0},
        ),
        "info",
        "puppet: 33 ACME by percent_risk, at most 49 equity=100000 stop=97",
    )
)

WORDS += [
    (
        e.StrategyLoaded("puppet", "0123456789abcdef", True),
        "warning",
        "the file of puppet changed, SHA-256 0123456789ab: it is off until it is switched on",
    ),
    (
        e.StrategyLoaded("puppet", "0123456789abcdef", False),
        "info",
        "puppet loaded, SHA-256 0123456789ab",
    ),
]

SILENT: list[e.Event] = [
    e.BracketChanged(e.Bracket("puppet", "ACME")),
    e.OrderIntended(ORDER),
    e.OrderSubmitted(ORDER),
    e.RiskChecked("tb-1", "account", "exposure", 1.0, 80.0, True),
    e.LimitBreached("drawdown", 15.0, 15.0, "drawdown 15 of 15 %"),
    e.PositionChanged(Position("puppet", "ACME"), FILL, Decimal(1)),
    e.FintracUpdated(UNKNOWN),
]
"""What another line tells: an order by what becomes of it, a breach by the kill switch, a bracket
by the orders that follow from it."""


@pytest.mark.parametrize(("fact", "level", "text"), WORDS, ids=lambda x: type(x).__name__)
def test_a_fact_in_words(fact: e.Event, level: str, text: str) -> None:
    assert worded(fact) == (level, text)


@pytest.mark.parametrize("fact", SILENT, ids=lambda x: type(x).__name__)
def test_a_fact_that_needs_no_line(fact: e.Event) -> None:
    assert worded(fact) is None


def test_every_fact_is_thought_of() -> None:
    def kinds(kind: type[e.Event]) -> set[type[e.Event]]:
        below = {sub for child in kind.__subclasses__() for sub in kinds(child)}
        return below or {kind}

    inputs = set(e.Input.__args__)
    facts = kinds(e.Event) - inputs
    thought_of = {type(fact) for fact, *_ in WORDS} | {type(fact) for fact in SILENT}
    assert {kind.__name__ for kind in facts - thought_of} == set()
