"""The Strategy interface, and the runner of the strategies that are there."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    ClockTick,
    CommandRefused,
    EngineStarted,
    EngineStopping,
    HistoryLoaded,
    PositionChanged,
    QuoteUpdate,
    ReloadStrategy,
    Restored,
    SignalGenerated,
    StrategyFailed,
    StrategyLoaded,
    StrategyToggled,
    SymbolPaused,
    SymbolResumed,
    ToggleStrategy,
)
from engine.core.market import Market, SymbolMarket
from engine.core.model import Bar, Book, Fill, Order, Quote, Side, Signal
from engine.core.portfolio import Portfolio
from engine.core.sessions import Calendars, TradingDay
from engine.core.sizing import Sizing
from engine.core.text import clean

CHANGED = "its file changed: switch it on to let it trade"
RELOADED = "loaded anew: switch it on to let it trade"
NOT_CONFIRMED = "the strategy does not confirm the entry"


class StrategyParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a strategy's parameters: a msgspec Struct, so types and bounds are checked."""


class Strategy:
    """Decides for one symbol; the runner makes one instance for each symbol.

    A strategy file exports `STRATEGY_NAME` and `STRATEGY_CLASS`. It may keep state in `self`, and
    must not read a clock, draw random numbers or do I/O: the same bars must give the same signals.
    """

    trading_day: TradingDay
    """The session of the symbol's market that holds the last time it was asked about. A bar is in
    the one before its close: `self.trading_day.roll(bar.ts - 1)` is True where it is the first of
    its session that was seen."""

    live = False
    """False while bars of the past are shown, to warm up or after a gap: an answer to them makes no
    order."""

    read_book: Callable[[], Book] = Book
    """What the strategy holds now, and the account's money; an empty book outside an engine."""

    markets: Mapping[str, SymbolMarket] = {}
    """The last prices and bars of all its symbols, to read."""

    keeps_state: ClassVar[bool] = True
    """Whether it may keep what it saw: then it is shown every bar, those of the past and those
    while it is off too. False for a style that decides by the bars that the engine keeps."""

    decides_for_all: ClassVar[bool] = False
    """Whether one instance decides for all symbols, and answers with a list of signals."""

    Parameters: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init__(self, symbol: str, parameters: StrategyParameters) -> None:
        self.name = ""
        self.symbol = symbol
        self.parameters: Any = parameters
        self.trading_day = TradingDay("UTC")
        self.validate_parameters()
        self.initialize()

    def initialize(self) -> None:
        """Set up the state; the parameters are there and valid."""

    def validate_parameters(self) -> None:
        """Raise ValueError where parameters do not fit together; types and bounds are checked."""

    def required_history(self) -> int:
        """Bars that must have been seen before a signal counts."""
        return 0

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        """A bar closed; `history` ends with it.

        One that the venue corrects later is not shown again: from the next bar on `history` has it
        as it is then, while what was made of it in `self` stays, up to a restart."""

    def on_quote(self, quote: Quote) -> Signal | None:
        """Best bid or ask changed."""

    def on_fill(self, fill: Fill) -> None:
        """An order of this strategy on this symbol was filled, in part or whole."""

    def on_clock(self, now: int) -> Signal | None:
        """Time passed: about once a second of market time."""

    def confirm_trade_entry(self, order: Order) -> bool | str:
        """The last word on an entry that is sized and within all limits: False, or a text that
        says why, keeps it from being made. It is asked once, and decides by what it knows: as
        elsewhere the same bars must give the same answer."""
        return True

    def signal(
        self,
        side: Side,
        bar: Bar,
        indicators: dict[str, float],
        *,
        strength: float = 1.0,
        stop_price: float | None = None,
        take_profit: float | None = None,
        trail: float | None = None,
        reason: str = "",
        sizing: str = "",
    ) -> Signal:
        """A signal of this strategy at the close of `bar`; fields as in `Signal`."""
        return Signal(
            self.name,
            self.symbol,
            side,
            bar.ts,
            bar.close,
            strength=strength,
            indicators=indicators,
            stop_price=stop_price,
            reason=reason,
            take_profit=take_profit,
            trail=trail,
            sizing=sizing,
        )


def last_bars(history: Sequence[Bar], count: int) -> list[Bar]:
    """The last `count` bars of a history, oldest first; fewer where there are not so many."""
    return list(islice(history, max(0, len(history) - count), None))


def make_parameters(strategy: type[Strategy], values: dict[str, Any]) -> StrategyParameters:
    """The typed parameters of `strategy` from `values` (text is converted).

    Raises ValueError that names the parameter and the rule.
    """
    try:
        parameters = msgspec.convert(values, strategy.Parameters, strict=False)
    except msgspec.ValidationError as error:
        rule, _, name = str(error).replace("`", "").partition(" - at $.")
        told = _in_words(rule, values[name]) if name in values else rule
        raise ValueError(f"{name}: {told}" if name else told) from None
    for name in parameters.__struct_fields__:
        value = getattr(parameters, name)
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{name}: {value} is no number")
    return parameters


_EXPECTED = re.compile(r"Expected (int|float|bool)(.*?)(, got .*)?")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _in_words(rule: str, value: object) -> str:
    """What msgspec says of a value that is not of the kind it should be, or is out of its
    bounds."""
    expected = _EXPECTED.fullmatch(rule)
    return f"{value} is not {_KINDS[expected[1]]}{expected[2]}" if expected else rule


class Slot:
    """One instance of a strategy, on one symbol."""

    __slots__ = ("history", "last_side", "run", "seen", "strategy", "symbol")

    def __init__(self, run: "Run", strategy: Strategy, symbol: str, history: Sequence[Bar]) -> None:
        self.run = run
        self.strategy = strategy
        self.symbol = symbol
        self.history = history
        self.seen = 0
        self.last_side: Side | None = None


class Run:
    """A strategy as the operator sees it: all its symbols, on or off.

    One that was not on in this session is `cold`: it was shown nothing. One that raised has
    `failed` until it is switched on again; one that could not be set up is `broken` for the
    session. `last_side` is that of its last signal.
    """

    def __init__(self, name: str, kind: type[Strategy], parameters: StrategyParameters) -> None:
        self.name = name
        self.kind = kind
        self.parameters = parameters
        self.enabled = False
        self.note = ""
        self.failed = False
        self.broken = False
        self.cold = True
        self.slots: dict[str, Slot] = {}
        self.required = 0
        self.last_side: Side | None = None


class StrategyRunner:
    """Hands market data to the strategies and publishes their signals.

    A strategy that keeps state sees every bar from when it is on, while it is off again too; what
    it answers then is dropped. One that is switched on later is shown its past then
    (HistoryLoaded), and signals nothing before it has seen as much of it as it requires. The same
    side twice in a row for a symbol is dropped too. A strategy that raises is switched off and the
    others go on. While a symbol is `halted` nothing is signalled in it, and after it not before the
    strategy has seen its history anew: no signal over the gap. `progress` is another number
    whenever a strategy has seen more, or less, than before.
    """

    def __init__(
        self, bus: Bus, market: Market, portfolio: Portfolio, calendars: Calendars
    ) -> None:
        self._bus = bus
        self._market = market
        self._portfolio = portfolio
        self._calendars = calendars
        self._live = False
        self._stopping = False
        self.runs: dict[str, Run] = {}
        self.progress = 0
        self._bar_slots: dict[str, tuple[Slot, ...]] = {}
        self._quote_slots: dict[str, tuple[Slot, ...]] = {}
        self._clock_slots: tuple[Slot, ...] = ()
        self.halted: dict[str, None] = {}
        self.files: dict[str, str] = {}

    def add(
        self,
        name: str,
        kind: type[Strategy],
        parameters: StrategyParameters,
        symbols: Iterable[str],
    ) -> None:
        """Add a strategy, switched off. One that cannot be set up has failed, and stays off."""
        run = self.runs[name] = Run(name, kind, parameters)
        markets = {symbol: self._market.symbols[symbol] for symbol in symbols}
        strategy: Strategy | None = None
        for symbol, market in markets.items():
            try:
                if strategy is None or not kind.decides_for_all:
                    strategy = kind(symbol, parameters)
                required = _required_of(strategy, market)
            except (Exception, SystemExit) as error:
                run.failed = run.broken = True
                run.note = clean(f"{type(error).__name__} on {symbol}: {error}")
                continue
            self._set_up(strategy, name, markets, symbol)
            slot = Slot(run, strategy, symbol, market.bars)
            run.slots[symbol] = slot
            run.required = max(run.required, required)
            if kind.on_bar is not Strategy.on_bar:
                self._bar_slots[symbol] = (*self._bar_slots.get(symbol, ()), slot)
            if kind.on_quote is not Strategy.on_quote:
                self._quote_slots[symbol] = (*self._quote_slots.get(symbol, ()), slot)
            if kind.on_clock is not Strategy.on_clock:
                self._clock_slots = (*self._clock_slots, slot)

    def _set_up(
        self, strategy: Strategy, name: str, markets: Mapping[str, SymbolMarket], symbol: str
    ) -> None:
        """Tell an instance of `name` who it is, and what it may read."""
        calendar = markets[symbol].instrument.calendar
        strategy.name = name
        strategy.markets = markets
        strategy.read_book = partial(self._portfolio.book, name)
        strategy.trading_day = self._calendars.trading_day(calendar)

    def load(self, name: str, kind: type[Strategy], fingerprint: str) -> None:
        """The file of a strategy is new or another one: `kind` is what it makes now.

        A new one is there for every symbol, switched off. One that takes the place of another keeps
        its book and its last signals, sees the bars that are kept to warm up, and is off until a
        person switches it on.
        """
        before, run = self.files.get(name), self.runs.get(name)
        self.files[name] = fingerprint
        if run is None:
            self.add(name, kind, make_parameters(kind, {}), self._market.symbols)
            self._warm_up(self.runs[name])
        elif run.kind is not kind:
            self._replace(run, kind)
        run = self.runs[name]
        changed = before is not None
        self._bus.publish(StrategyLoaded(name, fingerprint, changed))
        if changed:
            self._leave_off(run, CHANGED, "a change of its file")
        elif run.broken:
            self._bus.publish(StrategyFailed(name, run.note))

    def on_reload(self, event: ReloadStrategy) -> None:
        """As after a change of its file: what it kept in memory is gone, its book is not."""
        name = event.strategy
        if name not in self.runs:
            self._refuse(event)
            return
        self._replace(self.runs[name], self.runs[name].kind)
        run = self.runs[name]
        author = clean(event.author)
        self._bus.publish(StrategyLoaded(name, self.files.get(name, ""), False, author))
        self._leave_off(run, RELOADED, author)

    def _leave_off(self, run: Run, note: str, author: str) -> None:
        """A strategy that took the place of another is off until a person switches it on."""
        if run.broken:
            run.enabled = False
            self._bus.publish(StrategyFailed(run.name, run.note))
        run.note = run.note if run.failed else note
        if run.enabled:
            run.enabled = False
            self._bus.publish(StrategyToggled(run.name, False, author))

    def _refuse(self, event: ReloadStrategy | ToggleStrategy) -> None:
        self._bus.publish(CommandRefused.of(event, f"no strategy {clean(event.strategy)}"))

    def _replace(self, run: Run, kind: type[Strategy]) -> None:
        sides = {symbol: slot.last_side for symbol, slot in run.slots.items()}
        for by_symbol in (self._bar_slots, self._quote_slots):
            for symbol, slots in by_symbol.items():
                by_symbol[symbol] = tuple(s for s in slots if s.run is not run)
        self._clock_slots = tuple(s for s in self._clock_slots if s.run is not run)
        try:
            parameters = make_parameters(kind, msgspec.structs.asdict(run.parameters))
        except ValueError:  # it has other ones now
            parameters = make_parameters(kind, {})
        self.add(run.name, kind, parameters, self._market.symbols)
        new = self.runs[run.name]
        new.enabled, new.last_side = run.enabled, run.last_side
        self.progress += 1
        for symbol, slot in new.slots.items():
            slot.last_side = sides.get(symbol)
        self._warm_up(new)

    def _warm_up(self, run: Run) -> None:
        """Show a strategy that came in the middle of a session the bars that are kept."""
        run.cold = False
        for symbol, slot in run.slots.items():
            self._show_all(slot, self._market.symbols[symbol].bars)

    def _show_all(self, slot: Slot, bars: Iterable[Bar]) -> None:
        shown: deque[Bar] = deque(maxlen=self._market.symbols[slot.symbol].bars.maxlen)
        for bar in bars:
            shown.append(bar)
            self._show(slot, bar, shown)

    def is_on(self, name: str) -> bool:
        run = self.runs.get(name)
        return run is not None and run.enabled and not run.failed and not self._stopping

    # --- inputs ---------------------------------------------------------------------------------

    def on_bar(self, event: BarClosed) -> None:
        bar = event.bar
        if not event.live or event.holed:
            self._show_past(bar)
            return
        self.progress += 1
        for slot in self._bar_slots.get(bar.symbol, ()):
            slot.seen += 1
            run, strategy = slot.run, slot.strategy
            if run.failed or not (run.enabled or (strategy.keeps_state and not run.cold)):
                continue
            try:  # as in _ask, written out for speed: this is the hot path
                answer = strategy.on_bar(bar, slot.history)
                if answer is not None:
                    self._take(slot, answer)
            except (Exception, SystemExit) as error:
                self._fail(slot, error)

    def _show_past(self, bar: Bar) -> None:
        for slot in self._bar_slots.get(bar.symbol, ()):
            self._show(slot, bar, slot.history)

    def _show(self, slot: Slot, bar: Bar, history: Sequence[Bar]) -> None:
        """Show a bar of the past: whatever the answer, it makes no order."""
        slot.seen += 1
        self.progress += 1
        if slot.run.failed or slot.run.cold or not slot.strategy.keeps_state:
            return
        slot.strategy.live = False
        try:
            slot.strategy.on_bar(bar, history)
        except (Exception, SystemExit) as error:
            self._fail(slot, error)
        slot.strategy.live = self._live

    def on_history(self, event: HistoryLoaded) -> None:
        if event.strategy:
            run = self.runs.get(event.strategy)
            if run is not None and (slot := run.slots.get(event.symbol)) is not None:
                self._show_its_past(slot, event.bars)
            return
        for bar in event.bars:
            if self._market.keep_past(bar):
                self._show_past(bar)

    def _show_its_past(self, slot: Slot, older: Sequence[Bar]) -> None:
        """To a new instance, from the oldest bar on: what came since it was switched on is among
        those that are kept."""
        kept = self._market.symbols[slot.symbol].bars
        if not slot.strategy.decides_for_all:
            try:
                strategy = slot.run.kind(slot.symbol, slot.run.parameters)
            except (Exception, SystemExit) as error:
                self._fail(slot, error)
                return
            self._set_up(strategy, slot.run.name, slot.strategy.markets, slot.symbol)
            strategy.live = self._live
            slot.strategy = strategy
        slot.seen = 0
        self.progress += 1
        before = kept[0].ts if kept else self._bus.now
        self._show_all(slot, (*(bar for bar in older if bar.ts < before and bar.is_sound), *kept))

    def on_quote(self, event: QuoteUpdate) -> None:
        quote = event.quote
        for slot in self._quote_slots.get(quote.symbol, ()):
            self._ask(slot, slot.strategy.on_quote, quote)

    def on_tick(self, event: ClockTick) -> None:
        for slot in self._clock_slots:
            self._ask(slot, slot.strategy.on_clock, event.ts)

    def on_position(self, event: PositionChanged) -> None:
        run = self.runs.get(event.fill.strategy)
        if run and (slot := run.slots.get(event.fill.symbol)):
            self._ask(slot, slot.strategy.on_fill, event.fill)

    def on_restored(self, event: Restored) -> None:
        for state in event.strategies:
            run = self.runs.get(state.strategy)
            if run is None:
                continue
            run.enabled = state.enabled
            run.cold = not run.enabled
            run.note = run.note if run.broken else state.paused
            for symbol, side in state.last_signals.items():
                if symbol in run.slots:
                    run.slots[symbol].last_side = run.last_side = side
        self.halted = {pause.symbol: None for pause in event.pauses if pause.halted}
        self.files = dict(event.strategy_files)

    def on_symbol_paused(self, event: SymbolPaused) -> None:
        if event.halted:
            self.halted[event.symbol] = None

    def on_symbol_resumed(self, event: SymbolResumed) -> None:
        if not event.halted:
            return
        self.halted.pop(event.symbol, None)
        self.progress += 1
        for run in self.runs.values():
            if (slot := run.slots.get(event.symbol)) is not None:
                slot.seen = 0

    def on_started(self, _: EngineStarted) -> None:
        self._live = True
        for run in self.runs.values():
            for slot in run.slots.values():
                slot.strategy.live = True

    def on_stopping(self, _: EngineStopping) -> None:
        """All strategies are off; what the operator switched stays as it was."""
        self._live, self._stopping = False, True

    def on_toggle(self, event: ToggleStrategy) -> None:
        run = self.runs.get(event.strategy)
        if run is None:
            self._refuse(event)
            return
        if event.enabled and run.broken:
            self._bus.publish(CommandRefused.of(event, run.note))
            return
        run.enabled = event.enabled
        if event.enabled:
            run.failed = False
            run.note = ""
            if run.cold:
                run.cold = False
                self.progress += 1
                for slot in run.slots.values():
                    slot.seen = 0
        self._bus.publish(StrategyToggled(run.name, run.enabled, clean(event.author)))

    # --- outcomes -------------------------------------------------------------------------------

    def veto(self, order: Order) -> str:
        """Why the strategy of an entry that is about to be made does not want it after all; empty
        text where it does."""
        slot = self.runs[order.strategy].slots[order.symbol]
        try:
            answer = slot.strategy.confirm_trade_entry(order)
            return clean(answer) if isinstance(answer, str) else "" if answer else NOT_CONFIRMED
        except (Exception, SystemExit) as error:
            self._fail(slot, error)
            return slot.run.note

    def _ask(self, slot: Slot, question: Callable[..., Any], *arguments: Any) -> None:
        """Call into a strategy: whatever it does, the others go on."""
        if slot.run.failed or slot.run.cold:
            return
        try:
            answer = question(*arguments)
            if answer is not None:
                self._take(slot, answer)
        except (Exception, SystemExit) as error:
            self._fail(slot, error)

    def _take(self, slot: Slot, answer: Any) -> None:
        """Emit what a strategy answered, all of it sound or none."""
        if not slot.strategy.decides_for_all:
            self._emit(slot, _checked(slot, answer))
            return
        for signal in [_checked(slot, one) for one in answer]:
            self._emit(slot.run.slots[signal.symbol], signal)

    def _emit(self, slot: Slot, signal: Signal) -> None:
        if not self._live or not slot.run.enabled or slot.seen < slot.run.required:
            return
        if signal.side is slot.last_side or signal.symbol in self.halted:
            return
        slot.last_side = slot.run.last_side = signal.side
        shown = self._bus.handling
        bar = shown.bar if isinstance(shown, BarClosed) else None
        quote = shown.quote if isinstance(shown, QuoteUpdate) else None
        self._bus.publish(SignalGenerated(signal, bar, quote))

    def _fail(self, slot: Slot, error: BaseException) -> None:
        run = slot.run
        run.failed = True
        run.enabled = False
        run.note = clean(f"{type(error).__name__} on {slot.symbol}: {error}")
        self._bus.publish(StrategyFailed(run.name, run.note))


def _required_of(strategy: Strategy, market: SymbolMarket) -> int:
    """The bars that a strategy needs. Raises ValueError where so many are not kept for one that
    decides by them."""
    required, kept = int(strategy.required_history()), market.bars.maxlen or 0
    if required > kept and not strategy.keeps_state:
        raise ValueError(f"required_history is {required}: at most {kept} bars are kept")
    return required


def _checked(slot: Slot, answer: Any) -> Signal:
    """A strategy's answer in plain values: numbers of numpy, say, could not be recorded.

    Raises ValueError or TypeError where it makes no sense.
    """
    if not isinstance(answer, Signal):
        raise ValueError(f"returned {type(answer).__name__}, not a Signal")
    ours = slot.run.slots if slot.strategy.decides_for_all else (slot.symbol,)
    if answer.symbol not in ours or answer.strategy != slot.run.name:
        raise ValueError("returned a signal for another strategy or symbol")
    price, strength = float(answer.price), float(answer.strength)
    if not (isfinite(price) and price > 0 and 0 <= strength <= 1):
        raise ValueError("returned a signal without a price, or with a strength outside 0 to 1")
    return Signal(
        answer.strategy,
        answer.symbol,
        Side(answer.side),
        int(answer.ts),
        price,
        strength,
        {clean(name): float(value) for name, value in answer.indicators.items()},
        _positive(answer.stop_price, "stop price"),
        clean(answer.reason),
        _positive(answer.take_profit, "target price"),
        _positive(answer.trail, "trailing distance"),
        _sizing(answer.sizing),
    )


def _sizing(text: Any) -> str:
    """`text` as it is, empty or a sizing. Raises ValueError where it is none."""
    if text != "":
        try:
            Sizing.parse(text)
        except ValueError as error:
            raise ValueError(f"returned the sizing {text}: {error}") from None
    return clean(text)


def _positive(value: Any, name: str) -> float | None:
    """`value` as a float. Raises ValueError where it is there and not a positive number."""
    if value is None:
        return None
    number = float(value)
    if not (isfinite(number) and number > 0):
        raise ValueError(f"returned a {name} that is none")
    return number
