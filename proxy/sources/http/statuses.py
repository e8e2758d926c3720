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
ASKED_TOO_MUCH = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""With these a server may say when it may be asked again."""
RANGE_REFUSED = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
)
"""With these a server may refuse a part of what it gives whole."""
