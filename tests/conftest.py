"""What every test starts with."""

from pathlib import Path

import pytest

from engine.ops.settings import Settings


@pytest.fixture(autouse=True)
def _own_folder_and_defaults(  # pyright: ignore[reportUnusedFunction]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty current folder, and no setting from the environment or from a developer's `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
