"""Which of several origins' drafts is accepted, and which are held back for a while."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.upstreams import Meter

from proxy.digest import digest_of
from proxy.documents.draft import Draft, Offer, choose_offer
from proxy.documents.generation import Document, Generation
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT
from proxy.sources.errors import OriginAbsent, OriginUnreachable
from proxy.sources.folder.origin import FolderOrigin
from proxy.sources.folder.reader import Reader
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import Origin

INDEX, ONE, TWO = "streams/v1/index.sjson", "streams/v1/one.sjson", "streams/v1/two.sjson"


@pytest.fixture
def origin() -> Iterator[Origin]:
    reader = Reader("test")
    yield FolderOrigin("file:///srv/", Path("/srv"), reader, UpstreamOptions(), Meter(), time.time)
    reader.close()


def document(path: str, updated: float) -> Document:
    digest = digest_of(f"{path} {updated}".encode())
    kind = INDEX_FORMAT if path == INDEX else PRODUCTS_FORMAT
    return Document(path=path, format=kind, digest=digest, size_bytes=1, text=digest, updated=updated)


def draft(updated: float, *lists: str) -> Draft:
    return Draft(index_path=INDEX, documents={path: document(path, updated) for path in (INDEX, *lists)})


@pytest.fixture
def current() -> Generation:
    return draft(100, ONE, TWO).accepted(1, "keys", 0.0, None)


def lacking(updated: float, current: Generation | None) -> Draft:
    """Return a draft without its second list."""
    found = draft(updated, ONE)
    found.leave_out(TWO, OriginAbsent("file:///srv/", "there is none"), current)
    return found


def test_the_newest_of_complete_drafts_is_accepted(origin: Origin, current: Generation) -> None:
    offers = [Offer(origin, draft(updated, ONE, TWO)) for updated in (200, 300, 250)]
    assert choose_offer(offers, current, is_over=False) == (offers[1], ())


def test_of_equally_new_drafts_the_fullest_is_accepted(origin: Origin) -> None:
    current = lacking(100, None).accepted(1, "keys", 0.0, None)
    short, full = Offer(origin, lacking(200, current)), Offer(origin, draft(200, ONE, TWO))
    for offers in ([short, full], [full, short]):
        assert choose_offer(offers, current, is_over=False) == (full, ())


def test_a_draft_that_would_take_away_a_list_is_held_back_and_it_is_said_why(
    origin: Origin, current: Generation
) -> None:
    short = Offer(origin, lacking(300, current))
    full = Offer(origin, draft(200, ONE, TWO))
    nothing, held_back = choose_offer([short], current, is_over=False)
    assert nothing is None
    assert [one.gaps for one in held_back] == [(f"{TWO} is named by the index and has vanished",)]
    chosen, held_back = choose_offer([short, full], current, is_over=False)
    assert chosen is full
    assert len(held_back) == 1
    assert choose_offer([short, full], current, is_over=True) == (short, ())


def test_the_first_draft_of_all_is_the_fullest_and_newer_ones_are_held_back(origin: Origin) -> None:
    newer, full, older = (
        Offer(origin, one) for one in (lacking(300, None), draft(200, ONE, TWO), lacking(100, None))
    )
    chosen, held_back = choose_offer([newer, full, older], None, is_over=False)
    assert chosen is full
    assert [one.gaps for one in held_back] == [(f"{TWO} is missing",)]
    assert choose_offer([], None, is_over=False) == (None, ())


@pytest.mark.parametrize(
    ("index", "one", "is_worth_it"), [(100, 100, False), (200, 100, True), (100, 200, True)]
)
def test_a_list_that_does_not_come_is_done_without_only_for_something_new(
    current: Generation, index: float, one: float, *, is_worth_it: bool
) -> None:
    found = Draft(index_path=INDEX, documents={INDEX: document(INDEX, index), ONE: document(ONE, one)})
    found.leave_out(TWO, OriginUnreachable("file:///srv/", "it is silent"), current)
    assert found.is_worth_its_gaps(current) is is_worth_it
