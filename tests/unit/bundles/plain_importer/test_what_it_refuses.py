"""The plain importer and what is signed wrongly, named oddly, lost or in its way."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.drafted_bundles import (
    Draft,
    call_importer,
    draft_of,
    run_importer,
)
from support.keys import SigningKey
from support.plain_importer import INDEX, Site, add_version, expected
from support.tree import SignedTree

from proxy.bundles.contents import write_contents
from proxy.bundles.oci import blob_path
from proxy.bundles.plain_importer import Keyring, Stop, named_items
from proxy.digest import digest_of

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
