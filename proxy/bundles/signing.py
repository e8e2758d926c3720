"""An operator's signature over what a bundle holds, made by gpg with the operator's own keys and agent.

It says who wrote the bundle, and when; whoever imports it decides whose word counts.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy.bundles.contents import Contents
from proxy.errors import ProxyError

_STATUS = "[GNUPG:] "
_CODE_BITS = 0xFFFF
"""Of an error of libgpg-error; the rest says which program it comes from."""

_NOT_THERE = "{user} has no secret key {key} here, nor its card: `gpg --list-secret-keys` lists what there is"
_NO_TERMINAL = (
    "pinentry cannot ask for the passphrase here: run this in a terminal, with GPG_TTY=$(tty),"
    " or unlock the key beforehand"
)

# gnupg, doc/DETAILS, and libgpg-error's codes.
_KEY_PROBLEMS = {
    "1": _NOT_THERE,
    "2": "several keys are meant by {key}: name one by its fingerprint",
    "3": "key {key} may not sign: it is made for something else",
    "4": "key {key} was revoked",
    "5": "key {key} has expired: `gpg --quick-set-expire` prolongs it, or name another",
    "9": _NOT_THERE,
    "13": "key {key} is disabled",
}
_FAILURES = {
    11: "the passphrase was wrong",
    17: _NOT_THERE,
    54: "the secret key {key} cannot be used, it has expired or was revoked: `gpg --list-keys` tells",
    62: "nobody typed the passphrase in time",
    77: "gpg-agent does not run, and cannot be started: see `gpg-connect-agent /bye`",
    85: "there is no pinentry to ask for the passphrase: install one (sudo apt-get install pinentry-curses),"
    " or unlock the key beforehand",
    86: _NO_TERMINAL,
    87: "the PIN was wrong",
    99: "the passphrase was not given",
    110: "the card was pulled out",
    112: "the card with key {key} is not in the reader",
    119: "gpg's program for cards is missing: sudo apt-get install scdaemon",
    130: "the card's PIN is blocked: `gpg --card-edit` unblocks it",
    198: "the passphrase was not given",
    32870: _NO_TERMINAL,
}


class SigningFault(ProxyError):
    """A signature that was ordered and cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key, and the person whose it is."""

    key: str
    """As gpg finds it: a fingerprint, a name or an address."""
    uid: int | None = None
    """The person who typed `sudo`; None is whoever runs this."""
    environ: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, key: str, environ: Mapping[str, str]) -> "Signer":
        """Return the signer whom a key of the person at the keyboard makes, behind `sudo` too."""
        uid = environ.get("SUDO_UID", "")
        known = dict(environ)
        with contextlib.suppress(OSError):
            known.setdefault("GPG_TTY", os.ttyname(sys.stdin.fileno()))
        if os.geteuid() == 0 and uid.isdecimal() and int(uid) and "GNUPGHOME" not in environ:
            with contextlib.suppress(KeyError):
                person = pwd.getpwuid(int(uid))
                known.update(HOME=person.pw_dir, USER=person.pw_name, LOGNAME=person.pw_name)
                known["XDG_RUNTIME_DIR"] = f"/run/user/{uid}"
                return cls(key=key, uid=int(uid), environ=known)
        return cls(key=key, environ=known)

    def __call__(self, contents: Contents, written: bytes) -> bytes:
        """Return an armored detached signature over contents as they are written. Raises SigningFault."""
        done = self._gpg(["--armor", f"--local-user={self.key}", "--detach-sign", "--output", "-"], written)
        if done.returncode == 0 and done.stdout:
            return done.stdout
        why = self._reason(done.stderr.decode(errors="replace"))
        raise SigningFault(f"the contents of mirror {contents.mirror} were not signed: {why}")

    def has_made(self, signature: bytes, written: bytes) -> bool:
        """Whether a signature is one that this key has made over these contents, and good."""
        listed = self._gpg(["--with-colons", "--list-keys", "--", self.key], b"").stdout.decode(
            errors="replace"
        )
        ours = {line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")}
        file = os.memfd_create("signature")
        try:
            os.write(file, signature)
            done = self._gpg(["--verify", f"/dev/fd/{file}", "-"], written, file)
        finally:
            os.close(file)
        told = dict(_statuses(done.stderr.decode(errors="replace")))
        return done.returncode == 0 and bool(ours & set(told.get("VALIDSIG", ())))

    def _gpg(self, arguments: list[str], given: bytes, *files: int) -> subprocess.CompletedProcess[bytes]:
        gpg = shutil.which("gpg")
        if gpg is None:
            raise SigningFault("gpg is not installed; install it with: sudo apt-get install gnupg")
        person = pwd.getpwuid(self.uid) if self.uid is not None else None
        try:
            return subprocess.run(  # noqa: S603 - the key is an argument of its own
                [gpg, "--status-fd", "2", *arguments],
                input=given,
                capture_output=True,
                env=dict(self.environ),
                pass_fds=files,
                user=person and person.pw_uid,
                group=person and person.pw_gid,
                extra_groups=[] if person else None,
                check=False,
            )
        except OSError as error:
            raise SigningFault(f"gpg cannot be run: {error.strerror}") from error

    def _reason(self, told: str) -> str:
        """Return in words why gpg made no signature."""
        uid = os.geteuid() if self.uid is None else self.uid
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = f"user {uid}"
        for keyword, words in _statuses(told):
            code = int(words[-1]) & _CODE_BITS if words and words[-1].isdecimal() else 0
            if keyword in {"FAILURE", "ERROR"} and code in _FAILURES:
                return _FAILURES[code].format(key=self.key, user=user)
        for keyword, words in _statuses(told):
            if keyword == "INV_SGNR" and words and words[0] in _KEY_PROBLEMS:
                return _KEY_PROBLEMS[words[0]].format(key=self.key, user=user)
        said = [line for line in told.splitlines() if line and not line.startswith(_STATUS)]
        return said[-1] if said else "gpg does not say why"


def _statuses(told: str) -> Iterator[tuple[str, list[str]]]:
    for line in told.splitlines():
        if line.startswith(_STATUS):
            keyword, *words = line.removeprefix(_STATUS).split()
            yield keyword, words
