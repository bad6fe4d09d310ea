"""Files and folders that nobody else may read: 0600 and 0700, whatever the umask."""

import os
from contextlib import suppress
from pathlib import Path

from engine.core.text import clean
from engine.ops.errors import UserError


def make_private_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, each 0700; one that exists stays as it is.

    Raises UserError where it cannot be made.
    """
    try:
        for part in reversed((folder, *folder.parents)):
            if not part.exists():
                part.mkdir(0o700, exist_ok=True)
                part.chmod(0o700)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {clean(str(folder))} ({error.strerror})",
            "give a folder that can be written in DATA_DIR",
        ) from error


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open `path`, which is 0600 from then on; `flags` as of os.open. The `opener` of open()."""
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, whole or not at all, and have it on the disk.

    Raises OSError where the disk does not take it.
    """
    make_private_folder(path.parent)
    draft = path.with_name(f"{path.name}.new")
    try:
        with open(draft, "wb", opener=open_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    name_durably(draft, path)


def name_durably(draft: Path, path: Path) -> None:
    """Give a file that is on the disk its name, in the place of what has it, and have that on the
    disk too."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
