"""Names of what was broken off."""

import pytest

from proxy.trees.leftovers import Kind, Leftovers, whole_name


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("noble/squashfs.part", "noble/squashfs"),
        ("noble/.squashfs.Xa3bC9", "noble/squashfs"),
        ("squashfs.filepart", "squashfs"),
        ("noble/squashfs", None),
        ("noble/.hidden", None),
        (".part", None),
    ],
)
def test_a_part_has_the_name_of_the_whole(path: str, whole: str | None) -> None:
    assert whole_name(path) == whole


def test_the_worst_kinds_come_first() -> None:
    leftovers = Leftovers()
    for kind in (Kind.HINT, Kind.UNLISTED, Kind.WRONG_HASH):
        leftovers.add(kind, "path")
    assert [kind for kind, _ in leftovers.kinds()] == [Kind.WRONG_HASH, Kind.UNLISTED, Kind.HINT]
    assert [kind for kind in Kind if kind.is_damage] == list(Kind)[:5]
