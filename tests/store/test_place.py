"""Where the database is: by the settings, and named without secrets."""

from pathlib import Path

import pytest

from engine.core.model import Mode
from engine.ops.errors import UserError
from engine.ops.settings import load_settings
from engine.store.place import Place


@pytest.mark.parametrize("mode", Mode)
def test_without_an_address_it_is_the_file_of_the_mode(mode: Mode) -> None:
    place = Place.of(load_settings(mode=mode, data_dir="state"))
    assert place.is_file
    assert (place.file, place.name) == (Path(f"state/{mode}.db"), f"state/{mode}.db")
    assert (place.mode, place.backups) == (mode, Path("state/backups"))


def test_an_address_is_a_server_and_its_password_is_not_told() -> None:
    address = "postgresql+asyncpg://ann:can%40ary@db.example:6543/trading"
    place = Place.of(load_settings(database_url=address, mode="live"))
    assert not place.is_file
    assert place.url.password == "can@ary"
    assert place.name == "trading on db.example (schema live)"
    assert "ary" not in repr(place)


def test_an_address_without_a_host_is_this_machine() -> None:
    place = Place.of(load_settings(database_url="postgresql+asyncpg:///trading"))
    assert place.name == "trading on this machine (schema paper)"


def test_an_address_that_cannot_be_read_is_not_told() -> None:
    settings = load_settings(database_url="postgresql+asyncpg://ann:canary@db:port/x")
    with pytest.raises(UserError, match="DATABASE_URL is no address") as refused:
        Place.of(settings)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
