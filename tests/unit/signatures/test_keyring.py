"""Whose signatures a keyring accepts: real keys, a real gpg."""

import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fixtures import INDEX_2016, INDEX_2020_OTHER_KEY, OTHER_KEY, UBUNTU_FINGERPRINT
from support.keys import SigningKey
from support.signed_texts import (
    DAY_S,
    OTHER_TEXT,
    TEXT,
    armored,
    dearmored,
    open_ring,
    packets,
    refusal,
    with_signatures,
)

from proxy.signatures.keyring import (
    Keyring,
    SignatureError,
    keyring_file,
)


@pytest.fixture(scope="module")
def veteran() -> Iterator[SigningKey]:
    """Return a key that has been good for three years."""
    with SigningKey("Veteran <veteran@example.test>", created_s=int(time.time()) - 3 * 365 * DAY_S) as key:
        yield key


# Good signatures


def test_a_good_signature_gives_the_signed_text_its_key_and_its_time(ring: Keyring, key: SigningKey) -> None:
    before = int(time.time())

    signed = ring.verify(key.clearsign(TEXT))

    assert (signed.text, signed.fingerprint) == (TEXT, key.fingerprint)
    assert before <= signed.signed_at <= time.time() + 1


def test_a_detached_signature_gives_the_document_as_the_signed_text(ring: Keyring, key: SigningKey) -> None:
    signed = ring.verify_detached(TEXT, key.detach(TEXT))

    assert (signed.text, signed.fingerprint) == (TEXT, key.fingerprint)


def test_a_large_text_is_held_once_while_it_is_judged(ring: Keyring, key: SigningKey) -> None:
    """It may have more than a hundred megabytes, beside which a worker serves."""
    text = b"a line of the list\n" * 400_000
    document = key.clearsign(text)
    tracemalloc.start()
    try:
        signed = ring.verify(document)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert signed.text == text
    assert most_bytes < 1.5 * len(text)


@pytest.mark.parametrize("signature", [b"", b"<html>Please log in.</html>\n"])
def test_a_page_in_place_of_a_signature_is_refused_however_long_the_document_is(
    ring: Keyring, signature: bytes
) -> None:
    """GnuPG gives up on it before it has read a document that does not fit into a pipe."""
    for _ in range(3):
        assert refusal(ring, b"x" * 4_000_000, signature)


def test_ubuntus_own_index_of_2016_is_good_under_the_bundled_keyring(tmp_path: Path) -> None:
    ring = Keyring.open(keyring_file("ubuntu-cloudimage"), tmp_path / "homes")

    signed = ring.verify(INDEX_2016.read_bytes())

    assert signed.fingerprint == UBUNTU_FINGERPRINT
    assert b"PGP" not in signed.text


@pytest.mark.parametrize(
    "text",
    [
        b"- a line that begins with a dash\n--\n-----\n-----BEGIN PGP SIGNATURE-----\n-----END\n",
        b"From nobody\n  indented\n\n\n\xc3\xa9\xf0\x9f\x90\xa7\n",
        b"windows\r\nline ends\r\n",
        b"",
        b"\n\n",
        b"no newline at the end",
        b"x" * 19_000 + b"\n",
    ],
)
def test_every_text_that_gpg_can_sign_comes_back_as_it_was(
    ring: Keyring, key: SigningKey, text: bytes
) -> None:
    assert ring.verify(key.clearsign(text)).text.rstrip() == text.rstrip()


@pytest.mark.parametrize(
    "reshape",
    [
        pytest.param(lambda raw: raw.replace(b"\n", b"\r\n"), id="CRLF line ends"),
        pytest.param(lambda raw: raw.replace(b'1.0",\n', b'1.0",  \t\n'), id="trailing blanks"),
        pytest.param(lambda raw: raw + b"\n \n", id="empty lines at the end"),
        pytest.param(lambda raw: raw.replace(b"SHA512", b"SHA256, SHA512"), id="several hashes announced"),
    ],
)
def test_what_openpgp_does_not_sign_may_differ(
    ring: Keyring, key: SigningKey, reshape: Callable[[bytes], bytes]
) -> None:
    """Trailing blanks and line ends are no part of a clear signature (RFC 4880 section 7.1)."""
    raw = reshape(key.clearsign(TEXT))

    assert ring.verify(raw).text.split() == TEXT.split()


def test_a_signature_by_a_subkey_counts_as_its_keys(tmp_path: Path) -> None:
    with SigningKey("With Subkey <subkey@example.test>") as key:
        key._gpg("--quick-add-key", key.fingerprint, "ed25519", "sign", "never")
        ring = open_ring(tmp_path, key.public_binary())

        raw = key.clearsign(TEXT)

        assert ring.verify(raw).fingerprint == key.fingerprint
        assert f"key {key.fingerprint}".encode() not in gpg_says_of(raw)


def gpg_says_of(raw: bytes) -> bytes:
    command = ["gpg", "--no-options", "--homedir", "/nonexistent", "--list-packets", "--verbose"]
    return subprocess.run(command, input=raw, capture_output=True, check=False).stdout


def test_a_second_signature_by_an_unknown_key_takes_nothing_away(
    ring: Keyring, key: SigningKey, other: SigningKey
) -> None:
    """That is how a publisher introduces a new key: both sign for a while."""
    raw = with_signatures(key.clearsign(TEXT), packets(other.clearsign(TEXT)), packets(key.clearsign(TEXT)))

    assert ring.verify(raw).fingerprint == key.fingerprint


# Keys that do not count


def test_a_key_outside_the_keyring_does_not_count(ring: Keyring, other: SigningKey) -> None:
    reason = refusal(ring, other.clearsign(TEXT))

    assert reason == f"it is signed by key {other.fingerprint[-16:]}, which is not in the mirror's keyring"


def test_a_key_that_the_machines_user_trusts_does_not_count(
    tmp_path: Path, key: SigningKey, other: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(other._home))
    ring = open_ring(tmp_path, key.public_binary())

    reason = refusal(ring, other.clearsign(TEXT))

    assert "not in the mirror's keyring" in reason
    assert ring.fingerprints == {key.fingerprint}


def test_the_users_gnupg_configuration_changes_nothing(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a gpg.conf could name keyrings, fetch keys, or keep gpg from running at all."""
    for name in ("home/.gnupg", "gnupg"):
        (tmp_path / name).mkdir(parents=True, mode=0o700)
        (tmp_path / name / "gpg.conf").write_text("no-such-option\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))

    assert open_ring(tmp_path, key.public_binary()).verify(key.clearsign(TEXT)).text == TEXT


def test_the_re_signed_index_of_2020_is_refused_under_ubuntus_keyring(tmp_path: Path) -> None:
    """It is well signed, by Juju's test key."""
    ring = Keyring.open(keyring_file("ubuntu-cloudimage"), tmp_path / "homes")
    raw = INDEX_2020_OTHER_KEY.read_bytes()

    assert "not in the mirror's keyring" in refusal(ring, raw)
    assert open_ring(tmp_path, OTHER_KEY.read_bytes()).verify(raw).text


def test_an_expired_key_does_not_count(tmp_path: Path, expired: SigningKey) -> None:
    ring = open_ring(tmp_path, expired.public_binary())

    assert refusal(ring, expired.clearsign(TEXT)) == (
        f"the signing key {expired.fingerprint[-16:]} has expired"
    )


def test_a_revoked_key_does_not_count(tmp_path: Path, revoked: SigningKey) -> None:
    ring = open_ring(tmp_path, revoked.public_binary())

    assert refusal(ring, revoked.clearsign(TEXT)) == (
        f"the signing key {revoked.fingerprint[-16:]} has been revoked"
    )


def test_a_key_that_is_newer_than_the_clock_counts(tmp_path: Path) -> None:
    """A machine without a battery begins in 1970: it must start, and not call its keyring empty."""
    with SigningKey(created_s=int(time.time()) + 20 * 365 * DAY_S) as newer:
        ring = open_ring(tmp_path, newer.public_binary())

        assert (ring.usable, ring.oddities) == (frozenset({newer.fingerprint}), ())
        signed = newer.clearsign(TEXT, faked_time=int(time.time()) + 20 * 365 * DAY_S + 60)
        assert ring.verify(signed).text == TEXT
        with pytest.raises(SignatureError, match="the text was changed"):
            ring.verify(signed.replace(TEXT[:8], b"!" + TEXT[1:8]))


def test_an_expired_signature_by_a_good_key_does_not_count(tmp_path: Path, veteran: SigningKey) -> None:
    ring = open_ring(tmp_path, veteran.public_binary())
    long_ago = int(time.time()) - 365 * DAY_S
    raw = veteran._gpg("--default-sig-expire", "1d", "--clearsign", stdin=TEXT, faked_time=long_ago)

    assert refusal(ring, raw) == f"the signature by key {veteran.fingerprint[-16:]} has expired"


def test_an_old_signature_that_never_expires_counts(tmp_path: Path, veteran: SigningKey) -> None:
    ring = open_ring(tmp_path, veteran.public_binary())
    long_ago = int(time.time()) - 365 * DAY_S

    assert ring.verify(veteran.clearsign(TEXT, faked_time=long_ago)).signed_at == long_ago


def test_a_signature_over_a_sha1_digest_does_not_count(ring: Keyring, key: SigningKey) -> None:
    """SHA-1 collisions can be bought."""
    raw = key.clearsign(TEXT, digest_algo="SHA1")

    assert refusal(ring, raw) == "its signature rests on SHA-1, which can be forged"


def test_a_broken_second_signature_by_a_known_key_is_no_detail(ring: Keyring, key: SigningKey) -> None:
    raw = with_signatures(
        key.clearsign(TEXT), packets(key.clearsign(TEXT)), packets(key.clearsign(OTHER_TEXT))
    )

    assert "the text was changed" in refusal(ring, raw)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("kind", ["expired key", "revoked key", "expired", "unknown key", "SHA-1"])
def test_a_good_signature_counts_whatever_stands_beside_it(
    tmp_path: Path,
    key: SigningKey,
    other: SigningKey,
    expired: SigningKey,
    revoked: SigningKey,
    veteran: SigningKey,
    kind: str,
    is_first: bool,
) -> None:
    """Each is judged by itself: a publisher may sign with an old key and a new one."""
    ring = open_ring(tmp_path, b"".join(one.public_binary() for one in (key, expired, revoked, veteran)))
    long_ago = int(time.time()) - 365 * DAY_S
    beside = {
        "expired key": lambda: expired.clearsign(TEXT),
        "revoked key": lambda: revoked.clearsign(TEXT),
        "expired": lambda: veteran._gpg(
            "--default-sig-expire", "1d", "--clearsign", stdin=TEXT, faked_time=long_ago
        ),
        "unknown key": lambda: other.clearsign(TEXT),
        "SHA-1": lambda: key.clearsign(TEXT, digest_algo="SHA1"),
    }[kind]()
    good = key.clearsign(TEXT)
    both = [packets(good), packets(beside)] if is_first else [packets(beside), packets(good)]
    raw = with_signatures(good, *both)

    assert ring.verify(raw).fingerprint == key.fingerprint
    assert refusal(ring, with_signatures(good, packets(beside)))


def test_several_detached_signatures_are_judged_each_by_itself(
    tmp_path: Path, key: SigningKey, other: SigningKey, expired: SigningKey
) -> None:
    ring = open_ring(tmp_path, key.public_binary() + expired.public_binary())
    weak = key._gpg("--digest-algo", "SHA1", "--detach-sign", stdin=TEXT)
    good, old, unknown, wrong = (
        dearmored(one)
        for one in (key.detach(TEXT), expired.detach(TEXT), other.detach(TEXT), key.detach(OTHER_TEXT))
    )

    for several in ((good, old), (old, good), (unknown, weak, good), (weak, old, unknown, good)):
        assert ring.verify_detached(TEXT, b"".join(several)).fingerprint == key.fingerprint
        assert ring.verify_detached(TEXT, armored(b"".join(several))).text == TEXT
    assert "has expired" in refusal(ring, TEXT, unknown + old)
    assert "rests on SHA-1" in refusal(ring, TEXT, unknown + weak)
    for several in ((good, wrong), (wrong, good), (good, old, unknown, wrong)):
        assert "the text was changed" in refusal(ring, TEXT, b"".join(several))


def test_many_signatures_do_not_keep_gpg_busy(ring: Keyring, key: SigningKey) -> None:
    raw = key.clearsign(TEXT)

    assert ring.verify(with_signatures(raw, packets(raw) * 8)).text == TEXT
    assert "it bears 9 signatures" in refusal(ring, with_signatures(raw, packets(raw) * 9))
