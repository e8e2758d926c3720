"""`/-/metrics`: what Prometheus' own parser reads there; alerts and dashboard ask for nothing else."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.faults import Fault
from support.origin import Origin
from support.rules import runner_of
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire
from support.workers import Workers, frozen, run_workers

from proxy import __version__
from proxy.counting.outcomes import OUTCOMES
from proxy.counting.subjects import FIRST_BYTE_EDGES_S
from proxy.jobs.rules import Rule
from proxy.jobs.watching import Watcher
from proxy.mirror import Mirror
from proxy.runtime import open_rulebook
from proxy.store.limits import StoreLimits

INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
PACKAGING = Path(__file__).parents[2] / "packaging"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

BASE_UNITS = ("_bytes", "_seconds", "_ratio")
NO_BASE_UNIT = re.compile(r"_(ms|us|millis|milliseconds|minutes|hours|days|kb|mb|kib|mib|gib|percent)(_|$)")


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(text: str) -> Samples:
    """Return all values by name and labels. Fails if there are two for one series."""
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"sstream_proxy_{name}", frozenset(labels.items())]


async def scrape(proxy: RunningProxy) -> str:
    async with proxy.get("/-/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text: str = await response.text()
    return text


async def stats_of(proxy: RunningProxy) -> dict[str, Any]:
    async with proxy.get("/-/stats") as response:
        found: dict[str, Any] = await response.json()
    return found


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.publish()
    return item


@pytest.fixture
async def busy(
    tmp_path: Path, mirror: Mirror, clock: Clock, item: TreeItem, origin: Origin
) -> AsyncIterator[RunningProxy]:
    """Return a proxy of which there is something to tell by every metric."""
    rule = Rule(name="lab", mirror="test", filters=(f"path={item.path}",), schedule="hourly")
    config = make_config(
        tmp_path / "data", mirror, prefetch=(rule,), cache=StoreLimits(min_free_bytes=0, limit_bytes=10**9)
    )
    async with run_proxy(config, clock) as proxy:
        for path in (INDEX, "no/such", item.path, item.path):
            await proxy.read(path)
        await proxy.fills_ended()
        book = await open_rulebook(config, proxy.cache)
        await runner_of(proxy, book, clock).run(rule, Watcher())
        await proxy.cache.storage.threads.ledger(partial(book.note, "lab", next_at=clock.now + 60))
        ledger = proxy.cache.storage.ledger
        await proxy.cache.storage.threads.ledger(ledger.write, "scrub", {"completed_at": 7.0, "damaged": []})
        origin.fault(INDEX, Fault(body=b"no index"))
        await proxy.documents.checks.revalidate()
        yield proxy


async def test_names_types_and_units_are_as_prometheus_has_them(busy: RunningProxy) -> None:
    """Counters end in _total, units are base units, every metric has a text, all begin with our name."""
    text = await scrape(busy)
    found = families(text)

    assert found
    for name, family in found.items():
        assert name.startswith("sstream_proxy_"), name
        assert family.documentation.endswith("."), name
        assert family.type in {"counter", "gauge", "histogram", "summary"}, name
        assert not NO_BASE_UNIT.search(name), name
        if family.type == "counter":
            assert {sample.name for sample in family.samples} == {f"{name}_total"}
            assert all(sample.value >= 0 for sample in family.samples)
        else:
            assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        if family.type in {"histogram", "summary"}:
            assert name.endswith("_seconds")
    labels = {label for family in found.values() for sample in family.samples for label in sample.labels}
    assert labels == {"mirror", "outcome", "origin", "result", "rule", "version", "le", "limit"}
    assert len(re.findall("^# TYPE ", text, re.MULTILINE)) == len(found)


async def test_the_histogram_is_cumulative_and_agrees_with_itself(busy: RunningProxy) -> None:
    found = samples(await scrape(busy))
    edges = [*map(str, FIRST_BYTE_EDGES_S), "+Inf"]

    buckets = [value(found, "first_byte_seconds_bucket", mirror="test", le=edge) for edge in edges]

    assert buckets == sorted(buckets)
    assert buckets[-1] == value(found, "first_byte_seconds_count", mirror="test") == 3
    assert 0 < value(found, "first_byte_seconds_sum", mirror="test") < 3 * 30


async def test_values_are_those_of_stats(busy: RunningProxy, origin: Origin) -> None:
    stats, found = await stats_of(busy), samples(await scrape(busy))
    mirror, store, scrub = stats["mirrors"]["test"], stats["store"], stats["scrub"]
    here = {"mirror": "test"}
    at = {"origin": origin.url}

    assert value(found, "build_info", version=__version__) == 1
    for outcome in OUTCOMES:
        assert value(found, "requests_total", **here, outcome=outcome) == mirror["requests"][outcome]
        assert value(found, "sent_bytes_total", **here, outcome=outcome) == mirror["sent_bytes"][outcome]
    for name, expected in {
        "fetched_bytes_total": mirror["fetched_bytes"],
        "aborted_requests_total": mirror["aborted"],
        "mirror_ready": 1,
        "mirror_stale": mirror["is_stale"],
        "generation": mirror["generation"],
        "checked_timestamp_seconds": mirror["checked_at"],
        "index_age_seconds": mirror["index_age_s"],
        "check_failures": 1,
        "items": 1,
        "refused_documents_total": 1,
    }.items():
        assert value(found, name, **here) == expected, name
    for name, expected in {
        "offline": 0,
        "fills": 0,
        "store_bytes": store["bytes"],
        "store_limit_bytes": 10**9,
        "store_min_free_bytes": 0,
        "store_blobs": store["blobs"],
        "store_pinned_bytes": store["pinned_bytes"],
        "store_reserved_bytes": store["reserved_bytes"],
        "store_quarantined_files": 0,
        "store_writable": 1,
        "evicted_blobs_total": store["evicted_blobs"],
        "evicted_bytes_total": store["evicted_bytes"],
        "scrub_checked_blobs_total": scrub["checked_blobs"],
        "scrub_damaged_blobs_total": scrub["damaged_blobs"],
        "scrub_repaired_blobs_total": scrub["repaired_blobs"],
        "scrub_completed_timestamp_seconds": 7,
    }.items():
        assert value(found, name) == expected, name
    requests = stats["origins"][origin.url]["requests"]
    for result in ("ok", "error"):
        assert value(found, "upstream_requests_total", **at, result=result) == requests[result]
    assert value(found, "upstream_bytes_total", **at) == stats["origins"][origin.url]["received_bytes"]
    assert value(found, "upstream_latency_seconds_count", **at) == sum(requests.values())
    rule = stats["prefetch"][0]
    assert value(found, "rule_failed", rule="lab") == (rule["last"]["outcome"] != "complete")
    assert value(found, "rule_complete_timestamp_seconds", rule="lab") == rule["complete_at"]
    assert value(found, "rule_next_timestamp_seconds", rule="lab") == rule["next_at"]


async def test_what_is_not_known_is_left_out_rather_than_told_as_0(
    tmp_path: Path, mirror: Mirror, clock: Clock
) -> None:
    """A scrub that never was would else be 50 years overdue."""
    rule = Rule(name="lab", mirror="test")
    async with run_proxy(make_config(tmp_path / "data", mirror, prefetch=(rule,)), clock) as proxy:
        found = {name for name, _ in samples(await scrape(proxy))}

    assert "sstream_proxy_mirror_ready" in found
    for name in (
        "index_age_seconds",
        "generation",
        "store_limit_bytes",
        "scrub_completed_timestamp_seconds",
        "rule_failed",
        "rule_next_timestamp_seconds",
        "rule_complete_timestamp_seconds",
    ):
        assert f"sstream_proxy_{name}" not in found


async def test_an_origin_is_named_without_its_password(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    secret = replace(mirror, origins=(origin.url.replace("//", "//user:s3cret@"),))
    async with run_proxy(make_config(tmp_path / "data", secret)) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        text = await scrape(proxy)

    assert "s3cret" not in text
    assert value(samples(text), "upstream_bytes_total", origin=origin.url) > 1000


async def test_all_workers_tell_the_same(tmp_path: Path, mirror: Mirror, item: TreeItem) -> None:
    """So that it does not matter which of them is scraped."""
    async with run_workers(tmp_path, mirror) as workers:
        for number, pid in enumerate(workers.pids):
            for _ in range(number + 1):
                (client,) = await workers.ask(pid, item.path)
                assert (await client.rest()).body == item.read()
                await workers.log.seen("blob.filled")
        await workers.log.seen("outcome=miss")
        await workers.log.seen("outcome=hit", 2)

        texts = [await _scrape(workers, pid) for pid in workers.pids]

    one, other = (steady(samples(text)) for text in texts)
    assert one == other
    counted = {outcome: value(one, "requests_total", mirror="test", outcome=outcome) for outcome in OUTCOMES}
    assert counted == {**dict.fromkeys(OUTCOMES, 0.0), "miss": 1.0, "hit": 2.0}


async def _scrape(workers: Workers, pid: int) -> str:
    with frozen([other for other in workers.pids if other != pid]):
        async with Wire.to(workers.service.base) as wire:
            return (await wire.ask("/-/metrics")).body.decode()


def steady(found: Samples) -> Samples:
    """Return what does not change by itself from one moment to the next."""
    moving = {"sstream_proxy_store_free_bytes", "sstream_proxy_index_age_seconds"}
    return {key: number for key, number in found.items() if key[0] not in moving}


# What is made of them


def _expressions(part: object) -> Iterator[str]:
    """Yield the queries of a Grafana dashboard."""
    if isinstance(part, dict):
        for key, inner in part.items():
            if key in {"expr", "query", "definition"} and isinstance(inner, str):
                yield inner
            else:
                yield from _expressions(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _expressions(inner)


def _asked_for(text: str) -> set[str]:
    return set(re.findall(r"sstream_proxy_\w+", text))


async def test_alerts_and_dashboard_ask_for_metrics_that_are_there(busy: RunningProxy) -> None:
    there = {name for name, _ in samples(await scrape(busy))}
    dashboard = json.loads((PACKAGING / "grafana/dashboard.json").read_text())
    by_file = {
        "alerts.yml": _asked_for((PACKAGING / "prometheus/alerts.yml").read_text()),
        "alerts_test.yml": _asked_for((PACKAGING / "prometheus/alerts_test.yml").read_text()),
        "dashboard.json": _asked_for("\n".join(_expressions(dashboard))),
    }

    for file, asked in by_file.items():
        assert len(asked) > 10, file
        assert asked <= there, file


def promtool() -> str:
    """Return Prometheus' own checker, which is one program without a package here."""
    found = shutil.which("promtool") or os.environ.get("PROMTOOL", "")
    if not found:
        pytest.skip("promtool is not installed, and $PROMTOOL names none")
    return found


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_the_alert_rules_pass_promtool(arguments: tuple[str, ...]) -> None:
    result = subprocess.run(
        [promtool(), *arguments],
        cwd=PACKAGING / "prometheus",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


async def test_the_scrape_passes_promtool(busy: RunningProxy) -> None:
    """It knows conventions for names besides the format."""
    result = subprocess.run(  # noqa: ASYNC221
        [promtool(), "check", "metrics"],
        input=await scrape(busy),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
