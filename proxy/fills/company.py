"""Those who want one transfer: clients that wait for it, and jobs that do without a client."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator


class Company:
    """Who is there now. `on_empty` is called each time that the last one has left."""

    def __init__(self, on_client: Callable[[str], None], on_empty: Callable[[], None]) -> None:
        self.clients: Counter[str] = Counter()
        """By name, and how often each waits."""
        self.had_clients = False
        """Whether a client has ever been there."""
        self._jobs = 0
        self._on_client = on_client
        self._on_empty = on_empty

    def __bool__(self) -> bool:
        return bool(self.clients or self._jobs)

    @contextlib.contextmanager
    def with_client(self, name: str) -> Iterator[None]:
        """Count a client for the length of the context."""
        self.clients[name] += 1
        self.had_clients = True
        self._on_client(name)
        try:
            yield
        finally:
            self.clients[name] -= 1
            if not self.clients[name]:
                del self.clients[name]
            self._tell()

    @contextlib.contextmanager
    def with_job(self) -> Iterator[None]:
        """Count one who has no client waiting, for the length of the context."""
        self._jobs += 1
        try:
            yield
        finally:
            self._jobs -= 1
            self._tell()

    def _tell(self) -> None:
        if not self:
            self._on_empty()
