"""What counts as one transfer where a limit makes transfers wait. Pure."""

import contextlib
from collections.abc import Callable

from proxy.sources.limits.priority import Priority


class Flow:
    """One transfer, however many connections it uses: all flows of a priority get the same share.

    Its priority may change while it waits: a client may join a prefetch.
    """

    def __init__(self, priority: Callable[[], Priority] = lambda: Priority.CLIENT) -> None:
        self.priority = priority

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Return a context for the time in which a limit makes it wait."""
        return contextlib.nullcontext()


ANY_FLOW = Flow()
"""Of whoever says nothing else."""
