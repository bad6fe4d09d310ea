"""How much of a limit is used."""

from decimal import Decimal

from msgspec import Struct


class Usage(Struct, frozen=True, gc=False):
    """How much of a limit is used. `used` is None where it cannot be known, which is never within
    the limit. Where `below` is set, reaching the limit is too much already; where `least` is, it is
    what has to be reached. `setting` names the limit; `note` says instead of the numbers what is
    wrong, where they would not tell. What is `past` is of the last order that was checked."""

    tier: str
    check: str
    scope: str
    used: Decimal | None
    limit: Decimal
    unit: str
    below: bool = False
    least: bool = False
    setting: str = ""
    note: str = ""
    past: bool = False

    @property
    def within(self) -> bool:
        if self.used is None:
            return False
        if self.least:
            return self.used >= self.limit
        return self.used < self.limit if self.below else self.used <= self.limit

    @property
    def bound(self) -> str:
        return "at least" if self.least else "below" if self.below else "at most"

    @property
    def numbers(self) -> str:
        used = "unknown" if self.used is None else f"{self.used:.6g}"
        return f"{used} of {self.limit:.6g}{self._unit}"

    @property
    def reason(self) -> str:
        """What is wrong, and what would let it pass."""
        what = self.check.replace("_", " ")
        if self.note:
            return f"{what}: {self.note}"
        name = f" ({self.setting.upper()})" if self.setting else ""
        used = "is unknown" if self.used is None else f"would be {self.used:.6g}{self._unit}"
        return f"{what} {used}, must be {self.bound} {self.limit:.6g}{self._unit}{name}"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""
