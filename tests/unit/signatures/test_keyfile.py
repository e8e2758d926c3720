"""What counts as a file of keys, in which forms, and what is said of everything else."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fixtures import UBUNTU_FINGERPRINT, UBUNTU_KEY
from support.keys import SigningKey

from proxy.signatures.keyfile import KeyFileError, Keys, read_keys
from proxy.signatures.packets import packet, packets

TEXT = b"pub   ed25519 2026-01-01 [SC]\nuid   Key of the publisher, f\xc3\xbcr alle\n\n"


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture(scope="module")
def both(key: SigningKey, other: SigningKey) -> Keys:
    return read_keys(key.public_binary() + other.public_binary())


def refusal(data: bytes) -> str:
    with pytest.raises(KeyFileError) as caught:
        read_keys(data)
    return str(caught.value)


def keybox(folder: Path, *keys: SigningKey) -> bytes:
    path = folder / "keys.kbx"
    for one in keys:
        one._gpg("--no-default-keyring", "--keyring", str(path), "--import", stdin=one.public_binary())
    return path.read_bytes()


def reshaped(keys: bytes) -> bytes:
    """Write each packet with a header of the new format and four bytes of length, and trust between them."""
    return b"".join(
        bytes([0xC0 | one.tag, 255]) + len(one.body).to_bytes(4) + one.body + packet(12, b"\0")
        for one in packets(keys)
    )


# The same keys


def test_neither_form_nor_order_make_another_keyring(
    tmp_path: Path, key: SigningKey, other: SigningKey, both: Keys
) -> None:
    one, two = (key.public_binary(), key.public_armored()), (other.public_binary(), other.public_armored())
    files = [first + second for a, b in itertools.product(one, two) for first, second in ((a, b), (b, a))]
    files += [
        b"\n".join((one[1], TEXT, two[1], TEXT)),
        TEXT + two[1].replace(b"\n", b"\r\n") + b"\r\n" + one[1],
        b"\xef\xbb\xbf" + one[1] + two[1],
        one[1].replace(b"-----\n\n", b"-----\nVersion: GnuPG v1\nComment: x\n\n") + two[0],
        one[1].replace(b"-----\n\n", b"-----\n") + two[1],
        b"".join(line for line in one[1].splitlines(keepends=True) if not line.startswith(b"=")) + two[1],
        one[0] + two[0] + b"\n\n",
        b"\n" + one[0] + two[0],
        one[0] * 3 + two[0] + one[1],
        reshaped(one[0]) + two[0],
        keybox(tmp_path, key, other),
    ]

    found = [read_keys(data) for data in files]

    assert {keys.identity for keys in found} == {both.identity}
    assert {keys.ring for keys in found} == {both.ring}
    assert both.fingerprints == {key.fingerprint, other.fingerprint}


def test_a_key_more_or_less_is_another_keyring(key: SigningKey, other: SigningKey, both: Keys) -> None:
    found = {read_keys(one.public_binary()).identity for one in (key, other)}

    assert len(found | {both.identity}) == 3


def test_what_changes_the_validity_of_a_key_is_another_keyring() -> None:
    """Another end, a subkey, or a revocation."""
    with SigningKey("Changing <changing@example.test>") as key:
        states = [key.public_binary()]
        key._gpg("--quick-set-expire", key.fingerprint, "1y")
        states.append(key.public_binary())
        key._gpg("--quick-add-key", key.fingerprint, "ed25519", "sign", "never")
        states.append(key.public_binary())
        key._revoke()
        states.append(key.public_binary())

    found = [read_keys(state) for state in states]

    assert len({keys.identity for keys in found}) == len(states)
    assert {keys.fingerprints for keys in found} == {frozenset({key.fingerprint})}


def test_states_of_a_key_that_stand_in_one_file_are_joined() -> None:
    with SigningKey("Changing <changing@example.test>") as key:
        old = key.public_binary()
        key._gpg("--quick-add-key", key.fingerprint, "ed25519", "sign", "never")
        new = key.public_binary()

    assert read_keys(old + new) == read_keys(new + old) == read_keys(new)


def test_the_ring_is_what_gpg_would_export(tmp_path: Path, both: Keys) -> None:
    """Nothing that gpg knows of a key is lost on the way."""
    listed = []
    for name, data in (("ring", both.ring), ("again", read_keys(both.ring).ring)):
        path = tmp_path / f"{name}.gpg"
        path.write_bytes(data)
        command = ["gpg", "--no-options", "--homedir", str(tmp_path), "--no-default-keyring"]
        command += ["--keyring", str(path), "--with-colons", "--check-signatures"]
        listed.append(subprocess.run(command, capture_output=True, check=True).stdout)

    assert listed[0] == listed[1]
    assert listed[0].count(b"\npub:") + listed[0].startswith(b"pub:") == 2
    assert listed[0].count(b"\nsig:!") == 2


def test_a_key_as_old_as_ubuntus_is_read_whole() -> None:
    keys = read_keys(UBUNTU_KEY.read_bytes())

    assert keys.fingerprints == {UBUNTU_FINGERPRINT}
    assert keys.oddities == ()


# What is said


def test_an_armored_and_a_binary_part_are_both_used_and_told_of(
    key: SigningKey, other: SigningKey, both: Keys
) -> None:
    """Gpg itself would read one of them, and say nothing of the other."""
    for data in (key.public_armored() + other.public_binary(), key.public_binary() + other.public_armored()):
        keys = read_keys(data)
        assert keys.fingerprints == both.fingerprints
        assert keys.oddities == ("it is made of an armored and a binary part: the keys of both are used",)
    assert read_keys(key.public_armored() + other.public_armored()).oddities == ()


def test_of_what_a_file_is_made_is_said_before_what_is_wrong_with_a_key(
    key: SigningKey, other: SigningKey
) -> None:
    raw = bytearray(other.public_binary())
    raw[2] = 5
    assert read_keys(key.public_armored() + raw).oddities == (
        "it is made of an armored and a binary part: the keys of both are used",
        "a key of version 5 in it cannot be used: only those of version 4",
    )


def test_what_binds_a_subkey_is_no_signature_of_the_key_itself(key: SigningKey) -> None:
    primary, *_ = packets(key.public_binary())
    subkey, bond = packet(14, primary.body), packet(2, b"\4" + bytes(40))
    problem = f"key {key.fingerprint} in it cannot be used: it bears no signature of its own"
    assert problem in refusal(primary.raw + subkey + bond)
    assert read_keys(primary.raw + bond + subkey + bond).fingerprints == {key.fingerprint}


def test_all_names_of_a_key_come_before_its_subkeys(key: SigningKey) -> None:
    """Also a picture, which has a higher tag than they."""
    primary, *_ = packets(key.public_binary())
    subkey, picture, bond = packet(14, primary.body), packet(17, b"picture"), packet(2, b"\4" + bytes(40))
    ring = read_keys(primary.raw + bond + subkey + bond + picture + bond).ring
    assert [one.tag for one in packets(ring)] == [6, 2, 17, 2, 14, 2]


@pytest.mark.parametrize("version", [3, 5, 6])
def test_a_key_of_a_version_that_cannot_be_used_is_told_of_and_hides_no_other(
    key: SigningKey, other: SigningKey, version: int
) -> None:
    raw = bytearray(other.public_binary())
    raw[2] = version

    for data in (bytes(raw) + key.public_binary(), key.public_binary() + bytes(raw)):
        keys = read_keys(data)
        assert keys.ring == read_keys(key.public_binary()).ring
        assert keys.oddities == (f"a key of version {version} in it cannot be used: only those of version 4",)
    assert refusal(bytes(raw)) == (
        f"it holds no OpenPGP public key; a key of version {version} in it cannot be used: "
        "only those of version 4"
    )


def test_a_secret_key_is_not_taken_for_a_public_one(key: SigningKey) -> None:
    for arguments in (["--export-secret-keys"], ["--armor", "--export-secret-keys"]):
        secret = key._gpg(*arguments, key.fingerprint)
        for data in (secret, key.public_binary() + secret, key.public_armored() + secret):
            assert refusal(data).startswith("it holds a secret key, which nobody else should have")


def test_what_else_gpg_writes_is_named(key: SigningKey) -> None:
    signature, text = key.detach(b"text"), key.clearsign(b"text\n")
    binary = key._gpg("--detach-sign", stdin=b"text")
    message = key._gpg("--sign", stdin=b"text")

    assert "no OpenPGP public key but a PGP SIGNATURE: write what `gpg --export" in refusal(signature)
    assert "no OpenPGP public key but a PGP SIGNED MESSAGE" in refusal(text)
    assert "no OpenPGP public key but signatures without one" in refusal(binary)
    assert "no OpenPGP public key but something else" in refusal(packet(11, b"b\0\0\0\0\0text"))
    assert "no keyring" in refusal(message)
    assert "but a PGP SIGNATURE" in refusal(key.public_armored() + signature)
    assert "parts of a key without one" in refusal(
        b"".join(one.raw for one in list(packets(key.public_binary()))[1:])
    )


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\0" * 100, b"hello\n", b"<html>Please log in</html>", b"\x13KBX" * 9]
)
def test_a_file_without_any_key_says_so_and_how_to_make_one(data: bytes) -> None:
    assert refusal(data) == "it holds no OpenPGP public key: write what `gpg --export KEY` prints"


def test_a_file_that_is_not_whole_is_told_from_one_without_keys(
    tmp_path: Path, key: SigningKey, other: SigningKey
) -> None:
    binary, armored, box = key.public_binary(), key.public_armored(), keybox(tmp_path, key, other)

    assert {refusal(binary[:length]) for length in (1, 2, 40, 53 + 5, len(binary) - 1)} <= {
        f"it is cut off, damaged, or no keyring: {problem}"
        for problem in ("it does not end where it says", "it has a packet without a length")
    }
    for length in (40, len(armored) // 2, len(armored) - 10):
        assert "does not end: it is cut off" in refusal(armored[:length])
        assert "does not end: it is cut off" in refusal(other.public_armored() + armored[:length])
    assert "gpg's keybox does not end" in refusal(box[:-1])
    assert "cut off, damaged, or no keyring" in refusal(binary + b"garbage" + binary)
    assert "neither text nor keys" in refusal(armored + b"text \0\xff\n" + armored)
    assert "no base64" in refusal(armored.replace(b"\n\n", b"\n\n*", 1))


@pytest.mark.parametrize(
    ("tag", "size", "header"),
    [
        (6, 255, "98 ff"),
        (6, 256, "99 01 00"),
        (6, 65535, "99 ff ff"),
        (6, 65536, "9a 00 01 00 00"),
        (15, 1, "bc 01"),
        (16, 1, "d0 ff 00 00 00 01"),
        (17, 300, "d1 ff 00 00 01 2c"),
    ],
)
def test_a_packet_is_written_in_the_old_format_where_that_knows_its_tag(
    tag: int, size: int, header: str
) -> None:
    """As RFC 9580 section 4.2 says, and as gpg exports keys."""
    written = packet(tag, bytes(size))
    assert written == bytes.fromhex(header) + bytes(size)
    assert [(one.tag, one.body) for one in packets(written)] == [(tag, bytes(size))]
