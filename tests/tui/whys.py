"""Chains of causes as an engine tells them, for a console on a scripted snapshot."""

from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import NANOS
from engine.view.questions import Chain, Number, Step, WhyFill, WhyOrder, WhyPosition, WhySignal
from tests.tui.scripted import TS

MS = NANOS // 1_000
BAR_TS = TS - 1_140 * NANOS


def check(
    name: str,
    value: float | None,
    limit: float,
    setting: str,
    *,
    unit: str = "",
    bound: str = "at most",
    passed: bool = True,
) -> Number:
    return Number(name, value, unit, bound, limit, passed, setting)


BAR = Step(
    BAR_TS,
    None,
    "Bar",
    "AAPL, 1 min from 2022-01-31 14:10:07 UTC",
    (
        Number("open", 169.9),
        Number("high", 170.02),
        Number("low", 169.88),
        Number("close", 169.98),
        Number("volume", 12_345.0),
    ),
)
SIGNAL = Step(
    BAR_TS,
    0,
    "Signal",
    "sma_crossover wants to buy AAPL: the fast average crossed the slow one",
    (
        Number("price", 169.98),
        Number("strength", 1.0),
        Number("fast", 170.04799),
        Number("slow", 169.946),
    ),
)
SIZE = Step(
    BAR_TS,
    0,
    "Size",
    "fixed_fraction asks for 588.304, the position limit leaves 29: 29",
    (
        Number("asked", Decimal("588.3044958145546")),
        Number("most", Decimal(29)),
        Number("quantity", Decimal(29)),
        Number("equity", 100_000.0),
        Number("fraction", 1.0),
    ),
)
KEPT = (
    check("position size", 4.93, 5.0, "max_position_size_pct", unit="%"),
    check("price collar", 0.1, 5.0, "price_collar_pct", unit="%"),
    check("trades per day", 16.0, 20.0, "max_trades_per_day"),
    check("consecutive losses", 1.0, 3.0, "max_consecutive_losses", bound="below"),
    check("daily loss", 212.4, 1_000.0, "max_daily_loss", unit="$", bound="below"),
    check("exposure", 11.8, 80.0, "max_exposure_pct", unit="%"),
    check("signal strength", 1.0, 0.7, "min_signal_strength", bound="at least"),
)
ENTRY = "sma-aap-0001"
FILLED = Chain(
    f"entry buy 29 AAPL ({ENTRY})",
    "filled 29 at 169.98 on average",
    (
        BAR,
        SIGNAL,
        SIZE,
        Step(BAR_TS, 0, "Risk checks", "7 of 7 limits kept", KEPT),
        Step(
            BAR_TS,
            0,
            "Order",
            f"entry: limit, GTC, to buy 29 AAPL ({ENTRY})",
            (
                Number("quantity", Decimal(29)),
                Number("limit", Decimal("169.98")),
                Number("counted at", Decimal("170.83")),
                Number("stop-loss", Decimal("166.58")),
            ),
            ENTRY,
        ),
        Step(
            BAR_TS + 3 * MS,
            3 * MS,
            "Submitted",
            "its intent is on disk, and it leaves for the venue",
            order=ENTRY,
        ),
        Step(BAR_TS + 45 * MS, 42 * MS, "Accepted", "the venue has it as b-771204", order=ENTRY),
        Step(
            BAR_TS + 1_945 * MS,
            1_900 * MS,
            "Filled",
            "entry: buy 29 at 169.98, by the venue's clock at 14:11:08.921 UTC (x-5512)",
            (
                Number("quantity", Decimal(29)),
                Number("price", Decimal("169.98")),
                Number("commission", Decimal("0.29")),
                Number("left", Decimal(0)),
            ),
            ENTRY,
        ),
    ),
)
FAILED = (
    check("position size", 5.4, 5.0, "max_position_size_pct", unit="%", passed=False),
    check("venue buying power", None, 0.0, "", unit="$", passed=False),
    *KEPT[1:],
)
BLOCKED = Chain(
    "buy signal of sma_crossover on BTC-USD",
    "blocked: position size would be 5.4 %, must be at most 5 % (MAX_POSITION_SIZE_PCT)",
    (
        replace(SIGNAL, delay=None, text="sma_crossover wants to buy BTC-USD"),
        SIZE,
        Step(
            BAR_TS, 0, "Risk checks", "6 of 8 limits kept, not position size, venue buying power",
            FAILED,
        ),
        Step(
            BAR_TS,
            0,
            "Blocked",
            "position size would be 5.4 %, must be at most 5 % (MAX_POSITION_SIZE_PCT)",
        ),
    ),
    (
        "position size at most 5 % (MAX_POSITION_SIZE_PCT): it would be 5.4 %",
        "venue buying power at most 0 $: it is not known",
    ),
    ("what the strategy was shown when it decided: neither a bar nor a quote is recorded",),
)  # fmt: skip

ASK_ENTRY = WhyOrder(ENTRY)
ASK_FILL = WhyFill("x-5512", "AAPL")
OF_FILL = replace(FILLED, title=f"fill x-5512 of {FILLED.title}")
ASK_BLOCKED = WhySignal(9)
ASK_POSITION = WhyPosition("sma_crossover", "AAPL")
ANSWERS = {ASK_ENTRY: FILLED, ASK_FILL: OF_FILL, ASK_BLOCKED: BLOCKED, ASK_POSITION: FILLED}
