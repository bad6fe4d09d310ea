"""What befalls an engine's process before it is killed."""

import asyncio
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

from engine.ops.settings import Settings
from engine.simulation.process_account import execute_on
from engine.store.place import Place

HELD_S = 0.6
"""How long a process stands still, a disk is full or a lock is held: longer than the engine takes
to make some orders, and than some of its time-outs."""


def nothing(pid: int, settings: Settings) -> None:
    """It is just killed."""


def hang_up(pid: int, settings: Settings) -> None:
    os.kill(pid, signal.SIGHUP)


def trip(pid: int, settings: Settings) -> None:
    os.kill(pid, signal.SIGUSR1)


def stop(pid: int, settings: Settings) -> None:
    """It is killed while it stops in order, or after."""
    os.kill(pid, signal.SIGTERM)


def freeze(pid: int, settings: Settings) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(HELD_S)
    os.kill(pid, signal.SIGCONT)


def fill_disk(pid: int, settings: Settings) -> None:
    """No file of the process can grow: writes fail as on a full disk."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    time.sleep(HELD_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def lock(pid: int, settings: Settings) -> None:
    """Another program writes to the database, and takes its time."""
    place = Place.of(settings)
    if place.is_file:
        if not place.file.exists():  # it has only just begun
            return
        with closing(sqlite3.connect(place.file, timeout=5, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(HELD_S)
    else:
        statement = (
            "DO $$ BEGIN IF to_regclass('{0}.orders') IS NOT NULL THEN"
            " LOCK TABLE {0}.orders IN SHARE MODE; PERFORM pg_sleep({1});"
            " END IF; END $$"
        )
        asyncio.run(execute_on(place.url, statement.format(settings.mode, HELD_S)))


def cut_connections(pid: int, settings: Settings) -> None:
    """The server ends the engine's connection, whatever it was doing."""
    place = Place.of(settings)
    if not place.is_file:
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        asyncio.run(execute_on(place.url, statement))


Fault = Callable[[int, Settings], None]

FAULTS: dict[Fault, int] = {
    nothing: 60,
    freeze: 7,
    lock: 7,
    fill_disk: 7,
    cut_connections: 7,
    stop: 6,
    hang_up: 3,
    trip: 3,
}
"""How often each comes, as weights."""


def drawn(random: Random) -> Fault:
    return random.choices(list(FAULTS), list(FAULTS.values()))[0]
