"""Which editions are kept for how long after others took their place, and what is found in them."""

import dataclasses

import pytest
from support.drafted import INDEX, a_document, a_generation
from support.running import Clock

from proxy.documents.generation import NEVER, Edition
from proxy.documents.loaded import LoadedEditions
from proxy.simplestreams.catalog import Catalog

RETAIN_S = 100.0


def edition(number: int, *paths: str) -> Edition:
    documents = [a_document(path, str(number)) for path in (INDEX, *paths)]
    return Edition(generation=a_generation(*documents, number=number), catalog=Catalog([]))


@pytest.fixture
def now(clock: Clock) -> float:
    return clock()


def test_nothing_is_found_before_anything_is_served(clock: Clock) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    assert loaded.numbered(1) is None
    assert loaded.replaced_document(INDEX) is None
    assert loaded.find_digest(a_document(INDEX).digest) is None
    assert loaded.item("item") is None
    assert not loaded.drop_damaged()


def test_what_was_replaced_is_found_for_as_long_as_it_is_kept(clock: Clock) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    loaded.serve(edition(1, "streams/v1/old.sjson"))
    old = a_document("streams/v1/old.sjson", "1")
    loaded.serve(edition(2))
    clock.advance(RETAIN_S - 1)
    found = loaded.replaced_document(old.path)
    assert found is not None
    assert (found[0], found[1].generation.number) == (old.item, 1)
    assert loaded.find_digest(old.digest) == (old.item, True)
    clock.advance(1)
    assert loaded.replaced_document(old.path) is None
    assert loaded.find_digest(old.digest) is None
    # It can still be asked for by its number, until another edition is served.
    assert loaded.numbered(1) is not None
    loaded.serve(edition(3))
    assert loaded.numbered(1) is None
    assert loaded.numbered(2) is not None


def test_the_served_edition_comes_first(clock: Clock) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    loaded.serve(edition(1, "streams/v1/list.sjson"))
    loaded.serve(edition(2, "streams/v1/list.sjson"))
    found = loaded.replaced_document("streams/v1/list.sjson")
    assert found is not None
    assert found[1].generation.number == 2


def test_an_edition_that_is_served_again_is_no_replaced_one(clock: Clock, now: float) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    loaded.serve(edition(1))
    loaded.serve(edition(2))
    old = loaded.numbered(1)
    assert old is not None
    assert old.retired_at == now
    clock.advance(10)
    loaded.serve(old)
    assert loaded.served is not None
    assert loaded.served.retired_at == NEVER
    replaced = loaded.numbered(2)
    assert replaced is not None
    assert replaced.retired_at == now + 10


def test_a_moment_that_lies_ahead_is_now(clock: Clock, now: float) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    loaded.serve(edition(3))
    loaded.add_replaced(edition(2), now + 1000)
    loaded.add_replaced(edition(1), now - 10)
    moments = [one.retired_at for number in (2, 1) if (one := loaded.numbered(number)) is not None]
    assert moments == [now, now - 10]
    # A clock that was put back changes nothing either.
    clock.advance(-50)
    loaded.serve(edition(4))
    again = [one.retired_at for number in (3, 2, 1) if (one := loaded.numbered(number)) is not None]
    assert again == [now - 50, now - 50, now - 50]


def test_where_replaced_documents_lay_is_forgotten_with_them(clock: Clock) -> None:
    loaded = LoadedEditions(RETAIN_S, clock)
    loaded.serve(edition(1, "old/list.sjson"))
    loaded.serve(edition(2))
    assert loaded.may_be_document("old/list.sjson")
    clock.advance(RETAIN_S)
    loaded.serve(edition(3))
    assert not loaded.may_be_document("old/list.sjson")
    assert loaded.may_be_document(INDEX)


@pytest.mark.parametrize(("damaged", "is_replaced"), [(1, True), (2, False)])
def test_what_cannot_be_read_is_dropped(clock: Clock, damaged: int, *, is_replaced: bool) -> None:
    class Damaged(Catalog):
        is_damaged = True

    editions = [edition(1), edition(2)]
    editions[damaged - 1] = dataclasses.replace(editions[damaged - 1], catalog=Damaged([]))
    loaded = LoadedEditions(RETAIN_S, clock)
    for one in editions:
        loaded.serve(one)
    assert loaded.drop_damaged() is is_replaced
    assert loaded.numbered(damaged) is None
    assert loaded.numbered(3 - damaged) is not None
    assert (loaded.served is None) is not is_replaced
