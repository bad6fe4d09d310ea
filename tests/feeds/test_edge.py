"""Numbers and quotes as they come from outside."""

from math import isnan, nan

import pytest
from msgspec.structs import replace

from engine.core.model import Quote
from engine.feeds.edge import as_asked, number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        ("1.5", 1.5),
        (None, nan),
        ("", nan),
        ("\uff11\uff12", nan),
        ("1_0", nan),
        (True, nan),
    ],
)
def test_what_is_no_number_is_none(value: object, expected: float) -> None:
    found = number(value)
    assert found == expected or (isnan(found) and isnan(expected))


def test_a_quote_that_was_asked_for_keeps_its_time_while_its_prices_stay() -> None:
    known = Quote("BTC/USD", 1, 100.0, 101.0, 5.0, 5.0)
    later = replace(known, ts=2, bid_size=7.0)
    assert as_asked(later, known) is known
    assert as_asked(later, None) is later
    for moved in (replace(later, bid=99.0), replace(later, ask=102.0), replace(later, bid=nan)):
        assert as_asked(moved, known) is moved
