"""Whether an origin is asked for the rest of an item, or for all of it again.

Some origins answer every range with an error, with other bytes or not at all; a part
that has arrived already must not keep the rest away for ever. Asking from the beginning
costs that part again, so ranges and the beginning are tried in turn while both fail. An origin
that has just given a part of the item, and now says that it may not or that there is none, is asked for
the rest some times more before that: it may allow few connections, or be several machines.
"""

from http import HTTPStatus

from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginUnreachable, WrongLength
from proxy.sources.http.errors import OriginHungUp, OriginStatus
from proxy.sources.http.statuses import OF_THE_MOMENT

_MOST_OF_THE_MOMENT = 4
"""So often in a row a server is believed that it is busy, and not that it refuses ranges."""
_MOST_CONTRADICTIONS = 3
"""So often in a row an origin is asked again for the rest of what it has begun to give."""


class RangeRefusals:
    """What became of the ranges of one item that one origin was asked for."""

    def __init__(self) -> None:
        self._is_refused = False
        self._has_hung_up = False
        """Whether a range got no answer once, which may have been an accident."""
        self._times_busy = 0
        """How often in a row a range was answered with what has nothing to do with the question."""
        self._contradictions = 0
        """How often an origin has refused the rest of what it had begun to give, since bytes came last."""
        self._is_denied_whole = False
        """Whether it has denied all of the item too, since then."""

    def start(self, offset: int) -> int:
        """Return from which byte on to ask for what begins at `offset`."""
        return 0 if self._is_refused else offset

    def worked(self) -> None:
        """Note that bytes came."""
        self._contradictions = 0
        self._is_denied_whole = False

    def note(self, offset: int, error: OriginError, *, is_page: bool, has_given: bool = False) -> bool:
        """Note a try that brought nothing; say whether the range may be what was wrong with it.

        `is_page` says that the answer was a page for people, `has_given` that the origin has given a part of
        the item in this transfer.
        """
        was_range = bool(self.start(offset))
        self._is_refused = False
        if not was_range:
            self._is_denied_whole |= _is_denial(error)
            return False
        if isinstance(error, WrongLength) and is_page:
            # A login page hides the item, whichever part of it is asked for.
            return False
        if _is_denial(error) and self._is_denied_whole:
            return False
        self._is_refused = not self._may_pass(error, has_given=has_given)
        return self._is_refused or _is_denial(error)

    def _may_pass(self, error: OriginError, *, has_given: bool) -> bool:
        """Whether what became of a range may be otherwise when it is asked for again."""
        if isinstance(error, OriginStatus) and error.status in OF_THE_MOMENT:
            self._times_busy += 1
            if self._times_busy < _MOST_OF_THE_MOMENT:
                return True
        self._times_busy = 0
        if isinstance(error, OriginUnreachable):
            is_accident = not isinstance(error, OriginHungUp) or not self._has_hung_up
            self._has_hung_up |= isinstance(error, OriginHungUp)
            return is_accident
        if has_given and (_is_denial(error) or _is_broken(error)):
            self._contradictions += 1
            return self._contradictions < _MOST_CONTRADICTIONS
        return False


def _is_denial(error: OriginError) -> bool:
    """Whether an origin says that it has nothing, or does not give it."""
    return isinstance(error, OriginAbsent | OriginForbidden)


def _is_broken(error: OriginError) -> bool:
    return isinstance(error, OriginStatus) and error.status == HTTPStatus.INTERNAL_SERVER_ERROR
