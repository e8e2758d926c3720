"""The line of the access log: what it says of a request that has ended, and how it is written.

Knows nothing of how the request was answered.
"""

import itertools
import logging
import os
from typing import NamedTuple

_numbers = itertools.count(1)


class Ended(NamedTuple):
    """A request that has ended, as the log tells of it."""

    client: str | None
    method: str
    path: str
    status: int
    outcome: str
    sent_bytes: int
    seconds: float
    digest: str
    is_aborted: bool
    request_id: str


def write_line(logger: logging.Logger, ended: Ended) -> None:
    """Write the one line of a request."""
    logger.info(
        "request client=%s method=%s path=%s status=%d outcome=%s bytes=%d seconds=%.3f digest=%s"
        " aborted=%s id=%s",
        ended.client,
        ended.method,
        ended.path,
        ended.status,
        ended.outcome,
        ended.sent_bytes,
        round(ended.seconds, 6),
        ended.digest,
        "yes" if ended.is_aborted else "no",
        ended.request_id,
    )


def new_request_id() -> str:
    """Return an id that no other request of this machine has had of late."""
    return f"{os.getpid():x}-{next(_numbers):x}"
