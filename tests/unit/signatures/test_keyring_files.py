"""Files that hold keys, in all their forms."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fixtures import UBUNTU_FINGERPRINT, UBUNTU_KEY
from support.keys import SigningKey
from support.signed_texts import TEXT, open_ring, refusal

from proxy.signatures.keyring import (
    GpgMissing,
    Keyring,
    KeyringError,
    keyring_file,
)
from proxy.signatures.packets import packets as raw_packets


def test_a_keyring_file_may_be_binary_or_armored(tmp_path: Path, key: SigningKey) -> None:
    raw = key.clearsign(TEXT)

    for keys in (key.public_binary(), key.public_armored()):
        ring = open_ring(tmp_path, keys)
        assert ring.fingerprints == {key.fingerprint}
        assert ring.verify(raw).text == TEXT


@pytest.mark.parametrize("export", [SigningKey.public_binary, SigningKey.public_armored])
def test_every_key_of_a_keyring_counts(
    tmp_path: Path, key: SigningKey, other: SigningKey, export: Callable[[SigningKey], bytes]
) -> None:
    ring = open_ring(tmp_path, export(key) + export(other))

    assert ring.fingerprints == {key.fingerprint, other.fingerprint}
    assert [ring.verify(one.clearsign(TEXT)).fingerprint for one in (key, other)] == [
        key.fingerprint,
        other.fingerprint,
    ]


def test_a_keyring_file_may_be_a_keybox(tmp_path: Path, key: SigningKey, other: SigningKey) -> None:
    """That is what `gpg --keyring FILE --import` makes nowadays."""
    path = tmp_path / "mine.kbx"
    for one in (key, other):
        command = ["--no-default-keyring", "--keyring", str(path), "--import"]
        one._gpg(*command, stdin=one.public_binary())

    ring = Keyring.open(path, tmp_path / "homes")

    assert ring.fingerprints == {key.fingerprint, other.fingerprint}
    assert ring.verify(other.clearsign(TEXT)).text == TEXT


def test_an_empty_keybox_holds_no_key(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "empty.kbx"
    key._gpg("--no-default-keyring", "--keyring", str(path), "--import", stdin=key.public_binary())
    header_only = path.read_bytes()[:32]

    with pytest.raises(KeyringError, match="it holds no OpenPGP public key"):
        open_ring(tmp_path, header_only)


def test_the_bundled_keyring_holds_ubuntus_key(tmp_path: Path) -> None:
    bundled = Keyring.open(keyring_file("ubuntu-cloudimage"), tmp_path / "homes")
    published = Keyring.open(UBUNTU_KEY, tmp_path / "homes")

    assert UBUNTU_FINGERPRINT in bundled.fingerprints
    assert published.fingerprints == {UBUNTU_FINGERPRINT}


def test_a_name_that_is_not_bundled_is_a_path() -> None:
    assert keyring_file("/etc/keys/mine.gpg") == Path("/etc/keys/mine.gpg")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00" * 100, TEXT, b"-----BEGIN PGP PUBLIC KEY"])
def test_a_file_that_holds_no_key_is_named_with_what_is_wrong(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyringError) as caught:
        open_ring(tmp_path, content)

    assert str(caught.value) == (
        f"keyring {tmp_path / 'keyring-file'}: it holds no OpenPGP public key: "
        "write what `gpg --export KEY` prints"
    )


def test_a_failed_import_leaves_nothing_behind(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(KeyringError):
        open_ring(tmp_path, b"no key")

    assert list((tmp_path / "homes").iterdir()) == []
    assert open_ring(tmp_path, key.public_binary()).fingerprints == {key.fingerprint}


@pytest.mark.parametrize(
    ("name", "reason"), [("absent.gpg", "No such file or directory"), ("", "Is a directory")]
)
def test_a_keyring_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(KeyringError) as caught:
        Keyring.open(tmp_path / name, tmp_path / "homes")

    assert str(caught.value) == f"keyring {tmp_path / name}: {reason}"


def test_without_gpg_the_error_says_how_to_install_it(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = key.public_armored()
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GpgMissing) as caught:
        open_ring(tmp_path, keys)

    assert "sudo apt-get install gnupg" in str(caught.value)


def test_another_key_in_the_file_is_another_keyring(
    tmp_path: Path, key: SigningKey, other: SigningKey
) -> None:
    """What was accepted under the old keys must not count under the new ones."""
    first = open_ring(tmp_path, key.public_binary())
    same = open_ring(tmp_path, key.public_binary())
    second = open_ring(tmp_path, other.public_binary())

    assert first.identity == same.identity != second.identity
    assert second.fingerprints == {other.fingerprint}
    assert "not in the mirror's keyring" in refusal(second, key.clearsign(TEXT))


def test_the_form_of_the_file_is_no_other_keyring(tmp_path: Path, key: SigningKey, other: SigningKey) -> None:
    """Documents that were proved with a binary file need no second proof once it is an armored one."""
    one, two = key.public_binary(), other.public_armored()

    assert open_ring(tmp_path, one + two).identity == open_ring(tmp_path, two + one).identity
    assert open_ring(tmp_path, one).identity == open_ring(tmp_path, key.public_armored()).identity


def test_a_key_that_nobody_can_use_is_told_of(
    tmp_path: Path, key: SigningKey, expired: SigningKey, revoked: SigningKey
) -> None:
    """A key that bears no signature of its own proves nothing: anybody could have made it up."""
    bare, name, *_ = (one.raw for one in raw_packets(key.public_binary()))
    good = open_ring(tmp_path, key.public_binary() + expired.public_binary() + revoked.public_binary())

    assert good.oddities == tuple(
        f"key {one.fingerprint} {what}: what it signs is refused"
        for one, what in sorted(
            ((expired, "has expired"), (revoked, "has been revoked")), key=lambda pair: pair[0].fingerprint
        )
    )
    for content in (bare, bare + name):
        with pytest.raises(KeyringError) as caught:
            open_ring(tmp_path, content)
        assert "it holds no OpenPGP public key" in str(caught.value)
        assert f"key {key.fingerprint} in it cannot be used: it bears no signature" in str(caught.value)
        mixed = open_ring(tmp_path, content + expired.public_binary())
        assert mixed.usable == {expired.fingerprint}
        assert refusal(mixed, key.clearsign(TEXT))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)

    with pytest.raises(KeyringError, match="no regular file"):
        Keyring.open(path, tmp_path / "homes")
