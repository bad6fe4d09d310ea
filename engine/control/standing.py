"""Who may command: apart from the rest of the protocol, as the console's first frame needs it."""

from msgspec import Struct


class Standing(Struct, frozen=True, tag=True):
    """`holder` is the name of the console in command, empty where none is; `mine` says that it is
    this one, `may_ask` that this one may get it. `asks` is the name of the one that asks for the
    command, which gets it after `passes_in` seconds; `consoles` are attached."""

    holder: str = ""
    mine: bool = False
    may_ask: bool = True
    asks: str = ""
    passes_in: float = 0.0
    consoles: int = 0
