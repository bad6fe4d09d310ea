"""Where the socket is, and who may connect to it."""

import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder

LONGEST_PATH = 100
"""Bytes of a socket's path that every system takes."""
BACKLOG = 32

_PEER = struct.Struct("iii")  # pid, uid, gid
# Of macOS, <sys/un.h>: LOCAL_PEERCRED gives a struct xucred, which begins with version and uid.
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
_XUCRED, _XUCRED_SIZE = struct.Struct("II"), 76


def listen(path: Path) -> socket.socket:
    """A socket that listens at `path`, which nobody but this user can reach: 0600 in a folder 0700.
    One that a killed engine left there is removed; the caller holds the engine's lock.

    Raises UserError where the folder is another user's, or the system takes no socket there.
    """
    folder = path.parent
    make_private_folder(folder)
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UserError(
                f"{clean(str(folder))} is not a folder of this user's", "remove it, and start again"
            )
        folder.chmod(0o700)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            _at(path, listening.bind)
            path.chmod(0o600)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise UserError(
            f"no socket can be made at {clean(str(path))} ({error.strerror or error})",
            "give a folder on a local disk, with a short path, in DATA_DIR",
        ) from error
    return listening


def connect(path: Path) -> socket.socket:
    """A socket that is connected to the engine at `path`. Raises OSError where none answers, and
    PermissionError where it is not this user's."""
    if path.parent.stat().st_uid != os.geteuid():
        raise PermissionError(f"{path.parent} is another user's")
    connection = socket.socket(socket.AF_UNIX)
    try:
        _at(path, connection.connect)
    except OSError:
        connection.close()
        raise
    return connection


def _at(path: Path, call: Callable[[str], None]) -> None:
    """Call with the path, or with a shorter one to the same place where there is such: Linux takes
    107 bytes."""
    if len(os.fsencode(path)) <= LONGEST_PATH or not sys.platform.startswith("linux"):
        call(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        call(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def peer(connection: socket.socket) -> tuple[int, bool]:
    """The pid of the process at the other end, as the system says; whether it is this user's."""
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
        _, uid = _XUCRED.unpack_from(credentials)
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    else:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        pid, uid, _ = _PEER.unpack(credentials)
    return pid, uid == os.geteuid()
