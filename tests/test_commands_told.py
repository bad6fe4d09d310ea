"""Whatever is asked of the engine, its log says what came of it, and so does the audit log."""

from decimal import Decimal
from pathlib import Path

from engine.core import events as e
from engine.core.model import KillAction, Mode, OrderState, OrderTerms, Part, Scope
from tests.session import running, zigzag

SYMBOL = Part(Scope.SYMBOL, "ACME")
COMMANDS: tuple[tuple[e.Command, str], ...] = (
    (e.ControlFeed(action="pause"), '"reason":"asked for by person-0"'),
    (e.ToggleStrategy(strategy="zigzag", enabled=False), '"author":"person-1"'),
    (e.ReloadStrategy(strategy="zigzag"), '"type":"StrategyLoaded"'),
    (e.ChangeLimit(name="max_daily_loss", value="500"), '"author":"person-3"'),
    (e.RequestMode(mode=Mode.LIVE), '"command":"RequestMode"'),
    (e.ConfirmLive(word="LIVE"), '"command":"ConfirmLive"'),
    (e.RequestCancel(client_order_id="none"), '"command":"RequestCancel"'),
    (
        e.RequestReplace(client_order_id="none", terms=OrderTerms(Decimal(1), None, None)),
        '"command":"RequestReplace"',
    ),
    (e.AskOrder(client_order_id="none"), '"command":"AskOrder"'),
    (
        e.MarkOrder(client_order_id="none", state=OrderState.CANCELED, word="MARK"),
        '"command":"MarkOrder"',
    ),
    (e.ResetCircuitBreaker(word="RESET"), '"command":"ResetCircuitBreaker"'),
    (e.AcknowledgeAlerts(names=("none",)), '"author":"person-11"'),
    (e.ResumeSymbol(symbol="ACME"), '"command":"ResumeSymbol"'),
    (e.KillPart(part=SYMBOL, source="test", action=KillAction.STOP), '"author":"person-13"'),
    (e.RearmPart(part=SYMBOL, word="REARM"), '"author":"person-14"'),
    (e.ChangeCommander(), '"author":"person-15"'),
    (e.TripKillSwitch(source="test"), '"author":"person-16"'),
    (e.RearmKillSwitch(word="REARM"), '"author":"person-17"'),
    (
        e.AdjustCash(broker="paper", amount=Decimal(1), word="ADJUST"),
        '"command":"AdjustCash"',
    ),
)
"""Each with what the audit log has of it: who asked, or what was refused."""
NOT_TOLD = {e.SignOfLife}
"""Every key is one."""


def test_every_command_is_tried() -> None:
    known = {each for each in vars(e).values() if isinstance(each, type)}
    commands = {each for each in known if issubclass(each, e.Command)} - {e.Command}
    assert {type(each) for each, _ in COMMANDS} | NOT_TOLD == commands


async def test_each_leaves_a_line_of_the_log_and_a_row_of_the_audit_log(tmp_path: Path) -> None:
    missing: list[str] = []
    async with running(zigzag(tmp_path)) as session:
        await session.until(lambda s: s.feed.status == "connected")
        for number, (command, _) in enumerate(COMMANDS):
            asked = type(command)(**{**_fields(command), "author": f"person-{number}"})
            before = session.snapshots[-1].log[-1].seq
            session.command(asked)
            try:
                await session.until(lambda s, before=before: s.log[-1].seq > before, within=3)
            except AssertionError:
                missing.append(type(command).__name__)
    assert missing == []
    # What was there before the first of them is none of theirs.
    (first,) = session.rows("select min(id) from audit_log where payload like '%paused%'")
    rows = session.rows(f"select payload from audit_log where id >= {first[0]}")
    told = " ".join(payload for (payload,) in rows)
    assert [type(each).__name__ for each, text in COMMANDS if text not in told] == []


def _fields(command: e.Command) -> dict[str, object]:
    return {name: getattr(command, name) for name in command.__struct_fields__}
