"""The rate at which requests leave, with room for cancels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.brokers.base import NotSent, RateLimited, Room
from engine.brokers.throttle import TokenBucket


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(clock: Clock) -> TokenBucket:
    """Two requests a second, ten at once, of which four are for cancels."""
    return TokenBucket(2, 10, 4, clock)


def drain(bucket: TokenBucket, *, cancel: bool = False) -> int:
    """How many requests leave now."""
    taken = 0
    while not bucket.wait_s(cancel=cancel):
        bucket.take(cancel=cancel)
        taken += 1
    return taken


def test_what_is_reserved_leaves_as_cancels_alone(bucket: TokenBucket) -> None:
    assert drain(bucket) == 6
    assert drain(bucket, cancel=True) == 4


def test_without_room_it_is_told_how_long_to_wait(bucket: TokenBucket) -> None:
    drain(bucket)
    with pytest.raises(RateLimited, match=r"the next in 0\.5 s") as caught:
        bucket.take()
    assert caught.value.wait_s == 0.5
    assert isinstance(caught.value, NotSent)
    assert bucket.wait_s(3) == 1.5


def test_room_comes_back_with_time_up_to_the_burst(bucket: TokenBucket, clock: Clock) -> None:
    drain(bucket)
    clock.now += 0.75
    assert drain(bucket) == 1
    clock.now += 0.25  # the half that was left over counts
    assert drain(bucket) == 1
    clock.now += 3600
    assert drain(bucket) == 6


def test_cancels_wait_for_their_own_room_alone(bucket: TokenBucket, clock: Clock) -> None:
    drain(bucket, cancel=True)
    assert bucket.wait_s(cancel=True) == 0.5
    assert bucket.wait_s() == 2.5
    clock.now += 0.5
    assert drain(bucket, cancel=True) == 1


def test_a_request_that_costs_more_than_there_ever_is_leaves_when_all_is_there(
    bucket: TokenBucket, clock: Clock
) -> None:
    bucket.take(25)
    assert bucket.wait_s(cancel=True) == 8  # 15 are owed, and one is wanted
    clock.now += 12.4
    assert bucket.wait_s(25) > 0
    clock.now += 0.1
    assert not bucket.wait_s(25)


def test_while_the_venue_has_shut_it_nothing_leaves(bucket: TokenBucket, clock: Clock) -> None:
    bucket.shut(30)
    bucket.shut(5)  # the longer one holds
    assert bucket.wait_s() == bucket.wait_s(cancel=True) == 30
    clock.now += 30
    assert drain(bucket, cancel=True) == 10


def test_the_room_is_what_is_left_of_the_burst_now(bucket: TokenBucket, clock: Clock) -> None:
    assert bucket.room() == Room(10, 10)
    bucket.take(4)
    assert bucket.room().left == 6
    clock.now += 1
    assert bucket.room().left == 8
    bucket.shut(5)
    clock.now += 2
    assert bucket.room() == Room(10, 10, 3)


def test_never_more_than_the_burst_in_a_window(clock: Clock) -> None:
    """Else, with all of it and what comes in the meantime, it would be twice as much."""
    bucket = TokenBucket(10, 10, 0, clock, window_s=1)
    assert drain(bucket) == 10
    clock.now += 0.5
    assert (drain(bucket), bucket.wait_s()) == (0, 0.5)
    clock.now += 0.5
    assert drain(bucket) == 10


def test_cancels_leave_in_their_order_and_all_else_behind_them(
    bucket: TokenBucket, clock: Clock
) -> None:
    drain(bucket, cancel=True)
    with bucket.in_line(1) as first, bucket.in_line(1) as second:
        assert bucket.wait_s(cancel=True, place=first) == 0.5
        assert bucket.wait_s(cancel=True, place=second) == 1
        assert (bucket.wait_s(cancel=True), bucket.wait_s()) == (1.5, 3.5)
        clock.now += 0.5
        bucket.take(cancel=True, place=first)
        with pytest.raises(RateLimited):
            bucket.take(cancel=True, place=second)
    assert bucket.wait_s(cancel=True) == 0.5


def test_it_is_told_when_the_last_cancel_leaves_that_waits(
    bucket: TokenBucket, clock: Clock
) -> None:
    assert bucket.room().cancels_s == 0
    drain(bucket, cancel=True)
    with bucket.in_line(1), bucket.in_line(1):
        assert bucket.room().cancels_s == 1
        bucket.shut(5)
        assert bucket.room().cancels_s == 5


@pytest.mark.parametrize(("waiting", "in_s"), [(6, 0), (7, 1.5), (16, 1.5), (17, 3), (27, 4.5)])
def test_of_more_cancels_than_a_window_takes_the_last_leaves_windows_later(
    clock: Clock, waiting: int, in_s: float
) -> None:
    bucket = TokenBucket(10, 10, 0, clock, window_s=1.5)
    for _ in range(4):
        bucket.take()
    assert bucket.room().left == 6
    with bucket.in_line(waiting):
        assert bucket.room().cancels_s == in_s


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=50))
def test_never_more_than_the_rate_and_never_into_the_reserve(
    steps: list[tuple[float, bool]],
) -> None:
    clock = Clock()
    bucket = TokenBucket(2, 10, 4, clock)
    taken = others = passed = 0.0
    for pause, cancel in steps:
        clock.now += pause
        passed += pause
        if not bucket.wait_s(cancel=cancel):
            bucket.take(cancel=cancel)
            taken += 1
            others += not cancel
        assert taken <= 10 + 2 * passed + 1e-6
        assert others <= 6 + 2 * passed + 1e-6
