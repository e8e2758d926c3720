"""The line of the access log: what it says of a request that has ended, and how it is written.

Knows nothing of how the request was answered.
"""

import itertools
import logging
import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from proxy.logs.forms import LONGEST_LINE_BYTES, encoded
from proxy.logs.handler import LineHandler

LOCAL = "local"
"""Who asks over a socket that has no addresses."""
_EVENT = (
    "request client=%s method=%s path=%s status=%d outcome=%s bytes=%d seconds=%.3f digest=%s"
    " aborted=%s id=%s"
)
_MOST_CLIENTS = 4096
"""Whose addresses are kept as they stand in a line."""
_CREDENTIALS = re.compile(r"^([A-Za-z][\w+.-]*://)?[^/?#]*@")
"""What a target may have before its host."""
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

    def values(self) -> tuple[object, ...]:
        """Return the fields of the line."""
        aborted = "yes" if self.is_aborted else "no"
        seconds = round(self.seconds, 6)
        return (*self[:6], seconds, self.digest, aborted, self.request_id)


_MARKED = Ended("(client)", "", "", 0, "", 10**80, 0.0, "", is_aborted=False, request_id="(id)")
"""Stands where a ready line has room for what is new each time."""


def shown_path(raw_path: str) -> str:
    """Return a request target as lines show it: as it was sent, so in one word, but without credentials."""
    return _CREDENTIALS.sub(r"\1", raw_path)


def write_line(logger: logging.Logger, ended: Ended) -> None:
    """Write the one line of a request."""
    logger.info(_EVENT, *ended.values())


def new_request_id() -> str:
    """Return an id that no other request of this machine has had of late."""
    return f"{os.getpid():x}-{next(_numbers):x}"


class RequestLog:
    """Writes the lines of requests: any through the logger, those of ready replies from ready parts.

    Ready parts need a handler that alone gets what the logger gets.
    """

    def __init__(self, logger: logging.Logger, handler: LineHandler | None = None) -> None:
        self._logger = logger
        self._handler = handler
        self._clients: dict[str, str] = {}

    def write(self, ended: Ended) -> None:
        """Write the line of a request."""
        write_line(self._logger, ended)

    def prepare(self, ended: Ended) -> Callable[[str, int], None]:
        """Return what writes such a line again and again, given the client and how much body was sent.

        Each time it has an id of its own. No time passes between such a request and its reply.
        """
        if self._handler is None:
            return lambda client, body_bytes: self._write_again(ended, client, body_bytes)
        if not self._logger.isEnabledFor(logging.INFO):
            return lambda _client, _body_bytes: None
        return self._prepare_by(self._handler, ended)

    def _write_again(self, ended: Ended, client: str, body_bytes: int) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self.write(ended._replace(client=client, sent_bytes=body_bytes, request_id=new_request_id()))

    def _prepare_by(self, handler: LineHandler, ended: Ended) -> Callable[[str, int], None]:
        marked = ended._replace(
            client=_MARKED.client, sent_bytes=_MARKED.sent_bytes, request_id=_MARKED.request_id
        )
        name, level = self._logger.name, logging.INFO
        record = self._logger.makeRecord(name, level, __file__, 0, _EVENT, marked.values(), None)
        opening, line = handler.around_time(record)
        if len(encoded(line)) > LONGEST_LINE_BYTES // 4:
            # It may have to be shortened, or has been.
            return lambda client, body_bytes: self._write_again(ended, client, body_bytes)
        # Nobody can have written these marks: a path stands after the first, and before the others.
        before, _, line = line.partition(str(_MARKED.client))
        line, _, end = line.rpartition(str(_MARKED.request_id))
        middle, _, after = line.rpartition(str(_MARKED.sent_bytes))
        after = f"{after}{os.getpid():x}-"
        form, put, clients = handler.form, handler.writer.put, self._clients
        stamp, quoted, now, numbers = form.stamp, form.quoted, time.time, _numbers

        last_moment, last_client, last_bytes = "", "", -1
        ready = ""
        """All of the last line but for its number: requests come in bursts that share it."""

        def write(client: str, body_bytes: int) -> None:
            nonlocal last_moment, last_client, last_bytes, ready
            moment = stamp(now())
            if moment != last_moment or client != last_client or body_bytes != last_bytes:
                shown = clients.get(client)
                if shown is None:
                    if len(clients) >= _MOST_CLIENTS:
                        clients.clear()
                    shown = clients[client] = quoted(client)
                last_moment, last_client, last_bytes = moment, client, body_bytes
                ready = f"{opening}{moment}{before}{shown}{middle}{body_bytes}{after}"
            put(f"{ready}{next(numbers):x}{end}")

        return write
