"""Whose the books of a venue are: what one account did is not counted with the money of another."""

from collections.abc import Mapping

from msgspec import Struct

from engine.core.text import clean
from engine.ops.errors import UserError

REMEDY = (
    "go back to the former account (PAPER_ACCOUNTS, the venue's keys or login), or begin new "
    "books: another DATA_DIR, and where DATABASE_URL is set another one too"
)


class AccountIdentity(Struct, frozen=True):
    """An account: `simulated` here, or one at the venue, with the `number` that it has there (empty
    where the venue does not say it)."""

    simulated: bool
    number: str = ""

    def named(self, venue: str) -> str:
        """What it is called in messages."""
        if self.simulated:
            return "a simulated account"
        number = f" {clean(self.number)}" if self.number else ""
        return f"{'the' if number else 'an'} account{number} at {clean(venue)}"


class OtherAccount(UserError):
    """What is to be traded with is not the account that the books are of."""


def same_account(venue: str, was: AccountIdentity | None, now: AccountIdentity) -> AccountIdentity:
    """All that is known of the account at `venue`, where nothing says that it `was` another one.
    Raises OtherAccount where something does."""
    if was is None:
        return now
    renumbered = was.number and now.number and was.number != now.number
    if was.simulated != now.simulated or renumbered:
        raise OtherAccount(
            f"the books of {clean(venue)} are of {was.named(venue)}, and it is "
            f"{now.named(venue)} now",
            REMEDY,
        )
    return now if now.number else was


def made_here(execution_id: str, client_order_id: str) -> bool:
    """Whether an execution is one of the simulated exchange, which names it after its order."""
    return execution_id.startswith(f"{client_order_id}-")


Identities = Mapping[str, AccountIdentity]
"""By the venue."""
