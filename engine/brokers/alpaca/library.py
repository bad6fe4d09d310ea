"""The libraries that Alpaca is spoken to with: a second's work to import, so only where it is
traded at."""

from importlib import import_module
from threading import Lock

from engine.ops.errors import UserError

_importing = Lock()


def load() -> None:
    """Import all of them, by one thread at a time: where two begin at once with other parts each
    waits for the other, and Python ends one of them with an error. Blocks.

    Raises UserError where they are not installed.
    """
    try:
        with _importing:
            for name in ("rest", "stream", "events"):
                import_module(f"engine.brokers.alpaca.{name}")
            import_module("alpaca.data.live")
    except ModuleNotFoundError as error:
        raise UserError(
            f"Alpaca needs the package {error.name}",
            "Install it: pip install 'tradebot-tui[alpaca]'",
        ) from None
