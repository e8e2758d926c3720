"""A document as any origin gives it: its bytes, what tells whether it has changed, how it is asked for.

Values only. What they look like in a request is the business of each kind of origin.
"""

from dataclasses import dataclass
from typing import NamedTuple

from proxy.sources.freshness import Freshness
from proxy.sources.limits.flow import ANY_FLOW, Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What an origin said of one version of a document, to be asked later whether it still holds.

    Only the origin that gave them understands them (RFC 9110 section 8.8).
    """

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole document, and what makes the next request for it conditional."""

    data: bytes
    validators: Validators


class FetchOptions(NamedTuple):
    """How a document is asked for."""

    freshness: Freshness = Freshness.CONFIRMED
    is_replaceable: bool = False
    """Whether another origin can be asked, so that a very slow one may be given up."""
    is_held: bool = False
    """Whether an accepted version is served meanwhile."""
    flow: Flow = ANY_FLOW
    """The transfer that the bytes are for, where a limit makes transfers wait; origins set it themselves."""


CONFIRMED = FetchOptions()
