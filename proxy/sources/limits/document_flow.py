"""The transfer of one document: what it waits for by our own limit is not the origin's time."""

import contextlib
from collections.abc import Iterator

from proxy.sources.awake_timeout import AwakeTimeout
from proxy.sources.limits.flow import Flow
from proxy.sources.limits.priority import Priority


class DocumentFlow(Flow):
    """The transfer of one document within a `timeout`, which a limit of ours does not use up."""

    def __init__(self, timeout: AwakeTimeout) -> None:
        super().__init__(lambda: Priority.DOCUMENT)
        self._timeout = timeout

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clock for the length of the context."""
        self._timeout.pause()
        try:
            yield
        finally:
            self._timeout.resume()
