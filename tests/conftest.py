"""What every test starts with."""

import os
from pathlib import Path

import hypothesis
import pytest

from engine.ops.settings import Settings

# No deadline: the machine may be busy. On CI the same examples each time: a change that fails there
# is to blame itself.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _own_folder_and_defaults(  # pyright: ignore[reportUnusedFunction]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty current folder, and no setting from the environment or from a developer's `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
