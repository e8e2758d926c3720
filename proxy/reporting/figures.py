"""Counters turned into the figures that people ask for: pure sums and ratios."""

from collections.abc import Mapping
from typing import Any

from proxy.counting.outcomes import OUTCOMES
from proxy.counting.subjects import FIRST_BYTE_EDGES_S
from proxy.counting.tally import STEP_S
from proxy.counting.totals import Sums
from proxy.fills.records import LastWrongCopy

HOUR_S = 3600.0
DAY_S = 86400.0

_FROM_STORE = ("hit", "stale")
_SAVED = ("hit", "stale", "join")
_BY_BODY = ("hit", "stale", "miss", "join", "bypass")
"""Outcomes of requests that could have been hits."""

Count = Mapping[str, int]


def requests(count: Count) -> dict[str, int]:
    """Return how many requests ended how."""
    return {outcome: count[f"requests {outcome}"] for outcome in OUTCOMES}


def sent_bytes(count: Count) -> dict[str, int]:
    """Return how many bytes clients got, by outcome."""
    return {outcome: count[f"sent {outcome}"] for outcome in OUTCOMES}


def saved_bytes(count: Count) -> int:
    """Return the bytes that clients got and no origin had to send for them."""
    return sum(count[f"sent {outcome}"] for outcome in _SAVED)


def hit_ratio(count: Count) -> float | None:
    """Return the share of answered requests that came from the store; None without any."""
    answered = sum(count[f"requests {outcome}"] for outcome in _BY_BODY)
    hits = sum(count[f"requests {outcome}"] for outcome in _FROM_STORE)
    return round(hits / answered, 4) if answered else None


def first_byte_s(count: Count, share: float) -> float | None:
    """Return within which time that share of the replies had their first byte; None without any.

    An upper edge of the histogram: nothing finer is counted.
    """
    counts = [count[f"first byte {edge}"] for edge in FIRST_BYTE_EDGES_S]
    total = sum(counts) + count["first byte inf"]
    if not total:
        return None
    seen = 0
    for edge, many in zip(FIRST_BYTE_EDGES_S, counts, strict=True):
        seen += many
        if seen >= share * total:
            return edge
    return FIRST_BYTE_EDGES_S[-1]


def traffic(sums: Sums, now: float) -> dict[str, Any]:
    """Return all figures of a mirror's requests."""
    total, hour, day = sums.total(), sums.since(now, HOUR_S), sums.since(now, DAY_S)
    return {
        "requests": requests(total),
        "sent_bytes": sent_bytes(total),
        "fetched_bytes": total["fetched"],
        "saved_bytes": saved_bytes(total),
        "aborted": total["aborted"],
        "hit_ratio": {"hour": hit_ratio(hour), "day": hit_ratio(day), "all_time": hit_ratio(total)},
        "first_byte_s": {"p50_hour": first_byte_s(hour, 0.5), "p99_hour": first_byte_s(hour, 0.99)},
    }


def transfers(sums: Sums) -> dict[str, int]:
    """Return what became of transfers that came to nothing, through no fault of an origin."""
    total = sums.total()
    return {"let_go": total["let go"], "turned_away": total["turned away"]}


def parts(sums: Sums) -> dict[str, int]:
    """Return what became of parts that were fetched ahead over further connections."""
    total = sums.total()
    return {
        "fetched": total["fetched"],
        "given_up": total["given up"],
        "refused": total["refused"],
        "ahead_bytes": total["ahead bytes"],
        "discarded_bytes": total["discarded bytes"],
    }


def upstream(sums: Sums, limit_bytes_s: int | None, now: float) -> dict[str, Any]:
    """Return how fast all origins together sent in the last whole five minutes, and of which limit."""
    (_, last), _ = sums.series(now, 2)
    rate_bytes_s = last["fetched"] / STEP_S
    return {
        "rate_bytes_s": round(rate_bytes_s),
        "limit_bytes_s": limit_bytes_s,
        "limit_used": round(rate_bytes_s / limit_bytes_s, 4) if limit_bytes_s else None,
    }


def origin(sums: Sums, wrong: LastWrongCopy | None, now: float) -> dict[str, Any]:
    """Return all figures of an origin; `wrong` is the last wrong copy that it sent."""
    total, hour = sums.total(), sums.since(now, HOUR_S)
    answers = hour["latency count"]
    return {
        "requests": {"ok": total["ok"], "error": total["error"]},
        "last_hour": {"ok": hour["ok"], "error": hour["error"], "wrong": hour["wrong"]},
        "wrong_copies": total["wrong"],
        "last_wrong": None
        if wrong is None
        else {"path": wrong.path, "problem": wrong.problem, "at": wrong.at},
        "distrusted_until": wrong.distrusted_until if wrong and wrong.is_distrusted(now) else None,
        "received_bytes": total["bytes"],
        "latency_s": round(hour["latency us"] / answers / 1e6, 4) if answers else None,
    }
