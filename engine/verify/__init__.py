"""Whether a venue can be traded at as the settings say: checked step by step, alike for all.

Each step has its deadline, and says what is wrong and what to do. One that needs another that
failed is skipped. An order is placed on paper accounts alone, and cancelled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from engine.brokers.base import BaseBroker
from engine.brokers.paper import PaperBroker
from engine.core.clock_offset import STOPS, TELLS
from engine.core.events import BrokerChanged, Event, ExecutionReport
from engine.core.model import MINUTE, NANOS, Capabilities, Instrument, Quote, utc
from engine.feeds.live import Source
from engine.ops.errors import InDoubt, NotConnected, NotPermitted, NotSent, UserError
from engine.venues import Venue
from engine.verify.order import TRIAL_S, Trial
from engine.verify.said import CONNECTION, Outcome, Said, told, within

ALL_S = 55.0
"""All steps of a venue end within so many seconds."""
LISTEN_S = 3.0
"""How long a stream of market data is listened to."""
UPDATES_S = 5.0
"""How long the account's stream may take to say what became of an order."""
CLOSE_S = 6.0
"""Questrade's answer to a refresh of its token must not be lost."""
STAYS_HERE = Said(Outcome.SKIPPED, "orders stay here")
ALSO = ("replace", "extended_hours", "fractional", "short")
NEEDS = "needs "
GOOD = (Outcome.OK, Outcome.WARNING)


class Step(Struct, frozen=True):
    """`ms` is how long it took."""

    name: str
    outcome: Outcome
    reason: str
    remedy: str
    ms: int


class Verified(Struct, frozen=True):
    """`live` is None where it is not known whether the account is a real one."""

    name: str
    live: bool | None
    steps: tuple[Step, ...]

    @property
    def is_ok(self) -> bool:
        return all(step.outcome is not Outcome.FAILED for step in self.steps)


class Verification:
    """The steps for one venue, which `make` makes; of its symbols `names` are looked at.

    The account's stream is listened to from the beginning: `_heard` is what it said,
    `_stream_error` why it cannot be heard. `alarm` is as of `Trial`.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Venue],
        names: Sequence[str],
        alarm: Callable[[str], None],
    ) -> None:
        self._name = name
        self._make = make
        self._names = names
        self._alarm = alarm
        self._instruments: list[Instrument] = []
        self._broker: BaseBroker | None = None
        self._sources: Sequence[Source] = ()
        self._opened: list[Source] = []
        self._objection = ""
        self._day_trades: int | None = None
        self._quotes: dict[str, Quote] = {}
        self._order_id = ""
        self._heard: list[Event] = []
        self._woken = asyncio.Event()
        self._stream_error = ""
        self._listening: asyncio.Task[None] | None = None

    async def run(self) -> Verified:
        steps: list[Step] = []
        ends = time.monotonic() + ALL_S
        try:
            for name, needs, seconds, check in self._checks():
                failed = [s for s in steps if s.name in needs and s.outcome not in GOOD]
                began = time.monotonic()
                if failed:
                    first = failed[0]
                    is_cause = not first.reason.startswith(NEEDS)
                    reason = NEEDS + first.name if is_cause else first.reason
                    said = Said(Outcome.SKIPPED, reason)
                elif began + seconds > ends and name == "paper order":
                    said = Said(Outcome.SKIPPED, "no time is left for it", CONNECTION)
                else:
                    said = await within(max(0.0, min(seconds, ends - began)), check)
                ms = round(1000 * (time.monotonic() - began))
                steps.append(Step(name, said.outcome, said.reason, said.remedy, ms))
            known = self._broker if steps[0].outcome in GOOD else None
            live = None if known is None else known.live
            return Verified(self._name, live, tuple(steps))
        finally:
            await self._close()

    def _checks(
        self,
    ) -> Sequence[tuple[str, Sequence[str], float, Callable[[], Awaitable[Said]]]]:
        """Name of each step, the steps that it needs, its deadline (s)."""
        return (
            ("credentials", (), 20, self._credentials),
            ("clock", ("credentials",), 5, self._clock),
            ("account", ("credentials",), 8, self._account),
            ("permissions", ("account",), 5, self._permissions),
            ("market data", ("credentials",), 8, self._market_data),
            ("stream", ("credentials",), 12, self._stream),
            ("order types", ("credentials",), 1, self._order_types),
            ("paper order", ("permissions", "market data"), TRIAL_S, self._order),
            ("order updates", ("paper order",), UPDATES_S + 1, self._updates),
        )

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        closing = [source.close() for source in self._opened]
        if self._broker is not None:
            closing.append(self._broker.disconnect())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*closing, return_exceptions=True)

    # --- the account ----------------------------------------------------------------------------

    async def _credentials(self) -> Said:
        venue = self._make()
        self._opened += venue.sources(())  # what they share stays open until the end
        unknown: Exception | None = None
        try:
            async with asyncio.timeout(8):
                found = await venue.instruments(self._names)
            self._instruments = [
                replace(i, symbol=f"{self._name}:{i.symbol}", venue=self._name) for i in found
            ]
        except (UserError, NotSent, InDoubt, TimeoutError) as error:
            unknown = error
        if venue.has_account:
            self._broker = venue.broker(self._instruments, time.time_ns)
            await self._connect(self._broker)
        if unknown is not None:
            raise unknown
        self._sources = venue.sources(self._instruments)
        self._opened += self._sources
        if self._broker is None:
            return Said(Outcome.OK, "its market data alone: orders stay here")
        kind = "a real account" if self._broker.live else "a paper account"
        return Said(Outcome.OK, f"taken; {kind}")

    async def _connect(self, broker: BaseBroker) -> None:
        """Where only the account's stream or its permission is missing, that is for other steps."""
        try:
            async with asyncio.timeout(8):
                await broker.connect()
            self._listening = asyncio.create_task(self._listen(broker))
        except NotPermitted as error:
            self._objection = str(error)
        except (TimeoutError, NotConnected) as error:
            self._stream_error = told(error)
            try:
                async with asyncio.timeout(3):
                    await broker.get_account_balance()
            except Exception:
                raise error from None

    async def _listen(self, broker: BaseBroker) -> None:
        try:
            async for event in broker.stream_fills():
                self._heard.append(event)
                if isinstance(event, BrokerChanged):
                    self._stream_error = "" if event.connected else event.reason
                self._woken.set()
            self._stream_error = "its stream has ended"
        except Exception as error:
            self._stream_error = told(error)
        self._woken.set()

    async def _clock(self) -> Said:
        before = time.time_ns()
        venue_ts = await self._broker.get_time() if self._broker else None
        after = time.time_ns()
        if venue_ts is None:
            return Said(Outcome.SKIPPED, "it does not tell its time")
        offset = (before + after) // 2 - venue_ts
        reason = f"ours is {round(offset / NANOS, 1) + 0:+.1f} s from the venue's"
        if abs(offset) <= TELLS:
            return Said(Outcome.OK, reason)
        outcome = Outcome.FAILED if abs(offset) > STOPS else Outcome.WARNING
        return Said(outcome, reason, "have it set by NTP: timedatectl set-ntp true")

    async def _account(self) -> Said:
        if (broker := self._broker) is None:
            return STAYS_HERE
        balance = await broker.get_account_balance()
        positions = [s for s, quantity in (await broker.get_positions()).items() if quantity]
        orders = await broker.get_open_orders()
        counted = f"{len(positions)} positions, {len(orders)} open orders"
        self._day_trades = balance.day_trades
        if balance.cash is None:
            remedy = "trade symbols of one currency there"
            return Said(Outcome.WARNING, f"its cash is not told; {counted}", remedy)
        return Said(Outcome.OK, f"cash {balance.cash:,.2f}, {counted}")

    async def _permissions(self) -> Said:
        status = await self._broker.get_account_status() if self._broker else None
        if objection := self._objection or (status.objection if status else ""):
            return Said(Outcome.FAILED, objection, "mend that at the venue; data work without")
        parts = ["orders are allowed" if status else "it does not tell them: an order will"]
        if status is not None and status.pattern_day_trader is not None:
            parts.append(f"pattern day trader: {'yes' if status.pattern_day_trader else 'no'}")
        if self._day_trades is not None:
            parts.append(f"day trades: {self._day_trades}")
        return Said(Outcome.OK, "; ".join(parts))

    async def _order_types(self) -> Said:
        if self._broker is None:
            return STAYS_HERE
        able = self._broker.capabilities
        classes = sorted({i.asset_class for i in self._instruments})
        told = {kind: _told_able(able.of(kind)) for kind in classes} or {"": _told_able(able)}
        if len(set(told.values())) == 1:
            return Said(Outcome.OK, *set(told.values()))
        return Said(Outcome.OK, "; ".join(f"{kind}: {text}" for kind, text in told.items()))

    # --- market data ----------------------------------------------------------------------------

    async def _market_data(self) -> Said:
        now = time.time_ns()
        for source in self._sources:
            self._quotes |= {q.symbol: q for q in await source.quotes() if q.is_sound}
            await source.history(source.instruments[0].symbol, 1, now)
        if not self._sources and self._broker is not None:
            for symbol in (i.symbol for i in self._instruments):
                if quote := await self._broker.get_quote(symbol):
                    self._quotes[symbol] = quote
        if not self._instruments:
            return Said(Outcome.SKIPPED, "no symbol to look at", "name one in SYMBOLS")
        missing = [i.symbol for i in self._instruments if i.symbol not in self._quotes]
        if missing:
            remedy = "try while the market is open"
            return Said(Outcome.WARNING, f"no quote to trade on: {', '.join(missing)}", remedy)
        quote = self._quotes[self._instruments[0].symbol]
        bid, ask = (Decimal(repr(side)).normalize() for side in (quote.bid, quote.ask))
        age = max(0, now - quote.ts)
        when = f"{utc(quote.ts):%Y-%m-%d %H:%M} UTC" if age > MINUTE else f"{age / NANOS:.0f} s old"
        return Said(Outcome.OK, f"{quote.symbol} {bid:f} / {ask:f}, {when}")

    async def _stream(self) -> Said:
        if not self._sources:
            return Said(Outcome.SKIPPED, "its market data are the engine's")
        said = await asyncio.gather(*(self._listened(source) for source in self._sources))
        return next((one for one in said if one.outcome is Outcome.FAILED), said[0])

    async def _listened(self, source: Source) -> Said:
        """A stream that says nothing is mute where the venue has newer quotes."""
        async with aclosing(source.stream()) as batches:
            await anext(batches)
            began, began_ts = time.monotonic(), time.time_ns()
            try:
                async with asyncio.timeout(LISTEN_S):
                    while not await anext(batches):
                        pass
                return Said(Outcome.OK, f"first data after {time.monotonic() - began:.1f} s")
            except TimeoutError:
                pass
        newer = [quote for quote in await source.quotes() if quote.ts > began_ts]
        if newer:
            reason = f"mute: the venue has newer quotes than it sent in {LISTEN_S:.0f} s"
            return Said(Outcome.FAILED, reason, "check what lies between: a proxy, a firewall")
        return Said(Outcome.OK, f"open; nothing new in {LISTEN_S:.0f} s")

    # --- the order ------------------------------------------------------------------------------

    async def _order(self) -> Said:
        broker = self._broker
        if broker is None:
            return STAYS_HERE
        if broker.live:
            return Said(Outcome.SKIPPED, "not on a real account")
        instrument = next((i for i in self._instruments if i.symbol in self._quotes), None)
        if instrument is None:
            return Said(Outcome.SKIPPED, "there is no bid to stay far away from")
        trial = Trial(broker, instrument, self._quotes[instrument.symbol].bid, self._alarm)
        said = await trial.run()
        self._order_id = trial.order_id if said.outcome is Outcome.OK else ""
        return said

    async def _updates(self) -> Said:
        """Whether the account's stream said what became of the order."""
        if isinstance(self._broker, PaperBroker):
            return Said(Outcome.SKIPPED, "it answers at once")
        if not self._order_id:
            return Said(Outcome.SKIPPED, "no order was placed")
        with suppress(TimeoutError):
            async with asyncio.timeout(UPDATES_S):
                while not self._is_heard() and not self._stream_error:
                    self._woken.clear()
                    await self._woken.wait()
        if self._is_heard():
            return Said(Outcome.OK, "the account's stream told of the order")
        reason = self._stream_error or f"nothing was said of the order in {UPDATES_S:.0f} s"
        return Said(Outcome.FAILED, reason, "check what lies between: a proxy, a firewall")

    def _is_heard(self) -> bool:
        return any(
            isinstance(event, ExecutionReport) and event.client_order_id == self._order_id
            for event in self._heard
        )


def _told_able(able: Capabilities) -> str:
    parts = (able.order_types, able.times_in_force, [word for word in ALSO if getattr(able, word)])
    return "; ".join(", ".join(part).replace("_", " ") for part in parts if part)
