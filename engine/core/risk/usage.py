"""How much of a limit is used."""

from decimal import Decimal

from msgspec import Struct


class Usage(Struct, frozen=True):
    """How much of a limit is used. `used` is None where it cannot be known, which is never within
    the limit. Where `below` is set, reaching the limit is too much already."""

    tier: str
    check: str
    scope: str
    used: Decimal | None
    limit: Decimal
    unit: str
    below: bool = False

    @property
    def within(self) -> bool:
        if self.used is None:
            return False
        return self.used < self.limit if self.below else self.used <= self.limit

    @property
    def numbers(self) -> str:
        used = "unknown" if self.used is None else f"{self.used:.6g}"
        return f"{used} of {self.limit:.6g}{' ' + self.unit if self.unit else ''}"
