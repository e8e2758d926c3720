"""A packed list says what was packed, by path and by digest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.digest import Digest, digest_of
from proxy.simplestreams import listing
from proxy.simplestreams.listing import Entry, Listing, ListingDamaged, pack

paths = st.text(st.characters(codec="utf-8"), max_size=20)
digests = st.binary(min_size=0, max_size=2).map(digest_of)
proofs = st.one_of(st.tuples(digests, st.integers(0, 2**63 - 1)), st.just((None, 0)))
entries = st.dictionaries(paths, st.tuples(st.text(max_size=5), proofs), max_size=30).map(
    lambda by_path: [Entry(path, version, *proof) for path, (version, proof) in by_path.items()]
)


@given(entries, paths)
def test_a_packed_list_says_what_was_packed(packed: list[Entry], other: str) -> None:
    found = Listing(pack(packed))
    assert sorted(found, key=str) == sorted(packed, key=str)
    assert found.verifiable == sum(entry.digest is not None for entry in packed)
    assert all(found.find(entry.path) == entry for entry in packed)
    assert (found.find(other) is None) == all(entry.path != other for entry in packed)
    for entry in packed:
        if entry.digest is not None:
            same = found.find_digest(entry.digest)
            assert same is not None
            assert same in packed
            assert same.digest == entry.digest
    assert found.find_digest(digest_of(b"none of these")) is None


def test_a_listing_of_another_layout_is_not_read() -> None:
    written = pack([Entry("a", "1", Digest("ab" * 32), 5)])
    for other in (written.replace(b"sstream-listing:1", b"sstream-listing:0"), written[:20], b""):
        with pytest.raises(ListingDamaged):
            Listing(other)


def test_paths_and_digests_that_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even were all their hashes to begin with the same bytes."""
    monkeypatch.setattr(listing, "_beginning", lambda _: 7)
    packed = [Entry(f"path {number}", "1", digest_of(b"%d" % number), number) for number in range(20)]
    found = Listing(pack(packed))
    for entry in packed:
        assert entry.digest is not None
        assert (found.find(entry.path), found.find_digest(entry.digest)) == (entry, entry)
    assert found.find("path 20") is None
    assert found.find_digest(digest_of(b"20")) is None
