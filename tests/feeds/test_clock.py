"""Clocks never run backwards, whatever the computer's clock or the operator does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.model import NANOS
from engine.feeds.clock import ReplayClock, SystemClock


class Hand:
    """A clock that is set by hand."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def test_system_time_follows_a_computer_that_was_set_slowly_and_never_jumps() -> None:
    wall, monotonic = Hand(1_000 * NANOS), Hand(5 * NANOS)
    clock = SystemClock(wall, monotonic)
    assert clock.now() == 1_000 * NANOS

    def passes(seconds: int) -> int:
        """How far system time goes on meanwhile, in seconds."""
        before = clock.now()
        wall.now += seconds * NANOS
        monotonic.now += seconds * NANOS
        return (clock.now() - before) // NANOS

    wall.now += 60 * NANOS
    assert passes(100) == 110
    assert passes(1000) == 1050
    assert clock.now() == wall.now, "it has caught up"
    wall.now -= 60 * NANOS
    assert passes(100) == 90, "set back, it still goes on: a time-out must end"
    assert passes(1000) == 950
    assert clock.now() == wall.now


def test_replay_time_runs_at_its_speed_up_to_the_next_event() -> None:
    wall = Hand(77)
    clock = ReplayClock(100 * NANOS, 10, wall)
    wall.now += NANOS
    assert clock.now() == 100 * NANOS
    clock.hold_at(120 * NANOS)
    assert clock.now() == 110 * NANOS
    assert clock.wall_until(120 * NANOS) == NANOS
    wall.now += 5 * NANOS
    assert clock.now() == 120 * NANOS
    assert clock.wall_until(120 * NANOS) == 0
    # What was held back is made up for: the speed holds on average.
    clock.hold_at(500 * NANOS)
    assert clock.now() == 160 * NANOS


def test_replay_time_stands_while_paused_and_goes_on_from_there() -> None:
    wall = Hand()
    clock = ReplayClock(0, 60, wall)
    clock.hold_at(10_000 * NANOS)
    wall.now += NANOS
    clock.pause()
    wall.now += 100 * NANOS
    assert clock.now() == 60 * NANOS
    assert clock.wall_until(61 * NANOS) is None
    clock.resume()
    assert clock.now() == 60 * NANOS
    wall.now += NANOS
    assert clock.now() == 120 * NANOS


def test_speed_zero_is_at_the_next_event_at_once_but_not_while_paused() -> None:
    clock = ReplayClock(0, 0, Hand())
    clock.hold_at(50 * NANOS)
    assert clock.now() == 50 * NANOS
    assert clock.wall_until(90 * NANOS) == 0
    clock.pause()
    clock.hold_at(90 * NANOS)
    assert clock.now() == 50 * NANOS
    assert clock.wall_until(90 * NANOS) is None


def test_a_change_of_speed_keeps_the_time() -> None:
    wall = Hand()
    clock = ReplayClock(0, 1, wall)
    clock.hold_at(10_000 * NANOS)
    for speed, expected in ((10, 1), (60, 11), (1, 71), (1, 72)):
        wall.now += NANOS
        clock.set_speed(speed)
        assert clock.now() == expected * NANOS


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 10**12)),
        st.tuples(st.just("hold_at"), st.integers(0, 10**14)),
        st.tuples(st.just("advance_to"), st.integers(0, 10**14)),
        st.tuples(st.just("set_speed"), st.sampled_from([0, 0.5, 1, 10, 60])),
        st.tuples(st.just("pause"), st.none()),
        st.tuples(st.just("resume"), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=500)
@given(steps=STEPS)
def test_replay_time_never_runs_backwards_nor_past_the_next_event(
    steps: list[tuple[str, float]],
) -> None:
    wall = Hand()
    clock = ReplayClock(0, 1, wall)
    last = allowed = 0
    for name, value in steps:
        match name:
            case "wait":
                wall.now += int(value)
            case "hold_at":
                clock.hold_at(int(value))
                allowed = max(allowed, int(value))
            case "advance_to":
                clock.advance_to(int(value))
                allowed = max(allowed, int(value))
            case "set_speed":
                clock.set_speed(value)
            case "pause":
                clock.pause()
            case _:
                clock.resume()
        assert last <= clock.now() <= allowed
        last = clock.now()
