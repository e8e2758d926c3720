"""What the statuses of an origin's replies mean to us (RFC 9110 section 15). Pure."""

from http import HTTPStatus

WHOLE = frozenset({HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION})
ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USEFUL = WHOLE | {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED}
"""With these there may be what was asked for."""
GOOD = USEFUL | REDIRECTS | ABSENT
"""With these an origin does its work."""
OF_THE_MOMENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""These have nothing to do with what was asked."""
