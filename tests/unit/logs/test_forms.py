"""Log lines: for people one line an event, for programs one JSON object with its fields."""

import ast
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.holding import ROOT

from proxy.digest import InvalidDigest
from proxy.logs.forms import LONGEST_LINE_BYTES, SHORTENED, HumanForm, JsonForm
from proxy.web.log_line import Ended, write_line


def record(template: object, *args: object, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    """Make a log record as a logger does."""
    found = logging.LogRecord("proxy.test", level, __file__, 1, template, args, None)
    found.created, found.msecs = 1_700_000_000.25, 250.0
    for name, value in more.items():
        setattr(found, name, value)
    return found


def as_json(template: object, *args: object, **more: Any) -> dict[str, object]:
    """Return the fields of an event, without time and level."""
    line = JsonForm().format(record(template, *args, **more))
    assert "\n" not in line
    fields: dict[str, object] = msgspec.json.decode(line)  # It is strict, as most readers are.
    assert fields.pop("time") == "2023-11-14T22:13:20.250Z"
    assert fields.pop("level") == "info"
    return fields


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test on a machine in New York."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("template", "args", "fields"),
    [
        ("worker.ready", (), {"event": "worker.ready"}),
        ("worker.ready pid=%d", (7,), {"event": "worker.ready", "pid": 7}),
        (
            "blob.filled digest=%s bytes=%d seconds=%.3f",
            ("ab", 10**12, 0.123456),
            {"event": "blob.filled", "digest": "ab", "bytes": 10**12, "seconds": 0.123456},
        ),
        ("request path=%r", ("a b",), {"event": "request", "path": "a b"}),
        ("request client=%s", (None,), {"event": "request", "client": None}),
        (
            "reply.cut problem=%s",
            (InvalidDigest("x"),),
            {"event": "reply.cut", "problem": "not a SHA-256 in hexadecimal: 'x'"},
        ),
        # whatever a client sends; half a surrogate pair is no text to most readers of JSON
        ("request path=%s", ('"\n\x1b[31m\udcff',), {"event": "request", "path": '"\n\x1b[31m\\udcff'}),
        ("\ud83d words of a library", (), {"event": r"\ud83d words of a library"}),
        # JSON has no number for these
        ("rule.ran seconds=%.1f", (float("nan"),), {"event": "rule.ran", "seconds": "nan"}),
        ("rule.ran seconds=%.1f", (-float("inf"),), {"event": "rule.ran", "seconds": "-inf"}),
        ("rule.ran names=%s", (["a", float("nan")],), {"event": "rule.ran", "names": "['a', nan]"}),
        # values that look like fields are none
        ("request path=%s", ("a b=%s c=%d",), {"event": "request", "path": "a b=%s c=%d"}),
    ],
)
@pytest.mark.usefixtures("zone")
def test_each_field_of_an_event_is_a_field_of_the_object(
    template: str, args: tuple[object, ...], fields: dict[str, object]
) -> None:
    """Numbers stay numbers, unrounded; anything else is text; times are UTC."""
    assert as_json(template, *args) == fields


@pytest.mark.parametrize(
    ("template", "args", "event"),
    [
        ("plain words of a library", (), "plain words of a library"),
        ("words with %s of %d", ("holes", 2), "words with holes of 2"),
        ("one=%s and %s", (1, 2), "one=1 and 2"),
        ("one=%(one)s", ({"one": 1},), "one=1"),
        (ValueError("no text at all"), (), "no text at all"),
    ],
)
def test_what_has_no_fields_is_an_event_in_words(
    template: object, args: tuple[object, ...], event: str
) -> None:
    """Other libraries log as they like, and none of it is lost."""
    assert as_json(template, *args) == {"event": event}


@pytest.mark.parametrize(
    ("msecs", "written"), [(0.0, "000"), (7.0, "007"), (250.9, "250"), (999.7, "999"), (999, "999")]
)
def test_a_second_has_1000_milliseconds(msecs: float, written: str) -> None:
    """Up to 3.12 they were no whole number, and 999.7 must not become 1000."""
    found = record("worker.ready")
    found.msecs = msecs
    assert json.loads(JsonForm().format(found))["time"] == f"2023-11-14T22:13:20.{written}Z"


@pytest.mark.parametrize("value", [["word"] * 2000, {"name": "value" * 1000}, 10**4100, "\udcff" * 2000])
def test_an_object_is_short_whatever_its_values_are(value: object) -> None:
    found = record("rule.ran names=%s items=%d", value, 7)
    line = JsonForm().format(found)
    assert len(line) <= LONGEST_LINE_BYTES
    told = msgspec.json.decode(line)
    assert (told["items"], SHORTENED in told["names"]) == (7, True)


def test_a_traceback_is_a_field_too() -> None:
    try:
        raise ValueError("broken")  # noqa: TRY301
    except ValueError:
        fields = as_json("blob.fill_crashed digest=%s", "ab", exc_info=sys.exc_info())
    assert fields["digest"] == "ab"
    assert str(fields["traceback"]).startswith("Traceback (most recent call last):\n")
    assert str(fields["traceback"]).endswith("ValueError: broken")


@pytest.mark.usefixtures("zone")
def test_people_get_their_own_time_level_event_and_fields() -> None:
    line = HumanForm().format(record("blob.filled bytes=%d", 5, level=logging.WARNING))
    assert line == "2023-11-14 17:13:20 WARNING blob.filled bytes=5"


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("form", [HumanForm, JsonForm])
def test_times_are_right_however_the_clock_is_set(form: type[HumanForm | JsonForm]) -> None:
    """A second's text is used again only within that second."""
    used = form()
    for moment_s in (0.0, 0.9, 1.0, 86400.5, 86399.999, -3600.0, -3600.5, 0.25):
        now_s = 1_700_000_000 + moment_s
        assert used.stamp(now_s) == form().stamp(now_s)
        found = record("worker.ready")
        found.created, found.msecs = now_s, now_s % 1 * 1000
        assert used.format(found) == form().format(found)
        assert used.stamp(now_s) in used.format(found)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("2023 INFO\r\nforged", r"2023 INFO\r\nforged"),
        ("\x1b[2J\x00\x7f\x9b", r"\x1b[2J\x00\x7f\x9b"),
        ("\N{LINE SEPARATOR}", r"\u2028"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}\N{LEFT-TO-RIGHT ISOLATE}", r"\u202e\u2066"),
        ("hülle \N{SNOWMAN} 'quoted' \\", "hülle \N{SNOWMAN} 'quoted' \\"),
    ],
)
def test_nobody_can_forge_a_line_or_steer_a_terminal(problem: str, shown: str) -> None:
    """What an origin says ends up in the log."""
    line = HumanForm().format(record("origin.failed problem=%s", problem))
    assert line.endswith(f" origin.failed problem={shown}")


def test_people_get_a_traceback_below_its_event() -> None:
    try:
        raise ValueError("broken")  # noqa: TRY301
    except ValueError:
        text = HumanForm().format(record("blob.fill_crashed digest=%s", "ab", exc_info=sys.exc_info()))
    first, second, *_, last = text.splitlines()
    assert first.endswith("blob.fill_crashed digest=ab")
    assert (second, last) == ("  Traceback (most recent call last):", "  ValueError: broken")


def test_nobody_can_forge_a_line_by_what_made_something_fail() -> None:
    """An error may say what a stranger has sent."""
    forged = HumanForm().format(record("worker.ready"))
    error = ValueError(f"broken\x1b[2J\n{forged}")
    text = HumanForm().format(record("connection.failed client=%s", "::1", exc_info=(None, error, None)))
    event, *below = text.split("\n")
    assert event.endswith(" connection.failed client=::1")
    assert below == [r"  ValueError: broken\x1b[2J", f"  {forged}"]


# The whole program

LOG_SOMETHING = """
import logging, sys
from aiohttp.http_exceptions import BadStatusLine
from aiohttp.web_protocol import RequestPayloadError
from proxy.logs.set_up import log_of_service
log_of_service(*sys.argv[1:3])
logging.getLogger("proxy.test").debug("blob.looked digest=%s", "ab")
logging.getLogger("proxy.test").info("blob.filled digest=%s bytes=%d", "ab", 5)
for fault in (BadStatusLine("x"), RequestPayloadError("x")):
    logging.getLogger("aiohttp.server").error("Error handling request from a stranger", exc_info=fault)
logging.getLogger("asyncio").warning("Executing took 1 s")
if sys.argv[3:] == ["crash"]:
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=KeyError("a bug"))
"""


def logged(level: str, form: str, *more: str) -> list[str]:
    """Run a program that logs, and return its lines."""
    done = subprocess.run(
        [sys.executable, "-c", LOG_SOMETHING, level, form, *more],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_events_go_to_standard_error_and_noise_goes_nowhere() -> None:
    (line,) = logged("info", "human")
    assert line.endswith("INFO    blob.filled digest=ab bytes=5")
    (line,) = logged("info", "json")
    assert json.loads(line).keys() == {"time", "level", "event", "digest", "bytes"}


def test_a_crash_of_ours_is_no_noise() -> None:
    (line,) = logged("error", "json", "crash")
    found = json.loads(line)
    assert (found["event"], found["level"]) == ("Error handling request", "error")
    assert "a bug" in found["traceback"]


def test_the_level_decides_what_is_logged() -> None:
    assert [json.loads(line)["event"] for line in logged("debug", "json")] == ["blob.looked", "blob.filled"]
    assert logged("warning", "json") == []


def log_calls() -> Iterator[tuple[Path, ast.Call]]:
    """Find every log call of the proxy."""
    for path in (ROOT / "proxy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"}
                and ast.unparse(node.func.value) in {"log", "self.logger"}
            ):
                yield path, node


EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)?((?: [a-z_]+=%[-.\d]*[sdrf])*)")


def test_every_event_of_the_proxy_is_a_name_and_fields() -> None:
    """So that the JSON form loses nothing, whatever is logged."""
    calls = list(log_calls())
    assert len(calls) > 10
    for path, call in calls:
        template, *args = call.args
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        assert isinstance(template, ast.Constant), where
        assert isinstance(template.value, str), where
        match = EVENT.fullmatch(template.value)
        assert match, f"{where}: {template.value}"
        names = re.findall(r"(\w+)=", match[2])
        assert len(names) == len(set(names)) == len(args), where
        assert {"time", "level", "event", "traceback"}.isdisjoint(names), where


@pytest.mark.parametrize(("began", "now"), [(1600.0, 1609.698), (2048.001, 2057.699)])
def test_a_request_took_no_longer_than_a_clock_can_tell(
    began: float, now: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop's clock has milliseconds; a difference of two has more digits than they mean."""
    assert len(repr(now - began)) > len("9.698")
    caplog.set_level(logging.INFO)
    ended = Ended(None, "GET", "/", 200, "hit", 1, now - began, "-", is_aborted=False, request_id="1")
    write_line(logging.getLogger("proxy.test"), ended)
    assert json.loads(JsonForm().format(caplog.records[0]))["seconds"] == 9.698
