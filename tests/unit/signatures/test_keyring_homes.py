"""The homes that gpg is given for the keys of a file."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.keys import SigningKey
from support.signed_texts import DAY_S, TEXT, open_ring, refusal
from support.unprivileged import as_ordinary_user

from proxy.errors import ProxyError
from proxy.signatures.keyfile import read_keys
from proxy.signatures.keyhome import HomeFault, sweep_homes
from proxy.signatures.keyring import (
    Keyring,
    _primary,
)


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
