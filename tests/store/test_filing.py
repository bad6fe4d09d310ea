"""Reports and violations outlive the session, and what the venue took back is no trade any more."""

from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import (
    FintracFlagged,
    FintracUpdated,
    PositionChanged,
    SettlementViolated,
    TradeReversed,
)
from engine.core.model import (
    DAY,
    FintracReport,
    FintracRule,
    FintracStatus,
    FintracTransaction,
    OrderState,
    Position,
    Side,
    Violation,
)
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import MakeFill, MakeOrder, Stamp, begun

CASH = Decimal(100_000)
TRANSACTION = FintracTransaction(
    "tb-1",
    "BTC-USD",
    Side.BUY,
    Decimal("0.123456789012345678"),
    Decimal("8000.00"),
    "USD",
    DAY,
    DAY + 1,
)
REPORT = FintracReport(
    "single:tb-1",
    FintracRule.SINGLE,
    FintracStatus.INCOMPLETE,
    "me",
    DAY,
    DAY + 1,
    DAY + 2,
    None,
    (TRANSACTION,),
)
COMPLETE = replace(
    REPORT,
    status=FintracStatus.COMPLETE,
    amount_cad=Decimal("10000.0000"),
    transactions=(replace(TRANSACTION, rate=Decimal("1.2500"), rate_source="BoC", rate_ts=DAY),),
)


async def test_a_report_comes_back_as_its_last_fact_has_it(
    store: Repository, place: Place, stamp: Stamp
) -> None:
    other = replace(REPORT, report_id="24h:1", rule=FintracRule.DAY)
    await store.record([stamp(FintracFlagged(REPORT)), stamp(FintracFlagged(other))])
    assert (await begun(store, CASH)).fintrac == (other, REPORT)
    await store.record([stamp(FintracUpdated(COMPLETE))])
    await store.close()
    again = await Repository.open(place)
    assert (await begun(again, CASH)).fintrac == (other, COMPLETE)
    await again.close()


async def test_an_update_leaves_the_transactions_that_it_does_not_tell(
    store: Repository, stamp: Stamp
) -> None:
    (first,) = COMPLETE.transactions
    second, third = (replace(first, client_order_id=name) for name in ("tb-2", "tb-3"))
    dearer = replace(first, amount=Decimal(9_000))
    whole = (dearer, second, third)
    await store.record([stamp(FintracFlagged(COMPLETE))])
    await store.record([stamp(FintracUpdated(replace(COMPLETE, transactions=(second,))))])
    for transactions in ((dearer, third), ()):
        update = replace(COMPLETE, amount_cad=Decimal(30_000), transactions=transactions)
        await store.record([stamp(FintracUpdated(update))])
        (report,) = (await begun(store, CASH)).fintrac
        assert report == replace(update, transactions=whole)


async def test_a_report_of_long_ago_is_brought_up_to_date_whole_too(
    store: Repository, stamp: Stamp
) -> None:
    (first,) = COMPLETE.transactions
    second = replace(first, client_order_id="tb-2")
    later = replace(COMPLETE, report_id="single:tb-9", start_ts=9 * DAY, end_ts=9 * DAY)
    await store.record([stamp(FintracFlagged(COMPLETE))])
    await store.record([stamp(FintracFlagged(later))])
    await store.record([stamp(FintracUpdated(replace(COMPLETE, transactions=(second,))))])
    reports = {report.report_id: report for report in (await begun(store, CASH)).fintrac}
    assert reports == {
        "single:tb-1": replace(COMPLETE, transactions=(first, second)),
        "single:tb-9": later,
    }


async def test_old_reports_come_back_while_they_wait_for_a_rate(
    store: Repository, stamp: Stamp, make_fill: MakeFill
) -> None:
    done = replace(COMPLETE, report_id="single:tb-2")
    await store.record([stamp(FintracFlagged(REPORT)), stamp(FintracFlagged(done))])
    for days, ids in ((15, ["single:tb-1", "single:tb-2"]), (33, ["single:tb-1"]), (500, [])):
        fill = make_fill(f"x-{days}", ts=days * DAY)
        position = Position("sma_crossover", "BTC-USD")
        await store.record([stamp(PositionChanged(position, fill, CASH))])
        assert [r.report_id for r in (await begun(store, CASH)).fintrac] == ids


async def test_executions_of_the_last_14_days_come_back_oldest_first(
    store: Repository, stamp: Stamp, make_fill: MakeFill
) -> None:
    fills = [make_fill(f"x-{day}", ts=day * DAY) for day in (40, 2, 27, 25)]
    position = Position("sma_crossover", "BTC-USD")
    await store.record([stamp(PositionChanged(position, fill, CASH)) for fill in fills])
    restored = await begun(store, CASH)
    assert [fill.execution_id for fill in restored.fills] == ["x-27", "x-40"]
    assert restored.fills == (fills[2], fills[0])


async def test_violations_of_twelve_months_come_back(store: Repository, stamp: Stamp) -> None:
    first = Violation("good_faith", "tb-1", "ACME", DAY)
    second = Violation("free_riding", "tb-2", "ACME", 100 * DAY)
    third = Violation("good_faith", "tb-3", "ACME", 400 * DAY)
    await store.record([stamp(SettlementViolated(first, 1))])
    await store.record([stamp(SettlementViolated(second, 2))])
    assert (await begun(store, CASH)).violations == (first, second)
    await store.record([stamp(SettlementViolated(third, 2))])
    assert (await begun(store, CASH)).violations == (second, third)


async def test_what_the_venue_took_back_is_no_trade_and_is_not_taken_on_again(
    store: Repository, stamp: Stamp, make_order: MakeOrder, make_fill: MakeFill
) -> None:
    await store.commit_intent(make_order(state=OrderState.SUBMITTED))
    fill, kept = make_fill("x-1"), make_fill("x-2", price=Decimal(101))
    held = Position("sma_crossover", "BTC-USD", Decimal(2), Decimal(201), commission=Decimal("0.2"))
    for each in (fill, kept):
        await store.record([stamp(PositionChanged(held, each, CASH))])
    correction = replace(fill, execution_id="x-3", price=Decimal(90))
    after = replace(held, cost=Decimal(191))
    cash = CASH + correction.cash_change + kept.cash_change
    await store.record([stamp(TradeReversed(fill, correction, after, cash, "bust"))])
    restored = await begun(store, CASH)
    assert restored.cash == {"paper": cash}
    assert restored.positions == (after,)
    assert set(restored.fills) == {kept, correction}
    assert {"x-1", "x-2", "x-3"} <= set(restored.execution_ids)
    differences = await store.ledger_check()
    assert [d for d in differences if not d.startswith("order")] == []
