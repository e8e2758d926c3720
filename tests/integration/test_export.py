"""`export` and `inventory`, as a person runs them."""

import asyncio
import hashlib
import io
import os
import select
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import Commands, Result, events
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree

from proxy.bundles.contents import Contents
from proxy.bundles.earlier import Earlier
from proxy.bundles.oci import blob_path
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
from proxy.store.proofs import Proofs

SELECTION = ("--maas", "noble", "--arch", "amd64")
_LARGE = ("squashfs", "boot-initrd")
HELD = ("--maas", "noble,jammy", "--arch", "amd64")


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's: two releases, two architectures, boot loaders."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture
async def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for that tree, once some of it is here."""
    commands = Commands(tmp_path, origin, keyring)
    assert (await commands.run("prefetch", *HELD)).returncode == 0
    return commands


def _run(commands: Commands, *arguments: str) -> Result:
    return asyncio.run(commands.run(*arguments))


def _export(commands: Commands, to: Path, *options: str, code: int = 0) -> str:
    """Export what is here; return what is said."""
    done = _run(commands, "export", *options, "--to", str(to))
    assert done.returncode == code, done
    return done.stdout + done.stderr


def _command(commands: Commands, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "export", "--config", str(commands.config), *arguments]


def _contents(bundle: Path) -> Contents:
    (contents,) = Earlier.read(bundle).bundle.contents
    return contents


def _sums_are_right(folder: Path) -> bool:
    command = ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


def _files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def _unpacked(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        entries = archive.getmembers()
        assert len({one.name for one in entries}) == len(entries)
        return {one.name: archive.extractfile(one).read() for one in entries}  # type: ignore[union-attr]


def test_a_folder_a_tar_and_a_pipe_hold_the_same_and_its_digests_are_right(
    commands: Commands, tmp_path: Path
) -> None:
    folder, tar = tmp_path / "out/bundle", tmp_path / "out/bundle.tar"
    _export(commands, folder, *SELECTION)
    _export(commands, tar, *SELECTION)
    piped = subprocess.run(_command(commands, *SELECTION, "--to", "-"), capture_output=True, check=True)
    out, err = piped.stdout, piped.stderr

    contents = _contents(folder)
    for file in contents.files():
        data = (folder / blob_path(file.sha256)).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)
    assert contents.mirror == "maas"
    assert _sums_are_right(folder)
    assert out == tar.read_bytes()
    assert b"wrote standard output" in err
    assert _unpacked(out) == _files(folder)
    assert list(_unpacked(out))[:2] == ["oci-layout", "index.json"]
    assert (tmp_path / "out/bundle.tar.SHA256SUMS").read_text().startswith(hashlib.sha256(out).hexdigest())


def test_a_folder_on_the_same_file_system_costs_nothing_and_no_blob_is_hashed_again(
    commands: Commands, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    _export(commands, folder)
    largest = max(_contents(folder).items, key=lambda one: one.size)
    blob = commands.data / "blobs/sha256" / largest.sha256[:2] / largest.sha256
    assert blob.samefile(folder / blob_path(largest.sha256))
    store = LocalStore(commands.data)
    with closing(Ledger(commands.data / "ledger")) as ledger:
        assert Proofs(store, BlobRecords(ledger)).is_recent(largest.sha256)
    _export(commands, tmp_path / "copies", "--copy")
    assert not blob.samefile(tmp_path / "copies" / blob_path(largest.sha256))


def test_parts_are_whole_fit_and_any_of_them_can_be_made_again(commands: Commands, tmp_path: Path) -> None:
    _export(commands, tmp_path / "whole", "--copy")
    size = 1024**2
    largest = max(file.size for file in _contents(tmp_path / "whole").files())
    part_size = str(max(size, largest + 200_000))
    plan = events(_run(commands, "export", "--part-size", part_size, "--dry-run", "--json"))["plan"]
    _export(commands, tmp_path / "b.tar", "--part-size", part_size)
    parts = sorted(tmp_path.glob("b-*of*.tar"))

    assert len(parts) == len(plan["parts"]) > 1
    assert [one.stat().st_size for one in parts] == [one["bytes"] for one in plan["parts"]]
    assert all(one.stat().st_size <= int(part_size) for one in parts)
    unpacked = [_unpacked(one.read_bytes()) for one in parts]
    items = [set(one) - set(unpacked[index - 1]) for index, one in enumerate(unpacked)]
    assert all(items)
    together = set().union(*unpacked)
    contents = _contents(parts[0])
    assert {blob_path(file.sha256) for file in contents.files()} <= together
    assert all(one["index.json"] == unpacked[0]["index.json"] for one in unpacked)
    documents = {blob_path(file.sha256) for file in contents.documents}
    assert all(documents <= set(one) for one in unpacked)

    lost = parts[1].read_bytes()
    parts[1].unlink()
    _export(commands, tmp_path / "b.tar", "--part-size", part_size, "--only-part", "2")
    assert parts[1].read_bytes() == lost
    parts[1].unlink()
    _export(commands, tmp_path / "b.tar", "--like", str(parts[0]), "--only-part", "2")
    assert parts[1].read_bytes() == lost

    said = _export(commands, tmp_path / "b.tar", code=1)
    assert "is of an earlier bundle of" in said
    said = _export(commands, tmp_path / "c.tar", "--part-size", part_size, "--only-part", "99", code=2)
    assert "there is no part 99" in said


def test_what_was_interrupted_goes_on(commands: Commands, tmp_path: Path) -> None:
    folder, tar = tmp_path / "bundle", tmp_path / "bundle.tar"
    _export(commands, folder, "--copy")
    _export(commands, tar)
    whole, written = _files(folder), tar.read_bytes()

    one, two, *_ = sorted(file.sha256 for file in _contents(folder).items)
    (folder / "index.json").rename(folder / "index.json.part")
    (folder / blob_path(one)).unlink()
    (folder / (blob_path(one) + ".part")).write_bytes(b"half")
    (folder / blob_path(two)).write_bytes(bytes((folder / blob_path(two)).stat().st_size))
    said = _export(commands, folder, "--copy")
    assert (
        f"{len(_contents(folder).documents) + len(_contents(folder).items) - 2} files there already" in said
    )
    assert _files(folder) == whole

    for length in (0, 700, len(written) // 2, len(written) - 1):
        tar.unlink()
        Path(f"{tar}.part").write_bytes(written[:length])
        _export(commands, tar)
        assert tar.read_bytes() == written
    damaged = bytearray(written[: len(written) - 5000])
    damaged[len(written) // 2] ^= 1
    tar.unlink()
    Path(f"{tar}.part").write_bytes(damaged)
    _export(commands, tar)
    assert tar.read_bytes() == written
    assert not list(tmp_path.glob("*.part"))


def test_what_is_not_ours_stays_as_it_is(commands: Commands, tmp_path: Path) -> None:
    folder, file = tmp_path / "photos", tmp_path / "photos.tar"
    folder.mkdir()
    (folder / "cat.jpg").write_text("cat")
    file.write_text("cats")
    assert "cat.jpg" in _export(commands, folder, code=1)
    assert "is another file" in _export(commands, file, code=1)
    assert (_files(folder), file.read_text()) == ({"cat.jpg": b"cat"}, "cats")

    (folder / "cat.jpg").unlink()
    (folder / "lost+found").mkdir()
    _export(commands, folder, "ftype=squashfs", *SELECTION)
    before = _files(folder)
    assert "another bundle" in _export(commands, folder, code=1)
    assert _files(folder) == before


def test_what_is_not_here_is_named_and_nothing_is_written_without_leave(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    held = asyncio.run(commands.held(tree.items))
    gone, damaged, *_ = [one for one in held if one.path.startswith("noble/") and one.path.endswith(_LARGE)]
    commands.blob(gone).unlink()
    commands.blob(damaged).chmod(0o644)
    commands.blob(damaged).write_bytes(b"x" * damaged.size)

    said = _export(commands, tmp_path / "bundle", *SELECTION, code=3)
    assert f"NOT HERE maas {gone.path} is missing" in said
    assert f"NOT HERE maas {damaged.path} is damaged" in said
    assert not (tmp_path / "bundle").exists()
    assert (commands.data / "quarantine" / damaged.digest).exists()

    _export(commands, tmp_path / "bundle", *SELECTION, "--incomplete", code=3)
    contents = _contents(tmp_path / "bundle")
    assert {one.path for one in contents.items if one.is_missing} == {gone.path, damaged.path}
    assert {one.path for one in contents.items if not one.is_carried} == {gone.path, damaged.path}
    assert _sums_are_right(tmp_path / "bundle")


def test_what_the_far_side_has_is_left_out(commands: Commands, tmp_path: Path) -> None:
    _export(commands, tmp_path / "first", *SELECTION)
    _export(commands, tmp_path / "all")
    first, everything = ({one.sha256 for one in _contents(tmp_path / of).files()} for of in ("first", "all"))
    full, short = tmp_path / "inventory.txt", tmp_path / "short.txt"
    full.write_text(_run(commands, "inventory").stdout)
    short.write_text(_run(commands, "inventory", "--short").stdout.lower().replace("0", "o"))
    sums = tmp_path / "first/SHA256SUMS"

    left = {tmp_path / "first": everything - first, sums: everything - first, full: set(), short: set()}
    for number, (since, new) in enumerate(left.items()):
        _export(commands, tmp_path / f"since-{number}", "--since", str(since))
        contents = _contents(tmp_path / f"since-{number}")
        assert {one.sha256 for one in contents.files() if one.is_carried} == new
        assert contents.since == since.name
        assert not any(one.is_missing for one in contents.files())
    assert everything > first
    short.write_text(short.read_text().replace("\n2 ", "\n2 z", 1))
    assert "typed wrong" in _export(commands, tmp_path / "wrong", "--since", str(short), code=2)


def test_two_sites_compare_what_they_have_by_a_line(commands: Commands, tree: SignedTree) -> None:
    before = _run(commands, "inventory", "--digest").stdout
    assert before == _run(commands, "inventory", "maas", "--digest").stdout
    commands.blob(asyncio.run(commands.held(tree.items))[0]).unlink()
    assert before.count("\n") == 1
    assert _run(commands, "inventory", "--digest").stdout != before


def test_an_operators_signature_is_over_the_contents_and_is_made_once(
    commands: Commands, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(key.home))
    _export(commands, tmp_path / "bundle", "--sign", key.fingerprint)
    earlier = Earlier.read(tmp_path / "bundle")
    ((digest, signature),) = earlier.signatures.items()
    (tmp_path / "signature").write_bytes(signature)
    contents = tmp_path / "bundle" / blob_path(digest)
    command = ["gpg", "--verify", str(tmp_path / "signature"), str(contents)]
    assert subprocess.run(command, check=False).returncode == 0

    (tmp_path / "bundle/index.json").rename(tmp_path / "bundle/index.json.part")
    # Its agent's socket may have a path of 107 letters, and a temporary folder may lie deep.
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        monkeypatch.setenv("GNUPGHOME", home)
        subprocess.run(["gpg", "--batch", "--import"], input=key.public_binary(), check=True)
        _export(commands, tmp_path / "bundle", "--sign", key.fingerprint)
        assert Earlier.read(tmp_path / "bundle").signatures == earlier.signatures

        said = _export(commands, tmp_path / "other", "--sign", "nobody@example.test", code=1)
    assert "has no secret key nobody@example.test" in said
    assert not (tmp_path / "other").exists()


def test_a_full_disk_is_told_with_what_is_missing(commands: Commands) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            _command(commands, "--to", "-"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"standard output: No space left on device" in done.stderr


def test_an_interruption_does_not_wait_for_whoever_reads_the_pipe(commands: Commands) -> None:
    reader, writer = os.pipe()
    room = select.poll()
    room.register(writer, select.POLLOUT)
    with subprocess.Popen(_command(commands, "--to", "-"), stdout=writer, stderr=subprocess.PIPE) as process:
        while room.poll(0) and process.poll() is None:
            time.sleep(0.01)
        os.close(writer)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        os.close(reader)
        assert process.stderr is not None
        assert b"type again" in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "--to says where to"),
        (("--to", "x", "--only-part", "1"), "--only-part goes with"),
        (("--to", "-", "--part-size", "dvd"), "a pipe takes one part"),
        (("--to", "x", "--part-size", "7"), "less than"),
        (("--to", "x.tar.gz"), "name it *.tar"),
        (("--to", "x", "--part-size", "floppy"), "fat32, dvd, bd"),
        (("--to", "x", "--since", "nowhere"), "--since nowhere cannot be read"),
        (("--to", "x", "--like", "nowhere"), "--like nowhere cannot be read"),
        (("mass", "--to", "x"), "did you mean 'maas'"),
        (("noble", "--to", "x"), "a release is selected by --maas"),
    ],
)
def test_what_does_not_go_together_is_said(
    tmp_path: Path, keyring: Path, options: tuple[str, ...], reason: str
) -> None:
    done = _run(Commands(tmp_path, Nowhere(), keyring), "export", *options)
    assert done.returncode == 2
    assert reason in done.stderr


class Folder:
    """An origin that is a folder of this machine."""

    def __init__(self, tree: SignedTree) -> None:
        self.url = f"file://{tree.root}/"


def test_what_was_imported_and_waits_is_in_the_inventory_of_the_far_side(
    key: SigningKey, keyring: Path, tmp_path: Path
) -> None:
    tree = SignedTree(tmp_path / "small", key)
    _add(tree, "20250701")
    for site in ("near", "far"):
        (tmp_path / site).mkdir()
    near = Commands(tmp_path / "near", Folder(tree), keyring)
    far = Commands(tmp_path / "far", Nowhere(), keyring)
    assert _run(near, "prefetch").returncode == 0
    _export(near, tmp_path / "first")
    assert _run(far, "import", str(tmp_path / "first")).returncode == 0
    assert _held(far) == _files_of(tmp_path / "first")

    _add(tree, "20250801")
    assert _run(near, "prefetch").returncode == 0
    _export(near, tmp_path / "b.tar", "--part-size", "1MiB", "--since", str(tmp_path / "first"))
    one, two = sorted(tmp_path.glob("b-*of*.tar"))
    assert _run(far, "import", str(two)).returncode == 3
    inventory = tmp_path / "inventory.txt"
    inventory.write_text(_run(far, "inventory").stdout)
    _export(near, tmp_path / "rest", "--since", str(inventory))

    carried = {file.sha256 for file in _contents(tmp_path / "rest").files() if file.is_carried}
    assert carried == {file.sha256 for file in _contents(one).items if file.part == 1}
    assert _run(far, "import", str(tmp_path / "rest")).returncode == 0
    assert _run(far, "ready").returncode == 0
    assert _held(far) >= _files_of(one)


def _add(tree: SignedTree, version: str) -> None:
    for name in ("squashfs", "boot-kernel"):
        tree.add_item("com.ubuntu.maas:24.04", version, name, size=700_000)
    tree.publish()


def _held(commands: Commands) -> set[str]:
    lines = _run(commands, "inventory").stdout.splitlines()
    return {line.split()[0] for line in lines if not line.startswith("#")}


def _files_of(bundle: Path) -> set[str]:
    return {one.sha256 for one in _contents(bundle).files()}
