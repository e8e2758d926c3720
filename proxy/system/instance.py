"""What tells one installation from every other: all processes on a data directory have the same token.

A copy of the directory, on this machine or another, has another one: the file that holds a random number is
another file there, and a clone of the machine has another machine-id, or should.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

_MACHINE = Path("/etc/machine-id")
_RANDOM_BYTES = 16


def instance_token(file: Path, machine: Path = _MACHINE) -> str:
    """Return 16 hexadecimal digits; `file` is made if it is not there. Blocks.

    Where it can be neither read nor written, the token is this process's alone.
    """
    try:
        number, inode = _read(file) or _make(file)
    except OSError:
        return secrets.token_hex(8)
    of_machine = b""
    with contextlib.suppress(OSError):
        of_machine = machine.read_bytes()
    return hashlib.sha256(b"%b %d %b" % (number, inode, of_machine)).hexdigest()[:16]


def _read(file: Path) -> tuple[bytes, int] | None:
    try:
        with file.open("rb") as opened:
            number = opened.read(_RANDOM_BYTES)
            inode = os.fstat(opened.fileno()).st_ino
    except FileNotFoundError:
        return None
    return (number, inode) if len(number) == _RANDOM_BYTES else None


def _make(file: Path) -> tuple[bytes, int]:
    """Make the file, unless another process is faster."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    draft.write_bytes(secrets.token_bytes(_RANDOM_BYTES))
    try:
        if file.exists() and _read(file) is None:
            draft.replace(file)  # It was cut short.
        else:
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    found = _read(file)
    if found is None:
        raise FileNotFoundError(file)
    return found
