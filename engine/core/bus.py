"""Ordered dispatch: one event at a time, first in first out, each with its cause."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import force_setattr

from engine.core.events import Event

E = TypeVar("E", bound=Event)
Handler = Callable[[Any], bool | None]

TRACE_LENGTH = 20_000


class BrokenLaw(Exception):
    """An invariant does not hold. The machine trips the kill switch."""

    def __init__(self, law: str, reason: str) -> None:
        super().__init__(f"{law}: {reason}")
        self.law = law
        self.reason = reason


class Bus:
    """Delivers inputs and the facts that follow from them.

    `deliver` stamps an input with the next sequence number, hands it to the subscribers of its
    type in the order of subscription, then does the same with every fact that they published. A
    fact gets the sequence number of the event that was being handled as its cause.

    The last facts, and the inputs that they came from, stay in a bounded trace: `why` walks it.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.now = 0
        self._handlers: dict[type[Event], tuple[Handler, ...]] = {}
        self._queue: deque[Event] = deque()
        self._recorder: Callable[[Event], None] | None = None
        self._handling: Event | None = None
        self._trace: list[Event | None] = [None] * TRACE_LENGTH

    def subscribe(self, event_type: type[E], handler: Callable[[E], bool | None]) -> None:
        """`handler` sees every event of the type, after the handlers subscribed before it. One that
        returns False stops the event there: so the edge refuses what is not sound."""
        self._handlers[event_type] = (*self._handlers.get(event_type, ()), handler)

    def unsubscribe(self, event_type: type[E], handler: Callable[[E], bool | None]) -> None:
        """`handler` sees no event of the type any more, from the next one on."""
        kept = tuple(h for h in self._handlers.get(event_type, ()) if h != handler)
        self._handlers[event_type] = kept

    def record_with(self, recorder: Callable[[Event], None]) -> None:
        """`recorder` sees every fact before its subscribers do."""
        self._recorder = recorder

    @property
    def handling(self) -> Event | None:
        """The event that is being handled."""
        return self._handling

    @property
    def cause(self) -> int:
        """The sequence number of the event that is being handled, 0 where none is."""
        return self._handling.seq if self._handling is not None else 0

    def publish(self, fact: Event) -> None:
        """Queue a fact; it is delivered after the event that is being handled now."""
        cause = self.cause
        self.seq = seq = self.seq + 1
        force_setattr(fact, "seq", seq)
        force_setattr(fact, "ts", self.now)
        force_setattr(fact, "cause", cause)
        self._queue.append(fact)

    def deliver(self, event: Event) -> None:
        """Handle an input, then all facts that follow from it. Time never runs backwards: an input
        older than the last one is handled at the last one's time."""
        if event.ts > self.now:
            self.now = event.ts
        else:
            force_setattr(event, "ts", self.now)
        self.seq = seq = self.seq + 1
        force_setattr(event, "seq", seq)
        self._handling = event
        for handler in self._handlers.get(type(event), ()):
            if handler(event) is False:
                break
        if self._queue:
            self._remember(event)
            self.drain()
        self._handling = None

    def drain(self) -> None:
        """Deliver the facts that are queued, and those that follow from them."""
        while self._queue:
            fact = self._queue.popleft()
            self._handling = fact
            self._remember(fact)
            if self._recorder is not None:
                self._recorder(fact)
            for handler in self._handlers.get(type(fact), ()):
                handler(fact)

    def _remember(self, event: Event) -> None:
        self._trace[event.seq % TRACE_LENGTH] = event

    def why(self, seq: int) -> list[Event]:
        """The chain of causes that ends in event `seq`, first cause first, as far back as the
        trace reaches."""
        chain: list[Event] = []
        while (event := self._trace[seq % TRACE_LENGTH]) is not None and event.seq == seq:
            chain.append(event)
            seq = event.cause
        return chain[::-1]
