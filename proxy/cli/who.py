"""Who runs a command, for the audit log."""

import getpass
import os


def user() -> str:
    """Return who runs this: a name, or in a container that knows none, a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
