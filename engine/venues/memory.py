"""How the venues said that their symbols trade, for a start while one of them does not answer."""

import logging
from collections.abc import Sequence
from pathlib import Path

from msgspec import MsgspecError, json

from engine.core.model import Instrument
from engine.ops.errors import UserError
from engine.ops.files import write_private

log = logging.getLogger(__name__)


class Memory:
    """A file for each venue in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, venue: str, instruments: Sequence[Instrument]) -> None:
        """Keep them beside those that are there. Where that fails the start goes on."""
        known = {i.symbol: i for i in (*self._read(venue), *instruments)}
        try:
            write_private(self._path(venue), json.encode(list(known.values())))
        except (OSError, UserError) as error:
            log.warning("how %s trades is not kept: %s", venue, error)

    def recall(self, venue: str, symbols: Sequence[str]) -> list[Instrument] | None:
        """Those of `symbols`; None where one is not known."""
        known = {i.symbol: i for i in self._read(venue)}
        found = [known[symbol] for symbol in symbols if symbol in known]
        return found if len(found) == len(symbols) else None

    def _read(self, venue: str) -> list[Instrument]:
        try:
            return json.decode(self._path(venue).read_bytes(), type=list[Instrument])
        except (OSError, MsgspecError):
            return []

    def _path(self, venue: str) -> Path:
        return self._folder / f"{venue}.json"
