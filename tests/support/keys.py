"""Throw-away OpenPGP keys, made by gpg in a home of their own and gone with it."""

import os
import shutil
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from support.openpgp import Signer

_DAY_S = 24 * 3600
_NEVER = "never"


class SigningKey:
    """An ed25519 key without passphrase; a context manager, since gpg starts an agent for it.

    Making one takes some 0.1 s: share it between the tests of a session.
    """

    def __init__(
        self,
        name: str = "Test Publisher <publisher@example.test>",
        *,
        created_s: int | None = None,
        lifetime: str = _NEVER,
    ) -> None:
        # Short, because the path of the agent's socket must not exceed 107 bytes.
        self._home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
        self._public_home = self._home
        self._exported: dict[Path, bytes] = {}
        """The public key, by the home that it lies in."""
        self._signing_time_s = created_s + _DAY_S if created_s is not None else None
        self._gpg("--quick-gen-key", name, "ed25519", "sign", lifetime, faked_time=created_s)
        self.fingerprint = self._read_fingerprint()
        self._is_as_made = True
        """Whether gpg would still sign by the key itself, and no subkey."""

    @classmethod
    def expired(cls, name: str = "Expired Publisher <expired@example.test>") -> Self:
        """Make a key that is valid when it signs, two years ago, and has expired since."""
        return cls(name, created_s=int(time.time()) - 2 * 365 * _DAY_S, lifetime="30d")

    @classmethod
    def revoked(cls, name: str = "Revoked Publisher <revoked@example.test>") -> Self:
        """Make a key that still signs, but whose public half carries its revocation."""
        key = cls(name)
        key._revoke()
        return key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """Where gpg has the key, as an operator has theirs."""
        return self._home

    def close(self) -> None:
        """End the agent of this home and delete the home."""
        for action in (["--kill", "gpg-agent"], ["--remove-socketdir"]):
            command = ["gpgconf", "--homedir", str(self._home), *action]
            subprocess.run(command, check=False, capture_output=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def clearsign(self, text: bytes, *, digest_algo: str = "SHA512", faked_time: int | None = None) -> bytes:
        """Sign `text` as .sjson is signed; `faked_time` is in seconds since 1970."""
        if digest_algo == "SHA512" and self._is_as_made and Signer.can_clearsign(text):
            return self._signer.clearsign(text, self._moment_s(faked_time) or int(time.time()))
        return self._gpg("--digest-algo", digest_algo, "--clearsign", stdin=text, faked_time=faked_time)

    def clearsign_with(self, other: "SigningKey", text: bytes) -> bytes:
        """Sign `text` by this key and another one, as while keys are changed."""
        self._gpg("--import", stdin=other._secret())
        keys = ["--local-user", self.fingerprint, "--local-user", other.fingerprint]
        return self._gpg("--digest-algo", "SHA512", *keys, "--clearsign", stdin=text)

    def clearsign_for(self, lifetime: str, text: bytes) -> bytes:
        """Sign `text` with a signature that expires itself, after a time such as 1d."""
        arguments = ["--default-sig-expire", lifetime, "--digest-algo", "SHA512", "--clearsign"]
        return self._gpg(*arguments, stdin=text)

    def _secret(self) -> bytes:
        return self._gpg("--export-secret-keys", self.fingerprint)

    def detach(self, data: bytes) -> bytes:
        """Make the armored detached signature that a .json.gpg holds."""
        if not self._is_as_made:
            return self._gpg("--digest-algo", "SHA512", "--armor", "--detach-sign", stdin=data)
        return self._signer.detach(data, self._moment_s() or int(time.time()))

    @cached_property
    def _signer(self) -> Signer:
        return Signer(self._secret(), self.fingerprint)

    def _moment_s(self, faked_time: int | None = None) -> int | None:
        return faked_time if faked_time is not None else self._signing_time_s

    def public_binary(self) -> bytes:
        """Export the public key as gpgv wants it."""
        if self._public_home not in self._exported:
            self._exported[self._public_home] = self._gpg(
                "--export", self.fingerprint, home=self._public_home
            )
        return self._exported[self._public_home]

    def public_armored(self) -> bytes:
        """Export the public key as people mail it."""
        return self._gpg("--armor", "--export", self.fingerprint, home=self._public_home)

    def _revoke(self) -> None:
        """Apply the revocation to a copy of the public key, as gpg would refuse to sign otherwise."""
        revocation = (self._home / "openpgp-revocs.d" / f"{self.fingerprint}.rev").read_bytes()
        # gpg disarms its ready-made revocations with a colon.
        revocation = revocation.replace(b":-----BEGIN", b"-----BEGIN")
        public_home = self._home / "public"
        public_home.mkdir(mode=0o700)
        self._gpg("--import", stdin=self.public_binary(), home=public_home)
        self._gpg("--import", stdin=revocation, home=public_home)
        self._public_home = public_home

    def _read_fingerprint(self) -> str:
        listing = self._gpg("--with-colons", "--list-keys").decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def _gpg(
        self, *arguments: str, stdin: bytes = b"", faked_time: int | None = None, home: Path | None = None
    ) -> bytes:
        if arguments[0].startswith("--quick-"):
            self._is_as_made = False
            self._exported.clear()
        command = ["gpg", "--homedir", str(home or self._home), "--batch", "--no-tty", "--quiet"]
        command += ["--pinentry-mode", "loopback", "--passphrase", "", "--ignore-time-conflict"]
        moment_s = self._moment_s(faked_time)
        if moment_s is not None:
            command += ["--faked-system-time", f"{moment_s}!"]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
        return done.stdout
