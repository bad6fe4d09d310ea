"""What a step of a verification says."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

from msgspec import Struct

from engine.core.text import clean
from engine.ops.errors import (
    InDoubt,
    NotAuthenticated,
    NotPermitted,
    NotSent,
    RateLimited,
    UserError,
)

CONNECTION = "check the connection, and whether the venue is up; then run it again"


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Said(Struct, frozen=True):
    """What came of a step: `reason` is what was found, `remedy` what to do about it."""

    outcome: Outcome
    reason: str
    remedy: str = ""


async def within(seconds: float, check: Callable[[], Awaitable[Said]]) -> Said:
    """What `check` says; past its deadline, or where it raises, that it failed."""
    try:
        async with asyncio.timeout(seconds):
            return await check()
    except Exception as error:
        return Said(Outcome.FAILED, told(error), _remedy(error))


def told(error: Exception) -> str:
    """What to tell of an error. The text of one that is none of ours may hold secrets."""
    if isinstance(error, UserError):
        return clean(error.message)
    if isinstance(error, NotSent | InDoubt):
        return clean(str(error)) or "no answer"
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__


def _remedy(error: Exception) -> str:
    match error:
        case UserError():
            return clean(error.remedy)
        case RateLimited():
            return f"wait {error.wait_s:.0f} s; then run it again"
        case NotAuthenticated():
            return "set the credentials anew"
        case NotPermitted():
            return "allow it in the settings of the account, or of the key, at the venue"
        case _:
            return CONNECTION
