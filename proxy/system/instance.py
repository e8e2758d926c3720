"""What tells one installation from every other: all processes on a data directory have the same token.

A copy of the directory has another one, however it was made: on the same system it is another folder, or on
another device (a snapshot keeps the numbers of files), and every other system was started as another one.
Containers and clones of a machine often have the same machine-id, or none: that tells nothing.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RANDOM_BYTES = 16


def instance_token(file: Path, boot: Path = _BOOT) -> str:
    """Return 16 hexadecimal digits; `file` is made if it is not there. Blocks.

    Where it can be neither read nor written, the token is this process's alone.
    """
    try:
        number = _read(file) or _make(file)
        folder = file.parent.stat()
    except OSError:
        return secrets.token_hex(8)
    of_system = b""
    with contextlib.suppress(OSError):
        of_system = boot.read_bytes()
    parts = (number, folder.st_dev, folder.st_ino, of_system)
    return hashlib.sha256(b"%b %d %d %b" % parts).hexdigest()[:16]


def _read(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            number = opened.read(_RANDOM_BYTES)
    except FileNotFoundError:
        return None
    return number if len(number) == _RANDOM_BYTES else None


def _make(file: Path) -> bytes:
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
