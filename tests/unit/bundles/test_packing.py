"""How files are divided between the parts of a bundle."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundles.bundle import Bundle, divided
from proxy.bundles.contents import Contents, File
from proxy.bundles.packing import PRESETS, DoesNotFit, pack, room_for
from proxy.bundles.tar import tar_bytes
from proxy.digest import Digest

_PART = 100_000
_IN_EACH = 10_000
_SIZES = st.lists(st.integers(0, _PART - _IN_EACH - 4096), max_size=60)


def _digest(number: int) -> Digest:
    return Digest(f"{number:064x}")


@given(sizes=_SIZES)
def test_every_file_is_in_one_part_and_no_part_is_too_large(sizes: list[int]) -> None:
    files = [(f"f{number}", _digest(number), size) for number, size in enumerate(sizes)]
    parts = pack(files, _PART, _IN_EACH)
    assert parts == pack(reversed(files), _PART, _IN_EACH)
    assert parts.keys() == {digest for _, digest, _ in files}
    count = max(parts.values(), default=0)
    assert set(parts.values()) == set(range(1, count + 1))
    for part in range(1, count + 1):
        assert _IN_EACH + sum(room_for(size) for _, one, size in files if parts[one] == part) <= _PART


def test_a_file_that_fits_into_no_part_is_named_with_the_size_that_it_takes() -> None:
    files = [("small", _digest(1), 1), ("images/large", _digest(2), _PART)]
    with pytest.raises(DoesNotFit, match="images/large") as error:
        pack(files, _PART, _IN_EACH)
    parts = pack(files, error.value.least_bytes, _IN_EACH)
    assert len(parts) == len(files)
    with pytest.raises(DoesNotFit, match="what every part has"):
        pack([], _IN_EACH - 1, _IN_EACH)


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=40), is_signed=st.booleans())
def test_a_part_as_a_tar_is_no_larger_than_was_asked_for_and_all_say_who_has_what(
    sizes: list[int], is_signed: bool
) -> None:
    contents = _contents(sizes)
    limit = 130_000
    numbered = divided([contents], limit, b"importer" * 100, is_signed=is_signed)
    bundle = Bundle.of(numbered, b"importer" * 100, (lambda _, __: b"s" * 9000) if is_signed else None)
    parts = list(bundle.all_parts())
    assert len({part.index for part in parts}) == 1
    carried: list[Digest] = []
    for part in parts:
        assert tar_bytes(part) <= limit
        (document, *items) = (blob.digest for blob in part.blobs)
        assert document == contents.documents[0].sha256
        assert {file.sha256 for file in numbered[0].items if file.part == part.number} == set(items)
        carried += items
    assert sorted(carried) == sorted({file.sha256 for file in contents.items})


def test_what_is_not_carried_takes_no_room() -> None:
    contents = _contents([50_000] * 40)
    known = replace(contents, items=tuple(replace(one, is_carried=False) for one in contents.items))
    assert divided([known], 130_000)[0].parts == 1


def test_the_presets_leave_room_for_a_file_system() -> None:
    assert PRESETS["fat32"] == 2**32 - 1
    assert PRESETS["dvd"] < 4_700_372_992
    assert PRESETS["bd"] < 25_025_314_816


def _contents(sizes: list[int]) -> Contents:
    # The same digest under two paths, as boot loaders have it.
    items = [
        File(path=f"item-{number}", sha256=_digest(number // 2), size=sizes[number // 2 * 2])
        for number in range(len(sizes))
    ]
    index = File(path="streams/v1/index.sjson", sha256=_digest(2**200), size=300)
    return Contents(
        mirror="m",
        generation=1,
        index_path=index.path,
        accepted_at=0.0,
        documents=(index,),
        items=tuple(items),
    )
