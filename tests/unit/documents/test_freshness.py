"""When documents are served at once, served and checked behind, or waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.documents.freshness import FreshnessPolicy, Verdict, decide, recheck_after_s, retry_pause_s

POLICY = FreshnessPolicy(fresh_for_s=300, retry_after_s=15, retry_limit_s=300)
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("checked_s_ago", "verdict"),
    [
        (None, Verdict.WAIT),
        (0, Verdict.FRESH),
        (299.9, Verdict.FRESH),
        (300, Verdict.STALE),
        (30 * 86400, Verdict.STALE),
        # a clock was set back
        (-0.1, Verdict.STALE),
        (-86400, Verdict.STALE),
    ],
)
def test_the_time_since_the_last_check_decides(checked_s_ago: float | None, verdict: Verdict) -> None:
    checked_at = None if checked_s_ago is None else NOW - checked_s_ago
    assert decide(checked_at, NOW, POLICY) is verdict


def test_with_nothing_to_stay_fresh_for_every_answer_is_checked_behind() -> None:
    assert decide(NOW, NOW, FreshnessPolicy(fresh_for_s=0)) is Verdict.STALE


@pytest.mark.parametrize(
    ("failures", "pause_s"), [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 300), (7, 300), (10**6, 300)]
)
def test_failed_checks_are_repeated_ever_less_often(failures: int, pause_s: float) -> None:
    assert retry_pause_s(failures, POLICY) == pause_s


@given(st.integers(-5, 10**9), st.floats(0.001, 1000), st.floats(0.001, 10000))
def test_a_pause_is_never_over_the_limit_nor_absent(failures: int, after_s: float, limit_s: float) -> None:
    policy = FreshnessPolicy(retry_after_s=after_s, retry_limit_s=limit_s)
    assert 0 < retry_pause_s(failures, policy) <= limit_s
    assert retry_pause_s(failures + 1, policy) >= retry_pause_s(failures, policy)


def test_what_could_not_be_had_is_asked_for_soon_then_ever_more_rarely() -> None:
    """15 s, 15 s, 30 s, 60 s and so on, and no more rarely than everything else."""
    assert [recheck_after_s(known_for_s, POLICY) for known_for_s in (0, 15, 30, 60, 120, 240, 9999)] == [
        15,
        15,
        30,
        60,
        120,
        240,
        300,
    ]
