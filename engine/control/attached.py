"""What the commands have in common that attach to the running engine: how they get there, and the
exit statuses by which other programs know what came of it."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from engine.control.client import RemoteEngine
from engine.control.protocol import Hello, version
from engine.core.text import clean
from engine.ops.lock import holder
from engine.ops.settings import Settings, SettingsError, load_settings, settings_to_find
from engine.ops.user import user_name
from engine.view.snapshot import Snapshot

NO_ENGINE = 3
NO_ANSWER = 4
REFUSED = 5

LOOK_S = 0.01
ATTACH_S = 5.0


class NotAttached(Exception):
    """There is no engine to talk with, or it does not talk. `status` is the exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def settings_to_attach() -> Settings:
    """Settings by which the engine is found. What else is wrong of them is warned of, and hinders
    no one who looks at the engine or stops it. Raises SettingsError where MODE or DATA_DIR is wrong
    or `.env` cannot be read."""
    try:
        return load_settings()
    except SettingsError as error:
        settings = settings_to_find()
        if settings is None:
            raise
        click.echo(f"warning: {error}", err=True)
        return settings


@contextmanager
def attached(
    settings: Settings, timeout: float = ATTACH_S
) -> Generator[tuple[RemoteEngine, Snapshot]]:
    """The engine that runs with these settings, and its first snapshot. Raises NotAttached."""
    hello = Hello(version(), user_name())
    remote = RemoteEngine(settings.socket_path, hello, lambda: no_engine(settings))
    remote.start()
    try:
        yield remote, _first(remote, settings, timeout)
    finally:
        remote.close()


def _first(remote: RemoteEngine, settings: Settings, timeout: float) -> Snapshot:
    try:
        return wait_for(remote, lambda _: True, timeout)
    except NotAttached as error:
        if error.status != NO_ANSWER:
            raise
        pid = holder(settings.lock_path)
        raise NotAttached(
            NO_ANSWER,
            f"the engine (pid {pid}) does not answer within {timeout:g} s\n"
            "tradebot kill leaves a request, which it finds when it goes on; if it hangs, cancel "
            f"at the broker, and end it with kill -9 {pid}",
        ) from None


def no_engine(settings: Settings) -> str:
    """That no engine runs, where that is so."""
    if holder(settings.lock_path) is not None:
        return ""
    return f"no engine runs with MODE={settings.mode} in {clean(str(settings.data_dir))}"


def wait_for(remote: RemoteEngine, holds: Callable[[Snapshot], bool], timeout: float) -> Snapshot:
    """The first snapshot that fulfils `holds`. Raises NotAttached after `timeout` s without one."""
    deadline = time.monotonic() + timeout
    while True:
        snapshot = remote.latest()
        if snapshot is not None and holds(snapshot):
            return snapshot
        if failure := remote.failure():
            raise NotAttached(NO_ENGINE if remote.gone else REFUSED, failure)
        if time.monotonic() > deadline:
            raise NotAttached(NO_ANSWER, f"the engine does not answer within {timeout:g} s")
        time.sleep(LOOK_S)
