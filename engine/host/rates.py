"""Rates in Canadian dollars from a file: by them accounts in several currencies add up, and large
transactions are flagged."""

import asyncio
import csv
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from engine.core.events import Event, RaiseAlert, RatePublished
from engine.core.model import nanos
from engine.core.text import clean
from engine.ops.errors import UserError

COLUMNS = ("currency", "rate", "source", "published")
MOST_ROWS = 100_000
LONGEST = 20  # characters of a currency
LOOK_EVERY_S = 5.0


def read_rates(path: Path | None) -> list[RatePublished]:
    """The rates of the file FX_RATES, in its order; none without a file.

    Raises UserError where it cannot be read, with the number of the line that is wrong.
    """
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if set(COLUMNS) - set(rows.fieldnames or ()):
                raise ValueError(f"the first line must be {','.join(COLUMNS)}")
            rates: list[RatePublished] = []
            for row in rows:
                rates.append(_rate(row, rows.line_num))
                if len(rates) > MOST_ROWS:
                    raise ValueError(f"more than {MOST_ROWS} rates")
            return rates
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(
            f"FX_RATES={clean(str(path))} cannot be read ({clean(reason)})",
            "write a line such as USD,1.3656,Bank of Canada,2024-07-10T16:30-04:00 for each rate, "
            "or leave FX_RATES empty",
        ) from error


def _rate(row: Mapping[str, str | None], line: int) -> RatePublished:
    """Raises ValueError."""
    currency, text, source, published = ((row[name] or "").strip() for name in COLUMNS)
    if not (currency and source and len(currency) <= LONGEST):
        raise ValueError(f"line {line} lacks a currency or a source")
    try:
        rate = Decimal(text) if text.isascii() else Decimal("NaN")
    except InvalidOperation:
        rate = Decimal("NaN")
    if not (rate.is_finite() and rate > 0):
        raise ValueError(f"line {line}: {text} is no rate")
    try:
        moment = datetime.fromisoformat(published)
    except ValueError:
        raise ValueError(f"line {line}: {published} is no time") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return RatePublished(clean(currency.upper()), rate, clean(source), nanos(aware))


class RatesWatch:
    """Looks whether the file FX_RATES was written anew, and has the machine take what `rates` has
    not: an input, so that the journal says from when on it went by it. Of a file that cannot be
    read a person is told; the former rates hold.

    It begins with the `rates` of the file as it was read at the start.
    """

    def __init__(
        self, path: Path | None, rates: list[RatePublished], publish: Callable[[Event], None]
    ) -> None:
        self._path = path
        self._known = rates
        self._publish = publish
        self._seen: tuple[int, int] | None = None  # so that a change since the start is seen

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take in what is new, if anything."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        self._seen = stamp
        try:
            rates = await asyncio.to_thread(read_rates, self._path)
        except UserError as error:
            text = f"{error.message}; the rates that were read before hold: {error.remedy}"
            self._publish(RaiseAlert("fx-rates", text))
            return
        for rate in rates:
            if rate not in self._known:
                self._publish(rate)
        self._known = rates

    def _stamp(self) -> tuple[int, int] | None:
        """None where there is no file, or for the moment none."""
        try:
            status = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return None if status is None else (status.st_mtime_ns, status.st_size)
