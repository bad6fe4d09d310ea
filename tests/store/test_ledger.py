"""What does not agree with the executions is found and named."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.model import CashAdjustment, Fill, Position, Side
from engine.store.ledger import cash, order_differences, position_differences

from .conftest import MakeFill, MakeOrder


@pytest.fixture
def fills(make_fill: MakeFill) -> list[Fill]:
    """Three bought at 100, one sold at 130; 0.1 commission each."""
    return [
        make_fill("x-1", quantity=Decimal(3)),
        make_fill("x-2", side=Side.SELL, price=Decimal(130), client_order_id="tb-2"),
    ]


@pytest.fixture
def position() -> Position:
    return Position(
        "sma_crossover",
        "BTC-USD",
        quantity=Decimal(2),
        cost=Decimal(200),
        realised_pnl=Decimal(30),
        commission=Decimal("0.2"),
    )


def test_cash_is_the_opening_and_what_the_entries_add(fills: list[Fill]) -> None:
    opening = {"paper": Decimal(1000)}
    assert cash(opening, fills, ()) == {"paper": Decimal("829.8")}
    adjustments = [CashAdjustment("paper", Decimal(amount), 1) for amount in ("50", "-0.8")]
    assert cash(opening, fills, adjustments) == {"paper": Decimal(879)}


def test_each_account_has_its_own_cash(fills: list[Fill]) -> None:
    bought, sold = fills
    made = cash(
        {"paper": Decimal(1000), "maple": Decimal(7)}, [bought, replace(sold, venue="maple")], ()
    )
    assert made == {"paper": Decimal("699.9"), "maple": Decimal("136.9")}


def test_cash_is_exact_beyond_the_precision_of_a_decimal_context(make_fill: MakeFill) -> None:
    tiny = make_fill(
        quantity=Decimal("0.000000000000000001"), price=Decimal("0.00000001"), commission=Decimal(0)
    )
    made = cash({"paper": Decimal(10**12)}, [tiny], ())
    assert made == {"paper": Decimal("999999999999.99999999999999999999999999")}


def test_a_whole_position_agrees(position: Position, fills: list[Fill]) -> None:
    assert position_differences([position], fills) == []


def test_what_a_commission_took_of_the_instrument_is_no_difference(
    position: Position, make_fill: MakeFill
) -> None:
    bought = make_fill("x-1", quantity=Decimal(3), commission_quantity=Decimal("0.5"))
    held = replace(
        position,
        quantity=Decimal("2.5"),
        cost=Decimal(250),
        realised_pnl=Decimal(0),
        commission=Decimal("50.1"),
    )
    assert position_differences([held], [bought]) == []
    assert position_differences([replace(held, quantity=Decimal(3))], [bought]) == [
        "position sma_crossover BTC-USD: quantity is 3, its executions make it 2.5"
    ]


def test_the_rounding_of_a_released_cost_is_no_difference(
    position: Position, fills: list[Fill]
) -> None:
    rounded = replace(position, cost=Decimal("200.0000000000000000001"))
    assert position_differences([rounded], fills) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("quantity", "3", "quantity is 3, its executions make it 2"),
        ("commission", "0.3", "commission is 0.3, its executions make it 0.2"),
        ("cost", "201", "realised less invested is -171.2, its executions make it -170.2"),
        ("realised_pnl", "31", "realised less invested is -169.2, its executions make it -170.2"),
    ],
)
def test_a_wrong_number_of_a_position_is_named(
    position: Position, fills: list[Fill], field: str, value: str, said: str
) -> None:
    wrong = replace(position, **{field: Decimal(value)})
    found = position_differences([wrong], fills)
    assert f"position sma_crossover BTC-USD: {said}" in found


def test_executions_without_a_position_and_a_position_without_executions_are_named(
    position: Position, fills: list[Fill]
) -> None:
    assert any("quantity is 0" in text for text in position_differences([], fills))
    assert any("make it 0" in text for text in position_differences([position], []))


def test_an_order_is_filled_as_its_executions_say(make_order: MakeOrder, fills: list[Fill]) -> None:
    orders = [make_order("tb-1", filled=Decimal(3)), make_order("tb-2", filled=Decimal(1))]
    assert order_differences(orders, fills) == []
    assert order_differences([make_order("tb-1", filled=Decimal(2)), orders[1]], fills) == [
        "order tb-1: filled is 2, its executions make it 3"
    ]


def test_executions_of_an_unknown_order_are_named(make_order: MakeOrder, fills: list[Fill]) -> None:
    assert order_differences([make_order("tb-1", filled=Decimal(3))], fills) == [
        "order tb-2 has executions and no intent"
    ]
