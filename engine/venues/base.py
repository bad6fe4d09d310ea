"""What a venue is to an engine, and the market data of all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from engine.brokers.base import BaseBroker
from engine.core.model import Instrument
from engine.feeds.base import Feed
from engine.feeds.live import LiveFeed, Source


class Venue(Protocol):
    """A place to trade at, as the settings say how to get there. Nothing is open before it is
    asked for something."""

    @property
    def name(self) -> str: ...

    @property
    def has_account(self) -> bool:
        """Whether orders go to an account there; else they stay here, on a paper broker."""
        ...

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        """How each of `names` trades there, by these names. Raises UserError for what it does not
        have, NotSent or InDoubt where there is no answer."""
        ...

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        """The market data of `instruments`."""
        ...

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        """The account, for trading in `instruments`; only where it `has_account`. `now` is market
        time."""
        ...


class VenueFeed(LiveFeed):
    """The market data of all `instruments` at their `venues`, which are by name."""

    def __init__(self, venues: Mapping[str, Venue], instruments: Sequence[Instrument]) -> None:
        self.venues = venues
        super().__init__(
            [
                source
                for name, venue in venues.items()
                for source in venue.sources([i for i in instruments if i.venue == name])
            ]
        )


def venues_with_accounts(feed: Feed) -> dict[str, Venue]:
    """The venues of `feed`, by name, where orders go to an account there; of any other venue the
    account is a paper account of ours."""
    if not isinstance(feed, VenueFeed):
        return {}
    return {name: venue for name, venue in feed.venues.items() if venue.has_account}
