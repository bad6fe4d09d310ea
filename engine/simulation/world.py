"""A session from one seed: markets, venues, a process that dies, an operator, and every fault.

First everything goes wrong that the seed has drawn; then the faults end, and within a minute all
must be at rest.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from random import Random

from engine.core.events import (
    BarClosed,
    BrokerChanged,
    Event,
    HaltChanged,
    QuoteUpdate,
    RatePublished,
)
from engine.core.model import MINUTE, NANOS, KillAction, Quote
from engine.core.sessions import Calendars
from engine.simulation.database import Database
from engine.simulation.fx import Fx
from engine.simulation.host import Crash, Host
from engine.simulation.operator import Operator
from engine.simulation.options import HEALING, Fault, Net, Options
from engine.simulation.path import BAR, Path
from engine.simulation.rest import check_rest
from engine.simulation.schedule import Schedule
from engine.simulation.venue import Venue
from engine.simulation.wire import Wire
from engine.simulation.writer import Writer

REST = 60 * NANOS
LAST_SIGNALS = 15 * NANOS
"""This long before the end strategies are off and prices still, so that nothing is under way."""
SAVE = 5 * NANOS
RATES = 25 * NANOS
FX = 7 * NANOS
ADJUST = 6 * NANOS
FLATTENED_CLOSED = 0.3
"""Of the sessions in which a market closes, in so many all is to be flattened while it is."""
PLENTY = 1e6


def opening(options: Options) -> dict[str, Decimal]:
    """What the accounts of a seed begin with."""
    venues = (instrument.venue for instrument in options.config.instruments)
    return dict.fromkeys(venues, options.config.starting_cash)


class World:
    """`seen` counts which fault met which state; `events` are the inputs of all lives, and
    `now_and_then` what happens at random times."""

    def __init__(self, options: Options, database: Database | None = None) -> None:
        self.options = options
        self.random = Random(options.seed)
        self.schedule = Schedule(options.start)
        self.seen: Counter[str] = Counter()
        self.calm = False
        self.database = database or Database(opening(options))
        self.lives: list[Host] = []
        self.host: Host | None = None
        self.operator = Operator(self)
        self.calendars = Calendars(options.config.calendars)
        instruments = options.config.instruments
        cash = options.config.starting_cash
        self.venues = {
            venue.name: Venue(
                venue, [i for i in instruments if i.venue == venue.name], cash, self.calendars, self
            )
            for venue in options.venues
        }
        self.paths = [
            Path(i, self.random, self.chance, options.start, options.history) for i in instruments
        ]
        self._wire = Wire(self.schedule, self.random, self.venues, instruments)
        self._locked_until = 0
        self._silent_until = 0
        self._steps_to_live = -1
        self._fx = Fx(options)
        self._of_cash = Random(f"cash moved {options.seed}")
        self.now_and_then: dict[Fault, Callable[[], None]] = {
            Fault.VENUE_DOWN: self._venue_down,
            Fault.FEED_SILENT: self._feed_silent,
            Fault.HALT: self._halt,
            Fault.DATABASE_DOWN: self._lock_database,
            Fault.CRASH: self.crash_soon,
            Fault.HAND_MADE: self._hand_made,
            Fault.KILL: self.operator.drill,
            Fault.COMMAND: self.operator.act,
            Fault.CASH_MOVED: self._move_cash,
        }

    @property
    def events(self) -> int:
        return sum(len(life.journal) for life in self.lives)

    def digest(self) -> str:
        """SHA-256 of all journals and of the states that they lead to."""
        return sha256("".join(life.digest() for life in self.lives).encode()).hexdigest()

    # --- running --------------------------------------------------------------------------------

    def run(self) -> None:
        """Live through it. Raises Violation where a law breaks."""
        self.begin()
        self.go_on(self.options.length)
        self.come_to_rest()

    def begin(self) -> None:
        """Start the process and the market, and put the faults of the seed on their way."""
        for path in self.paths:
            self._quote(path)
            self._every(BAR, lambda path=path: self._bar(path))
        self._every(self.options.tick, lambda: self.host and self.host.tick())
        if self.options.config.compliance.conductor:
            self._every(RATES, self._publish_rate)
        if self._fx.rates:
            self._every(FX, self._move_rate)
        self._every(SAVE, lambda: self.host and not self._locked() and self.host.save())
        for fault, happen in self.now_and_then.items():
            self._now_and_then(fault, happen)
        if self.options.faults[Fault.CASH_MOVED]:
            self._every(ADJUST, lambda: self.operator.adjust_cash(self._of_cash))
        for table in self.options.config.calendars:
            if self.random.random() < FLATTENED_CLOSED:
                at = self.random.randrange(table.closes[0], table.opens[1]) - self.schedule.now
                self.schedule.after(at, lambda: self.operator.kill(KillAction.FLATTEN))
        self.schedule.after(0, self._start)

    def go_on(self, length: int) -> None:
        """Let `length` (ns) pass, whatever crashes."""
        until = self.schedule.now + length
        while True:
            try:
                return self.schedule.run(until)
            except Crash:
                self._bury()

    def come_to_rest(self) -> None:
        """End the faults, wait a minute, and check that nothing is left lying."""
        self._end_faults()
        self.go_on(REST - LAST_SIGNALS)
        self.operator.switch_all_off()
        for path in self.paths:
            path.still = True
        self.go_on(LAST_SIGNALS)
        if Net.STREAM in self.options.nets_off:
            self.go_on(2 * self.options.config.reconcile_every)
        if HEALING.isdisjoint(self.options.nets_off):
            check_rest(self)
        for life in self.lives:
            life.check_replay()

    def _end_faults(self) -> None:
        """Everything works from here on, and somebody looks after it."""
        self.calm = True
        self._locked_until = self._silent_until = 0
        self._steps_to_live = -1
        for path in self.paths:
            self._resume(path)
        for venue in self.venues.values():
            self._back(venue)
        self.schedule.after(0, self._start)
        self._every(5 * NANOS, self.operator.confirm_live)
        if self.random.random() < 0.5:
            self.operator.rearm_soon()

    # --- the process ----------------------------------------------------------------------------

    def _start(self) -> None:
        if self.host is not None:
            return
        if self._locked():
            self.schedule.after(NANOS, self._start)
            return
        self.host = Host(self.options, self.database, self._wire, self._writer, self._before_step)
        self.lives.append(self.host)
        bars = sorted((bar for path in self.paths for bar in path.bars), key=lambda bar: bar.ts)
        self.host.start(bars, self._fx.rates.values())
        for path in self.paths:
            self._tell_halt(path)  # a halt may have ended while no process ran
        for venue in self.venues.values():
            venue.resume()

    def _writer(self, publish: Callable[[Event], None]) -> Writer:
        around = self.schedule, self.random, self.chance
        return Writer(self.database, *around, self._locked, publish)

    def _bury(self) -> None:
        if self.host is None:
            return
        self.host.die()
        self.host = None
        self.schedule.after(self.random.randint(NANOS // 10, 20 * NANOS), self._start)

    def _before_step(self) -> None:
        self._steps_to_live -= 1
        if self._steps_to_live == 0:
            self.note(Fault.CRASH)
            raise Crash

    # --- the market -----------------------------------------------------------------------------

    def _quote(self, path: Path) -> None:
        venue = self.venues[path.instrument.venue]
        size = (
            PLENTY
            if self.calm
            else self.random.choice((venue.options.size, venue.options.size, PLENTY))
        )
        quote = path.quote(self.schedule.now, size)
        gap = 3 * NANOS if self.calm else self.random.randint(NANOS // 5, 4 * NANOS)
        self.schedule.after(gap, lambda: self._quote(path))  # first: the process may crash at it
        if not path.halted and self._is_open(path):
            venue.on_quote(quote)
            self._feed(path, quote)

    def _feed(self, path: Path, quote: Quote) -> None:
        if self.host is not None and self.schedule.now >= self._silent_until:
            self.host.publish(QuoteUpdate(path.told(quote)))

    def _bar(self, path: Path) -> None:
        for bar in path.bar(self.schedule.now):
            silent = self.schedule.now < self._silent_until or not self._is_open(path)
            if self.host is not None and not silent:
                self.host.publish(BarClosed(bar))

    def _publish_rate(self) -> None:
        """What a US dollar is worth in Canada, or damage."""
        if self.host is not None:
            rate = Decimal(self.random.choice(("1.35", "1.36", "NaN")))
            event = RatePublished("USD", rate, "simulated", self.schedule.now)
            self._fx.keep(event)
            self.host.publish(event)

    def _move_rate(self) -> None:
        """What another currency is worth changes, or the rate is damaged."""
        event = self._fx.moved(self.schedule.now, calm=self.calm)
        if self.host is not None:
            self.host.publish(event)

    def _is_open(self, path: Path) -> bool:
        return self.calendars.is_open(path.instrument.calendar, self.schedule.now)

    def hear(self, event: Event) -> bool:
        """The stream of a venue: False where no process listens."""
        if Net.STREAM in self.options.nets_off:
            return True
        if self.host is None:
            return False
        self.host.publish(event)
        return True

    def is_at_venue(self, client_order_id: str) -> bool:
        """Whether a venue ever had the order."""
        return any(client_order_id in venue.orders for venue in self.venues.values())

    # --- faults ---------------------------------------------------------------------------------

    def chance(self, fault: Fault) -> bool:
        """Whether a fault that could happen now does."""
        rate = self.options.faults[fault]
        if self.calm or not rate or self.random.random() >= rate:
            return False
        self.note(fault)
        return True

    def note(self, fault: Fault) -> None:
        """Count which states a fault met."""
        if self.host is None:
            self.seen[f"{fault} while dead"] += 1
            return
        states = {order.state: None for order in self.host.open_orders}
        for state in states:
            self.seen[f"{fault} while {state}"] += 1
        if self.host.killed:
            self.seen[f"{fault} while killed"] += 1
        self.seen[fault] += 1

    def _every(self, interval: int, action: Callable[[], object]) -> None:
        def again() -> None:
            self.schedule.after(interval, again)
            action()

        self.schedule.after(interval, again)

    def _now_and_then(self, fault: Fault, happen: Callable[[], None]) -> None:
        """`happen` at random times, as often as the seed says."""
        rate = self.options.faults[fault]
        if not rate:
            return

        def again() -> None:
            if self.calm:
                return
            self._now_and_then(fault, happen)
            self.note(fault)
            happen()

        self.schedule.after(int(self.random.expovariate(rate) * MINUTE), again)

    def _locked(self) -> bool:
        return self.schedule.now < self._locked_until

    def _lock_database(self) -> None:
        self._locked_until = self.schedule.now + self.random.randint(NANOS // 10, 10 * NANOS)

    def _feed_silent(self) -> None:
        self._silent_until = self.schedule.now + self.random.randint(NANOS, 40 * NANOS)

    def _halt(self) -> None:
        path = self.random.choice(self.paths)
        path.halted = True
        delay = self.random.randint(NANOS, 20 * NANOS)
        self.schedule.after(delay, lambda: self._resume(path))
        self._tell_halt(path)

    def _resume(self, path: Path) -> None:
        if path.halted:
            path.halted = False
            self._tell_halt(path)

    def _tell_halt(self, path: Path) -> None:
        if self.host is not None:
            self.host.publish(HaltChanged(path.instrument.symbol, path.halted, "simulated"))

    def crash_soon(self) -> None:
        """Between any two steps that come."""
        self._steps_to_live = self.random.randint(1, 60)

    def _hand_made(self) -> None:
        self.random.choice([v for v in self.venues.values() if v.instruments]).make_by_hand()

    def _move_cash(self) -> None:
        venue = self._of_cash.choice(list(self.venues.values()))
        venue.move_cash(Decimal(self._of_cash.choice(("250", "-250", "1000.5", "-3.07"))))

    def _venue_down(self) -> None:
        venue = self.random.choice(list(self.venues.values()))
        venue.up = False
        self._tell_line(venue)
        self.schedule.after(self.random.randint(NANOS, 15 * NANOS), lambda: self._back(venue))

    def _back(self, venue: Venue) -> None:
        if not venue.up:
            venue.up = True
            self._tell_line(venue)
            venue.resume()

    def _tell_line(self, venue: Venue) -> None:
        if self.host is not None:
            options = venue.options
            self.host.publish(BrokerChanged(options.name, venue.up, "simulated", options.live))
