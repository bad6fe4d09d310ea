"""Errors that the person at the keyboard can mend, and those of what lies outside."""

ANOTHER_USER = "be the user who runs the engine, or give the right DATA_DIR"
"""The remedy where this user may not look at what the engine keeps."""


class UserError(Exception):
    """Something outside the program is wrong: a setting, a name, a file, another engine.

    `message` says what and where, `remedy` what to do. The text of the error is both. A command
    that ends with it prints that text, without a traceback, and has exit status 2.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}"


class SymbolRefused(UserError):
    """A venue does not trade the symbol. The remedy is one for SYMBOLS; whoever takes symbols
    otherwise says where to correct it. `examples` are names that the venue knows."""

    def __init__(self, message: str, examples: str = "") -> None:
        remedy = f"correct it in SYMBOLS: {examples}" if examples else "take it out of SYMBOLS"
        super().__init__(message, remedy)
        self.examples = examples


class NotSent(Exception):
    """The request did not leave, or the broker did not look at it: it cannot have it."""


class NotConnected(NotSent):
    """There is no way to the broker now."""


class RateLimited(NotSent):
    """Too many requests; the next one may leave after `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class NotAuthenticated(NotSent):
    """The broker does not take the credentials: a person has to mend that."""


class NotPermitted(NotSent):
    """The account, or its credentials, may not do this."""


class InDoubt(Exception):
    """The request may have reached the broker; what became of it is not known."""
