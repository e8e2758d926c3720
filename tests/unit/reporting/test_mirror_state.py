"""The state of a mirror in words: its date, not its freshness, where nobody may ask its origins."""

from typing import Any

import pytest

from proxy.reporting.health import Limit, Limits, Status, health
from proxy.reporting.mirror_state import mirror_state

FINE = {
    "is_ready": True,
    "is_asked": True,
    "is_stale": False,
    "failures": 0,
    "updated": 1_753_000_000.0,
    "accepted_at": 1_754_000_000.0,
}
NOT_READY = {"is_ready": False, "is_asked": True, "is_stale": False, "failures": 0}


@pytest.mark.parametrize(
    ("mirror", "lockfile", "text", "rating"),
    [
        (FINE, "", "fresh", "good"),
        (FINE | {"is_stale": True}, "", "stale", "warn"),
        (FINE | {"is_stale": True, "failures": 2}, "", "origin fails", "warn"),
        (FINE | {"is_asked": False}, "", "offline, lists of 2025-07-20 08:26 UTC", "good"),
        (FINE | {"is_asked": False, "failures": 2}, "", "offline, lists of 2025-07-20 08:26 UTC", "good"),
        (FINE | {"is_asked": False}, "a.lock", "locked, lists of 2025-07-20 08:26 UTC", "good"),
        (
            FINE | {"is_asked": False, "updated": None},
            "",
            "offline, lists of an unknown date, here since 2025-07-31 22:13 UTC",
            "good",
        ),
        (NOT_READY, "", "never asked for", ""),
        (NOT_READY | {"failures": 1}, "", "no verified lists", "bad"),
        (NOT_READY | {"is_asked": False}, "", "no verified lists", "bad"),
    ],
)
def test_a_mirror_is_described(mirror: dict[str, Any], lockfile: str, text: str, rating: str) -> None:
    assert mirror_state(mirror, lockfile) == (text, rating)


@pytest.mark.parametrize(("is_asked", "status"), [(True, Status.WARNING), (False, Status.OK)])
def test_nobody_is_alarmed_that_a_mirror_was_not_checked_which_may_not_be(
    is_asked: bool, status: Status
) -> None:
    mirror = FINE | {"is_asked": is_asked, "checked_s_ago": 9000, "index_age_s": 10}
    stats = {
        "offline": not is_asked,
        "mirrors": {"maas": mirror},
        "store": {"free_bytes": 1, "bytes": 1, "blobs": 1},
        "total": {"hit_ratio": {"day": None}, "sent_bytes": {}, "fetched_bytes": 0},
    }
    assert health(stats, Limits(unchecked_s=Limit(3600.0, 86400.0))).status is status
