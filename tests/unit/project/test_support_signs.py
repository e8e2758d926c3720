"""Keys and trees of the tests themselves: gpg finds good what they sign, and lists say what is there."""

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from support.fixtures import (
    INDEX_2020_OTHER_KEY,
    OTHER_FINGERPRINT,
    OTHER_KEY,
    PRODUCTS_2016_PATH,
    UBUNTU_FINGERPRINT,
    UBUNTU_KEY,
    published_2016,
)
from support.keys import SigningKey
from support.maas import BOOTLOADER_CONTENT_ID, maas_tree
from support.tree import MAAS_CONTENT_ID, SignedTree

PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture(scope="module")
def key() -> Iterator[SigningKey]:
    """One key for all tests here."""
    with SigningKey() as made:
        yield made


def gpg_status(keys: bytes, signed: bytes, home: Path) -> str:
    """Verify clear-signed text; the result is gpg's status lines."""
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-autostart", "--status-fd", "1"]
    subprocess.run([*gpg, "--import"], input=keys, capture_output=True, check=True)
    return subprocess.run([*gpg, "--verify"], input=signed, capture_output=True, check=False).stdout.decode()


def test_keys_sign_what_gpg_verifies(key: SigningKey, tmp_path: Path) -> None:
    """Both exports verify both kinds of signature, at the time wanted."""
    signed = key.clearsign(b'{"a": 1}\n')
    assert b"\nHash: SHA512\n" in signed
    for exported in (key.public_binary(), key.public_armored()):
        assert f"VALIDSIG {key.fingerprint}" in gpg_status(exported, signed, tmp_path / "home")
    assert b"Hash: SHA256" in key.clearsign(b"{}\n", digest_algo="SHA256")
    moment = int(time.time()) - 5_000_000
    status = gpg_status(key.public_binary(), key.clearsign(b"{}\n", faked_time=moment), tmp_path / "home")
    assert f" {moment} " in status
    ring, detached = tmp_path / "ring.gpg", tmp_path / "x.gpg"
    ring.write_bytes(key.public_binary())
    detached.write_bytes(key.detach(b"data"))
    gpgv = ["gpgv", "--keyring", str(ring), str(detached), "-"]
    subprocess.run(gpgv, input=b"data", check=True, capture_output=True)


def test_expired_and_revoked_keys_are_reported_as_such(tmp_path: Path) -> None:
    """Their signatures are good, their state is told."""
    for make, word in ((SigningKey.expired, "EXPKEYSIG"), (SigningKey.revoked, "REVKEYSIG")):
        with make() as bad:
            status = gpg_status(bad.public_binary(), bad.clearsign(b"{}\n"), tmp_path / word)
            assert f"[GNUPG:] {word} {bad.fingerprint[-16:]}" in status
            assert f"VALIDSIG {bad.fingerprint}" in status


def test_close_ends_the_agent_and_its_home() -> None:
    """Nothing of a key stays behind."""
    with SigningKey() as closed:
        home = closed._home
        agent_socket = subprocess.run(
            ["gpgconf", "--homedir", str(home), "--list-dirs", "agent-socket"],
            check=True,
            capture_output=True,
        )
        path = agent_socket.stdout.decode().strip()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    assert not home.exists()
    assert not Path(path).exists()


def test_tree_lists_what_it_holds(key: SigningKey, tmp_path: Path) -> None:
    """Lists and indexes name the files and digests that are there, in both flavours."""
    tree = SignedTree(tmp_path / "root", key)
    tree.product(PRODUCT, arch="amd64")
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=3_000_001, kpackage="linux")
    known = tree.add_item(PRODUCT, "20250718", "manifest", path="m", data=b"hello")
    tree.add_item("other:product", "1", "x", content_id="com.example:other", path="m", seed=7, ftype="y")
    tree.index_entries["opaque"] = {"path": "m"}
    tree.publish(detached=True)
    assert hashlib.sha256(item.read()).hexdigest() == item.digest
    assert (known.path, known.size) == ("m", 5)
    folder = tmp_path / "root/streams/v1"
    names = {path.name.removeprefix(f"{MAAS_CONTENT_ID}.") for path in folder.iterdir()}
    assert {"json", "sjson", "json.gpg", "index.json", "index.sjson", "index.json.gpg"} <= names
    assert not any(name.endswith(".new") for name in names)
    products = json.loads((folder / f"{MAAS_CONTENT_ID}.json").read_bytes())["products"]
    assert products[PRODUCT]["arch"] == "amd64"
    listed = products[PRODUCT]["versions"]["20250718"]["items"]["squashfs"]
    assert listed == {
        "ftype": "squashfs",
        "kpackage": "linux",
        "path": item.path,
        "sha256": item.digest,
        "size": 3_000_001,
    }
    index = json.loads((folder / "index.json").read_bytes())["index"]
    assert index["com.example:other"]["path"] == "streams/v1/com.example:other.json"
    assert index["opaque"] == {"path": "m"}
    signed = (folder / "index.sjson").read_bytes()
    assert b'"streams/v1/com.example:other.sjson"' in signed
    assert f"VALIDSIG {key.fingerprint}" in gpg_status(key.public_binary(), signed, tmp_path / "home")


def test_each_publication_is_later_and_the_bytes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """Time goes on by seconds, content is reproducible."""
    tree = SignedTree(tmp_path, None)
    first = tree.add_item(PRODUCT, "1", "a")
    tree.publish()
    index = tmp_path / "streams/v1/index.json"
    moments = [parsedate_to_datetime(json.loads(index.read_bytes())["updated"])]
    inode = index.stat().st_ino
    tree.publish()
    moments.append(parsedate_to_datetime(json.loads(index.read_bytes())["updated"]))
    assert (moments[1] - moments[0]).total_seconds() == 1
    assert index.stat().st_ino != inode
    assert index.stat().st_mtime == moments[1].timestamp() < time.time()
    assert not (tmp_path / "streams/v1/index.sjson").exists()
    tree.publish(updated=1_000_000_000)
    assert '"Sun, 09 Sep 2001 01:46:40 +0000"' in index.read_text()
    modified_ns = first.data_path.stat().st_mtime_ns
    again = tree.add_item(PRODUCT, "1", "a", seed="another")
    assert first.data_path.stat().st_mtime_ns != modified_ns
    assert again.digest != first.digest
    assert tree.add_item(PRODUCT, "1", "b", seed=first.path).digest == first.digest


def test_removal_takes_files_that_nothing_lists_any_more(tmp_path: Path) -> None:
    """A shared file stays until its last listing goes."""
    tree = SignedTree(tmp_path, None)
    for product in ("p:1", "p:2"):
        for version in ("1", "2"):
            tree.add_item(product, version, "own")
            tree.add_item(product, version, "shared", path=f"shared-{version}")
    own, shared = tree.document()["products"]["p:1"]["versions"]["1"]["items"].values()
    tree.remove_version("1", "p:1")
    assert not (tmp_path / own["path"]).exists()
    assert (tmp_path / shared["path"]).exists()
    tree.remove_version("1")
    assert not (tmp_path / shared["path"]).exists()
    tree.remove("shared-2")
    for product in ("p:1", "p:2"):
        tree.remove(tree.document()["products"][product]["versions"]["2"]["items"]["own"]["path"])
    assert (tree.document()["products"], tree.items) == ({}, [])


def test_maas_tree_shares_one_squashfs_among_kernels(key: SigningKey, tmp_path: Path) -> None:
    """The tree has the shape that MAAS expects."""
    tree = maas_tree(tmp_path, key, releases=("22.04", "24.04"), arches=("amd64", "arm64"), scale=1e-5)
    products = tree.document()["products"]
    assert len(products) == 8
    ga, hwe = (
        products[f"com.ubuntu.maas.stable:v3:boot:24.04:amd64:{kernel}-24.04"]["versions"]["20250709"][
            "items"
        ]
        for kernel in ("ga", "hwe")
    )
    assert ga["squashfs"] == hwe["squashfs"]
    assert ga["boot-kernel"]["sha256"] != hwe["boot-kernel"]["sha256"]
    assert ga["boot-initrd"]["path"] == "noble/amd64/20250709/ga-24.04/generic/boot-initrd"
    uefi = tree.document(BOOTLOADER_CONTENT_ID)["products"][
        "com.ubuntu.maas.stable:1:grub-efi-signed:uefi:amd64"
    ]
    assert uefi["bootloader-type"] == "uefi"
    assert (tmp_path / "streams/v1/com.ubuntu.maas:stable:centos-bases-download.sjson").is_file()


def test_published_2016_is_signed_by_ubuntu(tmp_path: Path) -> None:
    """The real data verifies under the keys it came with."""
    published_2016(tmp_path)
    for path in ("streams/v1/index.sjson", PRODUCTS_2016_PATH):
        status = gpg_status(UBUNTU_KEY.read_bytes(), (tmp_path / path).read_bytes(), tmp_path / "home")
        assert f"VALIDSIG {UBUNTU_FINGERPRINT}" in status
    other = INDEX_2020_OTHER_KEY.read_bytes()
    assert "NO_PUBKEY" in gpg_status(UBUNTU_KEY.read_bytes(), other, tmp_path / "home")
    assert f"VALIDSIG {OTHER_FINGERPRINT}" in gpg_status(OTHER_KEY.read_bytes(), other, tmp_path / "other")


@pytest.mark.parametrize(
    "text", [b'{\n "a": 1\n}\n', b"\n", b"a\n\nb\n", b"no end", b"- dash\n", b"space \n", b"\ra\r\n"]
)
def test_gpg_finds_signatures_good_whoever_of_us_makes_them(key: SigningKey, text: bytes) -> None:
    """Texts that need escapes are signed by gpg itself."""
    read = key._gpg("--decrypt", stdin=key.clearsign(text))
    assert read.split() == text.split()


def test_gpg_finds_detached_signatures_good(key: SigningKey, tmp_path: Path) -> None:
    signature, data = tmp_path / "data.gpg", tmp_path / "data"
    for number in range(20):  # Numbers in them have leading zeros now and then.
        data.write_bytes(b"%d" % number)
        signature.write_bytes(key.detach(data.read_bytes()))
        key._gpg("--verify", str(signature), str(data))
