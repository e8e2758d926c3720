"""The bench's arithmetic and reports; what it measures is not for tests to judge."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import figures_page
import pytest
import remarks
import report
from figures import Bar, Effort, Note, Rounds, Row, alternate, percentile
from journal import journal
from loads import discarding, wrk
from loads.probe import with_those_not_sent
from processes import Server
from read_log import read_log
from remarks import LeftOut, Switch, Switched
from scenarios import SCENARIOS
from servers import write_config

BENCH = Path(__file__).parents[3] / "bench"

WRK_REPORT = """\
Running 3s test @ http://127.0.0.1:8080/m/item
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.47ms    2.11ms  30.20ms   91.10%
    Req/Sec    16.24k     2.02k   20.31k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.10ms
     90%    2.90ms
     99%    1.20s
  48480 requests in 3.00s, 200.00MB read
Requests/sec:  16160.33
Transfer/sec:     66.67MB
"""


def test_a_report_of_wrk_is_read_in_one_unit() -> None:
    told = wrk.parse(WRK_REPORT)
    assert told == wrk.Report(48480, 16160.33, p50_ms=0.812, p99_ms=1200.0, trouble="")


@pytest.mark.parametrize(
    "trouble",
    ["Non-2xx or 3xx responses: 7", "Socket errors: connect 0, read 12, write 0, timeout 0"],
)
def test_errors_under_load_are_told(trouble: str) -> None:
    assert wrk.parse(f"{WRK_REPORT}  {trouble}\n").trouble == trouble


def test_what_is_no_report_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


class _Replies(BaseHTTPRequestHandler):
    """Sends 100,000 bytes in two pieces, and closes every third time; no two heads are the same length."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/list" else 404)
        self.send_header("Age", "1" * (1 + self.sent % 3))
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(30_000))
        self.wfile.write(bytes(70_000))
        type(self).sent += 1
        self.close_connection = self.sent % 3 == 0

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def replies() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Replies) as server:
        _Replies.sent = 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Server("replies", f"http://127.0.0.1:{server.server_port}/", os.getpid())
        server.shutdown()
        thread.join()


def test_whole_replies_are_counted_while_their_bodies_are_discarded(replies: Server) -> None:
    figures = discarding.load(replies, "list", 0.5, connections=3)
    counted = figures["requests/s"] * 0.5
    assert 3 < counted <= _Replies.sent
    assert 0 < figures["p50 ms"] <= figures["p99 ms"]


def test_a_load_of_bad_replies_is_no_result(replies: Server) -> None:
    with pytest.raises(SystemExit, match="replies failed under load: not a reply"):
        discarding.load(replies, "missing", 0.5, connections=1)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


def test_a_pause_counts_for_all_who_would_have_come_during_it() -> None:
    assert with_those_not_sent(3.0, 5.0) == [3.0]
    assert with_those_not_sent(17.0, 5.0) == [17.0, 12.0, 7.0, 2.0]


def test_each_round_begins_with_another_server() -> None:
    asked: list[str] = []

    def measure(name: str, number: int) -> dict[str, float]:
        asked.append(f"{number}{name}")
        return {"s": 1.0}

    alternate(["a", "b", "c"], 3, measure)
    assert asked == ["0a", "0b", "0c", "1b", "1c", "1a", "2c", "2a", "2b"]


def test_a_server_that_fails_costs_its_own_rows_only() -> None:
    remarks.collect()

    def measure(name: str, number: int) -> dict[str, float]:
        if (name, number) == ("Squid", 1):
            raise SystemExit("Squid failed under load")
        return {"s": 1.0}

    rounds = alternate(["Squid", "ours"], 3, measure)
    assert rounds.servers == ["ours"]
    assert rounds.values("ours", "s") == [1.0, 1.0, 1.0]
    [left_out] = remarks.collect()
    assert left_out == LeftOut("Squid", "it failed in round 2: Squid failed under load")


def test_ratios_are_taken_within_rounds_so_that_a_drifting_machine_cancels_out() -> None:
    speeds = {"ours": [10.0, 20.0, 400.0], "theirs": [5.0, 10.0, 200.0]}
    rounds = alternate(list(speeds), 3, lambda name, number: {"requests/s": speeds[name][number]})
    assert rounds.ratio("requests/s", "ours", "theirs") == 2.0
    assert rounds.median("ours", "requests/s") == 20.0
    assert rounds.worst("ours", "requests/s") == 400.0


def test_rows_are_medians_in_the_order_of_the_servers() -> None:
    rounds = Rounds()
    for value in (3.0, 1.0, 2.0):
        rounds.add("nginx", {"s": value})
        rounds.add("ours", {"s": 2 * value})
    assert rounds.rows("case", lambda figures: 1 / figures["s"]) == [
        Row("case", "nginx", {"s": 2.0}, 0.5),
        Row("case", "ours", {"s": 4.0}, 0.25),
    ]


@pytest.mark.parametrize(
    ("bar", "limit", "verdict"),
    [
        (Bar("speed", 1.3, at_least=1.3), ">= 1.3", "met"),
        (Bar("speed", 1.29, at_least=1.3), ">= 1.3", "NOT MET"),
        (Bar("CPU", 1.05, at_most=1.05), "<= 1.05", "met"),
        (Bar("CPU", 1.06, at_most=1.05), "<= 1.05", "NOT MET"),
        (Bar("rate", 1.2, at_least=0.9, at_most=1.05), ">= 0.9, <= 1.05", "NOT MET"),
        (Bar("just told", 9.0), "", ""),
    ],
)
def test_a_bar_says_whether_it_is_met(bar: Bar, limit: str, verdict: str) -> None:
    assert (bar.limit, bar.verdict) == (limit, verdict)


def test_little_work_is_still_some() -> None:
    assert Effort(share=1 / 16).scaled(64) == 4
    assert Effort(share=1 / 16).scaled(3) == 1


CHAPTERS = [
    report.Chapter(
        "small",
        "Small hits.",
        [
            Row("4 KiB", "nginx", {"requests/s": 100_000.0}, 100_000.0),
            Row("4 KiB", "ours", {"requests/s": 150_000.0}, 150_000.0),
            Bar("requests/s to nginx", 1.5, at_least=1.3),
            Bar("CPU to nginx", 0.4),
            Note("wrk has one thread."),
        ],
    )
]
MACHINE = {"CPU": "two of them", "load before": "0.10 0.20 0.30"}


def test_json_holds_all_figures_and_verdicts() -> None:
    told = json.loads(report.as_json(MACHINE, CHAPTERS))
    assert told["machine"] == MACHINE
    small = told["scenarios"]["small"]
    assert [row["figures"]["requests/s"] for row in small["rows"]] == [100_000.0, 150_000.0]
    assert [bar["verdict"] for bar in small["bars"]] == ["met", ""]
    assert small["notes"] == ["wrk has one thread."]


def test_the_results_page_describes_the_machine_and_lists_the_bars() -> None:
    page = report.as_markdown(MACHINE, CHAPTERS)
    assert "| CPU | two of them |" in page
    assert "| small | requests/s to nginx | 1.5 | >= 1.3 | met |" in page
    assert "| 4 KiB | ours | 150,000 |" in page


def test_the_plot_is_svg_with_every_server_and_case() -> None:
    drawing = ET.fromstring(report.as_plot(CHAPTERS))
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    text = " ".join(drawing.itertext())
    assert all(word in text for word in ("nginx", "ours", "small: 4 KiB"))


FAMILY = """
import os, sys, time

def spin():
    while time.process_time() < 0.2:
        pass

if (ended := os.fork()) == 0:
    spin()
    os._exit(0)
os.waitpid(ended, 0)
if os.fork() == 0:
    spin()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""
"""A child that worked and ended, and one that worked and lives on; each used 0.2 s."""


def test_a_servers_cpu_and_memory_are_those_of_its_whole_tree() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        server = Server("one", "http://127.0.0.1/", process.pid)
        assert len(server.pids()) == 2
        assert server.cpu_s() >= 0.38
        assert 1_000_000 < server.memory_bytes() < 2 * server.peak_rss_bytes()
        process.communicate()


def test_every_scenario_says_what_happens_and_is_in_the_readme() -> None:
    readme = (BENCH / "README.md").read_text()
    for name, scenario in SCENARIOS.items():
        assert scenario.__doc__
        assert callable(scenario.measure)
        assert f"`{name}`" in readme


def switched(server: str, value: str) -> Switched:
    return Switched(server, Switch("workers", value, '"auto"', "one CPU"))


def test_the_results_page_tells_each_switch_once_with_all_scenarios_that_had_it() -> None:
    chapters = [
        report.Chapter("small", "Small hits.", [], [switched("ours", "1")]),
        report.Chapter("large", "Large hits.", [], [switched("ours", "1"), switched("nginx", "2")]),
    ]
    page = report.as_markdown(MACHINE, chapters)
    assert '| ours | `workers` | `"auto"` | `1` | one CPU | small, large |' in page
    assert '| nginx | `workers` | `"auto"` | `2` | one CPU | large |' in page
    told = json.loads(report.as_json(MACHINE, chapters))
    assert [one["server"] for one in told["scenarios"]["large"]["switched"]] == ["ours", "nginx"]


def test_a_server_that_was_left_out_stands_in_the_results_with_the_reason() -> None:
    chapters = [report.Chapter("small", "Small hits.", [], [LeftOut("Squid", "squid is not installed")])]
    assert "Squid was left out: squid is not installed." in report.as_markdown(MACHINE, chapters)
    assert "Squid was left out: squid is not installed." in report.as_json(MACHINE, chapters)


def test_remarks_are_collected_once() -> None:
    remarks.collect()
    one = Switch("workers", "1", '"auto"', "one CPU")
    remarks.note_switches("ours", [one, one])
    remarks.note_left_out("Squid", "it is not installed")
    assert remarks.collect() == [Switched("ours", one), LeftOut("Squid", "it is not installed")]
    assert remarks.collect() == []


def test_our_configuration_is_the_installed_one_but_for_the_switches_that_are_told(tmp_path: Path) -> None:
    told = [Switch("workers", "1", '"auto"', "one CPU"), Switch("log.level", '"warning"', '"info"', "no log")]
    config = write_config(tmp_path, ["http://127.0.0.1:1/"], tmp_path / "keyring.gpg", 8080, told)
    settings = tomllib.loads(config.read_text())
    assert settings.keys() == {"listen", "data_dir", "workers", "log", "mirror"}
    assert settings["log"] == {"level": "warning"}


def test_a_service_finds_the_journal_where_systemd_says_that_it_is() -> None:
    with journal() as log:
        assert stream_named(log.environment["JOURNAL_STREAM"], log.stream.fileno())
        for _ in range(1000):
            log.stream.sendall(b"a line" * 100)


def test_the_end_of_a_log_is_told_when_something_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    def break_off() -> None:
        with journal() as log:
            log.stream.sendall(b"why it broke\n")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        break_off()
    assert "why it broke" in capsys.readouterr().err


def stream_named(name: str, descriptor: int) -> bool:
    """Whether $JOURNAL_STREAM names this descriptor (systemd.exec(5))."""
    about = os.fstat(descriptor)
    return name == f"{about.st_dev}:{about.st_ino}"


def test_the_pages_figures_are_those_of_the_results() -> None:
    page = figures_page.PAGE.read_text()
    table = figures_page.figures(json.loads(figures_page.RESULTS.read_text()))
    assert figures_page.written_into(page, table) == page


def test_the_results_name_the_python_that_ran_and_the_pace_of_the_machine() -> None:
    program = "import json, machine; print(json.dumps(machine.describe()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=BENCH
    )
    told = json.loads(done.stdout)
    version = re.escape(".".join(map(str, sys.version_info[:3])))
    assert re.fullmatch(
        rf"{version}, (python3\S* of \S.*|no package's, configured with(out)? --enable-optimizations)",
        told["Python"],
    )
    waking = r"(waking another CPU, and being woken by it, \d+ us, )?"
    assert re.fullmatch(
        rf"system call \d+\.\d\d us, new page \d+\.\d us, {waking}SHA-256 \d+\.\d\d s/GiB", told["pace"]
    )


def test_figures_go_between_the_marks_of_the_page_and_nowhere_else() -> None:
    results = json.loads(report.as_json(MACHINE, CHAPTERS))
    results["scenarios"]["small"]["bars"][0]["what"] = "4 KiB item, as installed: requests/s to nginx static"
    table = figures_page.figures(results)
    assert table.splitlines()[2:] == ["| small hits a second, beside nginx | 1.5 |"]
    before = f"Fast.\n{figures_page.BEGIN}\nold\n{figures_page.END}\nMore."
    after = figures_page.written_into(before, table)
    assert after == f"Fast.\n{figures_page.BEGIN}\n{table}\n{figures_page.END}\nMore."
    assert figures_page.written_into(after, table) == after
    with pytest.raises(ValueError, match="put these two lines there"):
        figures_page.written_into("Fast.", table)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize("missing", ["net_admin", "sys_admin", "net_admin,-sys_admin"])
def test_a_network_of_its_own_that_may_not_be_set_up_is_left_again(missing: str) -> None:
    """A container may let root make a network namespace, and forbid to raise its loopback."""
    program = (
        "import network, os, socket; before = os.readlink('/proc/self/ns/net'); network.isolate();"
        "assert os.readlink('/proc/self/ns/net') == before; print(network.describe());"
        "socket.create_server(('127.0.0.1', 0))"
    )
    command = ["setpriv", f"--bounding-set=-{missing}", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"TCP with \w+, in ", done.stdout)


def test_a_log_through_a_pipe_is_counted_by_path_and_what_was_dropped_is_added_up(tmp_path: Path) -> None:
    with read_log(tmp_path) as log, log.pipe.open("w") as service:
        service.write("2026-11-29 07:00:00 INFO    request client=::1 method=GET path=/m/a status=200\n" * 3)
        service.write("2026-11-29 07:00:00 INFO    request client=::1 method=GET path=/m/ab status=200\n")
        log.pause()
        service.write("WARNING log.dropped lines=4\nWARNING log.dropped lines=2\nERROR Traceback (most\n")
    assert (log.lines_of("/m/a"), log.lines_of("/m/ab"), log.lines_of("/m/c")) == (3, 1, 0)
    assert (log.dropped(), log.tracebacks()) == (6, 1)
    assert len(list(log.troubles())) == 3
