"""Questrade's tokens on the disk. Each refresh token works once: losing one takes a person."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from msgspec import MsgspecError, Struct, json
from pydantic import SecretStr

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, open_private, write_private

HOW_TO_LOG_IN = (
    "make a new token by hand (at Questrade: App hub, the app, New manual authorization),"
    " set it as QUESTRADE_REFRESH_TOKEN, and start again"
)
"""What to do where Questrade takes none of the tokens that there are."""


class Tokens(Struct, frozen=True):
    """What the login server gave last. `expires_ts` (ns UTC) is when the access token ends;
    `origin` the fingerprint of the token, made by hand, that all this came from."""

    refresh_token: str
    origin: str
    access_token: str = ""
    api_server: str = ""
    expires_ts: int = 0

    def __repr__(self) -> str:
        return "Tokens(**********)"


class TokenStore:
    """The file with the tokens, which nobody else may read, and which is whole at any time.

    `made_by_hand` is the token of the settings. The file goes before it, until the settings have
    another one: that is how a person gives a new one.
    """

    def __init__(self, path: Path, made_by_hand: SecretStr) -> None:
        self.path = path
        self._made_by_hand = made_by_hand

    def read(self) -> Tokens:
        """The newest tokens that there are. Raises UserError where there is none."""
        by_hand = self._made_by_hand.get_secret_value()
        origin = sha256(by_hand.encode()).hexdigest()
        stored = self._stored()
        if stored is not None and (not by_hand or stored.origin == origin):
            return stored
        if not by_hand:
            raise UserError("there is no refresh token for Questrade", HOW_TO_LOG_IN)
        return Tokens(by_hand, origin)

    def write(self, tokens: Tokens) -> None:
        """Have them on the disk. Raises OSError where it does not take them."""
        write_private(self.path, json.encode(tokens))

    @contextmanager
    def locked(self) -> Generator[None]:
        """Nobody else refreshes meanwhile, another process neither. Raises BlockingIOError where
        somebody does, UserError where there can be no lock."""
        make_private_folder(self.path.parent)
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            descriptor = open_private(lock, os.O_CREAT)
        except OSError as error:
            raise UserError(
                f"cannot lock {clean(str(lock))} ({error.strerror})",
                "make it writable, or give another folder in DATA_DIR",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def _stored(self) -> Tokens | None:
        try:
            return json.decode(self.path.read_bytes(), type=Tokens)
        except FileNotFoundError:
            return None
        except (OSError, MsgspecError) as error:
            raise UserError(
                f"the tokens in {clean(str(self.path))} cannot be read ({type(error).__name__})",
                f"remove that file, and {HOW_TO_LOG_IN}",
            ) from None  # its text may hold a token
