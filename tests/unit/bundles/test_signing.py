"""An operator's signature, made by gpg with keys that are there, locked, expired, or not there at all."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.bundles.contents import Contents, File
from proxy.bundles.signing import Signer, SigningFault
from proxy.digest import Digest

_INDEX = File(path="streams/v1/index.sjson", sha256=Digest("a" * 64), size=1)
CONTENTS = Contents(
    mirror="maas", generation=1, index_path=_INDEX.path, accepted_at=0.0, documents=(_INDEX,), items=()
)


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """Return the environment of somebody with a free key, a locked one, and one that has expired."""
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    environ = {**os.environ, "GNUPGHOME": str(home)}
    environ.pop("GPG_TTY", None)
    (home / "gpg-agent.conf").write_text("pinentry-program /bin/false\ns2k-count 65536\n")
    make = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback"]
    keys = (("free", "", "never", "20260101T000000"), ("locked", "secret", "never", "20260101T000000"),
            ("old", "", "30d", "20200101T000000"))  # fmt: skip
    for name, passphrase, lifetime, made in keys:
        how = ["--faked-system-time", made, "--passphrase", passphrase]
        quick = ["--quick-gen-key", f"{name}@example.test", "ed25519", "sign", lifetime]
        subprocess.run([*make, *how, *quick], env=environ, check=True, capture_output=True)
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environ, check=True)
    yield environ
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environ, check=True)
    shutil.rmtree(home, ignore_errors=True)


def test_a_key_knows_its_own_signature_of_this_text_again(environ: dict[str, str]) -> None:
    signer = Signer.of("free@example.test", environ)
    signature = signer(CONTENTS, b"contents")
    assert signature.startswith(b"-----BEGIN PGP SIGNATURE-----")
    assert signer.has_made(signature, b"contents")
    assert not signer.has_made(signature, b"others")
    assert not Signer.of("locked@example.test", environ).has_made(signature, b"contents")
    assert not signer.has_made(b"no signature", b"contents")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("nobody@example.test", "has no secret key nobody@example.test here, nor its card"),
        ("--version", "has no secret key --version here"),
        ("old@example.test", "has expired or was revoked"),
        ("locked@example.test", "pinentry"),
    ],
)
def test_why_nothing_was_signed_is_told_in_words(environ: dict[str, str], key: str, reason: str) -> None:
    with pytest.raises(SigningFault, match="the contents of mirror maas were not signed") as fault:
        Signer.of(key, environ)(CONTENTS, b"contents")
    assert reason in str(fault.value)


def test_whoever_typed_sudo_signs_with_their_own_keys() -> None:
    signer = Signer.of("key", {"SUDO_UID": "1", "HOME": "/root", "PATH": "/bin"})
    if os.geteuid() == 0:
        assert (signer.uid, signer.environ["XDG_RUNTIME_DIR"]) == (1, "/run/user/1")
        assert signer.environ["HOME"] != "/root"
    kept = Signer.of("key", {"SUDO_UID": "1", "HOME": "/root", "GNUPGHOME": "/root/keys"})
    assert (kept.uid, kept.environ["HOME"]) == (None, "/root")
