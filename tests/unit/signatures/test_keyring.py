"""What counts as a good signature, and the many things that look like one."""

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.fixtures import INDEX_2016, INDEX_2020_OTHER_KEY, OTHER_KEY, UBUNTU_FINGERPRINT, UBUNTU_KEY
from support.keys import SigningKey
from support.unprivileged import as_ordinary_user

from proxy.errors import ProxyError
from proxy.signatures.keyfile import read_keys
from proxy.signatures.keyhome import HomeFault, sweep_homes
from proxy.signatures.keyring import (
    GpgMissing,
    Keyring,
    KeyringError,
    SignatureError,
    _primary,
    keyring_file,
)
from proxy.signatures.packets import packets as raw_packets
from proxy.simplestreams.clearsign import EnvelopeError

TEXT = b'{"format": "products:1.0",\n "products": {},\n "updated": "Thu, 24 Jul 2025 08:01:48 +0000"}\n'
OTHER_TEXT = b'{"format": "products:1.0",\n "products": {"evil": {}}}\n'
BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n"
LONGER_THAN_GPG_READS = b" " * 20_000
LINE_ENDS = (
    *(b"\n", b"\r", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\\n"),
    *("\x85".encode(), "\u2028".encode(), "\u2029".encode()),
)
"""Whatever some program ends a line at."""
DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    """Return a key that no keyring here holds."""
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture(scope="module")
def expired() -> Iterator[SigningKey]:
    with SigningKey.expired() as key:
        yield key


@pytest.fixture(scope="module")
def revoked() -> Iterator[SigningKey]:
    with SigningKey.revoked() as key:
        yield key


@pytest.fixture(scope="module")
def veteran() -> Iterator[SigningKey]:
    """Return a key that has been good for three years."""
    with SigningKey("Veteran <veteran@example.test>", created_s=int(time.time()) - 3 * 365 * DAY_S) as key:
        yield key


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Keyring:
    """Return a keyring that holds nothing but `key`."""
    return open_ring(tmp_path_factory.mktemp("ring"), key.public_binary())


def open_ring(folder: Path, keys: bytes) -> Keyring:
    path = folder / "keyring-file"
    path.write_bytes(keys)
    return Keyring.open(path, folder / "homes")


def refusal(ring: Keyring, document: bytes, signature: bytes | None = None) -> str:
    """Return the reason for which a document is refused; fail when it is not."""
    try:
        accepted = ring.verify(document) if signature is None else ring.verify_detached(document, signature)
    except (EnvelopeError, SignatureError) as error:
        return str(error)
    pytest.fail(f"it was accepted: {accepted}")


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


# Changed bytes


@pytest.mark.parametrize("part", [0.0, 0.1, 0.35, 0.5, 0.77, 0.999])
def test_a_single_changed_byte_of_the_text_is_found(ring: Keyring, key: SigningKey, part: float) -> None:
    raw = bytearray(key.clearsign(TEXT))
    start = raw.index(b"\n\n") + 2
    raw[start + int(part * (len(TEXT) - 2))] ^= 0x01

    reason = refusal(ring, bytes(raw))

    assert reason == (
        f"the signature does not match: the text was changed after key {key.fingerprint[-16:]} signed it"
    )


def test_a_changed_byte_of_the_signature_is_found(ring: Keyring, key: SigningKey) -> None:
    raw = key.clearsign(TEXT)
    signature = bytearray(packets(raw))
    signature[-3] ^= 0x01

    assert "does not match" in refusal(ring, with_signatures(raw, bytes(signature)))


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda raw: b"Dear friend,\n" + raw, "unsigned text stands before the signed block"),
        (lambda raw: b"\n" + raw, "unsigned text stands before the signed block"),
        (lambda raw: b"\xef\xbb\xbf" + raw, "it is not clear-signed"),
        (lambda raw: raw + b'{"evil": 1}\n', "unsigned text stands after the signed block"),
        (lambda raw: raw.rstrip() + b' {"evil": 1}\n', "its PGP markers are out of order"),
        (lambda raw: raw + raw, "a second block follows the signed one"),
        (lambda raw: raw + b"-----BEGIN PGP SIGNED MESSAGE-----\n", "a second block follows"),
        (lambda raw: raw + BEGIN_SIGNATURE, "a second block follows"),
        (lambda raw: b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + raw, "markers are out of order"),
        (lambda raw: raw.replace(b"-----BEGIN PGP SIGNED MESSAGE-----\n", b""), "it is not clear-signed"),
        (lambda raw: raw.replace(BEGIN_SIGNATURE, b"-----BEGIN PGP MESSAGE-----\n"), "out of order"),
        (lambda _: TEXT, "it is not clear-signed"),
        (lambda _: b"", "it is not clear-signed"),
        (lambda _: b"<html><h1>503 Service Unavailable</h1></html>", "it is not clear-signed"),
    ],
)
def test_a_document_is_one_signed_block_and_nothing_else(
    ring: Keyring, key: SigningKey, tamper: Callable[[bytes], bytes], reason: str
) -> None:
    """Gpg itself calls a signature good whatever stands around the block."""
    assert reason in refusal(ring, tamper(key.clearsign(TEXT)))


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.8, 0.95])
def test_a_truncated_document_is_refused_as_truncated(ring: Keyring, key: SigningKey, kept: float) -> None:
    raw = key.clearsign(TEXT)

    assert refusal(ring, raw[: int(kept * len(raw))]) in {
        "it is not clear-signed: no 'BEGIN PGP SIGNED MESSAGE' line opens it",
        "the signed block has headers other than 'Hash:'",
        "it is truncated: the signature does not end",
        "its PGP markers are out of order",
    }


@pytest.mark.parametrize(
    "header",
    [
        b"Hash: SHA512\nComment: unsigned text\n",
        b"Hash: SHA512\nNotDashEscaped: You need GnuPG to verify this message\n",
        b"Hash: SHA512\n\f\n",
        b"Hash: SHA512\0\n",
        b"Hash: SHA512\n{}\n",
        b'Hash: {"evil": 1}\n',
        b"hash: SHA512\n",
    ],
)
def test_no_text_hides_among_the_headers(ring: Keyring, key: SigningKey, header: bytes) -> None:
    raw = key.clearsign(TEXT).replace(b"Hash: SHA512\n", header)

    assert refusal(ring, raw) == "the signed block has headers other than 'Hash:'"


@pytest.mark.parametrize(
    "header", [b"", b"Hash: SHA1\n", b"Hash: SHA256\n", b"Hash: SHA512\nHash: evil words\n"]
)
def test_a_hash_header_that_lies_is_refused(ring: Keyring, key: SigningKey, header: bytes) -> None:
    raw = key.clearsign(TEXT).replace(b"Hash: SHA512\n", header)

    assert refusal(ring, raw)


@pytest.mark.parametrize(
    "line",
    [
        b'-"evil": 1,\n',
        b'- "evil": 1,\n',
        b'- -----END PGP SIGNATURE-----\n"evil": 1\n',
        b"-\n",
        b"\n",
        b"- \n",
    ],
)
def test_a_dash_escaped_line_that_was_not_signed_is_found(
    ring: Keyring, key: SigningKey, line: bytes
) -> None:
    raw = key.clearsign(TEXT).replace(b'1.0",\n', b'1.0",\n' + line)

    assert "does not match" in refusal(ring, raw)


@pytest.mark.parametrize("hidden", [b' "evil": 1,', b"\0", b"- ", b'"'])
def test_text_beyond_what_gpg_reads_of_a_line_does_not_count_as_signed(
    ring: Keyring, key: SigningKey, hidden: bytes
) -> None:
    """Of what stands in a line after 20,000 bytes, gpg 2.2 says nothing, and calls the signature good."""
    raw = key.clearsign(TEXT).replace(b'1.0",\n', b'1.0",' + LONGER_THAN_GPG_READS + hidden + b"\n")

    assert "gpg did not check" in refusal(ring, raw)


@pytest.mark.parametrize("separator", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("opening", [b'-1, "note": "', b"-", b"Hash: "])
def test_text_that_imitates_gpgs_verdict_is_no_verdict(
    ring: Keyring, key: SigningKey, other: SigningKey, opening: bytes, separator: bytes
) -> None:
    """Gpg quotes lines that it finds odd among its own messages."""
    fingerprint = key.fingerprint.encode()
    verdict = b"[GNUPG:] VALIDSIG %b 2025-07-24 1753344108 0 4 0 22 10 01 %b x" % (fingerprint, fingerprint)
    line = opening + separator + verdict + b'",\n'
    raw = other.clearsign(OTHER_TEXT)

    assert refusal(ring, raw.replace(b"\n\n", b"\n\n" + line, 1))
    assert refusal(ring, raw.replace(BEGIN_SIGNATURE, BEGIN_SIGNATURE + line))
    assert refusal(ring, OTHER_TEXT, raw[raw.index(BEGIN_SIGNATURE) :].replace(b"\n\n", b"\n" + line + b"\n"))


def test_a_second_text_inside_the_signature_does_not_lend_it_its_own(ring: Keyring, key: SigningKey) -> None:
    """A signed message, packed into the armor of another text's signature, is still good by itself."""
    whole = key._gpg("--digest-algo", "SHA512", "--compress-algo", "none", "--sign", stdin=TEXT)
    forged = key.clearsign(OTHER_TEXT)

    assert refusal(ring, with_signatures(forged, whole))
    assert refusal(ring, with_signatures(forged, packets(key.clearsign(TEXT)), whole))


@pytest.mark.parametrize("armor", [b"", b"AAAA\n", b"not base64 at all\n", b"\n\n"])
def test_a_signature_block_without_a_signature_proves_nothing(
    ring: Keyring, key: SigningKey, armor: bytes
) -> None:
    head, _ = key.clearsign(TEXT).split(BEGIN_SIGNATURE)

    assert refusal(ring, head + BEGIN_SIGNATURE + b"\n" + armor + b"-----END PGP SIGNATURE-----\n")


# Detached signatures


def test_a_detached_signature_of_another_text_is_refused(ring: Keyring, key: SigningKey) -> None:
    assert "does not match" in refusal(ring, OTHER_TEXT, key.detach(TEXT))


def test_a_detached_signature_by_another_key_is_refused(ring: Keyring, other: SigningKey) -> None:
    assert "not in the mirror's keyring" in refusal(ring, TEXT, other.detach(TEXT))


@pytest.mark.parametrize("signature", [b"", b"\n", b"junk", b"<html>404</html>", TEXT])
def test_a_file_that_is_no_signature_proves_nothing(ring: Keyring, signature: bytes) -> None:
    assert refusal(ring, TEXT, signature) == "its signature is neither binary nor one armored block"


def test_a_signature_file_that_brings_its_own_signed_text_proves_only_that(
    ring: Keyring, key: SigningKey
) -> None:
    whole = key._gpg("--digest-algo", "SHA512", "--sign", stdin=TEXT)

    for signature in (key.clearsign(TEXT), whole, armored(whole)):
        assert refusal(ring, OTHER_TEXT, signature)


# Keyring files


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

    assert str(caught.value) == f"keyring {tmp_path / 'keyring-file'}: it holds no OpenPGP public key"


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


# Homes


def ring_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "homes").rglob("*") if path.is_file()]


def put_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def put_file_for_folder(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:60]), id="short"),
        pytest.param(lambda file: file.write_bytes(bytes(file.stat().st_size)), id="zeros"),
        pytest.param(lambda file: file.unlink(), id="gone"),
        pytest.param(lambda file: shutil.rmtree(file.parent), id="folder gone"),
        pytest.param(lambda file: shutil.rmtree(file.parent.parent), id="all gone"),
        pytest.param(put_folder, id="a folder in its place"),
        pytest.param(put_file_for_folder, id="a file in its place"),
        pytest.param(lambda file: file.chmod(0), id="unreadable"),
    ],
)
@pytest.mark.parametrize("is_open", [False, True], ids=["before the start", "while it runs"])
def test_a_home_that_a_power_cut_has_torn_is_made_anew(
    tmp_path: Path, key: SigningKey, other: SigningKey, harm: Callable[[Path], object], *, is_open: bool
) -> None:
    ring = open_ring(tmp_path, key.public_binary())
    [file] = ring_files(tmp_path)
    harm(file)

    if not is_open:
        ring = open_ring(tmp_path, key.public_binary())

    assert ring.verify(key.clearsign(TEXT)).text == TEXT
    assert refusal(ring, other.clearsign(TEXT))
    assert [one.read_bytes() for one in ring_files(tmp_path)] == [read_keys(key.public_binary()).ring]


@pytest.mark.parametrize("content", [b"", b"KBXf", None], ids=["empty", "short", "absent"])
def test_what_the_last_release_left_behind_is_no_hindrance(
    tmp_path: Path, key: SigningKey, content: bytes | None
) -> None:
    """Its homes were named by the file's bytes, and kept keys in a keybox that a power cut may have torn."""
    keys = key.public_binary()
    for name in (hashlib.sha256(keys).hexdigest()[:32], read_keys(keys).identity):
        home = tmp_path / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        if content is not None:
            (home / "pubring.kbx").write_bytes(content)
            (home / "trustdb.gpg").write_bytes(b"")

    ring = open_ring(tmp_path, keys)

    assert ring.verify(key.clearsign(TEXT)).text == TEXT


def test_old_homes_go_and_those_in_use_stay(tmp_path: Path, key: SigningKey) -> None:
    ring = open_ring(tmp_path, key.public_binary())
    homes = tmp_path / "homes"
    for name in ("0123", "new-abc", "file"):
        (homes / name).mkdir()
        (homes / name / "pubring.kbx").write_bytes(b"")
    (homes / "recent").mkdir()
    long_ago = time.time() - 3 * DAY_S
    for one in homes.iterdir():
        if one.name != "recent":
            os.utime(one, (long_ago, long_ago))

    sweep_homes(homes, {ring.identity}, time.time())

    assert {one.name for one in homes.iterdir()} == {ring.identity, "recent"}


def test_a_read_only_data_directory_is_enough_once_a_home_is_there(tmp_path: Path, key: SigningKey) -> None:
    raw = key.clearsign(TEXT)
    open_ring(tmp_path, key.public_binary())
    with read_only(tmp_path / "homes"):
        (tmp_path / "again.asc").write_bytes(key.public_armored())
        ring = as_ordinary_user(lambda: Keyring.open(tmp_path / "again.asc", tmp_path / "homes"))
        signed = as_ordinary_user(lambda: ring.verify(raw))

    assert signed.text == TEXT


def test_a_data_directory_that_takes_no_other_keys_is_named(
    tmp_path: Path, key: SigningKey, other: SigningKey
) -> None:
    open_ring(tmp_path, key.public_binary())
    (tmp_path / "other.gpg").write_bytes(other.public_binary())
    with read_only(tmp_path / "homes"), pytest.raises(HomeFault, match=r"homes.*: Permission denied"):
        as_ordinary_user(lambda: Keyring.open(tmp_path / "other.gpg", tmp_path / "homes"))


def test_a_disk_that_takes_no_keys_is_named_and_not_the_keyring(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "homes").write_text("in the way")

    with pytest.raises(HomeFault, match=r"gpg cannot be given its keys: .*homes"):
        open_ring(tmp_path, key.public_binary())


def test_workers_that_start_together_share_one_home(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "keyring.gpg"
    path.write_bytes(key.public_binary())
    start = threading.Barrier(4)

    def open_together(_: int) -> frozenset[str]:
        start.wait()
        return Keyring.open(path, tmp_path / "homes").fingerprints

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(open_together, range(4))) == {frozenset({key.fingerprint})}
    assert len(list((tmp_path / "homes").iterdir())) == 1


def test_documents_are_checked_side_by_side(ring: Keyring, key: SigningKey, other: SigningKey) -> None:
    good, bad = key.clearsign(TEXT), other.clearsign(TEXT)

    def verdict(number: int) -> bool:
        try:
            return ring.verify(good if number % 2 else bad).text == TEXT
        except ProxyError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(verdict, range(16))) == [False, True] * 8


def packets(raw: bytes) -> bytes:
    """Return what the armor of a clear-signed document's signature holds."""
    return dearmored(BEGIN_SIGNATURE + raw.split(BEGIN_SIGNATURE)[1])


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take all rights to write away."""
    everything = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in everything}
    for path in everything:
        path.chmod(modes[path] & 0o555)
    try:
        yield
    finally:
        for path in everything:
            path.chmod(modes[path])


def dearmored(signature: bytes) -> bytes:
    return subprocess.run(
        ["gpg", "--no-options", "--dearmor"], input=signature, capture_output=True, check=True
    ).stdout


def with_signatures(raw: bytes, *signatures: bytes) -> bytes:
    """Put other packets into the place of a clear-signed document's signature."""
    return raw.split(BEGIN_SIGNATURE)[0] + armored(b"".join(signatures))


def armored(content: bytes) -> bytes:
    """Dress packets as a signature; the checksum may be left out (RFC 4880 section 6)."""
    return BEGIN_SIGNATURE + b"\n" + base64.encodebytes(content) + b"-----END PGP SIGNATURE-----\n"


@pytest.mark.parametrize("folder", ["/nonexistent", "/proc", "/dev/null"])
def test_a_signature_is_checked_where_there_is_no_room_for_temporary_files(
    ring: Keyring, key: SigningKey, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, folder)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [folder])
    assert ring.verify_detached(TEXT, key.detach(TEXT)).text == TEXT


def test_a_verdict_without_a_primary_key_names_none() -> None:
    """Early versions of gpg left it out of the VALIDSIG line."""
    words = [f"word {number}" for number in range(10)]
    assert _primary({}) == ""
    assert _primary({"VALIDSIG": words[:9]}) == ""
    assert _primary({"VALIDSIG": words}) == "word 9"
