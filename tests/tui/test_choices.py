"""The dialogs that choose: how to kill, how an order in doubt ended, what a limit is to be."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace
from textual import events

from engine.core.events import (
    AskOrder,
    ChangeLimit,
    KillPart,
    MarkOrder,
    RearmPart,
    RequestCancel,
    ResetCircuitBreaker,
    ResumeSymbol,
    SignOfLife,
    TripKillSwitch,
)
from engine.core.model import (
    KillAction,
    OrderState,
    Part,
    Scope,
)
from engine.view.snapshot import BreakerStatus, DeadManStatus, Snapshot
from tests.tui import scripted
from tests.tui.scripted import Desk, desk, to
from tui.dialogs.dialog import Dialog

DOUBT = "sma-spy-0006"


def is_open(it: Desk) -> bool:
    return isinstance(it.app.screen, Dialog)


def trip(action: KillAction) -> TripKillSwitch:
    reason = f"chosen: {action.replace('_', ' ')}"
    return TripKillSwitch(source="console", reason=reason, author="console", action=action)


# --- kill ----------------------------------------------------------------------------------------


async def test_the_choices_say_what_each_would_do() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K")
        for text in (
            "orders that stay: 4 open, worth 13,916.82 USD",
            "orders cancelled: 3 open, worth 9,086.00 USD",
            "stops that stay: 1 open, worth 4,830.82 USD",
            "orders cancelled: 4 open, worth 13,916.82 USD, 1 protective stop",
            "positions closed at market: 3 open, worth \u2014 USD",
            "cancel every order  (as ctrl+k does)",
        ):
            assert text in it.screen


async def test_the_choices_name_every_open_order_and_first_those_that_wait() -> None:
    states = dict(
        zip(
            range(3),
            (OrderState.INTENDED, OrderState.SUBMITTED, OrderState.PENDING_REPLACE),
            strict=True,
        )
    )
    snapshot = scripted.paper()
    order = next(o for o in snapshot.orders if o.is_open)
    waiting = [
        replace(order, client_order_id=f"tb-{n}", state=state) for n, state in states.items()
    ]
    stays = replace(order, client_order_id="tb-9", state=OrderState.ACCEPTED)
    async with desk(replace(snapshot, orders=(stays, *waiting)), size=(80, 50)) as it:
        await it.press("K")
        assert "orders that stay: 3 open" in it.screen
        assert "not sent yet, and never will be: 1 order" in it.screen
        listed = it.screen[it.screen.index("open now:") :]
        for text in ("NOT SENT YET", "NOT ACKNOWLEDGED YET", "CHANGE NOT CONFIRMED YET"):
            assert text in listed
            assert listed.index(text) < listed.index("tb-9")


async def test_a_letter_stops() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", "enter", "space", seconds=0.5)
        assert it.sent == []
        await it.press("s", seconds=0.5)
        assert it.sent == [trip(KillAction.STOP)]
        assert not is_open(it)
        assert "KILL REQUESTED" in it.screen


STOP = "SELL 29 AAPL  protective stop, worth 4,830.82, sma-aap-0004"
OTHERS = (
    "BUY 1.175 ETH-USD  limit, worth 3,040.90, sma-eth-0005",
    "BUY 11 SPY  limit, IN DOUBT, worth 4,860.90, sma-spy-0006",
    "SELL 0.031 BTC-USD  limit, CANCEL NOT CONFIRMED YET, worth 1,184.20",
)
HELD = "29 AAPL of sma_crossover, worth 4,933.62"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize(
    ("key", "action", "word", "says", "leaves_out"),
    [
        (
            "k",
            KillAction.KEEP_STOPS,
            "CANCEL",
            ("cancelled: 3 open, worth 9,086.00 USD", "Stops that stay: 1 open", *OTHERS),
            (STOP, HELD),
        ),
        (
            "c",
            KillAction.CANCEL,
            "CANCEL",
            ("cancelled: 4 open, worth 13,916.82", STOP, *OTHERS, "WITHOUT A STOP-LOSS", HELD),
            ("0.131 BTC-USD of sma_crossover",),
        ),
        (
            "f",
            KillAction.FLATTEN,
            "FLATTEN",
            (
                "cancelled: 4 open, worth 13,916.82 USD",
                STOP,
                "closed at market: 3 open",
                HELD,
                "0.131 BTC-USD of sma_crossover, worth 4,966.65",
                "0.75 ETH-USD of sma_crossover, worth \u2014",
            ),
            ("STOP-LOSS",),
        ),
    ],
)
async def test_what_cancels_names_each_order_and_position_and_asks_for_a_word(
    size: tuple[int, int],
    key: str,
    action: KillAction,
    word: str,
    says: tuple[str, ...],
    leaves_out: tuple[str, ...],
) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press("K", key, seconds=0.5)
        for text in ("account    main, PAPER", *says):
            assert text in it.screen
        assert [text for text in leaves_out if text in it.screen] == []
        await it.press(key, "y", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *word, "enter", seconds=0.5)
        assert it.sent == [trip(action)]
        assert "KILL REQUESTED" in it.screen


async def test_orders_without_a_line_are_counted_with_their_worth() -> None:
    many = tuple(
        replace(scripted.ORDERS[4], client_order_id=f"many-{number:03}") for number in range(40)
    )
    async with desk(replace(scripted.paper(), orders=many), size=(80, 24)) as it:
        await it.press("K", "c", seconds=0.5)
        shown = it.screen.count("many-0")
        assert shown >= 5
        assert f"and {40 - shown} more, worth {(40 - shown) * Decimal('3040.90'):,}" in it.screen
        assert "Type CANCEL and press enter" in it.screen
        assert "account    main, PAPER" in it.screen


async def test_the_orders_are_those_of_now() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", "c", seconds=0.5)
        it.client.change(orders=scripted.ORDERS[:4])
        screen = await it.draw()
        assert STOP in screen
        assert OTHERS[0] not in screen


@pytest.mark.parametrize("snapshot", [scripted.paper, scripted.live])
async def test_every_dialog_that_asks_names_the_account(snapshot: Callable[[], Snapshot]) -> None:
    both = replace(
        snapshot(),
        paused=scripted.held_back().paused,
        killed_parts=scripted.parts_killed().killed_parts,
    )
    named = f"{both.account}, {both.mode.upper()}"
    doubt = *to("orders"), "home", "down", "enter"
    for keys in (
        ("K",),
        ("K", "p", *"sma", "enter"),
        ("R",),
        (*to("orders"), "end", "home", *["down"] * 3, "x"),
        doubt,
        (*doubt, "b"),
        (*to("quotes"), "home", "down", "enter"),
        ("4", "l"),
        (*to("risk"), "home", "enter"),
    ):
        async with desk(both, size=(80, 40)) as it:
            await it.press(*keys, seconds=0.5)
            assert is_open(it)
            assert named in it.screen, keys


async def test_a_held_or_pasted_key_chooses_nothing() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*["K"] * 20, *"csk", seconds=0.01)
        it.app.post_message(events.Paste("c"))
        await it.draw()
        assert it.sent == []


async def test_the_choices_of_a_switch_that_is_tripped_say_so() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("K")
        assert "Tripped already (cancel): a choice may do more, never less." in it.screen


async def test_a_kill_that_flattens_shows_how_far_it_is() -> None:
    async with desk(scripted.flattening()) as it:
        assert "KILLED 3 held" in it.screen
        assert "flattening, 3 positions still held" in it.screen


# --- the circuit breaker -------------------------------------------------------------------------


async def test_a_typed_word_resets_the_circuit_breaker() -> None:
    async with desk(scripted.held_back()) as it:
        assert "BREAKER" in it.screen
        await it.press("B")
        await it.press("y", "enter", seconds=0.5)
        assert it.sent_but_life == []
        await it.press("ctrl+u", *"RESET", "enter", seconds=0.5)
        assert it.sent_but_life == [ResetCircuitBreaker(word="RESET", author="console")]


async def test_what_is_not_tripped_is_not_reset() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("B")
        assert not is_open(it)
        assert "there is nothing to reset" in it.screen


async def test_failures_in_a_row_are_counted_on_the_screen() -> None:
    async with desk(scripted.paper()) as it:
        assert "failures" not in it.screen
        it.client.change(breaker=BreakerStatus(failures=3, limit=5))
        assert "failures 3/5" in await it.draw()


# --- orders in doubt -----------------------------------------------------------------------------


async def in_doubt(it: Desk) -> None:
    """Select the order in doubt, and ask."""
    await it.press(*to("orders"), "home", "down", "enter")


async def test_the_venue_is_asked_again() -> None:
    async with desk(scripted.paper()) as it:
        await in_doubt(it)
        assert "In doubt since 2022-01-31 1" in it.screen
        await it.press("enter", "space", "y", seconds=0.5)
        assert it.sent == []
        await it.press("a")
        assert it.sent == [AskOrder(client_order_id=DOUBT, author="console")]


@pytest.mark.parametrize(
    ("key", "state"),
    [
        ("c", OrderState.CANCELED),
        ("r", OrderState.REJECTED),
        ("e", OrderState.EXPIRED),
        ("b", OrderState.ABANDONED),
    ],
)
async def test_it_is_marked_by_hand_with_a_typed_word(key: str, state: OrderState) -> None:
    async with desk(scripted.paper()) as it:
        await in_doubt(it)
        await it.press(key, "enter", "y", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *"MARK", "enter", seconds=0.5)
        mark = MarkOrder(client_order_id=DOUBT, state=state, word="MARK", author="console")
        assert it.sent == [mark]


async def test_an_order_that_became_known_meanwhile_is_not_marked() -> None:
    async with desk(scripted.paper()) as it:
        await in_doubt(it)
        await it.press("c", seconds=0.5)
        it.client.change(orders=scripted.ORDERS[:5])
        await it.draw(0.5)
        await it.press(*"MARK", "enter", seconds=0.5)
        assert it.sent == []
        assert "no longer in doubt" in it.screen


async def test_an_order_that_is_known_has_no_doubt_to_settle() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "home", "enter")
        assert "orders: all fields" in it.screen


# --- limits --------------------------------------------------------------------------------------


async def change(it: Desk, value: str) -> None:
    """Type a value for the daily loss limit, which is 1,000."""
    await select_daily_loss(it)
    await it.press("enter")
    assert "MAX_DAILY_LOSS" in it.screen
    await it.draw(1.0)
    await it.press(*["full_stop" if c == "." else c for c in value], "enter", seconds=0.4)


async def select_daily_loss(it: Desk) -> None:
    await it.press(*to("risk"), "home")


def limit_of(value: str, word: str = "") -> ChangeLimit:
    return ChangeLimit(name="max_daily_loss", value=value, word=word, author="console")


async def test_a_tighter_limit_is_taken_at_once() -> None:
    async with desk(scripted.paper()) as it:
        await change(it, "750.5")
        assert it.sent == [limit_of("750.5")]
        assert not is_open(it)


@pytest.mark.parametrize("value", ["1500", "0"])
async def test_a_looser_one_asks_for_a_word(value: str) -> None:
    async with desk(scripted.paper()) as it:
        await change(it, value)
        assert it.sent == []
        assert (
            f"MAX_DAILY_LOSS from 1,000.00 to {Decimal(value):,f}: more may be lost." in it.screen
        )
        await it.press("y", "enter", "ctrl+u", *"LOOSEN", "enter", seconds=0.5)
        assert it.sent == [limit_of(value, "LOOSEN")]


@pytest.mark.parametrize("value", ["x", "nan", "1e", "inf"])
async def test_what_is_no_number_changes_nothing(value: str) -> None:
    async with desk(scripted.paper()) as it:
        await change(it, value)
        assert it.sent == []
        assert "that is no number" in it.screen


async def test_of_a_limit_that_cannot_be_changed_the_fields_are_shown() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("risk"), "end", "enter")
        assert "risk: all fields" in it.screen


# --- paused symbols ------------------------------------------------------------------------------


async def test_a_paused_symbol_is_shown_and_resumed_with_a_letter() -> None:
    async with desk(scripted.held_back()) as it:
        assert "PAUSE" in it.screen
        await it.press(*to("quotes"), "home", "down", "enter")
        assert "the venue rejected its limit entry: halted" in it.screen
        await it.press("enter", "space", seconds=0.5)
        assert it.sent_but_life == []
        await it.press("y", seconds=0.5)
        assert it.sent_but_life == [ResumeSymbol(symbol="SPY", author="console")]


async def test_in_a_live_account_a_typed_word_resumes_it() -> None:
    async with desk(replace(scripted.live(), paused=scripted.held_back().paused)) as it:
        await it.press(*to("quotes"), "home", "down", "enter")
        await it.press("y", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *"RESUME", "enter", seconds=0.5)
        assert it.sent == [ResumeSymbol(symbol="SPY", author="console")]


STOP_ORDER = (*to("orders"), "home", *["down"] * 3, "x")


async def test_in_a_live_account_a_typed_word_takes_a_stop_away() -> None:
    async with desk(scripted.live()) as it:
        await it.press(*STOP_ORDER)
        assert "This is a PROTECTIVE STOP" in it.screen
        await it.press("y", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *"CANCEL", "enter", seconds=0.5)
        assert it.sent == [RequestCancel(client_order_id="sma-aap-0004", author="console")]


@pytest.mark.parametrize(
    ("snapshot", "rows"), [(scripted.paper, 3), (scripted.live, 2)], ids=["paper", "live"]
)
async def test_a_letter_cancels_another_order_and_on_paper_a_stop(
    snapshot: Callable[[], Snapshot], rows: int
) -> None:
    async with desk(snapshot()) as it:
        await it.press(*to("orders"), "home", *["down"] * rows, "x")
        await it.press("y", seconds=0.5)
        assert [type(each) for each in it.sent] == [RequestCancel]


async def test_of_a_symbol_that_is_not_paused_the_fields_are_shown() -> None:
    async with desk(scripted.held_back()) as it:
        await it.press(*to("quotes"), "home", "enter")
        assert "quotes: all fields" in it.screen


# --- signs of life, dry run ----------------------------------------------------------------------


async def test_any_key_is_a_sign_of_life_once_a_second() -> None:
    async with desk(scripted.held_back()) as it:
        await it.press("down", *["up"] * 8, "z")
        assert it.sent == [SignOfLife(author="console")]
        await it.press("z", seconds=1.0)
        assert len(it.sent) == 2


async def test_a_key_in_a_dialog_is_one_too() -> None:
    async with desk(scripted.held_back()) as it:
        await it.press("question_mark")
        await it.press("x", seconds=1.0)
        assert it.sent == [SignOfLife(author="console")] * 2


async def test_where_nobody_need_be_there_no_key_is_told() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("down", "z", "up")
        assert it.sent == []


async def test_the_operator_is_called_before_the_dead_mans_switch_trips() -> None:
    async with desk(scripted.paper()) as it:
        it.client.change(dead_man=DeadManStatus(13.0, 60.0))
        assert "DEAD-MAN" not in await it.draw()
        it.client.change(dead_man=DeadManStatus(12.0, 60.0))
        assert "DEAD-MAN'S SWITCH trips in 12 s: press any key" in await it.draw()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_dry_run_is_on_every_screen(size: tuple[int, int]) -> None:
    async with desk(scripted.held_back(), size=size) as it:
        assert "DRY RUN" in it.screen
        for key in ("K", "question_mark", "q"):
            await it.press(key)
            assert is_open(it)
            assert "DRY RUN" in it.screen
            await it.press("escape")


# --- a part --------------------------------------------------------------------------------------

STRATEGY = Part(Scope.STRATEGY, "sma_crossover")


def kill_part(part: Part, action: KillAction) -> KillPart:
    reason = f"chosen: {action.replace('_', ' ')}"
    return KillPart(part=part, source="console", reason=reason, author="console", action=action)


async def test_a_part_is_named_by_how_it_begins_and_asked_about() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", seconds=0.5)
        await it.press("p", seconds=0.5)
        assert "strategy  sma_crossover, breakout, mean_reversion" in it.screen
        await it.press(*"sma", "enter", seconds=0.5)
        assert "Only the strategy sma_crossover" in it.screen
        assert "(as ctrl+k does)" not in it.screen
        await it.press("enter", "k", seconds=0.5)
        assert "Only the strategy sma_crossover" in it.screen
        assert it.sent == []
        await it.press(*"CANCEL", "enter", seconds=0.5)
        assert it.sent == [kill_part(STRATEGY, KillAction.KEEP_STOPS)]
        assert "KILL REQUESTED" not in it.screen


async def test_the_choices_of_a_part_count_what_is_of_it() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", "p", *"aapl", "enter", seconds=0.5)
        assert "orders cancelled: 1 open, worth 4,830.82 USD, 1 protective stop" in it.screen
        assert "positions closed at market: 1 open, worth 4,933.62 USD" in it.screen


async def test_a_symbol_is_named_without_its_venue_too() -> None:
    paper = scripted.paper()
    routed = replace(
        paper,
        quotes=tuple(replace(row, symbol=f"alpaca:{row.symbol}") for row in paper.quotes),
        instruments={f"alpaca:{name}": each for name, each in paper.instruments.items()},
    )
    async with desk(routed) as it:
        await it.press("K", "p", *"aapl", "enter", "s", seconds=0.5)
        assert it.sent == [kill_part(Part(Scope.SYMBOL, "alpaca:AAPL"), KillAction.STOP)]


async def test_a_name_of_nothing_or_of_several_chooses_none() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", "p", *"zz", "enter", seconds=0.5)
        assert "nothing is called so" in it.screen
        await it.press(*"s", "enter", seconds=0.5)
        assert "that may be strategy sma_crossover or symbol SPY" in it.screen
        assert it.sent == []


async def test_to_flatten_a_part_asks_for_a_word() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("K", "p", *"aapl", "enter", "f", seconds=0.5)
        assert HELD in it.screen
        await it.press(*"FLATTEN", "enter", seconds=0.5)
        assert it.sent == [kill_part(Part(Scope.SYMBOL, "AAPL"), KillAction.FLATTEN)]


async def test_killed_parts_are_shown_wherever_they_are() -> None:
    async with desk(scripted.parts_killed()) as it:
        assert "KILLED 2 parts" in it.screen
        assert "KILLED strategy sma_crossover · cancelling, 2 orders still open" in it.screen
        assert "■ KILLED" in it.screen
        assert "KILL " in it.screen


async def test_each_killed_part_is_rearmed_by_itself_with_a_typed_word() -> None:
    async with desk(scripted.parts_killed()) as it:
        await it.press("R", "tab", *"REARM", "enter", seconds=0.5)
        part = Part(Scope.SYMBOL, "SPY")
        assert it.sent == [RearmPart(part=part, word="REARM", author="console")]


async def test_where_nothing_is_killed_nothing_is_rearmed() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("R")
        assert not is_open(it)
        assert "there is nothing to re-arm" in it.screen
