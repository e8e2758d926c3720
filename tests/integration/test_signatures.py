"""A document that cannot be believed changes nothing: it is refused, counted and told."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.mirror import Mirror
from proxy.signatures.keyring import GpgMissing, KeyringError

INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"
DAY_S = 24 * 3600


class Keys:
    """Keys that are all in the mirror's keyring, except `stranger`."""

    def __init__(self) -> None:
        self.stranger = SigningKey("Stranger <stranger@example.test>")
        self.expired = SigningKey.expired()
        self.revoked = SigningKey.revoked()
        self.veteran = SigningKey(
            "Veteran <veteran@example.test>", created_s=int(time.time()) - 3 * 365 * DAY_S
        )

    def known(self) -> bytes:
        return b"".join(key.public_binary() for key in (self.expired, self.revoked, self.veteran))

    def close(self) -> None:
        for key in (self.stranger, self.expired, self.revoked, self.veteran):
            key.close()


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    keys = Keys()
    yield keys
    keys.close()


@pytest.fixture
def keyring(tmp_path: Path, key: SigningKey, keys: Keys) -> Path:
    path = tmp_path / "keyring.gpg"
    path.write_bytes(key.public_binary() + keys.known())
    return path


async def stats(proxy: RunningProxy) -> dict[str, Any]:
    """Return what /-/stats says of the mirror."""
    async with proxy.get("/-/stats") as response:
        body = await response.json()
    found: dict[str, Any] = body["mirrors"]["test"]
    return found


def text_of(raw: bytes) -> bytes:
    """Return the text of a clear-signed document made by SignedTree."""
    return raw.split(b"\n\n", 1)[1].split(b"-----BEGIN PGP SIGNATURE")[0]


def expired_signature(text: bytes, keys: Keys) -> bytes:
    a_year_ago = int(time.time()) - 365 * DAY_S
    return keys.veteran._gpg("--default-sig-expire", "1d", "--clearsign", stdin=text, faked_time=a_year_ago)


def imitated_verdict(raw: bytes, key: SigningKey, keys: Keys) -> bytes:
    """Sign with the stranger's key, and have gpg quote a line of the text as if it had found another."""
    words = f"VALIDSIG {key.fingerprint} 2025-07-24 1753344108 0 4 0 22 10 01 {key.fingerprint}"
    quoted = b'{"note":\n-1, "more": "\xc2\x85[GNUPG:] %b x",\n' % words.encode()
    return keys.stranger.clearsign(text_of(raw).replace(b"{\n", quoted, 1)).replace(b"\n- -1", b"\n-1")


Tamper = Callable[[bytes, SigningKey, Keys], bytes]

FORGERIES: dict[str, tuple[Tamper, str]] = {
    "text before": (lambda raw, _, __: b"unsigned\n" + raw, "unsigned text stands before the signed block"),
    "text after": (lambda raw, _, __: raw + b"unsigned\n", "unsigned text stands after the signed block"),
    "second block": (lambda raw, _, __: raw + raw, "a second block follows the signed one"),
    "no signature": (lambda raw, _, __: text_of(raw), "it is not clear-signed"),
    "an error page": (lambda *_: b"<html>503</html>", "it is not clear-signed"),
    "empty": (lambda *_: b"", "it is not clear-signed"),
    "a header with text": (
        lambda raw, _, __: raw.replace(b"Hash: SHA512", b"Hash: SHA512\nComment: unsigned"),
        "headers other than 'Hash:'",
    ),
    "truncated": (lambda raw, _, __: raw[:-100], "it is truncated"),
    "a changed byte": (
        lambda raw, _, __: raw.replace(b"products:1.0", b"products:1.1", 1),
        "the signature does not match: the text was changed after key",
    ),
    "a line that was not signed": (
        lambda raw, _, __: raw.replace(b"\n\n{", b"\n\n- {", 1).replace(b"{\n", b'{\n- "evil": 1,\n', 1),
        "the signature does not match",
    ),
    "text that gpg passes over": (
        lambda raw, _, __: raw.replace(b"{\n", b"{" + b" " * 20_000 + b'"evil": 1,\n', 1),
        "text that gpg did not check",
    ),
    "a stranger's key": (
        lambda raw, _, keys: keys.stranger.clearsign(text_of(raw)),
        "which is not in the mirror's keyring",
    ),
    "an imitated verdict": (imitated_verdict, "which is not in the mirror's keyring"),
    "an expired key": (lambda raw, _, keys: keys.expired.clearsign(text_of(raw)), "has expired"),
    "a revoked key": (lambda raw, _, keys: keys.revoked.clearsign(text_of(raw)), "has been revoked"),
    "an expired signature": (
        lambda raw, _, keys: expired_signature(text_of(raw), keys),
        "the signature by key",
    ),
    "SHA-1": (lambda raw, key, _: key.clearsign(text_of(raw), digest_algo="SHA1"), "rests on SHA-1"),
    "no JSON": (lambda _, key, __: key.clearsign(b"no JSON"), "it is not JSON"),
    "no simplestreams": (lambda _, key, __: key.clearsign(b'{"a": 1}'), "its format is None"),
}


@pytest.mark.parametrize("path", [INDEX, LIST], ids=["index", "list"])
@pytest.mark.parametrize(("tamper", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_document_is_refused_and_the_last_good_generation_goes_on(
    proxy: RunningProxy,
    tree: SignedTree,
    key: SigningKey,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
    path: str,
    tamper: Tamper,
    reason: str,
) -> None:
    old = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    good = {one: (await proxy.read(one)).body for one in (INDEX, LIST)}
    new = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    tree.write(path, tamper((tree.root / path).read_bytes(), key, keys))

    with caplog.at_level(logging.WARNING):
        await proxy.documents.checks.revalidate()

    assert {one: (await proxy.read(one)).body for one in (INDEX, LIST)} == good
    assert (await proxy.read(old.path)).body == old.read()
    assert (await proxy.read(new.path)).status == 404
    said = await stats(proxy)
    assert (said["refusals"], said["failures"], said["generation"]) == (1, 1, 1)
    assert f"{path} is refused: " in said["last_refusal"]
    assert reason in said["last_refusal"]
    assert said["last_refusal"] in caplog.text


async def test_once_the_publisher_puts_it_right_the_new_generation_is_served(
    proxy: RunningProxy, tree: SignedTree, keys: Keys
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    item = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    right = (tree.root / INDEX).read_bytes()
    tree.write(INDEX, keys.stranger.clearsign(text_of(right)))
    await proxy.documents.checks.revalidate()
    tree.write(INDEX, right)

    await proxy.documents.checks.revalidate()

    assert (await proxy.read(INDEX)).body == right
    assert (await proxy.read(item.path)).body == item.read()
    said = await stats(proxy)
    assert (said["refusals"], said["failures"], said["generation"]) == (1, 0, 2)
    assert "not in the mirror's keyring" in said["last_refusal"]


async def test_every_refusal_is_counted(
    proxy: RunningProxy, tree: SignedTree, keys: Keys, key: SigningKey
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    raw = (tree.root / INDEX).read_bytes()

    for count, (tamper, reason) in enumerate(FORGERIES.values(), start=1):
        tree.write(INDEX, tamper(raw, key, keys))
        await proxy.documents.checks.revalidate()
        said = await stats(proxy)
        assert (said["refusals"], said["failures"]) == (count, count)
        assert reason in said["last_refusal"]


async def test_with_a_forged_index_there_is_no_first_generation(
    proxy: RunningProxy, tree: SignedTree, keys: Keys
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    tree.write(INDEX, keys.stranger.clearsign(text_of((tree.root / INDEX).read_bytes())))

    for path in (INDEX, LIST):
        reply = await proxy.read(path)
        assert reply.status == 503
        assert b"which is not in the mirror's keyring" in reply.body
        assert reply.headers["Retry-After"]
    assert (await stats(proxy))["refusals"] == 1


async def test_a_list_that_was_never_good_is_answered_with_the_reason(
    proxy: RunningProxy, tree: SignedTree, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """The lists beside it are served; nothing is taken from the bad one."""
    lost = tree.add_item(PRODUCT, "20250701", "squashfs")
    kept = tree.add_item("bootloader", "20250701", "grub", content_id="boot")
    tree.publish()
    tree.write(LIST, keys.stranger.clearsign(text_of((tree.root / LIST).read_bytes())))

    with caplog.at_level(logging.WARNING):
        refused = await proxy.read(LIST)

    assert refused.status == 502
    assert b"which is not in the mirror's keyring" in refused.body
    assert (await proxy.read(kept.path)).body == kept.read()
    assert (await proxy.read(lost.path)).status == 404
    said = await stats(proxy)
    assert said["refusals"] == 1
    assert said["refused"] == {LIST: said["last_refusal"]}
    assert said["last_refusal"] in caplog.text


async def test_an_unsigned_index_is_no_way_around_the_signature(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    (tree.root / INDEX).unlink()

    reply = await proxy.read("streams/v1/index.json")

    assert reply.status == 503
    assert b"index.json is refused: it is not signed: there is no streams/v1/index.json.gpg" in reply.body


async def test_a_key_that_the_machines_user_trusts_does_not_count(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.key = keys.stranger
    tree.publish()
    monkeypatch.setenv("GNUPGHOME", str(keys.stranger._home))

    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert b"which is not in the mirror's keyring" in reply.body


@pytest.mark.parametrize("is_armored", [False, True])
async def test_a_keyring_may_be_binary_or_armored_and_hold_several_keys(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, key: SigningKey, keys: Keys, is_armored: bool
) -> None:
    export = SigningKey.public_armored if is_armored else SigningKey.public_binary
    (tmp_path / "several.asc").write_bytes(export(keys.veteran) + export(key))
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()

    mirror = replace(mirror, keyring=str(tmp_path / "several.asc"))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        assert (await proxy.read(INDEX)).status == 200
        assert (await stats(proxy))["signed_by"] == key.fingerprint


async def test_a_good_second_origin_makes_up_for_a_forging_first_one(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, keys: Keys
) -> None:
    """The forgery is counted all the same."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    liar = SignedTree(tmp_path / "liar", keys.stranger)
    liar.add_item(PRODUCT, "20250701", "squashfs", data=b"evil")
    liar.publish()

    async with Origin(liar.root) as first:
        mirror = replace(mirror, origins=(first.url, origin.url))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            assert (await proxy.read(LIST)).body == (tree.root / LIST).read_bytes()
            assert (await proxy.read(item.path)).body == item.read()
            said = await stats(proxy)

    assert said["refusals"] == 1
    assert said["last_refusal"].startswith(f"{first.url}{INDEX} is refused: ")


async def test_the_proxy_does_not_start_with_a_keyring_that_is_none(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "none.gpg").write_text("my keys\n")
    config = make_config(tmp_path / "data", replace(mirror, keyring=str(tmp_path / "none.gpg")))

    with pytest.raises(KeyringError, match=r"none\.gpg: it holds no OpenPGP public key"):
        async with run_proxy(config, Clock()):
            pass


async def test_the_proxy_does_not_start_without_gpg_and_says_how_to_get_it(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GpgMissing, match="sudo apt-get install gnupg"):
        async with run_proxy(make_config(tmp_path / "data", mirror), Clock()):
            pass
