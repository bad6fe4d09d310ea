"""The accounts, one a venue, and the exchange rates by which what they hold adds up."""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, TypeVar

from engine.core.events import RatePublished
from engine.core.model import DAY, Instrument, utc

T = TypeVar("T")

CAD = "CAD"
ONE = Decimal(1)
OLD_AFTER = 7 * DAY
"""A rate that was published so long before, or after, it is used is told of."""
_DIGITS = Context(prec=18)
"""A rate that is a quotient has so many: it stays exact when it is multiplied."""


class Rates:
    """Canadian dollars a unit of each currency, as they were published."""

    def __init__(self) -> None:
        self._published: dict[str, list[tuple[int, Decimal, str]]] = {}

    def add(self, event: RatePublished) -> None:
        rates = self._published.setdefault(event.currency, [])
        rate = (event.published_ts, event.rate, event.source)
        if rate not in rates:
            insort(rates, rate)

    def at(self, currency: str, ts: int) -> tuple[int, Decimal, str] | None:
        """When published, the rate, its source: the last before `ts`, or else the first after."""
        if currency == CAD:
            return (ts, ONE, "")
        rates = self._published.get(currency)
        if not rates:
            return None
        return rates[max(0, bisect_right(rates, ts, key=lambda rate: rate[0]) - 1)]

    def state(self) -> list[Any]:
        return [[currency, *rates] for currency, rates in sorted(self._published.items())]


def account_currencies(instruments: Iterable[Instrument]) -> dict[str, str]:
    """The currency of the account at each venue. Raises ValueError, which names the venue and both
    currencies, where its instruments have two."""
    currencies: dict[str, str] = {}
    for instrument in instruments:
        venue, currency = instrument.venue, instrument.currency
        if currencies.setdefault(venue, currency) != currency:
            both = f"{currencies[venue]} and {currency} ({instrument.symbol})"
            raise ValueError(f"the account at {venue} has one currency, not {both}")
    return currencies


def worth_in(
    base: str, currency: str, stablecoins: Mapping[str, str], rates: Rates, ts: int
) -> tuple[Decimal, int] | None:
    """What a unit of `currency` is worth in `base` at `ts`, and when the older of the rates behind
    it was published; None while one is not known.

    A stablecoin counts as a unit of the currency that `stablecoins` says it stands for.
    """
    currency, base = stablecoins.get(currency, currency), stablecoins.get(base, base)
    if currency == base:
        return ONE, ts
    theirs, ours = rates.at(currency, ts), rates.at(base, ts)
    if theirs is None or ours is None:
        return None
    published = max(theirs[0], ours[0], key=lambda published_ts: abs(ts - published_ts))
    return _DIGITS.divide(theirs[1], ours[1]), published


class Accounts:
    """The currency of each account, and what a unit of it is worth in the base currency: `worth` is
    None while that is not known.

    `alert` tells a person of a rate that is old. Raises ValueError where the instruments of a venue
    have two currencies.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        base: str,
        stablecoins: Mapping[str, str],
        rates: Rates,
        alert: Callable[[str, Sequence[str]], None],
    ) -> None:
        self.currencies = account_currencies(instruments)
        self.base = base
        self._stablecoins = stablecoins
        self._rates = rates
        self._alert = alert
        self._published: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self.worth: dict[str, Decimal | None] = {}
        self.look(0)
        self.foreign = tuple(venue for venue, worth in self.worth.items() if worth != ONE)

    def look(self, now: int) -> bool:
        """Take the rates that are in force at `now`; whether one is another than before."""
        worth: dict[str, Decimal | None] = {}
        for venue, currency in self.currencies.items():
            found = worth_in(self.base, currency, self._stablecoins, self._rates, now)
            worth[venue] = None if found is None else found[0]
            if found is not None:
                self._published[currency] = found[1]
        changed = worth != self.worth
        self.worth = worth
        return changed

    def tell_old(self, now: int) -> None:
        """Tell once of each rate in use that is old."""
        for venue in self.foreign:
            currency = self.currencies[venue]
            published = self._published.get(currency, now)
            if abs(now - published) > OLD_AFTER and self._told.get(currency) != published:
                self._told[currency] = published
                what = f"the rate of {currency} in {self.base} that is in use is of"
                self._alert(f"rate-{currency}", [f"{what} {utc(published):%Y-%m-%d}"])

    def published(self, venue: str) -> int:
        """When the older of the rates was published by which the account is counted; 0 where none
        is needed, or none is known."""
        return self._published.get(self.currencies[venue], 0) if venue in self.foreign else 0

    def unit(self, venue: str) -> str:
        """How money of an account is written."""
        return _unit(self.currencies[venue])

    @property
    def money(self) -> str:
        """How money in the base currency is written."""
        return _unit(self.base)

    def state(self) -> dict[str, Any]:
        """What decides, as plain values; nothing where no rate does."""
        return {"worth": self.worth, "old_rates": self._told} if self.foreign else {}


def _unit(currency: str) -> str:
    return "$" if currency == "USD" else currency


def of_accounts(values: Mapping[str, T]) -> T | Mapping[str, T]:
    """What each account has, by its venue; of one alone just that."""
    if len(values) == 1:
        (value,) = values.values()
        return value
    return values
