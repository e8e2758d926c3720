"""The line of a ready reply, put together from ready parts, is the one that a logger would write."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

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


def ready_and_usual(
    form: Callable[[], HumanForm | JsonForm], ended: Ended, *, is_journal: bool
) -> tuple[str, str]:
    """Return both lines of a request."""
    handler = LineHandler(form(), Destination(2, 4096, is_journal))
    put: list[str] = []
    handler.writer.put = lambda line, *_: put.append(line)  # type: ignore[method-assign]
    logger = logging.getLogger("proxy.test_log_line")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [handler], False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: MOMENT_S)
        write = RequestLog(logger, handler).prepare(ended._replace(client=None, sent_bytes=0, request_id=""))
        write(str(ended.client), ended.sent_bytes)
    given_id = put[0].rstrip('}"\n').rpartition("-")[2]
    record = logger.makeRecord(
        logger.name,
        logging.INFO,
        "",
        0,
        _EVENT,
        ended._replace(request_id=f"{os.getpid():x}-{given_id}").values(),
        None,
    )
    record.created, record.msecs = MOMENT_S, 250.0
    return put[0], f"{handler.format(record)}\n"


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
