"""The input journal: every input of a session in order, so that the session can be replayed.

The file is a row of records: length of the payload and its CRC-32 (zlib), four bytes each, little
endian, then the payload in MessagePack. The first record is the `JournalHeader`, every other one
an input. No record is empty, so a run of zeros is none.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct, msgpack

from engine.core.events import Event, Input
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import open_private
from engine.store import StoreUnavailable

JOURNAL_VERSION = 1

BUFFER = 64 * 1024
"""Bytes that wait in memory before the writer hands them to the system by itself."""

BACKLOG = 16 * 1024 * 1024
"""Bytes that wait in memory while the disk fails; then the journal ends."""

MB = 1024**2
MAX_MB = 1024
"""About seven million quotes."""

_FRAME = struct.Struct("<II")


class JournalHeader(Struct, frozen=True):
    """What the inputs were given to.

    `version` is the format's (JOURNAL_VERSION), `config` the machine's configuration, encoded by
    the runtime, `product` the name and version of the program, `strategies` the fingerprint of each
    strategy's source.
    """

    version: int
    config: bytes
    started_ts: int
    product: str
    strategies: dict[str, str] = {}


class JournalEnd(Struct, frozen=True, tag=True):
    """The last record of a session that ended in order: the state that its inputs led to."""

    state_hash: str


# Made at the import, which one thread does: where two decode a type for the first time, one of them
# sees it half made, and the process crashes (msgspec 0.22).
_HEADER = msgpack.Decoder(JournalHeader)
_RECORD = msgpack.Decoder(Input | JournalEnd)


class JournalWriter:
    """Appends inputs to a new file (0600).

    `append` is for the engine's hot path: it never raises and leaves the disk to `flush`. A full
    or failing disk is told by `flush`; what waits then goes out when the disk is back. Where more
    than BACKLOG bytes wait, where the file would have more than `max_mb` megabytes, or where an
    input cannot be encoded, the journal ends before the first input that it cannot hold: what it
    has is a true beginning of the session, and every later `flush` says that it ended.
    """

    def __init__(self, path: Path, header: JournalHeader, max_mb: int = MAX_MB) -> None:
        """Raises UserError where the file is there or cannot be made."""
        self._encode = msgpack.Encoder().encode
        self._buffer = bytearray()
        self._size = 0
        self._max_mb = max_mb
        self._failure = ""
        self._ended = ""
        try:
            self._file = open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            raise UserError(
                f"cannot make the journal {clean(str(path))} ({error.strerror})",
                "check the folder, its permissions and the free space",
            ) from error
        self._add(self._encode(header))

    @property
    def mb(self) -> float:
        """Megabytes that it has."""
        return self._size / MB

    def append(self, event: Event) -> None:
        """Add an input."""
        if self._ended:
            return
        try:
            payload = self._encode(event)
        except Exception as error:  # whatever it is, it must not reach the engine's loop
            self._ended = f"{type(event).__name__} cannot be encoded: {error}"
            return
        if self._size + _FRAME.size + len(payload) > self._max_mb * MB:
            self._ended = (
                f"it has reached its bound of {self._max_mb} MB (JOURNAL_MAX_MB); what comes now "
                "cannot be replayed, and the next start begins another"
            )
            return
        self._add(payload)
        if len(self._buffer) >= BUFFER:
            self._write()
            if len(self._buffer) > BACKLOG:
                self._ended = f"{len(self._buffer)} bytes wait for the disk"

    def flush(self) -> None:
        """Hand all inputs to the operating system: they outlive a crash of the process.

        Raises StoreUnavailable where some are not written, or were not taken.
        """
        self._write()
        if reason := self._failure or self._ended:
            raise StoreUnavailable(clean(f"the journal is not complete: {reason}"))

    def sync(self) -> None:
        """Have the disk keep what was flushed: it outlives a power cut. May block for long, and
        may be called on another thread. Raises StoreUnavailable."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise StoreUnavailable(f"the journal is not on the disk: {error.strerror}") from error

    def end(self, state_hash: str) -> None:
        """Add the state that the inputs led to; where one of them is missing, nothing."""
        if not self._ended:
            self._add(self._encode(JournalEnd(state_hash)))

    def close(self) -> None:
        """Flush, sync and close. Raises StoreUnavailable; the file is closed all the same."""
        try:
            self.flush()
            self.sync()
        finally:
            os.close(self._file)

    def _add(self, payload: bytes) -> None:
        self._buffer += _FRAME.pack(len(payload), crc32(payload))
        self._buffer += payload
        self._size += _FRAME.size + len(payload)

    def _write(self) -> None:
        """A write may stop within a record; the next one goes on from there."""
        self._failure = ""
        try:
            while self._buffer:
                del self._buffer[: os.write(self._file, self._buffer)]
        except OSError as error:
            self._failure = error.strerror or str(error)


class JournalReader:
    """Reads a journal: its `header`, then by iteration its inputs in order.

    A crash leaves a torn last record, or zeros after it. Iteration ends before it, and `torn` then
    says where and why; it is empty for a journal that ends with a whole record. Damage before the
    end raises UserError with the place: what follows it cannot be trusted to follow. `state_hash`,
    after the iteration, is the state in which the session ended in order, empty where it did not
    or where the journal had ended before.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError where `path` is no journal that this version reads."""
        self.torn = ""
        self.state_hash = ""
        self._name = clean(str(path))
        self._data = memoryview(_mapped(path))
        payload = self._payload(0)
        try:
            if payload is None:
                raise ValueError(self.torn or "it is empty")
            self.header = _HEADER.decode(payload)
        except (ValueError, msgspec.MsgspecError) as error:
            raise UserError(
                f"{self._name} is no journal ({clean(str(error))})", "give the path of a journal"
            ) from error
        if self.header.version != JOURNAL_VERSION:
            raise UserError(
                f"the journal {self._name} has format {self.header.version}, this version reads "
                f"{JOURNAL_VERSION}",
                f"replay it with the version that wrote it: {clean(self.header.product)}",
            )
        self._first = _FRAME.size + len(payload)

    def __iter__(self) -> Iterator[Input]:
        """Raises UserError at a damaged record and at one that is no input of this version."""
        offset = self._first
        while (payload := self._payload(offset)) is not None:
            try:
                event = _RECORD.decode(payload)
            except msgspec.MsgspecError as error:
                raise UserError(
                    f"the record at byte {offset} of the journal {self._name} is no input "
                    f"({clean(str(error))})",
                    f"replay it with the version that wrote it: {clean(self.header.product)}",
                ) from error
            if isinstance(event, JournalEnd):
                self.state_hash = event.state_hash
            else:
                yield event
            offset += _FRAME.size + len(payload)

    def _payload(self, offset: int) -> memoryview | None:
        """The payload of the whole record at `offset`; None at the end, torn or not."""
        if offset == len(self._data):
            return None
        payload = self._whole(offset)
        if payload is None:
            self._end_torn(offset)
        return payload

    def _whole(self, offset: int) -> memoryview | None:
        """The payload of the record at `offset`; None where there is no whole one."""
        start = offset + _FRAME.size
        if start > len(self._data):
            return None
        length, checksum = _FRAME.unpack_from(self._data, offset)
        payload = self._data[start : start + length]
        if not length or len(payload) < length or crc32(payload) != checksum:
            return None
        return payload

    def _end_torn(self, offset: int) -> None:
        """Take what is at `offset` for a torn end, or raise UserError where records follow it."""
        if self._is_followed(offset):
            raise UserError(
                f"the journal {self._name} is damaged: the record at byte {offset} does not match "
                "its checksum, and more follow",
                "restore it from a backup",
            )
        self.torn = f"cut at byte {offset}: the last record is incomplete"

    def _is_followed(self, offset: int) -> bool:
        """Whether anything but zeros follows the damaged record at `offset`.

        Its length may be what is damaged: so a whole record is looked for at every later byte.
        """
        rest = self._data[offset:]
        if len(rest) >= _FRAME.size:
            length, _ = _FRAME.unpack_from(rest)
            if length and any(rest[_FRAME.size + length :]):
                return True
        return any(self._whole(later) for later in range(offset + 1, len(self._data)))


def _mapped(path: Path) -> mmap.mmap | bytes:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(
            f"cannot read the journal {clean(str(path))} ({error.strerror})",
            "give the path of a journal",
        ) from error
