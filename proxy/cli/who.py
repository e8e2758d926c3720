"""Who runs a command, for the audit log."""

import getpass
import os

from proxy.jobs.audit import BY_COMMAND


def user() -> str:
    """Return who runs this: a name, or in a container that knows none, a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def operator() -> str:
    """Return how the audit log names who runs this."""
    return f"{BY_COMMAND}{user()}"
