"""What the terminal says of a session once the console has left it: true numbers, or a dash."""

from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from engine.view.snapshot import SessionTotals
from tests.tui import scripted
from tui.summary import summary

SESSION = SessionTotals(
    orders=41,
    executions=38,
    rejected=2,
    closed=(("USD", Decimal("384.21")), ("CAD", Decimal("-10"))),
    fees=(("USD", Decimal("3.75")),),
)


def test_it_says_how_long_what_was_done_made_and_paid_and_what_is_open() -> None:
    told = summary(replace(scripted.paper(), session=SESSION), Path("/var/bot"))
    assert told == [
        "session  2:01:05 until 2022-01-31 14:30:07 UTC, PAPER, account main",
        "orders   41, 38 executions, 2 rejected",
        "P&L      closed positions +384.21 USD, -10.00 CAD; open —, day +412.55 USD",
        "fees     3.75 USD",
        "open     4 orders; 3 positions (29 AAPL, 0.131 BTC-USD, 0.75 ETH-USD)",
        "records  /var/bot",
    ]


def test_what_is_not_known_is_a_dash() -> None:
    unknown = replace(scripted.paper(), day_pnl=None, health=None, orders=(), positions=())
    told = "\n".join(summary(unknown, None))
    assert "session  — until" in told
    assert "P&L      closed positions none; open 0.00, day — USD" in told
    assert "0 orders; 0 positions" in told
