"""History: what was asked for, sent, fetched and saved, in the last hours, day, week or month."""

import time
from typing import Any, NamedTuple

from proxy.jobs.transfers import last_rates
from proxy.reporting.figures import DAY_S, Count, hit_ratio, requests, saved_bytes, sent_bytes
from proxy.reporting.history import SPANS, Points, Span, points_of, total_of
from proxy.reporting.plots import HEIGHT, PLOTS, WIDTH
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.store.files import StoreFault
from proxy.web.admin.views.visit import Visit


class Period(NamedTuple):
    """A row of the table."""

    title: str
    requests: int
    hit_ratio: float | None
    sent_bytes: int
    fetched_bytes: int
    saved_bytes: int


class History:
    """Shows plots and sums."""

    def __init__(self, cache: Cache, observer: Observer) -> None:
        self._storage = cache.storage
        self._observer = observer

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot = await self._observer.snapshot()
        name = visit.choice("span", tuple(SPANS))
        span, totals, now = SPANS[name], snapshot.totals, snapshot.taken_at

        def count() -> tuple[Points, list[float]]:
            try:
                rates = list(last_rates(self._storage.ledger).values())
            except StoreFault:
                rates = []
            return points_of(span, totals, self._observer.counts, now), rates

        points, rates = await self._storage.threads.slow(count)
        total, always = total_of(points), totals.all_mirrors.total()
        return {
            "now": now,
            "plots": PLOTS,
            "width": WIDTH,
            "height": HEIGHT,
            "spans": SPANS,
            "name": name,
            "span": span,
            "sums": [_period(span.title, total), _period("Since the first request", always)],
            "rate": sum(rates) / len(rates) if rates else None,
            "rows": [_period(title, counts) for title, counts in _rows(points, span)],
        }


def _period(title: str, count: Count) -> Period:
    return Period(
        title,
        sum(requests(count).values()),
        hit_ratio(count),
        sum(sent_bytes(count).values()),
        count["fetched"],
        saved_bytes(count),
    )


def _rows(points: Points, span: Span) -> list[tuple[str, dict[str, int]]]:
    """Return sums by the hour, or by the day for longer spans, latest first."""
    form = "%H:00" if span.seconds <= DAY_S else "%a %-d %b"
    rows: dict[str, Points] = {}
    for at, counts in points:
        rows.setdefault(time.strftime(form, time.localtime(at)), []).append((at, counts))
    return [(title, total_of(some)) for title, some in reversed(rows.items())]
