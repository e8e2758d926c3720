"""Prepared replies to requests that come again and again, byte for byte.

A reply is kept under the exact bytes of the request head that it
answered (but for the numbers of a range), and made anew every second, by the
first request then: so its Date and Age are never more than two seconds old. What
the head alone does not decide (which generation a client is to see) is asked of
the cache each time.
Everything that is not exactly such a head, on a connection that waits for one,
goes the usual way.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.counting.client_table import ClientTable, Visit
from proxy.counting.file_table import FileTable
from proxy.counting.subjects import MirrorTally
from proxy.recordings.asked import Request
from proxy.recordings.recorder import Recorder
from proxy.web.log_line import LOCAL, Ended, RequestLog
from proxy.web.wire.prepared import PreparedReply, RangeReplies, shared_head

_RENEWED_EVERY_S = 1.0
_COUNT_EVERY_S = 0.005
_LARGEST_REPLY_BYTES = 1024 * 1024 + 16 * 1024
"""A small body, and what goes with it."""
_REPLY_ITSELF_BYTES = 1024
_MOST_BYTES = 32 * 1024 * 1024
_LARGEST_HEAD_BYTES = 4096
_MOST_HEADS = 10_000
_NAMED = b"\r\nx-request-id:"
_HEAD_END = b"\r\n\r\n"
_METHODS = (b"GET /", b"HEAD /")


@dataclass(slots=True)
class CachedReply:
    """A prepared reply, and what has to be done for each time it goes out."""

    prepared: PreparedReply
    has_body: bool
    tally: MirrorTally
    clients: ClientTable
    files: FileTable
    visit: Visit
    """What is told of a client that gets it, but for its address."""
    is_current: Callable[[str], bool]
    """Whether the client at an address would get this very reply now."""
    is_for_all: bool
    """Whether that does not depend on the client."""
    on_used: Callable[[], None]
    """Notes that what it carries is in use."""
    ended: Ended
    """What is noted of each time, but for the client."""
    recorder: Recorder
    request: Request
    """What is recorded of it, while somebody wants that."""
    write_line: Callable[[str, int], None] = field(default=lambda *_: None)
    """Writes the log's line of a time: to which client, and how much body. Of the cache that keeps it."""
    is_renewed: bool = False
    """Whether some request is having it made anew."""
    true_at_s: float = -1.0
    """When it was known to be current."""
    times: int = 0
    """How often it went out since it was last counted."""
    sent_bytes: int = 0
    """How much body that was."""
    client: str = ""
    """Who got it these times."""


class ReplyCache:
    """The replies of one process."""

    def __init__(self, requests: RequestLog) -> None:
        self._requests = requests
        self._young: dict[bytes, CachedReply] = {}
        self._old: dict[bytes, CachedReply] = {}
        self._seen: set[bytes] = set()
        self._uncounted: list[CachedReply] = []
        self._held_bytes = 0
        self._ageing: asyncio.TimerHandle | None = None
        self._counting: asyncio.TimerHandle | None = None

    def find(self, head: bytes, client: str, now_s: float) -> CachedReply | None:
        """Return the reply to a request head, None when none is true at this time of the loop."""
        reply = self._young.get(head)
        if reply is None:
            reply = self._find_elsewhere(head)
            if reply is None:
                return None
        if reply.is_for_all and reply.true_at_s == now_s:
            return reply
        if not reply.is_current(client):
            if reply.is_for_all:
                self._drop(head)
            return None
        reply.true_at_s = now_s
        return reply

    def _drop(self, head: bytes) -> None:
        """Forget what is not true any more, so that what is takes its place."""
        for replies in (self._young, self._old):
            for key in (head, shared_head(head)):
                reply = replies.pop(key, None)
                if reply is not None:
                    _count(reply)
                    reply.prepared.close()

    def _find_elsewhere(self, head: bytes) -> CachedReply | None:
        """Find a reply among the old ones, or one that has further parts."""
        key = shared_head(head)
        reply = self._young.get(key) or self._old.get(head) or self._old.get(key)
        if reply is None or key in self._young:
            return reply
        if not reply.is_renewed:
            reply.is_renewed = True
            return None
        return reply

    def sent(self, reply: CachedReply, client: str, body_bytes: int) -> None:
        """Note that a reply has gone out; who asked over a local socket has no address."""
        client = client or LOCAL
        if not reply.times:
            self._uncounted.append(reply)
            reply.client = client
        elif reply.client != client:
            _count(reply)
            reply.client = client
        reply.times += 1
        reply.sent_bytes += body_bytes
        if self._counting is None:
            self._counting = asyncio.get_running_loop().call_later(_COUNT_EVERY_S, self.count)
        reply.write_line(client, body_bytes)

    def wants(self, head: bytes) -> bool:
        """Whether the reply to a head is worth keeping: it has come before, and is nothing special."""
        if _NAMED in head.lower():
            return False  # Each is told from the others by its own id in the log.
        if self._held_bytes + _LARGEST_REPLY_BYTES > _MOST_BYTES:
            return False  # It would be made for nothing.
        key = shared_head(head)
        if len(head) > _LARGEST_HEAD_BYTES or not head.startswith(_METHODS):
            return False
        if head in self._young or key in self._young:
            return False
        if key in self._seen or head in self._old or key in self._old:
            return True
        if len(self._seen) < _MOST_HEADS:
            self._seen.add(key)
            self._age_soon()
        return False

    def add(self, head: bytes, reply: CachedReply) -> None:
        """Keep the reply to a head, or to all that share it, if there is room."""
        key = shared_head(head) if isinstance(reply.prepared, RangeReplies) else head
        size = _weight(key, reply)
        if key in self._young or size > _LARGEST_REPLY_BYTES or self._held_bytes + size > _MOST_BYTES:
            reply.prepared.close()
            return
        self._held_bytes += size
        reply.write_line = self._requests.prepare(reply.ended)
        self._young[key] = reply
        self._age_soon()

    def count(self) -> None:
        """Count what has gone out."""
        self._counting = None
        for reply in self._uncounted:
            _count(reply)
        self._uncounted.clear()

    def close(self) -> None:
        """Count the rest, and forget everything."""
        for timer in (self._ageing, self._counting):
            if timer is not None:
                timer.cancel()
        self.count()
        for replies in (self._young, self._old):
            for reply in replies.values():
                reply.prepared.close()
            replies.clear()

    def _age_soon(self) -> None:
        if self._ageing is None:
            self._ageing = asyncio.get_running_loop().call_later(_RENEWED_EVERY_S, self._age)

    def _age(self) -> None:
        """Forget the old replies, and have the young ones made anew."""
        self._ageing = None
        self.count()
        for reply in self._old.values():
            reply.prepared.close()
        self._old, self._young = self._young, {}
        self._seen.clear()
        self._held_bytes = sum(_weight(key, reply) for key, reply in self._old.items())
        if self._old:
            self._age_soon()


def is_whole_head(data: bytes) -> bool:
    """Whether bytes are one request head and nothing else."""
    return data.find(_HEAD_END) == len(data) - len(_HEAD_END)


def _weight(head: bytes, reply: CachedReply) -> int:
    return reply.prepared.held_bytes + len(head) + _REPLY_ITSELF_BYTES


def _count(reply: CachedReply) -> None:
    if reply.times:
        ended = reply.ended
        reply.tally.ended_often(ended.outcome, reply.sent_bytes, reply.times, has_body=reply.has_body)
        visit = reply.visit._replace(client=reply.client)
        reply.clients.ended(visit, ended.outcome, reply.sent_bytes, reply.times)
        reply.files.asked(ended.digest, reply.client, reply.times)
        reply.on_used()
        if reply.recorder.is_on:
            reply.recorder.note(reply.request, reply.client)
        reply.times = reply.sent_bytes = 0
