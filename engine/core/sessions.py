"""The trading day: its boundaries are the market's, not the computer's."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from engine.core.model import nanos, utc


class TradingDay:
    """The calendar day of a time zone that holds the last time it was asked about.

    `roll(ts)` costs one comparison while the day lasts. Daylight saving is the zone's own: a day
    has 23 to 25 hours.
    """

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self.date = ""
        self.start = 0
        self.end = 0

    def roll(self, ts: int) -> bool:
        """Move to the day of `ts`; True where that is another day than before."""
        if ts < self.end:
            return False
        local = utc(ts).astimezone(self._zone).date()
        midnight = datetime.combine(local, time(), self._zone)
        self.date = local.isoformat()
        self.start = nanos(midnight)
        self.end = nanos(datetime.combine(local + timedelta(days=1), time(), self._zone))
        return True
