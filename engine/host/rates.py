"""Rates in Canadian dollars from a file, for the flags of large transactions."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from engine.core.events import RatePublished
from engine.core.model import nanos
from engine.core.text import clean
from engine.ops.errors import UserError

COLUMNS = ("currency", "rate", "source", "published")
MOST_ROWS = 100_000
LONGEST = 20  # characters of a currency


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
