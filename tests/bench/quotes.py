"""Quotes through the machine: 500 symbols in turn, no strategy that looks at quotes.

Each quote is checked, kept, and marked where its symbol is held; the loss limits are watched at
every one. The peer does the least that any engine does: it keeps the last quote of each symbol. The
journal writes the same quotes down. CPU time, the least of several runs that take turns; the quotes
are made before.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.core.events import EngineStarted, QuoteUpdate, Restored, ToggleStrategy
from engine.core.machine import Machine, MachineConfig, StrategySetup
from engine.core.model import AssetClass, Instrument, Position, Quote
from engine.core.risk import RiskLimits
from engine.feeds.synthetic import quotes, symbol_names
from engine.store.journal import JOURNAL_VERSION, JournalHeader, JournalWriter
from strategies.sma_crossover import SmaCrossover
from tests.bench.measure import Figure, least_cpu_seconds

SYMBOLS = symbol_names(500)
HELD = 50
COUNT = 200_000
ROUNDS = 5
LEAST = 100_000
PEER = "dict of last quotes"


def measure() -> Iterator[Figure]:
    made = list(islice(quotes(7, SYMBOLS), COUNT))
    sizes: list[int] = []
    idle, holding, least, written = least_cpu_seconds(
        ROUNDS,
        lambda: feed(machine(held=0), made),
        lambda: feed(machine(held=HELD), made),
        lambda: keep_last(made),
        lambda: sizes.append(write_down(made)),
    )
    for name, taken in (("nothing held", idle), (f"{HELD} symbols held", holding)):
        yield Figure(
            f"quotes through the machine, {name}",
            COUNT / taken,
            "quotes/s",
            PEER,
            COUNT / least,
            f"≥ {LEAST:,}/s",
            COUNT / taken >= LEAST,
        )
    size = sizes[0] / COUNT
    yield Figure(
        "quotes into the journal",
        COUNT / written,
        "quotes/s",
        note=f"{size:.0f} bytes each: {size * 10_000 * 3600 / 1e9:.1f} GB an hour at 10,000/s",
    )


def feed(machine: Machine, made: list[Quote]) -> None:
    process = machine.process
    for quote in made:
        process(QuoteUpdate(quote, ts=quote.ts))


def keep_last(made: list[Quote]) -> None:
    last: dict[str, Quote] = {}
    for quote in made:
        last[quote.symbol] = quote


def write_down(made: list[Quote]) -> int:
    """The size of the journal of `made`, in bytes."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "quotes.journal"
        journal = JournalWriter(file, JournalHeader(JOURNAL_VERSION, b"", 0, "bench"))
        for quote in made:
            journal.append(QuoteUpdate(quote, ts=quote.ts))
        journal.close()
        return file.stat().st_size


def machine(held: int) -> Machine:
    """A machine that is trading, with positions in the first `held` symbols."""
    limits = RiskLimits(
        max_daily_loss=Decimal(10**9),
        max_daily_loss_pct=Decimal(100),
        max_drawdown_pct=Decimal(100),
    )
    instruments = tuple(
        Instrument(symbol, AssetClass.STOCK, Decimal("0.01"), Decimal(1)) for symbol in SYMBOLS
    )
    config = MachineConfig(instruments, (StrategySetup("sma_crossover", SYMBOLS),), limits=limits)
    machine = Machine(config, {"sma_crossover": SmaCrossover})
    positions = tuple(
        Position("sma_crossover", symbol, Decimal(10), Decimal(1000)) for symbol in SYMBOLS[:held]
    )
    marks = dict.fromkeys(SYMBOLS[:held], 100.0)
    machine.process(Restored({"paper": Decimal(10**6)}, positions=positions, marks=marks))
    machine.process(ToggleStrategy(strategy="sma_crossover", enabled=True))
    machine.process(EngineStarted())
    return machine
