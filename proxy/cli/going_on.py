"""What to say when a command is interrupted: what has become of the work, and what to type to go on."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


def go_on_text(
    kept: str = "what has arrived is kept", purpose: str = "to go on from there, type again"
) -> str:
    """Return what is kept, and the command line to type for a purpose."""
    return f"{kept}; {purpose}:\n  {typed_again(sys.argv, os.environ)}"


def typed_again(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the command line that started a program, as a shell takes it.

    Credentials within URLs are left out: it may be shown to more people than have typed it.
    """
    typed = shlex.join([*_program(arguments[0]), *(_CREDENTIALS.sub("...@", one) for one in arguments[1:])])
    by_sudo = environ.get("SUDO_COMMAND", "").split(" ")[1:]
    return f"sudo {typed}" if by_sudo == " ".join(arguments[1:]).split(" ") and by_sudo else typed


def program() -> str:
    """Return how a person calls this program from a shell: by its name if one of that name is found."""
    name = Path(sys.argv[0]).name
    return name if shutil.which(name) else shlex.join(_program(sys.argv[0]))


def _program(path: str) -> list[str]:
    """Return how the program was called: by its name if that finds it."""
    if Path(path).name == "__main__.py":
        return [sys.executable, "-m", "proxy"]
    name = Path(path).name
    return [name] if shutil.which(name) == path else [path]
