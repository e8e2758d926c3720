"""What the cache of replies takes: files that are open, and memory."""

import contextlib
import logging
import os
from pathlib import Path

from support.ready_replies import KIB, LEARNING

from proxy.counting.client_table import Visit
from proxy.recordings.asked import Kind, Request
from proxy.web.log_line import Ended, RequestLog
from proxy.web.wire.prepared import RangeReplies, WholeReply
from proxy.web.wire.reply_cache import CachedReply, ReplyCache


def open_files(file: Path) -> int:
    """Count the descriptors of a file."""
    links = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the numbers
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - not always of a path
    return links.count(str(file))


async def test_few_files_are_kept_open(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    replies = ReplyCache(RequestLog(logging.getLogger("proxy.access")))
    before = open_files(file)
    for number in range(1000):
        head = b"GET /%d HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n" % number
        content = RangeReplies("HTTP/1.1 206 Partial Content", [], os.open(file, os.O_RDONLY))
        replies.add(head, hot(content))
    assert 100 <= open_files(file) - before <= 512
    replies.close()
    assert open_files(file) == before


def hot(content: WholeReply | RangeReplies) -> CachedReply:
    """Return a reply that is true for everybody."""
    return CachedReply(
        prepared=content,
        has_body=True,
        tally=None,  # type: ignore[arg-type]
        clients=None,  # type: ignore[arg-type]
        files=None,  # type: ignore[arg-type]
        visit=Visit("", "", "", ""),
        is_current=lambda _: True,
        is_for_all=False,
        on_used=lambda: None,
        ended=Ended(None, "GET", "/", 200, "hit", 0, 0.0, "", is_aborted=False, request_id=""),
        recorder=None,  # type: ignore[arg-type]
        request=Request(Kind.GOT, "", ""),
    )


async def test_memory_is_bounded() -> None:
    replies = ReplyCache(RequestLog(logging.getLogger("proxy.access")))
    for number in range(100):
        replies.add(b"GET /%d HTTP/1.1\r\n\r\n" % number, hot(WholeReply(b"", b"x" * KIB * KIB)))
    held = [number for number in range(100) if replies.find(b"GET /%d HTTP/1.1\r\n\r\n" % number, "", 0.0)]
    assert len(held) == 31  # Of 1 MiB each, with what goes with them, in 32 MiB.
    assert not any(replies.wants(b"GET /more HTTP/1.1\r\n\r\n") for _ in range(LEARNING))
    replies.close()
