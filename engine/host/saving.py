"""What is saved by time: the market time and its prices, and the equity curve."""

import asyncio
import logging
from collections.abc import Callable

from engine.core.machine import Machine
from engine.core.model import MINUTE
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.store import StoreUnavailable
from engine.store.repository import Repository
from engine.store.witness import Witness

SAVE_S = 1.0

log = logging.getLogger(__name__)


class Saver:
    """Saves every second, and a point of the equity curve a minute of market time.

    `keep_place` has the place of a recording written, after the facts before it; False where there
    is none.
    """

    def __init__(
        self,
        repository: Repository,
        machine: Machine,
        now: Callable[[], int],
        witness: Witness,
        keep_place: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._witness = witness
        self._keep_place = keep_place
        self._machine = machine
        self._now = now
        self._equity_saved = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            try:
                if self._now() - self._equity_saved >= MINUTE:
                    self._equity_saved = self._now()
                    await self._save_equity()
                await self.save()
            except StoreUnavailable as error:
                log.warning("not saved: %s", clean(str(error)))

    async def save(self) -> None:
        """Save the market time and prices, and outside of the database where it stands. Raises
        StoreUnavailable."""
        if not self._keep_place():
            marks = self._machine.market.marks()
            await self._repository.save_market_time(self._machine.bus.now, marks)
        seen = await self._repository.witnessed()
        try:
            await asyncio.to_thread(self._witness.write, seen)
        except (OSError, UserError) as error:
            log.warning("the head of the audit log is not kept: %s", clean(str(error)))

    async def _save_equity(self) -> None:
        portfolio = self._machine.portfolio
        equity, cash = portfolio.equity(), portfolio.in_base(portfolio.cash)
        if equity is not None and cash is not None:
            base, peak = portfolio.accounts.base, self._machine.risk.peak_equity
            await self._repository.save_equity(self._now(), equity, cash, base, peak)
