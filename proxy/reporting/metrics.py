"""The state of the proxy for Prometheus, by its conventions for names and units.

Made from a Snapshot, so it is the same from every worker, counts all of them, and
goes on over restarts.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from proxy.counting.outcomes import OUTCOMES
from proxy.counting.subjects import FIRST_BYTE_EDGES_S
from proxy.reporting.snapshot import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "sstream_proxy_"

_Labelled = Iterable[tuple[Sequence[str], float | None]]


def exposition(snapshot: Snapshot) -> bytes:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Once(snapshot))
    return generate_latest(registry)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield all metrics, each with its name, its text, and its values."""
    return _Once(snapshot).collect()


class _Once(Collector):
    """Hands out one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        stats = self._snapshot.stats
        yield _gauge("build_info", "The running version.", ["version"], [((stats["version"],), 1)])
        yield _gauge("offline", "1 while no origin may be asked.", [], [((), stats["offline"])])
        yield _gauge(
            "recordings", "Recordings of what clients ask for that run.", [], [((), len(stats["recordings"]))]
        )
        yield from self._of_requests()
        yield from self._of_origins()
        yield from _of_mirrors(stats["mirrors"])
        yield from _of_store(stats["store"], stats["scrub"])
        yield _counter(
            "limits_met",
            "Times that a client, an origin or a filter met a limit, by which.",
            ["limit"],
            [((limit,), count) for limit, count in stats["limits"].items()],
        )
        yield _counter(
            "cut_replies",
            "Replies cut short, by why.",
            ["outcome"],
            [((reason,), count) for reason, count in stats["cuts"]["total"].items()],
        )
        yield _counter(
            "dropped_log_lines",
            "Lines of the log that were dropped because it was not read, or could not be written.",
            [],
            [((), stats["log"]["dropped_lines"])],
        )
        yield _gauge("fills", "Items arriving from upstream now.", [], [((), len(stats["fills"]))])
        yield from _of_transfers(stats["transfers"])
        yield from _of_upstream(stats["parts"], stats["upstream"])
        yield from _of_rules(stats["prefetch"])

    def _of_requests(self) -> Iterator[Metric]:
        mirrors = {name: sums.total() for name, sums in sorted(self._snapshot.totals.mirrors.items())}
        by_outcome = [(name, outcome) for name in mirrors for outcome in OUTCOMES]
        for name, text, what in (
            ("requests", "Requests of clients that have ended, by how.", "requests"),
            ("sent_bytes", "Bytes of bodies sent to clients.", "sent"),
        ):
            counts = [
                ((mirror, outcome), mirrors[mirror][f"{what} {outcome}"]) for mirror, outcome in by_outcome
            ]
            yield _counter(name, text, ["mirror", "outcome"], counts)
        yield _counter(
            "aborted_requests",
            "Requests whose client left before the end.",
            ["mirror"],
            [((name,), count["aborted"]) for name, count in mirrors.items()],
        )
        yield _counter(
            "fetched_bytes",
            "Bytes received from a mirror's origins.",
            ["mirror"],
            [((name,), count["fetched"]) for name, count in mirrors.items()],
        )
        histogram = HistogramMetricFamily(
            f"{_PREFIX}first_byte_seconds",
            "How long the first byte of a body took to be here.",
            labels=["mirror"],
        )
        for name, count in mirrors.items():
            edges = [*map(str, FIRST_BYTE_EDGES_S), "+Inf"]
            seen, buckets = 0, []
            for edge in edges:
                seen += count[f"first byte {'inf' if edge == '+Inf' else edge}"]
                buckets.append((edge, float(seen)))
            histogram.add_metric([name], buckets, count["first byte us"] / 1e6)
        yield histogram

    def _of_origins(self) -> Iterator[Metric]:
        origins = {name: sums.total() for name, sums in sorted(self._snapshot.totals.origins.items())}
        yield _counter(
            "upstream_requests",
            "Requests to origins, by result.",
            ["origin", "result"],
            [
                ((name, result), count[result])
                for name, count in origins.items()
                for result in ("ok", "error")
            ],
        )
        yield _counter(
            "upstream_bytes",
            "Bytes received from an origin.",
            ["origin"],
            [((name,), count["bytes"]) for name, count in origins.items()],
        )
        yield _counter(
            "upstream_wrong_copies",
            "Copies of items at an origin that were not what the lists say.",
            ["origin"],
            [((name,), count["wrong"]) for name, count in origins.items()],
        )
        yield _gauge(
            "upstream_distrusted",
            "1 while an origin is asked last because it sent wrong bytes.",
            ["origin"],
            [
                ((name,), origin["distrusted_until"] is not None)
                for name, origin in self._snapshot.stats["origins"].items()
            ],
        )
        summary = SummaryMetricFamily(
            f"{_PREFIX}upstream_latency_seconds",
            "How long an origin's reply headers took.",
            labels=["origin"],
        )
        for name, count in origins.items():
            summary.add_metric([name], count["latency count"], count["latency us"] / 1e6)
        yield summary


def _of_mirrors(mirrors: dict[str, Any]) -> Iterator[Metric]:
    for name, text, key in (
        ("mirror_ready", "1 when a mirror has verified lists.", "is_ready"),
        (
            "mirror_stale",
            "1 when a mirror's lists were not confirmed for longer than fresh_for, and may be.",
            "is_stale",
        ),
        ("generation", "Number of a mirror's current generation.", "generation"),
        ("index_age_seconds", "Time since the date that a mirror's index states.", "index_age_s"),
        ("checked_timestamp_seconds", "When an origin last confirmed a mirror's lists.", "checked_at"),
        ("check_failures", "Checks of a mirror that failed in a row.", "failures"),
        ("items", "Paths that a mirror's lists name.", "items"),
    ):
        values = [((mirror,), state.get(key)) for mirror, state in mirrors.items()]
        yield _gauge(name, text, ["mirror"], values)
    yield _counter(
        "refused_documents",
        "Documents refused for their signature, form or age.",
        ["mirror"],
        [((mirror,), state["refusals"]) for mirror, state in mirrors.items()],
    )


def _of_store(store: dict[str, Any], scrub: dict[str, Any]) -> Iterator[Metric]:
    for name, text, key in (
        ("store_bytes", "Bytes of all blobs.", "bytes"),
        ("store_limit_bytes", "Configured limit.", "limit_bytes"),
        ("store_free_bytes", "Free space on the store's disk.", "free_bytes"),
        ("store_min_free_bytes", "Free space that is kept.", "min_free_bytes"),
        ("store_blobs", "Blobs in the store.", "blobs"),
        ("store_pinned_bytes", "Bytes of blobs that pins keep.", "pinned_bytes"),
        ("store_reserved_bytes", "Bytes set aside for blobs that are arriving.", "reserved_bytes"),
        ("store_quarantined_files", "Damaged files that were set aside.", "quarantined"),
        ("store_writable", "1 when the store can be written.", "is_writable"),
    ):
        yield _gauge(name, text, [], [((), store[key])])
    for name, text, value in (
        ("evicted_blobs", "Blobs evicted.", store["evicted_blobs"]),
        ("evicted_bytes", "Bytes of blobs evicted.", store["evicted_bytes"]),
        ("scrub_checked_blobs", "Blobs hashed again.", scrub["checked_blobs"]),
        ("scrub_damaged_blobs", "Blobs found damaged.", scrub["damaged_blobs"]),
        ("scrub_repaired_blobs", "Damaged blobs fetched again.", scrub["repaired_blobs"]),
    ):
        yield _counter(name, text, [], [((), value)])
    yield _gauge(
        "scrub_completed_timestamp_seconds",
        "When every blob was proved last.",
        [],
        [((), scrub["completed_at"])],
    )


def _of_transfers(transfers: dict[str, int]) -> Iterator[Metric]:
    for name, text, key in (
        ("transfers_running", "Places for transfers from upstream that are taken.", "running"),
        ("transfers_waiting", "Transfers from upstream that wait for a place.", "waiting"),
    ):
        yield _gauge(name, text, [], [((), transfers[key])])
    for name, text, key in (
        ("transfers_let_go", "Transfers ended because nobody waited for them any more.", "let_go"),
        ("transfers_turned_away", "Transfers not begun because too many waited.", "turned_away"),
    ):
        yield _counter(name, text, [], [((), transfers[key])])


def _of_upstream(parts: dict[str, int], upstream: dict[str, Any]) -> Iterator[Metric]:
    for name, text, key in (
        ("parts", "Parts of large items fetched ahead over further connections.", "fetched"),
        ("part_connections_given_up", "Further connections given up because they did not help.", "given_up"),
        ("part_connections_refused", "Further connections that an origin refused.", "refused"),
        ("part_bytes", "Bytes of parts that came ahead.", "ahead_bytes"),
        ("discarded_part_bytes", "Bytes of parts that came and were of no use.", "discarded_bytes"),
    ):
        yield _counter(name, text, [], [((), parts[key])])
    yield _gauge(
        "upstream_limit_bytes_per_second",
        "upstream.limit, where there is one.",
        [],
        [((), upstream["limit_bytes_s"])],
    )


def _of_rules(rules: list[dict[str, Any]]) -> Iterator[Metric]:
    yield _gauge(
        "rule_complete_timestamp_seconds",
        "When a prefetch rule was complete last.",
        ["rule"],
        [((rule["name"],), rule["complete_at"]) for rule in rules],
    )
    yield _gauge(
        "rule_next_timestamp_seconds",
        "When a prefetch rule is due.",
        ["rule"],
        [((rule["name"],), rule["next_at"]) for rule in rules],
    )
    yield _gauge(
        "rule_failed",
        "1 when the last run of a prefetch rule was not complete.",
        ["rule"],
        [
            ((rule["name"],), rule["last"]["outcome"] in {"failed", "partial"})
            for rule in rules
            if rule["last"]
        ],
    )


def _gauge(name: str, text: str, labels: list[str], values: _Labelled) -> Metric:
    """Return a gauge; what is not known is left out."""
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for given, value in values:
        if value is not None:
            family.add_metric(list(given), float(value))
    return family


def _counter(name: str, text: str, labels: list[str], values: _Labelled) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for given, value in values:
        family.add_metric(list(given), float(value or 0))
    return family
