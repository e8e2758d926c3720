"""Whether an origin is asked for the rest of an item, or for all of it again.

Some origins answer every range with an error, with other bytes or not at all; a part
that has arrived already must not keep the rest away for ever. Asking from the beginning
costs that part again, so ranges and the beginning are tried in turn while both fail.
"""

from proxy.sources.errors import OriginError, OriginUnreachable, WrongLength
from proxy.sources.http.errors import OriginHungUp, OriginStatus
from proxy.sources.http.statuses import OF_THE_MOMENT

_MOST_OF_THE_MOMENT = 4
"""So often in a row a server is believed that it is busy, and not that it refuses ranges."""


class RangeRefusals:
    """What became of the ranges of one item that one origin was asked for."""

    def __init__(self) -> None:
        self._is_refused = False
        self._has_hung_up = False
        """Whether a range got no answer once, which may have been an accident."""
        self._times_busy = 0
        """How often in a row a range was answered with what has nothing to do with the question."""

    def start(self, offset: int) -> int:
        """Return from which byte on to ask for what begins at `offset`."""
        return 0 if self._is_refused else offset

    def note(self, offset: int, error: OriginError, *, is_page: bool) -> bool:
        """Note a try that brought nothing; say whether the range may be what was wrong with it.

        `is_page` says that the answer was a page for people.
        """
        was_range = bool(self.start(offset))
        self._is_refused = False
        if not was_range:
            return False
        if isinstance(error, WrongLength) and is_page:
            # A login page hides the item, whichever part of it is asked for.
            return False
        if isinstance(error, OriginStatus) and error.status in OF_THE_MOMENT:
            self._times_busy += 1
            if self._times_busy < _MOST_OF_THE_MOMENT:
                return False
        self._times_busy = 0
        if isinstance(error, OriginUnreachable):
            if not isinstance(error, OriginHungUp):
                return False
            if not self._has_hung_up:
                self._has_hung_up = True
                return False
        self._is_refused = True
        return True
