"""The header fields that say how current a reply has to be, and for which version it is not needed.

Pure: RFC 9110 section 13.1 and RFC 9111 section 5.2.1.
"""

from collections.abc import Mapping

from proxy.sources.document import Validators
from proxy.sources.freshness import Freshness
from proxy.sources.http import fields

_FRESHNESS = {
    Freshness.KEPT: {},
    Freshness.CONFIRMED: {"Cache-Control": "max-age=0"},
    Freshness.ANEW: {"Cache-Control": "no-cache", "Pragma": "no-cache"},
}


def freshness_fields(freshness: Freshness) -> dict[str, str]:
    """Return the request's fields that tell caches on the way what they may do."""
    return _FRESHNESS[freshness]


def sent_validators(headers: Mapping[str, str]) -> Validators:
    """Return the validators that came with a reply, as far as they are fit to be sent again."""
    return Validators(
        etag=fields.etag(headers.get("ETag")), last_modified=fields.date(headers.get("Last-Modified"))
    )


def conditions(validators: Validators) -> dict[str, str]:
    """Return the fields that make a request conditional.

    What an earlier release stored, or another kind of origin gave, may be fit for nothing.
    """
    etag, last_modified = fields.etag(validators.etag), fields.date(validators.last_modified)
    found = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in found.items() if value is not None}


def range_condition(version: Validators) -> dict[str, str]:
    """Return the field that asks for a part of that version only, if its validator is strong enough.

    RFC 9110 section 13.1.5.
    """
    etag = fields.etag(version.etag)
    return {"If-Range": etag} if etag is not None and etag.startswith('"') else {}
