"""`tradebot simulate`, as it is typed."""

import msgspec
import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.core.orders import OrderBook
from engine.simulation.command import Summary


def test_it_says_what_ran_and_that_nothing_broke() -> None:
    result = CliRunner().invoke(main, ["simulate", "--seeds", "2", "--from", "7", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "seeds 7 to 8: 0 broke a law" in result.output


def test_json_is_the_whole_summary_and_a_seed_has_a_digest() -> None:
    results = [
        CliRunner().invoke(main, ["simulate", "--seeds", "1", "--from", "7", "--json"])
        for _ in range(2)
    ]
    first, second = (msgspec.json.decode(result.stdout, type=Summary) for result in results)
    assert first.digest == second.digest != ""
    assert (first.seeds, first.first, first.broken) == (1, 7, [])
    assert first.events > 100


def test_a_broken_law_is_told_with_all_that_is_needed_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An order book that never asks again."""
    monkeypatch.setattr(OrderBook, "on_tick", lambda *_: None)
    result = CliRunner().invoke(main, ["simulate", "--seeds", "3", "--from", "7", "--jobs", "1"])
    assert result.exit_code == 1
    for told in (
        "does not hold",
        "commit ",
        'options: {"seed":',
        "again: tradebot simulate --seeds 1 --from ",
    ):
        assert told in result.output
