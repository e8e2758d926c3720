"""What a site says that it has."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bundles.contents import Contents, File
from proxy.bundles.inventory import (
    InventoryUnreadable,
    Known,
    held_digest,
    read_inventory,
    write_inventory,
    write_short,
)
from proxy.digest import Digest

_DIGESTS = st.lists(
    st.integers(0, 2**256 - 1).map(lambda one: Digest(f"{one:064x}")), max_size=30, unique=True
)


def _held(digests: list[Digest]) -> Contents:
    index = File(path="streams/v1/index.sjson", sha256=Digest("ab" * 32), size=3)
    items = tuple(File(path=f"i{at}", sha256=one, size=7) for at, one in enumerate(digests))
    return Contents(
        mirror="m", generation=4, index_path=index.path, accepted_at=0.0, documents=(index,), items=items
    )


HELD = _held([Digest(f"{number:02x}" * 32) for number in range(7)])
SHORT = write_short([HELD]).decode()
_FIRST_ROW = SHORT.splitlines()[1][2:]


@given(digests=_DIGESTS)
def test_whatever_is_held_is_known_to_whoever_reads_of_it(digests: list[Digest]) -> None:
    held = _held(digests)
    for written in (write_inventory([held]), write_short([held]), write_short([held, held])):
        known = read_inventory(written)
        assert all(file.sha256 in known for file in held.files())
        assert Digest("0123456789abcdef" * 4) not in known


def test_the_short_text_is_as_short_as_it_says_and_may_be_typed_in_many_ways() -> None:
    first, *rows = SHORT.splitlines()
    assert first.split()[:2] == ["SSTREAM1", "2"]
    assert len(rows) == 2
    assert len(write_short([_held([Digest(f"{one:064x}") for one in range(5000)])])) / 5000 < 15
    typed = SHORT.lower().replace("0", "o").replace("1 ", "1   ").replace("\n", "  \n\n")
    for other in (typed, "\n".join([first, *reversed(rows)])):
        assert all(file.sha256 in read_inventory(other.encode()) for file in HELD.files())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (letter, "A" if letter != "A" else "B")
        for letter in sorted(set(SHORT.splitlines()[1][2:]))
        if letter.isalnum()
    ],
)
def test_a_typing_error_is_found_in_its_line(before: str, after: str) -> None:
    first, row, *rows = SHORT.splitlines()
    wrong = "\n".join([first, row[:2] + row[2:].replace(before, after, 1), *rows])
    with pytest.raises(InventoryUnreadable, match="'1' was typed wrong"):
        read_inventory(wrong.encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SHORT.replace("SSTREAM1", "SSTREAM2"), "newer release"),
        ("\n".join(SHORT.splitlines()[:-1]), "lacks the line 2"),
        (SHORT.replace("SSTREAM1 2", "SSTREAM1 1"), ""),
        ("SSTREAM1", "first line"),
        ("# sstream-proxy inventory 2\n", "newer release"),
        ("", "empty"),
        ("\n# x\n", "empty"),
        ("hello\n", "line 1 is no SHA-256"),
        (f"{'a' * 63}  x\n", "line 1 is no SHA-256"),
        (b"\x00\xff".decode("latin-1"), "no SHA-256"),
    ],
)
def test_what_is_no_inventory_is_refused(text: str, reason: str) -> None:
    if not reason:
        assert read_inventory(text.encode())  # Fewer lines are announced than there are: all are read.
        return
    with pytest.raises(InventoryUnreadable, match=reason):
        read_inventory(text.encode())
    with pytest.raises(InventoryUnreadable, match="no text"):
        read_inventory(b"\xff\xfe")


def test_an_inventory_of_nothing_is_one() -> None:
    assert len(read_inventory(b"# sstream-proxy inventory 1\n")) == 0


def test_the_digest_is_the_same_for_the_same_files_alone() -> None:
    other = replace(HELD, generation=9, mirror="elsewhere", items=tuple(reversed(HELD.items)))
    assert held_digest(HELD) == held_digest(other)
    assert held_digest(HELD) != held_digest(replace(HELD, items=HELD.items[1:]))
    assert [len(group) for group in held_digest(HELD).split("-")] == [4, 4, 4, 4]


def test_what_two_say_is_joined() -> None:
    both = read_inventory(write_short([_held([])])) | Known(frozenset({Digest("c" * 64)}))
    assert Digest("c" * 64) in both
    assert Digest("ab" * 32) in both
    assert len(both) == 2
