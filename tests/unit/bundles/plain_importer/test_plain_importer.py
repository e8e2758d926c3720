"""The plain importer: a program that needs nothing but Python's standard library and gpgv."""

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.drafted_bundles import (
    IMPORTER,
    Draft,
    call_importer,
    draft_of,
    files_of,
    item_blobs,
    run_importer,
)
from support.keys import SigningKey
from support.plain_importer import INDEX, PRODUCT, Site, add_version, expected
from support.tree import SignedTree

OLDEST = (3, 8)


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
