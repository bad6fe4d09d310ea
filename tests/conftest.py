"""What every test starts with."""

import gc
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import URL

from engine.ops.settings import Settings
from tests.postgresql import HOW_TO_START_ONE, SERVER, done, run_on

# No deadline: the machine may be busy. On CI the same examples each time: a change that fails there
# is to blame itself.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("tests")

# A job in the background of a script ignores ctrl+c, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: to look for garbage among them, again and again, took a
    quarter of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_folder_and_defaults(  # pyright: ignore[reportUnusedFunction]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty current folder, and no setting from the environment or from a developer's `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[URL]:
    """A database of this run's own on the server; without a server the test is skipped, but on CI
    it fails."""
    name = f"tradebot_test_{secrets.token_hex(4)}"
    try:
        done(run_on(SERVER, f"CREATE DATABASE {name}"))
    except OSError:
        if "CI" in os.environ:
            pytest.fail(HOW_TO_START_ONE)
        pytest.skip(HOW_TO_START_ONE)
    yield SERVER.set(database=name)
    done(run_on(SERVER, f"DROP DATABASE {name} WITH (FORCE)"))
