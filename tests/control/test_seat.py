"""One console is in command; who asks gets it, unless who has it says no in time."""

from engine.control.seat import PASSES_AFTER_S, Seat


def test_the_first_has_it_and_the_second_asks() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 0)
    assert (seat.holder, seat.asks) == ("one", "two")


def test_it_passes_where_nobody_refuses_in_time() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 10)
    seat.pass_on(10 + PASSES_AFTER_S - 0.1)
    assert seat.holder == "one"
    seat.pass_on(10 + PASSES_AFTER_S)
    assert (seat.holder, seat.asks) == ("two", None)


def test_its_holder_alone_can_refuse() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 0)
    assert seat.refuse("two") is None
    assert seat.refuse("three") is None
    assert seat.refuse("one") == "two"
    seat.pass_on(1000)
    assert (seat.holder, seat.asks) == ("one", None)


def test_asking_again_does_not_put_it_off_and_a_third_has_to_wait() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 0)
    seat.ask("two", 14)
    seat.ask("three", 14)
    seat.pass_on(PASSES_AFTER_S)
    assert seat.holder == "two"


def test_a_holder_that_is_gone_loses_it_at_once() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 0)
    seat.leave("one")
    assert (seat.holder, seat.asks) == ("two", None)
    seat.leave("two")
    assert seat.holder is None
    seat.ask("three", 0)
    assert seat.holder == "three"


def test_who_asked_and_is_gone_gets_nothing() -> None:
    seat = Seat[str]()
    seat.ask("one", 0)
    seat.ask("two", 0)
    seat.leave("two")
    seat.pass_on(1000)
    assert seat.holder == "one"
