"""Whether an origin still delivers at a useful rate. Pure: bytes per second that were waited for."""


class DeliveryRate:
    """Judges spans of `span_s` spent waiting for an origin; time that we took ourselves does not count."""

    def __init__(self, least_rate_bytes: int, span_s: float) -> None:
        self._least_rate_bytes = least_rate_bytes
        self._span_s = span_s
        self._waited_s = 0.0
        self._size_bytes = 0
        self.rate_bytes = 0
        """Bytes a second in the last whole span."""
        self.is_weak = False
        """Whether that was less than the least."""

    def note(self, size_bytes: int, waited_s: float) -> None:
        """Note bytes, and how long they were waited for."""
        self._size_bytes += size_bytes
        self._waited_s += waited_s
        if self._waited_s >= self._span_s:
            self.rate_bytes = int(self._size_bytes / self._waited_s)
            self.is_weak = self.rate_bytes < self._least_rate_bytes
            self._waited_s, self._size_bytes = 0.0, 0
