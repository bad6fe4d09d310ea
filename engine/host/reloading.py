"""Watches the folders of strategies: what is new or changed is told to the machine."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.core.events import Event, StrategyFileChanged
from engine.core.machine import Machine
from engine.core.strategy import Strategy
from engine.plugins import SHIPPED, find_strategies, fingerprint, strategy_files

LOOK_EVERY_S = 1.0

Stamp = tuple[Path, int, int]


class StrategyWatch:
    """Looks at the times of files and folders (of their contents, owner and mode), and imports on
    another thread what changed.

    What it finds enters the machine as an input, so that the journal says where in the session a
    strategy was another one. A file that is gone leaves its strategy as it is.
    """

    def __init__(
        self,
        machine: Machine,
        folders: list[Path],
        publish: Callable[[Event], None],
        tell_broken: Callable[[dict[str, str]], None],
    ) -> None:
        self._machine = machine
        self._folders = folders
        self._publish = publish
        self._tell_broken = tell_broken
        self._seen: list[Stamp] = []  # so that an edit since they were found is seen

    def announce(self) -> None:
        """Have the machine compare the files that it began with to those it was last told of."""
        self._enter(self._machine.kinds)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            stamps = self._stamps()
            if stamps == self._seen:
                continue
            self._seen = stamps
            found = await asyncio.to_thread(find_strategies, *self._folders)
            self._tell_broken(found.broken)
            self._enter(found.kinds)

    def _enter(self, kinds: Mapping[str, type[Strategy]]) -> None:
        machine = self._machine
        for name, kind in sorted(kinds.items()):
            new = fingerprint(kind)
            if new and machine.runner.files.get(name) != new:
                machine.kinds[name] = kind
                self._publish(StrategyFileChanged(name, new))

    def _stamps(self) -> list[Stamp]:
        stamps: list[Stamp] = []
        for path in (SHIPPED, *self._folders, *strategy_files(*self._folders)):
            try:
                status = path.stat()
            except OSError:
                continue
            stamps.append((path, status.st_ctime_ns, status.st_size))
        return stamps
