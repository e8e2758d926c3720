"""What is remembered of failed checks, and what a success wipes out."""

from collections.abc import Sequence

import pytest

from proxy.documents.rollback import RollbackError
from proxy.documents.trouble import HeldBack, Trouble
from proxy.documents.vetting import DocumentRefused
from proxy.errors import ProxyError
from proxy.signatures.keyring import SignatureError
from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.errors import OriginStatus

ORIGIN = "http://a.example/"
DOWN = OriginUnreachable(ORIGIN, "connection refused")
ERROR = OriginStatus(ORIGIN, 503, "it answered with status 503")
REFUSED = DocumentRefused(ORIGIN, "streams/v1/index.sjson", SignatureError("the signature is bad"))
ROLLBACK = RollbackError("streams/v1/index.sjson", "its 'updated' lies before")
GAPS = HeldBack(["streams/v1/one.sjson is missing", "streams/v1/two.sjson is older"])


def test_at_first_there_is_none() -> None:
    trouble = Trouble()
    assert (trouble.failures, trouble.since, trouble.held_back_since, trouble.refusals) == (0, None, None, 0)


def test_failures_are_counted_from_the_first() -> None:
    trouble = Trouble().after_failure([DOWN], 100).after_failure([ERROR], 200).after_failure([DOWN], 300)
    assert (trouble.failures, trouble.since) == (3, 100)


def test_the_last_problems_are_told_of_every_origin() -> None:
    trouble = Trouble().after_failure([REFUSED], 100).after_failure([DOWN, ERROR], 200)
    assert trouble.last_problem == f"{DOWN}; {ERROR}"


@pytest.mark.parametrize(
    ("problems", "refusals", "last"),
    [
        ([], 0, ""),
        ([DOWN, ERROR], 0, ""),
        ([GAPS], 0, ""),
        ([REFUSED], 1, str(REFUSED)),
        ([ROLLBACK], 1, str(ROLLBACK)),
        ([REFUSED, DOWN, ROLLBACK, ERROR], 2, str(ROLLBACK)),
    ],
)
def test_refused_documents_are_counted_whatever_came_of_the_check(
    problems: Sequence[ProxyError], refusals: int, last: str
) -> None:
    """They may be an attack; an origin that is merely down is none."""
    for trouble in (Trouble().after_failure(problems, 100), Trouble().after_success(problems)):
        assert (trouble.refusals, trouble.last_refusal) == (refusals, last)


def test_refusals_are_never_forgotten() -> None:
    trouble = Trouble().after_failure([REFUSED], 100).after_success([]).after_failure([DOWN], 200)
    assert (trouble.refusals, trouble.last_refusal) == (1, str(REFUSED))
    trouble = trouble.after_success([ROLLBACK])
    assert (trouble.refusals, trouble.last_refusal) == (2, str(ROLLBACK))


def test_a_success_wipes_out_all_else() -> None:
    trouble = Trouble().after_failure([DOWN, GAPS], 100).after_success([])
    assert trouble == Trouble()


def test_a_new_index_is_held_back_from_when_its_gaps_were_first_seen() -> None:
    trouble = Trouble().after_failure([DOWN], 100)
    assert trouble.held_back_since is None
    trouble = trouble.after_failure([GAPS], 200)
    assert trouble.held_back_since == 200
    assert trouble.after_failure([GAPS], 300).held_back_since == 200
    assert trouble.after_failure([DOWN], 300).held_back_since == 200


def test_every_gap_is_told() -> None:
    assert all(gap in str(GAPS) for gap in GAPS.gaps)
