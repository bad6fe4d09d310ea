"""One event at a time, first in first out, each with its cause."""

import pytest

from engine.core.bus import TRACE_LENGTH, Bus
from engine.core.events import (
    ClockTick,
    Event,
    FeedRecovered,
    FeedStale,
    StrategyFailed,
    StrategyPaused,
)


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_subscribers_hear_an_event_in_the_order_of_their_subscription(bus: Bus) -> None:
    heard: list[str] = []
    bus.subscribe(ClockTick, lambda _: heard.append("first"))
    bus.subscribe(ClockTick, lambda _: heard.append("second"))
    bus.subscribe(FeedStale, lambda _: heard.append("another type"))
    bus.deliver(ClockTick())
    assert heard == ["first", "second"]


def test_facts_are_delivered_first_in_first_out_after_the_event_that_published_them(
    bus: Bus,
) -> None:
    heard: list[str] = []

    def on_tick(_: ClockTick) -> None:
        bus.publish(FeedStale("A", 1))
        bus.publish(FeedStale("B", 1))
        heard.append("tick")

    def on_stale(fact: FeedStale) -> None:
        heard.append(fact.symbol)
        bus.publish(FeedRecovered(fact.symbol.lower()))

    bus.subscribe(ClockTick, on_tick)
    bus.subscribe(FeedStale, on_stale)
    bus.subscribe(FeedRecovered, lambda fact: heard.append(fact.symbol))
    bus.deliver(ClockTick())
    assert heard == ["tick", "A", "B", "a", "b"]


def test_inputs_and_facts_share_one_count_and_facts_name_their_cause(bus: Bus) -> None:
    facts: list[Event] = []
    bus.record_with(facts.append)
    bus.subscribe(ClockTick, lambda _: bus.publish(StrategyPaused("s", "first")))
    bus.subscribe(StrategyPaused, lambda _: bus.publish(StrategyFailed("s", "second")))
    bus.deliver(ClockTick(ts=7))
    bus.deliver(ClockTick(ts=9))
    assert [(f.seq, f.cause, f.ts) for f in facts] == [(2, 1, 7), (3, 2, 7), (5, 4, 9), (6, 5, 9)]


def test_a_fact_is_recorded_before_its_subscribers_hear_it(bus: Bus) -> None:
    heard: list[str] = []
    bus.record_with(lambda _: heard.append("record"))
    bus.subscribe(FeedStale, lambda _: heard.append("subscriber"))
    bus.subscribe(ClockTick, lambda _: bus.publish(FeedStale("A", 1)))
    bus.deliver(ClockTick())
    assert heard == ["record", "subscriber"]


def test_time_never_runs_backwards(bus: Bus) -> None:
    times: list[int] = []
    bus.subscribe(ClockTick, lambda tick: times.append(tick.ts))
    for ts in (5, 3, 5, 8, 0):
        bus.deliver(ClockTick(ts=ts))
    assert times == [5, 5, 5, 8, 8]
    assert bus.now == 8


def test_a_subscriber_that_answers_false_stops_the_event(bus: Bus) -> None:
    heard: list[str] = []
    bus.subscribe(ClockTick, lambda _: False)
    bus.subscribe(ClockTick, lambda _: heard.append("behind"))
    bus.deliver(ClockTick())
    assert heard == []


def test_why_walks_from_a_fact_back_to_the_input(bus: Bus) -> None:
    bus.subscribe(ClockTick, lambda _: bus.publish(StrategyPaused("s", "")))
    bus.subscribe(StrategyPaused, lambda _: bus.publish(StrategyFailed("s", "")))
    bus.deliver(ClockTick())
    assert [type(event) for event in bus.why(3)] == [ClockTick, StrategyPaused, StrategyFailed]
    assert bus.why(99) == []


def test_why_forgets_the_oldest_so_that_memory_is_bounded(bus: Bus) -> None:
    bus.subscribe(ClockTick, lambda _: bus.publish(FeedStale("A", 1)))
    for _ in range(TRACE_LENGTH // 2 + 1):
        bus.deliver(ClockTick())
    assert bus.why(2) == []
    assert [event.seq for event in bus.why(4)] == [3, 4]


def test_an_event_that_leads_to_nothing_is_not_kept(bus: Bus) -> None:
    bus.deliver(ClockTick())
    assert bus.why(1) == []
