"""Which origins may be asked for an item, and how long they are left in peace when all refuse to give it."""

from support.running import Clock

from proxy.sources.candidates import Candidates, Doubts, Source
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import OriginForbidden, OriginUnreachable
from proxy.sources.origin import OriginItem
from proxy.sources.route import Route


class Named:
    """An origin that nobody asks here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = name

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        raise NotImplementedError

    def item(self, path: str, size_bytes: int) -> OriginItem:
        raise NotImplementedError


def test_origins_that_all_refuse_are_left_in_peace_for_a_while() -> None:
    """They may let only so many requests through a second."""
    candidates = Candidates([Source(Route([Named("a"), Named("b")], Clock()), "item")], Doubts())
    a, b = candidates.able()
    assert candidates.least_pause_s() == 0
    candidates.note(a, OriginForbidden("a", "no", "walls say so"), contradicts_itself=False)
    assert candidates.least_pause_s() == 0
    candidates.note(b, OriginForbidden("b", "no"), contradicts_itself=False)
    assert candidates.least_pause_s() >= 1
    assert not candidates.all_refuse()
    for one in (a, b):
        candidates.note(one, OriginForbidden(one.origin.name, "no"), contradicts_itself=False)
    assert candidates.all_refuse()
    candidates.note(a, OriginUnreachable("a", "gone"), contradicts_itself=False)
    assert candidates.least_pause_s() == 0
    assert not candidates.all_refuse()


def test_origins_whose_copy_was_wrong_a_short_while_ago_are_not_asked() -> None:
    doubts = Doubts(wrong_at={"a": "its sha256 is wrong"})
    candidates = Candidates([Source(Route([Named("a"), Named("b")], Clock()), "item")], doubts)
    assert [one.origin.name for one in candidates.able()] == ["b"]
