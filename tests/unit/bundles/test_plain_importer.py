"""The plain importer: a program that needs nothing but Python's standard library and gpgv."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.drafted_bundles import (
    IMPORTER,
    Draft,
    Ended,
    call_importer,
    draft_of,
    files_of,
    item_blobs,
    run_importer,
)
from support.keys import SigningKey
from support.tree import SignedTree

from proxy.bundles.contents import write_contents
from proxy.bundles.oci import blob_path
from proxy.bundles.plain_importer import Keyring, Stop, named_items
from proxy.digest import digest_of

OLDEST = (3, 8)
PRODUCT = "com.ubuntu.maas:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"


def pythons() -> list[str]:
    """Return a Python of each version that is here and that the program promises to run on."""
    found = {f"3.{sys.version_info.minor}": sys.executable}
    installed = [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python3")]
    for minor in range(OLDEST[1], 30):
        there = [path for path in installed if f"/3.{minor}." in path]
        path = shutil.which(f"python3.{minor}", path="/usr/local/bin:/usr/bin") or next(iter(there), None)
        if path is not None:
            found.setdefault(f"3.{minor}", path)
    return list(found.values())


@pytest.fixture(scope="module")
def other_key() -> Iterator[SigningKey]:
    with SigningKey("An Operator <operator@example.test>") as other:
        yield other


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    tree = SignedTree(tmp_path / "upstream", key)
    add_version(tree, "20260101")
    return tree


def add_version(tree: SignedTree, version: str) -> Draft:
    """Publish another version, and return the bundle of all."""
    for name in ("boot-kernel", "squashfs"):
        tree.add_item(PRODUCT, version, name, size=3000)
    tree.add_item(PRODUCT, version, "odd", path=f"odd/{version}%3Aa%2Bb", data=b"")
    tree.publish(detached=True)
    return draft_of(tree)


def expected(draft: Draft) -> dict[str, bytes]:
    return {one.path: draft.files[one.sha256] for one in draft.contents.files()}


class Site:
    """A site without us."""

    def __init__(self, folder: Path, keyring: Path) -> None:
        self.tree = folder / "site"
        self.keyring = keyring
        self._more = 0
        self._folder = folder

    def take(self, *arguments: str | Path, stdin: bytes = b"") -> Ended:
        """Run the importer into this site's tree."""
        return call_importer(*self.start, *arguments, stdin=stdin)

    @property
    def start(self) -> list[str | Path]:
        """Return what a command line begins with."""
        return ["--keyring", self.keyring, "--to", self.tree]

    @property
    def files(self) -> dict[str, bytes]:
        return files_of(self.tree)


@pytest.fixture
def site(tmp_path: Path, keyring: Path) -> Site:
    return Site(tmp_path, keyring)


def test_it_imports_from_the_standard_library_alone_and_reads_as_python_of_its_oldest_version() -> None:
    module = ast.parse(IMPORTER.read_text(), feature_version=OLDEST)
    imports = [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {one.name for node in imports if isinstance(node, ast.Import) for one in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    assert all(node.level == 0 for node in imports if isinstance(node, ast.ImportFrom))


@pytest.mark.parametrize("python", pythons())
def test_a_folder_becomes_a_tree(site: Site, tree: SignedTree, tmp_path: Path, python: str) -> None:
    draft = add_version(tree, "20260201")
    ended = run_importer(*site.start, draft.write_folder(tmp_path / "stick"), python=python)
    assert (ended.code, ended.said) == (0, "")
    assert site.files == expected(draft)
    assert "signed by" in ended.told
    assert "Complete" in ended.told


def test_it_imports_the_bundle_in_which_it_lies(tree: SignedTree, tmp_path: Path, keyring: Path) -> None:
    draft = add_version(tree, "20260201")
    program = draft.write_folder(tmp_path / "stick") / "import-bundle.py"
    ended = run_importer("--keyring", keyring, "--to", tmp_path / "site", program=program)
    assert ended.code == 0
    assert files_of(tmp_path / "site") == expected(draft)


def test_a_tar_is_taken_in_any_order_and_from_a_pipe(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    draft = add_version(tree, "20260201")
    folder = draft.write_folder(tmp_path / "stick")
    for options in (["--sort=name"], ["--format=gnu"], ["--format=pax"]):
        command = ["tar", "-cf", "-", *options, "-C", str(folder.parent), folder.name]
        data = subprocess.run(command, check=True, capture_output=True).stdout
        assert site.take("-", stdin=data).code == 0
        assert site.files == expected(draft)
        shutil.rmtree(site.tree)


def test_parts_come_in_any_order_and_what_lacks_is_named(
    site: Site, tree: SignedTree, tmp_path: Path
) -> None:
    draft = add_version(tree, "20260201")
    first, *others = item_blobs(draft)
    lost = draft.contents.items[0]
    one = draft.write_tar(tmp_path / "1of2.tar", lacking=[first])
    other = draft.write_tar(tmp_path / "2of2.tar", lacking=others)
    ended = site.take(one)
    assert ended.code == 3
    assert f"Missing: {lost.path}, {lost.size:,} bytes" in ended.said
    assert site.files.keys() == expected(draft).keys() - {lost.path}  # Nothing was there: that is better.
    assert site.take(other).code == 0
    assert site.files == expected(draft)
    shutil.rmtree(site.tree)
    assert site.take(other, one).code == 0
    shutil.rmtree(site.tree)
    assert site.take("-", stdin=other.read_bytes() + one.read_bytes()).code == 0
    assert site.files == expected(draft)


def test_a_tree_stays_as_it_is_until_all_is_there(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    before = add_version(tree, "20260101")
    assert site.take(before.write_folder(tmp_path / "first")).code == 0
    after = add_version(tree, "20260201")
    lost = item_blobs(after)[-1]
    ended = site.take(after.write_folder(tmp_path / "second", lacking=[lost]))
    assert ended.code == 3
    assert site.files[INDEX] == expected(before)[INDEX]
    assert site.take(after.write_folder(tmp_path / "second")).code == 0
    assert site.files[INDEX] == expected(after)[INDEX]


def test_a_difference_needs_what_came_before(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    before = add_version(tree, "20260101")
    after = add_version(tree, "20260201").without_items(one.path for one in before.contents.items)
    second = after.write_folder(tmp_path / "second")
    ended = site.take(second)
    assert ended.code == 3
    assert "an earlier bundle" in ended.said
    shutil.rmtree(site.tree)
    assert site.take(before.write_folder(tmp_path / "first")).code == 0
    assert site.take(second).code == 0
    assert site.files == expected(after)
    same = after.without_items(one.path for one in after.contents.files())
    assert site.take(same.write_tar(tmp_path / "nothing.tar")).code == 0
    shutil.rmtree(site.tree)
    assert site.take(tmp_path / "first").code == 0
    ended = site.take(tmp_path / "nothing.tar")  # Its documents are not those of the tree.
    assert ended.code == 3
    assert "streams/v1/" in ended.said


def test_an_older_bundle_is_refused_unless_told(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    before = add_version(tree, "20260101").write_folder(tmp_path / "first")
    assert site.take(add_version(tree, "20260201").write_folder(tmp_path / "second")).code == 0
    served = site.files
    ended = site.take(before)
    assert ended.code == 4
    assert "is older than the one in" in ended.said
    assert site.files == served
    assert site.take(before, "--accept-older").code == 0
    assert site.files[INDEX] != served[INDEX]


def test_a_list_older_than_the_index_says_is_refused(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    old, new = draft_of(tree), add_version(tree, "20260201")
    lists = {one.path: one for one in old.contents.documents if "index" not in one.path}
    documents = tuple(lists.get(one.path, one) for one in new.contents.documents)
    mixed = Draft(contents=replace(new.contents, documents=documents), files={**old.files, **new.files})
    ended = site.take(mixed.write_folder(tmp_path / "stick"))
    assert ended.code == 4
    assert "older than its index says" in ended.said
    assert site.files == {}


def test_an_interrupted_swap_is_put_right(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    draft = add_version(tree, "20260201")
    folder = draft.write_folder(tmp_path / "stick")
    assert site.take(folder).code == 0
    (site.tree / "streams").rename(site.tree / ".sstream-proxy" / "importing" / "streams-before")
    item = site.tree / draft.contents.items[0].path
    item.unlink()
    ended = site.take(draft.write_folder(tmp_path / "part", lacking=item_blobs(draft)))
    assert ended.code == 3
    assert site.files.keys() == expected(draft).keys() - {draft.contents.items[0].path}


def test_an_item_that_is_there_and_wrong_is_replaced(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    draft = add_version(tree, "20260201")
    folder = draft.write_folder(tmp_path / "stick")
    assert site.take(folder).code == 0
    item = next(site.tree / one.path for one in draft.contents.items if one.size)
    item.chmod(0o644)
    item.write_bytes(bytes(len(item.read_bytes())))
    assert site.take(folder).code == 0
    assert site.files == expected(draft)


def test_it_can_only_look(tree: SignedTree, tmp_path: Path, keyring: Path) -> None:
    draft = add_version(tree, "20260201")
    folder = draft.write_folder(tmp_path / "stick")
    start = ("--verify-only", "--keyring", keyring, "--to", tmp_path / "site", folder)
    assert call_importer(*start).code == 0
    blob = folder / item_blobs(draft)[0]
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    ended = call_importer(*start)
    assert ended.code == 4
    assert f"Wrong bytes: {draft.contents.items[0].path}" in ended.said
    blob.unlink()
    assert call_importer(*start).code == 3
    assert not (tmp_path / "site").exists()


def test_a_keyring_may_be_armored(tree: SignedTree, key: SigningKey, tmp_path: Path) -> None:
    keyring = tmp_path / "keys.asc"
    keyring.write_bytes(key.public_armored())
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    assert call_importer("--keyring", keyring, "--verify-only", folder).code == 0


def test_an_operators_signature_is_checked(
    site: Site, tree: SignedTree, other_key: SigningKey, tmp_path: Path
) -> None:
    folder = replace(draft_of(tree), signer=other_key).write_folder(tmp_path / "stick")
    ended = site.take(folder)
    assert ended.code == 4
    assert "--operator-keyring" in ended.said
    assert site.take(folder, "--operator-keyring", site.keyring).code == 4  # That is not the operator's.
    assert site.files == {}
    operators = tmp_path / "operators.gpg"
    operators.write_bytes(other_key.public_binary())
    assert site.take(folder, "--operator-keyring", operators).code == 0
    assert site.take(folder, "--ignore-signature").code == 0
    unsigned = draft_of(tree).write_folder(tmp_path / "unsigned")
    ended = site.take(unsigned, "--operator-keyring", operators)
    assert ended.code == 4
    assert "no operator has signed" in ended.said


def test_an_unsigned_mirror_is_taken_on_the_word_of_an_operator(
    other_key: SigningKey, tmp_path: Path, keyring: Path
) -> None:
    tree = SignedTree(tmp_path / "upstream", None)
    tree.add_item(PRODUCT, "20260101", "squashfs", size=3000)
    tree.publish()
    draft = replace(draft_of(tree, "streams/v1/index.json"), signer=other_key)
    folder = draft.write_folder(tmp_path / "stick")
    operators = tmp_path / "operators.gpg"
    operators.write_bytes(other_key.public_binary())
    start = ("--to", tmp_path / "site", "--operator-keyring", operators, folder)
    ended = call_importer(*start, "--keyring", keyring)
    assert ended.code == 4
    assert "bears no signature" in ended.said
    assert call_importer(*start).code == 0
    assert files_of(tmp_path / "site") == expected(draft)


@pytest.mark.parametrize("is_same", [True, False])
def test_a_plain_flavour_has_to_say_what_the_signed_one_says(
    site: Site, tree: SignedTree, tmp_path: Path, *, is_same: bool
) -> None:
    for path in tree.root.rglob("*.gpg"):
        path.unlink()
    plain = tree.root / "streams/v1/index.json"
    if not is_same:
        plain.write_bytes(plain.read_bytes().replace(b'"image-ids"', b'"image-downloads"'))
    draft = draft_of(tree)
    ended = site.take(draft.write_folder(tmp_path / "stick"))
    assert ended.code == (0 if is_same else 4)
    assert site.files == (expected(draft) if is_same else {})


def test_two_bundles_are_not_mixed(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    first = draft_of(tree).write_tar(tmp_path / "first.tar")
    second = add_version(tree, "20260201").write_tar(tmp_path / "second.tar")
    for ended in (site.take(first, second), site.take("-", stdin=first.read_bytes() + second.read_bytes())):
        assert ended.code == 1
        assert "one bundle after the other" in ended.said
    assert site.files == {}


def test_it_says_what_to_install(tree: SignedTree, tmp_path: Path, keyring: Path) -> None:
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    ended = run_importer("--keyring", keyring, "--verify-only", folder, path=str(tmp_path))
    assert ended.code == 1
    assert "gpgv is not installed" in ended.said


@pytest.mark.parametrize("arguments", [[], ["--to", "tree"], ["--keyring", "ring"], ["--what"]])
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    assert call_importer(*arguments).code == 2


LONGEST_LINE = 19_998
"""So much of a line gpgv 2.2 reads; it passes over the rest."""
TEXT = b'{"format": "index:1.0"}\n'


def refusal(key: SigningKey, document: bytes, folder: Path, said: bytes = TEXT) -> str | None:
    """Return why a document is refused by whoever has a key, None if it is not."""
    (folder / "ring").write_bytes(key.public_binary())
    try:
        text = Keyring(str(folder / "ring"), folder).text(document, "it")
    except Stop as stop:
        return f"{stop.code} {stop}"
    assert text.split() == said.split()
    return None


def test_keys_that_have_expired_or_been_revoked_and_broken_hashes_do_not_count(tmp_path: Path) -> None:
    with SigningKey.expired() as expired, SigningKey.revoked() as revoked, SigningKey() as key:
        for one in (expired, revoked):
            assert "4 Refused: it has no good signature" in str(refusal(one, one.clearsign(TEXT), tmp_path))
        assert "4 Refused: it has no good signature" in str(
            refusal(key, key.clearsign(TEXT, digest_algo="SHA1"), tmp_path)
        )
        assert refusal(key, key.clearsign_with(revoked, TEXT), tmp_path) is None
        assert refusal(key, key.clearsign(TEXT).replace(b"\n", b"\r\n"), tmp_path) is None


def test_what_gpgv_passes_over_is_refused(key: SigningKey, tmp_path: Path) -> None:
    document = key.clearsign(TEXT)
    assert refusal(key, document, tmp_path) is None
    padded = document.replace(TEXT, TEXT[:-1] + b" " * 20_000 + b'{"hidden": 1}\n')
    for changed in (
        padded,
        document + document,
        document.replace(b"Hash:", b"Comment: x\nHash:"),
        document[:-40],
    ):
        assert refusal(key, changed, tmp_path) is not None


def renamed(draft: Draft, old: str, new: str) -> Draft:
    """Return a bundle that calls a file by another name, everywhere."""

    def edit(text: bytes) -> bytes:
        return text.replace(json.dumps(old).encode(), json.dumps(new).encode())

    return replace(draft, edit_manifest=edit, edit_contents=edit)


def test_a_signed_document_gets_no_place_that_no_index_gives_it(
    site: Site, tree: SignedTree, tmp_path: Path
) -> None:
    draft = draft_of(tree)
    assert site.take(draft.write_folder(tmp_path / "first")).code == 0
    before = site.files
    index = next(one for one in draft.contents.documents if one.path == INDEX)
    for place in (draft.contents.items[0].path, "index.html", "streams/v1/other.sjson"):
        items = tuple(one for one in draft.contents.items if one.path != place)
        documents = (*draft.contents.documents, replace(index, path=place))
        contents = replace(draft.contents, documents=documents, items=items)
        ended = site.take(replace(draft, contents=contents).write_folder(tmp_path / place))
        assert ended.code == 4
        assert f"{place} is no list that the index names" in ended.said
        assert site.files == before


@pytest.mark.parametrize("letters", ["\x9b2J", "\u202egpj", "\u2028"])
def test_what_a_bundle_says_does_nothing_to_a_terminal(
    site: Site, tree: SignedTree, tmp_path: Path, letters: str
) -> None:
    draft = draft_of(tree)
    ended = site.take(renamed(draft, draft.contents.items[0].path, letters).write_folder(tmp_path / "stick"))
    assert ended.code == 4
    assert letters not in ended.said + ended.told
    ended = site.take("--mirror", "other", renamed(draft, "test", letters).write_tar(tmp_path / "stick.tar"))
    assert ended.code == 2
    assert letters not in ended.said
    assert ascii(letters)[1:-1] in ended.said


def test_the_contents_say_of_which_mirror_a_bundle_is(site: Site, tree: SignedTree, tmp_path: Path) -> None:
    draft = draft_of(tree)
    index = json.loads(draft.layout()["index.json"])
    del index["manifests"][0]["annotations"]  # As `skopeo copy docker://... oci:FOLDER` leaves it.
    folder = replace(draft, also={"index.json": json.dumps(index).encode()}).write_folder(tmp_path / "stick")
    assert site.take("--mirror", "test", folder).code == 0


def test_what_is_lost_of_a_bundle_is_missing_and_not_refused(
    site: Site, tree: SignedTree, tmp_path: Path
) -> None:
    draft = draft_of(tree)
    contents = blob_path(digest_of(write_contents(draft.contents)))
    ended = site.take(draft.write_folder(tmp_path / "stick", lacking=[contents]))
    assert ended.code == 3
    assert "the list of contents is missing" in ended.said


def test_a_keyring_may_be_several_armored_ones(
    tree: SignedTree, key: SigningKey, other_key: SigningKey, tmp_path: Path
) -> None:
    keyring = tmp_path / "keys.asc"
    keyring.write_bytes(other_key.public_armored() + b"\n" + key.public_armored().replace(b"\n", b"\r\n"))
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    assert call_importer("--keyring", keyring, "--verify-only", folder).code == 0
    keyring.write_bytes(
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    assert call_importer("--keyring", keyring, "--verify-only", folder).code == 1


@pytest.mark.parametrize(
    ("entry", "item"),
    [
        ({"format": []}, {}),
        ({"format": {}}, {}),
        ({"format": "products:1.0", "path": 7}, {}),
        ({}, {"path": "a", "sha256": "0" * 64, "size": float("inf")}),
        ({}, {"path": "a", "sha256": "0" * 64, "size": {}}),
        ({}, {"path": "a/../../b", "sha256": "0" * 64, "size": 1}),
    ],
)
def test_odd_values_of_a_list_name_nothing(entry: dict[str, object], item: dict[str, object]) -> None:
    products = {"p": {"versions": {"v": {"items": {"i": item}}}}}
    index = {"format": "index:1.0", "index": {"a": entry}, "products": products, "content_id": ""}
    assert named_items({INDEX: json.dumps(index).encode()}, ".sjson", False) == set()


def test_streams_is_exchanged_at_one_moment(
    site: Site, tree: SignedTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.take(draft_of(tree).write_folder(tmp_path / "first")).code == 0
    (site.tree / "streams" / "mine").write_text("mine")
    after = add_version(tree, "20260201")

    def rename(path: Path, _: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "rename", rename)
    assert site.take(after.write_folder(tmp_path / "second")).code == 0
    assert site.files == {**expected(after), "streams/mine": b"mine"}


def test_a_document_that_is_damaged_in_the_tree_is_replaced(
    site: Site, tree: SignedTree, tmp_path: Path
) -> None:
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    assert site.take(folder).code == 0
    before = site.files
    (site.tree / INDEX).write_bytes(b"half an ind")
    assert site.take(folder).code == 0
    assert site.files == before


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
def test_root_writes_nothing_where_another_user_could_lead_it_elsewhere(
    site: Site, tree: SignedTree, tmp_path: Path
) -> None:
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    site.tree.mkdir()
    for uid, mode, told in ((1234, 0o755, "sudo -u '#1234'"), (0, 0o777, "as another user")):
        os.chown(site.tree, uid, uid)
        site.tree.chmod(mode)
        ended = site.take(folder)
        assert ended.code == 1
        assert told in ended.said
        assert site.files == {}
    site.tree.chmod(0o755)
    below = (site.tree / draft_of(tree).contents.items[0].path).parent
    below.mkdir(parents=True)
    os.chown(below, 1234, 1234)
    assert site.take(folder).code == 1
    os.chown(below, 0, 0)
    umask = os.umask(0o077)
    try:
        assert site.take(folder).code == 0
    finally:
        os.umask(umask)
    assert (site.tree / "streams").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("gpgv", "code", "told"),
    [
        ("kill -9 $$", 1, "gpgv was ended by signal 9"),
        ("echo '[GNUPG:] GOODSIG 1 A'", 4, "has no good signature"),
        ("echo '[GNUPG:]'; echo; echo x", 4, "has no good signature"),
    ],
)
def test_a_gpgv_that_says_something_odd_proves_nothing(
    tree: SignedTree, tmp_path: Path, keyring: Path, gpgv: str, code: int, told: str
) -> None:
    program = tmp_path / "bin" / "gpgv"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{gpgv}\n")
    program.chmod(0o755)
    folder = draft_of(tree).write_folder(tmp_path / "stick")
    ended = run_importer("--keyring", keyring, "--verify-only", folder, path=str(program.parent))
    assert (ended.code, told in ended.said, "Traceback" in ended.said) == (code, True, False)
