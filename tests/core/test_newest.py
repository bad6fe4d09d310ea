"""What is remembered of much stays within its bounds."""

from engine.core.newest import Newest


def test_for_one_more_the_one_goes_that_was_set_longest_ago() -> None:
    memory: Newest[str, int] = Newest(2)
    memory.update({"a": 1, "b": 2})
    memory["a"] = 3
    memory["c"] = 4
    assert memory == {"a": 3, "c": 4}
