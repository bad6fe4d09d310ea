"""Copies of this process to go back to."""

import gc
import os
from collections.abc import Callable
from resource import RUSAGE_SELF, getpagesize, getrusage
from typing import NoReturn

BACK = 75
"""The exit status of a process that is given up for one before it."""
FAILED = 1


class Checkpoints:
    """A stack of forks of this process: each waits where it was made until what came after it is
    given up, and then goes on in its place.

    A machine cannot be copied by its parts, which hold each other by their handlers. A fork copies
    all of it, strategies included, at the price of what changes afterwards.
    """

    def __init__(self) -> None:
        self.kept = 0
        """How many wait."""
        self.bytes = 0
        """The memory that they have of their own, about: what each changed since it was forked."""

    def keep(self, serves: Callable[[], bool]) -> None:
        """Leave a copy that waits here, and go on. This returns again, in another process, each
        time that what came after it was given up and `serves` says that this one is early
        enough; where it does not, the one before is asked."""
        gc.freeze()  # to look for garbage in what is shared would copy it
        self.bytes += getrusage(RUSAGE_SELF).ru_minflt * getpagesize()
        while child := os.fork():
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            if code != BACK or not serves():
                os._exit(code if code >= 0 else FAILED)
        self.kept += 1

    def give_up(self) -> NoReturn:
        """End this process; the newest copy that serves goes on."""
        os._exit(BACK)
