"""The header fields that make a request conditional, and what caches on the way are told they may do."""

from proxy.sources.document import Validators
from proxy.sources.freshness import Freshness
from proxy.sources.http.conditions import conditions, freshness_fields


def test_each_freshness_has_fields_of_its_own() -> None:
    """RFC 9111 section 5.2.1: with max-age=0 a cache asks the origin, with no-cache always."""
    assert freshness_fields(Freshness.KEPT) == {}
    assert freshness_fields(Freshness.CONFIRMED) == {"Cache-Control": "max-age=0"}
    assert freshness_fields(Freshness.ANEW) == {"Cache-Control": "no-cache", "Pragma": "no-cache"}


def test_only_validators_that_can_be_sent_make_a_request_conditional() -> None:
    good = Validators(etag='"a-1"', last_modified="Sun, 29 Nov 2026 04:59:14 GMT")
    assert conditions(good) == {
        "If-None-Match": '"a-1"',
        "If-Modified-Since": "Sun, 29 Nov 2026 04:59:14 GMT",
    }
    assert conditions(Validators(etag='"a\nb"', last_modified="x\r\ny")) == {}
    assert conditions(Validators()) == {}
