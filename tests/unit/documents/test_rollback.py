"""Which dates keep older documents out, and which do not count because they lie in the future."""

import pytest

from proxy.digest import Digest
from proxy.documents.generation import Document
from proxy.documents.rollback import TOLERANCE_S, RollbackError, check_not_older, dated

NOW = 1_000_000.0
DAY_S = 86_400.0
AHEAD = NOW + 365 * DAY_S


def document(updated: float | None, signed_at: float | None = None) -> Document:
    digest = Digest("0" * 64)
    return Document(
        path="p",
        format="index:1.0",
        digest=digest,
        size_bytes=1,
        text=digest,
        updated=updated,
        signed_at=signed_at,
    )


def accept(*published: Document, now: float = NOW) -> Document:
    """Accept one document after the other; return the last."""
    accepted: Document | None = None
    for one in published:
        if accepted is not None:
            check_not_older(one, accepted, now)
        accepted = dated(one, accepted, now)
    assert accepted is not None
    return accepted


@pytest.mark.parametrize(
    ("accepted", "new"),
    [
        ((NOW - 2,), (NOW - 1,)),
        ((NOW - 1,), (NOW - 1,)),
        ((NOW - 1, NOW - 1), (NOW - 1, NOW - 1)),
        ((NOW - 1, NOW - 2), (NOW - 1, NOW - 1)),
        ((None, NOW - 2), (None, NOW - 1)),
        ((None,), (NOW - 1,)),
        ((NOW - 1,), (None,)),
        ((NOW - 1,), (AHEAD,)),
        ((AHEAD,), (AHEAD + 1,)),
        # The date that was ahead is not what counts:
        ((AHEAD,), (NOW - 1,)),
        ((AHEAD, NOW - 2), (NOW - 1, NOW - 1)),
        ((AHEAD, AHEAD), (NOW - 1, NOW - 1)),
        ((NOW - 2, AHEAD), (NOW - 1, NOW - 1)),
        ((NOW - 1, AHEAD), (NOW - 1, NOW - 1)),
        ((None, AHEAD), (None, NOW - 1)),
    ],
)
def test_what_may_replace_what(accepted: tuple[float | None, ...], new: tuple[float | None, ...]) -> None:
    assert accept(document(*accepted), document(*new)).updated == new[0]


@pytest.mark.parametrize(
    ("accepted", "new"),
    [
        ((NOW - 1,), (NOW - 2,)),
        ((NOW - 1, NOW - 1), (NOW - 1, NOW - 2)),
        ((None, NOW - 1), (None, NOW - 2)),
        ((AHEAD + 1,), (AHEAD,)),
        ((NOW + TOLERANCE_S,), (NOW,)),
        # The signature's date counts where it can be believed:
        ((AHEAD, NOW - 1), (NOW - 1, NOW - 2)),
        ((NOW - 1, AHEAD), (NOW - 2, NOW - 1)),
    ],
)
def test_what_may_not_replace_what(accepted: tuple[float | None, ...], new: tuple[float | None, ...]) -> None:
    with pytest.raises(RollbackError):
        accept(document(*accepted), document(*new))


@pytest.mark.parametrize("ahead", [(AHEAD,), (AHEAD, AHEAD), (AHEAD, NOW - 5), (NOW - 5, AHEAD)])
def test_what_counted_before_a_date_in_the_future_counts_after_it(ahead: tuple[float, ...]) -> None:
    """Else whoever waits for a publisher's mistake could show everything that was ever signed."""
    accepted = (document(NOW - 10, NOW - 10), document(*ahead))
    accept(*accepted, document(NOW - 4, NOW - 4))
    with pytest.raises(RollbackError):
        accept(*accepted, document(NOW - 11, NOW - 11))


def test_several_mistakes_in_a_row_wipe_nothing_out() -> None:
    accepted = (document(NOW - 10, NOW - 10), document(AHEAD), document(AHEAD + 1), document(AHEAD + 2))
    accept(*accepted, document(NOW - 9, NOW - 9))
    with pytest.raises(RollbackError):
        accept(*accepted, document(NOW - 11, NOW - 11))


def test_a_date_counts_once_it_has_come() -> None:
    accepted = accept(document(NOW - 10), document(NOW + DAY_S))
    check_not_older(document(NOW - 9), accepted, NOW)
    with pytest.raises(RollbackError):
        check_not_older(document(NOW - 9), accepted, NOW + DAY_S)


def test_a_clock_of_ours_that_was_set_back_makes_nothing_old_acceptable() -> None:
    """What was accepted with the right clock counts, though it seems to be of the future now."""
    accepted = accept(document(NOW, NOW))
    for then in (NOW - 365 * DAY_S, 0.0):
        with pytest.raises(RollbackError):
            check_not_older(document(NOW - 370 * DAY_S, NOW - 370 * DAY_S), accepted, then)


def test_what_was_accepted_under_a_clock_far_behind_counts_once_the_clock_is_right() -> None:
    accepted = accept(document(NOW), now=0.0)
    with pytest.raises(RollbackError):
        check_not_older(document(NOW - 1), accepted, NOW)
    with pytest.raises(RollbackError):
        check_not_older(document(NOW - 1), accepted, 0.0)


def test_a_signature_of_the_future_leaves_the_last_one_before_it_in_force() -> None:
    signed, ahead = document(NOW - 5, NOW - 5), document(NOW - 5, AHEAD)
    assert accept(signed, ahead, document(NOW - 5, NOW - 4)).signed_at == NOW - 4
    with pytest.raises(RollbackError, match="its signature was made before"):
        accept(signed, ahead, document(NOW - 5, NOW - 10))
