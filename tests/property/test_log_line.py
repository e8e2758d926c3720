"""The line of a ready reply, put together from ready parts, is the one that a logger would write."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.logs.destination import Destination
from proxy.logs.forms import LONGEST_LINE_BYTES, HumanForm, JsonForm
from proxy.logs.handler import LineHandler
from proxy.web.log_line import _EVENT, Ended, RequestLog

MOMENT_S = 1_700_000_000.25
paths = st.text(st.characters(blacklist_characters="\n"), max_size=60) | st.text(
    "/ab%({0x\\\"'\udcff…", max_size=900
)
clients = st.ip_addresses().map(str) | st.text(max_size=20)
both_forms = pytest.mark.parametrize("form", [HumanForm, JsonForm])
both_places = pytest.mark.parametrize("is_journal", [False, True])


class Sent(NamedTuple):
    """One time that a ready reply goes out."""

    client: str
    moment_s: float
    body_bytes: int


def ready_and_usual(
    form: Callable[[], HumanForm | JsonForm], ended: Ended, *, is_journal: bool
) -> tuple[str, str]:
    """Return both lines of a request."""
    once = Sent(str(ended.client), MOMENT_S, ended.sent_bytes)
    [lines] = all_ready_and_usual(form, ended, [once], is_journal=is_journal)
    return lines


def all_ready_and_usual(
    form: Callable[[], HumanForm | JsonForm], ended: Ended, times: list[Sent], *, is_journal: bool
) -> list[tuple[str, str]]:
    """Return both lines of each time that one reply goes out."""
    handler = LineHandler(form(), Destination(2, 4096, is_journal))
    put: list[str] = []
    handler.writer.put = lambda line, *_: put.append(line)  # type: ignore[method-assign]
    logger = logging.getLogger("proxy.test_log_line")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [handler], False
    with pytest.MonkeyPatch.context() as patch:
        clock = [MOMENT_S]
        patch.setattr(time, "time", lambda: clock[0])
        # Python 3.13 dates records by this one.
        patch.setattr(time, "time_ns", lambda: int(clock[0] * 1000) * 1_000_000)
        write = RequestLog(logger, handler).prepare(ended._replace(client=None, sent_bytes=0, request_id=""))
        for one in times:
            clock[0] = one.moment_s
            write(one.client, one.body_bytes)
    return [
        (line, f"{handler.format(_record(logger, ended, one, line))}\n")
        for line, one in zip(put, times, strict=True)
    ]


def _record(logger: logging.Logger, ended: Ended, sent: Sent, line: str) -> logging.LogRecord:
    """Return what the logger makes of a request whose id stands in a line."""
    given_id = line.rstrip('}"\n').rpartition("-")[2]
    told = ended._replace(
        client=sent.client, sent_bytes=sent.body_bytes, request_id=f"{os.getpid():x}-{given_id}"
    )
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, _EVENT, told.values(), None)
    record.created, record.msecs = sent.moment_s, sent.moment_s % 1 * 1000
    return record


@both_forms
@both_places
@given(
    path=paths,
    client=clients,
    method=st.sampled_from(["GET", "HEAD"]),
    status=st.sampled_from([200, 206, 304, 404]),
    sent_bytes=st.integers(0, 2**63),
)
@example(
    path="/(client) bytes=1 (id)" + str(10**80), client="(client)", method="GET", status=200, sent_bytes=1
)
@example(path='", "bytes": 1, "id": "(id)"}', client='"', method="GET", status=200, sent_bytes=0)
@example(path="\n2026 INFO forged\x1b[2J\u2028", client="\n", method="GET", status=200, sent_bytes=0)
@example(path="/%s%d%(x)s{}{0}", client="::1%eth0", method="GET", status=200, sent_bytes=0)
@example(path="/" + "\udcff" * 3000, client="::1", method="GET", status=404, sent_bytes=0)
def test_a_ready_line_is_as_the_logger_writes_it(is_journal: bool, form: Any, **fields: Any) -> None:
    ended = Ended(**fields, outcome="hit", seconds=0.0, digest="ab" * 32, is_aborted=False, request_id="")
    ready, usual = ready_and_usual(form, ended, is_journal=is_journal)
    if len(usual) < LONGEST_LINE_BYTES // 8:
        assert ready == usual
    assert ready[3 * is_journal + 30 :] == usual[3 * is_journal + 30 :]
    assert ready.count("\n") == 1
    assert len(ready.encode(errors="backslashreplace")) <= LONGEST_LINE_BYTES + 4


@both_forms
@both_places
@given(
    times=st.lists(
        st.builds(
            Sent,
            client=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            moment_s=st.sampled_from([MOMENT_S, MOMENT_S + 0.125, MOMENT_S + 1, MOMENT_S - 1]),
            body_bytes=st.sampled_from([0, 4096, 165_000]),
        ),
        min_size=2,
        max_size=12,
    )
)
def test_no_line_has_anything_of_the_one_before(is_journal: bool, form: Any, times: list[Sent]) -> None:
    ended = Ended("", "GET", "/a", 206, "hit", 0, 0.0, "ab" * 32, is_aborted=False, request_id="")
    lines = all_ready_and_usual(form, ended, times, is_journal=is_journal)
    assert [ready for ready, _ in lines] == [usual for _, usual in lines]
    ids = [ready.rstrip('}"\n').rpartition("-")[2] for ready, _ in lines]
    assert len(set(ids)) == len(ids)
