"""Finding a tree in a folder, and the files in it."""

import os
from pathlib import Path

import pytest

from proxy.trees.errors import TreeRefused
from proxy.trees.finding import Sort, find_root, names_of, walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a tree."""
    root = tmp_path / "ephemeral-v3" / "stable"
    (root / "streams" / "v1").mkdir(parents=True)
    return root


@pytest.mark.parametrize("named", [".", "..", "../..", "streams", "streams/v1"])
def test_a_tree_is_found_one_level_too_high_or_too_deep(root: Path, named: str) -> None:
    found = find_root((root / named).resolve())
    assert found is not None
    assert found.samefile(root)


def test_of_several_trees_one_must_be_named(root: Path) -> None:
    (root.parent / "candidate" / "streams" / "v1").mkdir(parents=True)
    with pytest.raises(TreeRefused, match=r"there are 2 trees in .*candidate, .*stable"):
        find_root(root.parent.parent)
    assert find_root(root) == root


def test_a_folder_of_items_is_no_tree_though_it_lies_in_one(root: Path) -> None:
    (root / "noble").mkdir()
    assert find_root(root / "noble") is None


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_root(tmp_path / "missing")


def test_every_kind_of_entry_is_found_and_no_loop_followed(root: Path, tmp_path: Path) -> None:
    (root / "noble").mkdir()
    (root / "noble" / "squashfs").write_bytes(b"four")
    (root / "noble" / "again").symlink_to("squashfs")
    (root / "noble" / "loop").symlink_to("..")
    (root / "noble" / "out").symlink_to(tmp_path)
    os.mkfifo(root / "noble" / "fifo")
    found = {one.path: (one.sort, one.size_bytes) for entries in walk(root) for one in entries}
    assert found == {
        "noble/squashfs": (Sort.FILE, 4),
        "noble/again": (Sort.LINK, 4),
        "noble/loop": (Sort.LINK, 0),
        "noble/out": (Sort.LINK, 0),
        "noble/fifo": (Sort.OTHER, 0),
    }


def test_a_folder_too_deep_to_name_is_told_and_the_rest_is_found(root: Path) -> None:
    (root / "zz").write_bytes(b"")
    here = os.open(root, os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    entries = [one for found in walk(root) for one in found]
    assert [one.sort for one in entries] == [Sort.FILE, Sort.UNREADABLE]
    assert "too long" in entries[1].problem


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a/b", ["a/b"]),
        ("a%3Ab", ["a%3Ab", "a:b"]),
        ("a%253Ab", ["a%253Ab", "a%3Ab", "a:b"]),
        ("a%2Fb", ["a%2Fb", "a/b"]),
        ("%2e%2e/b", ["%2e%2e/b"]),
        ("100%", ["100%"]),
    ],
)
def test_a_name_stands_for_what_was_escaped(path: str, names: list[str]) -> None:
    assert names_of(path) == names


def test_the_record_of_an_export_is_no_part_of_the_tree(root: Path) -> None:
    (root / ".sstream-proxy/streams/v1").mkdir(parents=True)
    (root / ".sstream-proxy/tree.json").touch()
    (root / "streams/v1/index.sjson").touch()
    assert [one.path for entries in walk(root) for one in entries] == ["streams/v1/index.sjson"]
    assert find_root(root.parent) == root
    (root / "streams").rename(root / "away")
    assert find_root(root) is None
