"""Whose the books are, from the venues' own words: they tell it once they are connected."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from engine.store.identity import Identities, same_account


class IdentityKeeper:
    """`known` are the accounts that the books are of; `record` keeps fields of `AccountState`."""

    def __init__(self, known: Identities, record: Callable[[Mapping[str, Any]], None]) -> None:
        self._known = dict(known)
        self._record = record

    def check(self, venue: str, number: str) -> None:
        """The account at `venue` has this number, empty where it does not say. One that was not
        known is kept. Raises OtherAccount where the books are of another account."""
        was = self._known[venue]
        now = same_account(venue, was, replace(was, number=number))
        if now != was:
            self._known[venue] = now
            self._record({"identities": self._known.copy()})
