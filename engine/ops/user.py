"""Who runs this program."""

import getpass
import os


def user_name() -> str:
    """For the audit log. In a container a user may have a number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
