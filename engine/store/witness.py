"""The head of the audit log, kept outside the database: it gives away a database that is not the
one that was used last.

A write-ahead log that was deleted, an older copy put in its place, a disk that said it wrote and
did not, a chain that was rewritten: in each of these the database knows less than this file, or
other.
"""

from pathlib import Path

from msgspec import MsgspecError, Struct, json
from sqlalchemy import func, select

from engine.core.text import clean
from engine.ops.errors import ANOTHER_USER, UserError
from engine.ops.files import write_private
from engine.store.audit import AuditHead
from engine.store.models import Order

ORDERS = select(func.count()).select_from(Order)


class Witnessed(Struct, frozen=True):
    """The newest row of the audit log, and how many orders there were."""

    head: AuditHead = AuditHead()
    orders: int = 0


class Witness:
    """The file. It is written after the database was, so an honest database is never behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Witnessed | None = None

    def read(self) -> Witnessed | None:
        """What was seen last; None where there is no file. Raises UserError where it cannot be
        read."""
        try:
            return json.decode(self.path.read_bytes(), type=Witnessed)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise self._unread(error.strerror or str(error), ANOTHER_USER) from error
        except (OSError, MsgspecError) as error:
            remedy = "see whose hand it was, then run: tradebot audit accept"
            raise self._unread(str(error), remedy) from error

    def _unread(self, reason: str, remedy: str) -> UserError:
        return UserError(f"{clean(str(self.path))} cannot be read ({clean(reason)})", remedy)

    def write(self, seen: Witnessed) -> None:
        """Keep what was seen: the former or the new one is there, whatever happens. Raises OSError
        where the disk does not take it."""
        if seen == self._written:
            return
        write_private(self.path, json.encode(seen))
        self._written = seen


def difference(seen: Witnessed, there: Witnessed, hash_there: str | None) -> str:
    """How the database, which has `hash_there` in the row that was seen, is not the one that was
    used last; empty where it is, or is newer."""
    row = seen.head.id
    if there.head.id < row:
        return f"its audit log ends at row {there.head.id}, and had reached row {row}"
    if row and hash_there != seen.head.hash:
        return f"row {row} of its audit log is not the one that was recorded"
    if there.orders < seen.orders:
        return f"it has {there.orders} orders, and had {seen.orders}"
    return ""
