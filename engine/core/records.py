"""The record of each strategy's round trips, which its size may rest on."""

from engine.core.events import PositionClosed, Restored, TradeRecord
from engine.core.sizing import return_of

TRIPS_KEPT = 100


def records_after(
    records: tuple[TradeRecord, ...], fact: PositionClosed
) -> tuple[TradeRecord, ...]:
    """The records after a round trip: the returns of a strategy's last ones, oldest first.

    A round trip stays as it was when it closed, whatever a venue takes back later.
    """
    name, new = fact.round_trip.strategy, return_of(fact.round_trip)
    before = _returns(records, name)
    others = tuple(record for record in records if record.strategy != name)
    return (*others, TradeRecord(name, (*before, new)[-TRIPS_KEPT:]))


class TradeRecords:
    """Follows the round trips; kept over restarts."""

    def __init__(self) -> None:
        self.records: tuple[TradeRecord, ...] = ()

    def returns(self, strategy: str) -> tuple[float, ...]:
        """Of the strategy's last round trips, oldest first."""
        return _returns(self.records, strategy)

    def on_closed(self, event: PositionClosed) -> None:
        self.records = records_after(self.records, event)

    def on_restored(self, event: Restored) -> None:
        self.records = event.records


def _returns(records: tuple[TradeRecord, ...], strategy: str) -> tuple[float, ...]:
    return next((r.returns for r in records if r.strategy == strategy), ())
