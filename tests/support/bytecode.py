"""Compiled modules of the tests, and of the program for the processes that they start.

Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each of hundreds of processes would
compile the whole program anew: a third of what the tests cost. The modules are left in pytest's own
folder instead, and nothing beside the sources.
"""

import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / ".pytest_cache" / "bytecode"


def keep_bytecode() -> None:
    """Keep compiled modules, in this process and those that it starts."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is None:
        return
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(_FOLDER))
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
    sys.dont_write_bytecode = False
