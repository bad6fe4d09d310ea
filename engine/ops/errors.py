"""Errors that the person at the keyboard can mend."""


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
