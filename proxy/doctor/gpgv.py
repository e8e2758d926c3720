"""Having the client's own judge, gpgv, look at a signature, with the keyring file that the client has."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.doctor.verdict import Verdict
from proxy.errors import ProxyError
from proxy.signatures.keyfile import KeyFileError, read_keys

_LONGEST_S = 60.0
_STATUS = "[GNUPG:] "
_LARGEST_KEYRING_BYTES = 64 * 1024 * 1024
_ARMOR = b"-----BEGIN PGP"


class KeyringUnusable(ProxyError):
    """A file that no program can read keys from."""


@dataclass(frozen=True, slots=True)
class KeyringFile:
    """The keyring that the client has."""

    path: Path
    is_armored: bool
    ring: bytes
    """Its keys, in the binary form that gpgv reads."""


def read_keyring(path: Path) -> KeyringFile:
    """Read a keyring file. Raises KeyringUnusable. Blocks."""
    try:
        if not path.is_file():
            raise KeyringUnusable("it is no file" if path.exists() else "there is no such file")
        if path.stat().st_size > _LARGEST_KEYRING_BYTES:
            raise KeyringUnusable("it is too large for a keyring")
        data = path.read_bytes()
    except OSError as error:
        raise KeyringUnusable(error.strerror or str(error)) from None
    try:
        ring = read_keys(data).ring
    except KeyFileError as error:
        raise KeyringUnusable(str(error)) from None
    return KeyringFile(path, data.lstrip()[:14] == _ARMOR, ring)


class Gpgv:
    """Runs gpgv, or gpg where that is all there is, as MAAS does; made outside of the event loop."""

    def __init__(self, folder: Path, keyring: KeyringFile) -> None:
        self.keyring = keyring
        self._folder = folder
        self._ring = folder / "ring.gpg"
        self._ring.write_bytes(keyring.ring)
        self._command = self._found()

    def _found(self) -> list[str] | None:
        """Return the command, None where there is neither program."""
        if program := shutil.which("gpgv"):
            return [program, "--status-fd", "1", f"--keyring={self._ring}", "-"]
        if program := shutil.which("gpg"):
            options = [
                "--batch",
                "--no-options",
                "--no-default-keyring",
                "--no-autostart",
                "--trust-model=always",
            ]
            return [program, *options, "--status-fd", "1", f"--keyring={self._ring}", "--verify", "-"]
        return None

    async def judge(self, document: bytes) -> Verdict | None:
        """Return the verdict on a document, None when nothing can judge it."""
        command = self._command
        if command is None:
            return None
        environ = {**os.environ, "LC_ALL": "C", "GNUPGHOME": str(self._folder)}
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environ
            )
        except OSError:
            return None
        try:
            async with asyncio.timeout(_LONGEST_S):
                out, err = await process.communicate(document)
        except (TimeoutError, ConnectionError):
            return None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        lines = [
            line.removeprefix(_STATUS)
            for line in out.decode("utf-8", "replace").split("\n")
            if line.startswith(_STATUS)
        ]
        said = err.decode("utf-8", "replace").strip().split("\n")
        statuses = tuple(words for line in lines if (words := tuple(line.split())))
        return Verdict(process.returncode or 0, statuses, said[-1].removeprefix("gpgv: "))


@contextlib.contextmanager
def open_gpgv(keyring: KeyringFile) -> Iterator[Gpgv]:
    """Have a judge for the length of the context."""
    with tempfile.TemporaryDirectory(prefix="sstream-proxy-doctor-") as folder:
        yield Gpgv(Path(folder), keyring)
